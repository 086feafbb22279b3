"""What the suite knows of a dataset before it is loaded: a source, and the layouts in which its files may lie.

A set in the registry is a `Source` with a few layouts. Each file format has a function that returns the layout of its files,
such as `datasets.idx.idx_files`.
"""

from __future__ import annotations

import http.client
import os
import tarfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.errors import UsageError
from bench.lazy import numpy as np
from bench.lazy import torch, torchvision
from bench.types import Bundle, Split

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

Splits = tuple[Split, Split]
"""The training split and the test split."""

Reader = Callable[[Path], Splits | None]
"""A function that reads both splits below the data root, or returns None where the files are not there."""


@contextmanager
def reading(file: Path) -> Iterator[None]:
    """Turn whatever a reader raises on a damaged or foreign file into a `UsageError` that names the file."""
    try:
        yield
    except UsageError:
        raise
    except Exception as error:
        raise UsageError(
            f"{file} cannot be read: it is damaged or of another format ({type(error).__name__}: {error})"
        ) from error


def make_split(images: ArrayLike, labels: ArrayLike) -> Split:
    """Return images `[N, channels, H, W]` and labels `[N]` as a split; raise `UsageError` where their numbers differ."""
    pixels, classes = np.array(images, dtype=np.uint8), np.array(labels, dtype=np.int64)
    if len(pixels) != len(classes):
        raise UsageError(f"a split has {len(pixels)} images and {len(classes)} labels; they must agree")
    return Split(torch.from_numpy(pixels), torch.from_numpy(classes))


@dataclass(frozen=True)
class Layout:
    """One way in which a dataset may lie on disk.

    Attributes:
        where: the place of its files below the data root, in words, for messages.
        read: reads the files below a data root.

    """

    where: str
    read: Reader


@dataclass(frozen=True)
class Download:
    """How torchvision downloads a dataset.

    Attributes:
        class_name: the class of `torchvision.datasets`, such as `MNIST`.
        calls: keyword arguments, once for each time that the class has to be made. Most classes download both splits at
            once; SVHN downloads the split that it is asked for.

    """

    class_name: str
    calls: tuple[Mapping[str, Any], ...] = field(default=({},), hash=False)

    def fetch(self, root: Path) -> None:
        """Download the dataset into `root`."""
        dataset = getattr(torchvision.datasets, self.class_name)
        for arguments in self.calls:
            dataset(str(root), download=True, **arguments)


@dataclass(frozen=True, kw_only=True)
class Source:
    """A dataset that is not loaded yet.

    Attributes:
        name: its key in the registry, as `--datasets` names it.
        label: what tables and figures print.
        classes: class names, in the order of labels.
        mean: the mean of each channel over the training images, scaled to [0, 1].
        std: the standard deviation of each channel, likewise.
        size: height and width of an image.
        flip: whether a mirrored image keeps its class.
        layouts: where its files may lie, in the order in which they are tried.
        download: how it is downloaded; None where it cannot be.
        code: a hash of the images, where the name alone does not say which images they are.

    """

    name: str
    label: str
    classes: tuple[str, ...]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    size: int
    flip: bool
    layouts: tuple[Layout, ...]
    download: Download | None = None
    code: str = ""

    @property
    def shape(self) -> tuple[int, int, int]:
        """`(channels, height, width)` of an image."""
        return len(self.mean), self.size, self.size

    def load(self, root: Path) -> Bundle:
        """Return the dataset below the data root `root`; download it where it is not there.

        Raise `UsageError` where that fails, with every place that was looked at, or where the files hold another dataset.
        """
        splits = self._read(root)
        if splits is None:
            problem = self._fetch(root)
            splits = None if problem else self._read(root)
            if splits is None:
                raise self._not_there(root, problem)
        for split in splits:
            self._check(split, root)
        return Bundle(self.name, *splits, self.classes, self.mean, self.std, self.flip)

    def _read(self, root: Path) -> Splits | None:
        """Return the splits from the first layout whose files are there, or None."""
        for layout in self.layouts:
            splits = layout.read(root)
            if splits is not None:
                return splits
        return None

    def _fetch(self, root: Path) -> str:
        """Download below `root`; return what went wrong, or an empty text."""
        if self.download is None:
            return "there is nothing to download"
        nearest = next((place for place in (root, *root.absolute().parents) if place.exists()), root)
        if not os.access(nearest, os.W_OK):
            return f"{nearest} is read-only"
        try:
            self.download.fetch(root)
        except (OSError, RuntimeError, http.client.HTTPException, tarfile.TarError) as error:
            return str(error).splitlines()[0] if str(error) else type(error).__name__
        return ""

    def _not_there(self, root: Path, problem: str) -> UsageError:
        """Return the error that lists every place where the files could have been."""
        places = "; ".join(f"{root / layout.where}" for layout in self.layouts)
        return UsageError(
            f"dataset {self.name!r} is not below --data-root {str(root)!r}: none of these is there: {places}. "
            f"Downloading failed: {problem or 'nothing usable came'}. "
            f"Put the files in one of these places, or name another root by --data-root or DATA_ROOT"
        )

    def _check(self, split: Split, root: Path) -> None:
        """Raise `UsageError` where the images have another shape, or the labels are not those of the classes."""
        shape, lowest, highest = tuple(split.images.shape[1:]), int(split.labels.min()), int(split.labels.max())
        if shape != self.shape or lowest < 0 or highest >= len(self.classes):
            raise UsageError(
                f"dataset {self.name!r} below {str(root)!r}: images of shape {shape}, labels {lowest} to {highest}; "
                f"valid: {self.shape} with labels 0 to {len(self.classes) - 1}"
            )
