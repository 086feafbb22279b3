"""Workers compute classes side by side, each in one thread; outside an engine they are computed one after another."""

import contextvars
import threading
import time

import pytest
import torch

from bench.machine.threads import Workers, side_by_side

LIMIT = 30
"""Seconds after which a test that hangs fails."""


@pytest.fixture
def threads():
    """Let torch have three threads during a test."""
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    yield 3
    torch.set_num_threads(before)


@pytest.fixture
def serving():
    with Workers(2) as workers, workers.serving():
        yield workers


def where(*_):
    """Return the thread that this runs in, and torch's number of threads there."""
    return threading.get_ident(), torch.get_num_threads()


def test_outside_an_engine_the_caller_computes_and_nothing_changes(threads, monkeypatch):
    monkeypatch.setattr(torch, "set_num_threads", lambda number: pytest.fail("the number of threads was set"))
    assert side_by_side(where, range(4)) == [(threading.get_ident(), threads)] * 4


def test_inside_workers_compute_with_one_thread_each(threads, serving):
    assert side_by_side(lambda _: torch.get_num_threads(), range(8)) == [1] * 8
    assert threading.get_ident() not in {identity for identity, _ in side_by_side(where, range(8))}
    assert torch.get_num_threads() == threads  # as it was


def test_each_worker_sets_its_own_number_of_threads(monkeypatch):
    # It shows in results only now and then: MKL's first product in a thread is split, or not, as cores happen to be free.
    requests, set_num_threads = [], torch.set_num_threads
    monkeypatch.setattr(
        torch, "set_num_threads", lambda number: (requests.append((threading.get_ident(), number)), set_num_threads(number))
    )
    barrier = threading.Barrier(2, timeout=LIMIT)
    with Workers(2) as workers, workers.serving():
        used = side_by_side(lambda _: (barrier.wait(), threading.get_ident())[1], range(2))
    assert all((identity, 1) in requests for identity in used)


def test_as_many_compute_at_once_as_there_are_workers():
    for count in (1, 3):
        running, most, lock = 0, 0, threading.Lock()

        def work(_, lock=lock):
            nonlocal running, most
            with lock:
                running += 1
                most = max(most, running)
            time.sleep(0.05)
            with lock:
                running -= 1

        with Workers(count) as workers, workers.serving():
            side_by_side(work, range(6))
        assert most == count


def test_the_same_threads_serve_every_call(serving):
    barrier = threading.Barrier(2, timeout=LIMIT)  # both workers take part each time

    def identity(_):
        barrier.wait()
        return threading.get_ident()

    first, second = (set(side_by_side(identity, range(2))) for _ in range(2))
    assert len(first) == 2
    assert first == second


def test_the_end_of_the_block_ends_the_threads():
    with Workers(2) as workers, workers.serving():
        barrier = threading.Barrier(2, timeout=LIMIT)
        used = side_by_side(lambda _: (barrier.wait(), threading.current_thread())[1], range(2))
        assert all(thread.is_alive() for thread in used)
    assert not any(thread.is_alive() for thread in used)
    assert side_by_side(where, [0])[0][0] == threading.get_ident()  # they serve no longer


@pytest.mark.parametrize("inside", [False, True])
def test_results_are_in_the_order_of_the_items_and_tensors_give_their_rows(inside):
    def shifted(seconds, row, power):
        time.sleep(seconds)
        return row.pow(power)

    rows, delays = torch.arange(6.0).view(3, 2), (0.1, 0.0, 0.05)
    with Workers(3) as workers:
        if inside:
            with workers.serving():
                values = side_by_side(shifted, delays, rows, (1, 2, 3))
        else:
            values = side_by_side(shifted, delays, rows, (1, 2, 3))
    assert [value.tolist() for value in values] == [[0, 1], [4, 9], [64, 125]]


@pytest.mark.parametrize("inside", [False, True])
def test_iterables_of_different_lengths_are_refused(inside):
    with Workers(2) as workers:
        if inside:
            with workers.serving(), pytest.raises(ValueError, match="argument 2"):
                side_by_side(lambda *_: None, range(3), range(2))
        else:
            with pytest.raises(ValueError, match="argument 2"):
                side_by_side(lambda *_: None, range(3), range(2))


def test_an_error_is_passed_on_when_the_others_have_ended(threads, serving):
    ended = []

    def work(number):
        if number == 1:
            raise ValueError("number 1")
        time.sleep(0.05)
        ended.append(number)

    with pytest.raises(ValueError, match="number 1"):
        side_by_side(work, range(4))
    assert sorted(ended) == [0, 2, 3]  # none is left that would run at another number of threads
    assert torch.get_num_threads() == threads
    assert side_by_side(abs, [-1, -2]) == [1, 2]  # and the workers go on


def test_a_call_inside_a_worker_computes_there_and_does_not_wait_for_itself():
    def inner(_):
        return threading.get_ident()

    def outer(_):
        # Also where a library runs a part in a copy of the context.
        copied = contextvars.copy_context().run(side_by_side, inner, [0])
        return (threading.get_ident(), *side_by_side(inner, range(3)), *copied)

    results = []

    def run():
        with Workers(1) as workers, workers.serving():
            results.extend(side_by_side(outer, range(2)))

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(LIMIT)
    assert not thread.is_alive(), "a worker waits for itself"
    assert all(len(set(identities)) == 1 for identities in results)


def test_a_worker_started_with_the_caller_s_context_does_not_wait_for_itself(monkeypatch):
    # As threads are from Python 3.14 on, where that is asked for.
    run = threading.Thread.run

    def inherit(self):
        return self.context.run(run, self) if hasattr(self, "context") else run(self)

    def start(self, start=threading.Thread.start):
        self.context = contextvars.copy_context()
        start(self)

    monkeypatch.setattr(threading.Thread, "run", inherit)
    monkeypatch.setattr(threading.Thread, "start", start)
    results = []

    def outer():
        with Workers(1) as workers, workers.serving():
            results.extend(side_by_side(lambda _: side_by_side(abs, [-1]), range(2)))

    thread = threading.Thread(target=outer, daemon=True)
    thread.start()
    thread.join(LIMIT)
    assert results == [[1], [1]]


def test_serving_ends_with_its_block_and_may_be_nested():
    with Workers(1) as outer, Workers(1) as inner:
        assert side_by_side(where, [0])[0][0] == threading.get_ident()
        with outer.serving():
            first = side_by_side(where, [0])
            with inner.serving():
                assert side_by_side(where, [0]) != first
            assert side_by_side(where, [0]) == first
        assert side_by_side(where, [0])[0][0] == threading.get_ident()


@pytest.mark.parametrize("enabled", [False, True])
def test_workers_compute_gradients_where_the_caller_does(serving, enabled):
    with torch.set_grad_enabled(enabled):
        assert side_by_side(lambda _: torch.is_grad_enabled(), range(4)) == [enabled] * 4
