"""Locks: one process at a time has a cell, and a dead one keeps nothing."""

from __future__ import annotations

import errno
import fcntl
import subprocess
import sys
from pathlib import Path

import pytest

from bench.errors import UnwritableError
from bench.records.locks import claimed, remove_leftovers
from bench.running.remote import marker

ROOT = Path(__file__).resolve().parents[3]
HOLD = """
import sys
from pathlib import Path
from bench.records.locks import claimed
with claimed(Path(sys.argv[1]), "aaaa") as ours:
    print(ours, flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def other(tmp_path):
    """Start a process that has the cell `aaaa` of a folder, until its standard input ends or it is killed."""
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path)], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout.readline() == "True\n"
        yield process
        process.kill()


def test_one_process_at_a_time_has_a_cell(tmp_path, other):
    with claimed(tmp_path, "aaaa") as ours:
        assert not ours
    with claimed(tmp_path, "bbbb") as ours:
        assert ours
    other.communicate("")
    with claimed(tmp_path, "aaaa") as ours:
        assert ours


def test_a_killed_process_keeps_nothing(tmp_path, other):
    other.kill()
    other.wait()
    with claimed(tmp_path, "aaaa") as ours:
        assert ours


def test_leftovers_of_dead_writes_go_and_those_of_a_process_at_work_stay(tmp_path, other):
    names = [".aaaa.json.x1.part", ".aaaa-30.safetensors.x2.part", ".bbbb.json.x3.part", ".bbbb.resume.x4.part"]
    for name in [*names, "aaaa.json", ".other"]:
        (tmp_path / name).touch()
    remove_leftovers(tmp_path)
    assert {path.name for path in tmp_path.glob("*") if path.is_file()} == {*names[:2], "aaaa.json", ".other"}
    other.kill()
    other.wait()
    remove_leftovers(tmp_path)
    assert {path.name for path in tmp_path.glob("*") if path.is_file()} == {"aaaa.json", ".other"}


def test_what_cannot_be_removed_keeps_nothing_else_from_going(tmp_path):
    (tmp_path / ".aaaa.json.x1.part").mkdir()
    (tmp_path / ".bbbb.json.x2.part").touch()
    errors = remove_leftovers(tmp_path)
    assert [path.name for path in tmp_path.glob(".*.part")] == [".aaaa.json.x1.part"]
    assert [error.filename for error in errors] == [str(tmp_path / ".aaaa.json.x1.part")]


def test_the_marker_of_a_dead_run_goes_and_that_of_one_at_work_stays(tmp_path):
    (tmp_path / ".shared-dead").touch()
    with marker(tmp_path) as name:
        remove_leftovers(tmp_path)
        assert [path.name for path in tmp_path.glob(".shared-*")] == [name]
    assert not list(tmp_path.glob(".shared-*"))


def fail_to_lock(monkeypatch, number):
    def flock(*arguments):
        raise OSError(number, "no such luck")

    monkeypatch.setattr(fcntl, "flock", flock)


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.EOPNOTSUPP])
def test_where_nothing_can_be_locked_the_error_names_the_file(tmp_path, monkeypatch, number):
    fail_to_lock(monkeypatch, number)
    with pytest.raises(UnwritableError) as error, claimed(tmp_path, "aaaa"):
        pass
    assert (error.value.errno, error.value.strerror) == (number, "no such luck")
    assert error.value.filename == str(tmp_path / ".locks" / "aaaa.lock")


@pytest.mark.filterwarnings("ignore:flock not supported")
def test_where_the_file_system_has_no_locks_files_are_locks(tmp_path, monkeypatch):
    fail_to_lock(monkeypatch, errno.ENOSYS)
    with claimed(tmp_path, "aaaa") as ours:
        assert ours
        with claimed(tmp_path, "aaaa") as again:
            assert not again
    with claimed(tmp_path, "aaaa") as ours:
        assert ours
