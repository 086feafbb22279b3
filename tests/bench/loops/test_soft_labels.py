"""Soft labels: networks are trained on the cross-entropy with probabilities, in chunks, together and compiled."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from tiny import task

from bench.loops.evaluation import evaluate
from bench.loops.images import initial_images
from bench.loops.training import Ensemble, Trainer
from bench.machine.compute import Compute
from bench.machine.kernels import compiler_missing
from bench.networks.network import fit
from bench.types import SyntheticSet

CLASSES = 3
NETWORK = fit("convnet", (1, 8, 8), classes=CLASSES, width=8, depth=2)
IMAGES = torch.randn(11, 1, 8, 8, generator=torch.Generator().manual_seed(0))
PROBABILITIES = torch.rand(11, CLASSES, generator=torch.Generator().manual_seed(1)).softmax(1)

needs_compiler = pytest.mark.skipif(bool(compiler_missing()), reason="nothing can be compiled here")


def softened(syn: SyntheticSet, amount: float) -> SyntheticSet:
    """Return a set whose labels give `amount` of each image's probability to all classes alike."""
    return replace(syn, labels=F.one_hot(syn.labels, CLASSES).float() * (1 - amount) + amount / CLASSES)


def slow_cross_entropy(scores: torch.Tensor, probabilities: torch.Tensor) -> float:
    total = 0.0
    for row, targets in zip(scores.double().tolist(), probabilities.double().tolist(), strict=True):
        log_sum = torch.tensor(row, dtype=torch.float64).logsumexp(0).item()
        total -= sum(target * (score - log_sum) for score, target in zip(row, targets, strict=True))
    return total / len(scores)


def loss_in_chunks(size: int, *, flops: float = 0) -> tuple[float, list[torch.Tensor]]:
    """Return the training loss of all images, chunk by chunk, and its gradients."""
    compute = Compute.choose(device="cpu", precision="fp32")
    weights = NETWORK.init(torch.Generator().manual_seed(2)).trainable()
    kernel = compute.kernel("loss", NETWORK, flops)
    loss = torch.stack([kernel(*chunk, *weights.all) for chunk in compute.weighted(IMAGES, PROBABILITIES, size)]).sum()
    loss.backward()
    gradients = [parameter.grad for parameter in weights.parameters if parameter.grad is not None]  # norms cancel biases
    return loss.item(), gradients


@pytest.mark.parametrize("size", [11, 4])  # 11 = 4 + 4 + 3 and one of filling
def test_the_loss_is_the_cross_entropy_with_probabilities(size):
    weights = NETWORK.init(torch.Generator().manual_seed(2))
    expected = slow_cross_entropy(NETWORK.logits(IMAGES, weights.all), PROBABILITIES)
    assert loss_in_chunks(size)[0] == pytest.approx(expected, rel=1e-5)


def test_chunks_have_the_gradients_of_the_whole():
    for chunked, whole in zip(loss_in_chunks(4)[1], loss_in_chunks(11)[1], strict=True):
        assert torch.allclose(chunked, whole, rtol=1e-4, atol=1e-6)


@needs_compiler
def test_a_compiled_loss_takes_probabilities():
    compiled, eager = loss_in_chunks(4, flops=1e15), loss_in_chunks(4)
    assert compiled[0] == pytest.approx(eager[0], rel=1e-5)
    for one, other in zip(compiled[1], eager[1], strict=True):
        assert torch.allclose(one, other, rtol=1e-3, atol=1e-5)


def test_certain_labels_train_as_hard_ones_do(monkeypatch):
    monkeypatch.setattr(Compute, "chunk", lambda self, *arguments, **options: 4)
    given = task(ipc=3)
    syn = initial_images(given)
    weights = []
    for labels in (syn.labels, softened(syn, 0.0).labels):
        trainer = Trainer(given, given.network("convnet"), labels, given.spec.protocol.eval)
        weights.append(trainer.train(syn.images, 0, lambda epoch, begin: None).parameters)
    for hard, soft in zip(*weights, strict=True):
        assert torch.allclose(hard, soft, rtol=1e-3, atol=1e-5)


def test_softer_labels_make_networks_less_certain():
    given = task(ipc=10)
    settings = given.spec.protocol.eval.changed(epochs=40, nets=1)
    syn = initial_images(given)
    trainer = Trainer(given, given.network("convnet"), softened(syn, 0.5).labels, settings)
    weights = trainer.train(syn.images, 0, lambda epoch, begin: None)
    with torch.no_grad():
        confidence = given.network("convnet").logits(syn.images, weights.all).softmax(1).max(1).values.mean()
    assert 0.55 < float(confidence) < 0.8  # the targets say 0.67


def test_an_ensemble_takes_soft_labels(monkeypatch):
    given = task(ipc=3)
    syn = softened(initial_images(given), 0.3)
    alone = evaluate(given, syn, given.spec.protocol.eval, "convnet")
    monkeypatch.setattr(Ensemble, "pays", lambda *_: True)
    together = evaluate(given, syn, given.spec.protocol.eval, "convnet")
    assert together.accuracies == pytest.approx(alone.accuracies, abs=100 / 60 + 0.01)
