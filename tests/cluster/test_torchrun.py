"""One cell over several processes by torchrun: what one process gives, whichever rank dies on the way."""

from __future__ import annotations

import json
import os
import re
import shlex
import signal
from functools import partial
from importlib.util import find_spec

import pytest
from conftest import GRID, ITERATIONS, PROC, ROOT, TINY, processes, until
from safetensors.torch import load_file

pytestmark = pytest.mark.skipif(not (find_spec("ray") or find_spec("submitit")), reason="takes a minute: tox -e cluster")

TORCHRUN = ("-m", "torch.distributed.run")
DIGITS = ("--datasets=digits", "--profile=quick")  # in the place of what the documentation's command names
CELLS = (*TINY, *DIGITS, "--eval-nets=3", "--iterations=6", "--checkpoints=3", "--ipc=1", "--seeds=0")
METHODS = ("random", "herding", "dm", "kr", "sinkhorn", "emd", "dc", "dsa", "cafe")
DIVIDED = ("dm", "kr", "sinkhorn", "emd", "dc", "dsa")
SETTINGS = ("--set=dc.outer=2", "--set=cafe.iterations=1")
LOSSES = """
import os

import torch

from bench import by_class


def distance(real, syn):
    return (real.mean(1) - syn.mean(1)).square().sum(1)


@by_class
def failing(real, syn, *, generator):
    if len(real) > 2 and os.environ["RANK"] == "1":
        raise ValueError("no such luck")
    return distance(real, syn)


@by_class
def bad(real, syn, *, generator):
    values = distance(real, syn)
    if len(real) > 2 and os.environ["RANK"] == "1":
        values = values * torch.tensor([1.0] * (len(values) - 1) + [float("nan")])
    return values


def coupled(real, syn, *, generator):
    return distance(real - real.mean(), syn - real.mean()) * real.mean()


class Keeping:
    def __call__(self, real, syn, *, generator):
        return distance(real, syn)
"""

THREADS = """
import sys
from pathlib import Path

import torch

from bench.machine.ranks import Ranks


def of_the_group():
    return [name for path in Path("/proc/self/task").glob("*/comm") if "gloo" in (name := path.read_text())]


ranks = Ranks.of_environment()
with ranks.joined():
    torch.optim.SGD([torch.zeros(1)])  # imports much of torch
    assert of_the_group()
    if not ranks.leads and "waits" in sys.argv:
        ranks.follow(print)
assert not of_the_group(), of_the_group()
"""


def documented():
    """Return the arguments of the command in the documentation, after `torchrun`."""
    text = (ROOT / "docs" / "cluster.md").read_text(encoding="utf-8")
    [command] = re.findall(r"^    torchrun (.*)$", text, re.MULTILINE)
    return shlex.split(command)


def by_ranks(count):
    """Return the arguments of Python for the command in the documentation with another number of ranks."""
    arguments = documented()
    arguments[arguments.index("--nproc-per-node") + 1] = str(count)
    return (*TORCHRUN, *arguments)


def said(stderr):
    """Return what the suite itself says at the end, as opposed to torchrun."""
    return [line for line in stderr.splitlines() if line.startswith("run_all.py: ")]


def records(out):
    """Return the records by method."""
    contents = [json.loads(path.read_text()) for path in (out / "records").glob("*.json")]
    return {record["spec"]["method"]: record for record in contents}


def assert_same_images(out, expected):
    """Compare all files of images, which have the same names, within rounding."""
    names = sorted(path.name for path in (out / "records").glob("*.safetensors"))
    assert names
    for name in names:
        images, wanted = (load_file(folder / "records" / name)["images"] for folder in (out, expected))
        assert (images - wanted).abs().max() < 1e-4, name


@pytest.fixture(scope="module")
def one_process(command, tmp_path_factory):
    """Return the folder of the cells, run by one process."""
    out = tmp_path_factory.mktemp("one") / "out"
    status, _, stderr = command("run_all.py", *CELLS, *SETTINGS, f"--methods={','.join(METHODS)}", "--out", out)
    assert status == 0, stderr
    return out


