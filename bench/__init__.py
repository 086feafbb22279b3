"""The engine, which knows no method, data set or report by name. Its packages, from the ground up:

    networks   the architectures
    machine    what is computed with: device, kernels, threads, ranks, signals
    cells      what a cell is: settings, protocol, method, loss, artefact, task
    records    what is kept: records, images, resume states, artefacts; locks
    loops      what happens in a cell: matching, recording, training, evaluation
    plan       what a grid will take
    sets       distilled sets as files
    running    the runner and its workers: local, Ray, Slurm, torchrun
    command    the command line

Beside them are `types`, `errors`, `files`, `pickles`, `seeding` and `lazy`. Files outside the engine import the public names
from here, `from bench import Method, Settings`: these names stay. Each is loaded at its first use. docs/adding.md shows what
they are for.
"""

from __future__ import annotations

from pkgutil import resolve_name
from typing import Any

_LOCATIONS = {
    "Architecture": "bench.networks.base:Architecture",
    "ArtefactSpec": "bench.cells.artefact:ArtefactSpec",
    "Batches": "bench.loops.images:Batches",
    "Bundle": "bench.types:Bundle",
    "Count": "bench.cells.settings:Count",
    "DistillationError": "bench.errors:DistillationError",
    "FeatureLoss": "bench.cells.loss:FeatureLoss",
    "FeatureMatching": "bench.cells.method:FeatureMatching",
    "Fraction": "bench.cells.settings:Fraction",
    "LossContext": "bench.types:LossContext",
    "Method": "bench.cells.method:Method",
    "NetworkName": "bench.cells.protocol:NetworkName",
    "NonNegative": "bench.cells.settings:NonNegative",
    "NonNegativeInt": "bench.cells.settings:NonNegativeInt",
    "Positive": "bench.cells.settings:Positive",
    "Preparation": "bench.cells.artefact:Preparation",
    "Recorder": "bench.loops.recorder:Recorder",
    "RunRecord": "bench.records.record:RunRecord",
    "RunSpec": "bench.cells.spec:RunSpec",
    "Settings": "bench.cells.settings:Settings",
    "Split": "bench.types:Split",
    "StatefulLoss": "bench.cells.loss:StatefulLoss",
    "SyntheticSet": "bench.types:SyntheticSet",
    "Task": "bench.cells.task:Task",
    "Trainer": "bench.loops.training:Trainer",
    "Training": "bench.cells.protocol:Training",
    "UsageError": "bench.errors:UsageError",
    "Weights": "bench.networks.weights:Weights",
    "by_class": "bench.cells.loss:by_class",
    "read_folder": "bench.records.storage:read_folder",
    "read_set": "bench.sets:read_set",
    "starting_images": "bench.loops.images:starting_images",
    "trained_networks": "bench.loops.preparing:trained_networks",
    "whole_set": "bench.loops.images:whole_set",
}
"""Where each public name is defined."""

__all__ = [*_LOCATIONS]


def __getattr__(name: str) -> Any:
    """Return a public name, imported from its location."""
    if name not in _LOCATIONS:
        raise AttributeError(f"module 'bench' has no attribute {name!r}")
    return resolve_name(_LOCATIONS[name])


def __dir__() -> list[str]:
    """Return the public names, and those of the module."""
    return [*globals(), *_LOCATIONS]
