"""The rows of the tidy frames: what a record says, as columns."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd

from bench.records.record import RunRecord
from bench.records.sections import Evaluation
from reports.frames.machines import machine_label
from reports.frames.names import CELL
from reports.frames.variants import run_precision

STAGES = ("features", "loss", "update")
"""The stages of distilling, as records name them."""

_CURVE_POINTS = 200
"""A loss curve has at most as many points: enough for the eye."""

_SEED = [*CELL, "seed"]
NETWORK_COLUMNS = [
    *_SEED,
    *("eval_network", "network", "accuracy", "profile", "split", "precision", "optimizer", "rate", "iterations"),
    *("seconds_per_iteration", *(f"{stage}_s" for stage in STAGES), "distilling_s", "evaluation_s", "total_s"),
    *("peak_memory_mib", "rms_start", "rms_end", "angle", "hash"),
]
CHECKPOINT_COLUMNS = [*_SEED, "iteration", "seconds", "rms", "eval_network", "network", "accuracy", "rate", "hash"]
CURVE_COLUMNS = ("iteration", "seconds", "loss", "relative")
LOSS_COLUMNS = [*_SEED, *CURVE_COLUMNS, "rate", "hash"]
METRIC_COLUMNS = ["hash", "eval_network", "network", "metric", "value"]
_WHOLE_NUMBERS = ("ipc", "seed", "network", "iterations", "iteration")
_NUMBERS = (
    *("accuracy", "rate", "seconds_per_iteration", *(f"{stage}_s" for stage in STAGES), "distilling_s", "evaluation_s"),
    *(
        "total_s",
        "peak_memory_mib",
        "rms_start",
        "rms_end",
        "angle",
        "seconds",
        "rms",
        "loss",
        "relative",
        "value",
        "real_batch",
    ),
    "preparation_s",
)


def typed(frame: pd.DataFrame) -> pd.DataFrame:
    """Return the frame with the same types whatever is missing, so that files of different reports can be concatenated."""
    types = dict.fromkeys(_WHOLE_NUMBERS, "Int64") | dict.fromkeys(_NUMBERS, "float64")
    return frame.astype({name: types.get(name, "str") for name in frame.columns})


def step_rate(record: RunRecord) -> float | None:
    """Return the rate of a step, or None if the optimizer or the method has none."""
    return record.spec.protocol.match.rate if record.spec.protocol.match else None


def distilling_seconds(record: RunRecord) -> float:
    """Return the seconds of distilling; 0 if nothing is distilled."""
    return sum(record.seconds.get(stage, 0.0) for stage in STAGES)


def memory_kind(record: RunRecord) -> str:
    """Return what a record's peak memory is of: the `process` on a CPU, the GPU (`device`), or `both` if stages differ."""
    stages = [record.hardware, *(evaluation.hardware for evaluation in record.evaluations if evaluation.hardware)]
    kinds = {"device" if str(hardware.get("device", "cpu")).startswith("cuda") else "process" for hardware in stages}
    return kinds.pop() if len(kinds) == 1 else "both"


def cell_facts(record: RunRecord) -> dict[str, Any]:
    """Return what `Results.cells` has of a cell beside the columns of `results.csv`."""
    match, prepared = record.spec.protocol.match, record.preparation.values()
    return {
        "machine": machine_label(record.hardware),
        "memory_kind": memory_kind(record),
        "real_batch": match.real_batch if match else None,
        "preparation_s": sum(artefact.seconds for artefact in prepared) if prepared else None,
    }


def cell_columns(record: RunRecord, variant: str) -> dict[str, Any]:
    """Return the columns that all rows of a cell have in common."""
    spec, seconds = record.spec, record.seconds
    return {
        **{"dataset": spec.dataset, "ipc": spec.ipc, "method": spec.method, "variant": variant, "seed": spec.seed},
        "profile": spec.protocol.profile,
        "split": spec.protocol.data.split,
        "precision": run_precision(spec),
        "optimizer": spec.protocol.match.optimizer if spec.protocol.match else "",
        "rate": step_rate(record),
        "iterations": len(record.loss),
        "seconds_per_iteration": record.seconds_per_iteration,
        **{f"{stage}_s": seconds.get(stage) for stage in STAGES},
        "distilling_s": distilling_seconds(record),
        "peak_memory_mib": record.peak_memory_mib,
        **{"rms_start": record.rms_start, "rms_end": record.rms_end, "angle": record.angle},
        "hash": record.hash,
    }


def network_columns(record: RunRecord, evaluation: Evaluation) -> Iterator[dict[str, Any]]:
    """Yield what each network of an evaluation adds to the columns of its cell."""
    others = sum(other.seconds for other in record.evaluations if other is not evaluation)
    total = record.seconds.get("total")
    columns = {
        "eval_network": evaluation.network,
        "evaluation_s": evaluation.seconds,
        "total_s": None if total is None else total - others,
    }
    for number, accuracy in enumerate(evaluation.values["accuracy"]):
        yield columns | {"network": number, "accuracy": accuracy}


def metric_rows(record: RunRecord) -> Iterator[tuple[str, str, int, str, float]]:
    """Yield each metric of each evaluation network of a record: `METRIC_COLUMNS`."""
    for evaluation in record.evaluations:
        for metric, values in evaluation.values.items():
            for number, value in enumerate(values):
                yield record.hash, evaluation.network, number, metric, value


def stages(record: RunRecord) -> Iterator[tuple[int, float, float | None, tuple[Evaluation, ...]]]:
    """Yield iteration, seconds, root mean square and evaluations of each checkpoint of a record, and of its end."""
    for at in record.checkpoints:
        yield at.iteration, at.seconds, at.rms, at.evaluations
    yield len(record.loss), distilling_seconds(record), record.rms_end, record.evaluations


def loss_curve(record: RunRecord) -> dict[str, np.ndarray]:
    """Return the mean loss of each stretch of a record, with the iteration and the seconds at its end: `CURVE_COLUMNS`."""
    if not record.loss:
        return {name: np.empty(0) for name in CURVE_COLUMNS}
    passed = [
        (0, 0.0),
        *((at.iteration, at.seconds) for at in record.checkpoints),
        (len(record.loss), distilling_seconds(record)),
    ]
    iterations, seconds = zip(*passed, strict=True)
    ends = np.linspace(0, len(record.loss), min(len(record.loss), _CURVE_POINTS) + 1).astype(int)
    means = np.add.reduceat(np.asarray(record.loss), ends[:-1]) / np.diff(ends)
    relative = means / means[0] if means[0] else np.full(len(means), math.nan)
    columns = ends[1:], np.interp(ends[1:], iterations, seconds), means, relative
    return dict(zip(CURVE_COLUMNS, columns, strict=True))
