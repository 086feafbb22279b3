"""Reports of several folders, in chosen formats, into a chosen folder; and what damaged files do to them."""

from __future__ import annotations

import io
import json
import os
import re
from functools import partial
from pathlib import Path
from urllib.parse import unquote

import numpy as np
import pandas as pd
import pytest
from made_records import record
from safetensors.numpy import save_file

from bench.errors import UsageError
from bench.records.storage import signed, write_record
from reports import __main__ as command
from reports import report, write_report
from reports.figures.figure import Figure

write_without_figures = partial(report.write_report, drawn=())

CLASSES = '["$_$","b","c","d","e","f","g","h","i","j"]'


def write(out: Path, *records, images=None):
    """Write records, and for each a file of images, into a folder; return the folder."""
    images = np.linspace(-2, 2, 10 * 64, dtype=np.float32).reshape(10, 1, 8, 8) if images is None else images
    for made in records:
        write_record(out / "records", made)
        about = {"classes": CLASSES, "mean": "[0.5]", "std": "[0.25]"}
        save_file({"images": images, "labels": np.arange(10)}, out / "records" / made.images_name, metadata=about)
    return out


def files(report):
    return {str(path.relative_to(report)) for path in report.rglob("*") if path.is_file()}


def links(page):
    """Return the files that a page links to or shows."""
    html = re.sub(r"<script.*?</script>", "", page.read_text(encoding="utf-8"), flags=re.S)
    targets = re.findall(r'(?:src|href)="([^"#]+)"', html)
    return {unquote(target) for target in targets if not re.match(r"[a-z]+:", target)}


def test_two_folders_make_one_report_whose_links_hold(tmp_path):
    a, b = write(tmp_path / "a", record()), write(tmp_path / "b", record("kr"), record())
    log = io.StringIO()
    page = write_report(a, b, target=tmp_path / "both", formats=["html", "csv"], log=log)
    assert page == tmp_path / "both" / "index.html"
    assert set(pd.read_csv(page.with_name("results.csv"))["method"]) == {"dm", "kr"}
    assert "counted once: fashionmnist ipc 1 dm seed 0" in log.getvalue()
    assert {name for name in files(page.parent) if name.startswith("images/")} == {
        "images/synthetic_fashionmnist_1_dm.png",
        "images/synthetic_fashionmnist_1_kr.png",  # it lies in the second folder
    }
    missing = {link for link in links(page) if not (page.parent / link).exists()}
    assert missing == set()
    assert not (a / "report").exists()


def test_the_report_goes_into_the_first_folder(tmp_path):
    a, b = write(tmp_path / "a", record()), write(tmp_path / "b", record("kr"))
    assert command.main(["--out", str(a), "--out", str(b), "--format", "csv"]) == 0
    assert (a / "report" / "results.csv").exists()
    assert not (b / "report").exists()


ONLY = {
    "md": {"table2.md", "timing.md"},
    "csv,tex": {"table2.csv", "results.csv", "accuracy.csv", "timing.tex", "figures/answer.csv"},
    "parquet": {"results.parquet"},
    "pdf": {"figures/answer.pdf"},
    "png": {"figures/answer.png", "images/synthetic_fashionmnist_1_dm.png"},
}


@pytest.mark.parametrize("formats", ONLY)
def test_only_the_formats_that_are_wanted_are_written(tmp_path, capsys, formats):
    out = write(tmp_path, record(), record("kr"))
    assert command.main(["--out", str(out), "--format", formats]) == 0
    made = files(out / "report")
    assert {Path(name).suffix[1:] for name in made} == set(formats.split(","))
    assert made >= ONLY[formats]
    assert capsys.readouterr().out == f"report: {out / 'report'}\n"


def test_the_page_is_whole_whatever_else_is_left_away(tmp_path):
    out = write(tmp_path, record(), record("kr"))
    page = write_report(out, formats=["html"])
    assert {link for link in links(page) if not (page.parent / link).exists()} == set()
    assert {Path(name).suffix[1:] for name in files(page.parent)} <= {"html", "svg", "png"}
    assert "Table 2: test accuracy" in page.read_text(encoding="utf-8")
    write_report(out, formats=["md"])
    assert not page.exists()  # it would not be of this report


MISTAKES = {
    "an unknown format": (["--format", "html,pgn"], "unknown format 'pgn' (did you mean 'png'?)"),
    "two folders to check": (["--check", "--out", "other"], "--check takes one folder"),
    "one folder to compare": (["--compare"], "--compare takes two folders"),
    "a file instead of a folder": (["--target", "{out}/a file"], "is no folder"),
}


@pytest.mark.parametrize(("arguments", "message"), MISTAKES.values(), ids=MISTAKES)
def test_a_mistake_is_one_line_and_the_old_report_stays(tmp_path, capsys, arguments, message):
    out = write(tmp_path, record())
    (out / "report").mkdir()
    for name in ("report/index.html", "a file"):
        (out / name).write_text("old")
    assert command.main(["--out", str(out), *(argument.format(out=out) for argument in arguments)]) == 2
    errors = capsys.readouterr().err
    assert message in errors
    assert errors.count("\n") == 1
    assert files(out / "report") == {"index.html"}


