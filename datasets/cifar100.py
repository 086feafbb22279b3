"""CIFAR-100: 50,000 and 10,000 colour images of 32x32 pixels in a hundred classes (Krizhevsky 2009).

Labels are the fine ones; the twenty coarse classes are not used.
"""

from __future__ import annotations

from datasets.cifar_pickle import pickle_files
from datasets.parquet import parquet_files
from datasets.source import Download, Source

_PICKLES = pickle_files("cifar-100-python", train=("train",), test="test", label_key="fine_labels", files="train + test")

SOURCE = Source(
    name="cifar100",
    label="CIFAR-100",
    classes=tuple(f"class {label}" for label in range(100)),
    mean=(0.5071, 0.4866, 0.4409),
    std=(0.2673, 0.2564, 0.2762),
    size=32,
    flip=True,
    counts=(50_000, 10_000),
    layouts=(_PICKLES, parquet_files("cifar100", channels=3)),
    download=Download("CIFAR100"),
)
