"""Slurm, by submitit: a job array, a cell a job.

The jobs see the folder of the run, as submitit asks. They run a snapshot of the code, from which they are submitted. A job that
reaches its time limit, or is preempted, writes a resume state and is queued again.
"""

from __future__ import annotations

import contextlib
import math
import os
import shutil
import signal
import tempfile
import time
from collections import Counter, deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import submitit
from submitit.helpers import Checkpointable

from bench.cells.spec import RunSpec
from bench.errors import UsageError
from bench.machine import signals
from bench.machine.cores import usable_cores
from bench.machine.signals import Interrupted
from bench.running import snapshot
from bench.running.driver import Driver
from bench.running.executors import SlurmSettings
from bench.running.observer import Done
from bench.running.progress import ProgressFolder
from bench.running.setup import WorkerSetup
from bench.running.worker import create_runner, run_cell

_POLL_SECONDS = 0.5

_LARGEST_ARRAY = 1000
"""Slurm's usual limit is 1001."""

FOLDER = "jobs"
"""Below the folder of the run: what submitit writes, and the snapshots."""

_PROGRESS = ".progress"
"""In a snapshot: the folder of what jobs report."""


def make(driver: Driver) -> OnSlurm:
    """Return the executor."""
    return OnSlurm(driver)


class Cell(Checkpointable):
    """What a job runs. At submitit's signal for "out of time" it writes a resume state, ends, and is queued again."""

    def __call__(self, setup: WorkerSetup, spec_json: str) -> str:
        """Return the outcome of a cell as JSON.

        Args:
            setup: what all cells share.
            spec_json: the cell's description as JSON.

        """
        os.chdir(setup.working_directory)  # the job began in the snapshot, from which its code was imported
        warning = getattr(signal, f"SIG{submitit.JobEnvironment.USR_SIG}")
        requeue = signal.getsignal(warning)
        in_job = callable(requeue)  # with submitit's cluster `debug` this is the driver's process
        try:
            with signals.listening((signal.SIGINT, warning) if in_job else signals.SIGNALS):
                return run_cell(create_runner(setup), spec_json).model_dump_json()
        except Interrupted as error:
            if callable(requeue) and error.number == warning:
                requeue(warning, None)  # has the job queued again, and ends this process
            raise


