"""Training networks against the recipe, step by step in float64, and the same networks whichever way they are trained."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from tiny import task

from bench.cells.protocol import Training
from bench.cells.task import Task
from bench.loops.images import initial_images
from bench.loops.training import Ensemble, Trainer, epochs_of, learning_rate, sgd
from bench.machine.compute import Compute
from bench.networks.weights import Weights


def quiet(epoch: int, begin: int) -> None:
    """Report nothing."""


def trainer_of(given: Task, *, kind: type[Trainer] = Trainer, network: str = "convnet", **options) -> Trainer:
    """Return what trains networks on the start of the images, as the evaluation does."""
    settings = given.spec.protocol.eval
    assert settings is not None
    return kind(given, given.network(network), initial_images(given).labels, settings, **options)


def trained(given: Task, number: int = 0, **options) -> Weights:
    """Return the weights of one trained network."""
    return trainer_of(given, **options).train(initial_images(given).images, number, quiet)


def test_training_is_the_published_recipe():
    """E+1 epochs of SGD, batches, x 0.1 after epoch E//2+1 with a fresh optimizer; in float64, without augmentation."""
    given = task(ipc=4, eval={"epochs": 6, "batch": 5, "augment": "none", "lr": 0.05})
    syn, network = initial_images(given), given.network("convnet")
    weights = trained(given)

    generator = given.streams.generator("evaluate", 0)
    expected = Weights(tuple(parameter.double() for parameter in network.init(generator).parameters)).trainable()
    optimizer = torch.optim.SGD(expected.parameters, lr=0.05, momentum=0.9, weight_decay=5e-4)
    for epoch in range(7):
        order = torch.randperm(12, generator=generator)
        for begin in range(0, 12, 5):
            index = order[begin : begin + 5]
            # The draw of an augmentation comes from the same stream, even where there is none.
            torch.rand(len(index), 3, generator=generator)
            optimizer.zero_grad()
            F.cross_entropy(network.logits(syn.images[index].double(), expected.all), syn.labels[index]).backward()
            optimizer.step()
        if epoch == 6 // 2 + 1:
            optimizer = torch.optim.SGD(expected.parameters, lr=0.005, momentum=0.9, weight_decay=5e-4)
    for parameter, reference in zip(weights.parameters, expected.parameters, strict=True):
        torch.testing.assert_close(parameter.detach().double(), reference.detach(), atol=2e-5, rtol=2e-4)


def test_the_step_schedule_is_the_reference_codes():
    settings = Training(epochs=10)
    assert epochs_of(settings) == 11
    assert [learning_rate(settings, epoch, 0.0) for epoch in range(11)] == [0.01] * 7 + [0.001] * 4


def test_onecycle_rises_to_its_peak_and_falls_to_zero():
    settings = Training(epochs=10, schedule="onecycle", lr=0.5)
    rates = [learning_rate(settings, epoch, 0.0) for epoch in range(11)]
    assert epochs_of(settings) == 10
    assert rates[0] == 0
    assert rates[2] == pytest.approx(0.5)
    assert rates[10] == pytest.approx(0)
    assert rates[2:] == sorted(rates[2:], reverse=True)


