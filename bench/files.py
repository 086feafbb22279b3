"""Files: reading those that users name, writing whole files, checksums."""

from __future__ import annotations

import hashlib
import os
import stat
import tempfile
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

from bench.errors import UnwritableError, UsageError

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


@contextmanager
def atomic(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`; it takes that place when the block ends well, and is removed when it does not.

    Raises:
        UnwritableError: if that cannot be done.

    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".part")
        os.close(handle)
        temporary = Path(name)
        try:
            yield temporary
            temporary.chmod(0o644)
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)
    except OSError as error:
        raise UnwritableError.of(error, path) from error


def file_digest(path: Path) -> str:
    """Return the SHA-256 of a file."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