@pytest.mark.parametrize(("count", "methods"), [(2, METHODS), (3, ("kr", "dc"))])
def test_ranks_give_what_one_process_gives(count, methods, command, one_process, tmp_path):
    out = tmp_path / "out"
    status, stdout, stderr = command(*by_ranks(count), *CELLS, *SETTINGS, f"--methods={','.join(methods)}", "--out", out)
    assert status == 0, stderr
    assert stdout.count(f"{len(methods)} cells run, 0 there before, 0 failed") == 1
    assert stderr.count("started") == len(methods)  # one rank alone speaks
    alone = [f"{name} is distilled by rank 0 alone: the method does not work class by class" for name in ("herding", "cafe")]
    assert [line for line in stderr.splitlines() if "alone" in line] == (alone if "cafe" in methods else [])
    assert_same_images(out, one_process)
    expected, shared = records(one_process), records(out)
    assert shared.keys() == set(methods)
    for method, record in shared.items():
        assert record["hash"] == expected[method]["hash"]
        assert record["loss"] == pytest.approx(expected[method]["loss"], rel=1e-4)
        assert record["hardware"].get("ranks", 1) == (count if method in DIVIDED else 1)
        for evaluation, wanted in zip(record["evaluations"], expected[method]["evaluations"], strict=True):
            assert evaluation["accuracies"] == pytest.approx(wanted["accuracies"], abs=0.6)  # an image or two of 359
            assert evaluation["hardware"]["ranks"] == count
    assert {path.suffix for path in (out / "records").iterdir() if path.is_file()} == {".json", ".safetensors"}


@pytest.mark.parametrize("follower", ["waits", "leaves"])
def test_no_thread_of_the_group_is_left_when_python_ends(follower, command, tmp_path):
    file = tmp_path / "threads.py"
    file.write_text(THREADS)
    status, _, stderr = command(*TORCHRUN, "--standalone", "--nproc-per-node=2", file, follower, PYTHONPATH=str(ROOT))
    assert status == 0, stderr


@pytest.fixture
def slow(own, tmp_path):
    """Return the command line of one cell whose steps are slow, and its folder."""
    return (
        *GRID,
        *DIGITS,
        "--methods",
        own.methods.rpartition(",")[2],
        "--seeds=0",
        "--out",
        tmp_path / "out",
    ), tmp_path / "out"


def rank_of(process, number):
    """Return the process id of a rank."""
    for pid in processes("run_all.py", process.pid):
        if f"\0RANK={number}\0" in (PROC / str(pid) / "environ").read_text():
            return pid
    return None


def test_a_signal_or_a_dead_rank_ends_all_and_the_same_command_goes_on(start, command, own, alone, slow):
    arguments, out = slow
    before = own.calls()
    process = start(*by_ranks(2), *arguments, **own.environment)
    assert until(lambda: own.calls() > before + 6, process), process.communicate()
    process.send_signal(signal.SIGTERM)
    _, stderr = process.communicate(timeout=60)
    assert process.returncode != 0
    assert said(stderr) == ["run_all.py: interrupted by SIGTERM; the same command, without --force, goes on from there"]
    [state] = (out / "records").glob("*.resume")
    content, done = state.read_bytes(), own.calls() - before  # two calls a step

    for victim in (1, 0):
        process, before = start(*by_ranks(2), *arguments, **own.environment), own.calls()
        assert until(partial(lambda before: own.calls() > before + 2, before), process), process.communicate()
        os.kill(rank_of(process, victim), signal.SIGKILL)
        _, stderr = process.communicate(timeout=60)
        assert process.returncode != 0
        [line] = said(stderr)
        assert "a rank died" in line
        assert state.read_bytes() == content

    before = own.calls()
    status, _, stderr = command("run_all.py", *arguments, **own.environment)  # by another number of ranks
    assert status == 0, stderr
    assert ITERATIONS - (own.calls() - before) in (done // 2, done // 2 - 1)  # the last step may have been cut off
    assert done // 2 > 2
    assert_same_images(out, alone)


def test_what_fails_on_one_rank_fails_on_all_and_losses_that_cannot_be_divided_are_not(command, tmp_path):
    file, out = tmp_path / "losses.py", tmp_path / "out"
    file.write_text(LOSSES)
    methods = ",".join(f"{file}:{name}" for name in ("failing", "bad", "coupled", "Keeping"))
    arguments = (*TINY, *DIGITS, "--iterations=2", "--ipc=1", "--methods", f"{methods},dm", "--out", out)
    status, stdout, stderr = command(*by_ranks(2), *arguments)
    assert status != 0
    assert "3 cells run, 0 there before, 2 failed" in stdout
    assert "failed: digits failing: DistillationError: ValueError: no such luck" in stdout
    assert "failed: digits bad: DistillationError: the loss of class '9' is nan at iteration 0 of seed 0" in stdout
    assert [line.partition(" is ")[0] for line in stderr.splitlines() if "by rank 0 alone" in line] == ["coupled", "Keeping"]
    assert "no such luck" in records(out)["failing"]["details"]["traceback"]


def test_a_mistake_ends_all_ranks_with_one_line(command, tmp_path):
    status, _, stderr = command(*by_ranks(2), *CELLS, "--jobs=2", "--out", tmp_path / "out")
    assert status != 0
    assert said(stderr) == ["run_all.py: error: --jobs 2 under torchrun: all 2 ranks work on one cell; valid: 1"]
    assert re.search(r"exitcode *: 2 ", stderr)
    assert not (tmp_path / "out").exists()
