"""IDX files, the format of MNIST: a header with the sizes of an array, and its bytes."""

from __future__ import annotations

import gzip
import itertools
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from bench.errors import UsageError
from bench.files import is_file, reading
from bench.lazy import numpy as np
from bench.types import Split
from datasets.reading import Group, make_split
from datasets.searching import files_below, is_called, only
from datasets.source import Groups, Layout

if TYPE_CHECKING:
    from numpy.typing import NDArray


def idx_files(folder: str) -> Layout:
    """Return the layout of MNIST's four IDX files, gzipped or not: those of torchvision in `<data root>/<folder>/raw`.

    They may also be anywhere in a folder of the dataset's name, and be called `train-images.idx3-ubyte`.
    """
    return Layout(f"{folder}/raw/*-ubyte", partial(_files, folder=folder), _read_files)


def _files(root: Path, *, folder: str) -> tuple[Groups, Groups] | None:
    usual = _in_folder(root / folder / "raw")
    if usual is not None or not is_called(root, folder):
        return usual
    inside = {path.parent for path in files_below(root, "*idx1-ubyte*")}
    splits = {path: files for path in sorted({root, *inside, *(path.parent for path in inside)}) if (files := _in_folder(path))}
    chosen = only(folder, splits)
    return None if chosen is None else splits[chosen]


def _in_folder(folder: Path) -> tuple[Groups, Groups] | None:
    """Return the files of both splits in a folder, or None if one is not there."""
    splits: list[Groups] = []
    for prefix in ("train", "t10k"):
        images = _existing_file(folder, f"{prefix}-images", "idx3-ubyte")
        labels = _existing_file(folder, f"{prefix}-labels", "idx1-ubyte")
        if images is None or labels is None:
            return None
        splits.append(((images, labels),))
    return splits[0], splits[1]


def _existing_file(folder: Path, *name: str) -> Path | None:
    """Return the file of a name, whatever joins its two components, itself or gzipped; None if it is not there.

    Some archives have each file in a folder of the same name.
    """
    names = [f"{joint.join(name)}{suffix}" for joint, suffix in itertools.product("-.", ("", ".gz"))]
    paths = [*(folder / name for name in names), *(folder / name / name for name in names)]
    regular = next((path for path in paths if path.is_file()), None)
    return regular or next((path for path in paths if is_file(path)), None)  # this names what is no regular file


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
