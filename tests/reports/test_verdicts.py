"""Verdicts: closed forms and boundaries of each kind, what counts, how they print, and the check against committed records."""

from __future__ import annotations

import math
from collections import Counter

import pytest
from made_records import evaluation, record, with_protocol, with_spec

from bench.protocol import ALL_OPERATIONS, PROFILES
from bench.records import read_folder, write_record
from methods import METHODS
from reports import __main__ as command
from reports import check as checking
from reports.cells import summary, table2_cells
from reports.frames import Statistics
from reports.published import BEST_CORESET, HYPER, PAPER_METHODS, RUNS, Published, published
from reports.tables import table2_frame, table2_markdown, table2_tex
from reports.verdicts import ROUNDING, Z_95, compare, departures, standard_error


def measured(mean: float, *, networks: float = 0.0, seeds: float = math.nan, n_seeds=1, n_networks=5) -> Statistics:
    return Statistics(mean, networks, seeds, n_seeds, n_networks)


def reference(value=70.0, plus_minus=0.0, note="") -> Published:
    return Published(value, plus_minus, "Table 2", note)


def verdict_of(made, *others):
    wanted = made.spec.dataset, made.spec.method
    return next(
        cell.verdict for cell in table2_cells([made, *others]) if (cell.dataset, cell.base) == wanted and made in cell.records
    )


def test_the_standard_error_adds_both_sides():
    published_part = 0.6**2 / RUNS + ROUNDING**2
    assert standard_error(measured(70, networks=0.8), reference(plus_minus=0.6)) == pytest.approx(
        math.sqrt(0.8**2 / 5 + published_part)
    )
    several = measured(70, networks=0.8, seeds=1.2, n_seeds=4, n_networks=20)
    assert standard_error(several, reference(plus_minus=0.6)) == pytest.approx(math.sqrt(1.2**2 / 4 + published_part))
    alone = measured(70, networks=math.nan, n_networks=1)
    assert standard_error(alone, reference(plus_minus=0.6)) == pytest.approx(math.sqrt(0.6**2 + published_part))


@pytest.mark.parametrize(
    ("mean", "kind"), [(71.0, "reproduced"), (69.0, "reproduced"), (71.01, "above"), (68.99, "below"), (70.0, "reproduced")]
)
def test_a_point_is_close_enough_whatever_the_deviation(mean, kind):
    judged = compare(measured(mean), reference())
    assert judged.kind == kind
    assert judged.difference == pytest.approx(mean - 70)
    assert judged.z == pytest.approx((mean - 70) / ROUNDING)


def test_a_decimal_point_is_a_point():
    assert compare(measured(16.6), reference(15.6)).kind == "reproduced"  # 16.6 - 15.6 > 1 in binary
    assert 16.6 - 15.6 > 1


@pytest.mark.parametrize(("factor", "high", "low"), [(0.999, "reproduced", "reproduced"), (1.001, "above", "below")])
def test_further_away_the_interval_decides(factor, high, low):
    error = standard_error(measured(0, networks=4.0), reference(plus_minus=3.0))
    away = factor * Z_95 * error
    assert away > 1
    assert compare(measured(70 + away, networks=4.0), reference(plus_minus=3.0)).kind == high
    assert compare(measured(70 - away, networks=4.0), reference(plus_minus=3.0)).kind == low


def test_one_network_says_whose_deviation_it_takes():
    assert "one network" in compare(measured(70, networks=math.nan, n_networks=1), reference()).note
    assert compare(measured(70), reference()).note == ""


