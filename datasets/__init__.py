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
from datasets.loading import Loader as Loader
from datasets.reading import DataWarning as DataWarning
from datasets.reading import data_warnings as data_warnings
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


def split_names(text: str) -> list[str]:
    """Return the datasets that `--datasets` names, with commas between; the path of a folder may hold commas too.

    A comma after `folder:PATH` belongs to the path where a folder of that longer name is there, and where no other dataset
    follows it.

    Args:
        text: as it was typed.

    Raises:
        UsageError: where more than one reading is possible.

    """
    pieces, names = text.split(","), []
    while pieces:
        count = _pieces_of_folder(pieces) if pieces[0].startswith("folder:") else 1
        names.append(",".join(pieces[:count]))
        pieces = pieces[count:]
    return names


def _pieces_of_folder(pieces: list[str]) -> int:
    """Return how many of the pieces between commas, the first being `folder:...`, are the path of that folder."""
    end = next((place for place, piece in enumerate(pieces[1:], 1) if piece.startswith("folder:")), len(pieces))
    paths = {count: Path(",".join(pieces[:count]).removeprefix("folder:")) for count in range(1, end + 1)}
    there = [count for count, path in paths.items() if path.is_dir()]
    complete = [count for count in there if all(piece in DATASETS for piece in pieces[count:end])]
    if len(complete) > 1:
        shorter, longer = paths[complete[0]], paths[complete[-1]]
        raise UsageError(
            f"--datasets {','.join(pieces[:end])!r} may mean the folder {str(shorter)!r} or the folder {str(longer)!r}; "
            f"valid: other datasets before the folder, or 'folder:{longer}/' for the longer name"
        )
    if complete or there:
        return (complete or there)[-1]
    # No such folder is there: the message that follows names all that could be its path.
    return next((count for count in range(1, end) if pieces[count] in DATASETS), end)
