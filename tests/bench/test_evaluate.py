"""The evaluation loop against the recipe, written plainly."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from tiny import bundle, task

import bench.evaluate
from bench.errors import DistillationError
from bench.evaluate import Ensemble, Tester, Trainer, epochs_of, evaluate, learning_rate
from bench.matching import initial_images, normalise
from bench.protocol import Training
from bench.types import SyntheticSet


def small_set(given):
    return initial_images(given)


def test_training_is_the_plain_recipe():
    """E+1 epochs of SGD, batches, x 0.1 after epoch E//2+1 with a fresh optimizer; in float64, without augmentation."""
    given = task(ipc=4, eval={"epochs": 6, "batch": 5, "augment": "none", "lr": 0.05})
    settings, syn = given.spec.protocol.eval, small_set(given)
    found = Trainer(given, syn, settings).train(0, lambda epoch, begin: None)

    draw = given.streams.generator("evaluate", 0)
    parameters = [p.double().requires_grad_() for p in given.network.init(draw)]
    optimizer = torch.optim.SGD(parameters, lr=0.05, momentum=0.9, weight_decay=5e-4)
    for epoch in range(7):
        order = torch.randperm(12, generator=draw)
        for begin in range(0, 12, 5):
            index = order[begin : begin + 5]
            # The draw of an augmentation comes from the same stream, even where there is none.
            torch.rand(len(index), 3, generator=draw)
            optimizer.zero_grad()
            F.cross_entropy(given.network.logits(syn.images[index].double(), parameters), syn.labels[index]).backward()
            optimizer.step()
        if epoch == 6 // 2 + 1:
            optimizer = torch.optim.SGD(parameters, lr=0.005, momentum=0.9, weight_decay=5e-4)
    for own, theirs in zip(found, parameters, strict=True):
        torch.testing.assert_close(own.detach().double(), theirs.detach(), atol=2e-5, rtol=2e-4)


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
    whole = Trainer(given, small_set(given), given.spec.protocol.eval)
    monkeypatch.setattr(type(given.compute), "chunk", lambda self, network, total: 5)
    cut = Trainer(given, small_set(given), given.spec.protocol.eval)  # 12 = 5 + 5 + 2 and 3 of no weight
    assert (whole.chunk, cut.chunk) == (12, 5)
    for first, second in zip(whole.train(0, lambda *_: None), cut.train(0, lambda *_: None), strict=True):
        torch.testing.assert_close(first, second, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize(("augment", "schedule"), [("color_crop_cutout_flip_scale_rotate", "step"), ("none", "onecycle")])
def test_an_ensemble_is_its_networks_one_by_one(augment, schedule):
    given = task(ipc=3, eval={"nets": 3, "epochs": 4, "batch": 4, "augment": augment, "schedule": schedule})
    syn, settings = small_set(given), given.spec.protocol.eval
    together, seen = Ensemble(given, syn, settings), []
    found = together.train_all(lambda epoch, begin: seen.append((epoch, begin)))
    assert len(found) == 3
    assert seen == [(epoch, begin) for epoch in range(epochs_of(settings)) for begin in (0, 4, 8)]
    for number, parameters in enumerate(found):
        alone = Trainer(given, syn, settings).train(number, lambda *_: None)
        start = given.network.init(given.streams.generator("evaluate", number))
        for own, other, begun in zip(parameters, alone, start, strict=True):
            torch.testing.assert_close(own, other, atol=1e-5, rtol=1e-3)
            assert own.dim() == 1 or not torch.allclose(own, begun, atol=1e-4)


def test_an_ensemble_is_evaluated_as_its_networks_are(monkeypatch):
    given = task(ipc=3)
    syn, settings, said = small_set(given), given.spec.protocol.eval, []
    alone = evaluate(given, syn, settings)
    monkeypatch.setattr(Ensemble, "pays", lambda *_: True)
    monkeypatch.setattr(bench.evaluate, "_REPORT_SECONDS", -1.0)
    together = evaluate(replace(given, report=said.append), syn, settings)
    # On 60 images; the order of sums differs, so an image on the edge between two classes may change sides.
    assert together.accuracies == pytest.approx(alone.accuracies, abs=100 / 60 + 0.01)
    assert [one.done <= one.total for one in said] == [True] * (epochs_of(settings))
    assert {one.note for one in said} == {"all networks"}


def test_a_precision_of_evaluation_s_own_sizes_its_chunks(monkeypatch):
    given = task(ipc=3, eval={"precision": "bf16"})
    monkeypatch.setattr(type(given.compute), "chunk", lambda self, *_: {"fp32": 1, "bf16": 2}[self.precision])
    trainer = Trainer(given, small_set(given), given.spec.protocol.eval)
    assert (given.compute.precision, trainer.compute.precision, trainer.chunk) == ("fp32", "bf16", 2)


def test_networks_differ_and_repeat():
    given = task(ipc=3)
    syn, settings = small_set(given), given.spec.protocol.eval
    first = evaluate(given, syn, settings)
    assert first.accuracies == evaluate(given, syn, settings).accuracies
    trainer = Trainer(given, syn, settings)
    one, two = (trainer.train(number, lambda *_: None)[0] for number in (0, 1))
    assert not torch.equal(one, two)


def test_a_network_of_another_stage_is_none_of_the_evaluation_s():
    given = task(ipc=3)
    syn, settings = small_set(given), given.spec.protocol.eval
    evaluation = [Trainer(given, syn, settings).train(number, lambda *_: None)[0] for number in range(settings.nets)]
    own, again = (Trainer(given, syn, settings, stage="selection").train(0, lambda *_: None)[0] for _ in range(2))
    assert torch.equal(own, again)
    assert not any(torch.equal(own, network) for network in evaluation)


def test_more_networks_do_not_change_the_first_ones():
    given = task(ipc=3)
    syn, settings = small_set(given), given.spec.protocol.eval
    assert evaluate(given, syn, replace(settings, nets=1)).accuracies == evaluate(given, syn, settings).accuracies[:1]


def test_a_learnable_set_is_learned():
    given = task(ipc=10, eval={"epochs": 60, "nets": 1, "augment": "none"})
    (accuracy,) = evaluate(given, small_set(given), given.spec.protocol.eval).accuracies
    assert accuracy > 90


def test_the_test_set_is_touched_once_a_network(monkeypatch):
    touched = []
    accuracy = Tester.accuracy
    monkeypatch.setattr(bench.evaluate.Tester, "accuracy", lambda *given: touched.append(1) or accuracy(*given))
    given = task(ipc=2, eval={"nets": 3})
    evaluate(given, small_set(given), given.spec.protocol.eval)
    assert len(touched) == 3


def test_the_accuracy_is_the_percentage_of_right_answers():
    given = task()
    parameters = given.network.init(torch.Generator().manual_seed(0))
    data = bundle()
    scores = given.network.logits(normalise(data.test.images, data), parameters)
    expected = 100 * (scores.argmax(1) == data.test.labels).float().mean().item()
    assert Tester(data, given.network, given.compute, nets=1).accuracy(parameters) == pytest.approx(expected)
    assert expected not in (0, 100)


def test_a_network_that_diverges_is_an_error_and_not_ten_percent():
    given = task(ipc=2)
    syn = small_set(given)
    broken = SyntheticSet(torch.full_like(syn.images, float("nan")), syn.labels)
    with pytest.raises(DistillationError, match="no finite numbers"):
        evaluate(given, broken, given.spec.protocol.eval)