@pytest.mark.parametrize(
    ("method", "section", "fields", "note"),
    [
        ("dm", "data", {"split": "validation"}, "data.split=validation, published test"),
        ("dm", "network", {"width": 64}, "network.width=64, published 128"),
        ("kr", "network", {"depth": 2}, "network.depth=2, published 3"),
        ("dm", "match", {"extractor": "fixed"}, "match.extractor=fixed, published fresh"),
        ("dm", "match", {"augment": "none"}, "match.augment=none, published DSA"),
        ("kr", "match", {"start": "noise"}, "match.start=noise, published real"),
        ("dm", "eval", {"augment": "flip"}, "eval.augment=flip, published DSA"),
        ("dm", "eval", {"augment": "none"}, "eval.augment=none, published DSA"),
        ("dm", "eval", {"schedule": "onecycle"}, "eval.schedule=onecycle, published step"),
        ("dm", "match", {"network": "mlp"}, "match.network=mlp, published convnet"),
        ("whole", "whole", {"schedule": "onecycle", "epochs": 8}, "whole.schedule=onecycle, published step"),
    ],
)
def test_another_protocol_is_not_comparable_and_says_which(method, section, fields, note):
    judged = verdict_of(with_protocol(record(method), **{section: fields}))
    assert (judged.kind, judged.z, judged.difference, judged.note) == ("not comparable", None, None, note)


def test_a_smaller_budget_is_comparable():
    small = {"match": {"iterations": 3, "real_batch": 8}}
    small["eval"] = {"nets": 2, "epochs": 30, "augment": ALL_OPERATIONS, "precision": "bf16"}
    assert departures(with_protocol(record(settings={"lr_images": 30.0}), **small, network={"width": 128, "depth": 3})) == []
    assert departures(with_protocol(record("whole"), whole={"nets": 1, "epochs": 9}, network={"depth": None})) == []
    assert departures(with_protocol(record("dc"), match={"start": "noise", "augment": "none"})) == []  # its own loop


def test_another_published_evaluation_is_a_note():
    assert "probably without augmentation" in verdict_of(record("random")).note
    assert "was without augmentation" in verdict_of(record("cafe")).note
    assert "crop, scale and rotation" in verdict_of(record("dc", dataset="mnist")).note
    assert verdict_of(record("dm")).note == ""
    as_published = verdict_of(with_protocol(record("dc", accuracies=(70.5, 70.4)), eval={"augment": "none"}))
    assert (as_published.kind, as_published.note) == ("reproduced", "")


def test_a_misprint_is_not_comparable_and_a_suspect_value_is():
    misprint = verdict_of(record("dc", dataset="cifar100", ipc=50))
    assert (misprint.kind, misprint.note) == ("not comparable", "published value: misprint: repeats the CIFAR-10 cell")
    cells = table2_cells([record("herding", ipc=10, accuracies=(71.0, 71.2))])
    judged = next(cell.verdict for cell in cells if cell.method == BEST_CORESET and cell.ipc == 10)
    assert judged.kind == "reproduced"
    assert "suspect: below Table 2's Random" in judged.note


def test_other_hyper_parameters_are_not_comparable():
    usual = record("kr", settings={"hidden": 128, "clip": 0.01})
    other = record("kr", settings={"hidden": 64, "clip": 0.01})
    assert verdict_of(other).note == "kr.hidden=64, not 128"
    assert verdict_of(usual, other).kind != "not comparable"
    assert verdict_of(record("dsa", settings={"start": "noise"})).note == "dsa.start=noise, not real"
    assert verdict_of(record("dsa", settings={"iterations": 5, "inner": 1, "start": "real"})).kind != "not comparable"


def test_every_published_method_with_hyper_parameters_says_which_are_the_published():
    assert set(HYPER) == {name for name in PAPER_METHODS if METHODS[name].settings.model_fields.keys() - {"lr_images"}}


def test_the_published_hyper_parameters_are_the_defaults():
    for name, values in HYPER.items():
        assert {key: value for key, value in METHODS[name].settings() if key in values} == values
        for profile in METHODS[name].presets.values():
            assert not set(profile) & set(values), "a profile sets it: take it for budget in reports/published.py"


def test_table_1_stands_against_the_best_coreset_selection():
    row = [record("random", accuracies=(60.0, 60.0)), record("herding", accuracies=(67.0, 66.0)), record("kcenter")]
    best = next(cell for cell in table2_cells([*row, record("dm")]) if (cell.method, cell.ipc) == (BEST_CORESET, 1))
    assert best.published.value == 67.0
    assert best.measured.mean == 70.5  # kcenter's
    assert best.verdict.kind == "above"
    assert best.verdict.note == "the best here of RANDOM, HERDING, KCENTER: KCENTER"
    assert "Best coreset (Table 1)" in table2_markdown(row)
    assert not [cell for cell in table2_cells([row[0], record("dm")]) if cell.method == BEST_CORESET]


