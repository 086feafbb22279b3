"""Statistics, variants and captions, on records made by hand."""

from __future__ import annotations

import math
from statistics import mean, stdev

import pytest
from made_records import evaluation, record, with_checkpoints, with_protocol, with_spec

from bench.cells.protocol import Match
from reports.frames.names import Column, Names
from reports.frames.profiles import profile_label, profiles_label
from reports.frames.published import published
from reports.frames.results import Results
from reports.frames.variants import flat_settings, main_variants, variants
from reports.statistics.variance import statistics
from reports.tables.captions import caption
from reports.tables.table2 import table2_frame, table2_table
from reports.tables.timing import timing_frame, timing_table
from reports.verdicts.cells import table2_cells


def table2_markdown(records):
    return table2_table(Results.of(records)).render("md")


def table2_tex(records):
    return table2_table(Results.of(records)).render("tex")


def timing_markdown(records):
    return timing_table(Results.of(records)).render("md")


def columns(records):
    """Return the columns of tables of one network, as `method` or `method (variant)`."""
    texts = main_variants(records)
    pairs = ((made.spec.method, texts[made.hash]) for made in records)
    return {f"{method} ({text})" if text else method for method, text in pairs}


def test_spreads_are_kept_apart():
    records = [record(seed=0, accuracies=(70.0, 72.0, 71.0)), record(seed=1, accuracies=(80.0, 82.0, 84.0))]
    numbers = statistics(Results.of(records).main)
    values = [70.0, 72.0, 71.0, 80.0, 82.0, 84.0]
    assert numbers.mean == pytest.approx(mean(values))
    assert numbers.spread == numbers.std_seeds
    assert numbers.std_seeds == pytest.approx(stdev([71.0, 82.0]))
    assert numbers.std_networks == pytest.approx(((1.0 + 4.0) / 2) ** 0.5)
    assert (numbers.seeds, numbers.networks) == (2, 6)
    alone = statistics(Results.of(records[:1]).main)
    assert alone.spread == pytest.approx(stdev([70.0, 72.0, 71.0]))
    assert math.isnan(statistics(Results.of([record(accuracies=(91.0,))]).main).spread)


def test_records_of_different_settings_are_never_averaged():
    records = [record(iterations=10), record(iterations=20), record("kr"), record("kr", settings={"hidden": 64})]
    names = columns(records)
    assert names == {"dm (match.iterations=10)", "dm (match.iterations=20)", "kr", "kr (kr.hidden=64)"}
    assert len([cell for cell in table2_cells(Results.of(records)) if cell.measured]) == 4


def test_seeds_of_one_setting_share_a_column():
    assert columns([record(seed=0), record(seed=1)]) == {"dm"}


def test_the_whole_set_stands_at_every_ipc():
    frame = Results.of([record(ipc=1), record(ipc=10), record("whole", ipc=None, accuracies=(91.0,))]).main
    assert sorted(frame[frame["method"] == "whole"]["ipc"]) == [1, 10]


def test_published_values_stand_beside_the_measured():
    text = table2_markdown([record(), record("kr"), record("random"), record("emd")])
    assert "| FashionMNIST" not in text  # the label is the record's
    assert "| **70.5 ± 0.7** (70.7 ± 0.6) ✓" in text  # all are the best
    assert "| **70.5 ± 0.7** (72.2 ± 0.6)" in text
    assert "| **70.5 ± 0.7** |" in text  # emd has no published value
    assert r"\textit{70.7$_{\pm 0.6}$}" in table2_tex([record()])


def test_columns_stand_in_the_papers_order():
    text = table2_markdown([record("whole", ipc=None), record("kr"), record("zebra"), record("dm"), record("random")])
    assert "| RANDOM | DC | DSA | CAFE | DM | KR | ZEBRA | WHOLE |" in text


