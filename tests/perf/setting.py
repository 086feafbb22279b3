"""What the benchmarks run on: tasks of a given size, as real cells have them, and how a measurement is taken."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace

import torch

from bench.compute import Compute
from bench.networks import ConvNet
from bench.protocol import PROFILES
from bench.seeding import Streams
from bench.timing import peak_memory_mib, reset_peak_memory
from bench.types import Bundle, RunSpec, Split, Task
from methods import METHODS

CPU = torch.device("cpu")
QUICK = os.environ.get("BENCH_QUICK") == "1"
"""One round of everything, no warm-up: to try the suite itself."""


class CompiledCompute(Compute):
    """Compiles as a cell of 20,000 iterations does, however few are run here."""

    def features_kernel(self, network, flops):
        return super().features_kernel(network, 1e18)

    def loss_kernel(self, network, flops):
        return super().loss_kernel(network, 1e18)


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
    draw = torch.Generator().manual_seed(3)
    picture = (shape.channels, shape.size, shape.size)
    centres = torch.randint(0, 160, (shape.classes, *picture), generator=draw)

    def split(count):
        labels = torch.arange(shape.classes).repeat_interleave(-(-count // shape.classes))[:count]
        return Split((centres[labels] + torch.randint(0, 96, (count, *picture), generator=draw)).to(torch.uint8), labels)

    train = split(shape.classes * shape.real)
    names = tuple(map(str, range(shape.classes)))
    return Bundle("bench", train, split(shape.test), names, (0.4,) * shape.channels, (0.3,) * shape.channels)


def task(shape: Shape, *, precision="auto", compiled=True, **sections) -> Task:
    """Return a task of the published protocol at `shape`: one iteration, unless `sections` say otherwise."""
    paper = PROFILES["paper"]
    own = replace(
        paper,
        match=replace(paper.match, iterations=1, real_batch=shape.real, lr_images=1.0),
        network=replace(paper.network, width=shape.width),
    )
    own = replace(own, **{name: replace(getattr(own, name), **fields) for name, fields in sections.items()})
    data = bundle(shape)
    network = ConvNet.fit(data.shape, classes=shape.classes, width=shape.width, depth=None)
    compute = (CompiledCompute if compiled else Compute).choose(device="cpu", precision=precision)
    spec = RunSpec("bench", shape.ipc, "dm", 0, {}, own, compute.precision, ("match", "eval"))
    return Task(data, spec, network, Streams(0, "bench", shape.ipc), compute, lambda progress: None)


def features(classes, count, dim, *, shift=0.0, seed=0, dtype=torch.float32):
    """Return points `[C, count, dim]` as a ConvNet's features are: rectified, their means apart from class to class."""
    draw = torch.Generator().manual_seed(seed)
    centres = 0.5 * torch.rand(classes, 1, dim, generator=draw) + shift
    return (centres + 0.4 * torch.randn(classes, count, dim, generator=draw)).relu().to(dtype)


def loss_and_slope(name, real, syn, **hyper):
    """Return a method's loss a class, and the gradient of its sum: forward and backward."""
    syn = syn.detach().requires_grad_()
    values = METHODS[name].objective(**hyper)(real, syn, generator=torch.Generator().manual_seed(0))
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
