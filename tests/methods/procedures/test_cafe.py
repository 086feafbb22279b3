"""CAFE against loops over numbers, and the rule by which its two loops end."""

import math

import pytest
import torch
import torch.nn.functional as F
from clouds import central_differences
from tiny_cells import distilled, task_of, with_settings

from bench.errors import UsageError
from bench.loops.images import class_members, draw_real, normalise, starting_images
from bench.loops.recorder import Recorder
from bench.loops.training import Trainer
from bench.networks.weights import Weights
from methods import METHODS
from methods.procedures.cafe import LayerAlignment
from methods.procedures.cafe_loop import AccuracyWindow, Aligner, alignment, discrimination

PUBLISHED = {
    "iterations": 2000,
    "real_batch": 256,
    "lr_images": 0.1,
    "momentum": 0.5,
    "lr_network": 0.01,
    "early_weight": 0.1,
    "late_weight": 1.0,
    "discrimination_weight": 0.01,
    "query_batch": 128,
    "window": 10,
    "outer_range": 0.04,
    "inner_range": 0.03,
    "start": "noise",
    "augment": "none",
}


def noise(*shape, seed=1):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def aligner(**changes):
    settings = LayerAlignment(iterations=2, real_batch=5, query_batch=7, lr_images=1e-3)
    return Aligner(with_settings(task_of(METHODS["cafe"]), settings.changed(**changes)))


# ---- the loss ----


def loss_of_numbers(real, syn, weights, discrimination_weight):
    """Return the loss of layers `real`, `[C, n, ...]` each, and `syn`, `[C, m, ...]`, number by number; the last is psi."""
    total = 0.0
    for x, y, weight in zip(real, syn, weights, strict=True):
        for c in range(len(x)):
            a = [sum(column) / len(x[c]) for column in zip(*x[c].flatten(1).tolist(), strict=True)]
            b = [sum(column) / len(y[c]) for column in zip(*y[c].flatten(1).tolist(), strict=True)]
            total += weight * sum((p - q) ** 2 for p, q in zip(a, b, strict=True))
    centres = [[sum(column) / len(y) for column in zip(*y.tolist(), strict=True)] for y in syn[-1]]
    for c, images in enumerate(real[-1].tolist()):
        for feature in images:
            scores = [sum(p * q for p, q in zip(feature, centre, strict=True)) for centre in centres]
            total += discrimination_weight * (math.log(sum(math.exp(s) for s in scores)) - scores[c])
    return total


def test_alignment_and_discrimination_are_those_of_a_loop_over_numbers():
    real = [noise(3, 6, 2, 4, 4), noise(3, 6, 5, seed=2)]
    syn = [noise(3, 2, 2, 4, 4, seed=3), noise(3, 2, 5, seed=4)]
    means = [[layer.mean(1) for layer in side] for side in (real, syn)]
    loss = alignment(*means, (0.1, 2.0)) + 0.3 * discrimination(real[-1], means[1][-1])
    assert loss.item() == pytest.approx(loss_of_numbers(real, syn, (0.1, 2.0), 0.3), rel=1e-12)


def test_the_slope_of_the_discrimination_is_that_of_finite_differences():
    real, centres = noise(3, 4, 5), noise(3, 5, seed=2).requires_grad_()
    (slope,) = torch.autograd.grad(discrimination(real, centres), centres)
    torch.testing.assert_close(slope, central_differences(lambda point: discrimination(real, point), centres.detach()))


def test_alignment_is_zero_at_equal_means():
    means = [noise(3, 4), noise(3, 2, 2)]
    assert alignment(means, means, (1.0, 1.0)).item() == 0


def test_centres_that_point_at_their_class_lower_the_discrimination():
    real = torch.eye(3, dtype=torch.float64)[:, None].repeat(1, 4, 1)  # class c lies on axis c
    right, wrong = torch.eye(3, dtype=torch.float64), torch.eye(3, dtype=torch.float64).roll(1, 0)
    assert discrimination(real, right) < discrimination(real, torch.zeros_like(right)) < discrimination(real, wrong)


