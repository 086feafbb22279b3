"""DC and DSA against loops over numbers in float64, finite differences, and the published schedules."""

import pytest
import torch
import torch.nn.functional as F
from clouds import central_differences
from tiny_cells import distilled, task_of, with_settings

from bench.cells.grid import make_specs
from bench.cells.protocol import PROFILES
from bench.errors import UsageError
from bench.loops.augment import Augmentation
from bench.loops.images import class_members, draw_real, initial_images, normalise, starting_images
from bench.loops.training import Trainer
from bench.machine.compute import Compute
from bench.machine.kernels import function_of
from bench.networks.fitting import fit
from bench.networks.weights import Weights
from datasets import DATASETS
from methods import METHODS
from methods.procedures.gradient import GradientMatching, SiameseGradientMatching
from methods.procedures.gradient_loop import class_loss, gradient_distance, matched_weights, real_gradients


def double(weights):
    """Return the weights in float64, to be trained."""
    return Weights(tuple(parameter.double() for parameter in weights.parameters)).trainable()


def small_network(*, width=3):
    """Return a network for 8x8 grey images of three classes, and its weights in float64."""
    network = fit("convnet", (1, 8, 8), classes=3, width=width, depth=None)
    return network, double(network.init(torch.Generator().manual_seed(0)))


def noise(*shape, seed=1):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def distill(task, settings):
    """Return what a task's method makes of it with these settings."""
    return distilled(METHODS[task.spec.method], with_settings(task, settings))


def distance_of_numbers(real, syn):
    """Return the distance of gradients, number by number."""
    total = 0.0
    for g, h in zip(real, syn, strict=True):
        for row in range(len(g)):
            a, b = g[row].flatten().tolist(), h[row].flatten().tolist()
            product = sum(x * y for x, y in zip(a, b, strict=True))
            norms = sum(x * x for x in a) ** 0.5 * sum(y * y for y in b) ** 0.5
            total += 1 - product / (norms + 1e-6)
    return total


# ---- the distance ----


def test_the_distance_is_that_of_a_loop_over_numbers():
    real = [noise(4, 2, 3, 3), noise(3, 8, seed=2)]
    syn = [noise(4, 2, 3, 3, seed=3), noise(3, 8, seed=4)]
    assert gradient_distance(real, syn).item() == pytest.approx(distance_of_numbers(real, syn), rel=1e-12)


def test_the_distance_is_zero_at_equality_two_a_row_opposite_and_blind_to_length():
    gradients = [noise(4, 2, 3, 3), noise(3, 8)]
    assert gradient_distance(gradients, gradients).item() == pytest.approx(0, abs=1e-5)
    assert gradient_distance(gradients, [-g for g in gradients]).item() == pytest.approx(14, abs=1e-5)
    assert gradient_distance(gradients, [5 * g for g in gradients]).item() == pytest.approx(0, abs=1e-5)


def test_a_row_of_zeros_is_at_distance_one_with_a_finite_slope():
    real, syn = noise(2, 5), torch.zeros(2, 5, dtype=torch.float64).requires_grad_()
    distance = gradient_distance([real], [syn])
    assert distance.item() == 2
    (slope,) = torch.autograd.grad(distance, syn)
    assert slope.isfinite().all()


# ---- the gradients ----


def test_only_the_weights_of_convolutions_and_of_the_linear_layer_are_matched():
    network, weights = small_network()
    assert [tuple(parameter.shape) for parameter in matched_weights(weights)] == [
        (3, 1, 3, 3),
        (3, 3, 3, 3),
        (3, network.features_dim),
    ]


@pytest.mark.parametrize("chunk", [12, 5, 3])
def test_real_gradients_are_those_of_the_whole_batch(chunk):
    network, weights = small_network()
    images = noise(12, 1, 8, 8)
    kernel = function_of("loss", network, training=True, compile=False)
    gradients = real_gradients(Compute(torch.device("cpu"), "fp32", 1), kernel, images, 2, weights, chunk=chunk)
    loss = F.cross_entropy(network.logits(images, weights.all), torch.full((12,), 2))
    for gradient, expected in zip(gradients, torch.autograd.grad(loss, matched_weights(weights)), strict=True):
        # Chunks are weighted in float32, whose 1/12 is off by 3e-9.
        torch.testing.assert_close(gradient, expected, rtol=1e-6, atol=1e-8)
        assert not gradient.requires_grad


