"""What a record says: the description of one cell, and its results. `bench.records.storage` writes and reads the files.

A record is a typed model with a `schema_version`. Fields may be added to a version with a default; any other change of form
needs a new version.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self

from annotated_types import Ge, Le, MinLen
from pydantic import BaseModel, ConfigDict, StringConstraints

from bench.cells.spec import RunSpec

if TYPE_CHECKING:
    from bench.networks.network import Network

SCHEMA_VERSION: Literal[4] = 4

WARM_UP = 5
"""Iterations left out of `seconds_per_iteration`: the first ones compile and fill caches."""


Percent = Annotated[float, Ge(0), Le(100)]
"""An accuracy in percent; NaN is rejected."""


FileName = Annotated[str, StringConstraints(pattern=r"^[0-9A-Za-z][0-9A-Za-z._-]{0,199}$")]
"""A bare file name in the record's folder; a path is rejected."""


class _Section(BaseModel):
    """A section of a record: frozen, and without unknown fields."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class MethodFacts(_Section):
    """What tables and figures need to know of a method; see `bench.cells.method.Method`.

    `spelling`: how the command line names it, if not by its name.
    """

    label: str
    citation: str = ""
    order: int = 500
    color: str = ""
    spelling: str = ""


class NetworkFacts(_Section):
    """A network as it was used: its label, size, and the side of the images it took where they were resized."""

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


class Evaluation(_Section):
    """An evaluation of the images by networks of one architecture.

    `network`: its name in the registry. `accuracies`: test accuracy of each network, percent. `seconds`: of training and
    testing all of them. `peak_memory_mib`: in that time. `kernel`: how the training loss was run. `hardware`, `versions`,
    `code`: on what, with what and by which code; empty where that is what the record says.
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


class Unfinished(_Section):
    """What an interrupted evaluation had: metrics of the networks tested, their seconds, and a hash of the code."""

    accuracies: tuple[Percent, ...] = ()
    metrics: dict[str, tuple[float, ...]] = {}
    seconds: float = 0.0
    code: str = ""

    def with_networks(self, tested: Iterable[Mapping[str, float]], seconds: float) -> Self:
        """Return the same with more networks.

        Args:
            tested: the metrics of each, by name, `accuracy` among them.
            seconds: of all networks together.

        """
        values = {"accuracy": self.accuracies, **self.metrics}
        for network in tested:
            values = {name: (*values.get(name, ()), value) for name, value in network.items()}
        accuracies = values.pop("accuracy")
        return self.model_copy(update={"accuracies": accuracies, "metrics": values, "seconds": seconds})


class PreparedFor(_Section):
    """An artefact that a cell was made with.

    `kind` and `label`: what it is. `seconds`: what making it took in all, whoever made it. `made`: whether this cell made it.
    """

    kind: str
    label: str
    seconds: float
    made: bool


class Checkpoint(_Section):
    """The images after `iteration` iterations, evaluated like the last.

    `seconds`: of distilling until then. `rms`: root mean square of the images, in normalised units.
    """

    iteration: int
    seconds: float
    rms: float
    evaluations: tuple[Evaluation, ...] = ()


