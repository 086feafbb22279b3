"""The sections of a record: its method, networks, evaluations and checkpoints, and what was prepared for it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Annotated, Any, Self

from annotated_types import Ge, Le, MinLen
from pydantic import BaseModel, ConfigDict, StringConstraints

if TYPE_CHECKING:
    from bench.networks.network import Network

Percent = Annotated[float, Ge(0), Le(100)]
"""An accuracy in percent; NaN is rejected."""


FileName = Annotated[str, StringConstraints(pattern=r"^[0-9A-Za-z][0-9A-Za-z._-]{0,199}$")]
"""A bare file name in the record's folder; a path is rejected."""


class Section(BaseModel):
    """A section of a record: frozen, and without unknown fields."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class MethodFacts(Section):
    """What tables and figures need to know of a method; see `bench.cells.method.Method`.

    `spelling`: how the command line names it, if not by its name.
    """

    label: str
    citation: str = ""
    order: int = 500
    color: str = ""
    spelling: str = ""


class NetworkFacts(Section):
    """A network as it was used: its label, size, and the side of its images if they were resized."""

    label: str
    width: int = 0
    depth: int = 0
    features: int
    resized_to: int | None = None

    @classmethod
    def of(cls, network: Network) -> Self:
        """Return the facts of a network."""
        return cls(
            label=network.label,
            width=network.width,
            depth=network.depth,
            features=network.features_dim,
            resized_to=network.size if network.resized else None,
        )


class Evaluation(Section):
    """An evaluation of the images by networks of one architecture.

    `network`: its name in the registry. `accuracies`: test accuracy of each network, percent. `seconds`: of training and
    testing all of them. `peak_memory_mib`: in that time. `kernel`: how the training loss was run. `hardware`, `versions`,
    `code`: on what, with what and by which code; empty if the record says the same.
    """

    network: str
    facts: NetworkFacts
    accuracies: Annotated[tuple[Percent, ...], MinLen(1)]
    metrics: dict[str, tuple[float, ...]] = {}
    seconds: float
    peak_memory_mib: float | None = None
    kernel: str = ""
    hardware: dict[str, Any] = {}
    versions: dict[str, str] = {}
    code: dict[str, str] = {}
    finished: str = ""

    @property
    def values(self) -> dict[str, tuple[float, ...]]:
        """All metrics by name, `accuracy` first: of each a value for each network."""
        return {"accuracy": self.accuracies, **self.metrics}


class Unfinished(Section):
    """What an interrupted evaluation had: metrics of the networks tested, their seconds, and a hash of the code."""

    accuracies: tuple[Percent, ...] = ()
    metrics: dict[str, tuple[float, ...]] = {}
    seconds: float = 0.0
    code: str = ""

    def with_networks(self, tested: Iterable[Mapping[str, float]], seconds: float) -> Self:
        """Return what was measured, with more networks.

        Args:
            tested: the metrics of each, by name, `accuracy` among them.
            seconds: of all networks together.

        """
        values = {"accuracy": self.accuracies, **self.metrics}
        for network in tested:
            values = {name: (*values.get(name, ()), value) for name, value in network.items()}
        accuracies = values.pop("accuracy")
        return self.model_copy(update={"accuracies": accuracies, "metrics": values, "seconds": seconds})


class PreparedFor(Section):
    """An artefact that a cell was made with.

    `kind` and `label`: what it is. `seconds`: what making it took in all, whoever made it. `made`: whether this cell made it.
    """

    kind: str
    label: str
    seconds: float
    made: bool


class Checkpoint(Section):
    """The images after `iteration` iterations, evaluated like the last.

    `seconds`: of distilling until then. `rms`: root mean square of the images, in normalised units.
    """

    iteration: int
    seconds: float
    rms: float
    evaluations: tuple[Evaluation, ...] = ()
