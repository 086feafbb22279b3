"""The command line, run as a user runs it: settings so small that a cell takes a fraction of a second."""

import contextlib
import io
import os
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import pytest
from outputs import read_records

import run_all
from bench.command import command
from reports import write_report

ROOT = Path(__file__).resolve().parents[3]

_SETTINGS = ("eval.epochs=1", "match.real_batch=4", "network.width=8", "whole.epochs=1", "whole.batch=256")
TINY = ("--iterations=2", "--eval-nets=1", *(f"--set={setting}" for setting in _SETTINGS))


@pytest.fixture(scope="session")
def tiny():
    """Return the options that make every cell tiny."""
    return TINY


REPORTS = {
    "none": lambda out, **options: out / "report" / "index.html",
    "csv": partial(write_report, formats=("csv",)),
    "tables": partial(write_report, formats=("csv", "md")),
    "all": write_report,
}
"""What writes the report of a run: drawing figures takes longer than a tiny cell, and most tests do not look at them."""


def run_here(*arguments, report="all", suite=run_all.SUITE):
    """Run the command line in this process, which saves the seconds of importing torch: exit status, standard output and error.

    What a test replaces, such as the evaluation, is given by a `suite` of its own. `report` names one of `REPORTS`.
    """
    suite = replace(suite, write_report=REPORTS[report])
    with contextlib.redirect_stdout(io.StringIO()) as out, contextlib.redirect_stderr(io.StringIO()) as err:
        status = command.main(suite, [str(argument) for argument in arguments])
    return status, out.getvalue(), err.getvalue()


@pytest.fixture
def main(monkeypatch):
    """Return the function that runs the command line in this process, in the folder of the repository."""
    monkeypatch.delenv("DATA_ROOT", raising=False)
    monkeypatch.chdir(ROOT)
    return run_here


@pytest.fixture(scope="session")
def tiny_run(once):
    """Return a function `(name, *arguments)` that makes a run of tiny cells once in a session.

    It returns the folder of the run, the exit status, the standard output and the standard error. Tests copy the folder, with
    the times of its files, or only read it.
    """

    def call(name, *arguments):
        def make(folder):
            root, before = os.environ.pop("DATA_ROOT", None), Path.cwd()
            os.chdir(ROOT)
            try:
                return run_here(*TINY, *arguments, "--out", folder / "deep" / "out")
            finally:
                os.chdir(before)
                if root is not None:
                    os.environ["DATA_ROOT"] = root

        folder, answer = once(name, make)
        return folder / "deep" / "out", *answer

    return call


@pytest.fixture(scope="session")
def grid(tiny_run):
    """Return a run of every method on two IPCs and two seeds, which tests only read."""
    options = ["--eval-nets=2", "--ipc", "1,2", "--seeds", "0,1", "--set", "kr.steps=2"]
    out, status, stdout, stderr = tiny_run("grid", *options)
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
