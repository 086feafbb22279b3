"""The content of a file of a distilled set, whatever its form: distillations, and what is said of them."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

from bench.errors import UsageError
from bench.lazy import numpy as np

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

_SUM_TOLERANCE = 1e-3
"""By how much the probabilities of an image may differ from 1 in sum: files hold them in half precision too."""

_CHANNELS = (1, 3)
"""The numbers of channels by which `[N, H, W, channels]` is told from `[N, channels, H, W]`."""


@dataclass(frozen=True, eq=False)
class Distillation:
    """One distilled set.

    Attributes:
        seed: its number; without seeds in the file, its index there, from 0.
        images: float32 `[N, channels, H, W]` in normalised units, or pixels, uint8.
        labels: int64 `[N]`, or the probability of each class, float32 `[N, classes]`.
        lr: the learning rate of training on the images, if it was learned with them.

    """

    seed: int
    images: NDArray[Any]
    labels: NDArray[Any]
    lr: float | None = None

    @classmethod
    def of(cls, seed: int, images: ArrayLike, labels: ArrayLike, lr: float | None = None) -> Distillation:
        """Return a distillation of checked arrays in these types; raise `UsageError` that says what is wrong.

        Args:
            seed: its number.
            images: floats of any precision, or uint8, `[N, channels, H, W]`, `[N, H, W, channels]`, or grey `[N, H, W]`.
            labels: whole numbers of any type, `[N]`, `[N, 1]` or of one class a row `[N, classes]`, or probabilities
                `[N, classes]`.
            lr: a learning rate, or None.

        """
        pixels, classes = _images(np.asarray(images)), _labels(np.asarray(labels))
        if len(pixels) != len(classes):
            raise UsageError(f"{len(pixels)} images and {len(classes)} labels; valid: as many of one as of the other")
        if lr is not None and not (math.isfinite(lr) and lr > 0):
            raise UsageError(f"a learning rate of {lr:g}; valid: a finite number above 0")
        return cls(seed, pixels, classes, lr)

    @property
    def soft(self) -> bool:
        """Whether the labels are probabilities."""
        return self.labels.ndim == 2

    @property
    def hard_labels(self) -> NDArray[Any]:
        """The label of each image, int64 `[N]`: of probabilities, the most probable class."""
        return self.labels.argmax(1) if self.soft else self.labels


@dataclass(frozen=True, eq=False, kw_only=True)
class DistilledSet:
    """The content of one file or folder: distillations of one size, and what is said of them.

    Attributes:
        distillations: at least one, all of one shape and number of images.
        classes: class names in the order of labels, if they are named.
        mean: of each channel, by which images are normalised: pixel / 255 = image · std + mean. Empty if the file names none.
        std: likewise.
        dataset: which dataset they were distilled from, if it is named.
        accuracies: test accuracy in percent of each network that was trained on them, by architecture.
        details: what else is said, for readers: numbers and texts.
        folders: the names of its class folders in the order of labels, if it has some.
        by_name: whether only the names of the classes, not their numbers, say what a label means.
        family: whether the file has a layout of the DatasetCondensation family, and names no mean.
        names_seeds: whether it says which seed a distillation is of; if not, several may be snapshots of one run.
        remarks: what a reader of the accuracies has to know of how it was read.

    """

    distillations: tuple[Distillation, ...]
    classes: tuple[str, ...] = ()
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()
    dataset: str = ""
    accuracies: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    details: Mapping[str, Any] = field(default_factory=dict)
    folders: tuple[str, ...] = ()
    by_name: bool = False
    family: bool = False
    names_seeds: bool = True
    remarks: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Raise `UsageError` if the distillations are not alike, or what is said contradicts them."""
        if not self.distillations:
            raise UsageError("it holds no distilled set; valid: at least one")
        seeds = [distillation.seed for distillation in self.distillations]
        if len(set(seeds)) < len(seeds):
            raise UsageError(f"two distillations of one seed among {seeds}; valid: one a seed")
        if self.lrs and None in self.lrs:
            raise UsageError("a learning rate of some distillations only; valid: one of each, or none")
        first = self.distillations[0]
        for other in self.distillations[1:]:
            sizes = [(each.images.dtype, each.images.shape, each.labels.shape) for each in (first, other)]
            if sizes[0] != sizes[1]:
                shapes = f"{first.images.shape} and {other.images.shape}"
                raise UsageError(f"distillations differ: images {shapes}; valid: as many images of one shape in each")
        for name, values in (("mean", self.mean), ("std", self.std)):
            if values and len(values) != self.shape[0]:
                raise UsageError(f"{len(values)} values of {name} for {self.shape[0]} channels; valid: one a channel")
        good = all(map(math.isfinite, (*self.mean, *self.std))) and all(value > 0 for value in self.std)
        if bool(self.mean) != bool(self.std) or not good:
            raise UsageError(f"mean {self.mean} and std {self.std}; valid: both, finite, and std above 0")
        if self.classes and len(self.classes) != self.class_count:
            raise UsageError(f"{len(self.classes)} class names for labels of {self.class_count} classes; valid: as many")
        for distillation in self.distillations:
            _check_balance(distillation, self.class_count)

    @property
    def seeds(self) -> tuple[int, ...]:
        """The seeds of the distillations."""
        return tuple(distillation.seed for distillation in self.distillations)

    @property
    def lrs(self) -> tuple[float | None, ...]:
        """The learning rate of each distillation; empty if they carry none."""
        rates = tuple(distillation.lr for distillation in self.distillations)
        return rates if any(rates) else ()

    @property
    def shape(self) -> tuple[int, int, int]:
        """`(channels, height, width)` of an image."""
        channels, height, width = self.distillations[0].images.shape[1:]
        return channels, height, width

    @property
    def class_count(self) -> int:
        """The number of classes that labels speak of."""
        labels = self.distillations[0].labels
        return int(labels.shape[1]) if labels.ndim == 2 else int(labels.max()) + 1

    @property
    def ipc(self) -> int:
        """Images per class."""
        return len(self.distillations[0].images) // self.class_count

    @property
    def in_pixels(self) -> bool:
        """Whether the images are pixels, 0 to 255, and not normalised."""
        return bool(self.distillations[0].images.dtype == np.uint8)

    @cached_property
    def is_grey(self) -> bool:
        """Whether its three channels are the same, as those of a grey picture that was saved as RGB are."""
        alike = self.shape[0] == 3 and len(set(self.mean)) < 2 and len(set(self.std)) < 2
        return alike and all((each.images == each.images[:, :1]).all() for each in self.distillations)

    @cached_property
    def digest(self) -> str:
        """A hash of the images, labels, learning rates, and what decides how they are read: 16 hexadecimal digits."""
        digest = hashlib.sha256(repr((self.mean, self.std, self.by_name and self.classes)).encode())
        for each in self.distillations:
            for array in (each.images, each.labels):
                digest.update(f"\0{each.seed} {array.dtype.str} {array.shape}\0".encode() + array.tobytes())
            if each.lr is not None:
                digest.update(f"\0lr {each.lr!r}\0".encode())
        return digest.hexdigest()[:16]


