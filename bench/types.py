"""The central types: what passes between datasets, methods, the engine and the records. All frozen, none imports torch."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, Literal, Protocol

from bench.options import Option, Positive, options_of
from bench.protocol import Protocol as BenchProtocol

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from bench.compute import Compute
    from bench.networks import ConvNet
    from bench.seeding import Streams

NUMERICS = 1
"""Raised by hand whenever a change to the engine changes numbers: it enters every hash, so that old records are not reused."""


@dataclass(frozen=True)
class Split:
    """Images, uint8 `[N, channels, H, W]`, and their labels, int64 `[N]`."""

    images: Tensor
    labels: Tensor

    def __len__(self) -> int:
        return len(self.labels)


@dataclass(frozen=True)
class Bundle:
    """A dataset in memory: two splits, class names in label order, channel means and deviations of images scaled to [0, 1].

    `flip` says whether a mirrored image keeps its class.
    """

    name: str
    train: Split
    test: Split
    classes: tuple[str, ...]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    flip: bool = True

    @property
    def shape(self) -> tuple[int, int, int]:
        """`(channels, height, width)` of an image."""
        channels, height, width = self.train.images.shape[1:]
        return channels, height, width


@dataclass(frozen=True)
class Trace:
    """What distilling left behind: the loss of each iteration, seconds by stage and by iteration, how kernels were run."""

    loss: tuple[float, ...] = ()
    seconds: Mapping[str, float] = field(default_factory=dict)
    iteration_seconds: tuple[float, ...] = ()
    kernels: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class SyntheticSet:
    """Images to train on, float32 `[N, channels, H, W]` in normalised units, and their labels, int64 `[N]`."""

    images: Tensor
    labels: Tensor
    trace: Trace = Trace()


class Objective(Protocol):
    """A distance between two sets of feature vectors, class by class.

    Pure: no I/O, no global random state, no device moves, no view of labels.
    """

    def __call__(self, real: Tensor, syn: Tensor, *, generator: torch.Generator) -> Tensor:
        """Return the loss a class, `[C]`, of `real` `[C, n, d]` (no gradient) and `syn` `[C, m, d]` (gradient flows).

        `generator` is a CPU generator: every random draw of the objective comes from it.
        """
        ...


@dataclass(frozen=True)
class Progress:
    """How far a cell has come: `done` of `total` steps of `stage`, and a word on the current value."""

    stage: str
    done: int
    total: int
    note: str = ""


@dataclass(frozen=True)
class Task:
    """What a method is given to distill one cell."""

    bundle: Bundle
    spec: RunSpec
    network: ConvNet
    streams: Streams
    compute: Compute
    report: Callable[[Progress], None]


@dataclass(frozen=True)
class Method:
    """One entry of the registry.

    `name` is its key; `label` what tables and plots print; `source` paper and equation; `objective` a factory from keyword
    hyper-parameters to an `Objective`, None where the method is no loss on features; `distill` what the runner calls;
    `sections` the protocol's sections that its result depends on; `whole` whether its result is the full training set,
    whatever the IPC; `settings` the frozen dataclass of hyper-parameters of a method with a loop of its own; `defaults` the
    hyper-parameters that a profile's budget asks for, profile by profile, where they are not the published ones; `code` a hash
    of a user's own file.
    """

    name: str
    label: str
    source: str
    objective: Callable[..., Objective] | None
    distill: Callable[[Task], SyntheticSet]
    sections: tuple[str, ...] = ("match", "eval")
    whole: bool = False
    settings: Callable[..., Any] | None = None
    defaults: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    code: str = ""

    def options(self) -> dict[str, Option]:
        """Return the method's typed hyper-parameters by name."""
        factory = self.objective or self.settings
        found = options_of(factory) if factory is not None else {}
        if "match" in self.sections:
            found["lr_images"] = _LR_IMAGES
        return found


def _lr_images(*, lr_images: Positive | None = None) -> None:
    """Hold the annotation of the hyper-parameter that every matching method has."""


_LR_IMAGES = options_of(_lr_images)["lr_images"]


@dataclass(frozen=True)
class RunSpec:
    """One cell, resolved: everything its numbers depend on, and nothing else. Its hash names its record.

    `ipc` is None for the whole training set. `protocol` holds the sections that the method uses, `hyper` its hyper-parameters.
    """

    dataset: str
    ipc: int | None
    method: str
    seed: int
    hyper: Mapping[str, Any]
    protocol: BenchProtocol
    precision: Literal["fp32", "bf16"]
    sections: tuple[str, ...]
    code: str = ""
    numerics: int = NUMERICS

    def to_json(self) -> dict[str, Any]:
        """Return the spec as plain JSON values; sections that the method does not use are left out."""
        protocol = asdict(self.protocol)
        used = {"profile", "data", "network", *self.sections}
        plain: dict[str, Any] = {
            "dataset": self.dataset,
            "ipc": self.ipc,
            "method": self.method,
            "seed": self.seed,
            "hyper": dict(self.hyper),
            "protocol": {name: value for name, value in protocol.items() if name in used},
            "precision": self.precision,
            "numerics": self.numerics,
        }
        return plain | ({"code": self.code} if self.code else {})

    @property
    def hash(self) -> str:
        """16 hexadecimal digits of the SHA-256 of the spec's canonical JSON; the profile's name alone changes nothing."""
        plain = self.to_json()
        del plain["protocol"]["profile"]
        return hashlib.sha256(json.dumps(plain, sort_keys=True).encode()).hexdigest()[:16]

    @property
    def label(self) -> str:
        """The cell in words, for progress and errors."""
        size = "all" if self.ipc is None else f"ipc {self.ipc}"
        return f"{self.dataset} {size} {self.method} seed {self.seed}"
