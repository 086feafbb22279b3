"""CIFAR's pickled batches, as on Krizhevsky's page: dictionaries written by Python 2.

Loading a pickle runs any code that it names. So these are loaded by an unpickler that makes arrays, lists, dictionaries,
strings and numbers, and looks up nothing else. Arrays are not rebuilt by numpy's own functions either: what these trust in a
pickle can be forged.
"""

from __future__ import annotations

import io
import pickle
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from bench.errors import UsageError
from bench.files import is_file, reading
from bench.pickles import NUMPY_ARRAYS
from bench.pickles import Array as _Array
from bench.types import Split
from datasets.reading import Group, make_split
from datasets.source import Groups, Layout


def pickle_files(folder: str, *, train: tuple[str, ...], test: str, label_key: str, files: str) -> Layout:
    """Return the layout of CIFAR's batches in `<data root>/<folder>`.

    Args:
        folder: the name of the folder.
        train: the names of the training batches, in order.
        test: the name of the test batch.
        label_key: the entry of a batch that has the labels.
        files: the names of all batches, for messages.

    """
    find = partial(_files, folder=folder, train=train, test=test)
    return Layout(f"{folder}/{files}", find, partial(_read_batch, label_key=label_key))


def _files(root: Path, *, folder: str, train: tuple[str, ...], test: str) -> tuple[Groups, Groups] | None:
    train_files, test_file = [root / folder / name for name in train], root / folder / test
    if not all(is_file(file) for file in (*train_files, test_file)):
        return None
    return tuple((file,) for file in train_files), ((test_file,),)


def _read_batch(group: Group, split: str, *, label_key: str) -> Split:
    (file,) = group
    with reading(file):
        batch = _Unpickler(file).load()
        images, labels = (value.array if isinstance(value, _Array) else value for value in (batch["data"], batch[label_key]))
        if images.ndim != 2 or images.shape[1] != 3 * 32 * 32:
            raise UsageError(f"{file}: images of shape {images.shape}; valid: [images, 3072]")
        return make_split(images.reshape(-1, 3, 32, 32), labels, group)


class _Unpickler(pickle.Unpickler):
    """Loads a batch, and runs no code that the file names."""

    def __init__(self, file: Path) -> None:
        super().__init__(io.BytesIO(file.read_bytes()), encoding="latin1")
        self._file = file

    def find_class(self, module: str, name: str) -> Callable[..., Any]:
        """Return the replacement of a class that a file names; raise `UsageError` if no array consists of it."""
        try:
            return NUMPY_ARRAYS[module, name]
        except KeyError:
            raise UsageError(
                f"{self._file} asks for {module}.{name}, which would run code, and was not loaded; "
                f"valid: a batch of CIFAR, which holds arrays, lists, dictionaries, text and numbers alone"
            ) from None
