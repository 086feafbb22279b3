"""Table 1 of the paper: the best coreset selection and dataset distillation, and the whole training set."""

from __future__ import annotations

from reports.frames.names import Column
from reports.frames.published import BEST_CORESET, BEST_DISTILLATION, published
from reports.frames.results import Results
from reports.tables.table import Row, Table
from reports.tables.table2 import numbered_notes, printed_cell
from reports.verdicts.cells import Cell, table2_cells
from reports.verdicts.verdict import LEGEND, Verdict

_HEADS = {
    BEST_CORESET: "Best coreset selection",
    BEST_DISTILLATION: "Best dataset distillation",
    "whole": "Whole",
}
_CAPTION = (
    "In brackets: the published value (Li, Xue and Shi 2025, Table 1). Ours of the first column is the best of the selections "
    "that were run, which flatters it a little. The second names no method, network or source: nothing is compared with it."
)


def table1_table(results: Results) -> Table | None:
    """Return Table 1 for the datasets of the records, or None if it has none of them."""
    cells, names = table2_cells(results), results.names
    measured = {(cell.dataset, cell.ipc, cell.column): cell for cell in cells if cell.column.method in _HEADS}
    datasets = dict.fromkeys(cell.dataset for cell in cells)
    references = [key for key in published() if key[2] in _HEADS]
    keys = [(dataset, ipc) for dataset in datasets for ipc in sorted({ipc for name, ipc, _ in references if name == dataset})]
    if not keys:
        return None
    table = [[_cell(dataset, ipc, method, measured) for method in _HEADS] for dataset, ipc in keys]
    notes = numbered_notes(cell for row in table for cell in row)
    return Table(
        name="table1",
        title="Table 1: the best of other ways",
        label_heads=("Dataset", "IPC"),
        heads=tuple(_HEADS.values()),
        rows=tuple(
            Row((names.dataset(dataset), str(ipc)), tuple(printed_cell(cell, notes) for cell in row), dataset, str(ipc))
            for (dataset, ipc), row in zip(keys, table, strict=True)
        ),
        columns=tuple(map(Column, _HEADS)),
        caption=(_CAPTION, LEGEND),
        notes=tuple(notes),
    )


def _cell(dataset: str, ipc: int, method: str, measured: dict[tuple[str, int, Column], Cell]) -> Cell:
    """Return what was measured, or the published value alone.

    Args:
        dataset: of the row.
        ipc: of the row.
        method: of the column.
        measured: the cells of Table 2 in these columns.

    """
    column = Column(method)
    reference = published().get((dataset, ipc, method))
    alone = Cell(dataset, ipc, column, None, reference, Verdict("not run") if reference else None)
    return measured.get((dataset, ipc, column), alone)
