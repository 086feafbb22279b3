"""The embedded default: scikit-learn's 1,797 handwritten digits of 8x8 pixels (a part of UCI's optical recognition set)."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from datasets.source import Layout, Source

if TYPE_CHECKING:
    from bench.types import Split


def _read(root: Path) -> tuple[Split, Split]:
    """Return the first four fifths of each class for training and the rest for testing, in the original order.

    The set is ordered by writer, so the writers of the two splits differ but for those at the boundary.
    """
    import numpy as np
    import torch
    from sklearn.datasets import load_digits

    from bench.types import Split

    digits = load_digits()
    # Grey levels 0..16 to 0..255.
    images = torch.from_numpy(np.rint(digits.images * (255 / 16)).astype(np.uint8)).unsqueeze(1)  # [N, 1, 8, 8]
    labels = torch.from_numpy(digits.target.astype(np.int64))
    train = torch.zeros(len(labels), dtype=torch.bool)
    for label in range(10):
        members = (labels == label).nonzero().flatten()
        train[members[: round(0.8 * len(members))]] = True
    return Split(images[train], labels[train]), Split(images[~train], labels[~train])


DIGITS = Source(
    name="digits",
    label="Digits",
    classes=tuple("0123456789"),
    mean=(0.3054,),
    std=(0.3753,),
    size=8,
    flip=False,
    layouts=(Layout("(embedded in scikit-learn)", _read),),
)
