"""Files: reading those that users name, and saying how far that is; writing whole files, checksums."""

from __future__ import annotations

import hashlib
import logging
import os
import stat
import tempfile
import time
import warnings
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO, TypeVar

from bench.errors import UnwritableError, UsageError

_KINDS = (
    (stat.S_ISDIR, "a folder"),
    (stat.S_ISFIFO, "a FIFO"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
)

APPLICATION = "which-loss-at-what-cost"
"""Name of the folder in the user's cache."""

_STRAY = {"__MACOSX", "Thumbs.db", "desktop.ini", "$RECYCLE.BIN", "System Volume Information", "@eaDir", "lost+found"}
"""Files and folders that systems add to those of a user; others begin with a dot."""

_MANY = 500
"""Reading fewer files is not announced."""

_ANNOUNCED_SECONDS = 5
_POINTER = b"version https://git-lfs"
"""With what a file begins that Git LFS wrote in place of a large one."""

_progress = logging.getLogger("bench.progress")
_progress.setLevel(logging.INFO)

Item = TypeVar("Item")


class DataWarning(UserWarning):
    """Something about the data that a user should hear of, but that does not stop the work."""


@contextmanager
def data_warnings(show: Callable[[str], object]) -> Iterator[None]:
    """Pass the text of every `DataWarning` in the block to `show`, each once; other warnings go their usual way."""
    with warnings.catch_warnings():
        usual, shown = warnings.showwarning, set[str]()

        def show_data(
            message: Warning | str,
            category: type[Warning],
            filename: str,
            lineno: int,
            file: TextIO | None = None,
            line: str | None = None,
        ) -> None:
            if not issubclass(category, DataWarning):
                usual(message, category, filename, lineno, file, line)
            elif str(message) not in shown:
                shown.add(str(message))
                show(str(message))

        warnings.simplefilter("always", DataWarning)
        warnings.showwarning = show_data
        yield


@contextmanager
def shown_progress(program: str, stream: TextIO) -> Iterator[None]:
    """Write how far reading files is, as `announced` says it in the block, to `stream`, a line at a time."""
    handler = logging.StreamHandler(stream)
    handler.setFormatter(logging.Formatter(f"{program}: %(message)s"))
    _progress.addHandler(handler)
    try:
        yield
    finally:
        _progress.removeHandler(handler)


def announced(items: Iterable[Item], what: str, *, total: int) -> Iterator[Item]:
    """Yield `items`; if there are many, say at the start, and every few seconds, how many of them are done.

    Args:
        items: what is read.
        what: they are, as in `pictures of folder:PATH read`.
        total: their number.

    """
    last = time.monotonic()
    for done, item in enumerate(items):
        if total >= _MANY and (not done or time.monotonic() - last > _ANNOUNCED_SECONDS):
            last = time.monotonic()
            _progress.info("%s: %d of %d", what, done, total)
        yield item


def user_path(typed: str) -> Path:
    """Return the path that a user typed. A `~` at its beginning, which shells leave in `--out=~/x`, is the home folder."""
    try:
        return Path(typed).expanduser()
    except RuntimeError:  # there is no user of that name, so it is a name of a file, as it is for shells
        return Path(typed)


def is_stray(path: Path) -> bool:
    """Return whether a file or folder, or one that it is in, is hidden or one that systems add, as `__MACOSX` is.

    Args:
        path: relative to the folder that a user named.

    """
    return any(name in _STRAY or name.startswith(".") for name in path.parts)


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
def reading(file: Path, item: str = "") -> Iterator[None]:
    """Turn whatever a reader raises on a damaged or foreign file into a `UsageError` that names the file, and what to do.

    Args:
        file: that is read.
        item: what of the file is read, such as a row; empty for all of it.

    """
    try:
        yield
    except UsageError:
        raise
    except Exception as error:
        if _is_pointer(file):
            message = f"{file} is a pointer of Git LFS, not the file itself; valid: the file, as `git lfs pull` gets it"
            raise UsageError(message) from error
        raise UsageError(
            f"{file}{item} cannot be read: it is damaged or of another format ({type(error).__name__}: {error}); "
            f"if it was cut short, delete {file} and download or copy it again"
        ) from error


def _is_pointer(file: Path) -> bool:
    if not file.is_file():
        return False
    with file.open("rb") as stream:
        return stream.read(len(_POINTER)) == _POINTER


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
            move(temporary, path)
        finally:
            temporary.unlink(missing_ok=True)
    except OSError as error:
        raise UnwritableError.of(error, path) from error


def move(source: Path, target: Path, *, tries: int = 20 if os.name == "nt" else 1) -> None:
    """Move a file to `target`, whatever is there. Windows refuses while somebody reads it: there it is tried for a second."""
    for remaining in reversed(range(tries)):
        try:
            source.replace(target)
        except PermissionError:
            if not remaining:
                raise
            time.sleep(0.05)
        else:
            return


def file_digest(path: Path) -> str:
    """Return the SHA-256 of a file."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
