"""What tables and figures call a metric, and its unit. Records name the metrics; see `bench.loops.metrics`."""

from __future__ import annotations

ACCURACY = "accuracy"
"""The metric of Table 2, which every record has."""

UNITS = {ACCURACY: "percent", "worst_class_accuracy": "percent", "expected_calibration_error": "percentage points"}
"""The unit of each metric that has one."""

_SIGNS = {"percent": "%", "percentage points": "%"}


def metric_name(metric: str) -> str:
    """Return what a metric is called in words: `worst class accuracy`."""
    return metric.replace("_", " ")


def metric_label(metric: str = ACCURACY) -> str:
    """Return a metric with its unit, for a caption: `accuracy in percent`."""
    unit = UNITS.get(metric)
    return f"{metric_name(metric)} in {unit}" if unit else metric_name(metric)


def axis_label(metric: str = ACCURACY) -> str:
    """Return a metric with the sign of its unit, for an axis: `accuracy (%)`."""
    sign = _SIGNS.get(UNITS.get(metric, ""))
    return f"{metric_name(metric)} ({sign})" if sign else metric_name(metric)
