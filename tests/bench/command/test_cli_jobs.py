"""Several processes by `--jobs`: the same tables, whatever dies on the way."""

from __future__ import annotations

import os
import re
import signal
import time
from pathlib import Path

import pytest
from outputs import read_records

from bench.command import console
from bench.machine.cores import usable_cores

two_cores = pytest.mark.skipif(usable_cores() < 2, reason="this process may use one core only")
PROC = Path("/proc")
GRID = ("--methods", "random,dm,emd", "--ipc", "1,2", "--seeds", "0,1", "--threads", "1")


@pytest.fixture(scope="module")
def alone(command, tiny, tmp_path_factory):
    """Return the folder of the grid, run by one process."""
    out = tmp_path_factory.mktemp("alone") / "out"
    status, _, stderr = command("run_all.py", *tiny, *GRID, "--out", out)
    assert status == 0, stderr
    return out


def tables(out):
    return {name: (out / "report" / name).read_bytes() for name in ("accuracy.csv", "table2.csv", "table2.md", "table2.tex")}


@two_cores
def test_two_processes_give_the_same_bytes(command, tiny, alone, tmp_path):
    out = tmp_path / "out"
    status, stdout, stderr = command("run_all.py", *tiny, *GRID, "--jobs", "2", "--out", out)
    assert status == 0, stderr
    assert "12 cells run, 0 there before, 0 failed" in stdout
    assert tables(out) == tables(alone)
    images = {record["hash"]: (alone / "records" / f"{record['hash']}.safetensors") for record in read_records(alone)}
    assert len(images) == 12
    status, stdout, _ = command("run_all.py", *tiny, *GRID, "--jobs", "2", "--out", out)
    assert "0 cells run, 12 there before" in stdout


@two_cores
def test_two_processes_make_an_artefact_once_and_a_dry_run_plans_it_once(main, tiny, tmp_path, monkeypatch):
    out = tmp_path / "out"
    arguments = (*tiny, "--methods", "herding,kcenter", "--ipc", "1", "--threads", "1", "--out", out)
    stdout = main(*arguments, "--dry-run")[1]
    [planned] = [line for line in stdout.splitlines() if " to make " in line]
    monkeypatch.setattr(console, "WORKER_SECONDS", 0.0)
    status, stdout, stderr = main(*arguments, "--jobs", "2", report="csv")
    assert status == 0, stderr
    reports = [line for line in stderr.splitlines() if not re.search(r"networks, \d+ s", line)]  # of cells that have not ended
    assert reports
    assert all(re.fullmatch(r"\[[01]/2\] digits ipc 1 (herding|kcenter) seed 0: [a-z]+ .*", f"{line} ") for line in reports)
    [path] = (out / "artefacts").glob("*.json")
    assert planned.startswith(f"{path.stem} to make networks of digits ipc 1 seed 0 (1 x convnet): about ")
    records = read_records(out)
    facts = [record["preparation"][path.stem] for record in records]
    assert sorted(fact["made"] for fact in facts) == [False, True]
    assert len({fact["seconds"] for fact in facts}) == 1
    assert all(record["seconds"]["total"] > 0 for record in records)
    before = path.stat().st_mtime_ns
    assert main(*arguments, "--force", "--methods", "herding")[0] == 0
    assert path.stat().st_mtime_ns == before
    stdout = main(*arguments, "--seeds", "0,1", "--dry-run")[1].splitlines()
    assert [line.split()[1:3] for line in stdout[:1]] == [["to", "make"]]  # of the cells of seed 1


@two_cores
def test_a_failed_cell_does_not_end_the_others(command, tiny, tmp_path):
    file = tmp_path / "bad.py"
    file.write_text(
        "def bad(real, syn, *, generator):\n"
        "    if len(real) > 2:  # as in the run: the trial before it has two classes\n"
        "        raise ValueError('no such luck')\n"
        "    return (real.mean(1) - syn.mean(1)).square().sum(1)\n"
    )
    status, stdout, _ = command(
        "run_all.py", *tiny, "--methods", f"random,{file}:bad", "--ipc", "1", "--jobs", "2", "--out", tmp_path / "out"
    )
    assert status == 1
    assert "1 cells run, 0 there before, 1 failed" in stdout
    assert "no such luck" in stdout


