"""The evaluation: what networks trained on a set get right of the test set, by every network of the registry."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from tiny import bundle, task

import bench.loops.evaluation
import bench.machine.compute
from bench.cells.task import Task
from bench.errors import DistillationError
from bench.loops.evaluation import Tester, evaluate
from bench.loops.images import initial_images, normalise
from bench.loops.training import Ensemble, Trainer, epochs_of
from bench.networks.names import NETWORKS
from bench.records.record import Evaluation
from bench.types import SyntheticSet


def evaluation_of(given: Task, network: str = "convnet", **changes) -> Evaluation:
    """Return the evaluation of the start of the images; keyword arguments change its settings."""
    settings = given.spec.protocol.eval
    assert settings is not None
    return evaluate(given, initial_images(given), settings.changed(**changes), network)


def test_an_ensemble_is_evaluated_as_its_networks_are(monkeypatch):
    given, reports = task(ipc=3), []
    alone = evaluation_of(given)
    monkeypatch.setattr(Ensemble, "pays", lambda *_: True)
    monkeypatch.setattr(bench.loops.evaluation, "_REPORT_SECONDS", -1.0)
    together = evaluation_of(replace(given, report=reports.append))
    # On 60 images; the order of sums differs, so an image on the edge between two classes may change sides.
    assert together.accuracies == pytest.approx(alone.accuracies, abs=100 / 60 + 0.01)
    assert [report.done <= report.total for report in reports] == [True] * epochs_of(given.spec.protocol.eval)
    assert {report.note for report in reports} == {"ConvNet-2, all networks"}


def test_progress_counts_through_the_networks(monkeypatch):
    reports = []
    monkeypatch.setattr(bench.loops.evaluation, "_REPORT_SECONDS", -1.0)
    given = replace(task(ipc=3), report=reports.append)
    evaluation_of(given)
    epochs = epochs_of(given.spec.protocol.eval)
    assert [(report.done, report.total) for report in reports] == [(9 * epoch, 9 * 2 * epochs) for epoch in range(2 * epochs)]
    assert {report.note for report in reports} == {"ConvNet-2, network 1 of 2", "ConvNet-2, network 2 of 2"}


def test_accuracies_repeat():
    assert evaluation_of(task(ipc=3)).accuracies == evaluation_of(task(ipc=3)).accuracies


def test_more_networks_do_not_change_the_first_ones():
    given = task(ipc=3)
    assert evaluation_of(given, nets=1).accuracies == evaluation_of(given).accuracies[:1]


def test_a_learnable_set_is_learned():
    (accuracy,) = evaluation_of(task(ipc=10), epochs=60, nets=1, augment="none").accuracies
    assert accuracy > 90


def test_the_test_set_is_touched_once_a_network(monkeypatch):
    touched = []
    accuracy = Tester.accuracy
    monkeypatch.setattr(bench.loops.evaluation.Tester, "accuracy", lambda *arguments: touched.append(1) or accuracy(*arguments))
    evaluation_of(task(), nets=3)
    assert len(touched) == 3


def test_the_accuracy_is_the_percentage_of_right_answers():
    given, data = task(), bundle()
    network = given.network("convnet")
    weights = network.init(torch.Generator().manual_seed(0))
    scores = network.logits(normalise(data.test.images, data), weights.all)
    expected = 100 * (scores.argmax(1) == data.test.labels).float().mean().item()
    assert Tester(data, network, given.compute, nets=1).accuracy(weights) == pytest.approx(expected)
    assert expected not in (0, 100)


def test_a_network_that_diverges_is_an_error_and_not_ten_percent():
    given = task(ipc=2)
    syn = initial_images(given)
    broken = SyntheticSet(torch.full_like(syn.images, float("nan")), syn.labels)
    with pytest.raises(DistillationError, match="no finite numbers"):
        evaluate(given, broken, given.spec.protocol.eval, "convnet")


# ---- other networks ----


@pytest.mark.parametrize("name", NETWORKS)
def test_every_network_evaluates(name):
    evaluation = evaluation_of(task(ipc=2), name, nets=1, epochs=1)
    assert evaluation.network == name
    (accuracy,) = evaluation.accuracies
    assert 0 <= accuracy <= 100
    assert evaluation.seconds > 0
    assert evaluation.facts.label.startswith(NETWORKS[name].label.partition("-{")[0])
    assert evaluation.facts.resized_to == (None if name == "convnet" else 28)  # the images have 8 pixels


def test_a_variant_is_another_network():
    given = task(ipc=3)
    usual, wide = evaluation_of(given), evaluation_of(given, "convnet-w16")
    assert (usual.facts.width, wide.facts.width) == (8, 16)
    assert usual.facts.features * 2 == wide.facts.features
    assert usual.facts.depth == wide.facts.depth == 2


def test_batch_norm_is_tested_with_its_running_statistics():
    given, data = task(ipc=4, eval={"epochs": 5}), bundle()
    network, syn = given.network("convnet-bn"), initial_images(given)
    weights = Trainer(given, network, syn.labels, given.spec.protocol.eval).train(syn.images, 0, lambda epoch, begin: None)
    means, variances = weights.buffers[0], weights.buffers[1]
    assert bool((means != 0).any())
    assert bool((variances != 1).any())

    tester = Tester(data, network, given.compute, nets=1)
    accuracy, before = tester.accuracy(weights), [buffer.clone() for buffer in weights.buffers]
    assert all(torch.equal(*pair) for pair in zip(weights.buffers, before, strict=True))
    # One image at a time: a network that normalised by the statistics of what it is given would answer otherwise.
    images = normalise(data.test.images, data)
    answers = torch.cat([network.logits(image[None], weights.all).argmax(1) for image in images])
    assert accuracy == pytest.approx(100 * (answers == data.test.labels).double().mean().item())
    of_the_batch = network.logits(images, [tensor.clone() for tensor in weights.all], training=True)
    assert not torch.allclose(of_the_batch, network.logits(images, weights.all), atol=1e-2)


def test_batch_norm_is_tested_in_chunks(monkeypatch):
    given, data = task(), bundle()
    network = given.network("convnet-bn")
    monkeypatch.setitem(bench.machine.compute._CHUNK_BYTES, "cpu", 4 * network.first_map * 7)
    tester, sizes = Tester(data, network, given.compute, nets=1), []
    kernel = tester.kernel
    tester.kernel = lambda images, *tensors: sizes.append(len(images)) or kernel(images, *tensors)
    accuracy = tester.accuracy(network.init(torch.Generator().manual_seed(0)))
    assert sizes == [6] * 10  # 60 images; a whole test set of maps would not fit in memory
    assert 0 <= accuracy <= 100
