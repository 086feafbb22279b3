"""Prepared artefacts: what several cells share, such as networks trained on real images, described by a spec of its own."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from pydantic import BaseModel, ConfigDict

from bench.cells.protocol import ConvNetSize, Data, Training
from bench.cells.settings import Count, NonNegativeInt
from bench.cells.spec import NUMERICS, RunSpec

if TYPE_CHECKING:
    from torch import Tensor

    from bench.cells.task import Task

Piece = Mapping[str, "Tensor | None"]
"""A piece of an artefact: tensors by name, and None for one that is not needed any longer."""

Maker = Callable[["Task", "ArtefactSpec", Mapping[str, "Tensor"]], Iterator[Piece]]
"""Makes an artefact: `make(task, spec, done)` yields its tensors piece by piece.

`done` is what an interrupted process had yielded, empty at first; its tensors are not to be changed in place. What is yielded
is copied. A name that is yielded again replaces its tensor, and None removes it: what only the next step needs, such as an
optimizer's momentum, does not belong to the artefact. Every draw comes from `task.streams`, which are those of the artefact.
"""


class ArtefactSpec(BaseModel):
    """The complete description of an artefact: everything that its content depends on, and nothing else.

    Attributes:
        kind: what it is, such as `networks`.
        dataset: the name of the dataset.
        data: the beginning of the digest of the dataset's images, as in `RunSpec`.
        split: the section `data` of the protocol, which decides what is held out of the training set.
        network: the name of the architecture.
        size: the size of the network `convnet`.
        training: how the networks are trained.
        count: how many networks.
        seed: of the streams of random numbers.
        ipc: images a class of the cells that share it: their streams are keyed by it.
        stage: the name of the streams.
        precision: of the passes through networks.
        code: a hash of a user's own file.
        numerics: of the suite; see `NUMERICS`.

    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: str
    dataset: str
    data: str
    split: Data
    network: str
    size: ConvNetSize
    training: Training
    count: Count
    seed: NonNegativeInt
    ipc: int | None
    stage: str
    precision: Literal["fp32", "bf16"] | None
    code: str = ""
    numerics: int = NUMERICS

    @property
    def hash(self) -> str:
        """The hash of the description, and the name of its files: 16 hexadecimal digits of the SHA-256 of its JSON."""
        content = json.dumps(self.model_dump(mode="json"), sort_keys=True)
        return hashlib.sha256(content.encode()).hexdigest()[:16]

    @property
    def label(self) -> str:
        """The artefact in words, for progress and plans."""
        return f"{self.kind} of {self.dataset} ipc {self.ipc} seed {self.seed} ({self.count} x {self.network})"

    def passes(self, images: int) -> float:
        """Return about how many images pass through the networks while it is made; a pass with gradient counts as three."""
        return 3.0 * self.count * (self.training.epochs or 0) * images


@dataclass(frozen=True)
class Preparation:
    """How a method's artefact is made.

    Attributes:
        kind: of the artefact.
        make: the function that makes it, or its location `"module:function"`; see `Maker`.
        settings: returns the fields of its spec that the method decides: `network` and `training`. It may also set `count`,
            which is otherwise 1, and `stage`, which is otherwise the kind.

    """

    kind: str
    make: Maker | str
    settings: Callable[[RunSpec], Mapping[str, Any]]

    def describe(self, spec: RunSpec, code: str) -> ArtefactSpec:
        """Return the description of the artefact that a cell needs.

        Args:
            spec: the cell.
            code: a hash of the user's own file that the method comes from.

        """
        return ArtefactSpec(
            **{
                "kind": self.kind,
                "dataset": spec.dataset,
                "data": spec.data,
                "split": spec.protocol.data,
                "size": spec.protocol.network,
                "count": 1,
                "seed": spec.seed,
                "ipc": spec.ipc,
                "stage": self.kind,
                "precision": spec.precision,
                "code": code,
                **self.settings(spec),
            }
        )