def test_chunks_give_the_gradient_of_the_whole_batch(monkeypatch):
    given = task(ipc=4, eval={"epochs": 2, "augment": "none"})
    whole = trainer_of(given)
    monkeypatch.setattr(type(given.compute), "chunk", lambda self, *arguments, **options: 5)
    cut = trainer_of(given)  # 12 = 5 + 5 + 2 and 3 of no weight
    assert (whole.chunk, cut.chunk) == (12, 5)
    images = initial_images(given).images
    first, second = (trainer.train(images, 0, quiet).parameters for trainer in (whole, cut))
    for parameter, other in zip(first, second, strict=True):
        torch.testing.assert_close(parameter, other, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize(("augment", "schedule"), [("color_crop_cutout_flip_scale_rotate", "step"), ("none", "onecycle")])
def test_an_ensemble_is_its_networks_one_by_one(augment, schedule):
    given = task(ipc=3, eval={"nets": 3, "epochs": 4, "batch": 4, "augment": augment, "schedule": schedule})
    settings, batches = given.spec.protocol.eval, []
    ensemble = trainer_of(given, kind=Ensemble)
    networks = ensemble.train_all(initial_images(given).images, lambda epoch, begin: batches.append((epoch, begin)))
    assert len(networks) == 3
    assert batches == [(epoch, begin) for epoch in range(epochs_of(settings)) for begin in (0, 4, 8)]
    for number, weights in enumerate(networks):
        alone = trained(given, number)
        start = given.network("convnet").init(given.streams.generator("evaluate", number))
        for own, other, initial in zip(weights.parameters, alone.parameters, start.parameters, strict=True):
            torch.testing.assert_close(own, other, atol=1e-5, rtol=1e-3)
            assert own.dim() == 1 or not torch.allclose(own, initial, atol=1e-4)


def test_a_precision_of_evaluation_s_own_sizes_its_chunks(monkeypatch):
    given = task(ipc=3, eval={"precision": "bf16"})
    sizes = {"fp32": 1, "bf16": 2}
    monkeypatch.setattr(type(given.compute), "chunk", lambda self, *arguments, **options: sizes[self.precision])
    trainer = trainer_of(given)
    assert (given.compute.precision, trainer.compute.precision, trainer.chunk) == ("fp32", "bf16", 2)


def test_networks_differ_and_repeat():
    given = task(ipc=3)
    first, again, second = (trained(given, number).parameters[0] for number in (0, 0, 1))
    assert torch.equal(first, again)
    assert not torch.equal(first, second)


def test_a_network_of_another_stage_is_none_of_the_evaluation_s():
    given = task(ipc=3)
    evaluation = [trained(given, number).parameters[0] for number in range(2)]
    own, again = (trained(given, stage="selection").parameters[0] for _ in range(2))
    assert torch.equal(own, again)
    assert not any(torch.equal(own, parameter) for parameter in evaluation)


def test_each_epoch_trains_on_the_images_it_is_given():
    """A trainer holds no images: it reads them at each call, as bi-level methods need, whose images move between epochs."""
    given = task(ipc=3, eval={"augment": "none"})
    start = initial_images(given).images
    moved = start + torch.randn(start.shape, generator=torch.Generator().manual_seed(0))

    def trained_on(*sets: torch.Tensor, overwrite: torch.Tensor | None = None) -> Weights:
        """Return a network after an epoch on each of the sets; before the last one, its numbers are replaced."""
        trainer, generators = trainer_of(given), [given.streams.generator("inner")]
        weights = trainer.network.init(*generators).trainable()
        optimizer = sgd(weights, trainer.settings)
        for number, images in enumerate(sets):
            if overwrite is not None and number == len(sets) - 1:
                images.copy_(overwrite)
            trainer.epoch(images, weights, optimizer, generators)
        return weights

    buffer = start.clone()
    both, same, in_place = trained_on(start, moved), trained_on(start, start), trained_on(buffer, buffer, overwrite=moved)
    assert not torch.equal(both.parameters[0], same.parameters[0])
    for parameter, other in zip(both.parameters, in_place.parameters, strict=True):
        assert torch.equal(parameter, other)


# ---- batch norm ----


def test_batch_norm_trains_on_whole_batches():
    given = task(ipc=4, eval={"epochs": 2, "batch": 5})
    trainer = trainer_of(given, network="convnet-bn")
    kernel, parts = trainer.kernel, []

    def watched(images, labels, shares, *tensors):
        parts.append((len(images), shares.tolist()))
        return kernel(images, labels, shares, *tensors)

    trainer.kernel = watched
    trainer.train(initial_images(given).images, 0, quiet)
    # 12 images are batches of 5, 5 and 2: none is cut into chunks, and none is filled up with images of no weight.
    assert [size for size, _ in parts] == [5, 5, 2] * 3
    assert all(shares == pytest.approx([1 / size] * size) for size, shares in parts)


def test_batch_norm_training_is_that_of_torch_s_own_module():
    """The same draws, with `nn.BatchNorm2d` in training mode inside the module of torch, and torch's own SGD."""
    given = task(ipc=4, eval={"epochs": 3, "batch": 5, "augment": "none"})
    syn, network = initial_images(given), given.network("convnet-bn")
    weights = trained(given, network="convnet-bn")

    generator = given.streams.generator("evaluate", 0)
    start = network.init(generator)
    module = network.module
    names = [name for name, _ in module.named_parameters()] + [name for name, _ in module.named_buffers()]
    module = type(module)(1, 8, 3, width=network.width, depth=network.depth, norm="bn").train()
    module.load_state_dict(dict(zip(names, start.all, strict=True)))
    optimizer = torch.optim.SGD(module.parameters(), lr=0.01, momentum=0.9, weight_decay=5e-4)
    for epoch in range(4):
        order = torch.randperm(12, generator=generator)
        for begin in range(0, 12, 5):
            index = order[begin : begin + 5]
            torch.rand(len(index), 3, generator=generator)  # of the augmentation, which there is none of
            optimizer.zero_grad()
            F.cross_entropy(module(syn.images[index]), syn.labels[index]).backward()
            optimizer.step()
        if epoch == 3 // 2 + 1:
            optimizer = torch.optim.SGD(module.parameters(), lr=0.001, momentum=0.9, weight_decay=5e-4)
    expected = dict(module.state_dict())
    for name, tensor in zip(names, weights.all, strict=True):
        torch.testing.assert_close(tensor.detach(), expected[name], atol=2e-5, rtol=2e-4)


def test_networks_with_batch_norm_are_not_trained_together():
    given = replace(task(ipc=3), compute=Compute(torch.device("meta"), "fp32", 1))
    syn, settings = initial_images(given), given.spec.protocol.eval
    pays = [Ensemble.pays(given, given.network(name), syn, settings) for name in ("convnet", "convnet-bn")]
    assert pays == [True, False]
