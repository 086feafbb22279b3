"""Interruptions: a signal ends a run at a moment when nothing is half done.

While a grid runs, SIGINT (Ctrl-C), SIGTERM and SIGHUP are noted, and the work asks for them where its state is whole: between
two iterations, batches or cells. Where that takes longer than `GRACE` seconds, or a second signal comes, the run ends at once.
A signal that was ignored when the process began, as SIGHUP is under `nohup`, stays ignored, but where another process sends it.
Workers of `--jobs` end when their driver says so, and have their `GRACE` seconds whatever else comes.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from types import FrameType

SIGNALS = tuple(getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name))
"""The signals that end a run; SIGHUP is not everywhere."""

GRACE = 5.0
"""Seconds that the work has to come to such a moment."""

_received: list[int] = []


class Interrupted(BaseException):
    """Ends a run because of a signal. No `Exception`, so that it is not taken for the failure of a cell."""

    def __init__(self, number: int) -> None:
        """Take the number of the signal."""
        super().__init__(number)
        self.number = number

    @property
    def name(self) -> str:
        """The name of the signal."""
        return signal.Signals(self.number).name


def received() -> bool:
    """Return whether a signal has come."""
    return bool(_received)


def check() -> None:
    """Raise `Interrupted` where a signal has come."""
    if _received:
        raise Interrupted(_received[0])


def disarm() -> None:
    """Let the end that has begun take longer than `GRACE`."""
    if hasattr(signal, "setitimer"):
        signal.setitimer(signal.ITIMER_REAL, 0)


@contextmanager
def listening(signals: Iterable[int] = SIGNALS, *, follow: bool = False, once: bool = False) -> Iterator[None]:
    """Note `signals` while the block runs; only the main thread can, elsewhere nothing changes.

    Args:
        signals: which.
        follow: whether another process decides when this one ends: then a signal is noted, and no more.
        once: whether signals after the first one change nothing, because another process sends them. It is not lost then: where
            nothing has asked for it, it ends the block.

    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    heard = [number for number in signals if follow or once or signal.getsignal(number) is not signal.SIG_IGN]
    timers = [signal.SIGALRM] if hasattr(signal, "setitimer") else []
    note = _remember if follow else _note_first if once else _note
    before = {number: signal.signal(number, _end) for number in timers} | {
        number: signal.signal(number, note) for number in heard
    }
    try:
        yield
    finally:
        for number in heard:
            signal.signal(number, before[number])  # from here on a signal has the effect that it had before
        disarm()
        for number in timers:
            signal.signal(number, before[number])
        noted = tuple(_received)
        _received.clear()
        if once and noted:
            raise Interrupted(noted[0])


@contextmanager
def held(signals: Iterable[int]) -> Iterator[None]:
    """Hold `signals` back from this thread until the block ends; a process that is started in it never gets them."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, signals)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _remember(number: int, frame: FrameType | None) -> None:
    _received.append(number)


def _note(number: int, frame: FrameType | None) -> None:
    _received.append(number)
    if len(_received) > 1:
        raise Interrupted(number)
    if hasattr(signal, "setitimer"):
        signal.setitimer(signal.ITIMER_REAL, GRACE)


def _note_first(number: int, frame: FrameType | None) -> None:
    if not _received:
        _note(number, frame)


def _end(number: int, frame: FrameType | None) -> None:
    raise Interrupted(_received[0])
