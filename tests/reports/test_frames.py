"""Statistics, variants and captions, on records made by hand."""

from __future__ import annotations

import math
from statistics import mean, stdev

import pytest
from made_records import evaluation, record, with_protocol, with_spec

from reports.captions import caption, profile_words
from reports.cells import table2_cells
from reports.frames import cell_rows, network_rows, statistics
from reports.names import Names, column_names, flat_settings, variants
from reports.published import published
from reports.tables import table2_frame, table2_markdown, table2_tex, timing_markdown


def test_spreads_are_kept_apart():
    records = [record(seed=0, accuracies=(70.0, 72.0, 71.0)), record(seed=1, accuracies=(80.0, 82.0, 84.0))]
    numbers = statistics(network_rows(records))
    values = [70.0, 72.0, 71.0, 80.0, 82.0, 84.0]
    assert numbers.mean == pytest.approx(mean(values))
    assert numbers.spread == numbers.std_seeds
    assert numbers.std_seeds == pytest.approx(stdev([71.0, 82.0]))
    assert numbers.std_networks == pytest.approx(((1.0 + 4.0) / 2) ** 0.5)
    assert (numbers.seeds, numbers.networks) == (2, 6)
    alone = statistics(network_rows(records[:1]))
    assert alone.spread == pytest.approx(stdev([70.0, 72.0, 71.0]))
    assert math.isnan(statistics(network_rows([record(accuracies=(91.0,))])).spread)


def test_records_of_different_settings_are_never_averaged():
    records = [record(iterations=10), record(iterations=20), record("kr"), record("kr", settings={"hidden": 64})]
    names = set(column_names(records).values())
    assert names == {"dm (match.iterations=10)", "dm (match.iterations=20)", "kr (kr.hidden=None)", "kr (kr.hidden=64)"}
    assert len([cell for cell in table2_cells(records) if cell.measured]) == 4


def test_seeds_of_one_setting_share_a_column():
    assert set(column_names([record(seed=0), record(seed=1)]).values()) == {"dm"}


def test_the_whole_set_stands_at_every_ipc():
    frame = network_rows([record(ipc=1), record(ipc=10), record("whole", ipc=None, accuracies=(91.0,))])
    assert sorted(frame[frame["method"] == "whole"]["ipc"]) == [1, 10]


def test_published_values_stand_beside_the_measured():
    text = table2_markdown([record(), record("kr"), record("random"), record("emd")])
    assert "| FashionMNIST" not in text  # the label is the record's
    assert "70.5 ± 0.7 (70.7 ± 0.6)" in text
    assert "70.5 ± 0.7 (72.2 ± 0.6)" in text
    assert "70.5 ± 0.7 |" in text  # emd has no published value
    assert r"\textit{70.7$_{\pm 0.6}$}" in table2_tex([record()])


def test_columns_stand_in_the_papers_order():
    text = table2_markdown([record("whole", ipc=None), record("kr"), record("zebra"), record("dm"), record("random")])
    assert "| RANDOM | DC | DSA | CAFE | DM | KR | ZEBRA | WHOLE |" in text


def test_the_caption_says_what_a_number_is():
    text = caption([record(seed=0), record(seed=3)])
    for word in ("cpu", "seeds 0, 3", "2 evaluation networks", "a processor", "± is the sample standard deviation"):
        assert word in text


def test_the_published_table_is_complete():
    cells = published()
    for dataset in ("mnist", "fashionmnist", "svhn", "cifar10", "cifar100"):
        for ipc in (1, 10, 50):
            for method in ("random", "dc", "dsa", "cafe", "dm", "kr", "whole"):
                assert 0 < cells[dataset, ipc, method].value < 100
    assert cells["fashionmnist", 1, "kr"].value == 72.2
    assert cells["cifar100", 50, "dc"].note.startswith("misprint")
    assert sum(cell.source == "Table 2" for cell in cells.values()) == 105


