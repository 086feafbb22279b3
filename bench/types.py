"""What passes between datasets, methods and the engine. All frozen; none imports torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Literal, Protocol

if TYPE_CHECKING:
    import torch
    from torch import Tensor


Precision = Literal["auto", "fp32", "bf16"]
"""The precision of some passes through networks; `auto` is the run's."""

RunPrecision = Literal["fp32", "bf16"]
"""The precision of a run, when `auto` has been decided."""


class Shaped(Protocol):
    """A dataset's name, classes and image shape, which are known before it is loaded."""

    @property
    def name(self) -> str: ...  # noqa: D102
    @property
    def classes(self) -> tuple[str, ...]: ...  # noqa: D102
    @property
    def shape(self) -> tuple[int, int, int]: ...  # noqa: D102


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

    `flip` says whether a mirrored image keeps its class. `published`: whether published numbers are of these images; None
    if nobody knows, as for a folder of pictures. `spelling`: how the command line names it, if not by its name. `aliases`:
    pairs of another name of a class and its name.
    """

    name: str
    train: Split
    test: Split
    classes: tuple[str, ...]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    flip: bool = True
    published: bool | None = None
    spelling: str = ""
    aliases: tuple[tuple[str, str], ...] = ()

    @property
    def shape(self) -> tuple[int, int, int]:
        """`(channels, height, width)` of an image."""
        channels, height, width = self.train.images.shape[1:]
        return channels, height, width


@dataclass(frozen=True)
class Snapshot:
    """The images `[N, channels, H, W]` after `iteration` iterations, with labels and learning rate if they are learned too."""

    iteration: int
    images: Tensor
    labels: Tensor | None = None
    lr: float | None = None


@dataclass(frozen=True)
class Spent:
    """Seconds, and the peak of memory in MiB."""

    seconds: float = 0.0
    peak_memory_mib: float = 0.0


@dataclass(frozen=True)
class Trace:
    """The course of distilling: the loss of each iteration, seconds by stage and by iteration, how kernels were run.

    `norms`: the root mean square of all images at the start and at the end, in normalised units. `angle`: by how much an
    iteration turned an image, in radians, on average. Both are None if nothing was optimised. `snapshots`: the images at
    the checkpoints that were asked for. `earlier`: what processes that were interrupted had spent on the cell.
    """

    loss: tuple[float, ...] = ()
    seconds: Mapping[str, float] = field(default_factory=dict)
    iteration_seconds: tuple[float, ...] = ()
    kernels: Mapping[str, str] = field(default_factory=dict)
    norms: tuple[float, float] | None = None
    angle: float | None = None
    snapshots: tuple[Snapshot, ...] = ()
    earlier: Spent = Spent()


@dataclass(frozen=True)
class SyntheticSet:
    """Images to train on, float32 `[N, channels, H, W]` in normalised units, and their labels.

    Labels are int64 `[N]`, or, if a set has soft labels, the probability of each class, float32 `[N, classes]`. `lr` is the
    learning rate of training on the images, if it was learned with them; `eval.lr=own` uses it.
    """

    images: Tensor
    labels: Tensor
    trace: Trace = Trace()
    lr: float | None = None

    def to(self, device: torch.device | str) -> SyntheticSet:
        """Return the set on a device."""
        return replace(self, images=self.images.to(device), labels=self.labels.to(device))


class Objective(Protocol):
    """A distance between two sets of feature vectors, class by class.

    It does no input or output, changes no global random state, moves nothing between devices and calls no `backward()`.
    """

    def __call__(self, real: Tensor, syn: Tensor, *, generator: torch.Generator) -> Tensor:
        """Return the loss of each class, `[C]`, differentiable in `syn`.

        Args:
            real: features of the real images, `[C, n, d]`, without gradient.
            syn: features of the synthetic images, `[C, m, d]`.
            generator: a CPU generator, from which every random draw comes.

        """
        ...


@dataclass(frozen=True)
class LossContext:
    """What a loss with the keyword argument `context` receives at each call.

    `step`: the number of the iteration, from 0, of `iterations`. `labels`: the class of each row of the features, `[C]`.
    `classes`: the names of all classes, in the order of labels. If several processes share a cell, or classes give different
    numbers of real images, the rows are of some classes only.
    """

    step: int
    iterations: int
    labels: Tensor
    classes: tuple[str, ...]


class ContextObjective(Protocol):
    """A loss that also receives `context`: the step and the classes. Each cell has a new one, so it may keep state."""

    def __call__(self, real: Tensor, syn: Tensor, *, generator: torch.Generator, context: LossContext) -> Tensor:
        """Return the loss of each class, `[C]`; see `Objective`."""
        ...


@dataclass(frozen=True)
class Progress:
    """How far a cell has come: `done` of `total` steps of `stage`, and a word on the current value."""

    stage: str
    done: int
    total: int
    note: str = ""
