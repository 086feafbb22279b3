"""Table 2 of the paper: measured accuracy, the published value beside it, and the verdict."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

import pandas as pd

from reports.frames.metrics import ACCURACY, metric_name
from reports.frames.names import Column
from reports.frames.published import Published
from reports.frames.results import Results
from reports.statistics.comparable import not_compared_sentence
from reports.statistics.comparisons import best_compared
from reports.statistics.variance import Statistics
from reports.tables.captions import caption, networks_heading
from reports.tables.table import Row, Table, TableCell
from reports.verdicts.cells import Cell, summary, table2_cells
from reports.verdicts.verdict import BASIS, LEGEND, SIGNS

_PUBLISHED = "In brackets: the published value (Li, Xue and Shi 2025, Table 2 if not said otherwise)."
_BEST = "Bold: the highest mean of the row among distilled and selected sets; ≈: not distinguishable from it (paired, Holm)."
_ONE_SEED = "One seed gives no interval between methods: where a row has one seed, bold says which mean is highest and no more."

Key = tuple[str, int, Column]


def table2_table(results: Results) -> Table:
    """Return Table 2; the heading names the evaluation network if it is not the ConvNet."""
    cells, names = table2_cells(results), results.names
    columns = sorted({cell.column for cell in cells}, key=names.column_rank)
    keys = list(dict.fromkeys((cell.dataset, cell.ipc) for cell in cells))
    notes = numbered_notes(cells)
    printed = _printed(cells, notes, results)
    rows = tuple(
        Row(
            (names.dataset(dataset), str(ipc)),
            tuple(printed.get((dataset, ipc, column), TableCell()) for column in columns),
            dataset,
            str(ipc),
        )
        for dataset, ipc in keys
    )
    judged = any(cell.verdict for cell in cells)
    return Table(
        name="table2",
        title=f"Table 2: test {metric_name(ACCURACY)}{networks_heading(results)}",
        label_heads=("Dataset", "IPC"),
        heads=tuple(names.column(column) for column in columns),
        columns=tuple(columns),
        rows=rows,
        lead=summary(cells),
        caption=(caption(results), *((_PUBLISHED,) if judged else ()), *_marks(results), *((LEGEND, BASIS) if judged else ())),
        notes=tuple(notes),
    )


def _marks(results: Results) -> tuple[str, ...]:
    """Return what bold and ≈ mean, whether a row has one seed, and what is not compared."""
    compared = best_compared(results)
    alone = any(comparison.outcome == "one seed" for comparison in compared)
    marks = (_BEST, _ONE_SEED if alone else "") if compared else ()
    return tuple(filter(None, (*marks, not_compared_sentence(results))))


def _printed(cells: Sequence[Cell], notes: Mapping[str, int], results: Results) -> dict[Key, TableCell]:
    """Return the cells as they are printed, by dataset, IPC and column.

    Args:
        cells: of the table.
        notes: the numbers of footnotes.
        results: the records, which say which cells are best.

    """
    compared = best_compared(results)
    best = {(pair.dataset, pair.ipc, pair.first) for pair in compared}
    best |= {(pair.dataset, pair.ipc, pair.second) for pair in compared if pair.difference == 0}
    tied = {(pair.dataset, pair.ipc, pair.second) for pair in compared if pair.outcome == "not distinguishable"} - best
    by_key = {(cell.dataset, cell.ipc, cell.column): cell for cell in cells}
    return {key: replace(printed_cell(cell, notes), best=key in best, tied=key in tied) for key, cell in by_key.items()}


def numbered_notes(cells: Iterable[Cell]) -> dict[str, int]:
    """Return the number of each footnote, in reading order."""
    return {note: number for number, note in enumerate(dict.fromkeys(filter(None, (cell.note for cell in cells))), start=1)}


def printed_cell(cell: Cell, notes: Mapping[str, int]) -> TableCell:
    """Return a cell as it is printed, with the number of its footnote."""
    reference, measured = cell.published, cell.measured
    return TableCell(
        value=measured.mean if measured else None,
        spread=measured.spread if measured else None,
        label="" if measured or not reference else SIGNS["not run"],
        published=reference.value if reference else None,
        published_spread=reference.plus_minus if reference else None,
        verdict=cell.verdict,
        note=notes.get(cell.note),
        anchor=f"cell-{cell.records[0].hash}" if cell.records else "",
    )


def table2_frame(results: Results) -> pd.DataFrame:
    """Return Table 2 with one row a cell, spreads apart, the published value, and the verdict with its z and difference."""
    rows = [
        {
            "dataset": cell.dataset,
            "ipc": cell.ipc,
            "method": cell.column.method,
            "variant": cell.column.variant,
            **_measured_columns(cell.measured),
            **_published_columns(cell.published),
            "verdict": cell.verdict.kind if cell.verdict else None,
            "z": cell.verdict.z if cell.verdict else None,
            "z_most": cell.verdict.z_most if cell.verdict else None,
            "difference": cell.verdict.difference if cell.verdict else None,
            "budget_factor": cell.verdict.factor if cell.verdict else None,
            "verdict_note": cell.verdict.note if cell.verdict else None,
        }
        for cell in table2_cells(results)
    ]
    counts = ("seeds", "networks", "published_epochs", "published_distillations", "published_networks")
    whole = dict.fromkeys(counts, "Int64")  # whole numbers, some of them missing
    return pd.DataFrame(rows).astype(whole)


def _measured_columns(measured: Statistics | None) -> dict[str, float | None]:
    return {
        "mean": measured.mean if measured else None,
        "plus_minus": measured.spread if measured else None,
        "std_networks": measured.std_networks if measured else None,
        "std_seeds": measured.std_seeds if measured else None,
        "std_distillations": measured.std_distillations if measured else None,
        "seeds": measured.seeds if measured else None,
        "networks": measured.networks if measured else None,
    }


def _published_columns(reference: Published | None) -> dict[str, float | str | None]:
    fields = {"value": "", "plus_minus": "_pm", "source": "_source", "note": "_note", "epochs": "_epochs"}
    fields |= {"augmentation": "_augmentation", "evaluation_source": "_evaluation_source"}
    fields |= {"distillations": "_distillations", "networks": "_networks"}
    return {f"published{ending}": getattr(reference, field) if reference else None for field, ending in fields.items()}
