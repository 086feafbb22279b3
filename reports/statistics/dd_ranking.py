"""DD-Ranking's scores of distilled sets: how much of the accuracy is the set's, and not its labels' or its augmentation's.

The formulas are those of Li et al. 2025, DD-Ranking: Rethinking the Evaluation of Dataset Distillation (arXiv 2505.13300), with
accuracies as fractions and both weights 1/2, as in its leaderboard:

    HLR = accuracy(whole training set, hard labels) - accuracy(set, hard labels)             hard label recovery
    IOR = accuracy(set) - accuracy(as many random images), under one evaluation              improvement over random
    LRS = N(w IOR - (1 - w) HLR)                                                             label-robust score
    ARS = N(g IOR(with augmentation) + (1 - g) IOR(without))                                 augmentation-robust score
    N(x) = (e^x - e^-1) / (e - e^-1)                                                         takes [-1, 1] to [0, 1]
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from statistics import fmean, stdev
from typing import cast

import pandas as pd

from bench.cells.protocol import Training
from bench.records.record import RunRecord
from reports.frames.names import CELL, by_cell
from reports.frames.published import CORESETS
from reports.frames.results import Results
from reports.frames.variants import flat_settings

WEIGHT = 0.5
"""The weight of the first term of both scores, the published default."""

_IGNORED = ("nets", "networks", "precision")
"""Fields of an evaluation that do not make it another evaluation: the number of networks, and how their numbers are rounded."""

_COLUMNS = ("ior", "hlr", "lrs", "lrs_std", "lrs_seeds", "gain_with", "gain_without", "ars", "ars_std", "ars_seeds")

_TYPES = dict.fromkeys(_COLUMNS, "float64") | dict.fromkeys(("lrs_seeds", "ars_seeds"), "Int64")


@dataclass(frozen=True)
class Score:
    """A score over seeds, percent: its mean, its deviation (NaN with one seed), the seeds, and the means of its two terms."""

    mean: float
    deviation: float
    seeds: int
    terms: tuple[float, float]


def normalised(value: float) -> float:
    """Return a weighted difference of accuracies, a fraction in [-1, 1], as a score in percent."""
    return 100 * (math.exp(value) - math.exp(-1)) / (math.exp(1) - math.exp(-1))


def _score(terms: Sequence[tuple[float, float]]) -> Score | None:
    """Return the score of pairs of terms in points, a pair a seed, or None for no pair."""
    if not terms:
        return None
    scores = [normalised((WEIGHT * first + (1 - WEIGHT) * second) / 100) for first, second in terms]
    means = fmean(first for first, _ in terms), fmean(second for _, second in terms)
    return Score(fmean(scores), stdev(scores) if len(scores) > 1 else math.nan, len(scores), means)


class _Accuracies:
    """The accuracies that scores are made of; each is the mean over the networks of one cell."""

    def __init__(self, records: Iterable[RunRecord]) -> None:
        """Look up the accuracies.

        Args:
            records: that tables take.

        """
        self._random: dict[Hashable, list[float]] = defaultdict(list)
        self._twins: dict[Hashable, RunRecord] = {}
        whole: dict[Hashable, list[float]] = defaultdict(list)
        for record in records:
            self._twins[_twin(record)] = record
            if record.spec.method == "random":
                self._random[_evaluation(record), record.spec.ipc, record.spec.seed].append(accuracy(record))
            if record.spec.method == "whole":
                whole[_data(record), str(record.spec.protocol.whole)].append(accuracy(record))
        self._whole: dict[Hashable, float] = {}
        for (data, _), values in cast("Mapping[tuple[Hashable, str], list[float]]", whole).items():
            self._whole[data] = max(fmean(values), self._whole.get(data, 0.0))

    def gain(self, record: RunRecord) -> float | None:
        """Return the improvement over random images of the same seed under the same evaluation, or None without these."""
        random = self._random.get((_evaluation(record), record.spec.ipc, record.spec.seed))
        return accuracy(record) - fmean(random) if random else None

    def recovery(self, record: RunRecord) -> float | None:
        """Return the accuracy of the whole training set, trained in the best of the ways that records have, less the set's."""
        whole = self._whole.get(_data(record))
        return None if whole is None else whole - accuracy(record)

    def without_augmentation(self, record: RunRecord) -> RunRecord | None:
        """Return the record that differs only in an evaluation without augmentation, or None."""
        training = record.spec.protocol.eval
        if training is None or training.augment == "none":
            return None
        return self._twins.get((*_twin(record)[:-1], "none"))


