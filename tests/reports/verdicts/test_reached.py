"""The table of time to the published accuracy, from checkpoints made by hand; the published values are the paper's."""

from __future__ import annotations

import pandas as pd
import pytest
from made_records import evaluation, record, with_checkpoints, with_protocol

from reports.frames.published import published
from reports.frames.results import Results
from reports.statistics.curves import curves
from reports.tables.reached import reached_table
from reports.verdicts.reached import reached_frame

DM = published()["fashionmnist", 1, "dm"].value  # 70.7


def rows(*records):
    frame = reached_frame(Results.of(records))
    return {row["method"]: row for row in frame.to_dict("records")}


def curve(method, *accuracies, seed=0, dataset="fashionmnist"):
    """Return a record with checkpoints after 1, 2, ... iterations, a tenth of a second each, and an end after 10."""
    *way, end = accuracies
    made = record(method, seed=seed, dataset=dataset, accuracies=(end,))
    return with_checkpoints(made, {number: (accuracy,) for number, accuracy in enumerate(way, start=1)})


def test_it_is_the_first_checkpoint_at_the_value_and_within_a_point_of_it():
    row = rows(curve("dm", DM - 5, DM - 1, DM - 0.1, DM + 1, DM + 2))["dm"]
    assert row["published"] == DM
    assert abs(row["within_s"] - 0.2) < 1e-9
    assert abs(row["reached_s"] - 0.4) < 1e-9
    assert row["best"] == DM + 2


def test_the_end_counts_and_what_is_not_reached_is_missing():
    row = rows(curve("dm", 50.0, 60.0, DM + 0.1))["dm"]
    assert row["reached_s"] == row["distilling_s"] == 3.0
    row = rows(curve("dm", 50.0, 60.0, 65.0))["dm"]
    assert pd.isna(row["reached_s"])
    assert pd.isna(row["within_s"])
    assert "not reached" in reached_table(Results.of([curve("dm", 50.0, 65.0)])).render("md")


def test_seeds_are_averaged_before_the_value_is_looked_for():
    records = [curve("dm", DM + 2, DM + 2, seed=0), curve("dm", DM - 4, DM + 2, seed=1)]
    assert rows(*records)["dm"]["reached_s"] == 3.0


def test_a_loss_that_nobody_published_is_compared_with_dm():
    both = rows(curve("emd", DM, DM), curve("kr", DM, DM))
    assert both["emd"]["published"] == DM
    assert both["kr"]["published"] == published()["fashionmnist", 1, "kr"].value != DM


def test_seconds_an_iteration_and_real_images_stand_beside_it():
    row = rows(curve("dm", DM, DM, seed=0), curve("dm", DM, DM, seed=1))["dm"]
    assert (row["seconds_per_iteration"], row["real_batch"]) == (0.3, 64)


def test_without_checkpoints_or_a_published_value_there_is_no_table():
    assert reached_table(Results.of([record("dm")])) is None
    assert reached_table(Results.of([curve("dm", 90.0, 91.0, dataset="own")])) is None


def table(*records):
    return reached_table(Results.of(records)).render("md")


@pytest.mark.parametrize(
    ("method", "sections", "reason"),
    [
        ("dm", {"data": {"split": "validation"}}, "data.split=validation, published test"),
        ("dm", {"match": {"augment": "none"}}, "match.augment=none, published DSA"),
        ("emd", {"match": {"augment": "none"}}, "match.augment=none, published DSA"),  # compared with DM, which has that loop
    ],
)
def test_a_cell_of_another_protocol_does_not_reach_a_published_value(method, sections, reason):
    made = with_protocol(curve(method, DM + 1, DM + 1), **sections)
    row = rows(made)[method]
    assert (row["comparable"], row["note"]) == (False, reason)
    assert pd.isna(row["reached_s"])
    assert pd.isna(row["within_s"])
    text = table(made)
    assert "| 70.7 [1] | not comparable | not comparable |" in text
    assert f"[1] {reason}." in text


def test_another_evaluation_network_and_setting_of_the_method_do_not_either():
    mlp = evaluation("mlp", (DM + 1,))
    by_mlp = curve("dm", DM + 1, DM + 1)
    way = tuple(at.model_copy(update={"evaluations": (mlp,)}) for at in by_mlp.checkpoints)
    by_mlp = by_mlp.model_copy(update={"evaluations": (mlp,), "checkpoints": way})
    assert rows(by_mlp)["dm"]["note"] == "eval.network=mlp, published convnet"
    hidden = with_checkpoints(record("kr", settings={"hidden": 64}, accuracies=(99.0,)), {1: (99.0,)})
    assert rows(hidden)["kr"]["note"] == "kr.hidden=64, not 128"


def test_a_misprint_and_a_doubt_are_said():
    made = with_checkpoints(record("dc", dataset="cifar100", ipc=50, accuracies=(99.0,)), {1: (99.0,)})
    row = rows(made)["dc"]
    assert not row["comparable"]
    assert "misprint" in row["note"]
    (dataset, ipc, method), value = next((place, value) for place, value in published().items() if value.doubt)
    doubted = with_checkpoints(record(method, dataset=dataset, ipc=ipc, accuracies=(99.0,)), {1: (99.0,)})
    row = rows(doubted)[method]
    assert row["comparable"]
    assert row["note"] == f"published value: {value.doubt}"


def test_a_point_of_a_curve_has_all_seeds():
    first = with_checkpoints(record("dm", seed=0, accuracies=(60.0,)), {1: (DM + 5,), 4: (DM - 9,)})
    second = with_checkpoints(record("dm", seed=1, accuracies=(62.0,)), {4: (DM - 9,), 7: (DM + 5,)})
    assert pd.isna(rows(first, second)["dm"]["reached_s"])  # one seed alone is above it, at iterations of its own
    frame = curves(Results.of([first, second]))
    assert list(frame.loc[frame["quantity"] == "accuracy", "iteration"]) == [4, 10]
    assert set(frame["seeds"]) == {2}
