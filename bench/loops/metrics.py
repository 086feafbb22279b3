"""What is measured of a tested network beside its accuracy: one function and one line each.

A metric takes the scores of all test images, `[N, classes]`, and their labels, `[N]`, and returns a number. Records have it for
each evaluation network, under its name.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

_BINS = 15


def worst_class_accuracy(scores: Tensor, labels: Tensor) -> float:
    """Return the accuracy on the class with the lowest one, in percent; classes without test images do not count."""
    correct = (scores.argmax(1) == labels).double()
    counts = torch.bincount(labels, minlength=scores.shape[1])
    hits = torch.zeros(scores.shape[1], dtype=torch.float64, device=scores.device).index_add_(0, labels, correct)
    return 100 * float((hits[counts > 0] / counts[counts > 0]).min())


def expected_calibration_error(scores: Tensor, labels: Tensor) -> float:
    """Return the mean gap between confidence and accuracy, in percentage points (Guo et al. 2017, eq. 3).

    The confidence of an image is its largest softmax probability p. Images are put into 15 bins of p of equal width, (k/15,
    (k+1)/15]; the gaps |mean p - accuracy| of the bins are averaged, each weighted by its number of images.
    """
    confidence, predicted = scores.double().softmax(1).max(1)
    bins = ((confidence * _BINS).ceil().long() - 1).clamp(0, _BINS - 1)
    gaps = torch.zeros(_BINS, dtype=torch.float64, device=scores.device)
    gaps.index_add_(0, bins, confidence - (predicted == labels).double())
    return 100 * float(gaps.abs().sum() / len(labels))


METRICS: dict[str, Callable[[Tensor, Tensor], float]] = {
    "worst_class_accuracy": worst_class_accuracy,
    "expected_calibration_error": expected_calibration_error,
}
"""The metrics by name, as records name them."""
