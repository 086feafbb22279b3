"""Random: real images drawn at random, trained on as they are."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench.lazy import matching
from bench.method import OwnProcedure

if TYPE_CHECKING:
    from bench.settings import Settings
    from bench.task import Task
    from bench.types import SyntheticSet


def random_images(task: Task, settings: Settings) -> SyntheticSet:
    """Return `ipc` random real images of each class: exactly the images that every matching method of that seed starts from."""
    return matching.initial_images(task)


METHOD = OwnProcedure(
    name="random",
    label="Random",
    citation="Li, Xue and Shi 2025, Table 2",
    procedure=random_images,
    order=10,
    color="#949494",
)
