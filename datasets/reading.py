"""From arrays in files to a split: images as bytes and labels as whole numbers, or a `UsageError` that names the file."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.errors import UsageError
from bench.lazy import numpy as np
from bench.lazy import torch
from bench.types import Split

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

Group = tuple[Path, ...]
"""Files that are read together: a batch, a shard, or a file of images followed by its file of labels."""


def make_split(images: ArrayLike, labels: ArrayLike, group: Group) -> Split:
    """Return images and labels as a split, with the values of the files.

    Args:
        images: `[N, channels, H, W]`.
        labels: `[N]`.
        group: the files that they come from, for messages.

    Raises:
        UsageError: if there are no images, their number is not that of the labels, or a value would have to be changed.

    """
    pixels, classes = _pixels(np.asarray(images), group[0]), _classes(np.asarray(labels), group[-1])
    if len(pixels) != len(classes):
        files = " and ".join(map(str, dict.fromkeys((group[0], group[-1]))))
        raise UsageError(f"{files}: {len(pixels)} images and {len(classes)} labels; valid: as many of one as of the other")
    return Split(torch.from_numpy(pixels), torch.from_numpy(classes))


def _pixels(images: NDArray[Any], file: Path) -> NDArray[np.uint8]:
    """Return images as bytes; raise `UsageError` if there are none, or a value does not fit into a byte."""
    if images.ndim != 4:
        raise UsageError(f"{file}: images of shape {images.shape}; valid: [images, channels, height, width]")
    if not images.size:
        raise UsageError(f"{file} holds no images; valid: at least one image of each class")
    if images.dtype.kind not in "iu":
        # Floats could range from 0 to 1, from -1 to 1 or from 0 to 255: only their owner knows.
        raise UsageError(
            f"{file}: pixels are of type {images.dtype}, such as {images.flat[0]!s}; valid: whole numbers 0 to 255"
        )
    if images.dtype != np.uint8:
        for value in (images.min(), images.max()):
            if not 0 <= value <= 255:
                raise UsageError(f"{file}: a pixel has the value {value}; valid: whole numbers 0 to 255")
    return np.array(images, dtype=np.uint8)


def _classes(labels: NDArray[Any], file: Path) -> NDArray[np.int64]:
    """Return labels as whole numbers; raise `UsageError` if a label is none."""
    if labels.ndim != 1:
        raise UsageError(f"{file}: labels of shape {labels.shape}; valid: one number for each image, [images]")
    if labels.dtype.kind == "f":
        fractional = labels[~(np.isfinite(labels) & (labels == np.round(labels)))]
        if fractional.size:
            raise UsageError(f"{file}: label {fractional[0]}; valid: whole numbers")
    elif labels.dtype.kind not in "iub":
        raise UsageError(f"{file}: labels are of type {labels.dtype}, such as {labels[:1].tolist()}; valid: whole numbers")
    return np.array(labels, dtype=np.int64)