def test_the_loss_is_the_distance_of_torch_s_gradients_and_its_slope_that_of_finite_differences():
    network, weights = small_network()
    target = [noise(*parameter.shape, seed=5) for parameter in matched_weights(weights)]
    images = noise(2, 1, 8, 8, seed=6).requires_grad_()

    def value(images):
        loss = F.cross_entropy(network.logits(images, weights.all), torch.tensor([1, 1]))
        return distance_of_numbers(target, torch.autograd.grad(loss, matched_weights(weights)))

    loss = class_loss(network, target, images, 1, weights)
    assert loss.item() == pytest.approx(value(images.detach()), rel=1e-10)
    (slope,) = torch.autograd.grad(loss, images)
    expected = central_differences(lambda point: value(point.detach()), images.detach())
    assert slope.abs().max() > 1e-3
    torch.testing.assert_close(slope, expected, rtol=1e-5, atol=1e-7)


# ---- the loop ----


def published_algorithm(task, settings, *, outer, inner):
    """Return the images and losses of Algorithm 1 in float64: class by class, with torch's own SGD, on the same draws."""
    network, bundle, streams = task.network("convnet"), task.bundle, task.streams
    augmentation = Augmentation.parse(settings.augment, flip=bundle.flip)
    start = starting_images(task, settings.start)
    images = start.images.double().unflatten(0, (3, 2)).requires_grad_()
    optimizer = torch.optim.SGD([images], lr=settings.lr_images, momentum=settings.momentum)
    losses = []
    for iteration in range(settings.iterations):
        weights = double(network.init(streams.generator("extractor", iteration)))
        matched = [parameter for parameter in weights.parameters if parameter.dim() > 1]
        network_optimizer = torch.optim.SGD(weights.parameters, lr=settings.lr_network)
        inner_draws, total = streams.generator("inner", iteration), 0.0
        for turn in range(outer):
            step = iteration * outer + turn
            index = draw_real(class_members(bundle), settings.real_batch, streams.generator("real", step))
            draws = augmentation.draw(streams.generator("augment", step), 3, shared=False)
            real = augmentation.apply(normalise(bundle.train.images[index], bundle).double(), draws)
            syn = augmentation.apply(images, draws)
            loss = torch.zeros((), dtype=torch.float64)
            for c in range(3):
                entropies = [
                    F.cross_entropy(network.logits(x[c], weights.all), torch.full((len(x[c]),), c)) for x in (real, syn)
                ]
                target = torch.autograd.grad(entropies[0], matched)
                gradient = torch.autograd.grad(entropies[1], matched, create_graph=True)
                for g, h in zip(target, gradient, strict=True):
                    for row, other in zip(g.flatten(1), h.flatten(1), strict=True):
                        loss = loss + 1 - row @ other / (row.norm() * other.norm() + 1e-6)
            optimizer.zero_grad()
            (images.grad,) = torch.autograd.grad(loss, images)
            optimizer.step()
            total += loss.item() / outer
            for _ in range(inner if turn < outer - 1 else 0):
                order = torch.randperm(6, generator=inner_draws)
                each = augmentation.draw(inner_draws, 6, shared=True)
                batch = augmentation.apply(images.detach().flatten(0, 1)[order].unsqueeze(1), each).squeeze(1)
                network_optimizer.zero_grad()
                F.cross_entropy(network.logits(batch, weights.all), start.labels[order]).backward()
                network_optimizer.step()
        losses.append(total)
    return images.detach().flatten(0, 1), losses


@pytest.mark.parametrize(("name", "outer", "inner"), [("dc", 1, 1), ("dc", 3, 2), ("dsa", 1, 1), ("dsa", 3, 2)])
def test_distilling_is_the_published_algorithm(name, outer, inner):
    kind = {"dc": GradientMatching, "dsa": SiameseGradientMatching}[name]
    settings = kind(iterations=2, outer=outer, inner=inner, real_batch=5, lr_images=0.05, lr_network=0.5)
    task = task_of(METHODS[name])
    syn = distill(task, settings)
    images, losses = published_algorithm(task, settings, outer=outer, inner=inner)
    assert syn.trace.loss == pytest.approx(losses, rel=2e-3)
    moved = (images - starting_images(task, settings.start).images).abs().max()
    assert (syn.images - images).abs().max() < 0.02 * moved


def test_the_network_is_trained_between_the_outer_steps_alone(monkeypatch):
    epochs, epoch = [], Trainer.epoch
    monkeypatch.setattr(Trainer, "epoch", lambda self, *rest: epochs.append(1) or epoch(self, *rest))
    for outer, count in ((1, 0), (3, 2 * 2 * 4)):
        epochs.clear()
        distill(task_of(METHODS["dc"]), GradientMatching(iterations=2, outer=outer, inner=4, real_batch=4))
        assert len(epochs) == count


def test_the_network_is_trained_on_the_images_as_they_are_at_that_time(monkeypatch):
    trained_on = []
    monkeypatch.setattr(Trainer, "epoch", lambda self, images, *rest: trained_on.append(images.clone()))
    settings = GradientMatching(iterations=1, outer=3, inner=1, real_batch=4, lr_images=1.0)
    task = task_of(METHODS["dc"])
    syn = distill(task, settings)
    start, (first, second) = starting_images(task, settings.start), trained_on
    for earlier, later in ((start.images, first), (first, second), (second, syn.images)):
        assert earlier.shape == later.shape
        assert not torch.equal(earlier, later)


