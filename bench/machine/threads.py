"""Threads: the engine decides how many there are; chunks of images, and losses that work class by class, use them.

They call `side_by_side(function, ...)` and change nothing of the process itself. Inside the engine, which serves a run with its
`Workers`, the items are computed at the same time, each by one thread; anywhere else they are computed one after another, in
the caller's thread. The results are the same to the bit: torch itself has one thread everywhere in a run.

    with Workers(2) as workers, workers.serving():
        values = side_by_side(function, real, syn)  # the classes of `real` and `syn`, two at a time
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, Self, TypeVar

from bench.lazy import torch

_T = TypeVar("_T")
_current: ContextVar[Workers | None] = ContextVar("workers", default=None)


class Workers:
    """Threads that compute side by side, each with one thread of torch's: each keeps its numbers in the cache of its own core.

    What they compute does not depend on how many they are. They live until `close`, which the end of a `with` block calls.
    """

    def __init__(self, threads: int) -> None:
        """Take the number of threads; they start when there is work."""
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="worker", initializer=_prepare_thread)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        """End the threads."""
        self._pool.shutdown()

    @contextmanager
    def serving(self) -> Iterator[None]:
        """Let `side_by_side` use these workers inside the `with` block."""
        token = _current.set(self)
        try:
            yield
        finally:
            _current.reset(token)

    def map(self, function: Callable[..., _T], *items: Iterable[Any]) -> list[_T]:
        """Return what `side_by_side` does; if an item's call raises, its error follows when all other calls have ended."""
        threads, gradients = torch.get_num_threads(), torch.is_grad_enabled()

        def call(*item: Any) -> _T:
            with torch.set_grad_enabled(gradients):  # a setting of each thread
                return function(*item)

        # MKL has one number of threads for the whole process, so it is set here as well as in each worker.
        torch.set_num_threads(1)
        try:
            futures = [self._pool.submit(call, *item) for item in zip(*items, strict=True)]
            wait(futures)
            return [future.result() for future in futures]
        finally:
            torch.set_num_threads(threads)


def side_by_side(function: Callable[..., _T], *items: Iterable[Any]) -> list[_T]:
    """Return `function` of each item, or of each tuple of items, in their order.

    Args:
        function: called once an item. Calls may run at the same time, so they must not write to the same tensors.
        items: one or more iterables of the same length; iterating a tensor gives its rows.

    Raises:
        Exception: what the first call to fail, in the order of the items, has raised.

    """
    workers = _current.get()
    if workers is not None:
        return workers.map(function, *items)
    return [function(*item) for item in zip(*items, strict=True)]


def _prepare_thread() -> None:
    """Give a new worker one thread of torch's, and let `side_by_side`, if called inside it, loop instead of waiting for itself.

    MKL decides at a thread's first product whether to split it. Without this it would do so by how many cores happen to be
    free, and a split product is rounded otherwise.
    """
    torch.set_num_threads(1)
    _current.set(None)
