"""Schedules of cells on workers."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.plan.schedule import enough_workers, longest_first

SECONDS = st.lists(st.integers(1, 50).map(float), min_size=1, max_size=30)


def test_the_longest_cell_comes_first_and_each_goes_to_the_worker_that_is_free_first():
    plan = longest_first([3, 5, 3, 4, 3], workers=2)
    assert plan.seconds == (5, 4, 3, 3, 3)
    assert sorted(plan.ends) == [8, 10]  # 5 + 3, and 4 + 3 + 3
    assert plan.makespan == 10
    assert plan.wait == 2
    assert plan.idle_share == pytest.approx(0.1)
    assert plan.speedup == pytest.approx(1.8)


def test_no_cells_take_no_time():
    plan = longest_first([], workers=3)
    assert (plan.makespan, plan.idle_share, plan.wait, plan.speedup) == (0, 0, 0, 1)
    assert enough_workers([]) == 1


@given(SECONDS, st.integers(1, 8))
def test_no_schedule_is_shorter_than_its_work_or_its_longest_cell_nor_twice_as_long_as_need_be(seconds, workers):
    plan = longest_first(seconds, workers)
    least = max(sum(seconds) / workers, *seconds, 0.0)
    assert least <= plan.makespan + 1e-9
    assert plan.makespan <= (4 / 3) * 2 * least  # 4/3 of the best one (Graham 1969), which is below twice the least
    assert sum(plan.ends) == pytest.approx(sum(seconds))


@given(SECONDS)
def test_with_enough_workers_only_the_longest_cell_counts_and_with_one_fewer_not(seconds):
    enough = enough_workers(seconds)
    assert longest_first(seconds, enough).makespan == max(seconds)
    if enough > 1:
        assert longest_first(seconds, enough - 1).makespan > max(seconds)


def test_workers_that_no_cell_needs_are_idle_and_cost_nothing():
    plan = longest_first([4.0, 2.0], workers=10**12)
    assert sorted(plan.ends) == [2, 4]
    assert plan.makespan == plan.wait == 4
    assert plan.idle_share == pytest.approx(1 - 6 / 4e12)
