"""One step of every loop on the `meta` device, which holds no numbers: a stray CPU tensor or a hidden `.item()` raises there.

On an accelerator such a line would stop the device at every step, or fail; no accelerator is needed to find it.
"""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from tiny import task

import bench.evaluate
import bench.matching
from bench.augment import Augmentation
from bench.compute import Compute
from bench.evaluate import Ensemble, Trainer
from bench.matching import initial_images, match
from bench.protocol import OPERATIONS
from bench.timing import Stopwatch
from methods import METHODS
from methods.critic import init_critics, train_critics

META = torch.device("meta")
HOST = {
    "sinkhorn": "the median distance and the diameter are read on the host, to lay out the ladder of temperatures",
    "emd": "the network simplex runs on the host",
}
LOSSES = [
    pytest.param(name, marks=pytest.mark.skip(reason=f"{name} needs values: {HOST[name]}") if name in HOST else ())
    for name, method in METHODS.items()
    if method.objective is not None
]


class Done(Exception):
    """Raised where a loop reads the device for the first time: after its last step."""


class Unread(Stopwatch):
    def read(self):
        raise Done


def on_meta(**options):
    return replace(task(**options), compute=Compute(META, "fp32", 1))


@pytest.fixture(autouse=True)
def nobody_looks(monkeypatch):
    # Twice a second the loops show a person the loss, which waits for the device: as meant, but not here.
    monkeypatch.setattr(bench.matching, "_REPORT_SECONDS", math.inf)


@pytest.mark.parametrize("name", LOSSES)
def test_matching_steps(name, monkeypatch):
    monkeypatch.setattr(bench.matching, "Stopwatch", Unread)
    seen = []

    def watch(step, real, syn):
        seen.append((step, real.device, syn.device))

    with pytest.raises(Done):
        match(on_meta(method=name), METHODS[name].objective(), watch=watch)
    assert seen == [(step, META, META) for step in range(3)]


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_real_features(precision):
    given = replace(task(), compute=Compute(META, precision, 1))
    images = torch.empty(37, 1, 8, 8, device=META)
    parameters = given.compute.put(given.network.init(torch.Generator()))
    found = given.compute.features(given.compute.features_kernel(given.network, 0), given.network, images, parameters)
    assert (found.device, found.dtype, found.shape) == (META, torch.float32, (37, given.network.features_dim))


@pytest.mark.parametrize("operation", OPERATIONS)
def test_augmentation(operation):
    augmentation = Augmentation((operation,))
    images = torch.empty(4, 5, 3, 8, 8, device=META)
    assert augmentation.apply(images, augmentation.draw(torch.Generator(), 4, shared=False)).device == META


@pytest.mark.parametrize("optimizer", ["adam", "sgd", "rmsprop"])
def test_critics(optimizer):
    real, syn = torch.empty(3, 8, 16, device=META), torch.empty(3, 2, 16, device=META)
    start = init_critics(real, hidden=4, generator=torch.Generator())
    trained = train_critics(start, real, syn, clip=0.01, steps=2, lr=1e-3, optimizer=optimizer)
    assert {p.device for p in trained.parameters()} == {META}
    assert trained(real).shape == (3, 8)


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("kind", [Trainer, Ensemble])
def test_an_evaluation_step(kind, precision):
    given = replace(task(), compute=Compute(META, precision, 1))
    syn, settings = initial_images(given), given.spec.protocol.eval
    trainer = kind(given, syn, settings)
    networks = settings.nets if kind is Ensemble else 1
    draw = [given.streams.generator("evaluate", number) for number in range(networks)]
    each = [given.compute.put(given.network.init(one)) for one in draw]
    parameters = tuple(torch.stack(some) if kind is Ensemble else some[0] for some in zip(*each, strict=True))
    parameters = tuple(p.requires_grad_() for p in parameters)
    index = torch.stack([torch.randperm(len(syn.labels), generator=one) for one in draw])
    trainer.step(index, parameters, bench.evaluate.sgd(parameters, settings), draw)
    assert {p.device for p in parameters} == {META}


def test_networks_are_trained_together_where_the_device_takes_them_all():
    given = on_meta()
    syn, settings = initial_images(given), given.spec.protocol.eval
    assert Ensemble.pays(given, syn, settings)
    assert not Ensemble.pays(task(), syn, settings)
    assert not Ensemble.pays(given, syn, replace(settings, nets=10**6))
