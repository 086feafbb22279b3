"""Statistics against closed forms and other libraries: two sources of variance, paired tests, ranks, the answer."""

from __future__ import annotations

import math
import warnings

import numpy as np
import pandas as pd
import pytest
import statsmodels.formula.api as smf
from made_records import record, with_protocol
from scipy import stats

from reports.frames.results import Results
from reports.statistics.answer import answer, answer_frame, leaderboards
from reports.statistics.comparisons import LEVEL, POWER, best_compared, losses_compared
from reports.statistics.ranks import average_ranks
from reports.statistics.variance import statistics
from reports.tables import comparisons as tables
from reports.tables.answer import answer_table


def seeds(method, accuracies, **kwargs):
    return [record(method, seed=seed, accuracies=tuple(of), **kwargs) for seed, of in enumerate(accuracies)]


def frame_of(accuracies):
    return pd.DataFrame([(seed, value) for seed, of in enumerate(accuracies) for value in of], columns=["seed", "accuracy"])


# ---- two sources of variance ----


def test_the_deviation_between_distillations_is_that_of_the_analysis_of_variance():
    """Balanced: the variance of the seeds' means less that within a seed over the number of its networks."""
    accuracies = np.array([[70.0, 72.0, 71.0], [75.0, 74.0, 79.0], [66.0, 69.0, 69.0]])
    numbers = statistics(frame_of(accuracies))
    expected = accuracies.mean(1).var(ddof=1) - accuracies.var(1, ddof=1).mean() / 3
    assert numbers.std_distillations == pytest.approx(math.sqrt(expected))
    assert numbers.std_seeds == pytest.approx(accuracies.mean(1).std(ddof=1))
    assert numbers.standard_errors(0.0) == pytest.approx((numbers.std_seeds / math.sqrt(3),) * 2)


def test_it_is_that_of_a_mixed_model_by_restricted_maximum_likelihood():
    generator = np.random.default_rng(3)
    accuracies = 70 + 2 * generator.normal(size=(8, 1)) + generator.normal(size=(8, 5))
    frame = frame_of(accuracies)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = smf.mixedlm("accuracy ~ 1", frame, groups="seed").fit(reml=True)
    numbers = statistics(frame)
    assert numbers.std_distillations == pytest.approx(math.sqrt(float(model.cov_re.iloc[0, 0])), rel=1e-3)
    assert numbers.std_networks == pytest.approx(math.sqrt(model.scale), rel=1e-3)


@pytest.mark.parametrize(
    ("accuracies", "expected"),
    [
        ([[70.0, 72.0], [71.0, 71.0]], 0.0),  # seeds' means agree: nothing is left for distillations
        ([[70.0, 70.0], [72.0, 72.0]], math.sqrt(2.0)),  # networks agree
        ([[70.0, 71.0]], math.nan),
        ([[70.0], [71.0]], math.nan),
        ([[70.0, 72.0, 74.0], [80.0]], None),  # not balanced
    ],
)
def test_the_edges_of_that_deviation(accuracies, expected):
    deviation = statistics(frame_of(accuracies)).std_distillations
    if expected is None:
        assert 0 < deviation < statistics(frame_of(accuracies)).std_seeds
    else:
        assert deviation == pytest.approx(expected, nan_ok=True)


def test_both_sources_stand_in_a_table():
    records = [*seeds("dm", [(70.0, 72.0), (76.0, 74.0)]), record("kr")]
    table = tables.variance_table(Results.of(records))
    (row,) = table.rows
    assert row.labels == ("fashionmnist", "1", "DM")
    numbers = [cell.value for cell in row.cells[:3]]
    assert numbers == pytest.approx([math.sqrt(8 - 1), math.sqrt(2), 2.0])  # variances: of means 8, within 2, of a mean 1
    assert row.cells[3].label == "13%"
    assert tables.variance_table(Results.of([record(), record("kr")])) is None


# ---- pairs ----

DM = [(70.0, 71.0), (72.0, 74.0), (71.0, 71.0), (73.0, 72.0)]
KR = [(71.0, 72.5), (73.0, 74.5), (72.5, 72.0), (73.5, 73.0)]
EMD = [(60.0, 61.0), (62.0, 63.0), (61.0, 62.5), (63.0, 62.0)]


