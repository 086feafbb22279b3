"""What accuracy costs: accuracy against seconds, at the end and at checkpoints, and the losses on the way."""

from __future__ import annotations

from functools import lru_cache

import pandas as pd

from reports.frames.machines import machines_by_column
from reports.frames.names import CELL, CellKey, Column, by_row, columns_of
from reports.frames.results import Results
from reports.statistics.comparable import not_compared
from reports.statistics.comparisons import is_loss


@lru_cache(maxsize=8)
def curves(results: Results) -> pd.DataFrame:
    """Return accuracy at checkpoints and relative losses of the same cells: mean and deviation over seeds, in long form."""
    checkpoints = results.main_checkpoints
    losses = results.losses[results.losses["hash"].isin(checkpoints["hash"])]
    losses = losses.assign(variant=losses["hash"].map(checkpoints.groupby("hash")["variant"].first()))
    by_seed = [*CELL, "iteration", "seed"]
    frames = []
    for quantity, frame in (("accuracy", checkpoints), ("loss", losses.rename(columns={"relative": "accuracy"}))):
        seeds = frame.groupby(by_seed, sort=False)[["seconds", "accuracy"]].mean().reset_index()
        means = seeds.groupby(by_seed[:-1], sort=False)
        frames.append(
            means[["seconds", "accuracy"]]
            .mean()
            .rename(columns={"accuracy": "value"})
            .assign(std_seeds=means["accuracy"].std(), seeds=means.size(), quantity=quantity)
            .reset_index()
        )
    return pd.concat(frames, ignore_index=True)


@lru_cache(maxsize=8)
def points(results: Results) -> pd.DataFrame:
    """Return seconds and accuracy of each dataset, IPC and column.

    `at` is "all iterations" or "equal seconds"; `compared`: whether the column has the protocol that columns are compared by.
    """
    frames = [_ends(results), _at_equal_seconds(results)]
    return pd.concat(frames, ignore_index=True).astype({"seconds": float, "accuracy": float})


def _ends(results: Results) -> pd.DataFrame:
    """Return accuracy and seconds of each column at its end, means over seeds."""
    cells = results.cells[results.cells["ipc"].notna()]
    means = cells.groupby(CELL, sort=False)[["distilling_s", "accuracy"]].mean().reset_index()
    keys, other = [CellKey(*key) for key in means[CELL].itertuples(index=False)], not_compared(results)
    compared = [key.column not in other.get(key.row, {}) for key in keys]
    return means.rename(columns={"distilling_s": "seconds"}).assign(at="all iterations", compared=compared)


def _at_equal_seconds(results: Results) -> pd.DataFrame:
    """Return accuracy of each loss at its last checkpoint within the seconds that the fastest loss of its row took in all.

    Losses of another protocol have no such point, and there is none if losses were distilled on several machines.
    """
    by_iteration = [*CELL, "iteration"]
    means = results.main_checkpoints.groupby(by_iteration, sort=False)[["seconds", "accuracy"]].mean().reset_index()
    machines, rows = machines_by_column(results.cells), []
    for row, group in by_row(means):
        other = not_compared(results)[row]
        losses = [column for column in dict.fromkeys(columns_of(group)) if is_loss(results, column) and column not in other]
        on = {machine for column in losses for machine in machines[CellKey(*row, *column)]}
        if len(losses) < 2 or len(on) > 1:
            continue
        points_of = {column: _of(group, column) for column in losses}
        limit = min(own["seconds"].max() for own in points_of.values())
        for column, own in points_of.items():
            within = own[own["seconds"] <= limit]
            if len(within):
                last = within.loc[within["seconds"].idxmax()]
                rows.append((*row, *column, last["seconds"], last["accuracy"], "equal seconds", True))
    return pd.DataFrame(rows, columns=[*CELL, "seconds", "accuracy", "at", "compared"])


def _of(frame: pd.DataFrame, column: Column) -> pd.DataFrame:
    """Return the rows of a column of tables."""
    return frame[(frame["method"] == column.method) & (frame["variant"] == column.variant)]
