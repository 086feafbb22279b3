"""A folder of records: a file is what its content says, and what is not as it was written is never taken for a result."""

from __future__ import annotations

import errno
import json
import os
import shutil

import pytest
from test_records import RECORD, with_settings

from bench.cells.spec import hash_of
from bench.files import file_digest
from bench.records.record import RecordProblem, RunRecord
from bench.records.storage import distilled, finished, read_folder, read_record, signed, write_record

OTHER_SPEC = with_settings(hidden=128, clip=0.01, precision="fp32", outer=None)
OTHER = RECORD.model_copy(update={"spec": OTHER_SPEC, "hash": OTHER_SPEC.hash, "loss": (3.0,)})


def path_of(folder, record: RunRecord):
    return folder / f"{record.hash}.json"


def reasons(folder) -> dict[str, str]:
    return {problem.path.name: problem.reason for problem in read_folder(folder)[1]}


def test_a_copy_counts_once_and_is_named_with_the_command_that_removes_it(tmp_path):
    write_record(tmp_path, RECORD)
    for name in (f"{RECORD.hash} (copy).json", "0000.json"):
        shutil.copy(path_of(tmp_path, RECORD), tmp_path / name)
    assert read_folder(tmp_path)[0] == [RECORD]
    assert set(reasons(tmp_path)) == {f"{RECORD.hash} (copy).json", "0000.json"}
    assert f"rm '{tmp_path}/{RECORD.hash} (copy).json'" in reasons(tmp_path)[f"{RECORD.hash} (copy).json"]


def test_another_record_of_the_same_cell_does_not_count_beside_the_rightly_named_one(tmp_path):
    write_record(tmp_path / "other", RECORD.model_copy(update={"loss": (9.0,)}))
    write_record(tmp_path, RECORD)
    shutil.copy(path_of(tmp_path / "other", RECORD), tmp_path / "0000.json")
    assert read_folder(tmp_path)[0] == [RECORD]
    assert "another record of the cell" in reasons(tmp_path)["0000.json"]


def test_a_record_under_another_cells_name_counts_as_what_it_is_and_that_cell_runs_again(tmp_path):
    write_record(tmp_path, RECORD)
    path_of(tmp_path, RECORD).replace(path_of(tmp_path, OTHER))
    records, (problem,) = read_folder(tmp_path)
    assert records == [RECORD]
    assert problem.counted
    assert problem.reason.endswith(f"to rename it: mv {path_of(tmp_path, OTHER)} {path_of(tmp_path, RECORD)}")
    assert finished(tmp_path, OTHER.spec) is None
    assert finished(tmp_path, RECORD.spec) is None  # nothing is renamed
    path_of(tmp_path, OTHER).rename(path_of(tmp_path, RECORD))
    assert read_folder(tmp_path) == ([RECORD], [])


def test_a_misplaced_record_counts_once_and_only_if_there_is_no_rightly_named_one(tmp_path):
    write_record(tmp_path, RECORD)
    for name in ("0.json", "1.json"):
        shutil.copy(path_of(tmp_path, RECORD), tmp_path / name)
    assert [problem.counted for problem in read_folder(tmp_path)[1]] == [False, False]
    path_of(tmp_path, RECORD).write_text("{")  # now the copies are the only sound ones
    records, problems = read_folder(tmp_path)
    assert records == [RECORD]
    assert {problem.path.name: problem.counted for problem in problems} == {
        "0.json": True,
        "1.json": False,
        path_of(tmp_path, RECORD).name: False,
    }


def test_every_change_of_a_record_is_seen(tmp_path):
    write_record(tmp_path, RECORD)
    path = path_of(tmp_path, RECORD)
    content = json.loads(path.read_text())
    assert content["hash"] == hash_of(content["spec"])

    def leaves(value, at=()):
        if isinstance(value, dict):
            for name, inner in value.items():
                yield from leaves(inner, (*at, name))
        elif isinstance(value, list):
            for number, inner in enumerate(value):
                yield from leaves(inner, (*at, number))
        else:
            yield at

    for at in leaves(content):
        changed = json.loads(json.dumps(content))
        inner = changed
        for key in at[:-1]:
            inner = inner[key]
        inner[at[-1]] = 7 if inner[at[-1]] != 7 else 8
        path.write_text(json.dumps(changed))
        assert isinstance(read_record(path), RecordProblem), at
        assert read_folder(tmp_path)[0] == []
    path.write_text(json.dumps(content, indent=7))  # white space means nothing
    assert read_record(path) == RECORD


