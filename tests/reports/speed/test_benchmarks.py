"""The report of the benchmarks, from a small file of made-up times that follow exact power laws."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pandas as pd
import pytest
from made_records import method_facts, record, with_checkpoints
from PIL import Image

from bench.errors import UsageError
from bench.records.sections import MethodFacts
from bench.records.storage import write_record
from methods import METHODS
from reports import __main__ as command
from reports.frames.published import published as published_values
from reports.speed.benchmarks import Goal, memory_table, reference_iteration, speed_table, write_benchmarks
from reports.speed.measurements import Measurement, Run, read_benchmarks
from reports.speed.scaling import Curve, crossover, curves

HERE = Path(__file__).parent
FIXTURE = HERE / "benchmarks.json"
SIZES = (64, 256, 1024)


def rows(text):
    """Return the cells of each row of a Markdown table by its first cell; rows of one name in a list."""
    table = {}
    for line in text.splitlines():
        if line.startswith("| "):
            first, *rest = (cell.strip() for cell in line.strip("|").split("|"))
            table.setdefault(first, []).append(rest)
    return table


def curve(loss, sizes, values):
    return Curve(loss, "n", sizes, tuple(values), method_facts(METHODS[loss]))


def law(loss, exponent, factor, sizes=SIZES):
    return curve(loss, sizes, (factor * size**exponent for size in sizes))


def without(tmp_path, **left_out):
    """Return a file as the fixture is, less the entries of these groups or kinds."""
    entries = json.loads(FIXTURE.read_text())["benchmarks"]
    kept = [entry for entry in entries if not any(entry.get(k, entry["extra_info"].get(k)) == v for k, v in left_out.items())]
    path = tmp_path / "partial.json"
    path.write_text(json.dumps({"benchmarks": kept}))
    return path


def test_the_table_has_ratios_rates_and_verdicts():
    table = rows(speed_table(read_benchmarks(FIXTURE)).render("md"))
    (dm,) = table["DM iteration, 10 classes x 256 real, IPC 10, 28x28"]
    assert dm == ["bf16", "4.50 s", "900 ms", "5.00", "267", "67", "at least 80 % of the matrix product's rate", "no: 66.7"]
    assert [(row[0], row[5], row[7]) for row in table["features of its 2,560 real images"]] == [
        ("fp32", "80", "yes: 80"),  # 160 of 200 GFLOP/s: each is measured by the rate in its own precision
        ("bf16", "80", "yes: 80"),
    ]
    critics = table["KR critics, 10 classes, 100 steps, 256 real + 10"][0]
    assert critics[3:] == ["2.50", "100", "50", "at least 80 % of the matrix product's rate", "no: 50"]
    assert table["Sinkhorn loss and gradient, 10 classes, 256 x 10"][0][1:] == [
        "", "90 ms", "", "", "", "at most 0.15 DM iterations", "yes: 0.1",
    ]  # fmt: skip
    assert table["evaluation epoch over 100 images"][0][1:4] == ["400 ms", "100 ms", "4.00"]  # a round has five
    assert table["run_all.py --list"][0][-1] == "yes: 0.3"


def test_the_share_of_the_products_rate_counts_each_part_in_its_own_precision():
    gemm = [
        Measurement("gemm", "", "rate", 1.0, 1, flops=rate, precision=name) for name, rate in (("fp32", 100), ("bf16", 400))
    ]

    def share(precision, *measured):
        entry = Measurement("dm iteration", "", "fast", 2.0, 1, flops=500, float32_flops=100, precision=precision)
        (row,) = speed_table(Run((*measured, entry), "")).rows
        return row.cells[4].value

    assert share("bf16", *gemm) == pytest.approx(100)  # 400 in bfloat16 and 100 in float32 take a second each
    assert share("fp32", *gemm) == pytest.approx(250)
    assert share("bf16", gemm[1]) is None


def test_what_was_not_measured_is_named():
    text = speed_table(read_benchmarks(FIXTURE)).render("md")
    left_out = "DM iteration, 10 classes x 64 real, IPC 1; features of its 100 synthetic images and their gradient; KR"
    assert f"Not measured in this run: {left_out}" in text
    assert "fp32 200 GFLOP/s, bf16 400 GFLOP/s" in text


VERDICTS = [("at least", 2.0, True), ("at least", 1.9, False), ("at most", 2.0, True), ("at most", 2.1, False)]


@pytest.mark.parametrize(("sense", "value", "reached"), VERDICTS)
def test_a_goal_is_reached_at_its_limit(sense, value, reached):
    assert Goal("group", "what", lambda run, entry: None, sense, 2.0, "things").reached(value) is reached


def test_memory_says_what_is_above_the_limit():
    table = rows(memory_table(read_benchmarks(FIXTURE)).render("md"))
    assert table["dm"] == [["20.0", "2900", "6144", "yes"]]
    assert table["kr"] == [["30.0", "7000", "6144", "no"]]


def test_exponents_are_those_of_the_power_laws():
    points = read_benchmarks(FIXTURE).of("scaling", "fast")
    by_axis = {(axis, made.loss): made for axis in ("n", "C", "n = m") for made in curves(points, "time", axis)}
    for (axis, loss), exponent in {("n", "sinkhorn"): 1, ("n", "emd"): 2, ("C", "kr"): 1, ("n = m", "emd"): 3}.items():
        assert by_axis[axis, loss].line[0] == pytest.approx(exponent)
    assert by_axis["n", "emd"].sizes == SIZES
    assert by_axis["n = m", "emd"].sizes == (64, 128)
    assert curves(points, "time", "d") == []  # one size is no sweep
    assert "dm" not in {made.loss for made in curves(points, "memory", "n")}  # under a mebibyte: noise


def test_a_crossover_within_the_sweep():
    text = crossover(law("sinkhorn", 1, 1e-3), law("emd", 2, 1e-5))
    assert text == "EMD is faster at 64, Sinkhorn at 1024; they cross at about 100"


def test_a_crossover_beyond_the_sweep_is_called_extrapolated():
    text = crossover(law("emd", 2, 1e-7), law("kr", 1, 1e-3))
    assert text.startswith("EMD is faster than KR from 64 to 1024, 9.8 to 156.3 times; ")
    assert text.endswith("the fitted lines would cross at about 10,000 (extrapolated)")


def test_parallel_lines_and_ties_have_no_crossover():
    assert crossover(law("emd", 1, 1), law("kr", 1, 3)) == "EMD is faster than KR from 64 to 1024, 3.0 to 3.0 times"
    assert crossover(law("emd", 1, 1), law("kr", 1, 1.05)) == "EMD and KR are equally fast from 64 to 1024"
    noisy = curve("kr", SIZES, (size * factor for size, factor in zip(SIZES, (2.0, 0.97, 2.0), strict=True)))
    assert "cross" not in crossover(law("emd", 1, 1), noisy)
    assert crossover(law("emd", 1, 1), law("kr", 1, 3, sizes=(3, 4))) == ""  # no common sizes


def test_the_page_and_its_pictures(tmp_path):
    page = write_benchmarks(FIXTURE, tmp_path)
    text = page.read_text(encoding="utf-8")
    assert page == tmp_path / "report" / "benchmarks.md"
    assert (
        "A processor, 2 threads; torch 2.9; `--precision auto` is fp32; 2026-01-02T03:04:05; commit 0123456789ab with changes."
        in text
    )
    assert "- over n: EMD is faster at 64, Sinkhorn at 1024; they cross at about 100." in text
    for quantity in ("time", "memory"):
        assert f"(figures/benchmarks_{quantity}.png)" in text
        with Image.open(page.parent / "figures" / f"benchmarks_{quantity}.png") as picture:
            assert picture.width > 500
        for form in ("svg", "pdf"):
            assert (page.parent / "figures" / f"benchmarks_{quantity}.{form}").stat().st_size > 0
    frame = pd.read_csv(page.parent / "figures" / "benchmarks_time.csv")
    assert set(frame.loc[(frame["axis"] == "n") & (frame["loss"] == "emd"), "exponent"].round(3)) == {2.0}


@pytest.mark.parametrize(
    "left_out", [{"group": "scaling"}, {"group": "gemm"}, {"kind": "reference"}, {"group": "dm iteration"}]
)
def test_a_part_of_a_run_is_reported(tmp_path, left_out):
    old = tmp_path / "report" / "figures" / "benchmarks_memory.png"
    old.parent.mkdir(parents=True)
    old.write_bytes(b"of an earlier run")
    text = write_benchmarks(without(tmp_path, **left_out), tmp_path).read_text(encoding="utf-8")
    assert "unknown" in text or left_out == {"group": "scaling"}
    assert not old.exists() or old.read_bytes() != b"of an earlier run"
    assert (tmp_path / "report" / "figures" / "benchmarks_time.png").exists() == (left_out != {"group": "scaling"})


def test_the_page_begins_with_the_time_to_the_published_accuracy(tmp_path):
    published = {method: value for (name, ipc, method), value in published_values().items() if (name, ipc) == ("mnist", 1)}
    for method in ("dm", "kr", "sinkhorn", "emd"):
        value = published.get(method, published["dm"]).value
        made = record(method, dataset="mnist", accuracies=(value + 2,))
        write_record(tmp_path / "records", with_checkpoints(made, {3: (value - 5,), 5: (value,)}))
    write_record(tmp_path / "records", with_checkpoints(record("dm", dataset="cifar10", accuracies=(1.0,)), {5: (1.0,)}))
    text = write_benchmarks(without(tmp_path, group="scaling"), tmp_path).read_text(encoding="utf-8")
    assert text.index("## Time to the published accuracy") < text.index("## Fast paths beside the plain reference")
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in headline_lines(text)]
    table = {(dataset, method): numbers for dataset, _, method, *numbers in rows}
    value = f"{published['dm'].value:.1f}"
    end = f"{published['dm'].value + 2:.1f}"
    # The checkpoint after 5 iterations is at the value; the reference's iteration takes 4.5 s.
    assert table["mnist", "DM"] == [value, "0", "0", end, "3", "64", "0.300", "4.500"]
    assert table["mnist", "KR"][-3:] == ["64", "0.300", ""]  # its reference was not measured
    assert table["cifar10", "DM"][1:] == ["not reached", "not reached", "1.0", "3", "64", "0.300", ""]  # of another size


def headline_lines(text):
    """Return the rows of the first table of a page."""
    table = text.partition("## Fast paths")[0]
    return [line for line in table.splitlines() if line.startswith("| ")][2:]


def test_the_reference_of_a_transport_loss_is_its_iteration_and_its_loss():
    run = read_benchmarks(FIXTURE)
    loss = Measurement("emd 256 x 10", "", "reference", 0.75, 1)
    assert reference_iteration(Run((*run.measurements, loss), ""), "emd") == 4.5 + 0.75
    assert reference_iteration(run, "emd") is None
    assert reference_iteration(run, "dm") == 4.5
    assert reference_iteration(Run((Measurement("kr iteration", "", "reference", 9.0, 1),), ""), "kr") == 9.0


def test_an_iteration_is_compared_with_dms_of_its_own_size():
    def measured(group, seconds, precision="fp32"):
        return Measurement(group, "", "fast", seconds, 1, precision=precision)

    dm = [measured("dm iteration", 4.0), measured("dm iteration 64 + 1", 1.0), measured("dm iteration 64 + 1", 0.5, "bf16")]
    kr = [measured("kr iteration", 8.0), measured("kr iteration 64 + 1", 1.5), measured("kr iteration 64 + 1", 1.0, "bf16")]
    rows = {(row.labels[0], row.labels[1]): row.cells[-1].label for row in speed_table(Run((*dm, *kr), "")).rows}
    assert rows["KR iteration, 256 real, IPC 10", "fp32"] == "yes: 2"
    assert rows["KR iteration, 64 real, IPC 1", "fp32"] == "yes: 1.5"
    assert rows["KR iteration, 64 real, IPC 1", "bf16"] == "no: 2"


def test_without_checkpoints_the_page_says_how_to_get_them(tmp_path):
    write_record(tmp_path / "records", record())
    text = write_benchmarks(without(tmp_path, group="scaling"), tmp_path).read_text(encoding="utf-8")
    assert "no record here has checkpoints; `run_all.py --checkpoints" in text


def test_records_of_another_folder_and_the_rest_of_the_report_are_kept(tmp_path):
    write_record(tmp_path / "b" / "records", with_checkpoints(record(accuracies=(99.0,)), {5: (80.0,)}))
    target = tmp_path / "target"
    (target / "figures").mkdir(parents=True)
    kept = target / "index.html", target / "figures" / "answer.svg"
    old = target / "figures" / "benchmarks_old.svg"
    for path in (*kept, old):
        path.write_text("x")
    page = write_benchmarks(without(tmp_path, group="scaling"), tmp_path / "a", tmp_path / "b", target=target)
    assert page == target / "benchmarks.md"
    assert "| fashionmnist | 1 | DM |" in page.read_text(encoding="utf-8")
    assert all(path.read_text() == "x" for path in kept)
    assert not old.exists()
    assert not (tmp_path / "a").exists()


ENTRY = '{"benchmarks": [{"name": "a", "group": "b", "extra_info": {"kind": "fast"}, "stats": %s}]}'
BROKEN = [
    (None, "cannot be read"),
    ("", "is no file of benchmarks"),  # what a run that was stopped leaves
    ("[1, 2]", "is no file of benchmarks"),
    ('{"benchmarks": [1]}', "is no file of benchmarks"),
    ('{"benchmarks": []}', "holds no benchmark of this suite"),
    (ENTRY % "{}", "is no file of benchmarks"),
    (ENTRY % '{"median": 0, "rounds": 1}', "its median is 0.0 seconds"),
]


@pytest.mark.parametrize(("content", "message"), BROKEN)
def test_a_file_that_is_none_is_a_users_mistake(tmp_path, content, message):
    path = tmp_path / "some.json"
    if content is not None:
        path.write_text(content)
    with pytest.raises(UsageError, match=message) as caught:
        write_benchmarks(path, tmp_path)
    assert "tox -e bench" in str(caught.value)
    assert not (tmp_path / "report").exists()


def test_the_command_line(tmp_path, capsys):
    arguments = ["--out", str(tmp_path), "--benchmarks"]
    assert command.main([*arguments, str(without(tmp_path, group="scaling"))]) == 0
    assert capsys.readouterr().out == f"report: {tmp_path / 'report' / 'benchmarks.md'}\n"
    assert command.main([*arguments, str(tmp_path / "none.json")]) == 2
    errors = capsys.readouterr().err
    assert errors.count("\n") == 1
    assert errors.startswith("reports: error: --benchmarks")


def test_seconds_are_of_one_unit_of_work():
    entry = {
        "group": "g",
        "name": "n",
        "extra_info": {"kind": "fast", "units": 4, "flops": 8.0},
        "stats": {"median": 2.0, "rounds": 1},
    }
    measured = Measurement.of(entry)
    assert (measured.seconds, measured.flops, measured.rate) == (0.5, 2.0, 4.0)
    assert math.isclose(measured.seconds * 4, 2.0)


def test_a_loss_has_its_methods_label_order_and_colour_where_the_file_says_them():
    run = read_benchmarks(FIXTURE)
    swept = curves(run.of("scaling", "fast"), "time", "n")
    assert [(made.loss, made.facts) for made in swept] == [
        (name, method_facts(METHODS[name])) for name in ("dm", "kr", "sinkhorn", "emd")
    ]
    entry = json.loads(FIXTURE.read_text())["benchmarks"][-1]
    del entry["extra_info"]["method"]
    assert Measurement.of(entry).facts == MethodFacts(label="kr")
