"""SVHN: digits of house numbers, 73,257 and 26,032 colour images of 32x32 pixels (Netzer et al. 2011).

Its files are MATLAB's. No other set has that format, so it is read here.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path

from bench.lazy import numpy as np
from bench.lazy import scipy
from bench.types import Split
from datasets.parquet import parquet_files
from datasets.source import Download, Layout, Source, Splits, make_split, reading


def matlab_files(folder: str) -> Layout:
    """Return the layout of SVHN's two MATLAB files in `<data root>/<folder>`."""
    return Layout(f"{folder}/train_32x32.mat + test_32x32.mat", partial(_read_splits, folder=folder))


def _read_splits(root: Path, *, folder: str) -> Splits | None:
    train, test = (root / folder / f"{part}_32x32.mat" for part in ("train", "test"))
    if not (train.is_file() and test.is_file()):
        return None
    return _read_split(train), _read_split(test)


def _read_split(file: Path) -> Split:
    with reading(file):
        content = scipy.io.loadmat(str(file))
        images = np.transpose(content["X"], (3, 2, 0, 1))  # from [32, 32, 3, N]
        labels = content["y"].reshape(-1) % 10  # the files say 10 for the digit 0
        return make_split(images, labels)


SOURCE = Source(
    name="svhn",
    label="SVHN",
    classes=tuple("0123456789"),
    mean=(0.4377, 0.4438, 0.4728),
    std=(0.198, 0.201, 0.197),
    size=32,
    flip=False,
    # torchvision writes into the data root itself; people also keep the files in a folder of their own.
    layouts=(*map(matlab_files, (".", "svhn", "SVHN")), parquet_files("svhn", channels=3)),
    download=Download("SVHN", calls=({"split": "train"}, {"split": "test"})),
)
