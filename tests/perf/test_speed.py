"""Each fast path beside its reference, on identical inputs, in one run: `tox -e bench`.

Nothing is asserted of time: `python -m reports --benchmarks benchmarks.json` sets the times beside one another and beside the
goals. A group is one comparison; `kind` says which side an entry is on, `flops` is the work of one round, `float32_flops` the
part of it that is in float32 whatever the precision, `units` how many steps a round has.
"""

from __future__ import annotations

import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest
import reference
import torch
from setting import CPU, DM, Shape, features, loss_and_slope, measure, task, workers

from bench.loops import evaluation as evaluate
from bench.loops.augment import Augmentation
from bench.loops.images import class_members, draw_real, initial_images, normalise
from bench.loops.matching import match
from bench.loops.training import Trainer
from bench.machine.compute import resolve_precision
from methods import METHODS
from methods.losses.critic.critic import CriticTraining, init_critics

ROOT = Path(__file__).resolve().parents[2]
DIGITS = Shape(test=10_000)
SMALL = Shape(real=64, ipc=1)
"""An iteration of the profile `cpu`, IPC 1."""
EMULATED = pytest.mark.skipif(
    resolve_precision("auto", CPU) == "fp32", reason="this processor has no bfloat16: one matrix product can take minutes"
)
PRECISIONS = ["fp32", pytest.param("bf16", marks=EMULATED)]
DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16}
EPOCHS = 4
"""Of one round: the schedule trains one more."""


@cache
def given(precision="fp32", shape=DIGITS, loss=DM):
    """Return the task of `shape`, by default 10 classes x 256 real images of 28x28, IPC 10; ConvNet-3 of width 128."""
    return task(shape, loss=loss, precision=precision, eval={"epochs": EPOCHS, "nets": 1})


def network():
    """Return the ConvNet that is extractor and evaluator."""
    return given().network("convnet")


def weights():
    return network().init(torch.Generator().manual_seed(0))


def matching_work(shape, *, more=0):
    """Return what an iteration says of its work: real images are passed forward, synthetic ones forward and back, in float32.

    Args:
        shape: the sizes.
        more: floating-point operations of the loss.

    """
    real, syn = (shape.classes * network().flops * count for count in (shape.real, 2 * shape.ipc))
    return {"flops": real + syn + more, "float32_flops": syn}


def iterations_of(name):
    """Parametrise a benchmark of an iteration by its shape; each is a group of its own."""
    shapes = {"256-10": (DIGITS, f"{name} iteration"), "64-1": (SMALL, f"{name} iteration 64 + 1")}
    cases = [pytest.param(shape, marks=pytest.mark.benchmark(group=group), id=case) for case, (shape, group) in shapes.items()]
    return pytest.mark.parametrize("shape", cases)


@pytest.mark.benchmark(group="gemm")
@pytest.mark.parametrize("precision", PRECISIONS)
def test_gemm(benchmark, precision):
    a, b = (torch.randn(2048, 2048, generator=torch.Generator().manual_seed(i)).to(DTYPES[precision]) for i in (0, 1))
    measure(benchmark, torch.mm, a, b, rounds=15, warm_up=3, kind="rate", flops=2 * 2048**3, precision=precision)


def reference_iteration(shape, loss=reference.mean_loss):
    """Return one iteration of the reference: a network, real images and augmentation drawn, then class after class."""
    about = given(shape=shape)
    data = about.bundle
    everything, members = normalise(data.train.images, data), class_members(data)
    augmentation = Augmentation.parse(about.spec.protocol.match.augment, flip=data.flip)
    images = initial_images(about).images.unflatten(0, (shape.classes, -1)).clone()

    def iteration():
        drawn = network().init(about.streams.generator("extractor", 0))
        net = reference.reference_network(network(), drawn.parameters)
        draws = augmentation.draw(about.streams.generator("augment", 0), shape.classes, shared=False)
        real = everything[draw_real(members, shape.real, about.streams.generator("real", 0))]
        return reference.matching_iteration(net, images, real, draws, loss)

    return iteration