def test_a_pair_is_tested_over_its_seeds():
    (pair,) = losses_compared(Results.of([*seeds("dm", DM), *seeds("kr", KR)]))
    test = stats.ttest_rel(np.mean(KR, axis=1), np.mean(DM, axis=1))
    interval = test.confidence_interval(0.95)
    assert (pair.first.method, pair.second.method, pair.seeds) == ("kr", "dm", 4)
    assert (pair.difference, pair.low, pair.high, pair.p) == pytest.approx(
        (np.mean(KR) - np.mean(DM), interval.low, interval.high, test.pvalue)
    )
    assert pair.p_holm == pair.p  # one pair is no family
    assert pair.outcome == "better"


def test_seeds_are_paired_whatever_their_order_and_only_those_that_both_have():
    shuffled = [*reversed(seeds("dm", DM)), *seeds("kr", KR), record("kr", seed=7, accuracies=(10.0, 10.0))]
    (pair,) = losses_compared(Results.of(shuffled))
    assert pair.seeds == 4
    assert abs(pair.difference) == pytest.approx(np.mean(KR) - np.mean(DM))


def test_holms_correction_is_over_the_pairs_of_a_dataset_and_ipc():
    three = [*seeds("dm", DM), *seeds("kr", KR), *seeds("emd", EMD)]
    elsewhere = [*seeds("dm", KR, ipc=10), *seeds("kr", DM, ipc=10)]
    pairs = losses_compared(Results.of([*three, *elsewhere]))
    here = sorted((pair for pair in pairs if pair.ipc == 1), key=lambda pair: pair.p)
    assert len(here) == 3
    expected = np.maximum.accumulate([min(1.0, pair.p * (3 - place)) for place, pair in enumerate(here)])
    assert [pair.p_holm for pair in here] == pytest.approx(expected)
    (alone,) = [pair for pair in pairs if pair.ipc == 10]
    assert alone.p_holm == alone.p


def test_one_seed_gives_no_interval():
    results = Results.of([record("dm"), record("kr", accuracies=(71.0, 73.0))])
    (pair,) = losses_compared(results)
    assert (pair.outcome, pair.seeds, pair.difference) == ("one seed", 1, 1.5)
    assert all(math.isnan(value) for value in (pair.low, pair.high, pair.p, pair.p_holm))
    text = tables.comparisons_table(results).render("md")
    assert "One seed gives no interval between methods" in text
    assert "| KR − DM | 1.50 | one seed |  |  | 1 |  |" in text


def test_losses_are_compared_with_losses_and_the_best_with_all_but_the_whole_set():
    records = [*seeds("dm", DM), *seeds("kr", KR), *seeds("random", EMD), *seeds("whole", [(99.0,)] * 4)]
    results = Results.of(records)
    assert {(pair.first.method, pair.second.method) for pair in losses_compared(results)} == {("kr", "dm")}
    assert {(pair.first.method, pair.second.method) for pair in best_compared(results)} == {("kr", "dm"), ("kr", "random")}


def test_the_same_images_are_no_better_than_themselves():
    (pair,) = losses_compared(Results.of([*seeds("dm", DM), *seeds("kr", DM)]))
    assert (pair.difference, pair.p, pair.outcome, pair.more_seeds) == (0.0, 1.0, "not distinguishable", None)


OTHER = [(71.5, 71.5), (74.0, 74.0), (71.0, 71.0)]


def test_the_number_of_seeds_that_would_settle_a_tie_has_the_power():
    noisy = [(70.0, 70.0), (75.0, 75.0), (68.0, 68.0)]
    (pair,) = losses_compared(Results.of([*seeds("dm", noisy), *seeds("kr", OTHER)]))
    assert pair.outcome == "not distinguishable"
    differences = np.array([1.5, -1.0, 3.0])
    effect = differences.mean() / differences.std(ddof=1)

    def power(count, level):
        critical = stats.t.ppf(1 - level / 2, count - 1)
        shifted = stats.nct(count - 1, effect * math.sqrt(count))
        return 1 - shifted.cdf(critical) + shifted.cdf(-critical)

    enough = pair.seeds + pair.more_seeds
    assert power(enough, LEVEL) >= POWER > power(enough - 1, LEVEL)
    third = [(40.0, 41.0), (42.0, 43.0), (41.0, 40.0)]
    family = losses_compared(Results.of([*seeds("dm", noisy), *seeds("kr", OTHER), *seeds("emd", third)]))
    pair = next(one for one in family if {one.first.method, one.second.method} == {"dm", "kr"})
    enough = pair.seeds + pair.more_seeds
    assert power(enough, LEVEL / 3) >= POWER > power(enough - 1, LEVEL / 3)