def test_the_caption_says_what_a_number_is():
    text = caption(Results.of([record(seed=0), record(seed=3)]))
    for word in ("cpu", "seeds 0, 3", "2 evaluation networks", "a processor", "± is the sample standard deviation"):
        assert word in text


def test_the_published_table_is_complete():
    cells = published()
    for dataset in ("mnist", "fashionmnist", "svhn", "cifar10", "cifar100"):
        for ipc in (1, 10, 50):
            for method in ("random", "dc", "dsa", "cafe", "dm", "kr", "whole"):
                assert 0 < cells[dataset, ipc, method].value < 100
    assert cells["fashionmnist", 1, "kr"].value == 72.2
    assert [key for key, cell in cells.items() if cell.misprint] == [("cifar100", 50, "dc")]
    assert cells["cifar100", 50, "dc"].note
    assert sum(cell.source == "Table 2" for cell in cells.values()) == 105


def test_a_precision_counts_where_it_is_not_the_runs():
    """Two runs of different precision differ in that alone, though their protocols say the precision of each part."""
    names = columns([record("kr", precision="fp32"), record("kr", precision="bf16")])
    assert names == {"kr (precision=fp32)", "kr (precision=bf16)"}
    apart = with_protocol(record(precision="bf16"), eval={"precision": "fp32"})
    assert columns([record(precision="bf16"), apart]) == {
        "dm (eval.precision=bf16)",
        "dm (eval.precision=fp32)",
    }
    assert flat_settings(record("random", precision="bf16").spec)["precision"] == "bf16"  # of the evaluation
    assert profile_label(record(iterations=150).spec) == "cpu"
    assert profile_label(with_protocol(record(iterations=3, precision="bf16"), eval={"precision": "fp32"}).spec) == (
        "cpu with match.iterations=3 eval.precision=fp32"
    )


def test_another_evaluation_network_is_no_other_variant():
    other = with_protocol(record(seed=1), eval={"networks": ("convnet", "mlp")})
    assert columns([record(), other]) == {"dm"}
    assert set(variants([record(), other]).values()) == {""}
    assert profile_label(with_protocol(record(iterations=150), eval={"networks": ("mlp",)}).spec) == "cpu"


SEVERAL = (evaluation("mlp", (50.0, 52.0), seconds=7.0), evaluation("convnet", (70.0, 71.0), seconds=2.0))


def test_tables_of_one_network_take_the_convnet():
    several = record(evaluations=SEVERAL)
    assert list(Results.of([several]).main["accuracy"]) == [70.0, 71.0]
    (cell,) = timing_frame(Results.of([several])).to_dict("records")
    assert (cell["accuracy"], cell["evaluation_s"], cell["total_s"]) == (70.5, 2.0, 5.0)  # as of a cell without the MLP
    assert table2_markdown([several]) == table2_markdown([record()])
    assert timing_markdown([several]) == timing_markdown([record()])


def test_the_heading_names_another_network():
    by_mlp = record(evaluations=(evaluation("mlp", (50.0, 52.0)), evaluation("lenet", (40.0, 42.0))))
    text = table2_markdown([by_mlp])
    assert text.startswith("# Table 2: test accuracy of MLP\n")
    assert "51.0 ± 1.4 (70.7 ± 0.6) ≠ [1]" in text
    assert "[1] eval.network=mlp, published convnet." in text
    assert table2_tex([by_mlp]).startswith("% Table 2: test accuracy of MLP. Needs ")
    assert timing_markdown([by_mlp]).startswith("# Seconds of each cell, evaluated by networks of MLP\n")
    assert table2_markdown([record()]).startswith("# Table 2: test accuracy\n")
    mixed = [record("kr"), by_mlp]
    assert table2_markdown(mixed).startswith("# Table 2: test accuracy of ConvNet-3, MLP\n")
    assert list(table2_frame(Results.of(mixed)).dropna(subset="mean")["method"]) == ["dm", "kr"]


