"""CIFAR's pickled batches, as on Krizhevsky's page: dictionaries written by Python 2.

Loading a pickle runs any code that it names. So these are loaded by an unpickler that makes arrays, lists, dictionaries,
strings and numbers, and looks up nothing else. Arrays are not rebuilt by numpy's own functions either: what these trust in a
pickle can be forged.
"""

from __future__ import annotations

import io
import pickle
from functools import partial
from pathlib import Path
from typing import Any

from bench.errors import UsageError
from bench.files import is_file, reading
from bench.lazy import numpy as np
from bench.types import Split
from datasets.reading import Group, make_split
from datasets.source import Groups, Layout

_NUMBERS = {f"{kind}{size}" for kind in "iu" for size in (1, 2, 4, 8)} | {"f4", "f8"}
"""numpy's codes for the types of numbers that an array may have."""


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


class _Number:
    """Replaces numpy's `dtype` while a batch is loaded: the type of an array's numbers, and the order of their bytes."""

    def __init__(self, code: str, align: object = False, copy: object = False) -> None:
        if code not in _NUMBERS:
            raise ValueError(f"arrays of type {code!r}; valid: whole numbers or floats")
        self.code, self.order = code, "<"

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        self.order = ">" if state[1] == ">" else "<"  # "|" is for numbers of one byte


class _Array:
    """Replaces numpy's `ndarray`, and the function that allocates an array, while a batch is loaded."""

    array: Any = None

    def __init__(self, *arguments: object) -> None:
        """Ignore the arguments of numpy's function: the content comes with the state."""

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        _, shape, number, is_column_major, content = state
        self._fill(content, number, shape, "F" if is_column_major else "C")

    def _fill(self, content: Any, number: Any, shape: Any, order: Any) -> None:
        if not isinstance(number, _Number) or not isinstance(content, str | bytes | bytearray):
            raise TypeError("an array without a type of numbers, or without bytes")
        data = content.encode("latin1") if isinstance(content, str) else content  # Python 2 wrote bytes as strings
        self.array = np.frombuffer(data, f"{number.order}{number.code}").reshape(shape, order=order)


class _BufferArray(_Array):
    """Replaces the function that makes a complete array, which numpy names in pickles of protocol 5."""

    def __init__(self, content: Any, number: Any, shape: Any, order: Any) -> None:
        self._fill(content, number, shape, order)


_CORES = ("numpy.core", "numpy._core")  # before and since numpy 2
_REPLACEMENTS: dict[tuple[str, str], type] = {
    ("numpy", "ndarray"): _Array,
    ("numpy", "dtype"): _Number,
    **{(f"{core}.multiarray", "_reconstruct"): _Array for core in _CORES},
    **{(f"{core}.numeric", "_frombuffer"): _BufferArray for core in _CORES},
}


class _Unpickler(pickle.Unpickler):
    """Loads a batch, and runs no code that the file names."""

    def __init__(self, file: Path) -> None:
        super().__init__(io.BytesIO(file.read_bytes()), encoding="latin1")
        self._file = file

    def find_class(self, module: str, name: str) -> type:
        """Return the replacement of a class that a file names; raise `UsageError` if no array consists of it."""
        try:
            return _REPLACEMENTS[module, name]
        except KeyError:
            raise UsageError(
                f"{self._file} asks for {module}.{name}, which would run code, and was not loaded; "
                f"valid: a batch of CIFAR, which holds arrays, lists, dictionaries, text and numbers alone"
            ) from None
