"""Parquet as the Hugging Face Hub keeps datasets: a row an image, with its label and seed.

We write images as nested lists of float32 in normalised units, and what is said of the set into the metadata of the schema.
Sets of others may also hold encoded images, which are pixels.
"""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.errors import UsageError
from bench.files import atomic, reading
from bench.lazy import numpy as np
from bench.lazy import pyarrow
from bench.sets.described import assembled
from bench.sets.distilled import DistilledSet
from bench.sets.encoded import decoded, stacked
from bench.sets.splits import parquet_of_set

if TYPE_CHECKING:
    import pyarrow as pa
    from numpy.typing import NDArray

IMAGE_COLUMNS = ("image", "img", "images")
LABEL_COLUMNS = ("soft_label", "label", "labels")
"""The columns that are looked for, in this order: soft labels count before hard ones."""

_KEY = b"distilled_set"
"""The key of our metadata in the schema."""


def read_parquet(path: Path) -> DistilledSet:
    """Return the set in a Parquet file, or in those of a folder; raise `UsageError` if it has no such columns.

    Of files, or rows with a column `split`, of several splits, those for training are read.
    """
    files, remarks = parquet_of_set(path) if path.is_dir() else ([path], ())
    with reading(path):
        table = pyarrow.concat_tables([pyarrow.parquet.read_table(file) for file in files])
        table, more = _training_rows(table)
    image_column, label_column = (_column(table, names) for names in (IMAGE_COLUMNS, LABEL_COLUMNS))
    with reading(path):
        about = json.loads((table.schema.metadata or {}).get(_KEY, b"{}"))
        (images, lossy), labels = _images(table[image_column]), _labels(table[label_column])
        seeds = _array(table["seed"]) if "seed" in table.column_names else np.zeros(len(labels), int)
        order = list(dict.fromkeys(seeds.tolist()))
        return assembled(
            [(images[seeds == seed], labels[seeds == seed]) for seed in order],
            {"classes": _class_names(table, label_column)} | about,
            seeds=order,
            remarks=(*remarks, *more, *lossy),
        )


def _training_rows(table: pa.Table) -> tuple[pa.Table, tuple[str, ...]]:
    """Return the rows of the training split, if a column `split` names several, and what is left out."""
    splits = pyarrow.compute.unique(table["split"]).to_pylist() if "split" in table.column_names else []
    if len(splits) < 2:
        return table, ()
    if "train" not in splits:
        raise UsageError(f"a column split with {splits}; valid: rows of one split, or some of 'train'")
    rows = table.filter(pyarrow.compute.equal(table["split"], "train"))
    return rows, (f"its rows of the split 'train' are read, {len(rows)} of {len(table)}",)


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


def _images(column: pa.ChunkedArray) -> tuple[NDArray[Any], tuple[str, ...]]:
    """Return a column of nested lists, or of encoded images, as `[N, channels, H, W]`, and what has to be said of it."""
    if not (pyarrow.types.is_struct(column.type) or pyarrow.types.is_binary(column.type)):
        return _array(column), ()
    pictures = []
    for row, cell in enumerate(column.to_pylist()):
        content = cell.get("bytes") if isinstance(cell, dict) else cell
        if not content:
            what = f"the path {cell['path']!r} and no image" if isinstance(cell, dict) and cell.get("path") else "no image"
            raise UsageError(f"row {row} has {what}; valid: an encoded image in each row")
        pictures.append(decoded(io.BytesIO(content)))
    return stacked(pictures)


def _labels(column: pa.ChunkedArray) -> NDArray[Any]:
    """Return a column of labels: numbers, probabilities, or names of classes."""
    if not pyarrow.types.is_string(column.type):
        return _array(column)
    if column.null_count:
        raise UsageError("a column has empty cells; valid: a value in each")
    return np.asarray(column.to_pylist())


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


def _class_names(table: pa.Table, label_column: str) -> tuple[str, ...]:
    """Return the class names that the Hub's library wrote into the schema, if it did."""
    described = json.loads((table.schema.metadata or {}).get(b"huggingface", b"{}"))
    column = described.get("info", {}).get("features", {}).get(label_column, {})
    return tuple(map(str, column.get("names", ()) or ()))
