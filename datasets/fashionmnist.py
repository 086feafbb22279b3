"""FashionMNIST: clothes, 60,000 and 10,000 grey images of 28x28 pixels (Xiao, Rasul and Vollgraf 2017)."""

from __future__ import annotations

from datasets.idx import idx_files
from datasets.parquet import parquet_files
from datasets.source import Download, Source

SOURCE = Source(
    name="fashionmnist",
    label="FashionMNIST",
    classes=("T-shirt", "trouser", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag", "ankle boot"),
    mean=(0.2861,),
    std=(0.3530,),
    size=28,
    flip=True,
    layouts=(idx_files("FashionMNIST"), parquet_files("fashionmnist", channels=1)),
    download=Download("FashionMNIST"),
)
