"""Datasets of the Hugging Face Hub: a new one is a few lines of data.

    SOURCE = hub_set(
        name="flowers",
        label="Flowers",
        classes=("daisy", "rose", "tulip"),
        mean=(0.46, 0.42, 0.31),
        std=(0.29, 0.27, 0.28),
        size=32,
        flip=True,
    )

That is all of `datasets/flowers.py`, after the import; add its line to the registry in `datasets/__init__.py`. The files are
`train*.parquet` and `test*.parquet` in `<data root>/flowers`, or in a folder below it.
"""

from __future__ import annotations

from datasets.parquet import parquet_files
from datasets.source import Source


def hub_set(
    *,
    name: str,
    label: str,
    classes: tuple[str, ...],
    mean: tuple[float, ...],
    std: tuple[float, ...],
    size: int,
    flip: bool,
    image_column: str | None = None,
    label_column: str | None = None,
) -> Source:
    """Return the source of a dataset in the Hub's parquet layout.

    Args:
        name: its key in the registry, and the folder of its files below the data root.
        label: what tables and figures print.
        classes: class names, in the order of labels.
        mean: the mean of each channel over the training images, scaled to [0, 1]; one value means grey images.
        std: the standard deviation of each channel, likewise.
        size: height and width of an image.
        flip: whether a mirrored image keeps its class.
        image_column: the column of images, if it is neither `img` nor `image`.
        label_column: the column of labels, if it is neither `label` nor `fine_label`.

    """
    return Source(
        name=name,
        label=label,
        classes=classes,
        mean=mean,
        std=std,
        size=size,
        flip=flip,
        layouts=(parquet_files(name, channels=len(mean), image_column=image_column, label_column=label_column),),
    )
