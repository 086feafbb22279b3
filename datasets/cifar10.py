"""CIFAR-10: 50,000 and 10,000 colour images of 32x32 pixels in ten classes (Krizhevsky 2009)."""

from __future__ import annotations

from datasets.cifar_pickle import pickle_files
from datasets.parquet import parquet_files
from datasets.source import Download, Source

_PICKLES = pickle_files(
    "cifar-10-batches-py",
    train=("data_batch_1", "data_batch_2", "data_batch_3", "data_batch_4", "data_batch_5"),
    test="test_batch",
    label_key="labels",
    files="data_batch_1..5 + test_batch",
)

SOURCE = Source(
    name="cifar10",
    label="CIFAR-10",
    classes=("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"),
    mean=(0.4914, 0.4822, 0.4465),
    # The field's values: the mean over images of each image's own deviation, not the deviation of all pixels (0.247, ...).
    std=(0.2023, 0.1994, 0.2010),
    size=32,
    flip=True,
    layouts=(_PICKLES, parquet_files("cifar10", channels=3)),
    download=Download("CIFAR10"),
)
