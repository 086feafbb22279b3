"""The matching loop: fair, reproducible, and the published algorithm."""

from __future__ import annotations

import pytest
import torch
from tiny import bundle, task

from bench.cells.method import FeatureMatching
from bench.errors import DistillationError
from bench.loops.augment import Augmentation
from bench.loops.images import class_members, draw_real, initial_images, normalise
from bench.loops.matching import match
from bench.networks.weights import Weights
from methods import METHODS

LOSSES = [name for name, method in METHODS.items() if isinstance(method, FeatureMatching)]


SGD = {"optimizer": "sgd", "schedule": "constant"}


def distill(name: str, **options):
    """Return the set that a loss with its defaults leads to, and the features of both sides at each step."""
    features = []
    syn = match(task(method=name, **options), watch=lambda step, real, syn: features.append((real, syn)))
    return syn, features


def test_the_first_steps_features_are_bit_equal_across_methods():
    first = {name: distill(name)[1][0] for name in LOSSES}
    for real, syn in first.values():
        assert torch.equal(real, first["dm"][0])
        assert torch.equal(syn, first["dm"][1])


def test_later_real_features_are_bit_equal_across_methods_too():
    last = {name: distill(name)[1][-1][0] for name in LOSSES}
    for real in last.values():
        assert torch.equal(real, last["dm"])


@pytest.mark.parametrize("name", LOSSES)
def test_the_same_seed_gives_bit_equal_images_and_another_does_not(name):
    first, again, other = distill(name)[0], distill(name)[0], distill(name, seed=1)[0]
    assert torch.equal(first.images, again.images)
    assert first.trace.loss == again.trace.loss
    assert not torch.equal(first.images, other.images)


def test_the_global_random_state_has_no_say():
    first = distill("kr")[0]
    torch.manual_seed(123)
    assert torch.equal(first.images, distill("kr")[0].images)


def test_dm_is_the_published_algorithm():
    """Algorithm 1 of Zhao and Bilen, class by class in float64, with torch's own SGD on the same draws."""
    given = task(method="dm", match=SGD | {"lr_images": 0.5, "iterations": 6, "momentum": 0.5})
    syn_set = match(given)
    data, network = given.bundle, given.network("convnet")
    images = initial_images(given).images.double().unflatten(0, (3, 2)).requires_grad_()
    optimizer = torch.optim.SGD([images], lr=0.5, momentum=0.5)
    losses = []
    for step in range(6):
        parameters = network.init(given.streams.generator("extractor", step)).parameters
        weights = Weights(tuple(parameter.double() for parameter in parameters)).all
        augmentation = Augmentation.parse(given.match.augment, flip=True)
        draws = augmentation.draw(given.streams.generator("augment", step), 3, shared=False)
        index = draw_real(class_members(data), 5, given.streams.generator("real", step))
        real = augmentation.apply(normalise(data.train.images[index], data).double(), draws)
        syn = augmentation.apply(images, draws)
        loss = torch.zeros((), dtype=torch.float64)
        for label in range(3):
            difference = network.features(real[label], weights).mean(0) - network.features(syn[label], weights).mean(0)
            loss = loss + difference.square().sum()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert syn_set.trace.loss == pytest.approx(losses, rel=1e-4)
    torch.testing.assert_close(syn_set.images.double(), images.detach().flatten(0, 1), atol=1e-4, rtol=1e-4)


def test_matching_lowers_the_loss():
    match_settings = SGD | {"lr_images": 0.3, "iterations": 60, "real_batch": 12, "augment": "none"}
    loss = distill("dm", match=match_settings)[0].trace.loss
    assert sum(loss[-8:]) < 0.5 * sum(loss[:8])


def test_a_fixed_extractor_is_the_same_at_every_step():
    _, fresh = distill("dm", match={"real_batch": 12, "augment": "none", "extractor": "fresh"})
    _, fixed = distill("dm", match={"real_batch": 12, "augment": "none", "extractor": "fixed"})

    # With every image in the batch and no augmentation, the features differ by the order of the draw alone.
    def spread(features):
        return (features[0][0].mean(1) - features[1][0].mean(1)).abs().max()

    assert spread(fixed) < 1e-5 < spread(fresh)


def test_noise_start_and_real_start():
    real = distill("dm", match={"iterations": 0})[0]
    noise = distill("dm", match={"iterations": 0, "start": "noise"})[0]
    pixels = normalise(bundle().train.images, bundle())
    assert all((pixels == image).flatten(1).all(1).any() for image in real.images)
    assert not any((pixels == image).flatten(1).all(1).any() for image in noise.images)
    assert real.labels.tolist() == noise.labels.tolist() == [0, 0, 1, 1, 2, 2]


def test_a_loss_that_is_no_number_stops_the_cell():
    def broken(real, syn, *, generator):
        return syn.mean((1, 2)) * float("nan")

    with pytest.raises(DistillationError, match="nan at iteration 0"):
        match(task(loss=broken))


def test_a_real_batch_never_repeats_an_image_and_never_exceeds_the_class():
    members = class_members(bundle(each=12))
    index = draw_real(members, 12, torch.Generator().manual_seed(0))
    assert [sorted(row.tolist()) for row in index] == [list(range(12 * c, 12 * c + 12)) for c in range(3)]
    assert distill("dm", match={"real_batch": 500})[1][0][0].shape[1] == 12


@pytest.mark.parametrize("name", ["mlp", "lenet", "convnet-bn"])
def test_any_network_extracts_features(name):
    given = task(match={"network": name, "iterations": 2})
    widths = []
    syn = match(given, watch=lambda step, *sides: widths.extend(x.shape[2] for x in sides))
    assert set(widths) == {given.network(name).features_dim}
    assert syn.images.shape == (6, 1, 8, 8)  # of the dataset's size, whatever size the network sees
    assert not torch.equal(syn.images, distill("dm", match={"iterations": 2})[0].images)


def test_a_loss_that_asks_for_it_gets_the_context_of_each_step():
    contexts = []

    def loss(real, syn, *, generator, context):
        contexts.append(context)
        return METHODS["dm"].objective()(real, syn, generator=generator)

    syn = match(task(loss=loss))
    assert torch.equal(syn.images, distill("dm")[0].images)
    assert [(context.step, context.iterations) for context in contexts] == [(0, 3), (1, 3), (2, 3)]
    assert all(context.labels.tolist() == [0, 1, 2] for context in contexts)
    assert {context.classes for context in contexts} == {("a", "b", "c")}
