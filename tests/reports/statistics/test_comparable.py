"""Losses of different protocols, images and machines are not compared as equals, and the report says so."""

from __future__ import annotations

import pytest
from made_records import record, with_protocol, with_spec

from reports.frames.machines import machine_label, machines
from reports.frames.names import Column
from reports.frames.results import Results
from reports.statistics.answer import answer, leaderboards
from reports.statistics.comparable import not_compared, not_compared_sentence
from reports.statistics.comparisons import best_compared, losses_compared, losses_ranked
from reports.statistics.ranks import average_ranks
from reports.tables.answer import answer_table
from reports.tables.comparisons import comparisons_table
from reports.tables.table2 import table2_table

PLACE = ("fashionmnist", 10)
DM, KR, EMD, RANDOM = map(Column, ("dm", "kr", "emd", "random"))


def old(method, *, seed=0, accuracies=(70.0, 71.0)):
    """Return a record of the smaller budget that the profile `cpu` had at IPC 10."""
    made = record(method, ipc=10, seed=seed, accuracies=accuracies)
    return with_protocol(made, match={"iterations": 400}, eval={"epochs": 300})


def new(method, *, seed=0, accuracies=(72.0, 73.0)):
    made = record(method, ipc=10, seed=seed, accuracies=accuracies)
    sections = {"eval": {"epochs": 1000}} if method == "random" else {"match": {"iterations": 1000}, "eval": {"epochs": 1000}}
    return with_protocol(made, **sections)


def pairs(compared):
    return {(pair.first, pair.second) for pair in compared}


WORDS = "match.iterations=400, not 1000, eval.epochs=300, not 1000"


def test_two_losses_of_different_budgets_are_neither_tested_nor_ranked():
    results = Results.of([made for seed in range(3) for made in (old("dm", seed=seed), new("kr", seed=seed))])
    assert losses_compared(results) == best_compared(results) == ()
    ranking = losses_ranked(results)[PLACE]
    assert list(ranking.accuracies) == [KR]
    assert ranking.other_protocol == {DM: WORDS}
    assert "No two losses here have the same protocol" in answer(results)
    assert f"On fashionmnist at IPC 10, DM is not compared, for another protocol: {WORDS}." in answer(results)
    assert f"without DM, which has another protocol: {WORDS}." in " ".join(answer_table(results).caption)


def test_losses_of_one_budget_are_compared_beside_one_of_another():
    results = Results.of([new("kr"), new("emd", accuracies=(60.0, 61.0)), old("dm", accuracies=(90.0, 91.0))])
    assert pairs(losses_compared(results)) == pairs(best_compared(results)) == {(KR, EMD)}
    text = answer(results)
    assert text.startswith("On fashionmnist at IPC 10, KR has the highest accuracy of 2 losses")
    assert f"DM is not compared, for another protocol: {WORDS}." in text
    table = table2_table(results)
    assert [cell.best for cell in table.rows[1].cells[: len(table.heads)]].count(True) == 1
    bold = {column for column, cell in zip(table.columns, table.rows[1].cells, strict=True) if cell.best}
    assert bold == {KR}  # not DM, whose mean is higher
    sentence = f"DM on fashionmnist, IPC 10 ({WORDS})."
    for caption in (table.caption, comparisons_table(results).caption):
        assert sentence in " ".join(caption)


def test_images_without_a_matching_loop_are_compared_where_their_evaluation_is_the_same():
    results = Results.of([new("kr"), new("random", accuracies=(50.0, 51.0)), old("dm")])
    assert pairs(best_compared(results)) == {(KR, RANDOM)}
    short = with_protocol(new("random"), eval={"epochs": 300})
    assert not_compared(Results.of([new("kr"), short])) == {PLACE: {RANDOM: "eval.epochs=300, not 1000"}}


@pytest.mark.parametrize(
    "sections",
    [
        {"data": {"split": "validation"}},
        {"match": {"augment": "none"}},
        {"match": {"network": "convnet-bn"}},
        {"eval": {"lr": 1.0}},
    ],
)
def test_every_field_that_losses_share_counts(sections):
    results = Results.of([record("dm"), with_protocol(record("kr"), **sections)])
    assert losses_compared(results) == ()
    assert not_compared_sentence(results)


def test_the_test_set_stands_before_a_validation_split_and_the_longer_budget_before_the_shorter():
    validated = with_protocol(record("dm", ipc=10, iterations=2000), data={"split": "validation"})
    assert list(not_compared(Results.of([validated, new("kr")]))[PLACE]) == [DM]
    assert list(not_compared(Results.of([new("kr"), old("dm")]))[PLACE]) == [DM]


@pytest.mark.parametrize(
    "sections",
    [{"match": {"rate": 0.2}}, {"eval": {"nets": 2}}, {"match": {"optimizer": "sgd", "rate": None, "lr_images": 1.0}}],
)
def test_what_a_loss_may_have_for_itself_keeps_it_compared(sections):
    results = Results.of([record("dm"), with_protocol(record("kr"), **sections)])
    assert len(losses_compared(results)) == 1
    assert not not_compared_sentence(results)


def test_variants_of_one_loss_are_compared_for_their_names_say_what_differs():
    (pair,) = losses_compared(Results.of([new("dm"), old("dm")]))
    assert "400" in pair.second.variant