class RunRecord(_Section):
    """What one cell left: its description `spec`, and either results or an `error`.

    `method` and `dataset_label`: what tables print. `images`: the SHA-256 of each file of images beside the record, by name.
    `warnings`: what a reader of the accuracies has to know, such as that the images diverged.
    `evaluations`: one for each architecture; `failed_evaluations`: the errors of those that failed;
    `unfinished`: what an interrupted one had. `loss`: of each iteration.
    `seconds`: of distilling, by stage (features, loss, update), and in all (`total`, with the evaluations
    of the final images; those of checkpoints have seconds of their own).
    `seconds_per_iteration`: median over the iterations, the first `WARM_UP` left out; None where there are none.
    `peak_memory_mib`: over distilling and all evaluations. `rms_start`, `rms_end`: root mean square of the images at the start
    and at the end, in normalised units; `angle`: by how much an iteration turned an image, in radians, on average; None where
    nothing was optimised. `checkpoints`: images kept on the way, for learning curves, in the order of iterations. `details`:
    what else a reader may want to know. `published_images`: whether published numbers are of these images of the data set; None
    if nobody knows. `lr`: the learning rate that the images carry. `preparation`: by hash, the artefacts that the cell was made
    with; their seconds are not among `seconds`.
    """

    schema_version: Literal[4] = SCHEMA_VERSION
    hash: str
    status: Literal["ok", "failed"]
    spec: RunSpec
    method: MethodFacts
    dataset_label: str
    error: str = ""
    images: dict[FileName, str] = {}
    warnings: tuple[str, ...] = ()
    evaluations: tuple[Evaluation, ...] = ()
    failed_evaluations: dict[str, str] = {}
    unfinished: dict[str, Unfinished] = {}
    loss: tuple[float, ...] = ()
    seconds: dict[str, float] = {}
    seconds_per_iteration: float | None = None
    peak_memory_mib: float | None = None
    rms_start: float | None = None
    rms_end: float | None = None
    angle: float | None = None
    checkpoints: tuple[Checkpoint, ...] = ()
    hardware: dict[str, Any] = {}
    versions: dict[str, str] = {}
    code: dict[str, str] = {}
    details: dict[str, Any] = {}
    finished: str = ""
    published_images: bool | None = None
    lr: float | None = None
    preparation: dict[str, PreparedFor] = {}

    @property
    def has_images(self) -> bool:
        """Whether there are files of images beside the record: all cells have some but those of the whole training set."""
        return bool(self.images)

    @property
    def images_name(self) -> str:
        """The name of the file of images beside the record."""
        return f"{self.hash}.safetensors"

    def images_name_at(self, iteration: int | None) -> str:
        """The name of the file of a checkpoint's images, or under None of the final ones."""
        return self.images_name if iteration is None else f"{self.hash}-{iteration}.safetensors"

    def evaluation(self, network: str) -> Evaluation | None:
        """Return the evaluation by the network of that name, if there is one."""
        return next((evaluation for evaluation in self.evaluations if evaluation.network == network), None)

    @property
    def main_evaluation(self) -> Evaluation:
        """The evaluation that Table 2 takes: by `convnet`, or by the first network where that is not among them."""
        return self.evaluation("convnet") or self.evaluations[0]

    def lacks_checkpoints(self, asked: Iterable[int]) -> bool:
        """Return whether a checkpoint that is asked for, and that the cell passed on its way, was not kept."""
        return not {iteration for iteration in asked if iteration < len(self.loss)} <= {at.iteration for at in self.checkpoints}

    def missing_evaluations(self, spec: RunSpec, checkpoints: Collection[int] = ()) -> tuple[tuple[int | None, str], ...]:
        """Return what is still to be evaluated: pairs of a checkpoint's iteration, or None for the final images, and a network.

        Args:
            spec: names the networks that are asked for.
            checkpoints: those that are asked for.

        """
        stages: list[tuple[int | None, tuple[Evaluation, ...]]] = [(None, self.evaluations)]
        stages += [(at.iteration, at.evaluations) for at in self.checkpoints if at.iteration in checkpoints]
        return tuple(
            (iteration, name)
            for iteration, evaluations in stages
            for name in spec.networks
            if name not in {evaluation.network for evaluation in evaluations}
        )

    def _peak_with(self, evaluation: Evaluation) -> float | None:
        return max(filter(None, (self.peak_memory_mib, evaluation.peak_memory_mib)), default=None)

    def with_evaluation(self, evaluation: Evaluation, spec: RunSpec, iteration: int | None = None) -> Self:
        """Return the record with one more evaluation.

        Args:
            evaluation: of the final images, or of those of a checkpoint.
            spec: names the networks that are asked for, which stand first, in their order.
            iteration: the checkpoint's, or None for the final images.

        """
        if iteration is not None:
            checkpoints = tuple(
                at.model_copy(update={"evaluations": _ordered((*at.evaluations, evaluation), spec)})
                if at.iteration == iteration
                else at
                for at in self.checkpoints
            )
            failed = {
                at: text for at, text in self.failed_evaluations.items() if at != stage_name(evaluation.network, iteration)
            }
            changes = {"checkpoints": checkpoints, "failed_evaluations": failed, "finished": evaluation.finished}
            return self.model_copy(update={**changes, "peak_memory_mib": self._peak_with(evaluation)})
        evaluations = _ordered((*self.evaluations, evaluation), spec)
        names = tuple(other.network for other in evaluations)
        return self.model_copy(
            update={
                "status": "ok",
                "error": "",
                "evaluations": evaluations,
                "failed_evaluations": {name: text for name, text in self.failed_evaluations.items() if name not in names},
                "seconds": {**self.seconds, "total": self.seconds["total"] + evaluation.seconds},
                "peak_memory_mib": self._peak_with(evaluation),
                "finished": evaluation.finished,
                "spec": self.spec.with_networks(names),
            }
        )


def stage_name(network: str, iteration: int | None) -> str:
    """Return what an evaluation is called: by its network, and the iteration of a checkpoint."""
    return network if iteration is None else f"{network} at iteration {iteration}"


def _ordered(evaluations: Iterable[Evaluation], spec: RunSpec) -> tuple[Evaluation, ...]:
    """Return one evaluation for each network, the last of several; the networks that `spec` asks for stand first."""
    by_name = {evaluation.network: evaluation for evaluation in evaluations}
    return tuple(by_name[name] for name in dict.fromkeys((*spec.networks, *by_name)) if name in by_name)


class RecordProblem(_Section):
    """A file in a folder of records that is not as it should be: its path, and what is wrong, in one line.

    `counted`: whether its record counts all the same, as one under another name does. `remedy`: what a user may do: `remove` a
    file that is of no use, `rerun` the command that made it, `none` if the file itself may be sound or the reason says it.
    """

    path: Path
    reason: str
    counted: bool = False
    remedy: Literal["remove", "rerun", "none"] = "remove"


def typical_iteration(seconds: tuple[float, ...]) -> float | None:
    """Return the median seconds of an iteration, the first `WARM_UP` (of few, the first half) left out."""
    kept = seconds[min(WARM_UP, len(seconds) // 2) :]
    return median(kept) if kept else None


def describe_error(error: BaseException) -> str:
    """Return what a record says of an error."""
    return f"{type(error).__name__}: {error}"


def timestamp() -> str:
    """Return the time, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")
