"""Committed records -> the exact tables, byte for byte.

`python tests/reports/test_golden.py` writes the expected files anew, after a change that is meant.
"""

from __future__ import annotations

import sys
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

import pytest  # noqa: E402

from bench.records.storage import read_folder  # noqa: E402
from reports.frames.results import Results  # noqa: E402
from reports.report import accuracy_frame  # noqa: E402
from reports.tables.table2 import table2_frame, table2_table  # noqa: E402
from reports.tables.timing import timing_frame, timing_table  # noqa: E402

GOLDEN = ROOT / "tests" / "golden"
RECORDS = ROOT / "reports" / "reference" / "cpu" / "records"


@cache
def rendered() -> dict[str, str]:
    results = Results.of(read_folder(RECORDS)[0])
    frames = {
        "table2.csv": table2_frame(results),
        "accuracy.csv": accuracy_frame(results),
        "timing.csv": timing_frame(results),
        "results.csv": results.networks,
    }
    texts = {name: frame.to_csv(index=False, float_format="%.4f", lineterminator="\n") for name, frame in frames.items()}
    return texts | {
        "table2.md": table2_table(results).render("md"),
        "table2.tex": table2_table(results).render("tex"),
        "timing.md": timing_table(results).render("md"),
    }


@pytest.mark.parametrize("name", sorted(path.name for path in GOLDEN.iterdir()))
def test_the_committed_records_give_the_committed_table(name):
    assert rendered()[name].encode() == (GOLDEN / name).read_bytes()


def test_every_table_that_is_made_is_compared():
    assert set(rendered()) == {path.name for path in GOLDEN.iterdir()}


def test_there_are_real_records():
    records, unreadable = read_folder(RECORDS)
    assert not unreadable
    assert {record.spec.dataset for record in records} >= {"fashionmnist", "mnist", "cifar10"}
    assert all(record.status == "ok" for record in records)


@pytest.mark.parametrize("folder", sorted(RECORDS.parents[1].glob("*/records")), ids=lambda folder: folder.parent.name)
def test_a_committed_record_has_the_hash_of_its_description(folder):
    records, unreadable = read_folder(folder)
    assert records
    assert not unreadable
    for record in records:
        assert record.spec.hash == record.hash
        assert (folder / f"{record.hash}.json").is_file()
        assert (folder / record.images_name).is_file() == record.has_images


if __name__ == "__main__":
    for name, text in rendered().items():
        (GOLDEN / name).write_text(text, encoding="utf-8")
