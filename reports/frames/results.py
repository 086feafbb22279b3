"""One tidy frame from the records: every table and every figure of the report is made from it, and from published numbers.

`Results.networks` has a row for each trained evaluation network. `Results.checkpoints` has the same for images on the way, and
`Results.losses` the loss curves.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Self

import numpy as np
import pandas as pd

from bench.cells.protocol import PROFILES, STEP_SIZES
from bench.records.record import RunRecord
from reports.frames.names import CELL, Column, Names, columns_of, dataset_rank
from reports.frames.rows import (
    CHECKPOINT_COLUMNS,
    CURVE_COLUMNS,
    LOSS_COLUMNS,
    METRIC_COLUMNS,
    NETWORK_COLUMNS,
    cell_columns,
    cell_facts,
    loss_curve,
    metric_rows,
    network_columns,
    stages,
    step_rate,
    typed,
)
from reports.frames.variants import main_variants, variants


@dataclass(frozen=True, eq=False)
class Results:
    """The records of a report, and the frames made from them; each is made once. Two results are equal only if identical."""

    records: tuple[RunRecord, ...]

    @classmethod
    def of(cls, records: Iterable[RunRecord]) -> Self:
        """Return the results that records hold."""
        return cls(tuple(records))

    @cached_property
    def names(self) -> Names:
        """What is printed for methods and datasets."""
        return Names.of(self.records)

    @cached_property
    def by_hash(self) -> dict[str, RunRecord]:
        """The records by their hashes, for facts that are in no frame."""
        return {record.hash: record for record in self.records}

    @cached_property
    def variants(self) -> dict[str, str]:
        """The variant of each record, by hash; see `reports.frames.variants.variants`."""
        return variants(self.records)

    @cached_property
    def main_variants(self) -> dict[str, str]:
        """The same for main evaluations; see `reports.frames.variants.main_variants`."""
        return main_variants(self.records)

    @cached_property
    def networks(self) -> pd.DataFrame:
        """A row for each trained evaluation network, in reading order; accuracy in percent. `results.csv` holds this frame.

        `total_s` is that of a cell that this network alone evaluated. `ipc` is missing for the whole training set.
        """
        named = self.variants
        rows = [
            cell_columns(record, named[record.hash]) | network
            for record in self.records
            for evaluation in record.evaluations
            for network in network_columns(record, evaluation)
        ]
        return self.ordered(typed(pd.DataFrame(rows)[NETWORK_COLUMNS]))

    @cached_property
    def checkpoints(self) -> pd.DataFrame:
        """A row for each evaluation network of the images at each checkpoint, and at the end of cells that have checkpoints.

        `iteration`, `seconds` of distilling until then, and `rms` of the images tell how far the cell was.
        """
        named = self.variants
        rows = [
            cell_columns(record, named[record.hash])
            | {"iteration": iteration, "seconds": seconds, "rms": rms, "eval_network": evaluation.network}
            | {"network": number, "accuracy": accuracy}
            for record in self.records
            if record.checkpoints
            for iteration, seconds, rms, evaluations in stages(record)
            for evaluation in evaluations
            for number, accuracy in enumerate(evaluation.accuracies)
        ]
        frame = typed(pd.DataFrame(rows, columns=CHECKPOINT_COLUMNS))
        return self.ordered(frame, last=["seed", "eval_network", "iteration", "network"])

    @cached_property
    def losses(self) -> pd.DataFrame:
        """The loss curves, each thinned to the mean loss of at most 200 stretches; `relative` is that over the first.

        `seconds` are read off a straight line between checkpoints, the start and the end.
        """
        curves = [loss_curve(record) for record in self.records]
        cells = pd.DataFrame([cell_columns(record, self.variants[record.hash]) for record in self.records])
        points = {name: np.concatenate([curve[name] for curve in curves]) for name in CURVE_COLUMNS}
        frame = cells.loc[np.repeat(cells.index, [len(curve["loss"]) for curve in curves])].assign(**points)
        return self.ordered(typed(frame[LOSS_COLUMNS].reset_index(drop=True)), last=["seed", "iteration"])

    @cached_property
    def shown(self) -> frozenset[str]:
        """The hashes of the records that tables take: of records that differ in the rate of a step alone, those of one rate.

        It is the rate that most methods of the dataset and IPC have, so that methods are compared at one rate; among equals
        that of the profile. Accuracy chooses nothing.
        """
        named, groups = self.variants, defaultdict(list)
        for record in self.records:
            spec = record.spec
            groups[spec.dataset, spec.ipc, spec.method, named[record.hash]].append(record)
        methods = {(record.spec.dataset, record.spec.ipc, step_rate(record), record.spec.method) for record in self.records}
        counts = Counter((dataset, ipc, rate) for dataset, ipc, rate, _ in methods)
        hashes = set()
        for members in groups.values():
            rate = min({step_rate(record) for record in members}, key=lambda rate: _preference(rate, members[0], counts))
            hashes |= {record.hash for record in members if step_rate(record) == rate}
        return frozenset(hashes)

    @cached_property
    def hidden_rates(self) -> tuple[float, ...]:
        """The rates of records that tables leave out."""
        rates = {step_rate(record) for record in self.records if record.hash not in self.shown}
        return tuple(sorted(rate for rate in rates if rate is not None))

    @cached_property
    def main(self) -> pd.DataFrame:
        """Of the records that tables take, a row for each network of the main evaluation; `variant` names it if they differ.

        The whole training set is in the rows of each IPC of its dataset, as in the paper.
        """
        return self.at_every_ipc(self.main_cells)

    def at_every_ipc(self, frame: pd.DataFrame) -> pd.DataFrame:
        """Return the rows of a frame in reading order, those of the whole training set at each IPC that its dataset has."""
        whole = frame["ipc"].isna()
        ipcs = frame[~whole].groupby("dataset")["ipc"].unique()
        repeated = [
            frame[whole & (frame["dataset"] == dataset)].assign(ipc=int(ipc))
            for dataset in frame.loc[whole, "dataset"].unique()
            for ipc in sorted(ipcs.get(dataset, [1]))
        ]
        return self.ordered(pd.concat([frame[~whole], *repeated], ignore_index=True).astype({"ipc": "Int64"}))

    @cached_property
    def main_cells(self) -> pd.DataFrame:
        """The same with the whole training set once, without an IPC."""
        records = [record for record in self.records if record.hash in self.shown]
        main = {record.hash: record.main_evaluation.network for record in records}
        frame = self.networks[self.networks["hash"].map(main) == self.networks["eval_network"]]
        frame = frame.assign(variant=frame["hash"].map(main_variants(records)))
        return self.ordered(frame)

    @cached_property
    def main_checkpoints(self) -> pd.DataFrame:
        """The checkpoints of the main evaluations of the records that tables take, at the iterations that all seeds have.

        A mean over the seeds that happen to have a checkpoint would jump from one point of a curve to the next.
        """
        columns = self.main_cells.groupby("hash")[["variant", "eval_network"]].first()
        frame = self.checkpoints.drop(columns="variant").join(columns.add_prefix("main_"), on="hash", how="inner")
        frame = frame[frame["eval_network"] == frame["main_eval_network"]].rename(columns={"main_variant": "variant"})
        seeds, of_all = (frame.groupby(names)["seed"].transform("nunique") for names in ([*CELL, "iteration"], CELL))
        frame = frame[seeds == of_all]
        return self.ordered(frame[CHECKPOINT_COLUMNS], last=["seed", "eval_network", "iteration", "network"])

    @cached_property
    def all_rates(self) -> pd.DataFrame:
        """The main evaluations of all records with a rate, those that tables leave out too: a row a network."""
        main = {record.hash: record.main_evaluation.network for record in self.records}
        frame = self.networks[self.networks["hash"].map(main) == self.networks["eval_network"]]
        return self.ordered(frame.assign(variant=frame["hash"].map(self.main_variants))[frame["rate"].notna()])

    @cached_property
    def cells(self) -> pd.DataFrame:
        """A row for each record of `main_cells`: its seconds by stage and memory, its mean accuracy, and `cell_facts`."""
        grouped = self.main_cells.groupby("hash", sort=False)
        facts = typed(pd.DataFrame(map(cell_facts, self.records), index=[record.hash for record in self.records]))
        means = grouped.first().assign(accuracy=grouped["accuracy"].mean())
        return means.join(facts).reset_index().drop(columns="network")

    @cached_property
    def metrics(self) -> pd.DataFrame:
        """All metrics of the networks of `main`: a row for each network and `metric`, with its `value`.

        Records of before there were others have the accuracy alone.
        """
        rows = pd.DataFrame([row for record in self.records for row in metric_rows(record)], columns=METRIC_COLUMNS)
        keys = [*CELL, "seed", *METRIC_COLUMNS[:3]]
        return self.main[keys].merge(typed(rows), how="left", on=METRIC_COLUMNS[:3])

    @cached_property
    def columns(self) -> frozenset[Column]:
        """The methods and variants that tables and figures have."""
        frames = self.main_cells, self.all_rates
        return frozenset(column for frame in frames for column in columns_of(frame))

    def ordered(self, frame: pd.DataFrame, *, last: Sequence[str] = ("seed", "eval_network", "network")) -> pd.DataFrame:
        """Return the rows of a frame in reading order.

        Args:
            frame: has the columns of `CELL` and those of `last`.
            last: columns that decide after dataset, IPC and method. Networks have the order of the records.

        """
        keys = frame[list(last)].copy()
        if "eval_network" in last:
            named = {evaluation.network: None for record in self.records for evaluation in record.evaluations}
            keys["eval_network"] = keys["eval_network"].map({name: index for index, name in enumerate(named)})
        keys["_dataset"], keys["_ipc"] = _ranks(frame["dataset"], dataset_rank), frame["ipc"].astype("float64").fillna(math.inf)
        keys["_method"] = _ranks(frame["method"], lambda method: (self.names.facts(method).order, method))
        keys["_variant"], keys["_rate"] = frame["variant"], frame["rate"]
        order = keys.sort_values(["_dataset", "_ipc", "_method", "_variant", "_rate", *last], kind="stable").index
        return frame.loc[order].reset_index(drop=True)


def _ranks(values: pd.Series, key: Callable[[str], tuple[int, str]]) -> pd.Series:
    """Return the rank of each value among the distinct ones, in the order of a key."""
    return values.map({value: rank for rank, value in enumerate(sorted(values.unique(), key=key))})


def _preference(
    rate: float | None, record: RunRecord, counts: Counter[tuple[str, int | None, float | None]]
) -> tuple[int, bool, float]:
    """Return the sort key of a rate among those that records of one group have.

    Args:
        rate: one of these.
        record: one of the group.
        counts: how many methods there are at a dataset, IPC and rate.

    """
    profile = PROFILES.get(record.spec.protocol.profile)
    match = profile.match if profile else None
    usual = (match.rate if match else None) or STEP_SIZES["rate"]
    distance = abs(math.log(rate / usual)) if rate else 0.0
    return -counts[record.spec.dataset, record.spec.ipc, rate], rate != usual, distance