def test_accuracies_of_different_networks_are_never_averaged():
    records = [record(seed=0), record(seed=1, evaluations=(evaluation("mlp", (50.0, 52.0)),))]
    assert columns(records) == {"dm (eval.network=convnet)", "dm (eval.network=mlp)"}
    assert {cell.measured.mean for cell in table2_cells(Results.of(records)) if cell.measured} == {70.5, 51.0}


def test_a_column_has_the_newest_records_label():
    old = record().model_copy(update={"finished": "2026-01-01T00:00:00+00:00"})
    renamed = record().method.model_copy(update={"label": "new"})
    new = with_spec(old, seed=1).model_copy(update={"finished": "2026-02-01T00:00:00+00:00", "method": renamed})
    assert Names.of([new, old]).column(Column("dm")) == "new"
    assert Names.of([old]).column(Column("dm", "x=1")) == "DM (x=1)"
    assert Names.of([]).column(Column("kr")) == "KR"  # as published


# ---- the tidy frame ----


def test_the_frame_has_a_row_for_each_network_of_each_evaluation():
    frame = Results.of([record(evaluations=SEVERAL, seed=3), record("kr")]).networks
    rows = [
        (row["method"], row["seed"], row["eval_network"], row["network"], row["accuracy"]) for row in frame.to_dict("records")
    ]
    assert rows == [
        ("dm", 3, "mlp", 0, 50.0),
        ("dm", 3, "mlp", 1, 52.0),
        ("dm", 3, "convnet", 0, 70.0),
        ("dm", 3, "convnet", 1, 71.0),
        ("kr", 0, "convnet", 0, 70.0),
        ("kr", 0, "convnet", 1, 71.0),
    ]


def test_the_types_of_the_frame_do_not_hang_on_what_is_missing():
    full = Results.of([with_checkpoints(record(), {2: (40.0, 41.0)})])
    empty = Results.of([record("whole", ipc=None, accuracies=(91.0,), iterations=0)])
    for name in ("networks", "checkpoints", "losses", "main", "cells"):
        assert dict(getattr(full, name).dtypes) == dict(getattr(empty, name).dtypes)


def test_iterations_that_follow_from_the_ipc_make_no_variant():
    def at(ipc, iterations):
        return with_protocol(record(ipc=ipc), match={"iterations": iterations})

    first, second = (Match(iterations=None).at_ipc(ipc).iterations for ipc in (1, 10))
    assert first != second
    assert columns([at(1, first), at(10, second)]) == {"dm"}
    assert columns([at(1, first), at(10, first)]) == {"dm"}
    several = [at(1, first), at(10, first), at(10, second)]
    assert columns(several) == {"dm (match.iterations=by IPC)", f"dm (match.iterations={first})"}
    assert columns(several[1:]) == {f"dm (match.iterations={second})", f"dm (match.iterations={first})"}
    assert profiles_label([at(1, first).spec, at(10, second).spec]) == "cpu"


def test_a_budget_that_differs_between_ipcs_makes_no_variant_and_a_setting_of_the_loss_does():
    small = with_protocol(record(ipc=10), eval={"nets": 1, "epochs": 50})
    assert columns([record(), small]) == {"dm"}
    assert columns([record(ipc=10), small]) == {"dm (eval.epochs=1000, eval.nets=5)", "dm (eval.epochs=50, eval.nets=1)"}
    assert len(columns([record("kr"), record("kr", ipc=10, settings={"hidden": 64})])) == 2


# ---- rates of the step ----


def test_records_that_differ_in_the_rate_alone_do_not_flood_the_tables():
    records = [
        record(method, rate=rate, accuracies=(rate * 100, rate * 100)) for method in ("dm", "kr") for rate in (0.01, 0.05, 0.2)
    ]
    results = Results.of(records)
    table = table2_table(results)
    assert [head for head in table.heads if head in ("DM", "KR")] == ["DM", "KR"]
    assert not [head for head in table.heads if "rate" in head]
    assert set(results.main["accuracy"]) == {5.0}  # the rate of the profile, though another is better
    assert len(results.networks) == 12  # the tidy frame has them all
    assert "(match.rate=0.01, 0.2) are in the table and figure of rates only" in caption(results)
    assert "0.01" not in caption(Results.of(records[1:2]))


