"""Methods compared pair by pair: differences over seeds with interval and Holm's correction.

Seed by seed the cells of a dataset and IPC share their starts, real batches, networks and augmentation, so accuracies are
subtracted network by network, and the mean difference of each seed is one observation.
"""

from __future__ import annotations

import itertools
import math
from bisect import bisect_left
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Literal, cast

import numpy as np
import pandas as pd
from scipy.stats import ttest_1samp
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.power import TTestPower

from reports.frames.names import COLUMN, Column, by_row
from reports.frames.results import Results
from reports.statistics.comparable import differences, not_compared, protocols
from reports.statistics.variance import mean_by

LEVEL = 0.05
POWER = 0.8
MOST_SEEDS = 1000
"""A tie that would need more seeds than this is called equal."""

Outcome = Literal["better", "not distinguishable", "one seed"]


@dataclass(frozen=True)
class Comparison:
    """`first` against `second` on one dataset and IPC; `first` has the higher mean. Points of accuracy.

    `low` and `high` bound the 95 % interval of the mean `difference`, `p` is of the paired t-test and `p_holm` after Holm's
    correction in its family; all NaN with one seed. `more_seeds`: how many more would settle it, were the difference as
    measured; None if it is settled, if that cannot be said, or if it is more than `MOST_SEEDS`.
    """

    dataset: str
    ipc: int
    first: Column
    second: Column
    difference: float
    seeds: int
    low: float = math.nan
    high: float = math.nan
    p: float = math.nan
    p_holm: float = math.nan
    more_seeds: int | None = None

    @property
    def outcome(self) -> Outcome:
        """Whether `first` is better: by the corrected p, if there was a test."""
        if math.isnan(self.p_holm):
            return "one seed"
        return "better" if self.p_holm < LEVEL else "not distinguishable"


def is_loss(results: Results, column: Column) -> bool:
    """Return whether a column is a loss on features, minimised in the matching loop that all losses share."""
    spec = next(record.spec for record in results.records if record.spec.method == column.method)
    return spec.protocol.match is not None


@lru_cache(maxsize=8)
def losses_compared(results: Results) -> tuple[Comparison, ...]:
    """Return all pairs of losses on each dataset and IPC, which are a family of Holm's correction.

    Two losses are compared under one protocol only; two variants of one loss always, because their names say what differs.
    """
    compared: list[Comparison] = []
    for row, accuracies in _accuracies(results):
        columns, fields = [column for column in _by_mean(accuracies) if is_loss(results, column)], protocols(results)[row]
        pairs = [
            (first, second)
            for first, second in itertools.combinations(columns, 2)
            if first.method == second.method or not differences(fields[first], fields[second])
        ]
        compared += _family(row, accuracies, pairs)
    return tuple(compared)


@dataclass(frozen=True)
class Ranking:
    """The losses of one dataset and IPC, the best first, over the same seeds and networks.

    `accuracies`: the mean of each, in percent. `behind`: the best compared with each other one, by the other; all pairs are a
    family of Holm's correction. It is empty if no two losses have a seed and network in common. `left_out`: the losses that
    lack these. `other_protocol`: those that have another protocol, with what differs.
    """

    accuracies: Mapping[Column, float]
    behind: Mapping[Column, Comparison]
    left_out: tuple[Column, ...] = ()
    other_protocol: Mapping[Column, str] = field(default_factory=dict)


@lru_cache(maxsize=8)
def losses_ranked(results: Results) -> Mapping[tuple[str, int], Ranking]:
    """Return how the losses rank on each dataset and IPC, over seeds and networks that all ranked ones have; see `_shared`.

    Losses that lack one of these are left out: a mean over other seeds or networks is no rank among these.
    """
    made = {}
    for row, accuracies in _accuracies(results):
        all_losses = [column for column in _by_mean(accuracies) if is_loss(results, column)]
        other = {column: reason for column, reason in not_compared(results)[row].items() if column in all_losses}
        losses = [column for column in all_losses if column not in other]
        if losses:
            own = accuracies[[tuple(column) for column in losses]]
            shared = _shared(own)
            ranked = own if shared is None else shared
            order, means = _by_mean(ranked), _means(ranked)
            pairs = [] if shared is None else _family(row, shared, itertools.combinations(order, 2))
            behind = {pair.second: pair for pair in pairs if pair.first == order[0]}
            left_out = tuple(column for column in losses if column not in order)
            made[row] = Ranking({column: float(means[tuple(column)]) for column in order}, behind, left_out, other)
    return made


def _shared(accuracies: pd.DataFrame) -> pd.DataFrame | None:
    """Return the complete rows and columns of a frame that compare best, or None if no row has two columns.

    A choice with two seeds at least comes first; then the one with the most columns, then with the most seeds and rows.

    Args:
        accuracies: a column for each loss, a row for each seed and network.

    """
    if accuracies.shape[1] == 1:
        return accuracies
    present = accuracies.notna()
    patterns = {tuple(row) for row in present.to_numpy()}
    choices = {tuple(np.logical_and(*pair)) for pair in itertools.product(patterns, repeat=2)}
    frames = []
    for columns in sorted(choice for choice in choices if sum(choice) > 1):
        names = accuracies.columns[list(columns)]
        frames.append(accuracies.loc[present[names].all(axis=1), names])
    return max(frames, key=_worth, default=None)


