"""Distilled sets as files, in the forms that tools of the field read and write.

    content = read_set(Path("res_DM_CIFAR10_ConvNet_10ipc.pt"))
    content.ipc, content.shape, content.seeds

Nothing in a file is run: `.pt` is read by `torch.load(weights_only=True)`, `.npz` without pickles.
May import `errors`, `files` and `lazy`.
"""

from __future__ import annotations

from pathlib import Path

from bench.errors import UsageError
from bench.files import is_file
from bench.sets.arrays import read_arrays as read_arrays
from bench.sets.arrays import write_arrays as write_arrays
from bench.sets.condensation import files_beside as files_beside
from bench.sets.condensation import read_condensation as read_condensation
from bench.sets.condensation import write_condensation as write_condensation
from bench.sets.distilled import Distillation as Distillation
from bench.sets.distilled import DistilledSet as DistilledSet
from bench.sets.parquet import read_parquet as read_parquet
from bench.sets.parquet import write_parquet as write_parquet
from bench.sets.pictures import PICTURES_ABOUT as PICTURES_ABOUT
from bench.sets.pictures import read_pictures as read_pictures
from bench.sets.pictures import to_pixels as to_pixels
from bench.sets.pictures import write_pictures as write_pictures
from bench.sets.splits import parquet_files as parquet_files
from bench.sets.tensors import read_tensors as read_tensors

_READERS = {
    ".pt": read_condensation,
    ".pth": read_condensation,
    ".npz": read_arrays,
    ".parquet": read_parquet,
    ".safetensors": read_tensors,
}
"""By the suffix of a file. A folder holds Parquet files or pictures."""


def read_set(path: Path) -> DistilledSet:
    """Return the distilled set in a file or folder.

    Args:
        path: a file `.pt`, `.npz`, `.parquet` or `.safetensors`, or a folder of Parquet files or of pictures.

    Raises:
        UsageError: if there is none, it has another form, or its arrays are no distilled set.

    """
    valid = f"valid: a file {', '.join(_READERS)}, or a folder of Parquet files or of CLASS/*.png"
    if path.is_dir():
        return read_parquet(path) if parquet_files(path) else read_pictures(path)
    if not is_file(path):
        raise UsageError(f"there is no file or folder {str(path)!r}; {valid}")
    if path.suffix.lower() not in _READERS:
        raise UsageError(f"a file {path.suffix or 'without suffix'}; {valid}")
    return _READERS[path.suffix.lower()](path)