def fast_iteration(shape, loss, precision):
    """Return one iteration of the suite's matching loop."""
    about = given(precision, shape, loss)
    return lambda: match(about)


@iterations_of("dm")
@pytest.mark.parametrize("side", ["reference", *PRECISIONS])
def test_dm_iteration(benchmark, shape, side):
    work = matching_work(shape)
    if side == "reference":
        measure(benchmark, reference_iteration(shape), rounds=3, kind="reference", **work)
    else:
        iteration = fast_iteration(shape, DM, side)
        measure(benchmark, iteration, rounds=7, warm_up=2, kind="fast", precision=side, **work)


@pytest.mark.benchmark(group="real features")
@pytest.mark.parametrize("side", ["reference", *PRECISIONS])
def test_real_features(benchmark, side):
    data = given().bundle
    images, start = normalise(data.train.images, data), weights()
    flops = len(images) * network().flops
    if side == "reference":
        net = reference.reference_network(network(), start.parameters)

        def loop():
            with torch.no_grad():
                return [net.embed(part) for part in images.split(DIGITS.real)]

        measure(benchmark, loop, rounds=2, kind="reference", flops=flops)
        return
    compute = given(side).compute
    kernel = compute.kernel("features", network(), flops)
    arguments = (kernel, network(), images, start)
    measure(benchmark, compute.features, *arguments, rounds=7, warm_up=2, kind="fast", flops=flops, precision=side)


@pytest.mark.benchmark(group="synthetic features")
@pytest.mark.parametrize("side", ["reference", "fp32"])
def test_synthetic_features(benchmark, side):
    """Forward, and back to the images; in float32 in every run."""
    images, start = initial_images(given()).images.requires_grad_(), weights()
    flops = 2 * len(images) * network().flops

    def both_ways(features_of):
        return torch.autograd.grad(features_of(images).sum(), images)

    if side == "reference":
        net = reference.reference_network(network(), start.parameters).requires_grad_(False)

        def loop(images):
            return torch.cat([net.embed(part) for part in images.split(DIGITS.ipc)])

        measure(benchmark, both_ways, loop, rounds=3, kind="reference", flops=flops)
        return
    compute = given(side).compute
    kernel = compute.kernel("features with gradient", network(), flops)

    def chunks(images):
        return compute.features_with_gradient(kernel, network(), images, start)

    measure(benchmark, both_ways, chunks, rounds=7, warm_up=2, kind="fast", flops=flops, precision=side)


@pytest.mark.parametrize("side", ["reference", *PRECISIONS])
@pytest.mark.parametrize(
    ("n", "m"),
    [
        pytest.param(64, 1, marks=pytest.mark.benchmark(group="kr critics 64 + 1"), id="64-1"),
        pytest.param(256, 10, marks=pytest.mark.benchmark(group="kr critics 256 + 10"), id="256-10"),
    ],
)
def test_kr_critics(benchmark, n, m, side):
    real, syn = features(10, n, 2048), features(10, m, 2048, shift=0.1, seed=1)
    start = init_critics(real, hidden=128, generator=torch.Generator().manual_seed(0))
    flops = 4 * 10 * 100 * (n + m) * 2048 * 128
    if side == "reference":
        measure(benchmark, reference.critics_loop, start, real, syn, rounds=3, kind="reference", flops=flops)
    else:
        training = CriticTraining(clip=0.01, steps=100, lr=1e-3, optimizer="adam", dtype=DTYPES[side])

        def train():
            with workers().serving():
                return training.train(start, real, syn)

        measure(benchmark, train, rounds=4, kind="fast", flops=flops, precision=side)


