"""What a person sees while a grid runs."""

from __future__ import annotations

import io
from itertools import count
from types import SimpleNamespace

import pytest
from rich.console import Console
from tiny import task

from bench.command.console import PlainObserver, RichObserver, observer
from bench.records.record import RunRecord
from bench.records.sections import Evaluation, MethodFacts, NetworkFacts
from bench.running.driver import Driver
from bench.running.observer import Done
from bench.types import Progress

EVALUATION = Evaluation(
    network="convnet", facts=NetworkFacts(label="ConvNet", features=8), accuracies=(40.0, 60.0), seconds=1.0
)


def watch(shown) -> None:
    spec = task().spec
    about = {"spec": spec, "method": MethodFacts(label="DM"), "dataset_label": "Tiny"}
    evaluations = tuple(
        Evaluation(network=name, facts=NetworkFacts(label=name, features=8), accuracies=accuracies, seconds=1.0)
        for name, accuracies in (("mlp", (40.0, 50.0)), ("convnet", (70.0, 72.0)))
    )
    good = RunRecord(hash="a", status="ok", evaluations=evaluations, seconds={"total": 12.0}, **about)
    bad = RunRecord(hash="b", status="failed", error="DistillationError: the loss is nan", **about)
    with shown:
        for record in (good, bad):
            shown.started(spec)
            shown.progress(Progress("distill", 5, 10, "loss 3.25"))
            shown.progress(Progress("evaluate", 1, 4, "network 1 of 2"))
            shown.finished(record)


def test_plain_lines_where_there_is_no_terminal():
    stream = io.StringIO()
    watch(observer(stream, total=2))
    text = stream.getvalue()
    assert isinstance(observer(stream, total=2), PlainObserver)
    assert "[1/2] tiny ipc 2 dm seed 0: started" in text
    assert "71.0 % over 2 networks, 12 s" in text
    assert "[2/2] tiny ipc 2 dm seed 0: failed: DistillationError: the loss is nan" in text
    assert "\x1b" not in text


def test_a_bar_for_the_grid_and_one_for_the_cell_on_a_terminal():
    stream = io.StringIO()
    watch(RichObserver(Console(file=stream, force_terminal=True, width=160), total=2))
    text = stream.getvalue()
    for word in ("grid", "2/2", "tiny ipc 2 dm seed 0", "71.0 % over 2 networks", "failed: DistillationError"):
        assert word in text


def cells():
    """Return three cells, and their records."""
    specs = [task(seed=seed).spec for seed in range(3)]
    facts = {"evaluations": (EVALUATION,), "method": MethodFacts(label="DM"), "dataset_label": "Tiny"}
    return specs, [RunRecord(hash=spec.hash, status="ok", spec=spec, seconds={"total": 9.0}, **facts) for spec in specs]


def driven(shown, *, jobs, records=("any",)):
    """Tell an observer of three cells that other processes ran, and that were expected to take 100, 200 and 300 s."""
    specs, done = cells()
    seconds = dict(zip((spec.hash for spec in specs), (100.0, 200.0, 300.0), strict=True))
    estimates = SimpleNamespace(all_seconds=lambda specs: {spec.hash: seconds[spec.hash] for spec in specs}, records=records)
    driver = Driver(None, None, shown, jobs, None, None, lambda: estimates)
    assert driver.longest_first(specs) == specs[::-1]
    with shown:
        for record in done:
            outcome = Done(record=record)
            assert driver.finished(outcome) is outcome


@pytest.mark.parametrize(
    ("jobs", "records", "rest"),
    [
        (1, ["any"], ["2 left, about 8.3 min", "1 left, about 5.0 min"]),
        (2, ["any"], ["2 left, about 5.0 min", "1 left, about 5.0 min"]),
        (None, ["any"], ["2 left, about 8.3 min of work", "1 left, about 5.0 min of work"]),
        (2, [], ["2 left", "1 left"]),
    ],
)
def test_cells_that_other_processes_run_are_shown_when_they_end_with_what_is_left(jobs, records, rest):
    stream = io.StringIO()
    driven(PlainObserver(stream, total=3), jobs=jobs, records=records)
    outcome = "50.0 % over 2 networks, 9 s"
    assert stream.getvalue().splitlines() == [
        f"[1/3] tiny ipc 2 dm seed 0: {outcome}; {rest[0]}",
        f"[2/3] tiny ipc 2 dm seed 1: {outcome}; {rest[1]}",
        f"[3/3] tiny ipc 2 dm seed 2: {outcome}",
    ]


def test_the_bar_of_the_grid_says_what_is_left_where_other_processes_run_cells():
    stream = io.StringIO()
    driven(RichObserver(Console(file=stream, force_terminal=True, width=160), total=3), jobs=2)
    text = stream.getvalue()
    for word in ("3/3", "tiny ipc 2 dm seed 2: 50.0 % over 2 networks, 9 s"):
        assert word in text


RUNNING = {f"cell {number}": Progress("distill", number, 100, "loss 3.25") for number in range(22)}


def test_a_log_has_a_line_a_minute_of_each_cell_that_a_worker_runs():
    stream, clock, reads = io.StringIO(), [0.0], []
    shown = PlainObserver(stream, total=60, clock=lambda: clock[0])

    def read(cells):
        reads.append(clock[0])
        return cells

    for seconds, cells in ((59, RUNNING), (1, {}), (5, RUNNING), (59, RUNNING), (1, dict(list(RUNNING.items())[:1]))):
        clock[0] += seconds
        shown.workers(lambda cells=cells: read(cells))
    assert reads == [60, 65, 125]  # what is not shown is not read, and if nothing runs yet it is looked at again
    lines = stream.getvalue().splitlines()
    assert lines[:2] == ["[0/60] cell 0: distill 0/100 loss 3.25", "[0/60] cell 1: distill 1/100 loss 3.25"]
    assert lines[20:] == ["[0/60] other workers: 2 more cells are running", "[0/60] cell 0: distill 0/100 loss 3.25"]


def test_a_terminal_has_a_bar_for_each_cell_that_a_worker_runs():
    specs, done = cells()
    stream, clock = io.StringIO(), count(10, 10)
    shown = RichObserver(Console(file=stream, force_terminal=True, width=160), total=3, clock=lambda: next(clock))
    with shown:
        shown.workers(lambda: {spec.label: Progress("distill", 1, 9, "loss 3.25") for spec in specs[:2]})
        shown.workers(lambda: {specs[1].label: Progress("evaluate", 2, 5), specs[2].label: Progress("started", 0, 0)})
        shown.cell_finished(done[1], "1 left")
        stream.truncate(stream.seek(0))
    last = stream.getvalue()  # as the bars are left
    assert f"{specs[2].label}: started" in last
    assert "1/3" in last
    assert specs[0].label not in last and f"{specs[1].label}: evaluate" not in last


@pytest.mark.parametrize("terminal", [False, True])
def test_cells_that_another_process_ran_are_not_shown_as_our_own(terminal):
    stream, [record, *_] = io.StringIO(), cells()[1]
    shown = RichObserver(Console(file=stream, force_terminal=True, width=160), total=3) if terminal else None
    with shown or PlainObserver(stream, total=3) as observer:
        observer.finished_elsewhere(record)
    assert "tiny ipc 2 dm seed 0: run by another process: 50.0 % over 2 networks, 9 s" in stream.getvalue()
    assert "1/3" in stream.getvalue()
    assert "started" not in stream.getvalue()
