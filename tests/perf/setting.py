"""What the benchmarks run on: tasks of a given size, as real cells have them, and how a measurement is taken."""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import cache

import torch

from bench.cells.protocol import PROFILES
from bench.cells.spec import RunSpec
from bench.cells.task import Task
from bench.machine.compute import Compute
from bench.machine.threads import Workers
from bench.machine.timing import peak_memory_mib, reset_peak_memory
from bench.seeding import Streams
from bench.types import Bundle, Split
from methods import METHODS

CPU = torch.device("cpu")
DM = METHODS["dm"].settings()
QUICK = os.environ.get("BENCH_QUICK") == "1"
"""One round of everything, no warm-up: to try the suite itself."""


class CompiledCompute(Compute):
    """Compiles as a cell of 20,000 iterations does, however few are run here."""

    def kernel(self, kind, network, flops, *, training=True):
        return super().kernel(kind, network, 1e18, training=training)


@dataclass(frozen=True)
class Shape:
    """The size of a task."""

    classes: int = 10
    real: int = 256
    ipc: int = 10
    size: int = 28
    channels: int = 1
    width: int = 128
    test: int = 16


def bundle(shape: Shape) -> Bundle:
    """Return images of noise around a random picture of their class: speed depends on the shapes alone."""
    generator = torch.Generator().manual_seed(3)
    picture = (shape.channels, shape.size, shape.size)
    centres = torch.randint(0, 160, (shape.classes, *picture), generator=generator)

    def split(count):
        labels = torch.arange(shape.classes).repeat_interleave(-(-count // shape.classes))[:count]
        return Split((centres[labels] + torch.randint(0, 96, (count, *picture), generator=generator)).to(torch.uint8), labels)

    train = split(shape.classes * shape.real)
    names = tuple(map(str, range(shape.classes)))
    return Bundle("bench", train, split(shape.test), names, (0.4,) * shape.channels, (0.3,) * shape.channels)


def task(shape: Shape, *, loss=DM, precision="auto", compiled=True, **sections) -> Task:
    """Return a task of a loss in the published protocol at `shape`: one iteration, unless `sections` say otherwise."""
    paper = PROFILES["paper"]
    changes = {"match": {"iterations": 1, "real_batch": shape.real}, "network": {"width": shape.width}}
    for name, fields in sections.items():
        changes[name] = changes.get(name, {}) | fields
    protocol = paper.changed(**{name: getattr(paper, name).changed(**fields) for name, fields in changes.items()})
    protocol = protocol.changed(match=protocol.match.with_step())
    compute = (CompiledCompute if compiled else Compute).choose(device="cpu", precision=precision)
    spec = RunSpec(
        dataset="bench",
        ipc=shape.ipc,
        method="any",
        seed=0,
        settings=loss,
        protocol=protocol,
        precision=compute.precision,
    )
    return Task(bundle(shape), spec, Streams(0, "bench", shape.ipc), compute, lambda progress: None)


@cache
def workers():
    """Return the threads that losses compute classes with, as many as a cell has."""
    return Workers(torch.get_num_threads())


def features(classes, count, dim, *, shift=0.0, seed=0, dtype=torch.float32):
    """Return points `[C, count, dim]` as a ConvNet's features are: rectified, their means apart from class to class."""
    generator = torch.Generator().manual_seed(seed)
    centres = 0.5 * torch.rand(classes, 1, dim, generator=generator) + shift
    return (centres + 0.4 * torch.randn(classes, count, dim, generator=generator)).relu().to(dtype)


def loss_and_slope(name, real, syn, **settings):
    """Return a method's loss a class, and the gradient of its sum: forward and backward, with the threads of a cell."""
    syn = syn.detach().requires_grad_()
    with workers().serving():
        values = METHODS[name].objective(**settings)(real, syn, generator=torch.Generator().manual_seed(0))
    (slope,) = torch.autograd.grad(values.sum(), syn)
    return values.detach(), slope


def measure(benchmark, function, *arguments, rounds, warm_up=1, **info):
    """Take the time of `function`, some rounds after warm-up, with what `info` says of it; return its value."""
    benchmark.extra_info.update(info)
    if QUICK:
        rounds, warm_up = 1, 0
    return benchmark.pedantic(function, args=arguments, rounds=rounds, warmup_rounds=warm_up)


def peak_of(function, *arguments):
    """Return how far the process's resident memory rose above where it was while `function` ran, in MiB."""
    reset_peak_memory(CPU)
    before = peak_memory_mib(CPU)
    function(*arguments)
    return peak_memory_mib(CPU) - before
