"""Parquet files as the Hugging Face Hub keeps image datasets: a column of encoded images, and a column of labels.

They are in a folder of the dataset's name, or below it: `mnist/mnist/train-00000-of-00001.parquet`, `cifar10/plain_text/...`,
`fashion_mnist/data/...`, `mnist/default/train/0000.parquet`.
"""

from __future__ import annotations

import io
import re
import warnings
from collections import defaultdict
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from bench.errors import UsageError, listed
from bench.files import DataWarning, announced, is_file, reading
from bench.lazy import numpy as np
from bench.lazy import pandas as pd
from bench.lazy import pyarrow
from bench.types import Split
from datasets.pictures import convert, has_alpha, open_image
from datasets.reading import Group, make_split
from datasets.searching import files_below, is_called, only
from datasets.source import Groups, Layout

if TYPE_CHECKING:
    from numpy.typing import NDArray

IMAGE_COLUMNS = ("img", "image")
"""The usual names of the column of images."""

LABEL_COLUMNS = ("label", "fine_label")
"""The usual names of the column of labels; CIFAR-100 has `fine_label`, besides the labels of its 20 coarse classes."""

_SHARD = re.compile(r"(?P<split>.+?)-(?P<number>\d+)-of-(?P<count>\d+)(-[0-9a-f]+)?\.parquet")
"""The Hub's name of one file of several, with or without a hash at its end."""


_SPLIT = re.compile(r"(?:^|[-_.])(train|test|val|dev)", re.IGNORECASE)
"""What the name of a file, or of its folder, says of the split."""


def parquet_files(
    folder: str,
    *,
    channels: int,
    image_column: str | None = None,
    label_column: str | None = None,
    configuration: str = "",
) -> Layout:
    """Return the layout of `train*.parquet` and `test*.parquet` in `<data root>/<folder>`, or in one folder below it.

    Args:
        folder: the name of the folder.
        channels: 1 to read the images as grey, 3 as colour.
        image_column: the column of images; by default, the first of `IMAGE_COLUMNS` that the file has.
        label_column: the column of labels; by default, the first of `LABEL_COLUMNS` that the file has.
        configuration: the folder to take if several have files, as the Hub calls the versions of a dataset.

    """
    read = partial(
        _read_shard,
        mode="L" if channels == 1 else "RGB",
        image_columns=(image_column,) if image_column else IMAGE_COLUMNS,
        label_columns=(label_column,) if label_column else LABEL_COLUMNS,
    )
    find = partial(_files, folder=folder, configuration=configuration)
    return Layout(f"{folder}/train*.parquet + test*.parquet", find, read)


def _files(root: Path, *, folder: str, configuration: str) -> tuple[Groups, Groups] | None:
    for home in (root / folder, *([root] if is_called(root, folder) else [])):
        sets = _sets(home)
        complete = [path for path, splits in sets.items() if "train" in splits and len(splits) > 1]
        preferred = [path for path in complete if path == home] or [path for path in complete if path.name == configuration]
        chosen = only(folder, preferred or complete)
        if chosen is not None:
            splits = sets[chosen]
            test = next(name for name in ("test", "val", "dev") if name in splits)
            if test != "test":
                first = splits[test][0]
                warnings.warn(f"{chosen} has no test split; {first.name} is taken for it", DataWarning, stacklevel=2)
            return _shards(chosen, splits["train"], "train"), _shards(chosen, splits[test], test)
    return None


def _sets(home: Path) -> dict[Path, dict[str, list[Path]]]:
    """Return the files below a folder by their own folder and by the split that their names say.

    A file without a split in its name may be in a folder of the split's name, as `mnist/train/0000.parquet` is.
    """
    sets: dict[Path, dict[str, list[Path]]] = defaultdict(lambda: defaultdict(list))
    for file in files_below(home, "*.parquet"):
        of_folder = _SPLIT.match(file.parent.name) if file.parent != home else None
        split = _SPLIT.search(file.stem) or of_folder
        if split is not None:
            sets[file.parent.parent if of_folder else file.parent][split[1].lower()].append(file)
    return sets


