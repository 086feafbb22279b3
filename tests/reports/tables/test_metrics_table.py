"""The table of metrics beside the accuracy, against numbers worked out by hand."""

from __future__ import annotations

import math

import pytest
from made_records import evaluation, record

from bench.loops.metrics import METRICS
from reports.frames.metrics import axis_label, metric_label, metric_name
from reports.frames.results import Results
from reports.statistics.metrics import metrics_frame
from reports.tables.metrics import metrics_table


def measured(method, worst, *, seed=0, ipc=1, network="convnet"):
    """Return a record whose networks have these accuracies of the worst class."""
    made = evaluation(network, tuple(value + 10 for value in worst)).model_copy(
        update={"metrics": {"worst_class_accuracy": worst}}
    )
    return record(method, seed=seed, ipc=ipc, evaluations=(made,))


def test_means_and_spreads_over_seeds_and_networks():
    results = Results.of([measured("dm", (40.0, 42.0)), measured("dm", (50.0, 54.0), seed=1)])
    rows = {row["metric"]: row for row in metrics_frame(results).to_dict("records")}
    assert list(rows) == ["accuracy", "worst_class_accuracy"]
    row = rows["worst_class_accuracy"]
    assert (row["mean"], row["seeds"], row["networks"]) == (46.5, 2, 4)  # of the seeds' means 41 and 52
    assert row["std_seeds"] == row["plus_minus"] == pytest.approx(11 / math.sqrt(2))
    assert row["std_networks"] == pytest.approx(math.sqrt((2 + 8) / 2))
    assert rows["accuracy"]["mean"] == 56.5


def test_records_of_before_there_were_metrics_have_the_accuracy_alone():
    results = Results.of([measured("dm", (40.0, 42.0)), record("kr", accuracies=(70.0, 71.0))])
    table = metrics_table(results)
    assert table.heads == ("accuracy in percent", "worst class accuracy in percent")
    values = {row.column.method: [cell.value for cell in row.cells] for row in table.rows}
    assert values == {"dm": [51.0, 41.0], "kr": [70.5, None]}
    assert metrics_table(Results.of([record("kr")])) is None


def test_the_metrics_of_the_whole_training_set_are_in_the_row_of_each_ipc():
    whole = measured("whole", (60.0,), ipc=None)
    table = metrics_table(Results.of([measured("dm", (40.0,)), measured("dm", (41.0,), ipc=10), whole]))
    assert [(row.ipc, row.column.method) for row in table.rows] == [("1", "dm"), ("1", "whole"), ("10", "dm"), ("10", "whole")]


def test_only_the_networks_of_the_main_evaluation_count():
    first = measured("dm", (40.0, 42.0))
    mlp = measured("dm", (1.0, 2.0), network="mlp").evaluations
    both = first.model_copy(update={"evaluations": (*mlp, *first.evaluations)})
    assert list(metrics_frame(Results.of([both]))["mean"]) == [51.0, 41.0]


def test_a_metric_has_its_unit_and_one_without_a_unit_its_name():
    assert (metric_label(), axis_label()) == ("accuracy in percent", "accuracy (%)")
    for metric in METRICS:
        assert metric_label(metric).startswith(metric_name(metric))
    assert metric_label("made_up") == axis_label("made_up") == "made up"