def _worth(frame: pd.DataFrame) -> tuple[bool, int, int, int]:
    """Return the sort key of a frame without gaps: how well it compares its columns."""
    seeds = frame.index.get_level_values("seed").nunique()
    return seeds > 1, frame.shape[1], seeds, len(frame)


@lru_cache(maxsize=8)
def best_compared(results: Results) -> tuple[Comparison, ...]:
    """Return the best column of each dataset and IPC against each other one; they are a family of Holm's correction.

    The whole training set is no distilled set, and is left out. So are columns with another protocol: see `not_compared`.
    """
    compared: list[Comparison] = []
    for row, accuracies in _accuracies(results):
        columns = [column for column in _by_mean(accuracies) if column not in not_compared(results)[row]]
        compared += _family(row, accuracies, ((columns[0], other) for other in columns[1:]))
    return tuple(compared)


def _accuracies(results: Results) -> Iterable[tuple[tuple[str, int], pd.DataFrame]]:
    """Yield each dataset and IPC with its accuracies: a column of the frame for each column of tables, a row a network."""
    for row, group in by_row(results.main[results.main["method"] != "whole"]):
        yield row, group.pivot_table("accuracy", index=["seed", "eval_network", "network"], columns=COLUMN)


def _by_mean(accuracies: pd.DataFrame) -> list[Column]:
    """Return the columns, the best first."""
    means = _means(accuracies).sort_values(ascending=False, kind="stable")
    return [Column(*cast("tuple[str, str]", name)) for name in means.index]


def _means(accuracies: pd.DataFrame) -> pd.Series:
    """Return the mean of each column; a seed counts as much as another, however many networks it has."""
    return accuracies.groupby("seed").mean().mean()


def _family(row: tuple[str, int], accuracies: pd.DataFrame, pairs: Iterable[tuple[Column, Column]]) -> list[Comparison]:
    """Return the comparisons of one family, corrected for their number.

    Args:
        row: dataset and IPC.
        accuracies: of its columns.
        pairs: which columns are compared.

    """
    compared = [made for pair in pairs if (made := _pair(row, accuracies, *pair)) is not None]
    adjusted = holm([comparison.p for comparison in compared])
    tests = sum(not math.isnan(p) for p in adjusted)
    corrected = [replace(comparison, p_holm=p) for comparison, p in zip(compared, adjusted, strict=True)]
    return [_with_more_seeds(comparison, tests, accuracies) for comparison in corrected]


def holm(values: Sequence[float]) -> list[float]:
    """Return p-values after Holm's correction for the number of tests; NaN, for no test, stays NaN."""
    tested = [p for p in values if not math.isnan(p)]
    adjusted = iter(multipletests(tested, method="holm")[1] if len(tested) > 1 else tested)
    return [p if math.isnan(p) else float(next(adjusted)) for p in values]


def paired_test(differences: np.ndarray) -> tuple[float, float, float]:
    """Return the bounds of the 95 % interval of the mean of paired differences, and p of the t-test; NaN for one difference."""
    if len(differences) < 2:
        return math.nan, math.nan, math.nan
    if np.ptp(differences) == 0:  # the t-test divides by a deviation of 0: the two differ always by the same, or never
        mean = float(differences.mean())
        return mean, mean, 0.0 if mean else 1.0
    test = ttest_1samp(differences, 0.0)
    interval = test.confidence_interval(1 - LEVEL)
    return float(interval.low), float(interval.high), float(test.pvalue)


def _seed_differences(accuracies: pd.DataFrame, first: Column, second: Column) -> np.ndarray:
    """Return the mean difference of two columns in each seed, over the networks that both have."""
    differences = (accuracies[tuple(first)] - accuracies[tuple(second)]).dropna()
    return mean_by(differences.index.get_level_values("seed"), differences.to_numpy())


def _pair(row: tuple[str, int], accuracies: pd.DataFrame, first: Column, second: Column) -> Comparison | None:
    """Return one comparison, not yet corrected, or None if the two have no seed and network in common.

    Args:
        row: dataset and IPC.
        accuracies: of its columns.
        first: the better column.
        second: the other.

    """
    differences = _seed_differences(accuracies, first, second)
    if not len(differences):
        return None
    return Comparison(*row, first, second, float(differences.mean()), len(differences), *paired_test(differences))


def _with_more_seeds(comparison: Comparison, tests: int, accuracies: pd.DataFrame) -> Comparison:
    """Return the comparison with the number of seeds that would settle it.

    Args:
        comparison: one of a family.
        tests: how many tests that family has. The strictest step of Holm's correction divides the level by it.
        accuracies: of its dataset and IPC.

    """
    if comparison.outcome != "not distinguishable":
        return comparison
    deviation = float(_seed_differences(accuracies, comparison.first, comparison.second).std(ddof=1))
    if not deviation:
        return comparison
    effect, test = abs(comparison.difference) / deviation, TTestPower()
    sizes = range(comparison.seeds + 1, MOST_SEEDS + 1)

    def power(size: int) -> float:
        return float(test.power(effect, size, LEVEL / tests))

    if not sizes or power(sizes[-1]) < POWER:
        return comparison
    return replace(comparison, more_seeds=sizes[bisect_left(sizes, POWER, key=power)] - comparison.seeds)
