"""The executors that `--executor` names: their settings, and what has to be installed for them.

`EXECUTORS` names for each the function `make(driver)` that returns it. It has one method, `map(specs)`, which yields records as
the cells finish: see `bench.running.driver`. Afterwards records and images are in the folder of the run, wherever the cells
were run.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any, Literal

from pydantic import Field

from bench.cells.settings import Count, NonNegative, NonNegativeInt, Positive, Settings
from bench.errors import UsageError, unknown

_RETRIES = "Number of times at most that a cell runs again after its worker, or the node, was lost."
_MEMORY = "GiB of memory of a cell; none for what such cells took, as --dry-run shows, and half as much again."


class LocalSettings(Settings):
    """The executor `local` has no settings of its own."""


class RaySettings(Settings):
    """What a cell takes of a Ray cluster besides its threads."""

    gpus: NonNegative = Field(default=0.0, description="GPUs that a cell takes, which may be a fraction.")
    memory: Positive | None = Field(default=None, description=_MEMORY)
    retries: NonNegativeInt = Field(default=3, description=_RETRIES)


class SlurmSettings(Settings):
    """What each job asks Slurm for, by sbatch's names: one job a cell, in a job array."""

    partition: str | None = Field(default=None, description="Partition of the jobs; none for the cluster's own choice.")
    account: str | None = Field(
        default=None, description="Account that the jobs are charged to; none for the user's usual one."
    )
    qos: str | None = Field(default=None, description="Quality of service of the jobs; none for the usual one.")
    constraint: str | None = Field(default=None, description="Features that a node must have; none for any node.")
    time: Count = Field(
        default=240, description="Minutes after which a job is queued again, and goes on from its resume state."
    )
    requeues: NonNegativeInt = Field(default=20, description="Number of times that a job is queued again at most.")
    gpus: NonNegativeInt = Field(default=0, description="GPUs of a job.")
    memory: Positive | None = Field(default=None, description=_MEMORY)
    retries: NonNegativeInt = Field(default=3, description=_RETRIES)
    cluster: Literal["slurm", "local", "debug"] = Field(
        default="slurm", description="Slurm, or to try a grid without it submitit's local (processes) or debug (this process)."
    )


@dataclass(frozen=True)
class Kind:
    """An executor: the location of its function `make`, its settings, the library that it needs, and the file that installs
    it.
    """

    make: str
    settings: type[Settings]
    library: str = ""
    requirements: str = ""


EXECUTORS = {
    "local": Kind("bench.running.local:make", LocalSettings),
    "ray": Kind("bench.running.ray:make", RaySettings, "ray", "requirements-ray.txt"),
    "slurm": Kind("bench.running.slurm:make", SlurmSettings, "submitit", "requirements-slurm.txt"),
}


OWNERS = tuple(name for name, kind in EXECUTORS.items() if kind.settings.model_fields)
"""The executors that have settings: valid owners in `--set`, and names that no method may have."""


@dataclass(frozen=True)
class Choice:
    """The executor of a run: its name, its settings, and the address of a cluster, empty if none is named."""

    name: str
    settings: Any
    address: str = ""

    @property
    def is_local(self) -> bool:
        """Whether cells run on this machine, in processes of the suite's own."""
        return self.name == "local"

    def device(self, name: str) -> str:
        """Return the device of workers, which may be on other machines, for the name after `--device`.

        On other machines `auto` is a GPU if cells ask for one, and the processor if they do not.
        """
        if self.is_local:
            return name
        option = f"--device {name!r} with --executor {self.name}"
        if name not in ("auto", "cpu", "cuda"):
            raise UsageError(f"{option}: {self.name} chooses among GPUs; valid: auto, cpu, cuda")
        if name == "cuda" and not self.settings.gpus:
            raise UsageError(f"{option}: no cell asks for a GPU; valid: --set {self.name}.gpus=1")
        return ("cuda" if self.settings.gpus else "cpu") if name == "auto" else name


def choose(name: str, typed: Mapping[str, Mapping[str, str]], *, address: str | None) -> Choice:
    """Return the executor that the command line names.

    Args:
        name: as after `--executor`.
        typed: what was typed after `--set`, by owner and field.
        address: as after `--ray-address`.

    Raises:
        UsageError: if there is none of that name, it is not installed, or a setting of any executor is not valid.

    """
    if name not in EXECUTORS:
        raise unknown("--executor", name, EXECUTORS)
    if address is not None and name != "ray":
        raise UsageError(f"--ray-address {address!r}: the executor is {name!r}; valid: with --executor ray")
    settings = {owner: kind.settings.from_texts(typed.get(owner, {}), owner=owner) for owner, kind in EXECUTORS.items()}
    kind = EXECUTORS[name]
    if kind.library and find_spec(kind.library) is None:
        line = f"pip install -r {kind.requirements}"
        raise UsageError(f"--executor {name} needs the library {kind.library!r}, which is not installed; to install it: {line}")
    return Choice(name, settings[name], address or "")
