"""Parquet as the Hugging Face Hub keeps datasets: a row an image, with its label and seed.

We write images as nested lists of float32 in normalised units, and what is said of the set into the metadata of the schema.
Sets of others may also hold encoded images, which are pixels.
"""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from bench.errors import UsageError
from bench.files import atomic, is_file, reading
from bench.lazy import PIL, pyarrow
from bench.lazy import numpy as np
from bench.sets.distilled import Distillation, DistilledSet, described, learning_rates

if TYPE_CHECKING:
    import pyarrow as pa
    from numpy.typing import NDArray

IMAGE_COLUMNS = ("image", "img", "images")
LABEL_COLUMNS = ("soft_label", "label", "labels")
"""The columns that are looked for, in this order: soft labels count before hard ones."""

IMAGE_FORMATS = ("PNG", "JPEG", "BMP", "WEBP")
"""The formats of encoded images that are opened: Pillow starts other programs for some."""

_KEY = b"distilled_set"
"""The key of our metadata in the schema."""


def parquet_files(folder: Path) -> list[Path]:
    """Return the Parquet files in a folder, or below it in `data/`, where the Hub has them too."""
    return sorted(path for path in (*folder.glob("*.parquet"), *folder.glob("data/*.parquet")) if is_file(path))


def read_parquet(path: Path) -> DistilledSet:
    """Return the set in a Parquet file, or in those of a folder; raise `UsageError` if it has no such columns."""
    files = parquet_files(path) if path.is_dir() else [path]
    with reading(path):
        tables = [pyarrow.parquet.read_table(file) for file in files]
        table = pyarrow.concat_tables(tables)
    image_column, label_column = (_column(table, names) for names in (IMAGE_COLUMNS, LABEL_COLUMNS))
    with reading(path):
        about = json.loads((table.schema.metadata or {}).get(_KEY, b"{}"))
        images, labels = _images(table[image_column]), _array(table[label_column])
        seeds = _array(table["seed"]) if "seed" in table.column_names else np.zeros(len(labels), int)
        order = dict.fromkeys(seeds.tolist())
        rates = zip(order, learning_rates(about, len(order)), strict=True)
        return DistilledSet(
            distillations=tuple(
                Distillation.of(int(seed), images[seeds == seed], labels[seeds == seed], lr) for seed, lr in rates
            ),
            **described({"classes": _class_names(table, label_column)} | about),
        )


def write_parquet(path: Path, content: DistilledSet) -> None:
    """Write a set to a Parquet file: columns `image`, `label`, `seed`, and `soft_label` if labels are probabilities."""
    each = content.distillations
    images = np.concatenate([distillation.images for distillation in each])
    columns = {
        "image": _nested(images),
        "label": pyarrow.array(np.concatenate([distillation.hard_labels for distillation in each])),
        "seed": pyarrow.array(np.repeat(content.seeds, len(each[0].images))),
    }
    if each[0].soft:
        columns["soft_label"] = _nested(np.concatenate([distillation.labels for distillation in each]))
    about = {name: getattr(content, name) for name in ("classes", "mean", "std", "dataset")}
    about |= {"accuracies": dict(content.accuracies), "details": dict(content.details)}
    about |= {"lr": content.lrs} if content.lrs else {}
    metadata = {"huggingface": json.dumps({"info": {"features": features(content)}}), _KEY: json.dumps(about)}
    with atomic(path) as temporary:
        pyarrow.parquet.write_table(pyarrow.table(columns).replace_schema_metadata(metadata), temporary)


def features(content: DistilledSet) -> dict[str, Any]:
    """Return the columns as the Hub's library describes them in the schema of a file."""
    number = {"dtype": "int64", "_type": "Value"}
    columns: dict[str, Any] = {
        "image": {"shape": list(content.shape), "dtype": "float32", "_type": "Array3D"},
        "label": {"names": list(content.classes), "_type": "ClassLabel"} if content.classes else number,
        "seed": number,
    }
    if content.distillations[0].soft:
        columns["soft_label"] = {"feature": {"dtype": "float32", "_type": "Value"}, "_type": "Sequence"}
    return columns


def _nested(values: NDArray[Any]) -> pa.Array:
    """Return an array `[N, ...]` as a column of lists, of lists of lists, and so on."""
    column = pyarrow.array(values.reshape(-1))
    for size in values.shape[:0:-1]:
        offsets = np.arange(0, len(column) + 1, size, dtype=np.int32)
        column = pyarrow.ListArray.from_arrays(pyarrow.array(offsets), column)
    return column


def _column(table: pa.Table, names: tuple[str, ...]) -> str:
    for name in names:
        if name in table.column_names:
            return name
    raise UsageError(f"columns {', '.join(table.column_names)}; valid: a column {' or '.join(names)}")


def _images(column: pa.ChunkedArray) -> NDArray[Any]:
    """Return a column of nested lists, or of encoded images, as `[N, channels, H, W]`."""
    if pyarrow.types.is_struct(column.type):
        return np.stack([decoded(io.BytesIO(cell["bytes"])) for cell in column.to_pylist()])
    return _array(column)


def _array(column: pa.ChunkedArray) -> NDArray[Any]:
    """Return a column of numbers, or of nested lists of one shape, as an array; raise `UsageError` if shapes differ."""
    values, shape = column.combine_chunks(), [len(column)]
    while pyarrow.types.is_nested(values.type):
        lengths = pyarrow.compute.unique(pyarrow.compute.list_value_length(values)).to_pylist()
        if len(lengths) != 1 or lengths[0] is None:
            raise UsageError(f"lists of lengths {lengths} in one column; valid: images, or soft labels, of one shape")
        shape.append(lengths[0])
        values = pyarrow.compute.list_flatten(values)
    if values.null_count:
        raise UsageError("a column has empty cells; valid: a value in each")
    array: NDArray[Any] = values.to_numpy(zero_copy_only=False).reshape(shape)
    return array


def decoded(stream: IO[bytes]) -> NDArray[Any]:
    """Return the pixels of an encoded image, uint8 `[channels, H, W]`: one channel if it is grey, else three."""
    with PIL.Image.open(stream, formats=IMAGE_FORMATS) as image:
        if image.mode not in ("L", "RGB"):
            raise UsageError(f"an image of Pillow's mode {image.mode}; valid: L (grey) or RGB, 8 bits a channel")
        pixels = np.asarray(image)
    return pixels[None] if pixels.ndim == 2 else np.ascontiguousarray(pixels.transpose(2, 0, 1))


def _class_names(table: pa.Table, label_column: str) -> tuple[str, ...]:
    """Return the class names that the Hub's library wrote into the schema, if it did."""
    described = json.loads((table.schema.metadata or {}).get(b"huggingface", b"{}"))
    column = described.get("info", {}).get("features", {}).get(label_column, {})
    return tuple(map(str, column.get("names", ()) or ()))
