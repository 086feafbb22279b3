"""Where the cells of a grid are run: one file for each kind of executor.

An executor has one method:

    map(specs) -> records, as they finish

Afterwards records and images lie in the folder of the run, wherever the cells were run. A file here has a function
`make(driver)`, which returns its executor; `EXECUTORS` names the file, its settings, and what has to be installed for it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, Literal, Protocol

from bench.errors import UsageError, unknown
from bench.plan import schedule
from bench.plan.lines import duration
from bench.records import RunRecord
from bench.settings import Count, NonNegative, NonNegativeInt, Positive, Settings
from bench.spec import RunSpec
from bench.storage import worth_keeping, write_record

if TYPE_CHECKING:
    from bench.executors.work import Work
    from bench.plan.estimates import Estimates
    from bench.runner import Runner
    from bench.types import Bundle


_MARGIN = 1.5
"""How much more memory is asked for than cells took before."""


class Executor(Protocol):
    """Runs cells somewhere."""

    def map(self, specs: Sequence[RunSpec]) -> Iterator[RunRecord]:
        """Yield the record of each cell as it finishes; a failed cell has a failed record.

        Raises:
            UsageError: where nothing can be run, as where no cluster answers.
            Interrupted: where a signal came; the cells that were at work have written resume states then.

        """


class Watcher(Protocol):
    """Follows how cells go on that other processes run."""

    def ended(self, record: RunRecord, rest: str) -> None:
        """Say that a cell has ended, and what is left, in words."""


@dataclass(frozen=True)
class Driver:
    """What an executor is made from, in the process that drives the grid.

    Attributes:
        work: what workers in other processes are given.
        runner: runs cells in this process.
        observer: is told of each cell, by the executor.
        jobs: how many cells may run side by side; None leaves it to the executor.
        choice: the executor's own settings.
        bundle: returns a dataset by its name, with its published test split.
        estimates: returns what cells will take, by records.

    """

    work: Work
    runner: Runner
    observer: Watcher
    jobs: int | None
    choice: Choice
    bundle: Callable[[str], Bundle]
    estimates: Callable[[], Estimates]
    _left: dict[str, float] = field(default_factory=dict)  # the seconds that cells will take, by hash, until they end

    def longest_first(self, specs: Sequence[RunSpec]) -> list[RunSpec]:
        """Return the cells in the order that leaves the fewest workers idle at the end."""
        self._left.update((spec.hash, self.estimates().seconds(spec)) for spec in specs)
        return sorted(specs, key=lambda spec: self._left[spec.hash], reverse=True)

    def memory(self, spec: RunSpec) -> float | None:
        """Return how many GiB a cell asks for: as set, or else half as much again as cells like it took, if any did."""
        expected = self.estimates().memory(spec)
        usual = _MARGIN * expected / 2**10 if expected is not None else None
        return self.choice.settings.memory or usual

    def lost(self, spec: RunSpec, reason: str) -> RunRecord:
        """Return the record of a cell that no worker came back with, and write it where there is no result."""
        record = self.runner.lost(spec, reason)
        if worth_keeping(self.work.folder, spec) is None:
            write_record(self.work.folder, record)
        return record

    def finished(self, record: RunRecord) -> RunRecord:
        """Return the record of a cell that another process ran, when the observer has been told."""
        self._left.pop(record.hash, None)
        self.observer.ended(record, self._rest())
        return record

    def _rest(self) -> str:
        """Return how many cells are left and how long they will take, the running ones in full; empty where none is."""
        left = f"{len(self._left)} left" if self._left else ""
        if not left or not self.estimates().records:
            return left
        if self.jobs is None:  # how many run side by side is the cluster's
            return f"{left}, about {duration(sum(self._left.values()))} of work"
        return f"{left}, about {duration(schedule.longest_first(self._left.values(), self.jobs).makespan)}"


class LocalSettings(Settings):
    """The executor `local` has no settings of its own."""


class RaySettings(Settings):
    """What a cell takes of a Ray cluster besides its threads: `gpus`, which may be a fraction, and `memory` in GiB.

    Without `memory` it is what cells like it took, as `--dry-run` shows, and half as much again.
    """

    gpus: NonNegative = 0.0
    memory: Positive | None = None


class SlurmSettings(Settings):
    """What each job asks Slurm for, in sbatch's words: one job a cell, in a job array.

    `time` is the limit in minutes. A job that reaches it is queued again, at most `requeues` times, and goes on from its resume
    state. `memory` in GiB is taken as in `RaySettings`. `cluster` is `slurm`, or, to try a grid without Slurm, submitit's
    `local` (processes) or `debug` (this process).
    """

    partition: str | None = None
    account: str | None = None
    qos: str | None = None
    constraint: str | None = None
    time: Count = 240
    requeues: NonNegativeInt = 20
    gpus: NonNegativeInt = 0
    memory: Positive | None = None
    cluster: Literal["slurm", "local", "debug"] = "slurm"


@dataclass(frozen=True)
class Kind:
    """An executor that `--executor` names: its settings, the library that it needs, and the file that installs it."""

    settings: type[Settings]
    library: str = ""
    requirements: str = ""


EXECUTORS = {
    "local": Kind(LocalSettings),
    "ray": Kind(RaySettings, "ray", "requirements-ray.txt"),
    "slurm": Kind(SlurmSettings, "submitit", "requirements-slurm.txt"),
}


OWNERS = tuple(name for name, kind in EXECUTORS.items() if kind.settings.model_fields)
"""The executors that have settings: names that may stand after `--set`, and that no method may have."""


@dataclass(frozen=True)
class Choice:
    """The executor of a run: its name, its settings, and the address of a cluster, empty where none is named."""

    name: str
    settings: Any
    address: str = ""

    @property
    def is_local(self) -> bool:
        """Whether cells run on this machine, in processes of the suite's own."""
        return self.name == "local"

    def device(self, text: str) -> str:
        """Return the device of workers, which may be elsewhere, for the text after `--device`.

        Elsewhere `auto` is a GPU where cells ask for one, and the processor where they do not.
        """
        if self.is_local:
            return text
        option = f"--device {text!r} with --executor {self.name}"
        if text not in ("auto", "cpu", "cuda"):
            raise UsageError(f"{option}: {self.name} chooses among GPUs; valid: auto, cpu, cuda")
        if text == "cuda" and not self.settings.gpus:
            raise UsageError(f"{option}: no cell asks for a GPU; valid: --set {self.name}.gpus=1")
        return ("cuda" if self.settings.gpus else "cpu") if text == "auto" else text


def choose(name: str, texts: Mapping[str, Mapping[str, str]], *, address: str | None) -> Choice:
    """Return the executor that the command line names.

    Args:
        name: as after `--executor`.
        texts: what was typed after `--set`, by owner and field.
        address: as after `--ray-address`.

    Raises:
        UsageError: where there is none of that name, it is not installed, or a setting of any executor is not valid.

    """
    if name not in EXECUTORS:
        raise unknown("--executor", name, EXECUTORS)
    if address is not None and name != "ray":
        raise UsageError(f"--ray-address {address!r}: the executor is {name!r}; valid: with --executor ray")
    settings = {owner: kind.settings.from_texts(texts.get(owner, {}), owner=owner) for owner, kind in EXECUTORS.items()}
    kind = EXECUTORS[name]
    if kind.library and find_spec(kind.library) is None:
        line = f"pip install -r {kind.requirements}"
        raise UsageError(f"--executor {name} needs the library {kind.library!r}, which is not installed; to install it: {line}")
    return Choice(name, settings[name], address or "")


def make(choice: Choice, driver: Driver) -> Executor:
    """Return the executor that was chosen."""
    executor: Executor = import_module(f"bench.executors.{choice.name}").make(driver)
    return executor