@iterations_of("kr")
@pytest.mark.parametrize("side", ["reference", *PRECISIONS])
def test_kr_iteration(benchmark, shape, side):
    dim = network().features_dim
    work = matching_work(shape, more=4 * shape.classes * 100 * (shape.real + shape.ipc) * dim * 128)
    if side == "reference":
        start = init_critics(torch.empty(shape.classes, 1, dim), hidden=128, generator=torch.Generator().manual_seed(0))
        loop = reference_iteration(shape, reference.critic_loss(start))
        measure(benchmark, loop, rounds=1, warm_up=0, kind="reference", **work)
    else:
        iteration = fast_iteration(shape, METHODS["kr"].settings(precision=side), side)
        measure(benchmark, iteration, rounds=3, kind="fast", precision=side, **work)


@pytest.mark.parametrize("kind", ["reference", "fast"])
@pytest.mark.parametrize(
    ("name", "m"),
    [
        pytest.param(name, m, marks=pytest.mark.benchmark(group=f"{name} 256 x {m}"), id=f"{name}-{m}")
        for name in ("sinkhorn", "emd")
        for m in (10, 50)
    ],
)
def test_transport(benchmark, name, m, kind):
    real, syn = features(10, 256, 2048), features(10, m, 2048, shift=0.1, seed=1)
    loop = {"sinkhorn": reference.sinkhorn_loop, "emd": reference.emd_loop}[name]

    def reference_loss():
        leaf = syn.detach().requires_grad_()
        return torch.autograd.grad(loop(real, leaf).sum(), leaf)

    function = reference_loss if kind == "reference" else lambda: loss_and_slope(name, real, syn)
    measure(benchmark, function, rounds=7, warm_up=2, kind=kind)


@pytest.mark.parametrize("side", ["reference", *PRECISIONS])
@pytest.mark.parametrize(
    "ipc",
    [pytest.param(m, marks=pytest.mark.benchmark(group=f"epoch over {10 * m} images"), id=f"{10 * m}") for m in (10, 1)],
)
def test_epoch(benchmark, ipc, side):
    about, chosen = given("fp32" if side == "reference" else side), initial_images(given())
    keep = torch.arange(100).view(10, 10)[:, :ipc].flatten()
    images, labels = chosen.images[keep], chosen.labels[keep]
    info = {"units": EPOCHS + 1, "flops": 3 * network().flops * len(keep) * (EPOCHS + 1)}
    if side == "reference":
        augmentation = Augmentation.parse(about.spec.protocol.eval.augment, flip=about.bundle.flip)

        def train():
            generator = torch.Generator().manual_seed(0)
            net = reference.reference_network(network(), network().init(generator).parameters)
            return reference.train_network(net, images, labels, generator, augmentation, epochs=EPOCHS + 1)

        measure(benchmark, train, rounds=3, kind="reference", **info)
    else:
        trainer = Trainer(about, network(), labels, about.spec.protocol.eval)

        def train():
            return trainer.train(images, 0, lambda epoch, begin: None)

        measure(benchmark, train, rounds=6, warm_up=2, kind="fast", precision=side, **info)


@pytest.mark.benchmark(group="test pass")
@pytest.mark.parametrize("side", ["reference", *PRECISIONS])
def test_pass_over_the_test_set(benchmark, side):
    about, start = given("fp32" if side == "reference" else side), weights()
    data, flops = about.bundle, network().flops * DIGITS.test
    if side == "reference":
        net, images = reference.reference_network(network(), start.parameters), normalise(data.test.images, data)
        arguments = (net, images, data.test.labels)
        measure(benchmark, reference.accuracy, *arguments, rounds=2, warm_up=0, kind="reference", flops=flops)
    else:
        tester = evaluate.Tester(data, network(), about.compute, nets=1)
        measure(benchmark, tester.test, start, rounds=3, kind="fast", precision=side, flops=flops)


@pytest.mark.benchmark(group="start-up")
def test_start_up(benchmark):
    command = [sys.executable, "run_all.py", "--list"]

    def start():
        subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.DEVNULL)

    measure(benchmark, start, rounds=5, kind="fast", precision="")
