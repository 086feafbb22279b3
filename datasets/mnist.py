"""MNIST: handwritten digits, 60,000 and 10,000 grey images of 28x28 pixels (LeCun, Bottou, Bengio and Haffner 1998)."""

from __future__ import annotations

from datasets.fingerprint import Fingerprint
from datasets.idx import idx_files
from datasets.parquet import parquet_files
from datasets.source import Download, Source

SOURCE = Source(
    name="mnist",
    label="MNIST",
    classes=tuple("0123456789"),
    mean=(0.1307,),
    std=(0.3081,),
    size=28,
    flip=False,
    counts=(60_000, 10_000),
    layouts=(idx_files("MNIST"), parquet_files("mnist", channels=1)),
    download=Download("MNIST"),
    published=Fingerprint(
        digest="0aa7c20ef49bc7788bb210de18733e7f88be50b54cbe06b5f44fce6283641827",
        content="2c657de71321b6015ab4b902f2947a3f684218bdb45feefbd47be38d7023d90c",
    ),
)