def test_the_profiles_rate_stands_though_more_seeds_have_another():
    records = [record("dm", rate=0.05), *(record("dm", rate=0.2, seed=seed) for seed in range(3))]
    assert Results.of(records).shown == {records[0].hash}


def test_methods_are_compared_at_the_rate_that_most_of_them_have():
    low = [record(method, rate=0.02) for method in ("dm", "kr", "emd")]
    others = [record("dm", rate=0.05), record("dm", rate=0.05, ipc=10)]
    assert Results.of([*low, *others]).shown == {*(made.hash for made in low), others[1].hash}
    shown = Results.of([*low, *others, record("kr", rate=0.05), record("emd", rate=0.05)]).shown
    assert not shown & {made.hash for made in low}


def test_without_the_profiles_rate_the_commonest_stands():
    records = [record("dm", rate=0.1), record("dm", rate=0.2), record("kr", rate=0.2), record("emd", rate=0.3)]
    shown = {made.spec.method: made.spec.protocol.match.rate for made in records if made.hash in Results.of(records).shown}
    assert shown == {"dm": 0.2, "kr": 0.2, "emd": 0.3}


def test_another_setting_with_another_rate_is_a_variant_of_its_own():
    records = [record("kr"), record("kr", settings={"hidden": 64}, rate=0.2)]
    assert columns(records) == {"kr", "kr (kr.hidden=64)"}
    assert len(Results.of(records).shown) == 2


def test_optimizers_are_variants_without_what_comes_with_them():
    sgd = with_protocol(record(), match={"optimizer": "sgd", "rate": None, "lr_images": 3.0, "schedule": "constant"})
    assert columns([record(), sgd]) == {"dm (match.optimizer=angular)", "dm (match.optimizer=sgd)"}
    faster = with_protocol(sgd, match={"lr_images": 10.0})
    assert columns([record(), sgd, faster]) == {
        "dm (match.optimizer=angular)",
        "dm (match.lr_images=3.0, match.optimizer=sgd)",
        "dm (match.lr_images=10.0, match.optimizer=sgd)",
    }
    longer = with_protocol(sgd, eval={"epochs": 7})  # the optimizer does not say this one
    assert {name.count("eval.epochs") for name in columns([record(), longer])} == {1}
    other = with_protocol(record("kr"), match={"optimizer": "sgd", "rate": None, "lr_images": 30.0, "iterations": 150})
    assert profiles_label([with_protocol(sgd, match={"iterations": 150}).spec, other.spec]) == (
        "cpu with match.optimizer=sgd match.lr_images=3|30, match.schedule=constant in part of the cells"
    )


def test_norms_and_angles_stand_in_the_table_of_times_where_records_have_them():
    made = with_checkpoints(record(), {2: (40.0, 41.0)})
    row = timing_table(Results.of([made])).rows[0]
    assert [cell.value for cell in row.cells[-3:]] == [1.0, 2.0, 40.0]
    assert "RMS" not in timing_markdown([record()])
    assert "RMS at start" in timing_markdown([made])


def test_checkpoints_have_rows_of_their_own():
    made = with_checkpoints(record(), {2: (40.0, 41.0), 5: (50.0, 51.0)})
    frame = Results.of([made, record("kr")]).checkpoints
    assert set(frame["method"]) == {"dm"}
    assert list(frame["iteration"]) == [2, 2, 5, 5, 10, 10]
    assert list(frame["accuracy"]) == [40.0, 41.0, 50.0, 51.0, 70.0, 71.0]
    assert list(frame["rms"]) == [1.2, 1.2, 1.5, 1.5, 2.0, 2.0]
