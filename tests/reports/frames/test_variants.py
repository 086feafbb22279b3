"""What tells columns apart: the images of the dataset, and settings whose numbers follow from the IPC or the run."""

from __future__ import annotations

from typing import Annotated

from made_records import record, with_protocol, with_spec

from bench.cells.protocol import Match
from bench.cells.settings import Later
from reports.frames.names import Column
from reports.frames.results import Results
from reports.frames.variants import real_settings, variants
from reports.statistics.comparable import differences, shared_protocol
from reports.statistics.dd_ranking import dd_ranking_frame
from reports.tables.table2 import table2_table


def columns(*records):
    named = variants(records)
    return [Column(made.spec.method, named[made.hash]).name for made in records]


def test_records_of_other_images_are_columns_of_their_own():
    first, second = (
        with_spec(record(accuracies=(accuracy,)), data=data) for data, accuracy in (("aaaa", 60.0), ("bbbb", 80.0))
    )
    assert columns(first, second) == ["dm (data=aaaa)", "dm (data=bbbb)"]
    heads = table2_table(Results.of([first, second])).heads
    assert {"DM (data=aaaa)", "DM (data=bbbb)"} <= set(heads)
    assert set(Results.of([first, second]).cells["accuracy"]) == {60.0, 80.0}  # and not their mean
    elsewhere = with_spec(record(dataset="mnist"), data="cccc")
    assert columns(first, elsewhere) == ["dm", "dm"]  # each dataset has its own images
    assert columns(first, second, elsewhere)[-1] == "dm"


def test_images_that_a_record_does_not_name_are_those_of_the_others():
    first, second = (with_spec(record(seed=seed), data=data) for seed, data in enumerate(("aaaa", "bbbb")))
    unknown = record(seed=2)
    assert columns(first, unknown) == ["dm", "dm"]
    assert columns(unknown, record(seed=3)) == ["dm", "dm"]
    assert columns(first, second, unknown) == ["dm (data=aaaa)", "dm (data=bbbb)", "dm (data=unknown)"]


class LaterMatch(Match):
    """The matching loop with an option that was added after records were written."""

    slope: Annotated[float, Later()] = 0.0


def with_slope(made, **option):
    """Return a record as read by a version with the option; its hash is made up, for the class of its protocol lacks it."""
    match = LaterMatch(**dict(made.spec.protocol.match), **option)
    changed = with_spec(made, protocol=made.spec.protocol.model_copy(update={"match": match}))
    return changed.model_copy(update={"hash": f"{changed.hash}{option}"})


def test_a_protocol_field_that_was_added_later_names_no_column_while_it_has_its_default():
    old, other = (with_slope(record(seed=seed)) for seed in (0, 1))
    assert real_settings(old.spec) == real_settings(record().spec)
    assert columns(old, other) == ["dm", "dm"]
    steep = with_slope(record(), slope=0.5)
    assert columns(old, steep) == ["dm", "dm (match.slope=0.5)"]
    # The two are compared by all fields: one is not the other's protocol.
    assert differences(shared_protocol(old.spec), shared_protocol(steep.spec)) == "match.slope=0.0, not 0.5"


def test_a_setting_that_was_added_later_does_not_rename_the_column_of_old_records():
    old, new = record("kr", settings={"hidden": 128}), record("kr", settings={"hidden": 128, "slope": 0.5})
    assert columns(old, new) == ["kr", "kr (kr.slope=0.5)"]


def test_scores_do_not_mix_images():
    dm, random = (with_spec(record(method), data="aaaa") for method in ("dm", "random"))
    whole = with_spec(record("whole", ipc=None, accuracies=(90.0,)), data="aaaa")
    (row,) = dd_ranking_frame(Results.of([dm, random, whole])).to_dict("records")
    other = with_spec(record("random", accuracies=(10.0, 10.0)), data="bbbb")
    again = dd_ranking_frame(Results.of([dm, random, whole, other])).to_dict("records")
    assert [made["ior"] for made in again] == [row["ior"]]


def test_a_number_stands_in_a_column_that_has_one_and_else_words():
    old, usual = (with_protocol(record(ipc=10), eval={"epochs": epochs}) for epochs in (300, 1000))
    assert columns(old, usual) == ["dm (eval.epochs=300)", "dm (eval.epochs=1000)"]
    first = with_protocol(record(ipc=1), eval={"epochs": 300})  # as many as the IPC says
    assert columns(old, usual, first) == ["dm (eval.epochs=300)", *["dm (eval.epochs=by IPC)"] * 2]


def test_a_methods_own_budget_may_follow_from_the_ipc():
    short, long = {"outer": 1, "inner": 1, "lr_images": 1.0}, {"outer": 5, "inner": 10, "lr_images": 1.0}
    first, second = record("dsa", ipc=1, settings=short), record("dsa", ipc=10, settings=long)
    assert columns(first, second) == ["dsa", "dsa"]
    study = record("dsa", ipc=10, settings=short)
    assert columns(second, study) == ["dsa (dsa.inner=10, dsa.outer=5)", "dsa (dsa.inner=1, dsa.outer=1)"]
    faster = record("dsa", ipc=10, settings=long | {"lr_images": 2.0})  # a rate follows from nothing
    assert columns(first, faster) == ["dsa (dsa.lr_images=1.0)", "dsa (dsa.lr_images=2.0)"]
