"""Means and spreads of accuracies. Two sources of variance are kept apart: distillations (seeds) and evaluation networks."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike
from statsmodels.stats.meta_analysis import combine_effects


@dataclass(frozen=True)
class Statistics:
    """Mean accuracy and its spread, in percent, over `seeds` distillations and `networks` evaluation networks in all.

    `std_networks`: between the networks of one distillation. `std_seeds`: between the means of the seeds, which vary for both
    reasons. `std_distillations`: between distillations alone, an estimate; NaN with one seed or one network a seed.
    """

    mean: float
    std_networks: float
    std_seeds: float
    seeds: int
    networks: int
    std_distillations: float = math.nan

    @property
    def spread(self) -> float:
        """What is printed after ±: the deviation between seeds' means, or of one seed between its networks, if any."""
        return self.std_seeds if self.seeds > 1 else self.std_networks

    def standard_errors(self, otherwise: float) -> tuple[float, float]:
        """Return the least and the largest standard error of the mean.

        With several seeds both are that of the seeds' means. With one, the variance between distillations is not seen.

        Args:
            otherwise: the deviation to take for a single network, which has none.

        """
        if self.seeds > 1:
            error = self.std_seeds / math.sqrt(self.seeds)
            return error, error
        return error_bounds(otherwise if math.isnan(self.std_networks) else self.std_networks, 1, self.networks)


def error_bounds(deviation: float, distillations: int, networks: int) -> tuple[float, float]:
    """Return bounds of the standard error of a mean whose deviation is pooled over distillations and networks of each.

    If all of the variance is between networks, each of them is an observation; if all of it is between distillations, only
    these are. With one distillation, the pooled deviation does not include the latter, which we take to be no larger.

    Args:
        deviation: of all accuracies together.
        distillations: their number.
        networks: evaluation networks of each.

    """
    return deviation / math.sqrt(distillations * networks), deviation / math.sqrt(distillations)


def statistics(frame: pd.DataFrame, of: str = "accuracy") -> Statistics:
    """Return the statistics of the networks of one cell over its seeds; deviations have n - 1 in the denominator.

    Args:
        frame: a row for each network, with its `seed`.
        of: the column of the numbers.

    """
    values = frame[of].to_numpy(float)
    _, indices, sizes = np.unique(frame["seed"].to_numpy(int), return_inverse=True, return_counts=True)
    means = mean_by(indices, values)
    freedom = len(values) - len(means)
    within = float(np.square(values - means[indices]).sum() / freedom) if freedom else math.nan
    return Statistics(
        mean=float(values.mean()),
        std_networks=math.sqrt(within),
        std_seeds=_deviation(means),
        seeds=len(means),
        networks=len(values),
        std_distillations=_between(means, within / sizes),
    )


def mean_by(groups: ArrayLike, values: np.ndarray) -> np.ndarray:
    """Return the mean of the values of each group, in the order of groups; `groupby` takes a millisecond for it.

    Args:
        groups: of each value.
        values: float `[N]`.

    """
    _, indices, sizes = np.unique(groups, return_inverse=True, return_counts=True)
    sums: np.ndarray = np.bincount(indices, values)
    return sums / sizes


def _deviation(values: np.ndarray) -> float:
    return float(values.std(ddof=1)) if len(values) > 1 else math.nan


def _between(means: np.ndarray, variances: np.ndarray) -> float:
    """Return the deviation between distillations that networks do not explain: of random effects, by Paule and Mandel.

    Args:
        means: of each seed.
        variances: of these means, from the networks.

    """
    if len(means) < 2 or np.isnan(variances).any():
        return math.nan
    if (variances == 0).any():  # networks agree to the last digit: all variance is between distillations
        return _deviation(means)
    with np.errstate(divide="ignore"):  # if the means agree, a quantity that is not used here is infinite
        effects = combine_effects(means, variances, method_re="iterated")
    return math.sqrt(max(0.0, float(effects.tau2)))
