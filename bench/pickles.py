"""NumPy's arrays in pickles, without NumPy's own functions: what these trust in a pickle can be forged.

Loading a pickle runs any code that it names. An unpickler that looks up a name in `NUMPY_ARRAYS`, and refuses it if it is not
there, makes arrays and numbers, and runs nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from bench.lazy import numpy as np

_NUMBERS = {f"{kind}{size}" for kind in "iu" for size in (1, 2, 4, 8)} | {"b1", "f2", "f4", "f8"}
"""NumPy's codes for the types of numbers that an array may have."""


class Number:
    """Replaces NumPy's `dtype` while a pickle is loaded: the type of an array's numbers, and the order of their bytes."""

    def __init__(self, code: str, align: object = False, copy: object = False) -> None:
        """Take a type by NumPy's code, such as `f4`; whether it is one of numbers is asked if an array has it."""
        self.code, self.order = code, "<"

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        """Take the order of bytes."""
        self.order = ">" if state[1] == ">" else "<"  # "|" is for numbers of one byte


class Array:
    """Replaces NumPy's `ndarray`, and the function that allocates an array, while a pickle is loaded.

    `array` is the content, or None until it came.
    """

    array: Any = None

    def __init__(self, *arguments: object) -> None:
        """Ignore the arguments of NumPy's function: the content comes with the state."""

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        """Take the content; raise `ValueError` or `TypeError` if it is none of numbers."""
        _, shape, number, is_column_major, content = state
        self.array = filled(content, number, shape, "F" if is_column_major else "C")


class BufferArray(Array):
    """Replaces the function that makes a complete array, which NumPy names in pickles of protocol 5."""

    def __init__(self, content: Any, number: Any, shape: Any, order: Any) -> None:
        """Take the content."""
        self.array = filled(content, number, shape, order)


def filled(content: Any, number: Any, shape: Any, order: Any) -> Any:
    """Return the array of these bytes; raise `ValueError` or `TypeError` if they are none of numbers."""
    if not isinstance(number, Number) or not isinstance(content, str | bytes | bytearray):
        raise TypeError("an array without a type of numbers, or without bytes")
    if number.code not in _NUMBERS:
        raise ValueError(f"arrays of type {number.code!r}; valid: whole numbers or floats")
    data = content.encode("latin1") if isinstance(content, str) else content  # Python 2 wrote bytes as strings
    return np.frombuffer(data, f"{number.order}{number.code}").reshape(shape, order=order)


def _scalar(number: Any, content: Any = b"") -> Any:
    """Replaces the function that makes a single number; return None for other things, which are not needed."""
    is_number = isinstance(number, Number) and number.code in _NUMBERS
    return filled(content, number, (), "C")[()] if is_number else None


_CORES = ("numpy.core", "numpy._core")  # before and since NumPy 2
NUMPY_ARRAYS: Mapping[tuple[str, str], Callable[..., Any]] = {
    ("numpy", "ndarray"): Array,
    ("numpy", "dtype"): Number,
    **{(f"{core}.multiarray", "_reconstruct"): Array for core in _CORES},
    **{(f"{core}.numeric", "_frombuffer"): BufferArray for core in _CORES},
}
"""By module and name in a pickle, what replaces a component of an array."""

NUMPY_SCALARS: Mapping[tuple[str, str], Callable[..., Any]] = {(f"{core}.multiarray", "scalar"): _scalar for core in _CORES}
"""What replaces that of a single number, likewise; its type is one of `NUMPY_ARRAYS`."""
