"""Reading the files of a dataset: what is opened, what is refused, and in which words."""

from __future__ import annotations

import stat
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from bench.errors import UsageError
from bench.lazy import numpy as np
from bench.lazy import torch
from bench.types import Split

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

Part = tuple[Path, ...]
"""Files that are read together: one batch, one shard, or a file of images with its file of labels, which comes last."""

_KINDS = (
    (stat.S_ISDIR, "a folder"),
    (stat.S_ISFIFO, "a FIFO"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
)


class DataWarning(UserWarning):
    """Something about the data that a user should hear of, but that does not stop the work."""


@contextmanager
def data_warnings(show: Callable[[str], object]) -> Iterator[None]:
    """Pass the text of every `DataWarning` in the block to `show`; other warnings go their usual way."""
    with warnings.catch_warnings():
        usual = warnings.showwarning

        def show_data(
            message: Warning | str,
            category: type[Warning],
            filename: str,
            lineno: int,
            file: TextIO | None = None,
            line: str | None = None,
        ) -> None:
            if issubclass(category, DataWarning):
                show(str(message))
            else:
                usual(message, category, filename, lineno, file, line)

        warnings.simplefilter("always", DataWarning)
        warnings.showwarning = show_data
        yield


def is_file(path: Path) -> bool:
    """Return whether there is a file at `path`, without opening it.

    Opening a FIFO waits for ever, and a device may never end. So whatever is there and is no regular file is a `UsageError`.
    """
    try:
        mode = path.stat().st_mode
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}; valid: a file of yours") from error
    if stat.S_ISREG(mode):
        return True
    kind = next((name for test, name in _KINDS if test(mode)), "no file")
    raise UsageError(f"{path} is {kind}, and is not opened; valid: a regular file")


@contextmanager
def reading(file: Path) -> Iterator[None]:
    """Turn whatever a reader raises on a damaged or foreign file into a `UsageError` that names the file."""
    try:
        yield
    except UsageError:
        raise
    except Exception as error:
        raise UsageError(
            f"{file} cannot be read: it is damaged or of another format ({type(error).__name__}: {error})"
        ) from error


def make_split(images: ArrayLike, labels: ArrayLike, part: Part) -> Split:
    """Return images and labels as a split, exactly as they stand in the files.

    Args:
        images: `[N, channels, H, W]`.
        labels: `[N]`.
        part: the files that they come from, for messages.

    Raises:
        UsageError: where the split has no images, their number is not that of the labels, or a value would have to be changed.

    """
    pixels, classes = _pixels(np.asarray(images), part[0]), _classes(np.asarray(labels), part[-1])
    if len(pixels) != len(classes):
        files = " and ".join(map(str, dict.fromkeys((part[0], part[-1]))))
        raise UsageError(f"{files}: {len(pixels)} images and {len(classes)} labels; valid: as many of one as of the other")
    return Split(torch.from_numpy(pixels), torch.from_numpy(classes))


def _pixels(images: NDArray[Any], file: Path) -> NDArray[np.uint8]:
    """Return images as bytes; raise `UsageError` where there are none, or a byte cannot hold a value."""
    if images.ndim != 4:
        raise UsageError(f"{file}: images of shape {images.shape}; valid: [images, channels, height, width]")
    if not images.size:
        raise UsageError(f"{file} holds no images; valid: at least one image of each class")
    if images.dtype.kind not in "iu":
        # Floats could be meant from 0 to 1, from -1 to 1 or from 0 to 255: only their owner knows.
        raise UsageError(
            f"{file}: pixels are of type {images.dtype}, such as {images.flat[0]!s}; valid: whole numbers 0 to 255"
        )
    if images.dtype != np.uint8:
        for value in (images.min(), images.max()):
            if not 0 <= value <= 255:
                raise UsageError(f"{file}: a pixel has the value {value}; valid: whole numbers 0 to 255")
    return np.array(images, dtype=np.uint8)


def _classes(labels: NDArray[Any], file: Path) -> NDArray[np.int64]:
    """Return labels as whole numbers; raise `UsageError` where one is none."""
    if labels.ndim != 1:
        raise UsageError(f"{file}: labels of shape {labels.shape}; valid: one number for each image, [images]")
    if labels.dtype.kind == "f":
        bent = labels[~(np.isfinite(labels) & (labels == np.round(labels)))]
        if bent.size:
            raise UsageError(f"{file}: label {bent[0]}; valid: whole numbers")
    elif labels.dtype.kind not in "iub":
        raise UsageError(f"{file}: labels are of type {labels.dtype}, such as {labels[:1].tolist()}; valid: whole numbers")
    return np.array(labels, dtype=np.int64)