def test_a_tie_that_no_number_of_seeds_would_settle_says_so():
    flat = [(71.0, 70.0), (71.0, 75.0), (71.0, 68.0)]
    shifted = [(71.0, 70.0), (71.0, 68.001), (71.0, 75.0)]
    results = Results.of([*seeds("dm", flat), *seeds("kr", shifted)])
    (pair,) = losses_compared(results)
    assert (pair.outcome, pair.more_seeds) == ("not distinguishable", None)
    assert "over 1000" in tables.comparisons_table(results).render("md")


def test_pairs_of_different_evaluation_networks_are_not_compared():
    other = record("kr").model_copy(
        update={"evaluations": tuple(one.model_copy(update={"network": "mlp"}) for one in record("kr").evaluations)}
    )
    assert losses_compared(Results.of([record("dm"), other])) == ()


# ---- ranks ----


def many(places, methods=("dm", "kr", "emd")):
    generator = np.random.default_rng(0)
    return [
        record(method, dataset=dataset, ipc=ipc, accuracies=(60.0 + number + generator.normal(), 60.0 + number))
        for dataset, ipc in places
        for number, method in enumerate(methods)
    ]


PLACES = [(dataset, ipc) for dataset in ("mnist", "svhn", "cifar10") for ipc in (1, 10)]


def test_average_ranks_are_friedmans():
    records = many(PLACES)
    ranks = average_ranks(Results.of(records))
    means = {}
    for made in records:
        means.setdefault(made.spec.method, []).append(np.mean(made.main_evaluation.accuracies))
    assert ranks.blocks == len(PLACES)
    assert ranks.p == pytest.approx(stats.friedmanchisquare(*means.values()).pvalue)
    by_hand = stats.rankdata(-np.array(list(means.values())), axis=0).mean(axis=1)
    assert ranks.ranks.to_dict() == pytest.approx(dict(zip(means, by_hand, strict=True)))
    assert ranks.ranks.index[0] == "emd"
    assert ranks.pairs.loc["emd", "dm"] < LEVEL < ranks.pairs.loc["emd", "emd"]


def test_there_are_no_ranks_of_few_cells():
    assert average_ranks(Results.of(many(PLACES[:4]))) is None
    assert average_ranks(Results.of(many(PLACES, methods=("dm", "kr")))) is None
    some = [made for made in many(PLACES) if made.spec.method != "emd" or made.spec.dataset != "svhn"]
    assert average_ranks(Results.of(some)) is None  # EMD lacks two of six


# ---- the answer ----


def test_the_answer_with_one_pair_of_dataset_and_ipc():
    text = answer(Results.of([*seeds("dm", DM), *seeds("kr", KR)]))
    assert text.startswith("On fashionmnist at IPC 1, KR has the highest accuracy of 2 losses, 72.8 %: 1.0 points above DM")
    assert "(95 % interval 0.54 to 1.46, p = 0.0062 after Holm's correction)" in text
    one_seed = answer(Results.of([record("dm"), record("kr", accuracies=(71.0, 73.0))]))
    assert "(one seed gives no interval, so it may be chance)" in one_seed


def test_the_answer_says_what_the_best_costs():
    slow = record("kr", accuracies=(80.0, 81.0)).model_copy(update={"seconds": {"features": 9.0, "total": 10.0}})
    where = "(a processor, 2 threads on cpu)"
    text = f"It takes 9 s of distilling, 3.0 times what the fastest takes, DM {where}."
    assert text in answer(Results.of([record("dm"), slow]))
    assert f"It is also the fastest, with 3 s of distilling {where}." in answer(Results.of([record("dm"), record("kr")]))


def test_the_answer_over_many_counts_wins_and_confidence():
    text = answer(Results.of([*seeds("dm", DM), *seeds("kr", KR), *many(PLACES)]))
    assert text.startswith("Of 7 pairs of dataset and IPC, the highest accuracy is that of EMD in 6 and KR in 1: ")
    assert "The lead is significant in 1 of them; 6 have one seed, which gives no interval." in text
    few = answer(Results.of([*seeds("dm", DM), *seeds("kr", KR), *many(PLACES[:2])]))
    assert "that of EMD in 2 (mnist IPC 1, mnist IPC 10) and KR in 1 (fashionmnist IPC 1): " in few
    assert "significant in 1 of them (fashionmnist IPC 1: by 0.5 to 1.5); 2 have one seed" in few


