"""What a person sees while a grid runs."""

from __future__ import annotations

import io

from rich.console import Console
from tiny import task

from bench.console import PlainObserver, RichObserver, observer
from bench.records import Evaluation, MethodFacts, NetworkFacts, RunRecord
from bench.types import Progress


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
