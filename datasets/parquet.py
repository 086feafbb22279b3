"""Parquet files as the Hugging Face Hub keeps image datasets: a column of encoded images, and a column of labels."""

from __future__ import annotations

import io
import re
import warnings
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from bench.errors import UsageError
from bench.files import DataWarning, is_file, reading
from bench.lazy import numpy as np
from bench.lazy import pandas as pd
from bench.lazy import pyarrow
from bench.types import Split
from datasets.pictures import convert, has_alpha, open_image
from datasets.reading import Group, make_split
from datasets.source import Groups, Layout

if TYPE_CHECKING:
    from numpy.typing import NDArray

IMAGE_COLUMNS = ("img", "image")
"""The usual names of the column of images."""

LABEL_COLUMNS = ("label", "fine_label")
"""The usual names of the column of labels; CIFAR-100 has `fine_label`, besides the labels of its 20 coarse classes."""

_SHARD = re.compile(r"(?P<split>.+?)-(?P<number>\d+)-of-(?P<count>\d+)(-[0-9a-f]+)?\.parquet")
"""The Hub's name of one file of several, with or without a hash at its end."""


def parquet_files(folder: str, *, channels: int, image_column: str | None = None, label_column: str | None = None) -> Layout:
    """Return the layout of `train*.parquet` and `test*.parquet` in `<data root>/<folder>`.

    Args:
        folder: the name of the folder.
        channels: 1 to read the images as grey, 3 as colour.
        image_column: the column of images; by default, the first of `IMAGE_COLUMNS` that the file has.
        label_column: the column of labels; by default, the first of `LABEL_COLUMNS` that the file has.

    """
    read = partial(
        _read_shard,
        mode="L" if channels == 1 else "RGB",
        image_columns=(image_column,) if image_column else IMAGE_COLUMNS,
        label_columns=(label_column,) if label_column else LABEL_COLUMNS,
    )
    return Layout(f"{folder}/train*.parquet + test*.parquet", partial(_files, folder=folder), read)


def _files(root: Path, *, folder: str) -> tuple[Groups, Groups] | None:
    train, test = (_shards(root / folder, split) for split in ("train", "test"))
    return (train, test) if train and test else None


def _shards(folder: Path, split: str) -> Groups:
    """Return the files of a split in order; raise `UsageError` if some are missing, or belong to another set.

    `train-00000-of-00002.parquet` is the first of two files: without the second, half of the images would count as all.
    """
    files = sorted(path for path in folder.glob(f"{split}*.parquet") if is_file(path))
    shards = [match for file in files if (match := _SHARD.fullmatch(file.name))]
    if not shards:
        return tuple((file,) for file in files)
    sets = {(match["split"], match["count"]) for match in shards}
    if len(sets) > 1 or len(shards) < len(files):
        names = ", ".join(file.name for file in files)
        raise UsageError(
            f"{folder} holds more than one set of {split} files: {names}; valid: one file, or all shards of one set"
        )
    numbers, count = [int(match["number"]) for match in shards], int(shards[0]["count"])
    missing = next((number for number in range(count) if number not in numbers), None)
    if missing is not None or len(numbers) != count:
        first = shards[0]["split"]
        lack = f"lacks {first}-{missing:05}-of-{count:05}" if missing is not None else f"holds a shard of {first} twice"
        raise UsageError(f"{folder} {lack}: it has {len(numbers)} of {count}; valid: each shard once")
    return tuple((file,) for file in files)


def _read_shard(
    group: Group, split: str, *, mode: str, image_columns: tuple[str, ...], label_columns: tuple[str, ...]
) -> Split:
    """Return the rows of a file, decoding its images to the mode `L` or `RGB` of Pillow."""
    (file,) = group
    image_column, label_column = _columns(file, image_columns, label_columns)
    with reading(file):
        table = pd.read_parquet(file, columns=[image_column, label_column])
        names = [f"{file}, row {row}" for row in range(len(table))]
        with ThreadPoolExecutor() as pool:
            decoded = list(pool.map(partial(_decode, mode=mode), table[image_column], names, chunksize=256))
        for name, (pixels, _) in zip(names, decoded, strict=True):
            if pixels.shape != decoded[0][0].shape:
                raise UsageError(f"{name}: an image of shape {pixels.shape}; valid: {decoded[0][0].shape}, as the first")
        transparent = sum(alpha for _, alpha in decoded)
        if transparent:
            warnings.warn(f"{file}: {transparent} images have an alpha channel, which is dropped", DataWarning, stacklevel=2)
        images = np.stack([pixels for pixels, _ in decoded]) if decoded else np.empty((0, 1, 0, 0), np.uint8)
        return make_split(images, table[label_column].to_numpy(), group)


def _columns(file: Path, image_columns: tuple[str, ...], label_columns: tuple[str, ...]) -> tuple[str, str]:
    """Return the names of the columns of images and of labels; raise `UsageError` if the file lacks either."""
    with reading(file):
        columns = pyarrow.parquet.read_schema(file).names
    image_column = next((name for name in image_columns if name in columns), None)
    label_column = next((name for name in label_columns if name in columns), None)
    if image_column is None or label_column is None:
        raise UsageError(
            f"{file} has columns {', '.join(columns)}; valid: an image column {' or '.join(image_columns)} "
            f"and a label column {' or '.join(label_columns)}"
        )
    return image_column, label_column


def _decode(cell: Mapping[str, bytes], name: str, *, mode: str) -> tuple[NDArray[np.uint8], bool]:
    """Return the pixels of an encoded image, `[channels, H, W]`, and whether it has an alpha channel, which is dropped."""
    with open_image(io.BytesIO(cell["bytes"])) as image:
        pixels, alpha = np.asarray(convert(image, mode, name)), has_alpha(image)
    return (pixels[None] if mode == "L" else pixels.transpose(2, 0, 1)), alpha