def test_losses_of_equal_accuracy_are_all_named():
    equal = Results.of([record("kr"), record("emd"), record("dm", accuracies=(60.0, 61.0))])
    text = answer(equal)
    assert "EMD has the highest accuracy of 3 losses, 70.5 %: as high as that of KR (" in text
    assert [board.lead.difference for board in leaderboards(equal)] == [0.0]


def test_losses_rank_over_the_seeds_and_networks_that_they_share():
    ahead = [record("kr", seed=0, accuracies=(70.0, 70.0)), record("kr", seed=1, accuracies=(90.0, 90.0))]
    results = Results.of([*ahead, record("dm", seed=0, accuracies=(71.0, 71.0))])
    (board,) = leaderboards(results)
    assert (board.best.column.method, board.best.accuracy, board.lead.difference) == ("dm", 71.0, 1.0)
    assert "DM has the highest accuracy of 2 losses, 71.0 %: 1.0 points above KR" in answer(results)
    # A loss without the seeds of the others does not take their comparison away.
    third = Results.of([*seeds("dm", DM), *seeds("kr", KR), record("emd", seed=9)])
    (board,) = leaderboards(third)
    assert {entry.column.method for entry in board.entries} == {"dm", "kr"}
    assert [column.method for column in board.left_out] == ["emd"]
    assert "On fashionmnist, IPC 1, without EMD, for lack of the same seeds" in " ".join(answer_table(third).caption)
    # Two seeds of two losses say more than one seed of three.
    once = Results.of([*seeds("dm", DM), *seeds("kr", KR), record("emd", seed=0, accuracies=EMD[0])])
    (board,) = leaderboards(once)
    assert (board.lead.seeds, board.lead.outcome) == (4, "better")
    one_seed = Results.of([record("dm"), record("kr"), record("emd"), record("kr", seed=1)])
    assert len(leaderboards(one_seed)[0].entries) == 3
    apart = Results.of([record("dm", seed=0), record("kr", seed=1, accuracies=(80.0, 80.0))])
    assert answer(apart).startswith("No two losses here have a seed and an evaluation network in common")
    assert answer_frame(apart)["behind_best"].isna().all()
    assert answer_table(apart).rows[0].cells[1].label == "none comparable"


def test_what_losses_differ_in_besides_themselves_is_said():
    other = with_protocol(record("kr"), match={"rate": 0.2})
    words = " ".join(answer_table(Results.of([record("dm"), other])).caption)
    assert "On fashionmnist, IPC 1, they also differ in match.rate (0.05, 0.2)." in words
    assert "They share everything else." in answer_table(Results.of([record("dm"), record("kr")])).caption


def test_the_best_method_stands_against_all_others_where_they_are_not_losses_alone():
    table = tables.best_table(Results.of([*seeds("kr", KR), *seeds("random", EMD)]))
    assert [row.labels[-1] for row in table.rows] == ["KR − RANDOM"]
    assert table.rows[0].cells[3].label == "yes"
    assert tables.best_table(Results.of([*seeds("kr", KR), *seeds("dm", DM)])) is None


def test_the_answer_says_what_digits_can_say():
    text = answer(Results.of([record("dm", dataset="digits"), record("kr", dataset="digits")]))
    assert "On digits at IPC 1" in text
    assert "say little of how the losses compare on real images" in text
    assert "real images" not in answer(Results.of([record("dm"), record("kr")]))


@pytest.mark.parametrize(
    ("records", "piece"),
    [
        ([record("random", iterations=0)], "No loss on features was run here"),
        ([record("whole", ipc=None, accuracies=(91.0,))], "No loss on features was run here"),
        (
            [record("dm"), record("random", iterations=0)],
            "One loss was run, so there is nothing to compare it with: DM",
        ),
    ],
)
def test_without_two_losses_there_is_no_winner(records, piece):
    assert piece in answer(Results.of(records))


def test_the_answers_figure_has_each_loss_behind_the_best():
    frame = answer_frame(Results.of([*seeds("dm", DM), *seeds("kr", KR), *seeds("random", EMD)])).set_index("method")
    assert list(frame.index) == ["kr", "dm"]
    assert frame.loc["kr", "behind_best"] == 0
    assert frame.loc["dm", "behind_best"] == pytest.approx(np.mean(KR) - np.mean(DM))
    assert frame.loc["dm", "low"] < frame.loc["dm", "behind_best"] < frame.loc["dm", "high"]
