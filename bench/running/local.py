"""Processes on this machine, each with cores of its own.

Two torch processes whose OpenMP threads wait for each other on the same cores slow each other ten- to twentyfold. So each
worker is bound to its own cores, and `jobs` times `threads` may not exceed those that there are.

Ctrl-C in a terminal, and SIGHUP when it closes, are sent to all its processes. Workers block both: the driver alone ends them,
by SIGTERM, so that no worker counts an interruption as two signals. Windows can block no signal, and its SIGTERM ends a process
at once: there workers listen to Ctrl-C themselves, and the driver waits for them before it ends those that are left.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import tempfile
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, replace
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.cells.spec import RunSpec
from bench.errors import LostWorkersError
from bench.machine import signals
from bench.machine.cores import bind
from bench.machine.signals import Interrupted
from bench.running.driver import Driver
from bench.running.observer import Done
from bench.running.progress import ProgressFolder
from bench.running.setup import WorkerSetup
from bench.running.worker import create_runner, run_cell

if TYPE_CHECKING:
    from multiprocessing.queues import Queue

    from bench.running.runner import Runner

_POLL_SECONDS = 0.5
_DRIVER_SIGNALS = tuple(number for number in signals.SIGNALS if number != signal.SIGTERM)
"""Signals that a worker leaves to the driver, if they can be blocked: all but SIGTERM."""

_MOST_DEATHS = 3
"""Consecutive worker deaths without a finished cell after which the run gives up."""

_runner: Runner | None = None


def make(driver: Driver) -> Local:
    """Return the executor."""
    return Local(driver)


def begin(numbers: Queue[int], setup: WorkerSetup, create: Callable[[WorkerSetup, int], Runner] = create_runner) -> None:
    """Make this process a worker: take a number, bind it to its cores, and create its runner."""
    global _runner
    for interruption in () if signals.CAN_BLOCK else _DRIVER_SIGNALS:
        signal.signal(interruption, signal.SIG_IGN)  # between cells
    number = numbers.get()
    bind(number, setup.threads)
    _runner = create(setup, number)


def _run(spec_json: str) -> str:
    """Return the outcome of a cell as JSON. SIGTERM ends this process at the next poll, when its resume state is written."""
    assert _runner is not None
    try:
        with signals.listening((signal.SIGTERM,) if signals.CAN_BLOCK else signals.SIGNALS, policy="stop_once"):
            return run_cell(_runner, spec_json).model_dump_json()
    except Interrupted as error:
        os._exit(128 + error.number)  # else the pool would give this worker the next cell


@dataclass(frozen=True)
class Local:
    """Runs cells in this process, or in `driver.jobs` processes, those with most work first."""

    driver: Driver

    def map(self, specs: Sequence[RunSpec]) -> Iterator[Done]:
        """Yield outcomes of cells as they finish. A cell whose worker was killed is run again by another one.

        Raises:
            LostWorkersError: if workers die again and again.
            Interrupted: if a signal was received; workers have written resume states.

        """
        jobs = self.driver.jobs or 1
        if jobs == 1:
            yield from self.driver.runner.outcomes(specs)
            return
        with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
            yield from self._map(specs, jobs, ProgressFolder(Path(folder)))

    def _map(self, specs: Sequence[RunSpec], jobs: int, progress: ProgressFolder) -> Iterator[Done]:
        """Yield outcomes of cells as `jobs` workers finish them, which report through `progress`."""
        left, deaths = {spec.hash: spec.model_dump_json() for spec in self.driver.longest_first(specs)}, 0
        while left:
            try:
                for done in self._pool(list(left.values()), jobs, progress):
                    del left[done.record.hash]
                    deaths = 0
                    yield self.driver.finished(done)
            except BrokenProcessPool:
                deaths += 1
                if deaths > _MOST_DEATHS:
                    reason = f"is memory too small for {jobs} at once?"
                    raise LostWorkersError(
                        f"{deaths} workers were killed without finishing a cell; {reason} What is finished is kept"
                    ) from None

    def _pool(self, spec_jsons: Sequence[str], jobs: int, progress: ProgressFolder) -> Iterator[Done]:
        """Yield the outcomes of cells as one pool of processes finishes them."""
        context = multiprocessing.get_context("spawn")
        # Creating a queue starts multiprocessing's resource tracker; block signals so that it inherits none.
        with signals.blocked(_DRIVER_SIGNALS):
            numbers: Queue[int] = context.Queue()
        for number in range(jobs):
            numbers.put(number)
        arguments: tuple[Any, ...] = numbers, replace(self.driver.setup, progress=progress)
        with ProcessPoolExecutor(jobs, mp_context=context, initializer=begin, initargs=arguments) as pool:
            with signals.blocked(_DRIVER_SIGNALS):  # here the workers are started
                waiting: set[Future[str]] = {pool.submit(_run, spec_json) for spec_json in spec_jsons}
            try:
                while waiting:
                    done, waiting = wait(waiting, timeout=_POLL_SECONDS, return_when=FIRST_COMPLETED)
                    signals.check()
                    for future in sorted(done, key=lambda future: future.exception() is not None):
                        yield Done.model_validate_json(future.result())
                    self.driver.show(progress)
            except BaseException:
                pool.shutdown(wait=False, cancel_futures=True)
                _end(multiprocessing.active_children())
                raise


def _end(workers: Sequence[BaseProcess]) -> None:
    """End the workers; those that run a cell write its resume state first."""
    for worker in workers:
        if not signals.CAN_BLOCK:
            worker.join(signals.GRACE)
        worker.terminate()  # as SIGTERM does
