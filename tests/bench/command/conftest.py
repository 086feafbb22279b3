"""The command line, run as a user runs it: settings so small that a cell takes a fraction of a second."""

from pathlib import Path
from types import SimpleNamespace

import pytest
from outputs import read_records

import run_all

ROOT = Path(__file__).resolve().parents[3]

_SETTINGS = ("eval.epochs=1", "match.real_batch=4", "network.width=8", "whole.epochs=1", "whole.batch=256")
TINY = ("--iterations=2", "--eval-nets=1", *(f"--set={setting}" for setting in _SETTINGS))


@pytest.fixture(scope="session")
def tiny():
    """Return the options that make every cell tiny."""
    return TINY


@pytest.fixture
def main(capsys, monkeypatch):
    """Return a function that runs the command line in this process, which saves the seconds of importing torch."""
    monkeypatch.delenv("DATA_ROOT", raising=False)
    monkeypatch.chdir(ROOT)

    def call(*arguments):
        capsys.readouterr()
        status = run_all.main([str(argument) for argument in arguments])
        return status, *capsys.readouterr()

    return call


@pytest.fixture(scope="session")
def grid(command, tiny, tmp_path_factory):
    """Run every method on two IPCs and two seeds, once for all tests, which only read it."""
    out = tmp_path_factory.mktemp("grid") / "deep" / "out"
    arguments = [*tiny, "--eval-nets=2", "--ipc", "1,2", "--seeds", "0,1", "--set", "kr.steps=2", "--out", out]
    status, stdout, stderr = command("run_all.py", *arguments)
    records = read_records(out)
    return SimpleNamespace(out=out, report=out / "report", status=status, stdout=stdout, stderr=stderr, records=records)


@pytest.fixture(scope="session")
def tree():
    """Return a function that lists everything below a folder, hidden files too, with its time of writing and its bytes.

    Lock files, which hold nothing, are left out.
    """

    def look(folder):
        files = sorted(path for path in folder.rglob("*") if path.is_file() and path.suffix != ".lock")
        return {str(path.relative_to(folder)): (path.stat().st_mtime_ns, path.read_bytes()) for path in files}

    return look
