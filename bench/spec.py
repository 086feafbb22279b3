"""The description of one cell, complete: everything that its numbers depend on, and nothing else."""

from __future__ import annotations

import hashlib
import json
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, SerializeAsAny

from bench.protocol import Protocol
from bench.settings import NonNegativeInt, Settings

NUMERICS = 1
"""Raised by hand whenever a change to the engine changes numbers by more than rounding, which differs between machines anyhow.
It enters every hash, so that old records are not reused."""

_NOT_HASHED: dict[str, Any] = {"protocol": {"profile": True, "eval": {"networks"}, "whole": {"networks"}}}
"""A profile's name changes nothing, and another evaluation network leaves the distilled images as they are."""


class RecordedSettings(Settings):
    """A method's settings as a record holds them: names and values, whether or not the method is known here."""

    model_config = ConfigDict(extra="allow")


def _recorded(value: object) -> object:
    return RecordedSettings.model_validate(value) if isinstance(value, dict) else value


class RunSpec(BaseModel):
    """One cell: a method under its settings on a dataset, at one IPC and seed, under a protocol.

    `ipc` is None for the whole training set. `settings` are the method's own. `protocol` has only the sections that the method
    uses. `precision` is that of the passes through networks while distilling, None where there are none. `code` is a hash of a
    user's own file.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    dataset: str
    ipc: int | None
    method: str
    seed: NonNegativeInt
    settings: Annotated[SerializeAsAny[Settings], BeforeValidator(_recorded)]
    protocol: Protocol
    precision: Literal["fp32", "bf16"] | None
    code: str = ""
    numerics: int = NUMERICS

    @property
    def hash(self) -> str:
        """16 hexadecimal digits of the SHA-256 of the description's canonical JSON: the name of the record."""
        content = self.model_dump(mode="json", exclude=_NOT_HASHED)
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]

    @property
    def label(self) -> str:
        """The cell in words, for progress and errors."""
        size = "all" if self.ipc is None else f"ipc {self.ipc}"
        return f"{self.dataset} {size} {self.method} seed {self.seed}"

    def with_networks(self, networks: tuple[str, ...]) -> RunSpec:
        """Return the same cell, evaluated by other networks; its hash stays."""
        name = "eval" if self.protocol.eval else "whole"
        training = self.protocol.eval or self.protocol.whole
        assert training is not None
        protocol = self.protocol.model_copy(update={name: training.changed(networks=networks)})
        return self.model_copy(update={"protocol": protocol})

    @property
    def networks(self) -> tuple[str, ...]:
        """The names of the networks that the cell is evaluated by."""
        training = self.protocol.eval or self.protocol.whole
        assert training is not None
        return training.networks
