"""Selection: sets of real images, trained on as they are."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench.types import SyntheticSet

if TYPE_CHECKING:
    from bench.types import Task


def random_images(task: Task) -> SyntheticSet:
    """Return `ipc` random real images of each class: exactly the images that every matching method of that seed starts from."""
    from bench.matching import initial_images

    return initial_images(task)


def whole_set(task: Task) -> SyntheticSet:
    """Return the full training set."""
    from bench.matching import normalise

    train, device = task.bundle.train, task.compute.device
    return SyntheticSet(normalise(train.images.to(device), task.bundle), train.labels.to(device))
