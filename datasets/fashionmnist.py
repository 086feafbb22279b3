"""FashionMNIST: clothes, 60,000 and 10,000 grey images of 28x28 pixels (Xiao, Rasul and Vollgraf 2017)."""

from __future__ import annotations

from datasets.fingerprint import Fingerprint
from datasets.idx import idx_files
from datasets.parquet import parquet_files
from datasets.source import Download, Source

SOURCE = Source(
    name="fashionmnist",
    label="FashionMNIST",
    classes=("T-shirt", "trouser", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag", "ankle boot"),
    aliases=(("T-shirt/top", "T-shirt"),),
    mean=(0.2861,),
    std=(0.3530,),
    size=28,
    flip=True,
    counts=(60_000, 10_000),
    layouts=(idx_files("FashionMNIST"), parquet_files("fashionmnist", channels=1)),
    download=Download("FashionMNIST"),
    published=Fingerprint(
        digest="716d5f68e8f5db27bc8d166bb1656171b77a4c127b2e67ab932d4e2037aab7fa",
        content="ea61a6093101f04441719bfe471eaab339cfe14ee228ec16bbf3bbf5a7863869",
    ),
)
