"""Systems that lack what Linux has: a run in processes from which it was taken away, as on Windows."""

from __future__ import annotations

import io
import sys

import pytest
from outputs import read_records

from bench.command.ending import status_of

WINDOWS = """
import os, pathlib, signal, sys

for name in ("fcntl", "grp", "pty", "pwd", "readline", "resource", "syslog", "termios", "tty"):
    sys.modules[name] = None
lacking = {
    os: "fork forkpty getpgid killpg mkfifo sched_getaffinity sched_setaffinity setpgid setsid",
    signal: "ITIMER_REAL SIGALRM SIGHUP SIGKILL SIGPIPE SIGQUIT SIGUSR1 SIGUSR2 alarm pthread_kill pthread_sigmask setitimer",
}
for module, names in lacking.items():
    for name in names.split():
        if hasattr(module, name):
            delattr(module, name)

def without_proc(method):
    def call(path, *arguments, **options):
        if path.parts[1:2] in (("proc",), ("sys",)):
            raise FileNotFoundError(2, "No such file or directory", str(path))
        return method(path, *arguments, **options)
    return call

for name in ("read_text", "write_text"):
    setattr(pathlib.Path, name, without_proc(getattr(pathlib.Path, name)))
"""
"""Python runs this before anything else. What libraries take of Linux, because they see its name, is left to them."""

RUN = """
import sys
from dataclasses import replace
from functools import partial
import run_all
from bench.command import command
from reports import write_report

if __name__ == "__main__":
    sys.exit(command.main(replace(run_all.SUITE, write_report=partial(write_report, formats=("md",))), sys.argv[1:]))
"""


@pytest.fixture
def windows(tmp_path):
    """Return the environment of a process that lacks what Windows lacks."""
    (tmp_path / "sitecustomize.py").write_text(WINDOWS)
    return {"PYTHONPATH": str(tmp_path), "PYTHONIOENCODING": "cp1252"}  # the encoding of a pipe there


def test_a_grid_runs_without_what_windows_lacks(command, tiny, windows, tmp_path):
    arguments = [*tiny, "--methods=random,dm", "--ipc=1", "--out", tmp_path / "out"]
    status, stdout, stderr = command("-c", RUN, *arguments, **windows)
    assert status == 0, stderr
    assert stdout.startswith("2 cells run, 0 there before, 0 failed; report: ")
    assert "Traceback" not in stderr
    records = read_records(tmp_path / "out")
    peaks = [record["peak_memory_mib"] for record in records]
    peaks += [evaluation["peak_memory_mib"] for record in records for evaluation in record["evaluations"]]
    assert peaks == [None] * 4  # nothing says it
    assert "peak MiB" in (tmp_path / "out" / "report" / "timing.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("encoding", ["cp1252", "ascii"])
def test_an_output_that_cannot_hold_a_character_is_no_traceback(encoding, monkeypatch):
    written = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(written, encoding=encoding))
    assert status_of("run_all.py", lambda: sys.stdout.write("99 \u2264 100\n") and 0) == 0
    assert written.getvalue() == b"99 \\u2264 100\n"