def accuracy(record: RunRecord) -> float:
    """Return the mean accuracy of a record's main evaluation, percent."""
    return fmean(record.main_evaluation.accuracies)


def _data(record: RunRecord) -> tuple[str, ...]:
    """Return what is trained on, from which images, and by which network."""
    protocol = record.spec.protocol
    return record.spec.dataset, record.spec.data, str(protocol.data), str(protocol.network), record.main_evaluation.network


def _evaluation(record: RunRecord) -> tuple[str, ...]:
    """Return how a set is evaluated, on what and by which network."""
    training = record.spec.protocol.eval or Training()
    fields = {name: value for name, value in training.model_dump().items() if name not in _IGNORED}
    return *_data(record), str(fields)


def _twin(record: RunRecord) -> tuple[str, ...]:
    """Return the description of a cell without the augmentation of its evaluation, and then this augmentation."""
    fields = flat_settings(record.spec)
    augment = str(fields.pop("eval.augment", ""))
    return (
        record.main_evaluation.network,
        record.spec.label,
        str(sorted((name, str(value)) for name, value in fields.items())),
        augment,
    )


def _has_hard_labels(record: RunRecord) -> bool:
    """Return whether labels are hard; old records, which do not say it, have hard ones."""
    return bool(record.details.get("labels", "hard") == "hard")


@lru_cache(maxsize=8)
def dd_ranking_frame(results: Results) -> pd.DataFrame:
    """Return a row for each dataset, IPC, method and variant that has a score; terms in points, scores in percent."""
    accuracies, rows = _Accuracies(record for record in results.records if record.hash in results.shown), []
    frame = results.main_cells
    distilled = frame[~frame["method"].isin([*CORESETS, "whole"])]
    for key, group in by_cell(distilled):
        records = [results.by_hash[digest] for digest in group["hash"].unique()]
        records = [record for record in records if _has_hard_labels(record)]
        label, augmentation = (_score(_terms(records, of, accuracies)) for of in (_label_terms, _augmentation_terms))
        if label or augmentation:
            rows.append((*key, *_numbers(label), *_numbers(augmentation)))
    made = pd.DataFrame(rows, columns=[*CELL, *_COLUMNS]).astype(_TYPES)
    return made.assign(hlr=-made["hlr"])  # the second term of the score is less HLR


Terms = Callable[[RunRecord, _Accuracies], tuple[float | None, float | None]]


def _terms(records: Sequence[RunRecord], of: Terms, accuracies: _Accuracies) -> list[tuple[float, float]]:
    """Return the two terms of a score for each record that has both.

    Args:
        records: of one cell, one a seed.
        of: makes the terms.
        accuracies: what it makes them of.

    """
    pairs = [of(record, accuracies) for record in records]
    return [(first, second) for first, second in pairs if first is not None and second is not None]


def _label_terms(record: RunRecord, accuracies: _Accuracies) -> tuple[float | None, float | None]:
    recovery = accuracies.recovery(record)
    return accuracies.gain(record), None if recovery is None else -recovery


def _augmentation_terms(record: RunRecord, accuracies: _Accuracies) -> tuple[float | None, float | None]:
    twin = accuracies.without_augmentation(record)
    return (accuracies.gain(record), accuracies.gain(twin)) if twin else (None, None)


def _numbers(score: Score | None) -> tuple[float | None, ...]:
    return (*score.terms, score.mean, score.deviation, score.seeds) if score else (None,) * 5
