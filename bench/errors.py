"""The errors that the suite raises on purpose."""

from __future__ import annotations

import difflib
import errno
from collections.abc import Iterable, Sequence
from pathlib import Path

_LONGEST = 80
_MOST_LISTED = 20
_DISK_ERRORS = {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EFBIG}


class UsageError(Exception):
    """A user's mistake: one line that names the option, the value and what would be valid.

    Not a `ValueError`, so that pydantic passes on unchanged what a validator raises.
    """

    def __init__(self, message: str) -> None:
        """Take the message; line ends of what it quotes become spaces."""
        super().__init__(" ".join(message.split()))


class LostWorkersError(RuntimeError):
    """Workers are killed again and again, or a rank has died: the run ends with this line, or with none if it is empty."""


class UnwritableError(OSError):
    """A file of the suite cannot be written or locked, for whatever reason: it ends a run as a full disk does."""

    @classmethod
    def of(cls, error: OSError, path: Path) -> UnwritableError:
        """Return the error for a file at `path`."""
        return cls(error.errno, error.strerror or str(error), str(path))


class DistillationError(RuntimeError):
    """A cell that cannot be finished: a loss that is no number, a solver that did not converge."""


def quoted(value: object) -> str:
    """Return a value in quotes, cut short if it is long."""
    written = repr(value)
    return written if len(written) <= _LONGEST else f"{written[:_LONGEST]}... ({len(written)} characters)"


def listed(names: Sequence[object]) -> str:
    """Return names with commas between; of more than twenty the first three and their number."""
    if len(names) <= _MOST_LISTED:
        return ", ".join(map(str, names))
    return f"{', '.join(map(str, names[:3]))}, ... ({len(names)} in all)"


def is_disk_error(error: BaseException) -> bool:
    """Return whether no cell can write any more: the disk is full, it is read-only, and so on."""
    return isinstance(error, UnwritableError) or (isinstance(error, OSError) and error.errno in _DISK_ERRORS)


def unknown(kind: str, name: str, choices: Iterable[str]) -> UsageError:
    """Return the error for a `name` that is none of `choices`, with the nearest match first."""
    valid = sorted(choices)
    return UsageError(f"unknown {kind} {quoted(name)}{nearest(name, valid)}; valid: {', '.join(valid)}")


def nearest(name: str, choices: Iterable[str]) -> str:
    """Return ` (did you mean 'x'?)` for the choice that is like `name`, or an empty string."""
    close = difflib.get_close_matches(name, list(choices), n=1, cutoff=0.4)
    return f" (did you mean {close[0]!r}?)" if close else ""
