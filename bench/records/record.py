"""What a record says: the description of one cell, and its results. `bench.records.storage` writes and reads the files.

A record is a typed model with a `schema_version`. Fields may be added to a version with a default; any other change of form
needs a new version.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict

from bench.cells.spec import RunSpec
from bench.records.sections import Checkpoint, Evaluation, FileName, MethodFacts, PreparedFor, Section, Unfinished

SCHEMA_VERSION: Literal[4] = 4

WARM_UP = 5
"""Iterations left out of `seconds_per_iteration`: the first ones compile and fill caches."""


class RunRecord(BaseModel):
    """What one cell left: its description `spec`, and either results or an `error`.

    `method` and `dataset_label`: what tables print. `images`: the SHA-256 of each file of images beside the record, by name.
    `warnings`: what a reader of the accuracies has to know, such as that the images diverged.
    `evaluations`: one for each architecture; `failed_evaluations`: the errors of those that failed;
    `unfinished`: what an interrupted one had. `loss`: of each iteration.
    `seconds`: of distilling, by stage (features, loss, update), and in all (`total`, with the evaluations
    of the final images; those of checkpoints have seconds of their own).
    `seconds_per_iteration`: median over the iterations, the first `WARM_UP` left out; None if there are none.
    `peak_memory_mib`: over distilling and all evaluations. `rms_start`, `rms_end`: root mean square of the images at the start
    and at the end, in normalised units; `angle`: by how much an iteration turned an image, in radians, on average; None if
    nothing was optimised. `checkpoints`: images kept on the way, for learning curves, in the order of iterations. `details`:
    what else a reader may want to know. `published_images`: whether published numbers are of these images of the data set; None
    if nobody knows. `lr`: the learning rate that the images carry. `preparation`: by hash, the artefacts that the cell was made
    with; their seconds are not among `seconds`.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

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
        """The evaluation that Table 2 takes: by `convnet`, or by the first network if that is not among them."""
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
            spec: names the networks that are asked for, which come first, in their order.
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
                stage: error
                for stage, error in self.failed_evaluations.items()
                if stage != stage_name(evaluation.network, iteration)
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
                "failed_evaluations": {name: error for name, error in self.failed_evaluations.items() if name not in names},
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
    """Return one evaluation for each network, the last of several; the networks that `spec` asks for come first."""
    by_name = {evaluation.network: evaluation for evaluation in evaluations}
    return tuple(by_name[name] for name in dict.fromkeys((*spec.networks, *by_name)) if name in by_name)


class RecordProblem(Section):
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
