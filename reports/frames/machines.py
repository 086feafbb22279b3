"""On which processors or GPUs numbers were made, in words."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import pandas as pd

from bench.records.record import RunRecord
from reports.frames.names import CellKey, by_cell


def machines(records: Iterable[RunRecord]) -> str:
    """Return the processors or GPUs of records, each once: those of distilling and those of evaluations."""
    labels = {
        machine_label(hardware)
        for record in records
        for hardware in (record.hardware, *(evaluation.hardware for evaluation in record.evaluations if evaluation.hardware))
    }
    return ", ".join(sorted(labels))


def machines_by_column(cells: pd.DataFrame) -> Mapping[CellKey, tuple[str, ...]]:
    """Return what the seconds of distilling of each cell of a table are of: the processors or GPUs, each once.

    Args:
        cells: `Results.cells`.

    """
    return {key: tuple(sorted(set(group["machine"]))) for key, group in by_cell(cells)}


def machine_label(hardware: Mapping[str, Any]) -> str:
    """Return the processor or GPU of a record, how many threads it had, and among how many processes a cell was divided."""
    name = hardware.get("gpu", hardware.get("cpu", "unknown"))
    label = f"{name}, {hardware.get('threads', hardware.get('cores'))} threads on {hardware.get('device', 'cpu')}"
    ranks = hardware.get("ranks", 1)
    return f"{label}, {ranks} ranks" if ranks > 1 else label
