"""How many cores there are for this process, and which of them the workers of one machine get."""

from __future__ import annotations

import math
import os
import signal
from queue import SimpleQueue
from types import SimpleNamespace

import pytest

import bench.machine.cores
from bench.machine import signals
from bench.machine.compute import Compute
from bench.machine.cores import bind, quota_of, usable_cores
from bench.machine.hardware import hardware
from bench.running import local

binds = pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="needs a system that binds processes to cores")


GROUP_2, GROUP_1 = "0::/{}\n", "7:cpuset:/elsewhere\n5:cpu,cpuacct:/{}\n3:memory:/elsewhere\n"


def write_group(folder, quota, period=100000, *, version):
    folder.mkdir(parents=True, exist_ok=True)
    if version == 2:
        (folder / "cpu.max").write_text(f"{quota} {period}\n")
    else:
        (folder / "cpu.cfs_quota_us").write_text(f"{quota}\n")
        (folder / "cpu.cfs_period_us").write_text(f"{period}\n")


@pytest.mark.parametrize(
    ("groups", "folder", "version"),
    [
        (GROUP_2.format(""), "", 2),  # a container with a view of its own
        (GROUP_2.format("docker/abc"), "", 2),  # the group is named as on the host
        (GROUP_2.format("../other"), "", 2),
        (GROUP_2.format("a.slice/b.scope"), "a.slice/b.scope", 2),
        (GROUP_2.format("a.slice/b.scope"), "a.slice", 2),  # of the group above
        (GROUP_1.format("docker/abc"), "cpu", 1),
        (GROUP_1.format("a/b"), "cpu,cpuacct/a/b", 1),
        (GROUP_1.format("a/b") + GROUP_2.format("a"), "cpu/a", 1),
        ("1:name=systemd:/x\n" + GROUP_2.format("a"), "unified/a", 2),
    ],
)
def test_a_quota_counts_wherever_it_is_written(groups, folder, version, tmp_path):
    assert quota_of(groups, tmp_path) == math.inf
    write_group(tmp_path / folder, 150000, version=version)
    assert quota_of(groups, tmp_path) == 1.5


@pytest.mark.parametrize(("quota", "version"), [("max", 2), (-1, 1), (0, 1), ("", 2), ("", 1)])
def test_a_group_without_a_limit_limits_nothing(quota, version, tmp_path):
    write_group(tmp_path / ("cpu" if version == 1 else ""), quota, version=version)
    assert quota_of(GROUP_1.format("") + GROUP_2.format(""), tmp_path) == math.inf


def test_of_several_limits_the_least_counts(tmp_path):
    for folder, quota in (("", 400000), ("a", 300000), ("a/b", 350000)):
        write_group(tmp_path / folder, quota, version=2)
    assert quota_of(GROUP_2.format("a/b"), tmp_path) == 3


@binds
@pytest.mark.parametrize(("quota", "cores"), [(0.2, 1), (1, 1), (1.5, 2), (3, 3), (64, 8), (math.inf, 8)])
def test_a_quota_counts_as_cores_wherever_cores_are_counted(quota, cores, bound, monkeypatch):
    monkeypatch.setattr(bench.machine.cores, "cpu_quota", lambda: quota)
    monkeypatch.setattr("bench.machine.hardware.cpu_quota", lambda: quota)
    monkeypatch.setattr("bench.machine.compute.cpu_quota", lambda: quota)
    monkeypatch.setenv("TORCHINDUCTOR_COMPILE_THREADS", "")  # so that it is as it was at the end of this test
    monkeypatch.delenv("TORCHINDUCTOR_COMPILE_THREADS")
    monkeypatch.setattr("os.cpu_count", lambda: 16)
    set_to = []
    monkeypatch.setattr("torch.set_num_threads", set_to.append)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    assert usable_cores() == cores
    assert hardware(SimpleNamespace(type="cpu"))["cores"] == (cores if quota < 8 else min(16, quota))
    assert Compute.choose(device="cpu", precision="fp32").threads == cores
    assert set_to == [1]
    assert os.environ.get("TORCHINDUCTOR_COMPILE_THREADS") == (None if quota == math.inf else str(cores))
    bind(1, 2)
    assert bound == ([] if quota < 8 else [{4, 5}])  # a quota names no cores


@pytest.fixture
def bound(monkeypatch):
    """Return the sets of cores that processes were bound to; this one may use cores 2 to 9."""
    sets = []
    monkeypatch.setattr("os.sched_getaffinity", lambda _: set(range(2, 10)))
    monkeypatch.setattr("os.sched_setaffinity", lambda _, cores: sets.append(cores))
    return sets


@binds
def test_workers_have_cores_of_their_own(bound):
    numbers, threads, jobs, made = SimpleQueue(), 2, 4, []
    for number in range(jobs):
        numbers.put(number)
    for _ in range(jobs):
        local.begin(numbers, SimpleNamespace(threads=threads), create=lambda setup, number: made.append(number))
    assert [len(cores) for cores in bound] == [threads] * jobs
    assert set().union(*bound) == set(range(2, 10))  # so no core is of two
    assert made == list(range(jobs))


@binds
def test_where_cores_are_too_few_processes_begin_again_at_the_first(bound):
    for number in range(3):
        bind(number, 3)
    assert bound == [{2, 3, 4}, {5, 6, 7}, {8, 9, 2}]


@binds
def test_a_worker_that_can_block_no_signal_ignores_ctrl_c_between_cells(bound, monkeypatch):
    monkeypatch.setattr(signals, "CAN_BLOCK", False)  # as on Windows
    numbers = SimpleQueue()
    numbers.put(0)
    before = {number: signal.getsignal(number) for number in signals.SIGNALS}
    try:
        local.begin(numbers, SimpleNamespace(threads=1), create=lambda setup, number: None)
        after = {number: signal.getsignal(number) for number in signals.SIGNALS}
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    assert after == before | dict.fromkeys(before.keys() - {signal.SIGTERM}, signal.SIG_IGN)