def workers_of(pid):
    """Return the process ids of a process's children that run cells."""
    children = []
    for process in PROC.glob("[0-9]*"):
        try:
            parent = int((process / "stat").read_text().rpartition(")")[2].split()[1])
            if parent == pid and "spawn_main" in (process / "cmdline").read_text():
                children.append(int(process.name))
        except (FileNotFoundError, ProcessLookupError):
            continue
    return children


@two_cores
@pytest.mark.skipif(not PROC.is_dir(), reason="finding the workers needs /proc")
def test_a_killed_worker_costs_nothing_but_time(start, tiny, alone, tmp_path):
    out = tmp_path / "out"
    process = start("run_all.py", *tiny, *GRID, "--jobs", "2", "--out", out)
    end = time.monotonic() + 120
    while not list(out.glob("records/*.json")) and time.monotonic() < end and process.poll() is None:
        time.sleep(0.05)
    victims = workers_of(process.pid)
    assert victims
    os.kill(victims[0], signal.SIGKILL)
    _, stderr = process.communicate(timeout=300)
    assert process.returncode == 0, stderr
    assert tables(out) == tables(alone)


@two_cores
def test_ctrl_c_ends_all_and_the_same_command_goes_on(start, command, tiny, alone, tmp_path):
    out = tmp_path / "out"
    process = start("run_all.py", *tiny, *GRID, "--jobs", "2", "--out", out)
    end = time.monotonic() + 120
    while not list(out.glob("records/*.json")) and time.monotonic() < end and process.poll() is None:
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    _, stderr = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "Traceback" not in stderr
    assert "interrupted by SIGINT" in stderr
    status, _, stderr = command("run_all.py", *tiny, *GRID, "--jobs", "2", "--out", out)
    assert status == 0, stderr
    assert tables(out) == tables(alone)


OWN_GROUP = "import os, sys; os.setpgid(0, 0); os.execv(sys.executable, [sys.executable, *sys.argv[1:]])"
SLOW = """
import os, time
from pathlib import Path

def slow(real, syn, *, generator):
    if len(real) > 2:  # as in the run: the trial before it has two classes
        (Path({started!r}) / str(os.getpid())).touch()
        time.sleep(0.1)
    return (real.mean(1) - syn.mean(1)).square().sum(1)
"""


@two_cores
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGHUP])
def test_a_signal_to_all_processes_as_a_terminal_sends_it_leaves_resume_states(start, tiny, tmp_path, number):
    started, file, out = tmp_path / "started", tmp_path / "own.py", tmp_path / "out"
    started.mkdir()
    file.write_text(SLOW.format(started=str(started)))
    arguments = [*tiny, "--iterations=150", "--methods", f"{file}:slow", "--ipc", "1", "--seeds", "0,1,2,3,4,5"]
    process = start("-c", OWN_GROUP, "run_all.py", *arguments, "--threads", "1", "--jobs", "2", "--out", out)
    end = time.monotonic() + 120
    while len(list(started.iterdir())) < 2 and time.monotonic() < end and process.poll() is None:
        time.sleep(0.05)
    time.sleep(0.5)
    os.killpg(process.pid, number)
    begun = time.monotonic()
    _, stderr = process.communicate(timeout=60)
    assert process.returncode == 128 + number, stderr
    assert time.monotonic() - begun < 10  # the cells after these two, of 15 seconds each, are not begun
    assert "Traceback" not in stderr
    assert stderr.splitlines()[-1].startswith(f"run_all.py: interrupted by {number.name}")
    assert len(list((out / "records").glob("*.resume"))) == 2
    assert not list((out / "records").glob("*.json"))


def test_more_processes_than_cores_are_a_mistake(main, tiny, tmp_path):
    status, _, stderr = main(*tiny, "--jobs", "4096", "--out", tmp_path / "out")
    assert status == 2
    assert stderr.startswith("run_all.py: error: --jobs 4096 of 1 threads each: this process may use ")