def _shards(folder: Path, candidates: list[Path], split: str) -> Groups:
    """Return the files of a split in order; raise `UsageError` if some are missing, or belong to another set.

    `train-00000-of-00002.parquet` is the first of two files: without the second, half of the images would count as all.
    """
    files = [path for path in candidates if is_file(path)]
    shards = [match for file in files if (match := _SHARD.fullmatch(file.name))]
    if not shards:
        return tuple((file,) for file in files)
    sets = {(match["split"], match["count"]) for match in shards}
    if len(sets) > 1 or len(shards) < len(files):
        names = listed([file.name for file in files])
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
        with ThreadPoolExecutor() as pool:
            pictures = pool.map(partial(_decode, file=file, mode=mode), table[image_column], range(len(table)), chunksize=256)
            decoded = list(announced(pictures, f"pictures of {file} read", total=len(table)))
        for row, (pixels, _) in enumerate(decoded):
            if pixels.shape != decoded[0][0].shape:
                shapes = f"{pixels.shape}; valid: {decoded[0][0].shape}, as the first"
                raise UsageError(f"{file}, row {row}: an image of shape {shapes}")
        transparent = sum(alpha for _, alpha in decoded)
        if transparent:
            warnings.warn(f"{file}: {transparent} images have an alpha channel, which is dropped", DataWarning, stacklevel=2)
        images = np.stack([pixels for pixels, _ in decoded]) if decoded else np.empty((0, 1, 0, 0), np.uint8)
        missing = table[label_column].isna().to_numpy()
        if missing.any():
            raise UsageError(f"{file}, row {missing.argmax()}: label nan, for the file has none there; valid: whole numbers")
        return make_split(images, table[label_column].to_numpy(), group)


def _columns(file: Path, image_columns: tuple[str, ...], label_columns: tuple[str, ...]) -> tuple[str, str]:
    """Return the names of the columns of images and of labels; raise `UsageError` if the file lacks either."""
    with reading(file):
        columns = pyarrow.parquet.read_schema(file).names
    image_column = next((name for name in image_columns if name in columns), None)
    label_column = next((name for name in label_columns if name in columns), None)
    if image_column is None or label_column is None:
        raise UsageError(
            f"{file} has columns {listed(columns)}; valid: an image column {' or '.join(image_columns)} "
            f"and a label column {' or '.join(label_columns)}"
        )
    return image_column, label_column


def _decode(cell: object, row: int, *, file: Path, mode: str) -> tuple[NDArray[np.uint8], bool]:
    """Return the pixels of an encoded image, `[channels, H, W]`, and whether it has an alpha channel, which is dropped."""
    name = f"{file}, row {row}"
    with reading(file, f", row {row},"), open_image(io.BytesIO(_encoded(cell, name))) as image:
        pixels, alpha = np.asarray(convert(image, mode, name)), has_alpha(image)
    return (pixels[None] if mode == "L" else pixels.transpose(2, 0, 1)), alpha


def _encoded(cell: object, name: str) -> bytes:
    """Return the bytes of a picture; raise `UsageError` if there are none.

    Args:
        cell: of a column of images: `{"bytes": ..., "path": ...}`, or the bytes themselves.
        name: the file and its row, for messages.

    """
    content, path = (cell.get("bytes"), cell.get("path")) if isinstance(cell, Mapping) else (cell, cell)
    if isinstance(content, bytes):
        return content
    valid = "valid: a file that holds the encoded pictures themselves"
    if isinstance(path, str):
        raise UsageError(f"{name} has only the path {path!r} of its picture; {valid}")
    kind = "no picture" if content is None else f"{type(content).__name__} in place of a picture"
    raise UsageError(f"{name} has {kind}; {valid}")
