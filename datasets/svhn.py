"""SVHN: digits of house numbers, 73,257 and 26,032 colour images of 32x32 pixels (Netzer et al. 2011).

Its files are MATLAB's. No other set has that format, so it is read here.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path

from bench.errors import UsageError
from bench.files import is_file, reading
from bench.lazy import numpy as np
from bench.lazy import scipy
from bench.types import Split
from datasets.parquet import parquet_files
from datasets.reading import Group, make_split
from datasets.source import Download, Groups, Layout, Source


def matlab_files(folder: str) -> Layout:
    """Return the layout of SVHN's two MATLAB files in `<data root>/<folder>`."""
    return Layout(f"{folder}/train_32x32.mat + test_32x32.mat", partial(_files, folder=folder), _read_file)


def _files(root: Path, *, folder: str) -> tuple[Groups, Groups] | None:
    train, test = (root / folder / f"{split}_32x32.mat" for split in ("train", "test"))
    return (((train,),), ((test,),)) if is_file(train) and is_file(test) else None


def _read_file(group: Group, split: str) -> Split:
    (file,) = group
    with reading(file):
        content = scipy.io.loadmat(str(file))
        images, labels = content["X"], content["y"]
        if images.ndim != 4:
            raise UsageError(f"{file}: X is of shape {images.shape}; valid: [32, 32, 3, images]")
        if labels.ndim != 2 or 1 not in labels.shape:
            raise UsageError(f"{file}: y is of shape {labels.shape}; valid: [images, 1]")
        numbers = make_split(np.transpose(images, (3, 2, 0, 1)), labels.reshape(-1), group)  # X is [32, 32, 3, N]
        for label in (int(numbers.labels.min()), int(numbers.labels.max())):
            if not 0 <= label <= 10:
                raise UsageError(f"{file}: label {label}; valid: 1 to 9, and 10 for the digit 0")
        return Split(numbers.images, numbers.labels % 10)  # the files say 10 for the digit 0


SOURCE = Source(
    name="svhn",
    label="SVHN",
    classes=tuple("0123456789"),
    mean=(0.4377, 0.4438, 0.4728),
    std=(0.198, 0.201, 0.197),
    size=32,
    flip=False,
    counts=(73_257, 26_032),
    # torchvision writes into the data root itself; people also keep the files in a folder of their own.
    layouts=(*map(matlab_files, (".", "svhn", "SVHN")), parquet_files("svhn", channels=3, configuration="cropped_digits")),
    download=Download("SVHN", calls=({"split": "train"}, {"split": "test"})),
)
