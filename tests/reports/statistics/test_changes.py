"""What changed between two folders: pairs, intervals and tests against numbers worked out by hand, and the files."""

from __future__ import annotations

import math
import statistics
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
from made_records import evaluation, record, with_protocol, with_spec
from scipy.stats import t, ttest_rel

from bench.cells.protocol import PROFILES
from bench.errors import UsageError
from bench.records.storage import write_record
from reports.compare import write_changes
from reports.frames.results import Results
from reports.statistics.changes import changes
from reports.tables.changes import changes_frame, changes_table

ROOT = Path(__file__).parents[3]


def seeds(*accuracies, method="dm", **how):
    """Return a record for each seed, with these accuracies of its networks."""
    return [record(method, seed=seed, accuracies=of, **how) for seed, of in enumerate(accuracies)]


def compare(first, second):
    return {(one.dataset, one.ipc, *one.column, one.network): one for one in changes(Results.of(first), Results.of(second))}


DM = ("fashionmnist", 1, "dm", "", "convnet")
BEFORE = ((70.0, 72.0), (71.0, 71.0), (69.0, 73.0))
AFTER = ((73.0, 75.0), (75.0, 75.0), (74.0, 78.0))  # better by 3, 4 and 5


def test_networks_of_a_seed_are_subtracted_and_seeds_are_the_observations():
    one = compare(seeds(*BEFORE), seeds(*AFTER))[DM]
    assert (one.first, one.second, one.difference, one.seeds, one.networks) == (71.0, 75.0, pytest.approx(4.0), 3, 6)
    half = t.ppf(0.975, 2) * statistics.stdev((3, 4, 5)) / 3**0.5
    assert (one.low, one.high) == (pytest.approx(4 - half), pytest.approx(4 + half))
    assert one.p == one.p_holm == pytest.approx(ttest_rel((74, 75, 76), (71, 71, 71)).pvalue)
    assert one.outcome == "changed"


def test_holms_correction_is_over_all_cells_that_were_tested():
    kr = seeds((70.0,), (71.0,), method="kr"), seeds((70.5,), (71.7,), method="kr")
    same = record("emd")
    made = compare([*seeds(*BEFORE), *kr[0], same], [*seeds(*AFTER), *kr[1], same])
    values = made[DM].p, made["fashionmnist", 1, "kr", "", "convnet"].p
    assert made[DM].p_holm == pytest.approx(2 * min(values))  # the identical cell is no test
    assert made["fashionmnist", 1, "kr", "", "convnet"].p_holm == pytest.approx(max(2 * values[0], values[1]))
    emd = made["fashionmnist", 1, "emd", "", "convnet"]
    assert (emd.outcome, emd.difference, emd.low, emd.high) == ("identical", 0.0, 0.0, 0.0)
    assert math.isnan(emd.p_holm)


def test_with_one_seed_its_networks_are_the_observations_and_one_pair_is_no_test():
    one = compare(seeds((70.0, 71.0, 72.0)), seeds((71.0, 73.0, 75.0)))[DM]
    assert (one.seeds, one.networks, one.difference) == (1, 3, 2.0)
    assert one.p == pytest.approx(ttest_rel((71, 73, 75), (70, 71, 72)).pvalue)
    pair = compare(seeds((70.0,)), seeds((71.0,)))[DM]
    assert (pair.outcome, pair.difference) == ("one pair", 1.0)


def test_seeds_networks_and_cells_of_one_folder_alone_are_listed():
    first = [*seeds(*BEFORE), record("kr"), record("whole", ipc=None, accuracies=(90.0,))]
    second = [*seeds(*AFTER[:2], (70.0, 70.0)), record(seed=7), record("whole", ipc=None, accuracies=(91.0,))]
    second[0] = record(evaluations=(evaluation(accuracies=AFTER[0]), evaluation("mlp", (50.0,))))
    made = compare(first[1:], second)
    assert (made[DM].seeds, made[DM].only_first, made[DM].only_second) == (2, (), (0, 7))
    kr, mlp = made["fashionmnist", 1, "kr", "", "convnet"], made["fashionmnist", 1, "dm", "", "mlp"]
    assert (kr.outcome, kr.first, kr.second, kr.only_first) == ("only in one", 70.5, None, (0,))
    assert (mlp.outcome, mlp.first, mlp.second, mlp.only_second) == ("only in one", None, 50.0, (0,))
    whole = made["fashionmnist", None, "whole", "", "convnet"]
    assert (whole.difference, whole.outcome) == (1.0, "one pair")


def test_networks_that_one_folder_has_more_of_are_left_away():
    one = compare(seeds((70.0, 71.0, 90.0)), seeds((71.0, 72.0)))[DM]
    assert (one.first, one.second, one.difference, one.networks) == (70.5, 71.5, 1.0, 2)
    assert (one.only_first, one.only_second) == ((), ())


def test_cells_whose_settings_changed_are_paired_and_the_settings_are_named():
    other = with_protocol(record(accuracies=(71.0, 73.0)), match={"real_batch": 128})
    (one,) = compare([record()], [other]).values()
    assert (one.difference, one.settings) == (1.5, "match.real_batch 64 → 128")
    usual = PROFILES["cpu"].match.at_ipc(10).iterations
    made = compare([record(ipc=10, iterations=usual)], [record(ipc=10, iterations=usual + 50)])
    assert [one.settings for one in made.values()] == [f"match.iterations {usual} → {usual + 50}"]


def test_numbers_that_follow_from_the_ipc_are_named_as_numbers():
    usual = PROFILES["cpu"].match.at_ipc(10).iterations
    before = with_protocol(record(ipc=10, iterations=400), eval={"epochs": 300})
    (one,) = compare([before], [record(ipc=10, iterations=usual)]).values()
    assert one.settings == f"eval.epochs 300 → 1000; match.iterations 400 → {usual}"