@pytest.mark.parametrize("name", ["mlp", "convnet-bn"])
def test_the_gradients_of_another_network_are_matched(name):
    settings = GradientMatching(iterations=2, outer=2, inner=2, real_batch=4)
    task = task_of(METHODS["dc"])
    syn, usual = (distill(task, settings.changed(network=network)) for network in (name, "convnet"))
    assert syn.images.shape == usual.images.shape
    assert syn.images.isfinite().all()
    assert not torch.equal(syn.images, usual.images)


def test_matching_lowers_the_loss():
    task = task_of(METHODS["dc"])
    settings = GradientMatching(iterations=60, outer=1, inner=1, real_batch=12, lr_images=0.1, start="real")
    loss = distill(task, settings).trace.loss
    assert sum(loss[-10:]) < 0.9 * sum(loss[:10])


def test_dsa_starts_where_matching_does_and_dc_from_the_engine_s_noise():
    task = task_of(METHODS["dsa"])
    assert torch.equal(distill(task, SiameseGradientMatching(iterations=0)).images, initial_images(task).images)
    drawn = torch.randn(6, 1, 8, 8, generator=task.streams.generator("noise"))
    assert torch.equal(distill(task, GradientMatching(iterations=0)).images, drawn)


# ---- the schedules ----


def test_the_defaults_are_the_published_ones():
    dc, dsa = (dict(METHODS[name].settings()) for name in ("dc", "dsa"))
    assert dc == {
        "budget": "published",
        "iterations": 1000,
        "outer": None,
        "inner": None,
        "real_batch": 256,
        "lr_images": 0.1,
        "momentum": 0.5,
        "lr_network": 0.01,
        "start": "noise",
        "augment": "none",
        "network": "convnet",
    }
    assert dsa == dc | {"start": "real", "augment": "color_crop_cutout_flip_scale_rotate"}


@pytest.mark.parametrize(
    ("ipc", "loops"),
    [
        (1, (1, 1)),
        (2, (2, 250)),
        (10, (10, 50)),
        (15, (15, 33)),
        (20, (20, 25)),
        (30, (30, 20)),
        (40, (40, 15)),
        (50, (50, 10)),
        (100, (50, 10)),
    ],
)
def test_the_loops_are_published_by_ipc(ipc, loops):
    assert GradientMatching().loops(ipc) == (1000, *loops)
    assert GradientMatching(outer=4).loops(ipc) == (1000, 4, loops[1])
    assert GradientMatching(inner=7).loops(ipc) == (1000, loops[0], 7)
    assert GradientMatching(iterations=0).loops(ipc) == (0, *loops)
    assert GradientMatching().at_ipc(ipc) == GradientMatching(iterations=None).at_ipc(ipc) == GradientMatching()


@pytest.mark.parametrize(("ipc", "loops"), [(1, (300, 1, 1)), (2, (300, 1, 1)), (10, (40, 5, 10)), (50, (40, 5, 10))])
def test_the_short_budget_goes_by_ipc_and_what_is_set_stands(ipc, loops):
    short = GradientMatching(budget="short", iterations=None)
    assert short.loops(ipc) == loops
    names = ("iterations", "outer", "inner")
    assert short.at_ipc(ipc) == GradientMatching(**dict(zip(names, loops, strict=True)))
    for name in names:
        assert short.changed(**{name: 3}).at_ipc(ipc) == short.at_ipc(ipc).changed(**{name: 3})


def test_a_cell_of_the_profile_cpu_has_the_numbers_of_its_ipc():
    source = DATASETS["digits"]
    common = {"sources": [source], "ipcs": [1, 10], "seeds": [0], "protocol": PROFILES["cpu"], "precision": "fp32"}
    for name in ("dc", "dsa"):
        method = METHODS[name]
        specs = make_specs(methods=[(method, method.resolve({"inner": "4"}, profile="cpu"))], **common)
        described = [spec.model_dump(mode="json")["settings"] for spec in specs]
        assert [(own["iterations"], own["outer"], own["inner"]) for own in described] == [(300, 1, 4), (40, 5, 4)]
        assert not any("budget" in own for own in described)


def test_what_is_out_of_range_is_refused():
    with pytest.raises(UsageError, match="outer takes"):
        GradientMatching(outer=0)
    with pytest.raises(UsageError, match="augmentation"):
        GradientMatching().changed(augment="colour")
    with pytest.raises(UsageError, match="augmentation"):  # before any work starts
        task_of(METHODS["dsa"], augment="colour")
