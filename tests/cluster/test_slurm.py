"""Submitit's own clusters `local` and `debug` in Slurm's place, and what is asked of Slurm itself."""

from __future__ import annotations

import json
import os
import shutil
import signal

import pytest
from conftest import GRID, ITERATIONS, ROOT, images, processes, tables, until

pytest.importorskip("submitit", reason="needs requirements-slurm.txt: tox -e cluster")

import run_all

LOCAL = ("--executor", "slurm", "--set", "slurm.cluster=local")
JOB = "submitit.core._submit"


def test_a_job_that_is_preempted_goes_on_from_its_resume_state(start, own, alone, tmp_path):
    out, before = tmp_path / "out", own.calls()
    arguments = (*GRID, "--methods", own.methods.rpartition(",")[2], "--seeds=1", "--out", out, *LOCAL)
    process = start("run_all.py", *arguments, **own.environment)
    assert until(lambda: own.calls() > before + 2, process), process.communicate()
    for job in processes(JOB):
        os.kill(job, signal.SIGUSR2)
    stdout, stderr = process.communicate(timeout=240)
    assert process.returncode == 0, stderr
    assert "1 cells run, 0 there before, 0 failed" in stdout
    assert any("Requeued job" in log.read_text() for log in (out / "jobs").glob("*_log.*"))
    assert own.calls() - before == ITERATIONS  # no step was taken twice
    assert images(out).items() <= images(alone).items()
    assert not list((out / "jobs").glob("code-*"))


def test_jobs_run_the_code_that_submitted_them_and_a_killed_one_runs_again(start, tmp_path):
    checkout, out = tmp_path / "checkout", tmp_path / "out"
    for name in ("bench", "datasets", "methods", "reports"):
        shutil.copytree(ROOT / name, checkout / name, ignore=shutil.ignore_patterns("__pycache__", "reference"))
    shutil.copy(ROOT / "run_all.py", checkout)
    arguments = (*GRID, "--iterations=2", "--methods=random,dm", "--seeds=0", "--out", out, *LOCAL, "--jobs=1")
    process = start("run_all.py", *arguments, root=checkout)
    first = until(lambda: processes(JOB), process)
    assert first, process.communicate()
    os.kill(first[0], signal.SIGKILL)
    (checkout / "bench" / "loops" / "evaluation.py").write_text("raise RuntimeError('this is not what was submitted')\n")
    stdout, stderr = process.communicate(timeout=240)
    assert process.returncode == 0, stderr
    assert "2 cells run, 0 there before, 0 failed" in stdout
    ended = [line for line in stderr.splitlines() if line.startswith("[")]
    assert [line.split("] ")[0] for line in ended] == ["[1/2", "[2/2"]  # nothing is said of cells before they end
    assert ended[0].endswith("; 1 left")  # how long it takes nobody can say, without any record


def test_ctrl_c_cancels_the_jobs_and_the_same_command_goes_on(start, own, alone, tmp_path):
    out, before = tmp_path / "out", own.calls()
    arguments = (*GRID, "--methods", own.methods, "--out", out, "--executor", "slurm", "--jobs=1")
    process = start("run_all.py", *arguments, "--set", "slurm.cluster=local", **own.environment)
    assert until(lambda: own.calls() > before + 2, process), process.communicate()
    process.send_signal(signal.SIGINT)
    _, stderr = process.communicate(timeout=60)
    assert process.returncode == 130, stderr
    assert "run_all.py: interrupted by SIGINT" in stderr
    assert 'run_all.py", line' not in stderr  # submitit's own processes, when they are cancelled, do leave tracebacks
    with start("run_all.py", *arguments, "--set", "slurm.cluster=debug", **own.environment) as process:
        _, stderr = process.communicate(timeout=240)
    assert process.returncode == 0, stderr
    assert own.calls() - before == 2 * ITERATIONS
    assert tables(out) == tables(alone)
    assert images(out) == images(alone)


@pytest.fixture
def slurm(tmp_path, monkeypatch):
    """Put commands in Slurm's place: `sbatch` keeps what it is given and runs none of it, and `sacct` says that all failed."""
    commands = tmp_path / "bin"
    commands.mkdir()
    script = {
        "srun": "exit 0",
        "sbatch": f'cat "$1" > "{tmp_path}/sbatch"; echo Submitted batch job 17',
        "sacct": 'echo "JobID|State|NodeList"; for n in 0 1 2 3; do echo "17_$n|FAILED|node"; done; echo "17|FAILED|node"',
        "scancel": "exit 0",
    }
    for name, text in script.items():
        (commands / name).write_text(f"#!/bin/sh\n{text}\n")
        (commands / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{commands}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setattr("submitit.core.core.Job._results_timeout_s", 0)
    return tmp_path


def test_what_slurm_is_asked_for_and_cells_whose_jobs_leave_nothing_are_failed(slurm, capsys):
    asked = ("partition=gpu", "account=lab", "time=90", "gpus=1", "memory=3.5", "retries=0")
    settings = [word for pair in asked for word in ("--set", f"slurm.{pair}")]
    arguments = [*GRID, "--methods=random,dm", "--seeds=0,1", "--executor=slurm", *settings, "--jobs=2", "--threads=3"]
    assert run_all.main([*arguments, "--out", str(slurm / "out")]) == 1
    assert "0 cells run, 0 there before, 4 failed" in capsys.readouterr().out
    script = (slurm / "sbatch").read_text().splitlines()
    for flag in ("partition=gpu", "account=lab", "time=90", "gpus-per-node=1", "mem=3584MB", "cpus-per-task=3", "requeue"):
        assert f"#SBATCH --{flag}" in script
    assert "#SBATCH --array=0-3%2" in script
    records = [json.loads(path.read_text()) for path in (slurm / "out" / "records").glob("*.json")]
    assert {record["status"] for record in records} == {"failed"}
    assert all("ended without a record" in record["error"] for record in records)


def test_without_slurm_there_is_one_line(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert run_all.main([*GRID, "--methods=random", "--executor=slurm", "--out", str(tmp_path / "out")]) == 2
    error = capsys.readouterr().err
    assert error.startswith("run_all.py: error: --executor slurm: Could not detect ")
    assert "slurm.cluster=local" in error
    assert error.count("\n") == 1
