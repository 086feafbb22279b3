"""Classes with fewer images than a real batch: each gives what it has, and no other class gives less for it."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from runners import runner
from tiny import bundle, cell, settings_of, task

from bench.cells.loss import by_class
from bench.cells.method import FeatureMatching
from bench.loops.images import Batches, class_members, normalise
from bench.loops.matching import _Extractor, _with_context, match
from bench.loops.optimizers import image_optimizer
from bench.loops.recorder import Recorder
from bench.machine.ranks import Ranks
from bench.types import Split
from methods import METHODS
from methods.losses.dm import MeanMatching
from methods.procedures.cafe import LayerAlignment
from methods.procedures.cafe_loop import Aligner, alignment
from methods.procedures.gradient import GradientMatching
from methods.procedures.gradient_loop import GradientLoop, class_loss, real_gradients

SIZES = (4, 12, 2, 4)
ALL = {"real_batch": 50, "augment": "none"}
"""Every class gives all its images, so that the order of a draw does not matter."""


def long_tailed(sizes=SIZES):
    """Return the tiny dataset with so many training images of each class."""
    data = bundle(classes=len(sizes), each=max(sizes))
    kept = torch.cat([index[:count] for index, count in zip(class_members(data), sizes, strict=True)])
    return replace(data, train=Split(data.train.images[kept], data.train.labels[kept]))


def images_of(given, label):
    """Return all training images of a class, in normalised units."""
    data = given.bundle
    return normalise(data.train.images[data.train.labels == label], data)


def batches_of(given, real_batch):
    return Batches(given, given.network("convnet"), real_batch=real_batch, augment="none")


def test_each_class_gives_what_it_has_up_to_the_real_batch():
    for real_batch, groups in {3: {(0, 1, 3): 3, (2,): 2}, 5: {(0, 3): 4, (1,): 5, (2,): 2}, 2: {(0, 1, 2, 3): 2}}.items():
        given = task(data=long_tailed())
        batches = batches_of(given, real_batch)
        drawn = batches.real_by_size(0, batches.draws(0))
        assert {group.rows: group.real.shape[1] for group in drawn} == groups
        for group in drawn:
            for row, images in zip(group.rows, group.real, strict=True):
                same = (images[:, None] == images_of(given, row)).flatten(2).all(2)
                assert (same.sum(0) <= 1).all()  # no image twice
                assert same.any(1).all()  # and all of the class


@pytest.mark.parametrize("augment", ["none", "color_crop_cutout_flip_scale_rotate"])
def test_classes_that_have_a_whole_batch_are_one_group_of_the_same_bits(augment):
    given = task()
    batches = Batches(given, given.network("convnet"), real_batch=12, augment=augment)
    [group] = batches.real_by_size(3, batches.draws(3))
    assert group.rows == (0, 1, 2)
    assert torch.equal(group.real, batches.real(3, batches.draws(3)))


def test_a_large_class_has_the_same_images_and_augmentation_beside_a_small_one():
    data = long_tailed((12, 12, 12, 12))
    small = replace(data, train=Split(data.train.images[:-8], data.train.labels[:-8]))  # of the last class 4 are left
    whole, part = (
        Batches(task(data=each), task().network("convnet"), real_batch=6, augment="color_crop_flip") for each in (data, small)
    )
    [expected] = whole.real_by_size(2, whole.draws(2))
    drawn = {group.rows: group.real for group in part.real_by_size(2, part.draws(2))}
    assert torch.equal(drawn[0, 1, 2], expected.real[:3])


def test_a_loss_is_called_once_a_size_with_its_classes_and_the_same_draws():
    calls = []

    class Watching(MeanMatching):
        def for_cell(self):
            def loss(real, syn, *, generator, context):
                calls.append((context.step, context.labels.tolist(), real.shape[1], float(torch.rand((), generator=generator))))
                return MeanMatching()(real, syn, generator=generator)

            return loss

    given = task(data=long_tailed(), loss=Watching(), match={"real_batch": 4, "iterations": 2})
    match(given)
    assert [call[:3] for call in calls] == [(step, *call) for step in (0, 1) for call in (([0, 1, 3], 4), ([2], 2))]
    assert calls[0][3] == calls[1][3] != calls[2][3]


def test_the_step_is_that_of_the_sum_over_classes_of_their_own_images():
    given = task(
        data=long_tailed(), match=ALL | {"iterations": 1, "optimizer": "sgd", "lr_images": 0.5, "schedule": "constant"}
    )
    syn = match(given)
    network, images = given.network("convnet"), match(task(data=long_tailed(), match={"iterations": 0})).images
    weights = network.init(given.streams.generator("extractor", 0)).all
    leaf = images.unflatten(0, (4, -1)).clone().requires_grad_()
    means = [network.features(images_of(given, label), weights).mean(0) for label in range(4)]
    losses = [(mean - network.features(own, weights).mean(0)).square().sum() for mean, own in zip(means, leaf, strict=True)]
    leaf.grad = torch.autograd.grad(sum(losses), leaf)[0]
    image_optimizer(leaf, given.match).step()
    assert syn.trace.loss[0] == pytest.approx(sum(losses).detach().item(), rel=1e-4)
    torch.testing.assert_close(syn.images, leaf.detach().flatten(0, 1), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", ["dm", "kr", "sinkhorn", "emd"])
def test_ranks_that_share_the_classes_compute_the_losses_of_one_process(name):
    given = task(method=name, data=long_tailed(), match={"real_batch": 4})
    losses = []
    for ranks in (Ranks(), Ranks(0, 2), Ranks(1, 2), Ranks(0, 3), Ranks(1, 3), Ranks(2, 3)):
        shared = replace(given, ranks=ranks)
        groups, syn = _Extractor(shared, each_size=True)(
            0, match(task(data=long_tailed(), match={"iterations": 0})).images.unflatten(0, (4, -1))
        )
        loss_at = _with_context(shared, given.settings)
        values = {
            row: value for group in groups for row, value in zip(group.rows, loss_at(0, group, group.among(syn)), strict=True)
        }
        losses.append(torch.stack([values[row] for row in sorted(values)]))
    for shares in (losses[1:3], losses[3:]):
        torch.testing.assert_close(torch.cat(shares), losses[0], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("network", ["convnet", "convnet-bn"])
def test_gradients_are_matched_to_those_of_all_images_of_a_class(network):
    settings = GradientMatching(iterations=1, outer=1, inner=1, network=network, start="real", **ALL)
    given = task(data=long_tailed(), loss=settings)
    loop = GradientLoop(given)
    weights, before = loop.batches.network(0).trainable(), loop.images.detach().clone()
    losses = loop.step(0, weights)
    for label in range(4):
        images = images_of(given, label)
        target = real_gradients(given.compute, loop.kernel, images, label, weights, chunk=len(images))
        expected = class_loss(loop.network, target, before[label], label, weights)
        assert float(losses[label]) == pytest.approx(float(expected), rel=1e-3)


def test_layers_are_aligned_with_the_means_over_all_images_of_a_class():
    settings = LayerAlignment(iterations=1, query_batch=50, start="real", **ALL)
    given = task(data=long_tailed(), loss=settings)
    aligner = Aligner(given)
    weights = aligner.batches.network(0)
    groups = aligner.batches.real_by_size(0, aligner.batches.draws(0))
    layers = [aligner.network.layers(images_of(given, label), weights.all, training=True) for label in range(4)]
    for group in groups:
        means, _ = aligner.real_layers(group.real, weights)
        for layer, mean in enumerate(means):
            expected = torch.stack([layers[label][layer].mean(0) for label in group.rows])
            torch.testing.assert_close(mean, expected, rtol=1e-4, atol=1e-5)
    right = [aligner.network.scores(own[-1], weights.all).argmax(1) == label for label, own in enumerate(layers)]
    assert aligner.accuracy(weights) == pytest.approx(float(torch.cat(right).float().mean()))
    syn = [
        layer.unflatten(0, (4, -1)).mean(1)
        for layer in aligner.network.layers(aligner.start.images, weights.all, training=True)
    ]
    real = [torch.stack([own[layer].mean(0) for own in layers]) for layer in range(len(syn))]
    scores = torch.cat([own[-1] for own in layers]) @ syn[-1].T
    labels = torch.arange(4).repeat_interleave(torch.tensor(SIZES))
    discriminated = torch.nn.functional.cross_entropy(scores, labels, reduction="sum")
    step = aligner.step(weights, Recorder(given, 1, aligner.images))
    expected = alignment(real, syn, aligner.weights) + settings.discrimination_weight * discriminated
    assert float(step) == pytest.approx(float(expected), rel=1e-3)


def coupled(real, syn, *, generator):
    return (real.mean(1) - syn.mean(1)).square().sum(1)


def test_a_loss_that_does_not_work_class_by_class_gets_the_smallest_size_and_the_record_says_so(tmp_path):
    data, sizes = long_tailed(), []

    def loss(real, syn, *, generator):
        sizes.append(tuple(real.shape[:2]))
        return coupled(real, syn, generator=generator)

    method = FeatureMatching(name="own", label="Own", citation="", settings=type(settings_of(loss)))
    spec = cell(method, match={"real_batch": 4}, eval={"nets": 1})
    [record] = runner(tmp_path / "records", data=data, own=method).run([spec])
    assert set(sizes) == {(4, 2)}
    note = "every class gives 2 real images a step, as many as the smallest class 'c' has, and not 4: its loss does not declare"
    assert [warning.startswith(note) for warning in record.warnings] == [True]
    for name, warned in {"dm": False, "dc": False, "cafe": False, "random": False}.items():
        assert bool([*METHODS[name].batch_notes(cell(METHODS[name], match={"real_batch": 4}), data)]) == warned
    assert [*method.batch_notes(spec, bundle())] == []
    assert by_class(coupled).works_by_class
