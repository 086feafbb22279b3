"""Whole: the full training set, the upper end of every table."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench.lazy import matching
from bench.method import OwnProcedure
from bench.types import SyntheticSet

if TYPE_CHECKING:
    from bench.settings import Settings
    from bench.task import Task


def whole_set(task: Task, settings: Settings) -> SyntheticSet:
    """Return the full training set."""
    train, device = task.bundle.train, task.compute.device
    return SyntheticSet(matching.normalise(train.images.to(device), task.bundle), train.labels.to(device))


METHOD = OwnProcedure(
    name="whole",
    label="Whole",
    citation="Li, Xue and Shi 2025, Table 2",
    procedure=whole_set,
    sections=("whole",),
    whole_set=True,
    order=1000,
    color="#4d4d4d",
)