@pytest.mark.parametrize(("depth", "weights"), [(3, (0.1, 0.1, 1, 2)), (2, (0.1, 1, 2)), (1, (1, 2))])
def test_early_layers_weigh_little_and_the_features_count_twice(depth, weights):
    assert LayerAlignment().layer_weights(depth) == pytest.approx(weights)


@pytest.mark.parametrize("chunk", [5, 3])
def test_real_layers_are_the_means_over_the_whole_batch(chunk, monkeypatch):
    loop = aligner()
    monkeypatch.setattr(type(loop.task.compute), "chunk", lambda self, *arguments, **options: chunk)
    images = noise(3, 5, 1, 8, 8).float()
    weights = loop.batches.network(0)
    means, features = loop.real_layers(images, weights)
    layers = loop.network.layers(images.flatten(0, 1), weights.all)
    assert len(means) == len(layers) == 3
    for mean, layer in zip(means, layers, strict=True):
        torch.testing.assert_close(mean, layer.unflatten(0, (3, 5)).mean(1), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(features, layers[-1].unflatten(0, (3, 5)), rtol=1e-4, atol=1e-5)


# ---- the loop ----


def test_distilling_is_the_published_algorithm():
    """Two networks, two steps under each and two epochs between them, in float64 on the same draws."""
    task = task_of(METHODS["cafe"])
    settings = LayerAlignment(
        iterations=2, real_batch=5, query_batch=4, outer_limit=2, inner_limit=2, lr_images=1e-3, lr_network=0.5
    )
    syn = distilled(METHODS["cafe"], with_settings(task, settings))
    network, bundle, streams = task.network("convnet"), task.bundle, task.streams
    start = starting_images(task, "noise")
    images = start.images.double().unflatten(0, (3, 2)).requires_grad_()
    optimizer = torch.optim.SGD([images], lr=1e-3, momentum=0.5)
    losses = []
    for iteration in range(2):
        initial = network.init(streams.generator("extractor", iteration)).parameters
        weights = Weights(tuple(parameter.double() for parameter in initial)).trainable()
        network_optimizer = torch.optim.SGD(weights.parameters, lr=0.5)
        generator, total = streams.generator("inner", iteration), 0.0
        for group in optimizer.param_groups:
            group["lr"] = settings.rate(iteration)
        for turn in range(2):
            index = draw_real(class_members(bundle), 5, streams.generator("real", 2 * iteration + turn))
            real = normalise(bundle.train.images[index], bundle).double()
            layers = [network.layers(side.flatten(0, 1), weights.all) for side in (real, images)]
            x, y = ([layer.unflatten(0, (3, -1)) for layer in side] for side in layers)
            loss = sum(w * (a.mean(1) - b.mean(1)).square().sum() for w, a, b in zip((0.1, 1, 2), x, y, strict=True))
            scores = x[-1].flatten(0, 1) @ y[-1].mean(1).T
            loss = loss + 0.01 * F.cross_entropy(scores, torch.arange(3).repeat_interleave(5), reduction="sum")
            (images.grad,) = torch.autograd.grad(loss, images)
            optimizer.step()
            total += loss.item() / 2
            for _ in range(2 if turn == 0 else 0):
                order = torch.randperm(6, generator=generator)
                torch.rand(6, 3, generator=generator)  # drawn even where there is no augmentation
                network_optimizer.zero_grad()
                logits = network.logits(images.detach().flatten(0, 1)[order], weights.all)
                F.cross_entropy(logits, start.labels[order]).backward()
                network_optimizer.step()
        losses.append(total)
    assert syn.trace.loss == pytest.approx(losses, rel=1e-4)
    moved = (images.detach().flatten(0, 1) - start.images).abs().max()
    assert (syn.images - images.detach().flatten(0, 1)).abs().max() < 1e-3 * moved


def test_the_learning_rate_is_halved_three_times():
    settings = LayerAlignment()
    assert [settings.rate(number) for number in (0, 1199, 1200, 1599, 1600, 1799, 1800, 1999)] == pytest.approx(
        [0.1, 0.1, 0.05, 0.05, 0.025, 0.025, 0.0125, 0.0125]
    )


def test_a_window_gives_the_range_of_the_last_accuracies():
    window, ranges = AccuracyWindow(3), []
    for accuracy in (0.1, 0.5, 0.4, 0.45, 0.4):
        window.add(accuracy)
        ranges.append(window.range)
    assert ranges[:2] == [None, None]
    assert ranges[2:] == pytest.approx([0.4, 0.1, 0.05])


def scripted(monkeypatch, values):
    """Let accuracies be `values`, one after the other, and count the epochs of training."""
    accuracies, epochs = iter(values), []
    monkeypatch.setattr(Aligner, "accuracy", lambda self, weights: next(accuracies))
    monkeypatch.setattr(Trainer, "epoch", lambda self, *rest: epochs.append(1))
    return epochs


def test_training_is_on_the_images_as_they_are_at_that_time(monkeypatch):
    loop, trained_on = aligner(outer_limit=3, inner_limit=1, lr_images=1.0), []
    monkeypatch.setattr(Trainer, "epoch", lambda self, images, *rest: trained_on.append(images.clone()))
    loop.iteration(0, Recorder(loop.task, 1, loop.images))
    first, second = trained_on
    assert first.shape == second.shape == (6, 1, 8, 8)
    assert not torch.equal(first, loop.start.images)
    assert not torch.equal(first, second)


def test_training_ends_when_the_accuracy_has_moved(monkeypatch):
    loop = aligner(window=3, inner_range=0.03)
    weights = loop.batches.network(0)
    # .50 .51 .52 range over .02; with .55 in place of .50 over .04.
    epochs = scripted(monkeypatch, [0.5, 0.51, 0.52, 0.55, 0.9])
    loop.train(weights, None, None)
    assert len(epochs) == 4


def test_training_ends_at_its_limit_where_the_accuracy_stands_still(monkeypatch):
    loop = aligner(window=3, inner_limit=9)
    epochs = scripted(monkeypatch, [1.0] * 100)
    loop.train(loop.batches.network(0), None, None)
    assert len(epochs) == 9


def test_an_iteration_ends_when_the_accuracy_stands_still(monkeypatch):
    loop = aligner(window=3, outer_range=0.04)
    monkeypatch.setattr(Aligner, "train", lambda self, *rest: trained.append(1))
    trained = []
    scripted(monkeypatch, [0.2, 0.4, 0.5, 0.52, 0.53, 0.53])  # .50 .52 .53 range over .03, and nothing before does
    loop.iteration(0, Recorder(loop.task, 1, loop.images))
    assert loop.counters["steps"] == 5
    assert len(trained) == 4  # between the steps, not after the last


def test_an_iteration_ends_at_its_limit_where_the_accuracy_does_not(monkeypatch):
    loop = aligner(window=3, outer_limit=6)
    monkeypatch.setattr(Aligner, "train", lambda self, *rest: None)
    scripted(monkeypatch, [0.1, 0.9] * 50)
    loop.iteration(0, Recorder(loop.task, 1, loop.images))
    assert loop.counters["steps"] == 6


def test_a_query_is_a_fresh_draw_whose_accuracy_is_a_fraction():
    loop = aligner(query_batch=7)
    bundle, network = loop.task.bundle, loop.network
    weights = loop.batches.network(3)
    expected = []
    for query in range(4):
        index = draw_real(class_members(bundle), 7, loop.task.streams.generator("query", query))
        images = normalise(bundle.train.images[index], bundle)
        right = [network.logits(images[c], weights.all).argmax(1) == c for c in range(3)]
        expected.append(torch.stack(right).float().mean().item())
    assert [loop.accuracy(weights) for _ in range(4)] == pytest.approx(expected)
    assert len(set(expected)) > 1
    assert loop.counters["queries"] == 4


# ---- the schedule ----


def test_the_defaults_are_the_published_ones_and_two_limits():
    assert dict(METHODS["cafe"].settings()) == PUBLISHED | {"outer_limit": 100, "inner_limit": 100, "network": "convnet"}


def test_what_is_out_of_range_is_refused():
    with pytest.raises(UsageError, match="window takes"):
        LayerAlignment(window=1)
    with pytest.raises(UsageError, match="augmentation"):
        LayerAlignment(augment="colour")