def test_other_images_are_a_changed_setting_and_unknown_ones_are_none():
    first, second = (with_spec(record(), data=data) for data in ("aaaa", "bbbb"))
    assert [one.settings for one in compare([first], [second]).values()] == ["data aaaa → bbbb"]
    assert [one.settings for one in compare([first], [record()]).values()] == [""]


def test_cells_that_can_be_compared_stand_before_those_of_one_folder():
    folders = {"a": Results.of([record("random"), record("kr")]), "b": Results.of([record("kr")])}
    assert [row.column.method for row in changes_table(changes(*folders.values()), folders).rows] == ["kr", "random"]


def test_cells_of_the_very_same_settings_are_paired_before_others():
    small, large = (record("kr", settings={"hidden": size}) for size in (64, 128))
    made = compare([small, large], [large])
    paired = made["fashionmnist", 1, "kr", "kr.hidden=128", "convnet"]
    assert (paired.outcome, paired.settings) == ("identical", "")
    assert made["fashionmnist", 1, "kr", "kr.hidden=64", "convnet"].only_first == (0,)


def test_seconds_an_iteration_are_compared():
    slower = record().model_copy(update={"seconds_per_iteration": 0.45})
    assert compare([record()], [slower])[DM].speed == pytest.approx(1.5)
    unknown = record().model_copy(update={"seconds_per_iteration": None})
    assert compare([record()], [unknown])[DM].speed is None


def test_the_table_says_what_changed_in_every_format():
    folders = {"a_1": Results.of([*seeds(*BEFORE), record("kr")]), "b": Results.of(seeds(*AFTER))}
    made = changes(*folders.values())
    table = changes_table(made, folders)
    text = table.render("md")
    assert "Of 1 cells that both folders have, 1 changed (1 higher and 0 lower in b)" in text
    assert "1 more are only in a_1, 0 only in b." in text
    assert "| fashionmnist | 1 | DM | ConvNet-3 | 71.00 | 75.00 | 4.00 | 1.52 to 6.48 | 0.02 | yes | 3 seeds | 1.00 |" in text
    assert "identical" not in text
    assert "Differences: +4.00 to +4.00 points." in text
    assert "| KR | ConvNet-3 | 70.50 |  |  |  |  |  |  |  | seed 0 |  |" in text
    assert r"a\_1" in table.render("tex")
    assert 'data-method="kr"' in table.render("html")
    assert list(changes_frame(made)["outcome"]) == ["changed", "only in one"]


def test_code_that_was_edited_after_its_commit_is_told_by_its_sources():
    def caption(*codes):
        folders = {
            name: Results.of([record().model_copy(update={"code": code})]) for name, code in zip("ab", codes, strict=True)
        }
        return changes_table(changes(*folders.values()), folders).caption

    before, after = ({"commit": "c0ffee", "sources": sources} for sources in ("1111", "2222"))
    first, second, *_ = caption(before, after)
    assert "code c0ffee with sources 1111;" in first
    assert "code c0ffee with sources 2222;" in second
    assert "code c0ffee;" in caption(before, before)[1]
    assert "code 0ther;" in caption(before, {"commit": "0ther", "sources": "2222"})[1]


@pytest.fixture
def two(tmp_path):
    """Return two folders: `a` has a failed cell, too."""
    failed = record("emd").model_copy(update={"status": "failed", "error": "<no> number", "evaluations": ()})
    for name, records in (("a", [*seeds(*BEFORE), failed]), ("b", seeds(*AFTER))):
        for made in records:
            write_record(tmp_path / name / "records", made)
    return tmp_path / "a", tmp_path / "b"


def test_the_files_stand_beside_an_earlier_report(two, capsys):
    report = two[0] / "report"
    report.mkdir()
    for name in ("index.html", "changes.html", "changes.old"):
        (report / name).write_text("old")
    page = write_changes(two)
    assert page == report / "changes.html"
    kinds = {"html", "md", "tex", "csv", "parquet"}
    assert {path.name for path in report.iterdir()} == {"index.html", "changes.old", *(f"changes.{form}" for form in kinds)}
    assert (report / "index.html").read_text() == "old"
    frame = pd.read_csv(report / "changes.csv")
    assert list(frame["difference"]) == [4.0]
    assert len(pd.read_parquet(report / "changes.parquet")) == 1
    text = page.read_text(encoding="utf-8")
    assert "&lt;no&gt; number" in text
    assert "failed: fashionmnist ipc 1 emd seed 0" in capsys.readouterr().err
    assert 'href="changes.csv"' in text


def test_only_the_formats_that_are_wanted_are_written(two, tmp_path):
    assert write_changes(two, target=tmp_path / "c", formats=["md", "png"]) == tmp_path / "c"
    assert [path.name for path in (tmp_path / "c").iterdir()] == ["changes.md"]
    with pytest.raises(UsageError, match="a comparison has no pictures"):
        write_changes(two, formats=["png"])


@pytest.mark.parametrize("count", [1, 3])
def test_it_takes_two_folders(two, count):
    with pytest.raises(UsageError, match="--compare takes two folders"):
        write_changes([two[0], *[two[1]] * (count - 1)])
    with pytest.raises(UsageError, match="--compare takes two folders"):
        write_changes([two[0], two[0] / "records" / ".."])


def test_the_command_line(two):
    command = [sys.executable, "-m", "reports", "--out", str(two[0]), "--out", str(two[1]), "--compare", "--format", "md,csv"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, f"report: {two[0] / 'report'}\n")
    assert "1 changed" in (two[0] / "report" / "changes.md").read_text()
