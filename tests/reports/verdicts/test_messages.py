"""Messages are for readers: if all of them are reworded, every verdict, table and count stays."""

from __future__ import annotations

import io
import re
from dataclasses import replace

import pytest
from made_records import record, with_checkpoints, with_protocol

from bench.records.record import RunRecord
from bench.records.storage import read_folder, write_record
from reports.frames import published as values
from reports.frames.reading import Finished, read_records
from reports.frames.results import Results
from reports.tables import TABLES
from reports.tables.table import Table, TableCell
from reports.verdicts import cells, reached, verdict
from reports.verdicts.cells import summary, table2_cells

WORDING = "Reworded: failed: misprint, to remove it: rm all; the images are not the published ones, cannot be read [Errno 5]"
"""Says everything that a program could look for in a message."""

NO_WORDS = ("verdict_note", "note", "published_note", "published_evaluation_source")
"""The columns of frames that hold messages."""


def records() -> list[RunRecord]:
    """Return records of all kinds: comparable and not, with other images, a misprint, a doubt, and failures."""
    low = (60.0, 60.2)
    return [
        with_checkpoints(record("dm"), {1: (60.0,), 5: (72.0,)}),
        record("kr", accuracies=low).model_copy(update={"published_images": False, "warnings": ("other images",)}),
        record("dsa", accuracies=(90.0, 90.2)).model_copy(update={"warnings": ("the images diverged",)}),
        record("cafe", accuracies=low),  # its value has a doubt
        record("random", accuracies=low),
        record("herding", accuracies=low),
        with_protocol(record("emd"), data={"split": "validation"}),
        with_checkpoints(record("dc", dataset="cifar100", ipc=50, accuracies=low), {1: low}),  # a misprint
        record("dm", dataset="cifar100", ipc=50, accuracies=low),
        record("whole", ipc=None, accuracies=(91.0,)),
        record("kr", seed=1).model_copy(update={"failed_evaluations": {"mlp": "out of memory"}, "published_images": False}),
        record("kr", seed=2, evaluations=()),
        record("emd", seed=3, evaluations=()).model_copy(update={"status": "failed", "error": "no number"}),
    ]


def reworded(made: RunRecord) -> RunRecord:
    """Return a record with other messages."""
    return made.model_copy(
        update={
            "warnings": tuple(WORDING for _ in made.warnings),
            "error": WORDING if made.error else "",
            "failed_evaluations": dict.fromkeys(made.failed_evaluations, WORDING),
        }
    )


def reworded_values() -> dict:
    """Return the published values with other notes, doubts and sources; an empty one says nothing, and stays empty."""
    return {
        key: replace(
            value,
            note=value.note and WORDING,
            doubt=value.doubt and WORDING,
            evaluation_source=value.evaluation_source and WORDING,
        )
        for key, value in values.published().items()
    }


@pytest.fixture
def other_messages(monkeypatch):
    """Reword what is said of published values and of files, wherever it is read."""
    others = reworded_values()
    for module in (cells, reached, verdict):
        monkeypatch.setattr(module, "published", lambda: others)

    def read(folder):
        made, problems = read_folder(folder)
        return made, [problem.model_copy(update={"reason": WORDING}) for problem in problems]

    monkeypatch.setattr("reports.frames.reading.read_folder", read)


def write(folder, made):
    """Write records, and files that are none: a torn one, one of another version, a copy, and one with other images."""
    target = folder / "records"
    for single in made:
        write_record(target, single)
    whole = record("dm", ipc=10)
    write_record(target, whole.model_copy(update={"images": {"x.safetensors": "0" * 64}}))
    (target / "x.safetensors").write_text("other images")
    (target / "copy.json").write_text((target / f"{made[0].hash}.json").read_text())
    (target / "torn.json").write_text("{")
    (target / "old.json").write_text('{"hash": "x", "spec": {}, "schema_version": 2}')
    return folder


def read(folder) -> tuple[Finished, list[str]]:
    log = io.StringIO()
    return read_records([folder], log=log), log.getvalue().splitlines()


def numbers(results: Results) -> dict[str, object]:
    """Return everything of a report that is no message: kinds and numbers of verdicts, cells of tables, and frames."""
    tables = {entry.name: entry.make(results) for entry in TABLES}
    frames = {entry.name: entry.frame(results) for entry in TABLES if entry.frame and tables[entry.name]}
    return {
        "summary": summary(table2_cells(results)),
        "tables": {name: repr(table and layout(table)) for name, table in tables.items()},
        "frames": {name: frame.drop(columns=[*NO_WORDS], errors="ignore").to_csv() for name, frame in frames.items()},
    }


def layout(table: Table) -> list[tuple]:
    """Return the rows of a table, and of footnotes only whether there is one."""
    return [(row.labels, *map(without_note, row.cells)) for row in table.rows]


def without_note(cell: TableCell) -> TableCell:
    judged = replace(cell.verdict, note="") if cell.verdict else None
    return replace(cell, verdict=judged, note=None if cell.note is None else 0)


def test_other_messages_change_no_verdict_and_no_table(tmp_path, request):
    made = records()
    before, lines = read(write(tmp_path / "before", made))
    expected = numbers(Results.of(before.records))
    assert {"reproduced", "not comparable", "above", "smaller budget"} <= set(
        re.findall("reproduced|not comparable|above|smaller budget", str(expected["frames"]["table2"]))
    )
    request.getfixturevalue("other_messages")
    folder = write(tmp_path / "after", [reworded(single) for single in made])
    after, other_lines = read(folder)
    assert [reworded(single) for single in before.records] == list(after.records)
    assert numbers(Results.of(after.records)) == expected
    assert lines[-1] == other_lines[-1]  # how much was left out, by kind
    assert {reason.kind for reason in after.left_out} == {"not read", "failed", "not evaluated", "evaluation failed"}
    assert sorted(reason.kind for reason in after.left_out) == sorted(reason.kind for reason in before.left_out)
    removable = [line for line in other_lines if "; to remove it: rm " in line.replace(WORDING, "")]
    assert len(removable) == 1
    assert "torn.json" in removable[0]


def test_what_a_message_says_does_not_make_it_true(other_messages):
    warned = record("dm").model_copy(update={"warnings": (WORDING,)})
    (cell,) = [cell for cell in table2_cells(Results.of([warned])) if cell.measured]
    assert cell.verdict.kind == "reproduced"
    assert WORDING in cell.note
