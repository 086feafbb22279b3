"""Records as tables of data: a row for each network, a row for each cell. Statistics start here, from raw accuracies."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import pandas as pd

from bench.records import RunRecord
from reports.names import Names, column_names, dataset_rank


def expanded(records: Sequence[RunRecord]) -> Iterable[tuple[RunRecord, int]]:
    """Yield records with the IPC of their row; the whole training set stands at each IPC of its dataset, as in the paper."""
    ipcs: dict[str, set[int]] = defaultdict(set)
    for record in records:
        if record.spec.ipc is not None:
            ipcs[record.spec.dataset].add(record.spec.ipc)
    for record in records:
        rows = [record.spec.ipc] if record.spec.ipc is not None else sorted(ipcs[record.spec.dataset]) or [1]
        for ipc in rows:
            yield record, ipc


def network_rows(records: Sequence[RunRecord]) -> pd.DataFrame:
    """Return one row a network of the main evaluation: dataset, ipc, method, seed, network (from 0), accuracy (percent)."""
    columns = column_names(records)
    rows = [
        (record.spec.dataset, ipc, columns[record.hash], record.spec.seed, number, accuracy)
        for record, ipc in expanded(records)
        for number, accuracy in enumerate(record.main_evaluation.accuracies)
    ]
    frame = pd.DataFrame(rows, columns=["dataset", "ipc", "method", "seed", "network", "accuracy"])
    return _ordered(frame, Names.of(records), ["seed", "network"])


def cell_rows(records: Sequence[RunRecord]) -> pd.DataFrame:
    """Return one row a cell: its seconds by stage, seconds an iteration, peak memory in MiB, and mean accuracy.

    Evaluation and total are those of the main evaluation alone, so that cells that were evaluated by more networks compare.
    """
    columns = column_names(records)
    frame = pd.DataFrame([_cell_row(record, columns[record.hash]) for record in records])
    frame["order"] = frame["ipc"].map(lambda ipc: 10**9 if ipc == "all" else int(ipc))
    return _ordered(frame, Names.of(records), ["seed"], ipc="order").drop(columns="order")


def _cell_row(record: RunRecord, column: str) -> dict[str, str | float | None]:
    evaluation = record.main_evaluation
    others = sum(other.seconds for other in record.evaluations if other is not evaluation)
    total = record.seconds.get("total")
    return {
        "dataset": record.spec.dataset,
        "ipc": "all" if record.spec.ipc is None else str(record.spec.ipc),
        "method": column,
        "seed": record.spec.seed,
        "iterations": len(record.loss),
        "seconds_per_iteration": record.seconds_per_iteration,
        **{f"{stage}_s": record.seconds.get(stage) for stage in ("features", "loss", "update")},
        "evaluation_s": evaluation.seconds,
        "total_s": None if total is None else total - others,
        "peak_memory_mib": record.peak_memory_mib,
        "accuracy": sum(evaluation.accuracies) / len(evaluation.accuracies),
    }


def _ordered(frame: pd.DataFrame, names: Names, last: list[str], *, ipc: str = "ipc") -> pd.DataFrame:
    """Return the rows in reading order.

    Args:
        frame: has the columns dataset, method and those named by `ipc` and `last`.
        names: the order of methods.
        last: columns that decide after dataset, IPC and method.
        ipc: the column that IPCs are sorted by.

    """
    keys = frame.assign(_dataset=frame["dataset"].map(dataset_rank), _method=frame["method"].map(names.column_rank))
    return frame.loc[keys.sort_values(["_dataset", ipc, "_method", *last]).index].reset_index(drop=True)


@dataclass(frozen=True)
class Statistics:
    """Mean accuracy and its spread, in percent: between the networks of a seed, and between the means of the seeds."""

    mean: float
    std_networks: float
    std_seeds: float
    seeds: int
    networks: int

    @property
    def spread(self) -> float:
        """What stands after ±: the deviation between seeds' means, or of one seed between its networks, if any."""
        return self.std_seeds if self.seeds > 1 else self.std_networks


def statistics(frame: pd.DataFrame) -> Statistics:
    """Return the statistics of the networks of one cell over its seeds; deviations have n - 1 in the denominator."""
    groups = frame.groupby("seed")["accuracy"]
    freedom = len(frame) - len(groups)
    within = float((groups.var() * (groups.size() - 1)).sum() / freedom) ** 0.5 if freedom else float("nan")
    return Statistics(
        mean=float(frame["accuracy"].mean()),
        std_networks=within,
        std_seeds=float(groups.mean().std()),
        seeds=len(groups),
        networks=len(frame),
    )
