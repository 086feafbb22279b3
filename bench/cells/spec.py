"""The description of one cell, complete: everything that its numbers depend on, and nothing else."""

from __future__ import annotations

import copy
import hashlib
import json
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, SerializeAsAny

from bench.cells.protocol import Protocol
from bench.cells.settings import NonNegativeInt, Settings

NUMERICS = 1
"""Raised by hand whenever a change to the engine changes numbers by more than rounding, which differs between machines anyhow.
It enters every hash, so that old records are not reused."""

_NOT_HASHED = (("profile",), ("eval", "networks"), ("whole", "networks"))
"""Protocol fields left out of the hash: the profile's name, and the evaluation networks, which do not affect the images."""


class RecordedSettings(Settings):
    """A method's settings as a record holds them: names and values, whether or not the method is known here."""

    model_config = ConfigDict(extra="allow")


def hash_of(content: Mapping[str, Any]) -> str:
    """Return the hash of a description: 16 hexadecimal digits of the SHA-256 of its canonical JSON.

    Args:
        content: the description as JSON has it. That of an old record may lack fields that descriptions have today, and its
            hash is that of what it says.

    """
    content = copy.deepcopy(dict(content))
    for *path, name in _NOT_HASHED:
        section = content["protocol"]
        for key in path:
            section = section.get(key)
        if section is not None:
            section.pop(name, None)
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]


def _recorded(value: object) -> object:
    return RecordedSettings.model_validate(value) if isinstance(value, dict) else value


class RunSpec(BaseModel):
    """One cell: a method under its settings on a dataset, at one IPC and seed, under a protocol.

    `ipc` is None for the whole training set. `settings` are the method's own. `protocol` has only the sections that the method
    uses. `precision` is that of the passes through networks while distilling, None if there are none. `code` is a hash of a
    user's own file. `data` is the beginning of the digest of the dataset's images and labels, empty if nobody looked at them.
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
    data: str = ""
    numerics: int = NUMERICS

    @property
    def hash(self) -> str:
        """The hash of the description, and the name of the record; see `hash_of`."""
        return hash_of(self.model_dump(mode="json"))

    @property
    def label(self) -> str:
        """The cell as progress and errors name it."""
        size = "all" if self.ipc is None else f"ipc {self.ipc}"
        return f"{self.dataset} {size} {self.method} seed {self.seed}"

    def with_networks(self, networks: tuple[str, ...]) -> RunSpec:
        """Return the same cell, evaluated by other networks; its hash stays."""
        name = "eval" if self.protocol.eval else "whole"
        protocol = self.protocol.model_copy(update={name: self.protocol.training.changed(networks=networks)})
        return self.model_copy(update={"protocol": protocol})

    @property
    def networks(self) -> tuple[str, ...]:
        """The names of the networks that the cell is evaluated by."""
        return self.protocol.training.networks
