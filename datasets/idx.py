"""IDX files, the format of MNIST: a header with the sizes of an array, and its bytes."""

from __future__ import annotations

import gzip
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from bench.errors import UsageError
from bench.files import is_file, reading
from bench.lazy import numpy as np
from bench.types import Split
from datasets.reading import Group, make_split
from datasets.source import Groups, Layout

if TYPE_CHECKING:
    from numpy.typing import NDArray


def idx_files(folder: str) -> Layout:
    """Return the layout of torchvision's MNIST classes: four IDX files, gzipped or not, in `<data root>/<folder>/raw`."""
    return Layout(f"{folder}/raw/*-ubyte", partial(_files, folder=folder), _read_files)


def _files(root: Path, *, folder: str) -> tuple[Groups, Groups] | None:
    splits: list[Groups] = []
    for prefix in ("train", "t10k"):
        images = _existing_file(root / folder / "raw" / f"{prefix}-images-idx3-ubyte")
        labels = _existing_file(root / folder / "raw" / f"{prefix}-labels-idx1-ubyte")
        if images is None or labels is None:
            return None
        splits.append(((images, labels),))
    return splits[0], splits[1]


def _existing_file(file: Path) -> Path | None:
    """Return `file` or its gzipped form, whichever exists; None if neither does."""
    return next((path for path in (file, file.with_name(file.name + ".gz")) if is_file(path)), None)


def _read_files(group: Group, split: str) -> Split:
    images, labels = group
    pixels = _read_array(images)
    if pixels.ndim != 3:
        raise UsageError(f"{images}: images of shape {pixels.shape}; valid: [images, height, width]")
    return make_split(pixels[:, None], _read_array(labels), group)  # [N, H, W] to [N, 1, H, W]


def _read_array(file: Path) -> NDArray[np.uint8]:
    """Return the array in an IDX file.

    The file has two zero bytes, a byte for the type of numbers, a byte for the number of dimensions, the size of each
    dimension in four bytes, the highest first, and then the numbers.
    """
    with reading(file):
        data = gzip.decompress(file.read_bytes()) if file.suffix == ".gz" else file.read_bytes()
        start = 4 + 4 * data[3]
        if data[:3] != b"\0\0\x08":
            raise ValueError("no IDX file of bytes")
        sizes = np.frombuffer(data[4:start], ">u4")
        return np.frombuffer(data[start:], np.uint8).reshape(tuple(sizes))
