"""Digits: scikit-learn's 1,797 handwritten digits of 8x8 pixels, the set that needs no download.

They are the test part of UCI's "Optical Recognition of Handwritten Digits".
"""

from __future__ import annotations

from pathlib import Path

from bench.lazy import numpy as np
from bench.lazy import sklearn, torch
from bench.types import Split
from datasets.source import Layout, Source, Splits


def _read(root: Path) -> Splits:
    """Return the first four fifths of each class for training and the rest for testing, in the original order.

    The set is ordered by writer. So the writers of the two splits differ, except at the boundary of each class.
    """
    digits = sklearn.datasets.load_digits()
    grey = np.rint(digits.images * (255 / 16)).astype(np.uint8)  # grey levels 0..16 become 0..255
    images = torch.from_numpy(grey).unsqueeze(1)  # [N, 1, 8, 8]
    labels = torch.from_numpy(digits.target.astype(np.int64))
    train = torch.zeros(len(labels), dtype=torch.bool)
    for label in range(10):
        members = (labels == label).nonzero().flatten()
        train[members[: round(0.8 * len(members))]] = True
    return Split(images[train], labels[train]), Split(images[~train], labels[~train])


SOURCE = Source(
    name="digits",
    label="Digits",
    classes=tuple("0123456789"),
    mean=(0.3054,),
    std=(0.3753,),
    size=8,
    flip=False,
    layouts=(Layout("(embedded in scikit-learn)", _read),),
)
