"""Signals: SIGINT (Ctrl-C), SIGTERM and SIGHUP end a run when nothing is half done.

While a grid runs, signal handlers only set a flag. Work polls it between iterations, batches and cells, when its state is
consistent. If that takes longer than `GRACE` seconds, or a second signal comes, the run ends at once. A signal that was ignored
when the process began, as SIGHUP is under `nohup`, stays ignored, unless another process decides when this one ends.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any, Literal

SIGNALS = tuple(getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP", "SIGBREAK") if hasattr(signal, name))
"""The signals that end a run. SIGHUP is not on Windows, and SIGBREAK, which Windows sends when a console closes, only there."""

CAN_BLOCK = hasattr(signal, "pthread_sigmask")
"""Whether a process can block signals, as on all systems but Windows."""

GRACE = 5.0
"""Seconds from a signal to the next poll, after which the run ends at once."""

Policy = Literal["stop", "remember", "stop_once"]
"""What a signal does.

`stop`: the work ends at the next poll; a second signal, or `GRACE` seconds, end it at once.
`remember`: nothing but setting the flag, because another process decides when this one ends.
`stop_once`: as `stop`, but further signals change nothing, because another process sends them.
"""

_received: list[int] = []


class Interrupted(BaseException):
    """Ends a run because of a signal. Not an `Exception`, so that it is not mistaken for the failure of a cell."""

    def __init__(self, number: int) -> None:
        """Take the number of the signal."""
        super().__init__(number)
        self.number = number

    @property
    def name(self) -> str:
        """The name of the signal."""
        return signal.Signals(self.number).name


def received() -> bool:
    """Return whether a signal was received."""
    return bool(_received)


def check() -> None:
    """Raise `Interrupted` if a signal was received."""
    if _received:
        raise Interrupted(_received[0])


def note(number: int) -> None:
    """Set the flag, as if the signal had been received."""
    _received.append(number)


def reset() -> None:
    """Clear the flag."""
    _received.clear()


def disarm() -> None:
    """Let the end of the run, which has begun, take longer than `GRACE`."""
    if hasattr(signal, "setitimer"):
        signal.setitimer(signal.ITIMER_REAL, 0)


@contextmanager
def listening(signals: Iterable[int] = SIGNALS, *, policy: Policy = "stop") -> Iterator[None]:
    """Handle `signals` by `policy` while the block runs; only the main thread can, in others nothing changes.

    A signal received under `stop_once` but never polled is raised as `Interrupted` when the block exits.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    handled: list[int] = [number for number in signals if policy != "stop" or signal.getsignal(number) is not signal.SIG_IGN]
    timers: list[int] = [signal.SIGALRM] if hasattr(signal, "setitimer") else []
    before: dict[int, Any] = {number: signal.signal(number, _end) for number in timers}
    before |= {number: signal.signal(number, _HANDLERS[policy]) for number in handled}
    try:
        yield
    finally:
        for number in handled:
            signal.signal(number, before[number])  # from here on a signal has the effect that it had before
        disarm()
        for number in timers:
            signal.signal(number, before[number])
        unpolled = tuple(_received)
        reset()
        if policy == "stop_once" and unpolled:
            raise Interrupted(unpolled[0])


@contextmanager
def blocked(signals: Iterable[int]) -> Iterator[None]:
    """Block `signals` in this thread until the block ends; a process that is started inside inherits that, and never gets
    them.
    """
    if not CAN_BLOCK:
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, signals)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _remember(number: int, frame: FrameType | None) -> None:
    note(number)


def _stop(number: int, frame: FrameType | None) -> None:
    note(number)
    if len(_received) > 1:
        raise Interrupted(number)
    if hasattr(signal, "setitimer"):
        signal.setitimer(signal.ITIMER_REAL, GRACE)


def _stop_once(number: int, frame: FrameType | None) -> None:
    if not _received:
        _stop(number, frame)


def _end(number: int, frame: FrameType | None) -> None:
    raise Interrupted(_received[0])


_HANDLERS = {"stop": _stop, "remember": _remember, "stop_once": _stop_once}
