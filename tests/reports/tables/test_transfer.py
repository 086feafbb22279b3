"""The cross-architecture table, against numbers worked out by hand."""

from __future__ import annotations

import csv
import io
import math
import re

import pytest
from made_records import evaluation, record

from bench.records.storage import write_record
from reports import write_report
from reports.frames.results import Results
from reports.statistics import transfer
from reports.tables.formats import tex, write_csv
from reports.tables.transfer import transfer_table


def has_transfer(records):
    return transfer.has_transfer(Results.of(records))


def transfer_markdown(records):
    return transfer_table(Results.of(records)).render("md")


def transfer_tex(records):
    return transfer_table(Results.of(records)).render("tex")


def seeds(method, convnet, mlp, **kwargs):
    """Return a record of each seed, from the accuracies of two networks of each architecture."""
    return [
        record(method, seed=seed, evaluations=(evaluation("mlp", of_mlp), evaluation("convnet", of_convnet)), **kwargs)
        for seed, (of_convnet, of_mlp) in enumerate(zip(convnet, mlp, strict=True))
    ]


RECORDS = [
    *seeds("dm", [(70.0, 72.0), (74.0, 76.0)], [(60.0, 64.0), (61.0, 63.0)]),
    *seeds("kr", [(80.0, 80.0), (81.0, 83.0)], [(82.0, 84.0), (85.0, 85.0)]),
]
# Worked out by hand. Means of seeds: 71 and 75; 62 and 62; 80 and 82; 83 and 85. Variances within seeds, which are averaged:
# 2 and 2; 8 and 2; 0 and 2; 2 and 0.
ORACLE = [
    ("dm", "convnet", 73.0, 4 / math.sqrt(2), math.sqrt(2), 0.0),
    ("dm", "mlp", 62.0, 0.0, math.sqrt(5), 11.0),
    ("kr", "convnet", 81.0, 2 / math.sqrt(2), 1.0, 0.0),
    ("kr", "mlp", 84.0, 2 / math.sqrt(2), 1.0, -3.0),
]


def written(records, tmp_path):
    write_csv(transfer.transfer_frame(Results.of(records)), tmp_path / "transfer.csv")
    return list(csv.DictReader(io.StringIO((tmp_path / "transfer.csv").read_text())))


def test_the_long_table_has_the_numbers_worked_out_by_hand(tmp_path):
    rows = written(RECORDS, tmp_path)
    assert ",".join(rows[0]) == "dataset,ipc,method,variant,eval_network,mean,std_seeds,std_networks,seeds,drop"
    assert len(rows) == len(ORACLE)
    for row, (method, network, *numbers) in zip(rows, ORACLE, strict=True):
        place = [row[name] for name in ("dataset", "ipc", "method", "variant", "eval_network", "seeds")]
        assert place == ["fashionmnist", "1", method, "", network, "2"]
        assert [row[name] for name in ("mean", "std_seeds", "std_networks", "drop")] == [f"{value:.4f}" for value in numbers]


def test_the_printed_tables_have_the_drop_in_brackets():
    assert has_transfer(RECORDS)
    text = transfer_markdown(RECORDS)
    assert "| Dataset | IPC | Method | ConvNet-3 | MLP |" in text
    assert "| fashionmnist | 1 | DM | 73.0 ± 2.8 | 62.0 ± 0.0 (11.0) |" in text
    assert "| fashionmnist | 1 | KR | 81.0 ± 1.4 | 84.0 ± 1.4 (-3.0) |" in text
    assert "the ConvNet's mean accuracy less this network's" in text
    assert "seeds 0, 1; 2 evaluation networks a seed" in text


def test_the_latex_table_is_complete_and_escaped():
    text = transfer_tex([*RECORDS, *seeds("kr", [(1.0, 2.0)], [(3.0, 4.0)], settings={"critic_lr": 0.5}, dataset="a_b^c~{d}$")])
    assert r"DM & 73.0$_{\pm 2.8}$ & 62.0$_{\pm 0.0}$ ($11.0$) \\" in text
    assert r"a\_b\textasciicircum{}c\textasciitilde{}\{d\}\$ & 1 & KR" in text
    body = text[text.index(r"\begin{tabular}{lrlrr}") :]
    assert body.strip().endswith(r"\end{tabular}")
    for rule in (r"\toprule", r"\midrule", r"\bottomrule"):
        assert rule in body
    rows = [line for line in body.splitlines() if line.endswith(r"\\")]
    assert len(rows) == 1 + 3
    assert all(len(re.findall(r"(?<!\\)&", row)) == 4 for row in rows)
    outside = [line for line in text.splitlines() if not line.startswith("%") and line not in body]
    assert outside == []
    assert tex("100 %_&#") == r"100 \%\_\&\#"


def test_without_the_convnet_there_is_no_drop(tmp_path):
    made = record(evaluations=(evaluation("mlp", (50.0, 52.0)), evaluation("lenet", (40.0, 42.0))))
    rows = written([made], tmp_path)
    assert [(row["eval_network"], row["mean"], row["drop"]) for row in rows] == [
        ("mlp", "51.0000", ""),
        ("lenet", "41.0000", ""),
    ]
    assert "| 51.0 ± 1.4 | 41.0 ± 1.4 |" in transfer_markdown([made])


def test_variants_stand_apart_from_the_methods_name(tmp_path):
    variants = [
        record("kr", settings={"hidden": 64}, evaluations=RECORDS[2].evaluations),
        record("kr", settings={"hidden": 256}),
    ]
    rows = written(variants, tmp_path)
    assert {(row["method"], row["variant"], row["eval_network"]) for row in rows} == {
        ("kr", "kr.hidden=64", "convnet"),
        ("kr", "kr.hidden=64", "mlp"),
        ("kr", "kr.hidden=256", "convnet"),
    }
    text = transfer_markdown(variants)
    assert "| KR (kr.hidden=256) | 70.5 ± 0.7 |  |" in text  # not evaluated by the MLP


def test_the_whole_set_stands_at_every_ipc(tmp_path):
    rows = written([record(), record(ipc=10), record("whole", ipc=None)], tmp_path)
    assert [(row["ipc"], row["method"]) for row in rows] == [("1", "dm"), ("1", "whole"), ("10", "dm"), ("10", "whole")]


def test_a_network_whose_label_differs_between_datasets_has_its_name():
    small = record(dataset="digits", evaluations=(evaluation("convnet", label="ConvNet-2"),))
    assert "| Method | convnet |" in transfer_markdown([record(), small])


def test_all_files_are_written_with_a_single_network_too(tmp_path):
    made = record()
    assert not has_transfer([made])
    write_record(tmp_path / "records", made)
    write_report(tmp_path)
    report = tmp_path / "report"
    assert (report / "transfer.csv").read_text().splitlines()[1] == "fashionmnist,1,dm,,convnet,70.5000,,0.7071,1,0.0000"
    assert "| DM | 70.5 ± 0.7 |" in (report / "transfer.md").read_text()
    assert (report / "transfer.tex").stat().st_size > 0
    assert not list((report / "figures").glob("transfer*"))


@pytest.mark.parametrize("networks", [(), ("mlp", "lenet")])
def test_the_rows_of_one_network_and_of_several_mix(networks):
    several = record("kr", evaluations=tuple(evaluation(name) for name in ("convnet", *networks)))
    assert has_transfer([record(), several]) == bool(networks)
