"""Losses compared pair by pair over seeds, and the two sources of variance."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

import pandas as pd

from reports.frames.results import Results
from reports.statistics.comparable import not_compared_sentence
from reports.statistics.comparisons import LEVEL, MOST_SEEDS, POWER, Comparison, best_compared, is_loss, losses_compared
from reports.tables.table import Row, Table, TableCell, number
from reports.verdicts.cells import table2_cells

_CAPTION = (
    "Differences of accuracy in points, over the seeds that both have; the networks of a seed are subtracted one by one. "
    "Interval: 95 %, Student's t. p: paired t-test, after Holm's correction over the pairs of a dataset and IPC. Decided: p "
    f"below {LEVEL:g}. More seeds: how many more would settle the pair with a probability of {POWER:.0%}, were the "
    f"difference as measured (by the strictest step of Holm's correction; at most {MOST_SEEDS})."
)
_ONE_SEED = "One seed gives no interval between methods: differences of one seed may be chance."


def comparisons_table(results: Results) -> Table | None:
    """Return the pairs of losses, or None if no dataset and IPC has two of them."""
    return _pairs("comparisons", "Losses compared, seed by seed", losses_compared(results), results)


def best_table(results: Results) -> Table | None:
    """Return the best method of each dataset and IPC against each other one, or None if all are losses."""
    pairs = best_compared(results)
    if all(is_loss(results, column) for pair in pairs for column in (pair.first, pair.second)):
        return None
    return _pairs("best", "The best method of each row of Table 2 against the others, seed by seed", pairs, results)


def _pairs(name: str, title: str, pairs: Sequence[Comparison], results: Results) -> Table | None:
    """Return a table with a row for each comparison, or None if there is none.

    Args:
        name: the name of its files.
        title: its heading.
        pairs: the comparisons.
        results: the records.

    """
    if not pairs:
        return None
    names, left_out = results.names, not_compared_sentence(results)
    rows = tuple(
        Row(
            (names.dataset(pair.dataset), str(pair.ipc), f"{names.column(pair.first)} − {names.column(pair.second)}"),
            _cells(pair),
            pair.dataset,
            str(pair.ipc),
        )
        for pair in pairs
    )
    alone = any(pair.outcome == "one seed" for pair in pairs)
    return Table(
        name=name,
        title=title,
        label_heads=("Dataset", "IPC", "Pair"),
        heads=("difference", "95 % interval", "p", "decided", "seeds", "more seeds"),
        rows=rows,
        lead=_ONE_SEED if alone else "",
        caption=(_CAPTION, *((f"{left_out} Variants of one loss are: their names say what differs.",) if left_out else ())),
    )


def _cells(pair: Comparison) -> tuple[TableCell, ...]:
    alone = pair.outcome == "one seed"
    more = "" if alone or pair.outcome == "better" else str(pair.more_seeds or f"over {MOST_SEEDS}")
    return (
        TableCell(value=pair.difference, digits=2),
        TableCell(label="one seed" if alone else f"{number(pair.low, 2)} to {number(pair.high, 2)}"),
        TableCell(label="" if alone else f"{pair.p_holm:.2g}"),
        TableCell(label="" if alone else ("yes" if pair.outcome == "better" else "no")),
        TableCell(value=pair.seeds, digits=0),
        TableCell(label=more),
    )


def comparisons_frame(results: Results) -> pd.DataFrame:
    """Return all comparisons: of losses with one another, and of the best of each dataset and IPC with all others."""
    rows = [*_rows(losses_compared(results), "losses"), *_rows(best_compared(results), "best")]
    return pd.DataFrame(rows, columns=_COLUMNS).astype({"more_seeds": "Int64"})


_COLUMNS = [
    *("family", "dataset", "ipc", "first_method", "first_variant", "second_method", "second_variant", "difference", "seeds"),
    *("low", "high", "p", "p_holm", "outcome", "more_seeds"),
]


def _rows(pairs: Iterable[Comparison], family: str) -> list[tuple]:
    return [
        (
            *(family, pair.dataset, pair.ipc, *pair.first, *pair.second, pair.difference, pair.seeds),
            *(pair.low, pair.high, pair.p, pair.p_holm, pair.outcome, pair.more_seeds),
        )
        for pair in pairs
    ]


def variance_table(results: Results) -> Table | None:
    """Return the deviation between distillations and between networks of each cell with several seeds, or None without one."""
    names = results.names
    rows = []
    for cell in table2_cells(results):
        measured = cell.measured
        if measured is None or measured.seeds < 2 or math.isnan(measured.std_distillations):
            continue
        by_networks = measured.std_networks**2 * measured.seeds / measured.networks
        in_all = measured.std_distillations**2 + by_networks
        values = (measured.std_distillations, measured.std_networks, measured.standard_errors(0.0)[1])
        share = TableCell(label=f"{by_networks / in_all:.0%}" if in_all else "")
        counts = (TableCell(value=measured.seeds, digits=0), TableCell(value=measured.networks, digits=0))
        cells = (*(TableCell(value=value, digits=2) for value in values), share, *counts)
        rows.append(Row.of((cell.dataset, cell.ipc, *cell.column), names, cells))
    if not rows:
        return None
    return Table(
        name="variance",
        title="Two sources of variance",
        label_heads=("Dataset", "IPC", "Method"),
        heads=("between distillations", "between networks", "standard error", "share of networks", "seeds", "networks"),
        rows=tuple(rows),
        caption=(
            "Standard deviations in points. Between distillations: of random effects (Paule and Mandel), what the networks of "
            "a seed do not explain. Standard error: of the mean over seeds. Share of networks: of the variance of a seed's "
            "mean; where it is large, more networks help, and else only more seeds do.",
        ),
    )
