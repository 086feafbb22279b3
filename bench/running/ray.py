"""A Ray cluster: each cell is a task, which runs on any node that has room for it.

Ray sends the code along, and runs a task again elsewhere if its worker or node is lost. Each dataset and each artefact is sent
once to a node, into its store of objects. Workers need not see any folder of the driver's; see `bench.running.remote`.
"""

from __future__ import annotations

import logging
import os
import signal
import socket
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import ray

from bench.cells.spec import RunSpec
from bench.errors import UsageError, is_disk_error
from bench.machine import signals
from bench.machine.cores import usable_cores
from bench.running import remote, snapshot
from bench.running.driver import Driver
from bench.running.observer import Done
from bench.running.progress import Board
from bench.running.setup import WorkerSetup
from bench.types import Progress

_POLL_SECONDS = 0.5
_CONNECT_TIMEOUT = 10
_READ_TIMEOUT = 1.0


def make(driver: Driver) -> OnRay:
    """Return the executor."""
    return OnRay(driver)


@dataclass(frozen=True)
class BoardChannel:
    """Brings the progress of cells to a `Board`, an actor that takes no processor, and from there to the driver."""

    board: Any

    @classmethod
    def open(cls) -> BoardChannel:
        """Start the actor; if its node is lost, it starts again elsewhere."""
        return cls(ray.remote(num_cpus=0, max_restarts=-1)(Board).remote())

    def send(self, cell: str, progress: Progress) -> None:
        """Report how far the cell of a hash has come; nobody waits for the answer."""
        self.board.send.remote(cell, progress)

    def read(self) -> Mapping[str, Progress]:
        """Return the last report of each cell, by hash; nothing if the actor does not answer."""
        reports: Mapping[str, Progress] = {}
        with suppress(ray.exceptions.RayError):
            reports = ray.get(self.board.read.remote(), timeout=_READ_TIMEOUT)
        return reports


@dataclass(frozen=True)
class OnRay:
    """Runs cells as tasks of a Ray cluster, at most `driver.jobs` at a time, those with most work first."""

    driver: Driver

    def map(self, specs: Sequence[RunSpec]) -> Iterator[Done]:
        """Yield outcomes of cells as they finish; a cell whose workers were lost again and again is a failed one.

        Raises:
            UsageError: if no cluster answers, or a worker cannot run the grid.
            Interrupted: if a signal was received; workers have written resume states.

        """
        driver = self.driver
        folder = driver.setup.folder
        with tempfile.TemporaryDirectory() as copy, remote.marker(folder) as mark:
            setup = snapshot.take(Path(copy), driver.setup, driver.runner.workplace.methods, relative=True)
            with _connected(driver.choice.address, copy):
                yield from self._map(specs, setup, mark)

    def _map(self, specs: Sequence[RunSpec], setup: WorkerSetup, mark: str) -> Iterator[Done]:
        """Yield outcomes as the cluster's tasks finish."""
        driver, progress = self.driver, BoardChannel.open()
        setup = replace(setup, progress=progress)
        names = dict.fromkeys(spec.dataset for spec in specs)
        bundles = {name: ray.put(remote.packed(driver.bundle(name))) for name in names}
        task = ray.remote(max_retries=driver.choice.settings.retries)(remote.run)
        cells = {spec.hash: spec for spec in driver.longest_first(specs)}
        artefacts = remote.Artefacts(setup.folder, {digest: driver.artefacts(spec) for digest, spec in cells.items()}, ray.put)
        waiting, running = list(cells), dict[Any, str]()
        try:
            while waiting or running:
                while driver.jobs is None or len(running) < driver.jobs:
                    digest = artefacts.ready(waiting, running.values())
                    if digest is None:
                        break
                    waiting.remove(digest)
                    spec = cells[digest]
                    files = {} if setup.force else remote.files_of(setup.folder, spec)
                    cell = remote.Cell(setup, mark, spec.model_dump_json(), files, artefacts.references(digest), ray.get)
                    options = task.options(name=spec.label, **self._resources(spec))
                    running[options.remote(cell, bundles[spec.dataset])] = digest
                done, _ = ray.wait(list(running), timeout=_POLL_SECONDS)
                signals.check()
                for reference in done:
                    yield driver.finished(self._outcome(reference, cells[running.pop(reference)], artefacts))
                driver.show(progress)
        except BaseException:
            for reference in running:
                ray.cancel(reference)  # as Ctrl-C does: a worker writes its resume state first
            ray.wait(list(running), num_returns=len(running), timeout=signals.GRACE + 1) if running else None
            raise

    def _resources(self, spec: RunSpec) -> Mapping[str, Any]:
        """Return what a cell takes of a node."""
        memory = int((self.driver.memory(spec) or 0) * 2**30)  # in bytes
        return {"num_cpus": self.driver.setup.threads, "num_gpus": self.driver.choice.settings.gpus, "memory": memory}

    def _outcome(self, reference: Any, spec: RunSpec, artefacts: remote.Artefacts) -> Done:
        """Return the outcome of a task that has ended, in whatever way."""
        try:
            outcome: remote.Outcome = ray.get(reference)
        except ray.exceptions.RayTaskError as error:
            if isinstance(error.cause, UsageError) or is_disk_error(error.cause):
                raise error.cause from None
            return self.driver.lost(spec, f"its worker failed: {error.cause}")
        except ray.exceptions.RayError as error:
            reason, retries = " ".join(str(error).split()), self.driver.choice.settings.retries
            return self.driver.lost(spec, f"its worker was lost, and so were {retries} that ran it again: {reason}")
        artefacts.store(spec.hash, outcome)
        return remote.store(self.driver.setup.folder, spec, outcome)


@contextmanager
def _connected(address: str, code: str) -> Iterator[None]:
    """Connect to the cluster at `address`, or if it is empty, to one that is started here; leave it at the end.

    Args:
        address: as Ray takes it, or empty.
        code: the folder that workers run in.

    """
    named = address or os.environ.get("RAY_ADDRESS", "")
    cluster = {"address": named} if named else {"address": "local", "num_cpus": usable_cores(), "include_dashboard": False}
    before = signal.getsignal(signal.SIGTERM)
    try:
        _check_reachable(named)
        ray.init(**cluster, runtime_env={"working_dir": code}, log_to_driver=False, logging_level=logging.ERROR)
    except (OSError, ValueError, RuntimeError) as error:
        reason = " ".join(str(error).split())
        valid = "valid: auto, host:port, ray://host:port"
        raise UsageError(f"--ray-address {named!r}: no Ray cluster answers ({reason}); {valid}") from None
    signal.signal(signal.SIGTERM, before)  # Ray sets a handler of its own, which would end the run at once
    try:
        yield
    finally:
        ray.shutdown()


def _check_reachable(address: str) -> None:
    """Raise `OSError` if nothing listens at `host:port`: Ray itself would try for minutes."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if host and port.isdecimal():
        socket.create_connection((host, int(port)), timeout=_CONNECT_TIMEOUT).close()
