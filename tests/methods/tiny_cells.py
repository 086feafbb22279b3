"""One tiny dataset for all methods, their cells on it, and what they make of them."""

from collections.abc import Mapping
from dataclasses import replace
from pkgutil import resolve_name
from types import SimpleNamespace

import torch
from torch import Tensor

from bench.cells.grid import make_specs
from bench.cells.method import Method
from bench.cells.protocol import ConvNetSize, Match, Protocol, Training
from bench.cells.settings import Settings
from bench.cells.task import Task
from bench.machine.compute import Compute
from bench.seeding import Streams
from bench.types import Bundle, Split, SyntheticSet

CLASSES, EACH, IPC, ITERATIONS = 3, 12, 2, 2
PROTOCOL = Protocol(
    profile="quick",
    match=Match(iterations=ITERATIONS, real_batch=4),
    eval=Training(nets=1, epochs=1),
    whole=Training(nets=1, epochs=1),
    network=ConvNetSize(width=8),
)
SMALL = {"iterations": str(ITERATIONS), "real_batch": "4", "start": "real"}
"""What `--set` says of a method that has these settings: a loop of its own is as short as the protocol's."""


def tiny_bundle() -> Bundle:
    """Return grey 8x8 images of noise, each class brighter than the one before, in no order."""
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(CLASSES).repeat(EACH)  # 0, 1, 2, 0, ..
    noise = torch.randint(0, 100, (CLASSES * EACH, 1, 8, 8), generator=generator)
    split = Split((noise + 70 * labels[:, None, None, None]).to(torch.uint8), labels)
    return Bundle("tiny", split, split, ("dark", "grey", "bright"), (0.45,), (0.25,), flip=False)


def task_of(method: Method, *, seed: int = 0, **texts: str) -> Task:
    """Return the task that the runner would make of `method`'s one cell; `texts` is what `--set` would say of the method."""
    bundle = tiny_bundle()
    source = SimpleNamespace(name="tiny", classes=bundle.classes, shape=bundle.shape)
    small = {name: text for name, text in SMALL.items() if name in method.settings.model_fields}
    (spec,) = make_specs(
        methods=[(method, method.resolve(small | texts, profile=PROTOCOL.profile))],
        sources=[source],
        ipcs=[IPC],
        seeds=[seed],
        protocol=PROTOCOL,
        precision="fp32",
    )
    compute = Compute(torch.device("cpu"), "fp32", torch.get_num_threads())
    return Task(bundle, spec, Streams(seed, spec.dataset, spec.ipc), compute, lambda progress: None)


def with_settings(task: Task, settings: Settings) -> Task:
    """Return a task with other settings of its method."""
    return replace(task, spec=task.spec.model_copy(update={"settings": settings}))


def resolved(entry):
    """Return a function that a method names as `"module:function"`, or has itself."""
    return resolve_name(entry) if isinstance(entry, str) else entry


def prepared(method: Method, task: Task) -> Task:
    """Return the task with what its method asks to be prepared, made in one go."""
    artefacts = dict[str, Mapping[str, Tensor]]()
    for spec in method.artefacts(task.spec):
        tensors = dict[str, Tensor | None]()
        for piece in resolved(method.preparation.make)(task, spec, {}):
            tensors |= piece
        artefacts[spec.kind] = {name: tensor for name, tensor in tensors.items() if tensor is not None}
    return replace(task, prepared=artefacts)


def distilled(method: Method, task: Task) -> SyntheticSet:
    """Return what the method makes of a task."""
    return resolved(method.procedure)(prepared(method, task))


def distill(method: Method, **options: str) -> SyntheticSet:
    """Return what the method makes of its task; see `task_of`."""
    return distilled(method, task_of(method, **options))
