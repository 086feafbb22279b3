"""DD-Ranking's scores, against numbers worked out by hand from the published formulas."""

from __future__ import annotations

import pandas as pd
import pytest
from made_records import evaluation, record, with_protocol

from reports.frames.results import Results
from reports.statistics.dd_ranking import dd_ranking_frame, normalised
from reports.tables.dd_ranking import dd_ranking_table

WHOLE = record("whole", ipc=None, accuracies=(91.0,))


def without_augmentation(made):
    return with_protocol(made, eval={"augment": "none"})


def random(*accuracies, seed=0):
    return record("random", iterations=0, seed=seed, accuracies=accuracies)


def rows(*records):
    frame = dd_ranking_frame(Results.of(records))
    return {(row["method"], row["variant"]): row for row in frame.to_dict("records")}


def test_the_normalisation_takes_minus_one_to_nothing_and_one_to_all():
    assert normalised(-1.0) == 0.0
    assert normalised(1.0) == 100.0
    assert normalised(0.0) == pytest.approx(26.894142, abs=1e-6)  # (1 - e^-1) / (e - e^-1)


def test_the_label_robust_score():
    row = rows(record(accuracies=(70.0, 72.0)), random(60.0, 62.0), WHOLE)["dm", ""]
    assert (row["hlr"], row["ior"]) == (20.0, 10.0)
    # (10 - 20) / 200 = -.05; exp(-.05) = .9512294, exp(-1) = .3678794, exp(1) = 2.7182818: .5833500 / 2.3504024
    assert row["lrs"] == pytest.approx(24.819154, abs=1e-6)
    assert row["lrs_seeds"] == 1
    assert pd.isna(row["lrs_std"])
    assert pd.isna(row["ars"])


def test_the_augmentation_robust_score():
    bare = without_augmentation(record(accuracies=(65.0,))), without_augmentation(random(50.0))
    made = rows(record(accuracies=(71.0,)), random(61.0), *bare)
    (row,) = made.values()  # the cell without augmentation has no twin, and without the whole set no score
    assert (row["gain_with"], row["gain_without"]) == (10.0, 15.0)
    assert row["ars"] == pytest.approx(32.559064, abs=1e-6)  # 25 / 200 = .125; exp(.125) = 1.1331485: .7652690 / 2.3504024
    assert row["variant"].startswith("eval.augment=color")
    assert pd.isna(row["lrs"])


def test_a_cell_that_another_network_evaluated_is_no_twin():
    by_mlp = [
        without_augmentation(made.model_copy(update={"evaluations": (evaluation("mlp", (50.0,)),)}))
        for made in (record(), random(61.0))
    ]
    assert not rows(record(), random(61.0), *by_mlp)


def test_scores_are_made_seed_by_seed_of_the_seeds_that_have_all_parts():
    records = [record(seed=seed, accuracies=(value,)) for seed, value in ((0, 71.0), (1, 81.0), (2, 99.0))]
    row = rows(*records, random(61.0, seed=0), random(61.0, seed=1), WHOLE)["dm", ""]
    scores = normalised(-0.05), normalised(0.05)  # (10 - 20) / 200 and (20 - 10) / 200
    assert row["lrs_seeds"] == 2
    assert row["lrs"] == pytest.approx(sum(scores) / 2)
    assert row["lrs_std"] == pytest.approx(abs(scores[0] - scores[1]) / 2**0.5)
    assert (row["ior"], row["hlr"]) == (15.0, 15.0)


OTHERS = {
    "random images under another evaluation": [with_protocol(random(61.0), eval={"epochs": 7}), WHOLE],
    "random images of another seed": [random(61.0, seed=1), WHOLE],
    "random images of another IPC": [record("random", ipc=10, iterations=0), WHOLE],
    "another split": [random(61.0), with_protocol(WHOLE, data={"split": "validation"})],
    "another network": [random(61.0), record("whole", ipc=None, evaluations=(evaluation("mlp", (91.0,)),))],
    "no whole training set": [random(61.0)],
    "nothing": [],
}


@pytest.mark.parametrize("others", OTHERS.values(), ids=OTHERS)
def test_without_what_it_is_made_of_there_is_no_score_and_no_table(others):
    results = Results.of([record(), *others])
    assert dd_ranking_frame(results).empty
    assert dd_ranking_table(results) is None


def test_more_networks_or_another_precision_are_the_same_evaluation():
    other = with_protocol(random(61.0), eval={"nets": 20, "precision": "bf16"})
    assert ("dm", "") in rows(record(), other, WHOLE)


def test_selections_are_no_distilled_sets_and_labels_have_to_be_hard():
    soft, hard = (
        record(name).model_copy(update={"details": {"labels": labels}})
        for name, labels in (("set:theirs", "soft"), ("set:ours", "hard"))
    )
    learned = record("emd").model_copy(update={"details": {"labels": "soft"}})
    assert not rows(record("herding"), soft, learned, random(61.0), WHOLE)
    assert set(rows(hard, soft, random(61.0), WHOLE)) == {("set:ours", "")}
    assert set(rows(record("dm"), random(61.0), WHOLE)) == {("dm", "")}  # an old record, which does not say it


def test_of_several_ways_to_train_on_the_whole_set_the_best_counts():
    worse = with_protocol(record("whole", ipc=None, accuracies=(80.0,)), whole={"epochs": 3})
    for ways in ((worse, WHOLE), (WHOLE, worse)):
        assert rows(record(accuracies=(71.0,)), random(61.0), *ways)["dm", ""]["hlr"] == 20.0


def test_the_table_states_the_formula_the_source_and_what_records_cannot_say():
    text = dd_ranking_table(Results.of([record(accuracies=(71.0,)), random(61.0), WHOLE])).render("md")
    assert "| fashionmnist | 1 | DM | 20.0 | 10.0 | 24.8 |  |  |  |" in text
    for piece in ("arXiv 2505.13300", "LRS = (exp(a) − exp(−1)) / (exp(1) − exp(−1))", "sets with soft labels are left out"):
        assert piece in text
