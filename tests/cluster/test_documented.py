"""The command lines of the documentation, each with a tiny grid; those of Ray and torchrun are run in the files of these."""

from __future__ import annotations

import pytest
from conftest import COMMANDS, TINY, executor_of

pytest.importorskip("submitit", reason="needs requirements-slurm.txt: tox -e cluster")

HERE = {
    "slurm": ("--set=slurm.cluster=local", "--set=slurm.gpus=0", "--threads=1"),
    "local": ("--threads=1",),
}
"""What is typed behind a command: this machine has no Slurm, no GPU and few cores."""


@pytest.mark.parametrize("words", [words for words in COMMANDS if executor_of(words) != "ray"], ids=" ".join)
def test_a_documented_command_runs(words, command, tmp_path):
    if "--gpus" in words:
        status, stdout, stderr = command(*words, "--out", tmp_path)
        assert status == 0, stderr
        assert stdout.startswith("SIMULATION of ")
        return
    grid = ("--methods=random", "--datasets=digits", "--ipc=1", "--seeds=0,1", f"--data-root={tmp_path}", *TINY)
    jobs = ("--jobs=2",) if "--jobs" in words else ()
    status, stdout, stderr = command(*words, *grid, *HERE[executor_of(words)], *jobs, "--out", tmp_path / "out")
    assert status == 0, stderr
    assert ("2 of 2 cells to run" if "--dry-run" in words else "2 cells run, 0 there before, 0 failed") in stdout


def test_all_commands_are_there():
    assert sorted(map(executor_of, COMMANDS)) == ["local"] * 4 + ["ray"] * 2 + ["slurm"]