def test_a_hash_that_is_not_the_descriptions_is_refused_even_where_it_is_signed(tmp_path):
    write_record(tmp_path, RECORD)
    path = path_of(tmp_path, RECORD)
    content = json.loads(path.read_text())
    del content["checksum"]
    content["spec"]["seed"] = 5
    path.write_text(json.dumps(signed(content)))
    assert reasons(tmp_path)[path.name] == "its hash is not that of its description"


@pytest.mark.parametrize("accuracy", [float("nan"), float("inf"), -1.0, 100.5])
def test_an_accuracy_that_is_none_is_refused_even_where_it_is_signed(tmp_path, accuracy):
    write_record(tmp_path, RECORD)
    path = path_of(tmp_path, RECORD)
    content = json.loads(path.read_text())
    del content["checksum"]
    content["evaluations"][0]["accuracies"][0] = accuracy
    path.write_text(json.dumps(signed(content)))
    assert read_folder(tmp_path)[0] == []


def test_images_that_are_not_those_of_the_record_make_it_no_result(tmp_path):
    image = tmp_path / RECORD.images_name
    image.write_bytes(b"the images")
    record = RECORD.model_copy(update={"images": {RECORD.images_name: file_digest(image)}})
    write_record(tmp_path, record)
    assert read_folder(tmp_path) == ([record], [])
    assert distilled(tmp_path, record.spec) == record
    image.write_bytes(b"the imagez")
    assert read_folder(tmp_path)[0] == []
    assert RECORD.images_name in reasons(tmp_path)[f"{record.hash}.json"]
    assert distilled(tmp_path, record.spec) is None
    image.unlink()  # records may be kept without their images, but the cell cannot be evaluated further
    assert read_folder(tmp_path) == ([record], [])
    assert distilled(tmp_path, record.spec) is None


@pytest.mark.parametrize(
    "name", ["", ".", "..", ".hidden", "../other", "/etc/hostname", "a/b", "a\\b", "a\0b", "a\n", "a" * 300, "\u00e4" * 150]
)
def test_images_are_named_by_plain_names_even_where_the_record_is_signed(tmp_path, name):
    write_record(tmp_path, RECORD)
    path = path_of(tmp_path, RECORD)
    content = json.loads(path.read_text())
    del content["checksum"]
    path.write_text(json.dumps(signed(content | {"images": {name: "0" * 64}})))
    assert read_folder(tmp_path)[0] == []
    assert reasons(tmp_path)[path.name].startswith("images.")
    assert distilled(tmp_path, RECORD.spec) is None


def test_images_that_cannot_be_read_make_a_record_no_result(tmp_path, monkeypatch):
    image = tmp_path / RECORD.images_name
    image.write_bytes(b"the images")
    write_record(tmp_path, RECORD.model_copy(update={"images": {RECORD.images_name: file_digest(image)}}))

    def refuse(path):
        raise PermissionError(errno.EACCES, "Permission denied", str(path))

    monkeypatch.setattr("bench.records.storage.file_digest", refuse)
    assert reasons(tmp_path) == {
        path_of(tmp_path, RECORD).name: f"the images in {RECORD.images_name} cannot be read (Permission denied)"
    }


def test_pipes_and_folders_are_named_and_never_read(tmp_path):
    write_record(tmp_path, RECORD)
    os.mkfifo(tmp_path / "pipe.json")
    (tmp_path / "folder.json").mkdir()
    assert read_folder(tmp_path)[0] == [RECORD]
    assert reasons(tmp_path) == {
        name: f"{tmp_path / name} is {kind}, and is not opened; valid: a regular file"
        for name, kind in (("folder.json", "a folder"), ("pipe.json", "a FIFO"))
    }