def test_a_precision_counts_where_it_is_not_the_runs():
    """Two runs of different precision differ in that alone, though their protocols say the precision of each part."""
    names = set(column_names([record("kr", precision="fp32"), record("kr", precision="bf16")]).values())
    assert names == {"kr (precision=fp32)", "kr (precision=bf16)"}
    apart = with_protocol(record(precision="bf16"), eval={"precision": "fp32"})
    assert set(column_names([record(precision="bf16"), apart]).values()) == {
        "dm (eval.precision=auto)",
        "dm (eval.precision=fp32)",
    }
    assert flat_settings(record("random", precision="bf16").spec)["precision"] == "bf16"  # of the evaluation
    assert profile_words(record(iterations=150).spec) == "cpu"
    assert profile_words(with_protocol(record(iterations=3, precision="bf16"), eval={"precision": "fp32"}).spec) == (
        "cpu with match.iterations=3 eval.precision=fp32"
    )


def test_another_evaluation_network_is_no_other_variant():
    other = with_protocol(record(seed=1), eval={"networks": ("convnet", "mlp")})
    assert set(column_names([record(), other]).values()) == {"dm"}
    assert set(variants([record(), other]).values()) == {""}
    assert profile_words(with_protocol(record(iterations=150), eval={"networks": ("mlp",)}).spec) == "cpu"


SEVERAL = (evaluation("mlp", (50.0, 52.0), seconds=7.0), evaluation("convnet", (70.0, 71.0), seconds=2.0))


def test_tables_of_one_network_take_the_convnet():
    several = record(evaluations=SEVERAL)
    assert list(network_rows([several])["accuracy"]) == [70.0, 71.0]
    (cell,) = cell_rows([several]).to_dict("records")
    assert (cell["accuracy"], cell["evaluation_s"], cell["total_s"]) == (70.5, 2.0, 5.0)  # as of a cell without the MLP
    assert table2_markdown([several]) == table2_markdown([record()])
    assert timing_markdown([several]) == timing_markdown([record()])


def test_the_heading_names_another_network():
    by_mlp = record(evaluations=(evaluation("mlp", (50.0, 52.0)), evaluation("lenet", (40.0, 42.0))))
    text = table2_markdown([by_mlp])
    assert text.startswith("# Table 2: test accuracy of MLP\n")
    assert "51.0 ± 1.4 (70.7 ± 0.6) ≠ [1]" in text
    assert "[1] eval.network=mlp, published convnet." in text
    assert table2_tex([by_mlp]).startswith("% Test accuracy of MLP.\n")
    assert timing_markdown([by_mlp]).startswith("# Seconds of each cell, evaluated by networks of MLP\n")
    assert table2_markdown([record()]).startswith("# Table 2: test accuracy\n")
    mixed = [record("kr"), by_mlp]
    assert table2_markdown(mixed).startswith("# Table 2: test accuracy of ConvNet-3, MLP\n")
    assert list(table2_frame(mixed).dropna(subset="mean")["method"]) == ["dm", "kr"]


def test_accuracies_of_different_networks_are_never_averaged():
    records = [record(seed=0), record(seed=1, evaluations=(evaluation("mlp", (50.0, 52.0)),))]
    assert set(column_names(records).values()) == {"dm (eval.network=convnet)", "dm (eval.network=mlp)"}
    assert {cell.measured.mean for cell in table2_cells(records) if cell.measured} == {70.5, 51.0}


def test_a_column_has_the_newest_records_label():
    old = record().model_copy(update={"finished": "2026-01-01T00:00:00+00:00"})
    renamed = record().method.model_copy(update={"label": "new"})
    new = with_spec(old, seed=1).model_copy(update={"finished": "2026-02-01T00:00:00+00:00", "method": renamed})
    assert Names.of([new, old]).column("dm") == "new"
    assert Names.of([old]).column("dm (x=1)") == "DM (x=1)"
    assert Names.of([]).column("kr") == "KR"  # as published
