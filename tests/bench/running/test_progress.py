"""How far workers are: what they report, what the driver reads of it, and that a lost report changes nothing."""

from __future__ import annotations

import json
from types import SimpleNamespace

import pytest
from runners import runner
from tiny import cell, task

import bench.loops.evaluation
from bench.running.driver import Driver
from bench.running.observer import Done, Silent
from bench.running.progress import Board, ProgressFolder, Reporter
from bench.types import Progress
from methods import METHODS

HALF = Progress("distill", 5, 10, "loss 3.25")


class Sent(list):
    """A channel that keeps each report."""

    def send(self, cell, progress):
        self.append((cell, progress))


@pytest.mark.parametrize("board", [True, False])
def test_the_last_report_of_each_cell_is_read(board, tmp_path):
    channel = Board() if board else ProgressFolder(tmp_path)
    assert channel.read() == {}
    for report in (Progress("started", 0, 0), HALF):
        channel.send("a", report)
    channel.send("b", Progress("evaluate", 1, 2))
    assert channel.read() == {"a": HALF, "b": Progress("evaluate", 1, 2)}


def test_a_report_that_cannot_be_written_or_read_is_no_error(tmp_path):
    ProgressFolder(tmp_path / "none").send("a", HALF)
    assert not (tmp_path / "none").exists(), "a folder that the driver has removed"
    assert ProgressFolder(tmp_path / "none").read() == {}
    channel = ProgressFolder(tmp_path)
    channel.send("whole", HALF)
    for name, content in (("damaged.json", '{"stage": '), ("foreign.json", '{"a": 1}'), ("list.json", "[1]"), ("x.part", "{}")):
        (tmp_path / name).write_text(content)
    assert channel.read() == {"whole": HALF}


def test_a_worker_reports_the_stages_of_its_cells_and_what_it_waits_for(tmp_path, monkeypatch):
    monkeypatch.setattr(bench.loops.evaluation, "REPORT_SECONDS", -1.0)
    specs, sent = [cell(METHODS[name]) for name in ("random", "dm")], Sent()
    runner(tmp_path, observer=Reporter(sent)).run(specs)
    first = [report for digest, report in sent if digest == specs[0].hash]
    assert first[0] == Progress("started", 0, 0)
    assert "evaluate" in {report.stage for report in first}
    assert {digest for digest, _ in sent} == {spec.hash for spec in specs}
    Reporter(sent).waiting(specs)
    assert sent[-1] == (specs[0].hash, Progress("waiting for another process", 0, 0))


def test_a_worker_reports_now_and_then_and_whenever_a_stage_begins():
    clock, sent, spec = [100.0], Sent(), task().spec
    reporter = Reporter(sent, clock=lambda: clock[0])
    reporter.started(spec)
    for seconds, stage in ((0, "distill"), (0.4, "distill"), (0.4, "distill"), (0.4, "distill"), (0.1, "evaluate")):
        clock[0] += seconds
        reporter.progress(Progress(stage, int(10 * clock[0]), 9999))
    assert [(report.stage, report.done) for _, report in sent] == [
        ("started", 0),
        ("distill", 1000),
        ("distill", 1012),
        ("evaluate", 1013),
    ]


def test_the_driver_shows_the_cells_that_have_not_ended_by_their_labels(tmp_path):
    specs, shown, channel = [task(seed=seed).spec for seed in range(3)], [], Board()

    class Watcher(Silent):
        def cell_finished(self, record, remaining):
            pass

        def workers(self, read):
            shown.append(read())

    estimates = SimpleNamespace(all_seconds=lambda specs: dict.fromkeys((spec.hash for spec in specs), 1.0), records=[])
    driver = Driver(None, None, Watcher(), 2, None, None, lambda: estimates)
    driver.longest_first(specs)
    for spec in specs[:2]:
        channel.send(spec.hash, HALF)
    driver.show(channel)
    driver.finished(Done.model_construct(record=SimpleNamespace(hash=specs[0].hash)))
    driver.show(channel)
    assert shown == [{spec.label: HALF for spec in specs[:2]}, {specs[1].label: HALF}]


def test_an_outcome_is_read_as_it_was_written(tmp_path):
    first, second = runner(tmp_path), runner(tmp_path)
    [ran] = first.outcomes([cell(METHODS["dm"])])
    [there] = second.outcomes([cell(METHODS["dm"])])
    assert (ran.elsewhere, there.elsewhere) == (False, True)
    for done in (ran, there):
        read = Done.model_validate_json(done.model_dump_json())
        assert read.elsewhere == done.elsewhere
        assert json.loads(read.record.model_dump_json()) == json.loads(done.record.model_dump_json())
        assert read.record.hash == read.record.spec.hash
