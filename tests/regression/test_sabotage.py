"""The gate can fail: each way to break a loss or the engine is caught, or is listed as one that it does not see."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from gate import DIGITS, LOSSES, NEW_SEED, Baselines, judge, run

import bench.loops.evaluation
import bench.loops.images
from bench.loops.augment import Augmentation
from bench.loops.evaluation import evaluate
from bench.loops.images import Batches, normalise
from bench.loops.training import Trainer
from bench.records.sections import Evaluation
from methods import METHODS
from run_all import SUITE

CLASSES = {name: METHODS[name].settings for name in LOSSES}

SHORT = replace(DIGITS, options=("--iterations=10", "--eval-nets=2", "--set=eval.epochs=20"))
"""A grid on which two accuracies are compared, without a verdict."""


_evaluated: dict[bytes, Evaluation] = {}
"""Evaluations of the digits, by the images: what a loss without gradient leaves of them is the same for each loss."""


def evaluate_once(task, syn, settings, name, **options):
    """Evaluate images, or return what an earlier evaluation of the same images gave."""
    key = syn.images.numpy().tobytes() + syn.labels.numpy().tobytes() + settings.model_dump_json().encode()
    if key not in _evaluated:
        _evaluated[key] = evaluate(task, syn, settings, name, **options)
    return _evaluated[key]


def verdict(method: str, evaluate=evaluate_once, *, iterations: int = 60) -> str:
    """Return the gate's verdict on one cell of the digits, as the code is now."""
    grid = replace(DIGITS, options=(*DIGITS.options, f"--iterations={iterations}"))
    results = run(grid, [NEW_SEED], methods=[method], suite=replace(SUITE, evaluate=evaluate))
    (judgement,) = judge(Baselines.read().cells, results)
    return judgement.verdict


def break_loss(monkeypatch, name, change):
    """Let a loss return `change(loss, real, syn, options)` in place of `loss(real, syn, options)`."""
    usual = CLASSES[name].__call__

    def broken(self, real, syn, **options):
        return change(lambda real, syn: usual(self, real, syn, **options), real, syn)

    monkeypatch.setattr(CLASSES[name], "__call__", broken)


LOSS_SABOTAGE = {
    "sign flipped": (lambda loss, real, syn: -loss(real, syn), 60),
    "classes shuffled": (lambda loss, real, syn: loss(real.roll(1, 0), syn), 60),
    "gradient detached": (lambda loss, real, syn: loss(real, syn.detach()) + 0 * syn.sum((1, 2)), 2),
    "zero": (lambda loss, real, syn: 0 * syn.sum((1, 2)), 2),
}
"""What is done to a loss, and for how many iterations: those of the baselines, or two if the images do not move anyway."""


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("how", LOSS_SABOTAGE)
def test_a_broken_loss_is_caught(name, how, monkeypatch):
    change, iterations = LOSS_SABOTAGE[how]
    break_loss(monkeypatch, name, change)
    assert verdict(name, iterations=iterations) == "below"


@pytest.mark.parametrize("name", LOSSES)
def test_half_of_a_loss_cannot_be_seen_since_it_changes_nothing(name, monkeypatch):
    """An angular step does not depend on the scale of the loss: the accuracies are the same but for rounding."""
    usual = run(SHORT, [NEW_SEED], methods=[name])
    break_loss(monkeypatch, name, lambda loss, real, syn: 0.5 * loss(real, syn))
    half = run(SHORT, [NEW_SEED], methods=[name])
    (expected,), (got,) = usual.values(), half.values()
    assert got.means == pytest.approx(expected.means, abs=1.0)


def train_on_test_data(task, syn, settings, name, **options):
    test, short = task.bundle.test, settings.changed(nets=1, epochs=20)  # there are 36 times as many images
    images = normalise(test.images, task.bundle)
    return evaluate(task, replace(syn, images=images, labels=test.labels), short, name, **options)


def labels_off_by_one(monkeypatch):
    usual = Trainer.__init__

    def wrong(self, task, network, labels, settings, **options):
        usual(self, task, network, (labels + 1) % len(task.bundle.classes), settings, **options)

    monkeypatch.setattr(Trainer, "__init__", wrong)


def one_augmentation_a_side(monkeypatch):
    usual = Batches.real_by_size

    def unpaired(self, step, draws):
        return usual(self, step, self.draws(step + 10_000))

    monkeypatch.setattr(Batches, "real_by_size", unpaired)


def no_augmentation(monkeypatch):
    monkeypatch.setattr(Augmentation, "apply", lambda self, images, draws: images)


def one_extractor(monkeypatch):
    usual = Batches.network
    monkeypatch.setattr(Batches, "network", lambda self, step: usual(self, 0))


def no_normalisation(monkeypatch):
    for module in (bench.loops.images, bench.loops.evaluation):
        monkeypatch.setattr(module, "normalise", lambda images, bundle: images.float() / 255)


def gradient_of_one_class(monkeypatch):
    usual = torch.autograd.grad

    def first_class_only(outputs, inputs, *more, **options):
        gradients = usual(outputs, inputs, *more, **options)
        if isinstance(inputs, torch.Tensor) and inputs.dim() == 5:
            gradients[0][1:] = 0
        return gradients

    monkeypatch.setattr(torch.autograd, "grad", first_class_only)


ENGINE_SABOTAGE = {"labels off by one": labels_off_by_one, "gradient of one class": gradient_of_one_class}


@pytest.mark.parametrize("how", ENGINE_SABOTAGE)
def test_a_broken_engine_is_caught(how, monkeypatch):
    ENGINE_SABOTAGE[how](monkeypatch)
    assert verdict("dm", evaluate) == "below"


def test_training_on_test_data_is_caught():
    assert verdict("random", train_on_test_data) == "above"


NOT_SEEN = {
    "augmentation unpaired": one_augmentation_a_side,
    "no augmentation": no_augmentation,
    "extractor never renewed": one_extractor,
    "normalisation dropped": no_normalisation,
}
"""What the gate does not see, because at its small budgets the effect is smaller than the noise of one seed.

Effect on the accuracy of `dm` in points, mean of seeds 10 to 12:

| | digits, IPC 1 | FashionMNIST, IPC 1 |
| --- | --- | --- |
| augmentation unpaired | -2.5 | -3.0 |
| no augmentation | -0.6 | 0.3 |
| extractor never renewed | 0.4 | -1.3 |
| normalisation dropped | 0.6 | -0.4 |
"""


@pytest.fixture(scope="module")
def usual():
    """Return the result of a short `dm` by the code as it is."""
    (result,) = run(SHORT, [NEW_SEED], methods=["dm"]).values()
    return result


@pytest.mark.parametrize("how", NOT_SEEN)
def test_what_cannot_be_seen_has_an_effect_all_the_same(how, usual, monkeypatch):
    NOT_SEEN[how](monkeypatch)
    (broken,) = run(SHORT, [NEW_SEED], methods=["dm"]).values()
    assert broken.accuracies != usual.accuracies
