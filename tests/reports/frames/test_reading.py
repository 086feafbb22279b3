"""What a report takes from folders of records, and how it names what it leaves out."""

from __future__ import annotations

import errno
import io
import json
import math
import os
import re
import subprocess

import pytest
from made_records import evaluation, record, with_checkpoints

from bench.errors import UsageError
from bench.records.storage import signed, write_record
from reports.frames.reading import read_records


def write(folder, *records):
    for made in records:
        write_record(folder / "records", made)
    return folder


def read(*outs, **how):
    """Return what was read, and the lines that were logged."""
    log = io.StringIO()
    return read_records(outs, log=log, **how), log.getvalue().splitlines()


def test_several_folders_are_read_as_one_and_each_record_knows_its_folder(tmp_path):
    a, b = write(tmp_path / "a", record()), write(tmp_path / "b", record("kr"))
    finished, lines = read(a, b, a)
    assert [made.hash for made in finished.records] == sorted([record().hash, record("kr").hash])
    assert finished.folders == {record().hash: a / "records", record("kr").hash: b / "records"}
    assert lines == []


MORE = evaluation("mlp", (50.0, 51.0))
BETTER = {
    "more evaluations": record(evaluations=(evaluation(), MORE)),
    "more checkpoints": with_checkpoints(record(), {3: (60.0, 61.0)}),
    "newer": record().model_copy(update={"finished": "2026-02-01T00:00:00"}),
}


@pytest.mark.parametrize("better", BETTER.values(), ids=BETTER)
@pytest.mark.parametrize("place", ["a", "b"])
def test_of_one_cell_in_two_folders_the_complete_and_then_the_newer_counts(tmp_path, better, place):
    usual = record().model_copy(update={"finished": "2026-01-01T00:00:00"})
    for name in "ab":
        write(tmp_path / name, better if name == place else usual)
    finished, lines = read(tmp_path / "a", tmp_path / "b")
    assert finished.records == (better,)
    assert finished.folders[better.hash] == tmp_path / place / "records"
    assert len(lines) == 1
    assert lines[0].startswith(f"counted once: {better.spec.label} ({better.hash}) is in ")
    assert lines[0].endswith(f"that of {tmp_path / place / 'records'} counts")
    assert finished.left_out == ()


def test_a_failed_copy_does_not_count_beside_one_with_results(tmp_path):
    failed = record().model_copy(update={"status": "failed", "error": "x", "evaluations": (), "finished": "2027"})
    finished, _ = read(write(tmp_path / "a", failed), write(tmp_path / "b", record()))
    assert finished.records == (record(),)
    assert finished.left_out == ()


def test_what_is_left_out_is_named_with_the_reason(tmp_path):
    failed = record("emd").model_copy(update={"status": "failed", "error": "no\nnumber", "evaluations": ()})
    partly = record("kr").model_copy(update={"failed_evaluations": {"mlp": "out of memory"}})
    empty = record("sinkhorn", evaluations=())
    out = write(tmp_path, record(), failed, partly, empty)
    finished, lines = read(out)
    assert {made.spec.method for made in finished.records} == {"dm", "kr"}
    assert lines[-1].startswith("left out in all: 3 (")
    assert all(f"1 {kind}" in lines[-1] for kind in ("failed", "evaluation failed", "not evaluated"))
    assert sorted(lines[:-1]) == sorted(map(str, finished.left_out)) == [
        f"evaluation failed: {partly.spec.label} ({partly.hash}) by mlp: out of memory",
        f"failed: {failed.spec.label} ({failed.hash}): no number",
        f"not evaluated: {empty.spec.label} ({empty.hash})",
    ]  # fmt: skip
    assert read(out, wanted={record().hash})[1] == []  # of cells that nobody asked for, nothing is said


