"""The files of artefacts: whole or not at all, and never those of another artefact."""

from __future__ import annotations

import io
import json

import pytest
import torch
from runners import runner
from tiny import cell

from bench.cells.artefact import ArtefactSpec
from bench.errors import DistillationError
from bench.files import file_digest
from bench.records import folder as folders
from bench.records.artefacts import ArtefactFiles, ArtefactRecord
from bench.records.locks import claimed
from bench.running.preparation import prepare
from methods import METHODS

TENSORS = {"0 parameter 0": torch.arange(6.0).view(2, 3), "0 buffer 0": torch.tensor(7)}
FACTS = {"seconds": 1.5, "made_by": "cell", "finished": "today"}


def spec_of(**fields):
    [spec] = METHODS["herding"].artefacts(cell(METHODS["herding"], whole={"epochs": 1}))
    return spec.model_copy(update=fields)


@pytest.fixture
def files(tmp_path):
    """Return the files of an artefact that has been written."""
    files = ArtefactFiles.beside(tmp_path / "records", spec_of())
    files.write(TENSORS, FACTS)
    return files


def test_what_is_written_is_read_and_has_a_checksum(files, tmp_path):
    record = files.read_record()
    assert record == ArtefactRecord(hash=files.spec.hash, spec=spec_of(), tensors=file_digest(files.paths[0]), **FACTS)
    tensors = files.read()
    assert tensors.keys() == TENSORS.keys()
    assert all(torch.equal(tensor, TENSORS[name]) for name, tensor in tensors.items())
    assert {path.name for path in (tmp_path / "artefacts").iterdir()} == {path.name for path in files.paths}


def test_the_hash_is_that_of_the_whole_description_and_survives_a_file():
    again = ArtefactSpec.model_validate_json(spec_of().model_dump_json())
    assert (again, again.hash) == (spec_of(), spec_of().hash)
    changes = [{"seed": 1}, {"ipc": 10}, {"ipc": None}, {"count": 2}, {"data": "a"}, {"code": "a"}, {"numerics": 9}]
    changes += [{"network": "mlp"}, {"precision": "bf16"}, {"kind": "other"}, {"stage": "other"}]
    assert len({spec_of(**change).hash for change in [{}, *changes]}) == 1 + len(changes)


def cut_short(files):
    files.paths[0].write_bytes(files.paths[0].read_bytes()[:-1])


def other_bits(files):
    content = bytearray(files.paths[0].read_bytes())
    content[-1] ^= 1
    files.paths[0].write_bytes(content)


def of_another_artefact(files):
    other = ArtefactFiles(files.folder, spec_of(seed=5))
    other.write({"0 parameter 0": torch.zeros(2)}, FACTS)
    for path, target in zip(other.paths, files.paths, strict=True):
        path.replace(target)


def no_record(files):
    files.paths[1].write_text("{}")


def no_text(files):
    files.paths[1].write_bytes(b"\xff")


def another_version(files):
    content = json.loads(files.paths[1].read_text())
    files.paths[1].write_text(json.dumps({**content, "unheard": 1}))


DAMAGES = [cut_short, other_bits, of_another_artefact, no_record, no_text, another_version]
DAMAGES += [lambda files: files.paths[0].unlink(), lambda files: files.paths[1].unlink()]


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_or_foreign_file_is_no_artefact_and_is_made_again(damage, tmp_path):
    spec = cell(METHODS["herding"], whole={"epochs": 1})
    workplace = runner(tmp_path / "records").workplace
    task, _ = prepare(workplace, workplace.task(spec))
    files = ArtefactFiles.beside(tmp_path / "records", METHODS["herding"].artefacts(spec)[0])
    damage(files)
    assert files.read_record() is None
    assert files.contents() == {}
    again, facts = prepare(workplace, workplace.task(spec))
    assert [fact.made for fact in facts.values()] == [True]
    assert files.read_record() is not None
    for name, tensor in again.prepared["networks"].items():
        assert torch.equal(tensor, task.prepared["networks"][name])


def test_tensors_that_cannot_be_read_are_one_line(files):
    files.paths[0].write_bytes(b"nothing")
    with pytest.raises(DistillationError, match=r"cannot be read .*; remove it, and run this cell again"):
        files.read()


def test_files_from_another_machine_are_stored_once_and_never_beside_a_process_that_makes_them(files, tmp_path):
    contents = files.contents()
    assert list(contents) == [path.name for path in files.paths]
    other = ArtefactFiles.beside(tmp_path / "other" / "records", files.spec)
    with claimed(other.folder, other.spec.hash):
        other.store(contents)
    assert other.read_record() is None
    other.store({other.paths[1].name: contents[other.paths[1].name]})  # one file alone is no artefact
    other.store({})
    assert other.read_record() is None
    other.store(contents)
    assert other.contents() == contents
    written = [path.stat().st_mtime_ns for path in other.paths]
    other.store(contents)
    assert [path.stat().st_mtime_ns for path in other.paths] == written


def test_leftovers_of_a_killed_making_are_removed_by_the_next_run(files, tmp_path):
    (tmp_path / "records").mkdir()
    leftover = files.folder / f".{files.paths[0].name}.abc.part"
    leftover.touch()
    with claimed(files.folder, files.spec.hash):
        folders.present(tmp_path, [], (), force=False, dry_run=False, log=io.StringIO())
    assert leftover.exists()  # its process is running
    folders.present(tmp_path, [], (), force=False, dry_run=True, log=io.StringIO())
    assert leftover.exists()
    folders.present(tmp_path, [], (), force=False, dry_run=False, log=io.StringIO())
    assert not leftover.exists()