@pytest.mark.parametrize("arguments", [["--check", "--target", "x"], ["--check", "--format", "md"], ["--compare", "--check"]])
def test_options_that_do_not_go_together_are_refused(arguments):
    with pytest.raises(SystemExit) as caught:
        command.main(arguments)
    assert caught.value.code == 2


def test_a_failure_leaves_the_old_report_as_it_was_and_what_is_not_its_own_stays(tmp_path):
    out = write(tmp_path, record())
    page = write_without_figures([out])
    for name in ("benchmarks.md", "figures/benchmarks_time.png", "figures/notes.txt", "changes.md"):
        (out / "report" / name).write_text("of others")
    before = {name: (out / "report" / name).read_bytes() for name in files(out / "report")}
    (out / "records" / f"{record().hash}.json").unlink()
    write(out, record("kr"))

    def full(results):
        raise OSError(28, "No space left on device")

    broken = Figure(name="broken", title="Broken", section="answer", caption="None.", draw=full)
    with pytest.raises(UsageError, match="No space left on device"):
        write_without_figures([out], drawn=[broken])
    assert {name: (out / "report" / name).read_bytes() for name in files(out / "report")} == before
    assert sorted(path.name for path in out.iterdir()) == ["records", "report"]
    assert write_without_figures([out]) == page
    others = {name for name in files(out / "report") if (out / "report" / name).read_bytes() == b"of others"}
    assert others == {"benchmarks.md", "figures/benchmarks_time.png", "figures/notes.txt", "changes.md"}
    assert "images/synthetic_fashionmnist_1_dm.png" not in files(out / "report")


WRONG = {
    "truncated": lambda path: path.write_bytes(path.read_bytes()[:100]),
    "empty": lambda path: path.write_bytes(b""),
    "flat": lambda path: save_file({"images": np.zeros((10, 64), np.float32), "labels": np.arange(10)}, path),
    "other labels": lambda path: save_file(
        {"images": np.zeros((10, 1, 8, 8), np.float32), "labels": np.arange(7)},
        path,
        metadata={"classes": CLASSES, "mean": "[0.5]", "std": "[0.25]"},
    ),
    "no metadata": lambda path: save_file({"images": np.zeros((10, 1, 8, 8), np.float32), "labels": np.arange(10)}, path),
}


def test_damaged_images_are_named_and_the_others_are_shown(tmp_path):
    damaged = dict(zip(("random", "herding", "kr", "emd", "sinkhorn"), WRONG.values(), strict=True))
    out = write(tmp_path, record(), *map(record, damaged))
    paths = {method: out / "records" / record(method).images_name for method in damaged}
    for method, damage in damaged.items():
        damage(paths[method])
    log = io.StringIO()
    page = write_without_figures([out], log=log)
    lines = log.getvalue().splitlines()
    assert len(lines) == len(WRONG)
    html = page.read_text(encoding="utf-8")
    for method, path in paths.items():
        assert [line.startswith(f"images not shown: {path}: ") for line in lines].count(True) == 1, method
        assert str(path) in html
    assert {name for name in files(page.parent) if name.startswith("images/")} == {"images/synthetic_fashionmnist_1_dm.png"}


def test_what_was_left_out_is_on_the_page(tmp_path):
    failed = record("emd").model_copy(update={"status": "failed", "error": "<b>no number</b>", "evaluations": ()})
    out = write(tmp_path, record(), failed)
    (out / "records" / "torn.json").write_text("{")
    html = write_without_figures([out], log=io.StringIO()).read_text(encoding="utf-8")
    assert f"failed: {failed.spec.label} ({failed.hash}): &lt;b&gt;no number&lt;/b&gt;" in html
    assert "torn.json" in html


def test_hostile_records_and_names_make_a_report_all_the_same(tmp_path):
    long = record("kr", dataset=f"folder:/{'very long path/' * 30}x", settings={"name": "y" * 300})
    odd = record("emd", dataset="$_$|\n{}^~").model_copy(update={"dataset_label": "$_$|\n{}^~"})
    out = write(tmp_path, record(), long, odd, record("sinkhorn"))
    path = out / "records" / f"{record('sinkhorn').hash}.json"
    content = json.loads(path.read_text())
    content.pop("checksum")
    content["evaluations"][0]["accuracies"] = []
    path.write_text(json.dumps(signed(content)))
    (out / "records" / "X.json").mkdir()
    os.mkfifo(out / "records" / "Y.json")
    os.mkfifo(out / "records" / "Z.safetensors")
    log = io.StringIO()
    page = write_report(out, formats=["html"], log=log)
    lines = log.getvalue().splitlines()
    assert [line.partition(":")[0] for line in lines] == [*["not read"] * 3, "left out in all"]
    assert len([name for name in files(page.parent) if name.startswith("images/")]) == 3
    assert all(len(os.fsencode(Path(name).name)) <= 255 for name in files(page.parent))