def test_a_method_has_no_rank_where_its_protocol_is_another():
    assert average_ranks(Results.of([record("whole", ipc=None)])) is None  # nothing to rank, nor to leave out
    places = [("mnist", 1), ("mnist", 50), ("svhn", 1), ("svhn", 50), ("cifar10", 1), ("cifar10", 50)]
    records = [
        record(method, dataset=dataset, ipc=ipc, accuracies=(60.0 + number,))
        for dataset, ipc in places
        for number, method in enumerate(("dm", "kr", "emd"))
    ]
    assert average_ranks(Results.of(records)).blocks == 6
    others = [with_protocol(made, match={"augment": "none"}) if made.spec.method == "kr" else made for made in records]
    assert average_ranks(Results.of(others)) is None  # two methods are left


def test_losses_from_other_images_are_not_compared_and_unknown_images_are():
    first, second = with_spec(record("dm"), data="aaaa"), with_spec(record("kr"), data="bbbb")
    assert losses_compared(Results.of([first, second])) == ()
    assert len(losses_compared(Results.of([first, record("kr")]))) == 1
    three = Results.of([first, second, record("emd")])
    assert list(not_compared(three)["fashionmnist", 1]) in ([DM], [KR])


def test_many_losses_of_another_protocol_are_counted_in_the_answer_and_named_at_the_table():
    datasets = ("mnist", "svhn", "cifar10", "cifar100")
    made = [
        record(method, dataset=dataset, accuracies=(accuracy,))
        for dataset in datasets
        for method, accuracy in (("dm", 60.0), ("kr", 61.0), ("emd", 62.0), ("sinkhorn", 63.0))
    ]
    others = [with_protocol(one, match={"augment": "none"}) if one.spec.method in ("emd", "sinkhorn") else one for one in made]
    results = Results.of(
        [*others, record("random", dataset="mnist"), *(record("dm", dataset=name, seed=1) for name in datasets)]
    )
    text = answer(results)
    assert "8 results of losses are not compared, for another protocol" in text
    assert text.count("is not compared") == 0
    assert " ".join(answer_table(results).caption).count("which has another protocol") == 8


def test_a_precision_apart_from_the_runs_is_said_in_words():
    apart = with_protocol(record("kr", precision="bf16"), eval={"precision": "fp32"})
    words = " ".join(answer_table(Results.of([record("dm", precision="bf16"), apart])).caption)
    assert "they also differ in eval.precision (fp32, that of the run)." in words


# ---- machines ----


def on(made, seconds, **hardware):
    return made.model_copy(update={"seconds": {"loss": seconds, "total": seconds}, "hardware": {"device": "cpu", **hardware}})


def test_seconds_of_different_machines_and_threads_are_not_compared():
    one = on(record("dm"), 3.0, cpu="A", threads=2)
    for hardware in ({"cpu": "A", "threads": 1}, {"cpu": "B", "threads": 2}):
        results = Results.of([one, on(record("kr", accuracies=(80.0, 81.0)), 9.0, **hardware)])
        where = f"{hardware['cpu']}, {hardware['threads']} threads on cpu"
        text = answer(results)
        assert f"It takes 9 s of distilling ({where}). The losses were not all distilled on one machine" in text
        assert "times what" not in text
        table = answer_table(results)
        assert "seconds are of different machines or threads (A, " in " ".join(table.caption)
        assert "They share everything else." not in table.caption
        assert [cell.label for cell in table.rows[0].cells[-2:]] == ["not compared", ""]
        elsewhere = [on(record(method, ipc=10), 3.0, **hardware) for method in ("dm", "kr")]
        many = answer(Results.of([*results.records, *elsewhere]))
        assert "Seconds are not compared where losses were not all distilled on one machine" in many


def test_the_answer_names_the_hardware_of_its_seconds():
    results = Results.of([on(record(method), 3.0, cpu="A", threads=2) for method in ("dm", "kr")])
    assert "(A, 2 threads on cpu)" in answer(results)
    assert "They are of A, 2 threads on cpu." in answer_table(results).caption[0]
    both = Results.of([*results.records, *(on(record(method, ipc=10), 3.0, cpu="A", threads=2) for method in ("dm", "kr"))])
    assert "(A, 2 threads on cpu)" in answer(both)


def test_seeds_of_one_loss_on_two_machines_are_seconds_of_two():
    records = [on(record("dm", seed=seed), 3.0, cpu=cpu, threads=2) for seed, cpu in enumerate("AB")]
    (board,) = leaderboards(Results.of([*records, on(record("kr"), 3.0, cpu="A", threads=2)]))
    assert len(board.machines) == 2


def test_captions_name_the_hardware_of_evaluations_and_the_ranks():
    made = record()
    elsewhere = made.evaluations[0].model_copy(update={"hardware": {"gpu": "G", "cores": 4, "device": "cuda"}})
    made = made.model_copy(update={"evaluations": (elsewhere,)})
    assert machines([made]) == "G, 4 threads on cuda, a processor, 2 threads on cpu"
    assert machine_label({"cpu": "A", "threads": 2, "ranks": 4}) == "A, 2 threads on cpu, 4 ranks"
