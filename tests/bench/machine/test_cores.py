"""Which cores the workers of one machine get."""

from __future__ import annotations

import os
from queue import SimpleQueue
from types import SimpleNamespace

import pytest

from bench.machine.cores import bind
from bench.running import local

pytestmark = pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="needs a system that binds processes to cores")


@pytest.fixture
def bound(monkeypatch):
    """Return the sets of cores that processes were bound to; this one may use cores 2 to 9."""
    sets = []
    monkeypatch.setattr("os.sched_getaffinity", lambda _: set(range(2, 10)))
    monkeypatch.setattr("os.sched_setaffinity", lambda _, cores: sets.append(cores))
    return sets


def test_workers_have_cores_of_their_own(bound):
    numbers, threads, jobs, made = SimpleQueue(), 2, 4, []
    for number in range(jobs):
        numbers.put(number)
    for _ in range(jobs):
        local.begin(numbers, SimpleNamespace(threads=threads), create=lambda setup, number: made.append(number))
    assert [len(cores) for cores in bound] == [threads] * jobs
    assert set().union(*bound) == set(range(2, 10))  # so no core is of two
    assert made == list(range(jobs))


def test_where_cores_are_too_few_processes_begin_again_at_the_first(bound):
    for number in range(3):
        bind(number, 3)
    assert bound == [{2, 3, 4}, {5, 6, 7}, {8, 9, 2}]
