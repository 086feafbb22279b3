"""The registry of datasets: one file for each set, and one line here.

A set's file defines `SOURCE`, which says where the set's files may lie and how they are read into a `Bundle`
(`datasets/source.py`). Its name, the file's name and the line below are the same.

Inside this repository the name `datasets` hides the Hugging Face library of that name, so we read the Hub's files without it.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from pathlib import Path

from bench.errors import UsageError, unknown
from datasets.folder import folder_source
from datasets.held_out import held_out as held_out
from datasets.source import Source

_SETS = (
    "digits",
    "mnist",
    "fashionmnist",
    "svhn",
    "cifar10",
    "cifar100",
)

DATASETS: Mapping[str, Source] = {name: import_module(f"datasets.{name}").SOURCE for name in _SETS}


def find_source(name: str, *, size: int | None = None) -> Source:
    """Return the source of a dataset that the command line names.

    Args:
        name: a name in the registry, or `folder:PATH` for images of the user's own.
        size: height and width to which the images of a folder are resized; None keeps their own.

    Raises:
        UsageError: where there is no such dataset, with the valid names, or where a set in the registry is given a size.

    """
    if name.startswith("folder:"):
        return folder_source(Path(name.removeprefix("folder:")), size=size)
    if name not in DATASETS:
        raise unknown("dataset", name, [*DATASETS, "folder:PATH"])
    if size is not None:
        raise UsageError(f"--set data.size={size}: {name!r} has a size of its own; data.size is for folder:PATH alone")
    return DATASETS[name]
