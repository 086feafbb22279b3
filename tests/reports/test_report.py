"""A report made from records on disk: every file, and the page that shows them."""

from __future__ import annotations

import io
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from made_records import evaluation, record
from PIL import Image
from safetensors.numpy import save_file

from bench.errors import UsageError
from bench.records import write_record
from methods import METHODS
from reports import write_report
from reports.names import Names
from reports.plots import palette


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
    report = tmp_path / "report"
    for name in (
        "table2.md",
        "table2.csv",
        "table2.tex",
        "accuracy.csv",
        "timing.md",
        "timing.csv",
        "transfer.md",
        "transfer.csv",
        "transfer.tex",
    ):
        assert (report / name).stat().st_size > 0
        assert name in page
    pictures = sorted(path.name for path in report.glob("*.png"))
    assert set(re.findall(r'src="([^"]+)"', page)) == set(pictures) - {"transfer.png"}  # there is one network alone
    assert "Accuracy by evaluation network" not in page
    assert "synthetic_fashionmnist_1_kr.png" in pictures
    assert "synthetic_folder-some-where-x_10_dm.png" in pictures
    for name in pictures:
        with Image.open(report / name) as picture:
            assert picture.width > 50
    assert "70.5 ± 0.7 (70.7 ± 0.6)" in page
    assert "Seconds of each cell" in page
    assert "1 of 3 cells reproduced, 1 above, 1 below" in page
    for piece in ("(70.7 ± 0.6) ✓", "✓ reproduced: ", '<p class="caption">[1] the published evaluation'):
        assert piece in page


def test_what_an_earlier_report_left_goes(tmp_path):
    write_record(tmp_path / "records", record())
    write_report(tmp_path)
    old = tmp_path / "report" / "synthetic_old_1_dm.png"
    old.write_bytes(b"")
    write_report(tmp_path)
    assert not old.exists()


def test_failed_and_unwanted_records_are_left_out(tmp_path):
    for made in (record(), record("kr")):
        write_record(tmp_path / "records", made)
    write_report(tmp_path, wanted={record().hash})
    text = (tmp_path / "report" / "table2.md").read_text()
    assert "(70.7 ± 0.6) ✓" in text
    assert "– (72.2 ± 0.6)" in text


def test_no_record_is_a_users_mistake(tmp_path):
    with pytest.raises(UsageError, match="no finished record"):
        write_report(tmp_path)


def test_the_page_shows_the_transfer_table_where_there_are_more_networks(tmp_path):
    several = record(evaluations=(evaluation("convnet"), evaluation("mlp", (50.0, 52.0))))
    for made in (several, record("kr")):
        write_record(tmp_path / "records", made)
    page = write_report(tmp_path).read_text(encoding="utf-8")
    assert "Accuracy by evaluation network" in page
    assert "<th>ConvNet-3</th><th>MLP</th>" in page
    assert "<td>51.0 ± 1.4 (19.5)</td>" in page
    assert 'src="transfer.png"' in page


def test_failed_records_and_those_without_evaluation_are_left_out(tmp_path):
    empty = record("kr", evaluations=())
    failed = record("emd").model_copy(update={"status": "failed", "error": "x", "evaluations": ()})
    for made in (record(), empty, failed):
        write_record(tmp_path / "records", made)
    write_report(tmp_path)
    assert {line.split(",")[2] for line in (tmp_path / "report" / "accuracy.csv").read_text().splitlines()[1:]} == {"dm"}


def test_files_that_cannot_be_read_are_named(tmp_path, capsys):
    write_record(tmp_path / "records", record())
    (tmp_path / "records" / "torn.json").write_text('{"hash": "x"')
    (tmp_path / "records" / "old.json").write_text('{"hash": "x", "spec": {"hyper": {}}}')
    log = io.StringIO()
    write_report(tmp_path, log=log)
    lines = log.getvalue().splitlines()
    assert len(lines) == 2
    assert lines[0].startswith(f"not read: {tmp_path / 'records' / 'old.json'}: its form is version 1, not 2")
    assert "python -m bench.migrate" in lines[0]
    assert lines[1].startswith(f"not read: {tmp_path / 'records' / 'torn.json'}: ")
    assert capsys.readouterr().err == ""
    write_report(tmp_path)
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


@pytest.mark.parametrize("count", [3, 12, 25, 60])
def test_no_two_methods_have_one_color(count):
    columns = [*METHODS, *(f"own{i}" for i in range(60))][:count]
    records = [record(name) for name in METHODS]
    colors = palette(columns, Names.of(records))
    assert len(colors) == len(set(colors.values())) == count
    for name in set(columns) & set(METHODS):
        assert colors[name.upper()] == METHODS[name].color


def test_variants_of_a_method_differ_in_color():
    colors = palette(["dm (a=1)", "dm (a=2)", "kr"], Names.of([record(), record("kr")]))
    assert colors["DM (a=1)"] == METHODS["dm"].color
    assert len(set(colors.values())) == 3
