"""The evaluation: what networks trained on a set get right of the test set, by every network of the registry."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from tiny import bundle, task

import bench.loops.evaluation
from bench.cells.task import Task
from bench.errors import DistillationError
from bench.loops.evaluation import Tester, evaluate
from bench.loops.images import initial_images, normalise
from bench.loops.metrics import METRICS
from bench.loops.training import Ensemble, Trainer, epochs_of
from bench.networks.names import NETWORKS
from bench.records.sections import Evaluation
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
    monkeypatch.setattr(bench.loops.evaluation, "REPORT_SECONDS", -1.0)
    together = evaluation_of(replace(given, report=reports.append))
    # On 60 images; the order of sums differs, so an image on the edge between two classes may change sides.
    assert together.accuracies == pytest.approx(alone.accuracies, abs=100 / 60 + 0.01)
    assert [report.done <= report.total for report in reports] == [True] * epochs_of(given.spec.protocol.eval)
    assert {report.note for report in reports} == {"ConvNet-2, all networks"}


def test_progress_counts_through_the_networks(monkeypatch):
    reports = []
    monkeypatch.setattr(bench.loops.evaluation, "REPORT_SECONDS", -1.0)
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
    test = Tester.test
    monkeypatch.setattr(Tester, "test", lambda *arguments: touched.append(1) or test(*arguments))
    evaluation_of(task(), nets=3)
    assert len(touched) == 3


def test_the_accuracy_is_the_percentage_of_right_answers():
    given, data = task(), bundle()
    network = given.network("convnet")
    weights = network.init(torch.Generator().manual_seed(0))
    scores = network.logits(normalise(data.test.images, data), weights.all)
    expected = 100 * (scores.argmax(1) == data.test.labels).float().mean().item()
    assert Tester(data, network, given.compute, nets=1).test(weights)["accuracy"] == pytest.approx(expected)
    assert expected not in (0, 100)


def test_an_evaluation_has_every_metric_of_each_network():
    given, data = task(ipc=3), bundle()
    evaluation, syn = evaluation_of(given), initial_images(given)
    assert list(evaluation.values) == ["accuracy", *METRICS]
    assert evaluation.values["accuracy"] == evaluation.accuracies
    trainer = Trainer(given, given.network("convnet"), syn.labels, given.spec.protocol.eval)
    for number in range(2):
        weights = trainer.train(syn.images, number, lambda epoch, begin: None)
        with torch.no_grad():
            scores = given.network("convnet").logits(normalise(data.test.images, data), weights.all)
        for name, metric in METRICS.items():
            assert evaluation.metrics[name][number] == pytest.approx(metric(scores, data.test.labels), abs=1e-4)
    assert all(len(values) == 2 for values in evaluation.values.values())


def test_an_evaluation_that_goes_on_has_all_metrics_of_all_networks():
    given, states = task(ipc=3, eval={"nets": 3}), []
    syn, settings = initial_images(given), given.spec.protocol.eval
    whole = evaluate(given, syn, settings, "convnet", on_network_done=states.append)
    assert [len(state.accuracies) for state in states] == [1, 2, 3]
    rest = []
    again = evaluate(given, syn, settings, "convnet", earlier=states[0], on_network_done=rest.append)
    assert again.values == whole.values
    assert {len(values) for values in again.values.values()} == {3}
    assert len(rest) == 2  # the first network is not trained again


def test_an_evaluation_of_an_older_record_has_its_accuracy_alone():
    content = evaluation_of(task(ipc=2), nets=1, epochs=1).model_dump(mode="json")
    del content["metrics"]
    older = Evaluation.model_validate(content)
    assert older.values == {"accuracy": older.accuracies}


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
    accuracy, before = tester.test(weights)["accuracy"], [buffer.clone() for buffer in weights.buffers]
    assert all(torch.equal(*pair) for pair in zip(weights.buffers, before, strict=True))
    # One image at a time: a network that normalised by the statistics of what it is given would answer otherwise.
    images = normalise(data.test.images, data)
    answers = torch.cat([network.logits(image[None], weights.all).argmax(1) for image in images])
    assert accuracy == pytest.approx(100 * (answers == data.test.labels).double().mean().item())
    of_the_batch = network.logits(images, [tensor.clone() for tensor in weights.all], training=True)
    assert not torch.allclose(of_the_batch, network.logits(images, weights.all), atol=1e-2)


def test_batch_norm_is_tested_in_chunks():
    given, data = task(), bundle()
    network = given.network("convnet-bn")
    compute = replace(given.compute, chunk_bytes=4 * network.first_map * 7)
    tester, sizes = Tester(data, network, compute, nets=1), []
    kernel = tester.kernel
    tester.kernel = lambda images, *tensors: sizes.append(len(images)) or kernel(images, *tensors)
    accuracy = tester.test(network.init(torch.Generator().manual_seed(0)))["accuracy"]
    assert sizes == [6] * 10  # 60 images; a whole test set of maps would not fit in memory
    assert 0 <= accuracy <= 100
