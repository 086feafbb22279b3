"""CIFAR-10: 50,000 and 10,000 colour images of 32x32 pixels in ten classes (Krizhevsky 2009)."""

from __future__ import annotations

from datasets.cifar_pickle import pickle_files
from datasets.fingerprint import Fingerprint
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
    aliases=(("plane", "airplane"), ("aeroplane", "airplane"), ("car", "automobile")),
    mean=(0.4914, 0.4822, 0.4465),
    # The field's values: the mean over images of each image's own deviation, not the deviation of all pixels (0.247, ...).
    std=(0.2023, 0.1994, 0.2010),
    size=32,
    flip=True,
    counts=(50_000, 10_000),
    layouts=(_PICKLES, parquet_files("cifar10", channels=3)),
    download=Download("CIFAR10"),
    # The order is that of the shuffled copy under which the reference records were made; other copies have the same content.
    published=Fingerprint(
        digest="fa6b6d2fe0dd4f6e7af7f8f6894e54a1f88e91cc043a405c8a7aa1805e4d3a23",
        content="6c7d9a80f5ed1f9263d6c762ee1589051c149c98e277761d806422ca9f08f7ee",
    ),
)