@pytest.mark.parametrize("accuracies", [[], [70.0, math.nan], [101.0]])
def test_a_record_whose_accuracies_are_no_percentages_is_left_out(tmp_path, accuracies):
    out = write(tmp_path, record(), record("kr"))
    path = out / "records" / f"{record('kr').hash}.json"
    content = json.loads(path.read_text())
    content.pop("checksum")
    content["evaluations"][0]["accuracies"] = accuracies
    path.write_text(json.dumps(signed(content)))  # as a program would that knows our checksums and not our limits
    finished, lines = read(out)
    assert finished.records == (record(),)
    assert len(lines) == 2
    assert lines[0].startswith(f"not read: {path}: ")
    assert lines == [*map(str, finished.left_out), "left out in all: 1 (1 not read)"]


DAMAGED = {
    "truncated": lambda text: text[: len(text) // 2],
    "foreign": lambda text: '{"name": "something else"}',
    "changed": lambda text: text.replace('"seed": 0', '"seed": 7'),
}


@pytest.mark.parametrize("damage", DAMAGED.values(), ids=DAMAGED)
def test_a_damaged_file_is_named_with_the_command_that_removes_it(tmp_path, damage):
    out = write(tmp_path / "a folder of 'mine'", record(), record("kr"))
    path = out / "records" / f"{record('kr').hash}.json"
    path.write_text(damage(path.read_text()))
    (line, _) = read(out)[1]
    subprocess.run(re.search(r"to remove it: (rm .*?); ", line)[1], shell=True, check=True)
    assert not path.exists()
    assert read(out)[1] == []


def unreadable(path):
    raise OSError(errno.ESTALE, "Stale file handle")


def test_what_has_another_remedy_or_cannot_be_looked_at_is_not_to_be_removed(tmp_path, monkeypatch):
    out = write(tmp_path, record(), record("kr"))
    path = out / "records" / f"{record('kr').hash}.json"
    whole = path.read_text()
    path.write_text('{"hash": "x", "spec": {}}')
    assert "another version of this suite" in read(out)[1][0]
    assert ": rm " not in read(out)[1][0]
    path.write_text(whole)
    made = record("kr").model_copy(update={"images": {"x.safetensors": "0" * 64}})
    write(out, made)
    (out / "records" / "x.safetensors").write_text("other")
    assert "makes them again" in read(out)[1][0]
    assert ": rm " not in read(out)[1][0]  # the record is whole
    monkeypatch.setattr("bench.records.storage.file_digest", unreadable)
    assert "cannot be read (Stale file handle)" in read(out)[1][0]
    assert ": rm " not in read(out)[1][0]
    monkeypatch.undo()
    path.write_text(whole[:100])
    monkeypatch.setattr("os.access", lambda *_: False)
    assert ": rm " not in read(out)[1][0]


HOSTILE = {
    "a folder": lambda path: path.mkdir(),
    "undecodable bytes": lambda path: path.write_bytes(b'{"hash": "\xff\xfe"}'),
    "a FIFO": os.mkfifo,
    "empty": lambda path: path.write_text(""),
    "a list": lambda path: path.write_text("[1, 2]"),
    "deep": lambda path: path.write_text("[" * 100_000),
}


@pytest.mark.parametrize("make", HOSTILE.values(), ids=HOSTILE)
def test_a_hostile_file_is_named_and_the_others_are_read(tmp_path, make):
    out = write(tmp_path, record())
    path = out / "records" / "X.json"
    make(path)
    finished, lines = read(out)
    assert finished.records == (record(),)
    assert len(lines) == 2
    assert lines[0].startswith(f"not read: {path}: ")
    path.rename(out / "X.json")
    (out / "records" / f"{record().hash}.json").unlink()
    (out / "X.json").rename(path)
    with pytest.raises(UsageError, match=r"no finished record in .*1 file could not be read, the first, X\.json"):
        read(out)


def test_where_no_record_is_a_choice_none_is_no_mistake(tmp_path):
    assert read(tmp_path, may_be_none=True)[0].records == ()
    with pytest.raises(UsageError, match=r"there is no finished record in .*a/records, .*b/records; valid"):
        read(tmp_path / "a", tmp_path / "b")
