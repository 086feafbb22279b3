"""A report made from records on disk: every file, and the page that shows them."""

from __future__ import annotations

import io
import re
import subprocess
import sys
from base64 import b64decode
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from made_records import evaluation, record
from PIL import Image
from safetensors.numpy import save_file

from bench.errors import UsageError
from bench.records.storage import write_record
from reports import report, write_report
from reports.figures.rates import FIGURE as RATES
from reports.frames.results import Results
from reports.statistics.answer import answer

write_without_figures = partial(report.write_report, drawn=())


def images_of(made, folder, *, channels: int) -> None:
    images = np.linspace(-2, 2, 10 * channels * 64, dtype=np.float32).reshape(10, channels, 8, 8)
    about = {
        "classes": '["a","b","c","d","e","f","g","h","i","j"]',
        "mean": f"{[0.5] * channels}",
        "std": f"{[0.25] * channels}",
    }
    save_file({"images": images, "labels": np.arange(10)}, folder / made.images_name, metadata=about)


def test_a_report_has_every_file_and_the_page_shows_them(tmp_path):
    records = [record(), record("kr"), record("random", iterations=0), record(dataset="folder:/some where/x", ipc=10)]
    for made in records:
        write_record(tmp_path / "records", made)
        images_of(made, tmp_path / "records", channels=3 if made is records[0] else 1)
    page = write_report(tmp_path).read_text(encoding="utf-8")
    folder = tmp_path / "report"
    tables = {
        f"{name}.{form}" for name in ("table2", "timing", "transfer", "answer", "comparisons") for form in ("md", "csv", "tex")
    }
    for name in (*tables, "results.csv", "results.parquet", "losses.csv", "losses.parquet", "accuracy.csv"):
        assert (folder / name).stat().st_size > 0
        assert f'href="{name}"' in page
    shown = {b64decode(picture) for picture in re.findall(r'src="data:[a-z/+]+;base64,([^"]+)"', page)}
    assert shown == {path.read_bytes() for path in (*(folder / "figures").glob("*.svg"), *(folder / "images").glob("*.png"))}
    for name in ("answer", "accuracy_1", "pareto_1", "timing_1"):
        for form in ("svg", "png", "pdf", "csv"):
            assert (folder / "figures" / f"{name}.{form}").stat().st_size > 0
            assert f'href="figures/{name}.{form}"' in page
    assert "Accuracy by evaluation network" not in page
    assert 'href="images/synthetic_fashionmnist_1_kr.png"' in page
    for path in (folder / "figures").glob("*.png"):
        with Image.open(path) as picture:
            assert picture.width > 200
    assert "(70.7 ± 0.6)" in page
    assert "Seconds of each cell" in page
    assert "1 of 3 cells reproduced, 1 above, 0 below, 1 unclear; 0 more below with a smaller budget" in page
    for piece in ("✓", "✓ reproduced: ", ">[1] the published evaluation was probably"):
        assert piece in page


@pytest.fixture(scope="module")
def two_losses():
    """Return two records; one was evaluated by two networks."""
    return record(evaluations=(evaluation("convnet"), evaluation("mlp", (50.0, 52.0)))), record("kr")


@pytest.fixture(scope="module")
def page_of_two_losses(tmp_path_factory, two_losses):
    out = tmp_path_factory.mktemp("two losses")
    for made in two_losses:
        write_record(out / "records", made)
    return write_report(out, formats=["html"]).read_text(encoding="utf-8")


def test_the_answer_is_first_on_the_page(page_of_two_losses, two_losses):
    page = page_of_two_losses
    pieces = "<h1>", answer(Results.of(two_losses)), 'href="figures/answer.svg"'
    positions = [page.index(piece) for piece in pieces]
    assert positions == sorted(positions)
    assert positions[-1] < page.index("How much of the paper reproduces") < page.index("<h2>Table 2: test accuracy")


def test_the_tidy_frame_is_written_twice_and_reads_back_the_same(tmp_path):
    several = record(evaluations=(evaluation("convnet"), evaluation("mlp", (50.0, 52.0))))
    for made in (several, record("kr", settings={"hidden": 3}), record("kr"), record("whole", ipc=None, accuracies=(91.0,))):
        write_record(tmp_path / "records", made)
    write_without_figures([tmp_path])
    parquet = pd.read_parquet(tmp_path / "report" / "results.parquet")
    written = pd.read_csv(tmp_path / "report" / "results.csv", keep_default_na=False)
    assert list(parquet.columns) == list(written.columns)
    assert len(parquet) == len(written) == 4 + 2 + 2 + 1
    assert list(parquet["accuracy"]) == pytest.approx(list(written["accuracy"]))
    for frame in (parquet, written):
        assert set(zip(frame["method"], frame["variant"], strict=True)) == {
            ("dm", ""),
            ("kr", "kr.hidden=3"),
            ("kr", ""),
            ("whole", ""),
        }
    by_mlp = parquet[parquet["eval_network"] == "mlp"].iloc[1]
    assert (by_mlp["hash"], by_mlp["network"], by_mlp["accuracy"], by_mlp["profile"]) == (several.hash, 1, 52.0, "cpu")
    assert by_mlp["total_s"] == 3.0 + 2.0  # of a cell that the MLP alone evaluated
    assert parquet.loc[parquet["method"] == "whole", "ipc"].isna().all()


