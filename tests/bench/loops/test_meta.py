"""One step of every loop on the `meta` device, which holds no numbers: a stray CPU tensor or a hidden `.item()` raises there.

On an accelerator such a line would stop the device at every step, or fail; no accelerator is needed to find it.
"""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from tiny import task

import bench.loops.recorder
from bench.cells.method import FeatureMatching
from bench.cells.protocol import OPERATIONS
from bench.loops.augment import Augmentation
from bench.loops.images import initial_images
from bench.loops.matching import match
from bench.loops.training import Ensemble, Trainer, sgd
from bench.machine.compute import Compute
from bench.machine.timing import Stopwatch
from bench.networks.weights import Weights
from methods import METHODS
from methods.losses.critic.critic import CriticTraining, init_critics

META = torch.device("meta")
NEEDS_VALUES = {
    "sinkhorn": "the median distance and the diameter are read on the host, to lay out the ladder of temperatures",
    "emd": "the network simplex runs on the host",
}
LOSSES = [
    pytest.param(name, marks=pytest.mark.skip(reason=f"{name} needs values: {reason}") if reason else ())
    for name, method in METHODS.items()
    if isinstance(method, FeatureMatching)
    for reason in (NEEDS_VALUES.get(name, ""),)
]


class Done(Exception):
    """Raised where a loop reads the device for the first time: after its last step."""


class Unread(Stopwatch):
    def read(self):
        raise Done


def on_meta(*, precision="fp32", **options):
    return replace(task(**options), compute=Compute(META, precision, 1))


@pytest.fixture(autouse=True)
def no_reports(monkeypatch):
    # Twice a second the loops show a person the loss, which waits for the device: as meant, but not here.
    monkeypatch.setattr(bench.loops.recorder, "REPORT_SECONDS", math.inf)


@pytest.mark.parametrize("name", LOSSES)
def test_matching_steps(name, monkeypatch):
    monkeypatch.setattr(bench.loops.recorder, "Stopwatch", Unread)
    steps = []

    def watch(step, real, syn):
        steps.append((step, real.device, syn.device))

    with pytest.raises(Done):
        match(on_meta(method=name), watch=watch)
    assert steps == [(step, META, META) for step in range(3)]


def test_the_context_of_a_loss_lies_on_its_device(monkeypatch):
    monkeypatch.setattr(bench.loops.recorder, "Stopwatch", Unread)
    devices = []

    def loss(real, syn, *, generator, context):
        devices.append(context.labels.device)
        return (real.mean(1) - syn.mean(1)).square().sum(1)

    with pytest.raises(Done):
        match(on_meta(loss=loss))
    assert devices == [META] * 3


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_real_features(precision):
    given = on_meta(precision=precision)
    network = given.network("convnet")
    images = torch.empty(37, 1, 8, 8, device=META)
    weights = network.init(torch.Generator()).to(META)
    features = given.compute.features(given.compute.kernel("features", network, 0), network, images, weights)
    assert (features.device, features.dtype, features.shape) == (META, torch.float32, (37, network.features_dim))


@pytest.mark.parametrize("operation", OPERATIONS)
def test_augmentation(operation):
    augmentation = Augmentation((operation,))
    images = torch.empty(4, 5, 3, 8, 8, device=META)
    assert augmentation.apply(images, augmentation.draw(torch.Generator(), 4, shared=False)).device == META


@pytest.mark.parametrize("optimizer", ["adam", "sgd", "rmsprop"])
def test_critics(optimizer):
    real, syn = torch.empty(3, 8, 16, device=META), torch.empty(3, 2, 16, device=META)
    start = init_critics(real, hidden=4, generator=torch.Generator())
    training = CriticTraining(clip=0.01, steps=2, lr=1e-3, optimizer=optimizer, dtype=real.dtype)
    critics = training.train(start, real, syn)
    assert {parameter.device for parameter in critics.parameters()} == {META}
    assert critics(real).shape == (3, 8)


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize(("kind", "name"), [(Trainer, "convnet"), (Ensemble, "convnet"), (Trainer, "convnet-bn")])
def test_an_evaluation_step(kind, name, precision):
    given = on_meta(precision=precision)
    syn, settings, network = initial_images(given), given.spec.protocol.eval, given.network(name)
    trainer = kind(given, network, syn.labels, settings)
    count = settings.nets if kind is Ensemble else 1
    generators = [given.streams.generator("evaluate", number) for number in range(count)]
    each = [network.init(generator).to(META) for generator in generators]
    weights = (Weights.stack(each) if kind is Ensemble else each[0]).trainable()
    index = torch.stack([torch.randperm(len(syn.labels), generator=generator) for generator in generators])
    trainer.step(syn.images, index, weights, generators)
    sgd(weights, settings).step()
    assert {tensor.device for tensor in weights.all} == {META}
    assert {parameter.grad.device for parameter in weights.parameters if parameter.grad is not None} == {META}


def test_networks_are_trained_together_where_the_device_takes_them_all():
    given = on_meta()
    syn, settings, network = initial_images(given), given.spec.protocol.eval, given.network("convnet")
    assert Ensemble.pays(given, network, syn, settings)
    assert not Ensemble.pays(task(), network, syn, settings)
    assert not Ensemble.pays(given, network, syn, settings.changed(nets=10**6))
