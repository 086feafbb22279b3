"""A report made from records on disk: every file, and the page that shows them."""

from __future__ import annotations

import re

import numpy as np
import pytest
from PIL import Image
from safetensors.numpy import save_file
from test_frames import record

from bench.errors import UsageError
from bench.records import write_record
from methods import METHODS
from reports import write_report
from reports.frames import Labels
from reports.plots import _palette


def images_of(found, folder, *, channels: int) -> None:
    images = np.linspace(-2, 2, 10 * channels * 64, dtype=np.float32).reshape(10, channels, 8, 8)
    about = {
        "classes": '["a","b","c","d","e","f","g","h","i","j"]',
        "mean": f"{[0.5] * channels}",
        "std": f"{[0.25] * channels}",
    }
    save_file({"images": images, "labels": np.arange(10)}, folder / found.images_name, metadata=about)


def test_a_report_has_every_file_and_the_page_shows_them(tmp_path):
    records = [record(), record("kr"), record("random", iterations=0), record(dataset="folder:/some where/x", ipc=10)]
    for found in records:
        write_record(tmp_path / "records", found)
        images_of(found, tmp_path / "records", channels=3 if found is records[0] else 1)
    page = write_report(tmp_path).read_text(encoding="utf-8")
    report = tmp_path / "report"
    for name in ("table2.md", "table2.csv", "table2.tex", "accuracy.csv", "timing.md", "timing.csv"):
        assert (report / name).stat().st_size > 0
        assert name in page
    pictures = sorted(path.name for path in report.glob("*.png"))
    assert set(re.findall(r'src="([^"]+)"', page)) == set(pictures)
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
    for found in (record(), record("kr")):
        write_record(tmp_path / "records", found)
    write_report(tmp_path, wanted={record().hash})
    text = (tmp_path / "report" / "table2.md").read_text()
    assert "(70.7 ± 0.6) ✓" in text
    assert "– (72.2 ± 0.6)" in text


def test_no_record_is_a_users_mistake(tmp_path):
    with pytest.raises(UsageError, match="no finished record"):
        write_report(tmp_path)


@pytest.mark.parametrize("count", [3, 12, 25])
def test_no_two_methods_have_one_color(count):
    names = [*METHODS, *(f"own{i}" for i in range(20))][:count]
    colors = _palette(names, Labels.of([]))
    assert len(colors) == len(set(colors.values())) == count
