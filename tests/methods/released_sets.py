"""Small distilled sets, a dataset that they fit, and the cells of both."""

from __future__ import annotations

import warnings
from types import SimpleNamespace

import numpy as np
import torch

from bench.cells.grid import make_specs
from bench.cells.protocol import PROFILES
from bench.cells.spec import RunSpec
from bench.cells.task import Task
from bench.files import DataWarning
from bench.machine.compute import Compute
from bench.seeding import Streams
from bench.sets import Distillation, DistilledSet
from bench.types import Bundle, Split, SyntheticSet

CLASSES = ("dark", "grey", "bright")
MEAN, STD = (0.45, 0.5), (0.25, 0.2)
SPLIT = Split(torch.zeros(9, 2, 8, 8, dtype=torch.uint8), torch.arange(3).repeat(3))
BUNDLE = Bundle("tiny", SPLIT, SPLIT, CLASSES, MEAN, STD, flip=False)
PROTOCOL = PROFILES["quick"]


def source(name="tiny", *, classes=CLASSES, shape=(2, 8, 8), **more) -> SimpleNamespace:
    return SimpleNamespace(name=name, classes=classes, shape=shape, **more)


def content(*, seeds=(0,), ipc=2, soft=False, lr=None, **changes) -> DistilledSet:
    def distillation(seed):
        generator = np.random.default_rng(seed)
        labels = np.repeat(np.arange(3), ipc)
        images = generator.normal(size=(3 * ipc, 2, 8, 8)).astype(np.float32)
        rate = None if lr is None else lr * (1 + seed)
        return Distillation.of(seed, images, np.eye(3, dtype=np.float32)[labels] * 0.7 + 0.1 if soft else labels, rate)

    said = {"mean": MEAN, "std": STD, "classes": CLASSES} | changes
    return DistilledSet(distillations=tuple(map(distillation, seeds)), **said)


def specs(method, *sources, ipcs=(2,), seeds=(0,), **texts) -> list[RunSpec]:
    return make_specs(
        methods=[(method, method.resolve(texts, profile="quick"))],
        sources=sources or [source()],
        ipcs=ipcs,
        seeds=seeds,
        protocol=PROTOCOL,
        precision="fp32",
    )


def distilled(method, *, seed=0, bundle=BUNDLE, **texts) -> SyntheticSet:
    (spec,) = specs(method, source(classes=bundle.classes), seeds=[seed], **texts)
    task = Task(bundle, spec, Streams(seed, "tiny", 2), Compute(torch.device("cpu"), "fp32", 1), lambda progress: None)
    return method.procedure(task)


def warnings_of(method, **texts) -> list[str]:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        specs(method, **texts)
    assert all(issubclass(warning.category, DataWarning) for warning in caught)
    return [str(warning.message).replace(method.citation, "set:PATH") for warning in caught]
