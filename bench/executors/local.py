"""Processes on this machine, each with cores of its own.

Two torch processes whose OpenMP threads wait for each other on the same cores slow each other ten- to twentyfold. So each
worker is bound to its own cores, and `jobs` times `threads` may not exceed those that there are.

Ctrl-C in a terminal, and SIGHUP when it closes, are sent to the workers too. They never get these: the driver alone says when
they end, by SIGTERM, so that none of them takes for a second signal what it is told anyway.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections.abc import Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from bench import interrupts
from bench.cores import bind
from bench.errors import LostWorkersError
from bench.executors import Driver
from bench.executors.work import Work, run_cell
from bench.interrupts import Interrupted
from bench.records import RunRecord
from bench.spec import RunSpec

if TYPE_CHECKING:
    from multiprocessing.queues import Queue

    from bench.runner import Runner

_POLL_SECONDS = 0.5
_OF_THE_DRIVER = tuple(number for number in interrupts.SIGNALS if number != signal.SIGTERM)
_MOST_DEATHS = 3
"""So many workers may die, one after another, before a cell has finished between them; more is no accident."""

_runner: Runner | None = None


def make(driver: Driver) -> Local:
    """Return the executor."""
    return Local(driver)


def _prepare(numbers: Queue[int], work: Work) -> None:
    """Make this process a worker: take a number, bind it to its cores, and begin."""
    global _runner
    number = numbers.get()
    bind(number, work.threads)
    _runner = work.open(number)


def _run(text: str) -> str:
    """Return the record of a cell. SIGTERM ends this process where the state of the cell is whole, and then written."""
    assert _runner is not None
    try:
        with interrupts.listening((signal.SIGTERM,), once=True):
            return run_cell(_runner, text).model_dump_json()
    except Interrupted as error:
        os._exit(128 + error.number)  # else the pool would give this worker the next cell


@dataclass(frozen=True)
class Local:
    """Runs cells in this process, or in `driver.jobs` processes, those with most work first."""

    driver: Driver

    def map(self, specs: Sequence[RunSpec]) -> Iterator[RunRecord]:
        """Yield records as they finish. A cell whose worker was killed is run again by another one.

        Raises:
            LostWorkersError: where workers die again and again.
            Interrupted: where a signal came; workers have written resume states then.

        """
        jobs = self.driver.jobs or 1
        if jobs == 1:
            yield from self.driver.runner.run(specs)
            return
        left, deaths = {spec.hash: spec.model_dump_json() for spec in self.driver.longest_first(specs)}, 0
        while left:
            try:
                for record in self._pool(jobs, list(left.values())):
                    del left[record.hash]
                    deaths = 0
                    yield self.driver.finished(record)
            except BrokenProcessPool:
                deaths += 1
                if deaths > _MOST_DEATHS:
                    reason = f"is memory too small for {jobs} at once?"
                    raise LostWorkersError(
                        f"{deaths} workers were killed without finishing a cell; {reason} What is finished is kept"
                    ) from None

    def _pool(self, jobs: int, texts: Sequence[str]) -> Iterator[RunRecord]:
        """Yield the records of cells as one pool of processes finishes them."""
        context = multiprocessing.get_context("spawn")
        with interrupts.held(_OF_THE_DRIVER):  # this starts the process that frees what other ones leave
            numbers: Queue[int] = context.Queue()
        for number in range(jobs):
            numbers.put(number)
        arguments: tuple[Any, ...] = numbers, self.driver.work
        with ProcessPoolExecutor(jobs, mp_context=context, initializer=_prepare, initargs=arguments) as pool:
            with interrupts.held(_OF_THE_DRIVER):  # here the workers are started
                waiting: set[Future[str]] = {pool.submit(_run, text) for text in texts}
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
