"""What captions say of a profile from which some cells depart."""

from __future__ import annotations

from made_records import record, with_protocol

from bench.cells.protocol import PROFILES
from reports.frames.profiles import profiles_label
from reports.frames.results import Results
from reports.tables.captions import caption


def usual(method, ipc, *, seed=0):
    iterations = PROFILES["cpu"].match.at_ipc(ipc).iterations
    return record(method, ipc=ipc, seed=seed, iterations=iterations)


def old(method, ipc, *, seed=0):
    return with_protocol(usual(method, ipc, seed=seed), match={"iterations": 400}, eval={"epochs": 300})


def label(*records):
    return profiles_label(made.spec for made in records)


def test_values_stand_with_the_ipc_whose_cells_have_them():
    assert label(usual("dm", 1), old("dm", 10)) == "cpu with match.iterations=400 eval.epochs=300 at IPC 10"
    assert label(usual("dm", 1), old("dm", 10), old("kr", 50)).endswith("eval.epochs=300 at IPC 10 and 50")
    text = caption(Results.of([usual("dm", 1), old("dm", 10)]))
    assert text.startswith("Profile cpu with match.iterations=400 eval.epochs=300 at IPC 10; seeds 0;")


def test_values_that_some_cells_of_an_ipc_have_are_said_to_be_of_a_part():
    text = label(old("dm", 10), usual("kr", 10))
    assert text == "cpu with match.iterations=400 eval.epochs=300 in part of the cells"


def test_values_that_all_cells_have_stand_alone_and_cells_without_the_field_do_not_count():
    assert label(old("dm", 10), old("kr", 10)) == "cpu with match.iterations=400 eval.epochs=300"
    random = with_protocol(record("random", ipc=1), eval={"epochs": 300})
    assert label(old("dm", 10), random) == "cpu with match.iterations=400, eval.epochs=300 at IPC 10"
    assert label(usual("dm", 1), usual("kr", 10)) == "cpu"