def test_what_was_not_run_is_listed_for_the_datasets_that_were():
    cells = table2_cells([record("dm"), record("emd")])
    idle = [cell for cell in cells if cell.verdict and cell.verdict.kind == "not run"]
    assert {cell.dataset for cell in cells} == {"fashionmnist"}
    assert len(idle) == 7 * 3 - 1
    assert all(cell.measured is None and cell.published for cell in idle)
    frame = table2_frame([record("dm"), record("emd")])
    assert set(frame.loc[frame["mean"].isna(), "verdict"]) == {"not run"}
    assert frame.loc[frame["method"] == "emd", "verdict"].isna().all()


def test_the_summary_counts_cells_and_the_whole_set_once():
    records = [
        record("dm"),  # 70.5 of 70.7
        record("kr", accuracies=(60.0, 60.1)),
        record("random", accuracies=(60.0, 60.1)),
        record("random", ipc=10, accuracies=(60.0, 60.1)),
        with_protocol(record("whole", ipc=None), whole={"schedule": "onecycle"}),
    ]
    assert summary(table2_cells(records)) == (
        "1 of 4 cells reproduced, 1 above, 2 below; 1 not comparable; 14 published cells of these datasets not run."
    )
    rows = [cell.ipc for cell in table2_cells(records) if cell.method == "whole"]
    assert rows == [1, 10, 50]
    assert summary(table2_cells([record(dataset="digits")])) == "No published value to compare with."
    assert "✓" not in table2_markdown([record(dataset="digits")])


def test_verdicts_print():
    records = [record("dm"), record("kr", accuracies=(60.0, 61.0)), with_protocol(record("dsa"), network={"width": 64})]
    text = table2_markdown([*records, record("random", accuracies=(80.0, 80.2))])
    z = next(cell.verdict.z for cell in table2_cells(records) if cell.method == "kr" and cell.ipc == 1)
    assert "70.5 ± 0.7 (70.7 ± 0.6) ✓ |" in text
    assert f"60.5 ± 0.7 (72.2 ± 0.6) ↓ z {z:.1f} |" in text
    assert "(70.6 ± 0.6) ≠ [2] |" in text
    assert "80.1 ± 0.1 (51.4 ± 3.8) ↑ z " in text
    assert "– (77.1 ± 0.9) |" in text
    assert "\n[2] network.width=64, published 128.\n" in text
    tex = table2_tex([*records, record("random", accuracies=(80.0, 80.2))])
    assert r"\textit{70.7$_{\pm 0.6}$} $\checkmark$ &" in tex
    assert rf"$\downarrow_{{z={z:.1f}}}$ " in tex
    assert r"$\neq$$^{[2]}$" in tex
    assert r"95 \% interval" in tex
    misprint = table2_markdown([record("dm", dataset="cifar100")])
    assert "– (53.9 ± 0.5) [1] |" in misprint
    assert "[1] published value: misprint: repeats the CIFAR-10 cell." in misprint


def folder(path, *records):
    for made in records:
        write_record(path / "records", made)
    return str(path)


@pytest.mark.parametrize(
    ("method", "before", "after", "status"),
    [
        ("dm", (70.5, 70.9), (70.1, 70.5), 0),
        ("dm", (70.5, 70.9), (60.0, 60.1), 1),
        ("dm", (70.5, 70.9), (80.0, 80.1), 0),
        ("dm", (60.5, 60.9), (50.0, 50.1), 0),  # was below before
        ("dm", (80.0, 80.1), (60.0, 60.1), 0),  # was above, never reproduced
        ("whole", (93.5, 93.4), (90.0, 90.1), 1),
    ],
)
def test_a_reproduced_cell_that_falls_below_is_an_error(tmp_path, capsys, method, before, after, status):
    ipc = None if method == "whole" else 1
    against = folder(tmp_path / "old", record(method, ipc=ipc, accuracies=before), record("emd"))
    out = folder(tmp_path / "new", record(method, ipc=ipc, accuracies=after), record("random", ipc=10))
    assert command.main(["--check", "--out", out, "--against", against]) == status
    lines = capsys.readouterr().out.splitlines()
    assert "cells reproduced" in lines[0]
    assert lines[1] == f"1 cells compared with the committed records, {status} fell."
    assert len(lines) == 2 + status
    if status:
        assert lines[2].startswith(f"fell: fashionmnist {'all images' if ipc is None else 'ipc 1'} {method}, profile cpu: ")


