"""Grids on a real local Ray, and on submitit's own clusters; skipped where these libraries are not installed."""

from __future__ import annotations

import re
import shlex
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

ROOT = Path(__file__).resolve().parents[2]
PROC = Path("/proc")
SMALL = ("eval.epochs=1", "match.real_batch=4", "network.width=8", "whole.epochs=1", "whole.batch=256")
TINY = ("--eval-nets=1", "--threads=1", *(f"--set={setting}" for setting in SMALL))
ITERATIONS = 20
GRID = (*TINY, f"--iterations={ITERATIONS}", "--ipc=1", "--seeds=0,1")
DOCUMENTATION = (ROOT / "docs" / "cluster.md").read_text(encoding="utf-8")
COMMANDS = [shlex.split(line) for line in re.findall(r"^    python (run_all\.py .*)$", DOCUMENTATION, re.MULTILINE)]
TABLES = ("accuracy.csv", "table2.csv", "table2.md", "table2.tex")

LOSS = """
from beside import note

from bench import by_class


@by_class
def slow(real, syn, *, generator):
    if len(real) > 2:  # as in the run: the trial before it has two classes
        note()
    return (real.mean(1) - syn.mean(1)).square().sum(1)
"""
BESIDE = """
import time
from pathlib import Path


def note():
    time.sleep(0.1)
    with Path({calls!r}).open("a") as file:
        file.write("x")
    while Path({hold!r}).exists():
        time.sleep(0.05)
"""


@pytest.fixture(scope="session")
def own(tmp_path_factory):
    """Return a user's loss, slow enough to be killed, which imports from beside it and leaves a mark at each call.

    While the file `hold` is there, its calls do not end.
    """
    folder = tmp_path_factory.mktemp("own")
    calls, hold = folder / "calls", folder / "hold"
    (folder / "loss.py").write_text(LOSS)
    (folder / "beside.py").write_text(BESIDE.format(calls=str(calls), hold=str(hold)))
    return SimpleNamespace(
        methods=f"random,emd,{folder / 'loss.py'}:slow",
        folder=folder,
        hold=hold,
        calls=lambda: calls.stat().st_size if calls.exists() else 0,
        environment={"PYTHONPATH": str(folder)},  # where the driver alone imports what lies beside the loss
    )


@pytest.fixture(scope="session")
def alone(command, own, tmp_path_factory):
    """Return the folder of the grid, run by one process."""
    out = tmp_path_factory.mktemp("alone") / "out"
    before = own.calls()
    status, _, stderr = command("run_all.py", *GRID, "--methods", own.methods, "--out", out, **own.environment)
    assert status == 0, stderr
    assert own.calls() - before == 2 * ITERATIONS
    return out


def executor_of(words):
    """Return the executor that a documented command names, or the default."""
    return words[words.index("--executor") + 1] if "--executor" in words else "local"


def tables(out):
    return {name: (out / "report" / name).read_bytes() for name in TABLES}


def images(out):
    """Return the bytes of the tensors in each file of images; safetensors shuffles the metadata before them."""
    contents = {path.name: path.read_bytes() for path in (out / "records").glob("*.safetensors")}
    return {name: content[8 + int.from_bytes(content[:8], "little") :] for name, content in contents.items()}


def until(condition, process):
    """Wait until a condition holds, or the process has ended; return what it says."""
    end = time.monotonic() + 300
    while time.monotonic() < end and process.poll() is None:
        value = condition()
        if value:
            return value
        time.sleep(0.05)
    return condition()


def processes(text, parent=None):
    """Return the ids of the processes whose command line has a text in it, and whose parent is `parent` where one is named."""
    numbers = []
    for process in PROC.glob("[0-9]*"):
        try:
            above = int((process / "stat").read_text().rpartition(")")[2].split()[1])
            line = (process / "cmdline").read_text().replace("\0", " ")
        except (FileNotFoundError, ProcessLookupError):
            continue
        if text in line and parent in (None, above):
            numbers.append(int(process.name))
    return numbers