def _images(images: NDArray[Any]) -> NDArray[Any]:
    """Return images as float32 or uint8 `[N, channels, H, W]`; raise `UsageError` if they are neither."""
    images = images[:, None] if images.ndim == 3 else images
    if images.ndim == 4 and images.shape[1] not in _CHANNELS and images.shape[3] in _CHANNELS:
        images = images.transpose(0, 3, 1, 2)
    if images.ndim != 4 or not images.size:
        raise UsageError(f"images of shape {images.shape}; valid: [images, channels, height, width]")
    if images.dtype == np.uint8:
        return np.ascontiguousarray(images)
    if images.dtype.kind != "f":
        raise UsageError(f"images of type {images.dtype}; valid: floats in normalised units, or uint8 pixels")
    if not np.isfinite(images).all():
        raise UsageError("some values of the images are no finite numbers; valid: finite ones")
    return np.ascontiguousarray(images, dtype=np.float32)


def _labels(labels: NDArray[Any]) -> NDArray[Any]:
    """Return labels as int64, or probabilities as float32; raise `UsageError` if they are neither."""
    if labels.ndim == 2 and labels.shape[1] == 1:
        labels = labels[:, 0]
    if labels.ndim == 2 and labels.dtype.kind in "iub" and (labels.astype(np.int64).sum(1) == 1).all() and labels.min() >= 0:
        labels = labels.argmax(1)
    if labels.ndim == 1 and labels.dtype.kind == "f" and (labels == np.round(labels)).all():
        labels = labels.astype(np.int64)
    if labels.ndim == 1 and labels.dtype.kind in "iu":
        if labels.size and int(labels.min()) < 0:
            raise UsageError(f"label {labels.min()}; valid: numbers of classes, from 0")
        return np.ascontiguousarray(labels, dtype=np.int64)
    if labels.ndim != 2 or labels.dtype.kind != "f":
        what = f"labels of shape {labels.shape} and type {labels.dtype}"
        raise UsageError(f"{what}; valid: whole numbers [images], or probabilities [images, classes]")
    sums = labels.astype(np.float64).sum(1)
    if not (np.isfinite(labels).all() and (labels >= 0).all() and (abs(sums - 1) < _SUM_TOLERANCE).all()):
        raise UsageError(
            f"soft labels from {labels.min():g} to {labels.max():g}, with sums of {sums.min():g} to {sums.max():g}; "
            f"valid: probabilities, which sum to 1 for each image (apply a softmax to logits)"
        )
    return np.ascontiguousarray(labels, dtype=np.float32)


def _check_balance(distillation: Distillation, classes: int) -> None:
    """Raise `UsageError` if the classes do not have the same number of images: there is no IPC then."""
    count = len(distillation.images)
    if distillation.soft:
        if count % classes:
            raise UsageError(f"{count} images with soft labels of {classes} classes; valid: a multiple of {classes}")
        return
    counts = np.bincount(distillation.labels, minlength=classes)
    if len(counts) != classes or counts.min() != counts.max():
        few = f"classes of {counts.min()} to {counts.max()} images, the fewest of label {counts.argmin()}"
        raise UsageError(f"{few}; valid: as many images of each class, and labels from 0")
