"""The fast paths give the answers of the reference: in float32, in bfloat16, and against float64."""

from __future__ import annotations

import pytest
import reference
import test_speed
import torch
from setting import Shape, bundle, features, loss_and_slope, task, workers

from bench.loops import evaluation as evaluate
from bench.loops.augment import OPERATIONS, Augmentation
from bench.loops.images import class_members, draw_real, initial_images, normalise
from bench.loops.matching import match
from bench.loops.training import Trainer
from bench.machine.kernels import compiler_missing
from methods import METHODS
from methods.losses.critic.critic import CriticTraining, init_critics
from reports.speed.benchmarks import GOALS

GREY = Shape(classes=3, real=6, ipc=2, width=16, test=40)
COLOUR = Shape(classes=3, real=6, ipc=2, width=16, size=32, channels=3, test=40)


def relative(values, exact):
    return float((values.double() - exact).norm() / exact.norm())


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("operation", OPERATIONS)
@pytest.mark.parametrize("shape", [GREY, COLOUR], ids=["grey", "colour"])
def test_augmentation(shape, operation):
    images = torch.randn(4, 5, shape.channels, shape.size, shape.size, generator=generator(), dtype=torch.float64)
    u = torch.rand(4, 3, generator=generator(1), dtype=torch.float64)
    augmented = OPERATIONS[operation](images, u)
    for group in range(4):
        expected = reference.augment(images[group], operation, u[group].expand(5, -1))
        torch.testing.assert_close(augmented[group], expected, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("compiled", [False, True], ids=["eager", "compiled"])
@pytest.mark.parametrize(("precision", "most"), [("fp32", 1e-5), ("bf16", 1e-2)])
def test_features_against_modules_in_float64(precision, most, compiled):
    if compiled and compiler_missing():
        pytest.skip(f"nothing can be compiled here: {compiler_missing()}")
    given = task(Shape(classes=5, real=9), precision=precision, compiled=compiled)
    network = given.network("convnet")
    weights = network.init(generator())
    images = normalise(given.bundle.train.images, given.bundle)
    exact = reference.reference_network(network, [p.double() for p in weights.parameters]).embed(images.double()).detach()
    kernel = given.compute.kernel("features", network, 0)
    assert relative(given.compute.features(kernel, network, images, weights), exact) < most


def reference_iteration(given, loss, *, dtype):
    """Return the loss and the images after one iteration of the reference on the draws of `given`."""
    data, streams, settings, network = given.bundle, given.streams, given.match, given.network("convnet")
    parameters = [p.to(dtype) for p in network.init(streams.generator("extractor", 0)).parameters]
    augmentation = Augmentation.parse(settings.augment, flip=data.flip)
    draws = augmentation.draw(streams.generator("augment", 0), len(data.classes), shared=False)
    index = draw_real(class_members(data), settings.real_batch, streams.generator("real", 0))
    real = normalise(data.train.images[index], data).to(dtype)
    images = initial_images(given).images.unflatten(0, (len(data.classes), -1)).to(dtype)
    net = reference.reference_network(network, parameters)
    value = reference.matching_iteration(net, images, real, draws, loss, lr=1.0)
    return value, images.flatten(0, 1)


@pytest.mark.parametrize("operation", [*OPERATIONS, "none"])
@pytest.mark.parametrize(("precision", "loss_most", "step_most"), [("fp32", 1e-5, 1e-4), ("bf16", 1e-2, 3e-2)])
def test_an_iteration_of_dm_is_that_of_the_reference(operation, precision, loss_most, step_most):
    given = task(GREY, precision=precision, compiled=False, match={"augment": operation})
    syn = match(given)
    value, images = reference_iteration(given, reference.mean_loss, dtype=torch.float64)
    assert syn.trace.loss[0] == pytest.approx(value, rel=loss_most)
    start = initial_images(given).images.double()
    assert relative(syn.images - start, images - start) < step_most
    assert not torch.equal(images, start)


def test_an_iteration_of_kr_is_that_of_the_reference():
    given = task(GREY, loss=METHODS["kr"].settings(), precision="fp32", compiled=False)
    syn = match(given)
    like = torch.empty(3, 1, given.network("convnet").features_dim)
    start = init_critics(like, hidden=128, generator=given.streams.generator("objective", 0))
    value, images = reference_iteration(given, reference.critic_loss(start), dtype=torch.float32)
    assert syn.trace.loss[0] == pytest.approx(value, rel=1e-3)
    first = initial_images(given).images.double()
    assert relative(syn.images.double() - first, images.double() - first) < 1e-2


def trained(start, real, syn, *, dtype):
    """Return critics trained as those of KR, with the threads of a cell."""
    with workers().serving():
        return CriticTraining(clip=0.01, steps=100, lr=1e-3, optimizer="adam", dtype=dtype).train(start, real, syn)


def critic_data(n, m, dtype):
    """Return real and synthetic points of three classes, on all sides of the origin, and critics at their start."""
    real, syn = (features(3, count, 256, seed=seed).to(dtype) - 0.4 for count, seed in ((n, 0), (m, 1)))
    return real, syn, init_critics(real, hidden=128, generator=generator())


@pytest.mark.parametrize(("n", "m"), [(64, 1), (48, 10)])
def test_critics_follow_the_adam_and_clamp_loop(n, m):
    # In float64: a gradient that is zero but for rounding moves a weight by whole steps of Adam, to no effect on the loss. In
    # float32 the loop itself is up to 7e-4 from where it is in float64.
    real, syn, start = critic_data(n, m, torch.float64)
    critics = trained(start, real, syn, dtype=torch.float64)
    for c, critic in enumerate(reference.critics_loop(start, real, syn)):
        for ours, theirs in zip(critics.parameters(), critic.parameters(), strict=True):
            assert float((ours[c] - theirs.detach().view_as(ours[c])).abs().max()) < 1e-12


@pytest.mark.parametrize("shift", [0.0, 0.4])
@pytest.mark.parametrize(("n", "m"), [(64, 1), (48, 10)])
def test_critics_in_float32_tell_the_sides_apart_as_the_loop_in_float64_does(n, m, shift):
    real, syn, _ = (data + shift if isinstance(data, torch.Tensor) else data for data in critic_data(n, m, torch.float32))
    start = init_critics(real, hidden=128, generator=generator())
    critics = trained(start, real, syn, dtype=torch.float32)
    exact = type(start)(*(parameter.double() for parameter in start.parameters()))
    loop = reference.critics_loop(exact, real.double(), syn.double())
    expected = torch.stack(
        [(critic(real[c].double()).mean() - critic(syn[c].double()).mean()).detach() for c, critic in enumerate(loop)]
    )
    assert relative(critics(real).mean(1) - critics(syn).mean(1), expected) < 1e-5


@pytest.mark.parametrize(("n", "m"), [(64, 1), (48, 10)])
def test_critics_trained_with_bfloat16_products_tell_the_sides_apart_as_well(n, m):
    real, syn = (features(3, count, 256, seed=seed) - 0.4 for count, seed in ((n, 0), (m, 1)))
    start = init_critics(real, hidden=128, generator=generator())
    values = []
    for dtype in (torch.float32, torch.bfloat16):
        critics = trained(start, real, syn, dtype=dtype)
        assert all(p.dtype == torch.float32 for p in critics.parameters())
        values.append(critics(real).mean(1) - critics(syn).mean(1))
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
    library = (reference.sinkhorn_loop if name == "sinkhorn" else reference.emd_loop)(real, leaf, **fine)
    (library_slope,) = torch.autograd.grad(library.sum(), leaf)
    value_most, slope_most = (1e-3, 2e-2) if name == "sinkhorn" else (1e-9, 1e-6)
    assert relative(value, library.detach()) < value_most
    assert relative(slope, library_slope) < slope_most


@pytest.mark.parametrize("operation", ["none", "color", "crop", "rotate"])
@pytest.mark.parametrize(("precision", "most"), [("fp32", 1e-3), ("bf16", 1e-1)])
def test_training_is_that_of_the_reference(operation, precision, most):
    given = task(GREY, compiled=False, eval={"epochs": 2, "augment": operation, "precision": precision})
    syn, data, network = initial_images(given), given.bundle, given.network("convnet")
    trainer = Trainer(given, network, syn.labels, given.spec.protocol.eval)
    weights = trainer.train(syn.images, 0, lambda epoch, begin: None)

    draws = given.streams.generator("evaluate", 0)
    net = reference.reference_network(network, network.init(draws).parameters)
    augmentation = Augmentation.parse(operation, flip=data.flip)
    # So few epochs that the schedule changes nothing: the reference has none.
    reference.train_network(net, syn.images, syn.labels, draws, augmentation, epochs=3)
    start = network.init(given.streams.generator("evaluate", 0))
    tensors = (weights.parameters, net.parameters(), start.parameters)
    ours, theirs, begun = (torch.cat([p.detach().flatten() for p in parameters]) for parameters in tensors)
    assert relative(ours - begun, (theirs - begun).double()) < most


def test_a_test_pass_is_that_of_the_reference():
    given = task(GREY, precision="fp32", compiled=False)
    network = given.network("convnet")
    weights = network.init(generator())
    tester = evaluate.Tester(bundle(GREY), network, given.compute, nets=1)
    net = reference.reference_network(network, weights.parameters)
    expected = reference.accuracy(net, normalise(given.bundle.test.images, given.bundle), given.bundle.test.labels, batch=7)
    assert tester.test(weights)["accuracy"] == pytest.approx(expected)


def _groups():
    """Return the groups of the benchmarks of speed."""
    marks = [mark for function in vars(test_speed).values() for mark in getattr(function, "pytestmark", ())]
    cases = [case for mark in marks if mark.name == "parametrize" for case in mark.args[1]]
    marks += [mark for case in cases for mark in getattr(case, "marks", ())]
    return {mark.kwargs["group"] for mark in marks if mark.name == "benchmark"}


def test_every_goal_is_of_a_group_that_is_measured_and_every_group_has_one():
    assert {goal.group for goal in GOALS} == _groups() - {"gemm"}
