"""Statistics, variants and captions, on records made by hand."""

from __future__ import annotations

import hashlib
import math
from statistics import mean, stdev

import pytest

from bench.records import RunRecord
from reports.cells import table2_cells
from reports.frames import caption, network_rows, statistics, variant_names
from reports.published import published
from reports.tables import table2_markdown, table2_tex


def record(
    method="dm", *, dataset="fashionmnist", ipc=1, seed=0, accuracies=(70.0, 71.0), iterations=10, hyper=None
) -> RunRecord:
    protocol = {"profile": "cpu", "data": {"split": "test"}, "match": {"iterations": iterations}}
    spec = {"dataset": dataset, "ipc": ipc, "method": method, "seed": seed, "hyper": hyper or {}, "protocol": protocol}
    spec |= {"precision": "fp32", "numerics": 1}
    return RunRecord(
        hash=hashlib.sha256(f"{method}{dataset}{ipc}{seed}{iterations}{hyper}".encode()).hexdigest()[:16],
        status="ok",
        spec=spec,
        labels={"method": method.upper(), "dataset": dataset},
        accuracies=accuracies,
        loss=(1.0,) * iterations,
        seconds={"features": 1.0, "loss": 1.0, "update": 1.0, "evaluation": 2.0, "total": 5.0},
        seconds_per_iteration=0.3,
        peak_memory_mib=100.0,
        hardware={"cpu": "a processor", "threads": 2, "device": "cpu"},
    )


def test_spreads_are_kept_apart():
    records = [record(seed=0, accuracies=(70.0, 72.0, 71.0)), record(seed=1, accuracies=(80.0, 82.0, 84.0))]
    found = statistics(network_rows(records))
    values = [70.0, 72.0, 71.0, 80.0, 82.0, 84.0]
    assert found.mean == pytest.approx(mean(values))
    assert found.spread == found.std_seeds
    assert found.std_seeds == pytest.approx(stdev([71.0, 82.0]))
    assert found.std_networks == pytest.approx(((1.0 + 4.0) / 2) ** 0.5)
    assert (found.seeds, found.networks) == (2, 6)
    alone = statistics(network_rows(records[:1]))
    assert alone.spread == pytest.approx(stdev([70.0, 72.0, 71.0]))
    assert math.isnan(statistics(network_rows([record(accuracies=(91.0,))])).spread)


def test_records_of_different_settings_are_never_averaged():
    records = [record(iterations=10), record(iterations=20), record("kr"), record("kr", hyper={"hidden": 64})]
    names = set(variant_names(records).values())
    assert names == {"dm (match.iterations=10)", "dm (match.iterations=20)", "kr (kr.hidden=None)", "kr (kr.hidden=64)"}
    assert len([cell for cell in table2_cells(records) if cell.measured]) == 4


def test_seeds_of_one_setting_share_a_column():
    assert set(variant_names([record(seed=0), record(seed=1)]).values()) == {"dm"}


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
    known = published()
    for dataset in ("mnist", "fashionmnist", "svhn", "cifar10", "cifar100"):
        for ipc in (1, 10, 50):
            for method in ("random", "dc", "dsa", "cafe", "dm", "kr", "whole"):
                assert 0 < known[dataset, ipc, method].value < 100
    assert known["fashionmnist", 1, "kr"].value == 72.2
    assert known["cifar100", 50, "dc"].note.startswith("misprint")
    assert sum(cell.source == "Table 2" for cell in known.values()) == 105
