"""The metrics of a tested network against double loops, and by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from bench.loops.metrics import METRICS, expected_calibration_error, worst_class_accuracy


def slow_worst_class_accuracy(scores: np.ndarray, labels: np.ndarray) -> float:
    worst = math.inf
    for label in range(scores.shape[1]):
        right = count = 0
        for row, own in zip(scores, labels, strict=True):
            if own == label:
                count += 1
                right += int(row.argmax() == label)
        if count:
            worst = min(worst, 100 * right / count)
    return worst


def slow_calibration_error(scores: np.ndarray, labels: np.ndarray) -> float:
    gaps = 0.0
    for k in range(15):
        confidences, hits = [], []
        for row, label in zip(scores, labels, strict=True):
            exponentials = np.exp(row - row.max())
            confidence = float(exponentials.max() / exponentials.sum())
            if k / 15 < confidence <= (k + 1) / 15:
                confidences.append(confidence)
                hits.append(float(row.argmax() == label))
        if hits:
            gaps += len(hits) * abs(np.mean(confidences) - np.mean(hits))
    return 100 * gaps / len(labels)


@pytest.mark.parametrize("scale", [0.1, 1.0, 10.0])
@pytest.mark.parametrize("classes", [2, 10, 100])
def test_metrics_are_those_of_a_double_loop(classes, scale):
    generator = torch.Generator().manual_seed(classes)
    scores = scale * torch.randn(300, classes, generator=generator)
    # Half of the labels are the answers, so that confidence and accuracy have to do with each other; the last class is missing.
    labels = torch.where(torch.rand(300, generator=generator) < 0.5, scores.argmax(1), torch.arange(300)) % (classes - 1)
    exact, answers = scores.double().numpy(), labels.numpy()
    assert worst_class_accuracy(scores, labels) == pytest.approx(slow_worst_class_accuracy(exact, answers))
    assert expected_calibration_error(scores, labels) == pytest.approx(slow_calibration_error(exact, answers), abs=1e-4)


def test_metrics_of_four_images_by_hand():
    # Confidences 0.9, 0.9, 0.6 and 0.7; the second and the third are wrong.
    probabilities = torch.tensor([[0.9, 0.1], [0.9, 0.1], [0.4, 0.6], [0.3, 0.7]])
    labels = torch.tensor([0, 1, 0, 1])
    scores = probabilities.log()
    assert worst_class_accuracy(scores, labels) == pytest.approx(50)
    assert worst_class_accuracy(scores, torch.tensor([0, 0, 0, 1])) == pytest.approx(200 / 3)
    # 0.9 is in the bin (13/15, 14/15], half right; 0.6 in (8/15, 9/15], wrong; 0.7 in (10/15, 11/15], right.
    assert expected_calibration_error(scores, labels) == pytest.approx(100 * (2 * 0.4 + 0.6 + 0.3) / 4, abs=1e-4)


def test_a_confidence_at_the_edge_of_a_bin_belongs_to_the_lower_one():
    # 1/3 is in (4/15, 5/15], and what is a little above in (5/15, 6/15]: in one bin the two gaps would cancel.
    scores, labels = torch.tensor([[0.0, 0.0, 0.0], [0.01, 0.0, 0.0]]), torch.tensor([0, 1])
    above = float(scores[1].double().softmax(0).max())
    assert expected_calibration_error(scores, labels) == pytest.approx(100 * ((1 - 1 / 3) + above) / 2)


def test_a_network_that_is_always_right_and_certain_is_calibrated():
    labels = torch.arange(10).repeat(3)
    scores = 1000 * torch.nn.functional.one_hot(labels, 10).float()
    assert {name: metric(scores, labels) for name, metric in METRICS.items()} == {
        "worst_class_accuracy": 100.0,
        "expected_calibration_error": 0.0,
    }


@pytest.mark.parametrize("name", METRICS)
def test_every_metric_is_a_percentage_that_follows_from_the_pairs_of_scores_and_labels_alone(name):
    scores, labels = torch.randn(20, 4, generator=torch.Generator().manual_seed(0)), torch.arange(20) % 4
    given = scores.clone()
    value = METRICS[name](scores, labels)
    assert isinstance(value, float)
    assert 0 <= value <= 100
    assert torch.equal(scores, given)
    assert METRICS[name](scores.flip(0), labels.flip(0)) == pytest.approx(value)
