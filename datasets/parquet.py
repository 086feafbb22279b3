"""Parquet files as the Hugging Face Hub keeps image datasets: a column of encoded images, and a column of labels."""

from __future__ import annotations

import io
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from bench.errors import UsageError
from bench.lazy import PIL, pyarrow
from bench.lazy import numpy as np
from bench.lazy import pandas as pd
from bench.types import Split
from datasets.source import Layout, Splits, make_split, reading

if TYPE_CHECKING:
    from numpy.typing import NDArray

IMAGE_COLUMNS = ("img", "image")
"""The usual names of the column of images."""

LABEL_COLUMNS = ("label", "fine_label")
"""The usual names of the column of labels; CIFAR-100 has `fine_label`, besides the labels of its 20 coarse classes."""


def parquet_files(folder: str, *, channels: int, image_column: str | None = None, label_column: str | None = None) -> Layout:
    """Return the layout of `train*.parquet` and `test*.parquet` in `<data root>/<folder>`.

    Args:
        folder: the name of the folder.
        channels: 1 to read the images as grey, 3 as colour.
        image_column: the column of images; where it is not given, the first of `IMAGE_COLUMNS` that is there.
        label_column: the column of labels; where it is not given, the first of `LABEL_COLUMNS` that is there.

    """
    read = partial(
        _read_splits,
        folder=folder,
        mode="L" if channels == 1 else "RGB",
        image_columns=(image_column,) if image_column else IMAGE_COLUMNS,
        label_columns=(label_column,) if label_column else LABEL_COLUMNS,
    )
    return Layout(f"{folder}/train*.parquet + test*.parquet", read)


def _read_splits(
    root: Path, *, folder: str, mode: str, image_columns: tuple[str, ...], label_columns: tuple[str, ...]
) -> Splits | None:
    splits = []
    for part in ("train", "test"):
        files = sorted((root / folder).glob(f"{part}*.parquet"))
        if not files:
            return None
        splits.append(files)
    train, test = (_read_split(files, mode, image_columns, label_columns) for files in splits)
    return train, test


def _read_split(files: list[Path], mode: str, image_columns: tuple[str, ...], label_columns: tuple[str, ...]) -> Split:
    """Return the split whose rows are in `files`, decoding its images to the mode `L` or `RGB` of PIL."""
    image_column, label_column = _columns(files[0], image_columns, label_columns)
    tables = []
    for file in files:
        with reading(file):
            tables.append(pd.read_parquet(file, columns=[image_column, label_column]))
    table = pd.concat(tables)
    with reading(files[0].parent), ThreadPoolExecutor() as pool:
        images = np.stack(list(pool.map(partial(_decode, mode=mode), table[image_column], chunksize=256)))
    return make_split(images, table[label_column].to_numpy())


def _columns(file: Path, image_columns: tuple[str, ...], label_columns: tuple[str, ...]) -> tuple[str, str]:
    """Return the names of the columns of images and of labels; raise `UsageError` where the file has neither."""
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


def _decode(cell: Mapping[str, bytes], *, mode: str) -> NDArray[np.uint8]:
    """Return the pixels of an encoded image, `[channels, H, W]`."""
    with PIL.Image.open(io.BytesIO(cell["bytes"])) as image:
        pixels = np.asarray(image.convert(mode))
    return pixels[None] if mode == "L" else pixels.transpose(2, 0, 1)