def test_files_of_an_earlier_report_are_removed(tmp_path):
    other = record("kr", rate=0.1), record("kr", rate=0.05)
    for made in (record(), *other):
        write_record(tmp_path / "records", made)
    report.write_report([tmp_path], drawn=[RATES])
    folder = tmp_path / "report"
    old = folder / "images" / "synthetic_old_1_dm.png"
    old.write_bytes(b"")
    kept = folder / "notes.md", folder / "figures" / "benchmarks_time.png"
    for path in kept:
        path.write_text("not of this report")
    stale = folder / "rates.md", folder / "figures" / "rates.svg"
    assert all(path.exists() for path in stale)
    for made in other:
        (tmp_path / "records" / f"{made.hash}.json").unlink()
    report.write_report([tmp_path], drawn=[RATES])
    assert not any(path.exists() for path in (old, *stale))
    assert all(path.exists() for path in kept)


def test_failed_and_unwanted_records_are_left_out(tmp_path):
    for made in (record(), record("kr")):
        write_record(tmp_path / "records", made)
    write_without_figures([tmp_path], wanted={record().hash})
    table = (tmp_path / "report" / "table2.md").read_text()
    assert "(70.7 ± 0.6) ✓" in table
    assert "– (72.2 ± 0.6)" in table


def test_no_record_is_a_users_mistake(tmp_path):
    with pytest.raises(UsageError, match="no finished record"):
        write_report(tmp_path)


def test_the_page_shows_the_transfer_table_if_there_are_more_networks(page_of_two_losses):
    page = page_of_two_losses
    assert "Accuracy by evaluation network" in page
    assert '<th scope="col">ConvNet-3</th><th scope="col">MLP</th>' in page
    assert "<td>51.0 ± 1.4 (19.5)</td>" in page
    assert 'href="figures/transfer.svg"' in page


def test_failed_records_and_those_without_evaluation_are_left_out(tmp_path):
    empty = record("kr", evaluations=())
    failed = record("emd").model_copy(update={"status": "failed", "error": "x", "evaluations": ()})
    for made in (record(), empty, failed):
        write_record(tmp_path / "records", made)
    write_without_figures([tmp_path])
    assert {line.split(",")[2] for line in (tmp_path / "report" / "accuracy.csv").read_text().splitlines()[1:]} == {"dm"}


def test_files_that_cannot_be_read_are_named(tmp_path, capsys):
    write_record(tmp_path / "records", record())
    (tmp_path / "records" / "torn.json").write_text('{"hash": "x"')
    (tmp_path / "records" / "old.json").write_text('{"hash": "x", "spec": {"hyper": {}}}')
    log = io.StringIO()
    write_without_figures([tmp_path], log=log)
    lines = log.getvalue().splitlines()
    assert len(lines) == 3
    assert lines[2] == "left out in all: 2 (2 not read)"
    assert lines[0].startswith(f"not read: {tmp_path / 'records' / 'old.json'}: its form is version 1, not 4")
    assert "another version" in lines[0]
    assert lines[1].startswith(f"not read: {tmp_path / 'records' / 'torn.json'}: ")
    assert capsys.readouterr().err == ""
    write_without_figures([tmp_path])
    assert capsys.readouterr().err == log.getvalue()


def test_the_mistake_says_how_many_files_could_not_be_read_and_why(tmp_path):
    (tmp_path / "records").mkdir()
    for name in ("a", "b"):
        (tmp_path / "records" / f"{name}.json").write_text('{"hash": "x", "spec": {}}')
    with pytest.raises(UsageError, match=r"2 files could not be read, the first, a\.json, because its form is version 1"):
        write_report(tmp_path, log=io.StringIO())
    (tmp_path / "records" / "b.json").unlink()
    with pytest.raises(UsageError, match=r"no finished record in .*1 file could not be read"):
        write_report(tmp_path, log=io.StringIO())


def test_importing_reports_is_cheap():
    code = "import sys, reports.__main__; sys.exit(not {'torch', 'pandas', 'matplotlib', 'numpy'}.isdisjoint(sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], cwd=Path(__file__).parents[2], check=False).returncode == 0