@dataclass(frozen=True)
class OnSlurm:
    """Runs cells as jobs, at most `driver.jobs` at a time, those with most work first."""

    driver: Driver

    def map(self, specs: Sequence[RunSpec]) -> Iterator[Done]:
        """Yield outcomes of cells as they finish; a cell whose jobs ended again and again without a record is a failed one.

        Raises:
            UsageError: if there is no Slurm, or it rejects the jobs.
            Interrupted: if a signal was received; the jobs have been cancelled.

        """
        if not specs:
            return
        folder = self.driver.setup.folder.parent.absolute() / FOLDER
        folder.mkdir(exist_ok=True)
        copy = Path(tempfile.mkdtemp(dir=folder, prefix="code-"))
        setup = snapshot.take(copy, self.driver.setup, self.driver.runner.workplace.methods, relative=False)
        yield from self._map(specs, self._executor(folder, specs), setup, copy)
        shutil.rmtree(copy)  # not after an interruption: a job that is being cancelled may still read its code

    def _executor(self, folder: Path, specs: Sequence[RunSpec]) -> submitit.AutoExecutor:
        """Return submitit's executor, which writes into `folder`."""
        settings = self._settings
        times = {f"{cluster}_max_num_timeout": settings.requeues for cluster in ("slurm", "local")}
        try:
            executor = submitit.AutoExecutor(folder, cluster=settings.cluster, **times)
        except RuntimeError as error:
            valid = "where the commands of Slurm are, or with --set slurm.cluster=local"
            raise UsageError(f"--executor slurm: {error}; valid: {valid}") from None
        executor.update_parameters(
            name="distill",
            timeout_min=settings.time,
            cpus_per_task=self.driver.setup.threads,
            gpus_per_node=settings.gpus or None,
            mem_gb=self._memory(specs),
            slurm_partition=settings.partition,
            slurm_account=settings.account,
            slurm_qos=settings.qos,
            slurm_constraint=settings.constraint,
            slurm_array_parallelism=self.driver.jobs or len(specs),
            slurm_additional_parameters={"requeue": True},
        )
        return executor

    @property
    def _settings(self) -> SlurmSettings:
        settings: SlurmSettings = self.driver.choice.settings
        return settings

    def _memory(self, specs: Sequence[RunSpec]) -> float | None:
        """Return how many GiB each job asks for; None leaves it to the cluster."""
        most = max(self.driver.memory(spec) or 0.0 for spec in specs)
        return self._settings.memory or float(math.ceil(most)) or None

    def _map(self, specs: Sequence[RunSpec], executor: submitit.AutoExecutor, setup: WorkerSetup, copy: Path) -> Iterator[Done]:
        """Yield outcomes as jobs end."""
        progress = ProgressFolder(copy / _PROGRESS)
        progress.path.mkdir()
        setup = replace(setup, progress=progress)
        waiting, running, losses = deque(self.driver.longest_first(specs)), dict[Any, RunSpec](), Counter[str]()
        try:
            while waiting or running:
                batch = [waiting.popleft() for _ in range(min(len(waiting), self._room(len(running))))]
                running |= zip(_submit(executor, setup, batch, copy), batch, strict=True) if batch else {}
                signals.check()
                time.sleep(_POLL_SECONDS)
                for job in [job for job in running if job.done()]:
                    spec = running.pop(job)
                    done = self._outcome(job, spec, may_run_again=losses[spec.hash] < self._settings.retries)
                    if done is None:
                        losses[spec.hash] += 1
                        waiting.append(spec)
                    else:
                        yield self.driver.finished(done)
                self.driver.show(progress)
        except BaseException:
            for job in running:
                job.cancel(check=False)
            raise

    def _room(self, running: int) -> int:
        """Return how many more jobs may be submitted: Slurm queues them itself, but on one machine all would start at once."""
        if self._settings.cluster == "slurm":
            return _LARGEST_ARRAY
        return (self.driver.jobs or max(1, usable_cores() // self.driver.setup.threads)) - running

    def _outcome(self, job: Any, spec: RunSpec, *, may_run_again: bool) -> Done | None:
        """Return the outcome of a job that has ended, or None if it has none and the cell may run again."""
        try:
            return Done.model_validate_json(job.result())
        except submitit.core.utils.FailedJobError as error:
            log = f"{job.paths.stderr}"
            return self.driver.lost(spec, f"its job failed: {_last_line(str(error))} ({log})")
        except submitit.core.utils.UncompletedJobError:
            if may_run_again:
                return None
            others = f"and so did {self._settings.retries} that ran it again ({job.paths.stderr})"
            return self.driver.lost(spec, f"its job ended without a record, {others}")


def _submit(executor: submitit.AutoExecutor, setup: WorkerSetup, specs: Sequence[RunSpec], copy: Path) -> list[Any]:
    """Return the jobs of cells, submitted from the snapshot: jobs begin in the folder that they were submitted from."""
    try:
        with contextlib.chdir(copy):
            jobs: list[Any] = executor.map_array(Cell(), [setup] * len(specs), [spec.model_dump_json() for spec in specs])
            return jobs
    except (submitit.core.utils.FailedJobError, submitit.core.utils.FailedSubmissionError) as error:
        raise UsageError(f"--executor slurm: Slurm does not take the jobs: {_last_line(str(error))}") from None


def _last_line(message: str) -> str:
    """Return the line of a traceback, or of a command's answer, that has the reason."""
    lines = [line.strip() for line in message.splitlines() if line.strip() and set(line.strip()) != {"-"}]
    errors = [line for line in lines if "Error" in line.partition(":")[0] or line.startswith("sbatch: error")]
    return (errors or lines or [""])[-1]
