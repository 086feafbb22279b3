"""A real local Ray of two nodes: the same bytes as one process, whatever dies on the way."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal

import pytest
from conftest import COMMANDS, GRID, ITERATIONS, TINY, executor_of, images, processes, tables, until

pytest.importorskip("ray", reason="needs requirements-ray.txt: tox -e cluster")

from ray.cluster_utils import Cluster

import run_all
from bench.command import console
from bench.running import remote

pytestmark = pytest.mark.xdist_group("ray")


@pytest.fixture(scope="module")
def cluster():
    """Return a cluster of two nodes with a processor each."""
    made = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    made.add_node(num_cpus=1)
    yield made
    made.shutdown()


@pytest.fixture
def grid(cluster, own, tmp_path):
    """Return the command line of the grid on the cluster, and its folder."""
    out = tmp_path / "out"
    arguments = (*GRID, "--methods", own.methods, "--out", str(out), "--executor", "ray", "--ray-address", cluster.address)
    return arguments, out


def raylet_of(node):
    return node.all_processes["raylet"][0].process.pid


@contextlib.contextmanager
def held(hold):
    """Keep the slow loss in its first call."""
    hold.touch()
    try:
        yield
    finally:
        hold.unlink()


def test_a_killed_worker_and_a_lost_node_cost_nothing_but_time(cluster, grid, start, own, alone):
    arguments, out = grid
    lost, before = next(iter(cluster.worker_nodes)), own.calls()
    with held(own.hold):  # the two slow cells come first, one on each node, and stay there
        process = start("run_all.py", *arguments, **own.environment)
        assert until(lambda: own.calls() == before + 2, process), process.communicate()
        for victim in processes("ray::digits", raylet_of(cluster.head_node)):
            os.kill(victim, signal.SIGKILL)
        assert until(lambda: own.calls() == before + 3, process)  # the killed one's cell again
        assert processes("ray::digits", raylet_of(lost))
        cluster.remove_node(lost, allow_graceful=False)
    stdout, stderr = process.communicate(timeout=240)
    cluster.add_node(num_cpus=1)
    assert process.returncode == 0, stderr
    assert "6 cells run, 0 there before, 0 failed" in stdout
    assert "Traceback" not in stderr
    assert tables(out) == tables(alone)
    assert images(out) == images(alone)


def test_ctrl_c_leaves_resume_states_and_the_same_command_goes_on(grid, start, command, own, alone):
    arguments, out = grid
    before = own.calls()
    process = start("run_all.py", *arguments, **own.environment)
    assert until(lambda: own.calls() > before + 2, process)
    process.send_signal(signal.SIGINT)
    _, stderr = process.communicate(timeout=60)
    assert process.returncode == 130, stderr
    assert "interrupted by SIGINT" in stderr
    assert "Traceback" not in stderr
    assert list((out / "records").glob("*.resume"))
    status, _, stderr = command("run_all.py", *arguments, **own.environment)
    assert status == 0, stderr
    assert own.calls() - before == 2 * ITERATIONS  # no step was taken twice
    assert tables(out) == tables(alone)


@contextlib.contextmanager
def no_marker(folder):
    """Name a file that is not there, so that no worker sees the folder of the run."""
    yield "nowhere"


def test_without_a_shared_file_system_records_and_images_come_back(grid, own, alone, monkeypatch, capsys):
    arguments, out = grid
    monkeypatch.syspath_prepend(str(own.folder))
    monkeypatch.setattr(remote, "marker", no_marker)
    monkeypatch.setattr(console, "WORKER_SECONDS", 0.0)
    status, stderr = run_all.main(arguments), capsys.readouterr().err
    assert status == 0, stderr
    assert re.search(r"^\[[0-5]/6\] digits ipc 1 slow seed [01]: distill \d+/20 loss ", stderr, re.MULTILINE)  # from a worker
    assert tables(out) == tables(alone)
    assert images(out) == images(alone)
    kept = [path for path in (out / "records").iterdir() if path.name != ".locks"]
    assert {path.suffix for path in kept} == {".json", ".safetensors"}
    records = [json.loads(path.read_text()) for path in (out / "records").glob("*.json")]
    assert {record["code"].get("commit") for record in records} == {
        json.loads(path.read_text())["code"].get("commit") for path in (alone / "records").glob("*.json")
    }
    # Another evaluation network costs its evaluation only: what is there travels to the workers.
    before = own.calls()
    assert run_all.main([*arguments, "--set", "eval.networks=convnet,mlp"]) == 0
    assert own.calls() == before
    assert images(out) == images(alone)
    renewed = [json.loads(path.read_text()) for path in (out / "records").glob("*.json")]
    assert {len(record["evaluations"]) for record in renewed} == {2}


def test_an_artefact_is_made_once_and_sent_to_the_workers_that_need_it(cluster, command, tmp_path, monkeypatch, capsys):
    """Neither worker sees the folder of the run, and both nodes are free when the network is to be trained."""
    out, seed = tmp_path / "out", ("--seeds=0", "--ipc=1")
    arguments = [*GRID, *seed, "--methods=herding,kcenter,kmeans,random", "--executor=ray", "--ray-address", cluster.address]
    monkeypatch.setattr(remote, "marker", no_marker)
    assert run_all.main([*arguments, "--out", str(out)]) == 0, capsys.readouterr().err
    records = [json.loads(path.read_text()) for path in (out / "records").glob("*.json")]
    prepared = [fact for record in records for fact in record["preparation"].values()]
    assert sorted(fact["made"] for fact in prepared) == [False, False, True]
    files = sorted(path for path in (out / "artefacts").iterdir() if path.is_file())
    assert [path.suffix for path in files] == [".json", ".safetensors"]
    local = tmp_path / "local"
    status, _, stderr = command("run_all.py", *GRID, *seed, "--methods=herding,kcenter,kmeans,random", "--out", local)
    assert status == 0, stderr
    assert images(out) == images(local)
    assert tables(out) == tables(local)
    # Those that are distilled again are sent the network; none makes it anew.
    before = [path.stat().st_mtime_ns for path in files]
    assert run_all.main([*arguments, "--force", "--out", str(out)]) == 0
    assert [path.stat().st_mtime_ns for path in files] == before
    renewed = [json.loads(path.read_text()) for path in (out / "records").glob("*.json")]
    prepared = [fact for record in renewed for fact in record["preparation"].values()]
    assert sorted(fact["made"] for fact in prepared) == [False, False, True], "the cell that made it still did"
    assert images(out) == images(local)


def test_a_failed_cell_does_not_end_the_others(grid, own, command):
    arguments, _ = grid
    bad = own.folder / "bad.py"
    bad.write_text(
        "def bad(real, syn, *, generator):\n"
        "    if len(real) > 2:\n"
        "        raise ValueError('no such luck')\n"
        "    return (real.mean(1) - syn.mean(1)).square().sum(1)\n"
    )
    status, stdout, _ = command("run_all.py", *arguments, "--methods", f"random,{bad}:bad", "--seeds=0", "--jobs=1")
    assert status == 1
    assert "1 cells run, 0 there before, 1 failed" in stdout
    assert "no such luck" in stdout


@pytest.mark.parametrize("address", ["127.0.0.1:1", "ray://127.0.0.1:1"])
def test_where_no_cluster_answers_there_is_one_line_at_once(address, tmp_path, capsys):
    arguments = [*GRID, "--executor", "ray", "--ray-address", address, "--methods", "random"]
    assert run_all.main([*arguments, "--out", str(tmp_path / "out")]) == 2
    error = capsys.readouterr().err
    assert error.startswith(f"run_all.py: error: --ray-address {address!r}: no Ray cluster answers (")
    assert error.count("\n") == 1


@pytest.mark.parametrize("words", [words for words in COMMANDS if executor_of(words) == "ray"], ids=" ".join)
def test_a_documented_command_runs(words, cluster, command, tmp_path):
    grid = ("--methods=random", "--datasets=digits", "--ipc=1", "--seeds=0,1", f"--data-root={tmp_path}", *TINY)
    there = {"RAY_ADDRESS": cluster.address} if "auto" in words else {}  # else a Ray is started for the command
    status, stdout, stderr = command("run_all.py", *words[1:], *grid, "--set=ray.gpus=0", "--out", tmp_path / "out", **there)
    assert status == 0, stderr
    assert "2 cells run, 0 there before, 0 failed" in stdout
