"""The two errors that the suite raises on purpose."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class UsageError(Exception):
    """A user's mistake: one line that names the option, the value and what would be valid.

    It is no `ValueError`, so that pydantic passes on what a validator raises as it is.
    """

    def __init__(self, message: str) -> None:
        """Take the message; line ends of what it quotes become spaces."""
        super().__init__(" ".join(message.split()))


class DistillationError(RuntimeError):
    """A cell that cannot be finished: a loss that is no number, a solver that did not converge."""


def unknown(kind: str, name: str, choices: Iterable[str]) -> UsageError:
    """Return the error for a `name` that is none of `choices`, with the nearest match first."""
    valid = sorted(choices)
    return UsageError(f"unknown {kind} {name!r}{nearest(name, valid)}; valid: {', '.join(valid)}")


def nearest(name: str, choices: Iterable[str]) -> str:
    """Return ` (did you mean 'x'?)` for the choice that is like `name`, or an empty text."""
    close = difflib.get_close_matches(name, list(choices), n=1, cutoff=0.4)
    return f" (did you mean {close[0]!r}?)" if close else ""
