"""The registry of datasets: one file a set, one line here.

A set's file defines `SOURCE`, which says where the set's files may be and how they are read into a `Bundle` (`source.py`). To
add a set, write its file and add its line to `DATASETS`. docs/adding.md has an example.
May import the ground modules of `bench` and `bench.cells.protocol`; knows no method. In this repository the name `datasets`
hides the Hugging Face library of that name, so the Hub's files are read without it.
"""

from __future__ import annotations

from bench.errors import UsageError, unknown
from bench.files import user_path
from bench.lazy import Registry
from datasets.folder import folder_source
from datasets.loading import Loader as Loader
from datasets.source import Source

DATASETS: Registry[Source] = Registry(
    {
        "digits": "datasets.digits:SOURCE",
        "mnist": "datasets.mnist:SOURCE",
        "fashionmnist": "datasets.fashionmnist:SOURCE",
        "svhn": "datasets.svhn:SOURCE",
        "cifar10": "datasets.cifar10:SOURCE",
        "cifar100": "datasets.cifar100:SOURCE",
    }
)


def find_source(name: str, *, size: int | None = None, flip: bool | None = None) -> Source:
    """Return the source of a dataset that the command line names.

    Args:
        name: a name in the registry, or `folder:PATH` for images of the user's own.
        size: height and width to which the images of a folder are resized; None keeps their own.
        flip: whether a mirrored image of a folder keeps its class; None for true.

    Raises:
        UsageError: if there is no such dataset, with the valid names, or if a size or `flip` is given for a set of the
            registry.

    """
    if name.startswith("folder:"):
        return folder_source(user_path(name.removeprefix("folder:")), size=size, flip=flip is not False)
    if name not in DATASETS:
        raise unknown("dataset", name, [*DATASETS, "folder:PATH"])
    if size is not None:
        raise UsageError(f"--set data.size={size}: {name!r} has a size of its own; data.size is for folder:PATH alone")
    if flip is not None:
        said = f"--set data.flip={str(flip).lower()}: {name!r} says itself whether it is mirrored"
        raise UsageError(f"{said}; data.flip is for folder:PATH alone")
    return DATASETS[name]


def split_names(value: str) -> list[str]:
    """Return the names in the value of `--datasets`, which are separated by commas; the path of a folder may have commas too.

    A comma after `folder:PATH` belongs to the path if there is a folder of that longer name and no other dataset follows.

    Args:
        value: as the user typed it.

    Raises:
        UsageError: if more than one reading is possible.

    """
    pieces, names = value.split(","), []
    while pieces:
        count = _pieces_of_folder(pieces) if pieces[0].startswith("folder:") else 1
        names.append(",".join(pieces[:count]))
        pieces = pieces[count:]
    return names


def _pieces_of_folder(pieces: list[str]) -> int:
    """Return the number of pieces between commas that form the path of the folder which the first, `folder:...`, begins."""
    end = next((index for index, piece in enumerate(pieces[1:], 1) if piece.startswith("folder:")), len(pieces))
    paths = {count: user_path(",".join(pieces[:count]).removeprefix("folder:")) for count in range(1, end + 1)}
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
    # There is no such folder: take all that could be its path, for the error message that follows.
    return next((count for count in range(1, end) if pieces[count] in DATASETS), end)