def test_cells_are_compared_under_the_same_profile(tmp_path, capsys):
    def under(profile, iterations, accuracies=(70.5, 70.9)):
        made = with_protocol(
            record(iterations=iterations, accuracies=accuracies),
            match={"iterations": iterations, "real_batch": 64},
            eval={"nets": PROFILES[profile].eval.nets, "epochs": PROFILES[profile].eval.epochs},
        )
        return with_spec(made, protocol=made.spec.protocol.changed(profile=profile))

    against = folder(tmp_path / "old", under("cpu", 140))
    low = (60.0, 60.1)
    for name, profile, iterations, status in [
        ("same", "cpu", 140, 1),
        ("changed", "cpu", 150, 1),  # the profile as it stands, whatever it was
        ("ablation", "cpu", 3, 2),
        ("other", "quick", 60, 2),
    ]:
        out = folder(tmp_path / name, under(profile, iterations, low))
        assert command.main(["--check", "--out", out, "--against", against]) == status, name
    capsys.readouterr()
    out = folder(tmp_path / "both", under("cpu", 140), under("cpu", 150, low))
    assert command.main(["--check", "--out", out, "--against", against]) == 0  # the very same settings go first
    assert "1 cells compared" in capsys.readouterr().out


def test_a_users_mistake_is_one_line(tmp_path, capsys):
    good = folder(tmp_path / "good", record())
    digits = folder(tmp_path / "digits", record(dataset="digits"))
    for out, against, message in [
        (str(tmp_path / "empty"), good, "no finished record"),
        (good, str(tmp_path / "empty"), "no finished record"),
        (digits, good, "nothing to compare"),
    ]:
        assert command.main(["--check", "--out", out, "--against", against]) == 2
        assert message in capsys.readouterr().err
    with pytest.raises(SystemExit, match="2"):
        command.main(["--against", good])


def test_the_committed_records_are_the_default(tmp_path, capsys):
    assert command.main(["--check", "--out", str(checking.REFERENCE / "cpu")]) == 0
    records, _ = read_folder(checking.REFERENCE / "cpu" / "records")
    cells = table2_cells(records)
    kinds = Counter({cell.counted: cell.verdict.kind for cell in cells if cell.verdict}.values())
    compared = sum(kinds[kind] for kind in ("reproduced", "above", "below"))
    assert kinds["reproduced"] > 0
    assert f"{compared} cells compared with the committed records, 0 fell." in capsys.readouterr().out
    fallen = [
        made.model_copy(
            update={"evaluations": (evaluation(accuracies=tuple(value - 30 for value in made.main_evaluation.accuracies)),)}
        )
        for made in records
    ]
    against = ["--against", str(checking.REFERENCE / "cpu")]
    assert command.main(["--check", "--out", folder(tmp_path, *fallen), *against]) == 1
    text = capsys.readouterr().out
    assert text.count("\nfell: ") == kinds["reproduced"]
    assert not (tmp_path / "report").exists()


def test_a_file_that_cannot_be_read_is_named_when_checking(tmp_path, capsys):
    out = folder(tmp_path / "out", record())
    (tmp_path / "out" / "records" / "torn.json").write_text("{")
    assert command.main(["--check", "--out", out, "--against", folder(tmp_path / "old", record())]) == 0
    assert capsys.readouterr().err.startswith(f"not read: {tmp_path / 'out' / 'records' / 'torn.json'}: ")


def test_every_published_column_has_a_name():
    assert {method for *_, method in published()} == {*PAPER_METHODS, BEST_CORESET, "best_dataset_distillation"}


def test_the_published_columns_have_the_methods_own_labels_and_order():
    """A column stands in its place, and under its name, whether or not a record is of it."""
    for name, facts in PAPER_METHODS.items():
        assert (facts.label, facts.order) == (METHODS[name].label, METHODS[name].order)
