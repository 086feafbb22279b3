"""Several processes on this machine, each with cores of its own.

Two torch processes whose OpenMP threads wait for each other on the same cores slow each other ten- to twentyfold. So each
worker is bound to its own cores, and `jobs` times `threads` may not exceed those that there are.
"""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from bench import interrupts
from bench.executors import Start, Worker
from bench.records import RunRecord

if TYPE_CHECKING:
    from multiprocessing.queues import Queue

_POLL_SECONDS = 0.5
_MOST_DEATHS = 3
"""So many workers may die, one after another, before a cell has finished between them; more is no accident."""

_worker: Worker | None = None


def _prepare(numbers: Queue[int], start: Start, threads: int) -> None:
    """Make this process a worker: take a number, bind it to its cores, and begin."""
    global _worker
    number = numbers.get()
    if hasattr(os, "sched_setaffinity"):
        cores = sorted(os.sched_getaffinity(0))
        os.sched_setaffinity(0, cores[number * threads : (number + 1) * threads])
    _worker = start(number)


def _run(digest: str) -> str:
    """Return the record of a cell as JSON: settings of a user's loss have a class that other processes do not know."""
    assert _worker is not None
    with interrupts.listening():
        return _worker(digest).model_dump_json()


@dataclass(frozen=True)
class Local:
    """Runs cells in `jobs` processes of `threads` threads each, in the order in which they are given."""

    jobs: int
    threads: int

    def map(self, start: Start, digests: Sequence[str]) -> Iterator[RunRecord]:
        """Yield records as they finish. A cell whose worker was killed is run again by another one.

        Raises:
            RuntimeError: where workers die again and again.
            Interrupted: where a signal came; workers have written resume states then.

        """
        left, deaths = list(digests), 0
        while left:
            try:
                for record in self._pool(start, left):
                    left.remove(record.hash)
                    deaths = 0
                    yield record
            except BrokenProcessPool:
                deaths += 1
                if deaths > _MOST_DEATHS:
                    raise RuntimeError(
                        f"{deaths} workers were killed without finishing a cell; is memory too small for {self.jobs} at once?"
                    ) from None

    def _pool(self, start: Start, digests: Sequence[str]) -> Iterator[RunRecord]:
        """Yield the records of cells as one pool of processes finishes them."""
        context = multiprocessing.get_context("spawn")
        numbers: Queue[int] = context.Queue()
        for number in range(self.jobs):
            numbers.put(number)
        arguments: tuple[Any, ...] = numbers, start, self.threads
        with ProcessPoolExecutor(self.jobs, mp_context=context, initializer=_prepare, initargs=arguments) as pool:
            waiting: set[Future[str]] = {pool.submit(_run, digest) for digest in digests}
            try:
                while waiting:
                    done, waiting = wait(waiting, timeout=_POLL_SECONDS, return_when=FIRST_COMPLETED)
                    interrupts.check()
                    for future in done:
                        yield RunRecord.model_validate_json(future.result())
            except BaseException:
                pool.shutdown(wait=False, cancel_futures=True)
                for child in multiprocessing.active_children():
                    child.terminate()  # as SIGTERM does: it writes its resume state first
                raise
