"""Digits: scikit-learn's 1,797 handwritten digits of 8x8 pixels, the set that needs no download.

They are the test set of UCI's "Optical Recognition of Handwritten Digits".
"""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

from bench.lazy import numpy as np
from bench.lazy import torch
from bench.types import Split
from datasets.fingerprint import Fingerprint
from datasets.reading import Group
from datasets.source import Groups, Layout, Source


def _files(root: Path) -> tuple[Groups, Groups] | None:
    """Return scikit-learn's own file, whatever the data root. scikit-learn is not imported for it."""
    spec = find_spec("sklearn")
    if spec is None or spec.origin is None:
        return None
    file = Path(spec.origin).parent / "datasets" / "data" / "digits.csv.gz"
    return ((file,),), ((file,),)  # both splits come from it


def _read(group: Group, split: str) -> Split:
    """Return the first four fifths of each class for training or the rest for testing, in the original order.

    The set is ordered by writer. So the writers of the two splits differ, except at the boundary of each class.
    """
    (file,) = group
    rows = np.loadtxt(file, delimiter=",")  # 64 grey levels, 0 to 16, and the label; scikit-learn takes seconds to import
    grey = np.rint(rows[:, :-1] * (255 / 16)).astype(np.uint8)  # 0 to 255
    images = torch.from_numpy(grey).view(-1, 1, 8, 8)
    labels = torch.from_numpy(rows[:, -1].astype(np.int64))
    train = torch.zeros(len(labels), dtype=torch.bool)
    for label in range(10):
        members = (labels == label).nonzero().flatten()
        train[members[: round(0.8 * len(members))]] = True
    chosen = train if split == "train" else ~train
    return Split(images[chosen], labels[chosen])


SOURCE = Source(
    name="digits",
    label="Digits",
    classes=tuple("0123456789"),
    mean=(0.3054,),
    std=(0.3753,),
    size=8,
    flip=False,
    counts=(1_438, 359),
    layouts=(Layout("(embedded in scikit-learn)", _files, _read),),
    published=Fingerprint(
        digest="8d350e84c6397dbe504f898fee8f2c0212a4ff7b813b454e8c87e9ecee61b85b",
        content="08b3649172a301ae1639e947e17b7e72683652d5dbf5913172743956cd3b075d",
    ),
)
