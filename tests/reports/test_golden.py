"""Committed records -> the exact tables, byte for byte.

`python tests/reports/test_golden.py` writes the expected files anew, after a change that is meant.
"""

from __future__ import annotations

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

import pytest  # noqa: E402

from bench.records import read_folder  # noqa: E402
from reports.frames import cell_rows, network_rows  # noqa: E402
from reports.tables import table2_frame, table2_markdown, table2_tex, timing_markdown  # noqa: E402

GOLDEN = ROOT / "tests" / "golden"
RECORDS = ROOT / "reports" / "reference" / "cpu" / "records"


def rendered() -> dict[str, str]:
    records, _ = read_folder(RECORDS)
    frames = {"table2.csv": table2_frame(records), "accuracy.csv": network_rows(records), "timing.csv": cell_rows(records)}
    texts = {name: frame.to_csv(index=False, float_format="%.4f", lineterminator="\n") for name, frame in frames.items()}
    return texts | {
        "table2.md": table2_markdown(records),
        "table2.tex": table2_tex(records),
        "timing.md": timing_markdown(records),
    }


@pytest.mark.parametrize("name", ["table2.md", "table2.csv", "table2.tex", "accuracy.csv", "timing.md", "timing.csv"])
def test_the_committed_records_give_the_committed_table(name):
    assert rendered()[name].encode() == (GOLDEN / name).read_bytes()


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
