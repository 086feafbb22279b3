"""The fast paths give the answers of the plain reference: in float32, in bfloat16, and against float64."""

from __future__ import annotations

import pytest
import reference
import test_speed
import torch
from setting import Shape, bundle, features, loss_and_slope, task

import bench.compute
from bench import evaluate
from bench.augment import OPERATIONS, Augmentation
from bench.matching import class_members, draw_real, initial_images, match, normalise
from methods import METHODS
from methods.critic import init_critics, train_critics
from reports.benchmarks import GOALS

GREY = Shape(classes=3, real=6, ipc=2, width=16, test=40)
COLOUR = Shape(classes=3, real=6, ipc=2, width=16, size=32, channels=3, test=40)


def relative(found, exact):
    return float((found.double() - exact).norm() / exact.norm())


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("operation", OPERATIONS)
@pytest.mark.parametrize("shape", [GREY, COLOUR], ids=["grey", "colour"])
def test_augmentation(shape, operation):
    images = torch.randn(4, 5, shape.channels, shape.size, shape.size, generator=generator(), dtype=torch.float64)
    u = torch.rand(4, 3, generator=generator(1), dtype=torch.float64)
    found = OPERATIONS[operation](images, u)
    for group in range(4):
        expected = reference.augment(images[group], operation, u[group].expand(5, -1))
        torch.testing.assert_close(found[group], expected, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("compiled", [False, True], ids=["eager", "compiled"])
@pytest.mark.parametrize(("precision", "most"), [("fp32", 1e-5), ("bf16", 1e-2)])
def test_features_against_modules_in_float64(precision, most, compiled):
    if compiled and bench.compute._compiler_missing():
        pytest.skip(f"nothing can be compiled here: {bench.compute._compiler_missing()}")
    given = task(Shape(classes=5, real=9), precision=precision, compiled=compiled)
    network, parameters = given.network, given.network.init(generator())
    images = normalise(given.bundle.train.images, given.bundle)
    exact = reference.plain_network(network, [p.double() for p in parameters]).embed(images.double()).detach()
    kernel = given.compute.features_kernel(network, 0)
    assert relative(given.compute.features(kernel, network, images, parameters), exact) < most


def plain_iteration(given, loss, *, dtype):
    """Return the loss and the images after one iteration of the plain loop on the draws of `given`."""
    data, streams, settings = given.bundle, given.streams, given.spec.protocol.match
    parameters = [p.to(dtype) for p in given.network.init(streams.generator("extractor", 0))]
    augmentation = Augmentation.parse(settings.augment, flip=data.flip)
    draws = augmentation.draw(streams.generator("augment", 0), len(data.classes), shared=False)
    index = draw_real(class_members(data), settings.real_batch, streams.generator("real", 0))
    real = normalise(data.train.images[index], data).to(dtype)
    images = initial_images(given).images.unflatten(0, (len(data.classes), -1)).to(dtype)
    net = reference.plain_network(given.network, parameters)
    value = reference.matching_iteration(net, images, real, draws, loss, lr=settings.lr_images)
    return value, images.flatten(0, 1)


@pytest.mark.parametrize("operation", [*OPERATIONS, "none"])
@pytest.mark.parametrize(("precision", "loss_most", "step_most"), [("fp32", 1e-5, 1e-4), ("bf16", 1e-2, 3e-2)])
def test_an_iteration_of_dm_is_the_plain_loops(operation, precision, loss_most, step_most):
    given = task(GREY, precision=precision, compiled=False, match={"augment": operation})
    found = match(given, METHODS["dm"].objective())
    value, images = plain_iteration(given, reference.mean_loss, dtype=torch.float64)
    assert found.trace.loss[0] == pytest.approx(value, rel=loss_most)
    start = initial_images(given).images.double()
    assert relative(found.images - start, images - start) < step_most
    assert not torch.equal(images, start)


def test_an_iteration_of_kr_is_the_plain_loops():
    given = task(GREY, precision="fp32", compiled=False)
    found = match(given, METHODS["kr"].objective())
    like = torch.empty(3, 1, given.network.features_dim)
    start = init_critics(like, hidden=128, generator=given.streams.generator("objective", 0))
    value, images = plain_iteration(given, reference.critic_loss(start), dtype=torch.float32)
    assert found.trace.loss[0] == pytest.approx(value, rel=1e-3)
    first = initial_images(given).images.double()
    assert relative(found.images.double() - first, images.double() - first) < 1e-2


@pytest.mark.parametrize(("n", "m"), [(64, 1), (48, 10)])
def test_critics_follow_the_plain_adam_and_clamp_loop(n, m):
    # Points on all sides of the origin: a hidden unit active at all of them has a bias gradient of zero but for rounding.
    real, syn = (features(3, count, 256, seed=seed) - 0.4 for count, seed in ((n, 0), (m, 1)))
    start = init_critics(real, hidden=128, generator=generator())
    found = train_critics(start, real, syn, clip=0.01, steps=100, lr=1e-3, optimizer="adam")
    for c, critic in enumerate(reference.critics_loop(start, real, syn)):
        for ours, plain in zip(found.parameters(), critic.parameters(), strict=True):
            assert float((ours[c] - plain.detach().view_as(ours[c])).abs().max()) < 1e-4


@pytest.mark.parametrize(("n", "m"), [(64, 1), (48, 10)])
def test_critics_trained_with_bfloat16_products_tell_the_sides_apart_as_well(n, m):
    real, syn = (features(3, count, 256, seed=seed) - 0.4 for count, seed in ((n, 0), (m, 1)))
    start = init_critics(real, hidden=128, generator=generator())
    values = []
    for half in (False, True):
        found = train_critics(start, real, syn, clip=0.01, steps=100, lr=1e-3, optimizer="adam", half=half)
        assert all(p.dtype == torch.float32 for p in found.parameters())
        values.append(found(real).mean(1) - found(syn).mean(1))
    exact, half_values = values
    assert not torch.equal(exact, half_values)
    assert relative(half_values, exact.double()) < 2e-2


@pytest.mark.parametrize("m", [1, 5])
@pytest.mark.parametrize("name", ["dm", "sinkhorn", "emd"])
def test_losses_in_float32_are_those_in_float64(name, m):
    real, syn = features(3, 40, 128), features(3, m, 128, shift=0.1, seed=1)
    (value, slope), (exact, exact_slope) = (loss_and_slope(name, real.to(t), syn.to(t)) for t in (torch.float32, torch.float64))
    assert relative(value, exact) < 1e-5
    assert relative(slope, exact_slope) < 1e-4


@pytest.mark.parametrize("name", ["emd", "sinkhorn"])
def test_transport_is_the_libraries_own(name):
    real, syn = features(3, 40, 64, dtype=torch.float64), features(3, 5, 64, shift=0.1, seed=1, dtype=torch.float64)
    # geomloss anneals from the diameter it finds, ours from one a whole number of steps away: a fine ladder makes them one.
    fine = {"scaling": 0.99} if name == "sinkhorn" else {}
    value, slope = loss_and_slope(name, real, syn, **fine)
    leaf = syn.clone().requires_grad_()
    plain = (reference.sinkhorn_loop if name == "sinkhorn" else reference.emd_loop)(real, leaf, **fine)
    (plain_slope,) = torch.autograd.grad(plain.sum(), leaf)
    value_most, slope_most = (1e-3, 2e-2) if name == "sinkhorn" else (1e-9, 1e-6)
    assert relative(value, plain.detach()) < value_most
    assert relative(slope, plain_slope) < slope_most


@pytest.mark.parametrize("operation", ["none", "color", "crop", "rotate"])
@pytest.mark.parametrize(("precision", "most"), [("fp32", 1e-3), ("bf16", 1e-1)])
def test_training_is_the_plain_loops(operation, precision, most):
    given = task(GREY, compiled=False, eval={"epochs": 2, "augment": operation, "precision": precision})
    syn, data = initial_images(given), given.bundle
    found = evaluate.Trainer(given, syn, given.spec.protocol.eval).train(0, lambda epoch, begin: None)

    draw = given.streams.generator("evaluate", 0)
    net = reference.plain_network(given.network, given.network.init(draw))
    augmentation = Augmentation.parse(operation, flip=data.flip)
    # So few epochs that the schedule changes nothing: the plain loop of the benchmark knows none.
    plain = reference.train_network(net, syn.images, syn.labels, draw, augmentation, epochs=3)
    start = given.network.init(given.streams.generator("evaluate", 0))
    ours, theirs, begun = (torch.cat([p.detach().flatten() for p in some]) for some in (found, plain.parameters(), start))
    assert relative(ours - begun, (theirs - begun).double()) < most


def test_a_test_pass_is_the_plain_loops():
    given = task(GREY, precision="fp32", compiled=False)
    parameters = given.network.init(generator())
    tester = evaluate.Tester(bundle(GREY), given.network, given.compute, nets=1)
    net = reference.plain_network(given.network, parameters)
    expected = reference.accuracy(net, normalise(given.bundle.test.images, given.bundle), given.bundle.test.labels, batch=7)
    assert tester.accuracy(parameters) == pytest.approx(expected)


def _groups():
    """Return the groups of the benchmarks of speed."""
    marks = [mark for function in vars(test_speed).values() for mark in getattr(function, "pytestmark", ())]
    cases = [case for mark in marks if mark.name == "parametrize" for case in mark.args[1]]
    marks += [mark for case in cases for mark in getattr(case, "marks", ())]
    return {mark.kwargs["group"] for mark in marks if mark.name == "benchmark"}


def test_every_goal_is_of_a_group_that_is_measured_and_every_group_has_one():
    assert {goal.group for goal in GOALS} == _groups() - {"gemm"}
