"""The cells of Table 2: what was measured, what is published, and the verdict on the measured by the published."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

from bench.records.record import RunRecord
from reports.frames.names import Column, by_cell, dataset_rank
from reports.frames.published import BEST_CORESET, CORESETS, PAPER_METHODS, Published, published
from reports.frames.results import Results
from reports.statistics.comparable import under_one_protocol
from reports.statistics.variance import Statistics, statistics
from reports.verdicts.verdict import JUDGED, Verdict, compare, departures, verdict


@dataclass(frozen=True)
class Cell:
    """A cell of Table 2: what was measured and what is published, each None if nothing is; with a published value the verdict.

    `records`: that were measured.
    """

    dataset: str
    ipc: int
    column: Column
    measured: Statistics | None
    published: Published | None
    verdict: Verdict | None
    records: tuple[RunRecord, ...] = ()

    @property
    def counted(self) -> tuple[str, int | None, Column]:
        """What counts as a single cell: the whole training set does, though it is in several rows."""
        return self.dataset, None if self.column.method == "whole" else self.ipc, self.column

    @property
    def note(self) -> str:
        """The footnote: of the verdict, with the warnings of the records, or of a published value that was not run."""
        if self.measured is None and self.published is not None and self.published.note:
            return f"published value: {self.published.note}"
        warnings = dict.fromkeys(f"warning: {warning}" for record in self.records for warning in record.warnings)
        return "; ".join(filter(None, (*warnings, self.verdict.note if self.verdict else "")))


@lru_cache(maxsize=8)
def table2_cells(results: Results) -> tuple[Cell, ...]:
    """Return the cells in reading order: the measured, and of their datasets the published that were not run."""
    names = results.names
    cells = _measured(results)
    cells += _whole_in_other_rows(cells)
    cells += _best_coresets(cells, results)
    datasets = {cell.dataset for cell in cells}
    done = {(cell.dataset, cell.ipc, cell.column.method) for cell in cells}
    for (dataset, ipc, method), reference in published().items():
        if dataset in datasets and method in PAPER_METHODS and (dataset, ipc, method) not in done:
            cells.append(Cell(dataset, ipc, Column(method), None, reference, Verdict("not run")))
    return tuple(sorted(cells, key=lambda cell: (dataset_rank(cell.dataset), cell.ipc, names.column_rank(cell.column))))


def _measured(results: Results) -> list[Cell]:
    cells = []
    for key, frame in by_cell(results.main):
        records = tuple(results.by_hash[digest] for digest in frame["hash"].unique())
        measured, reference = statistics(frame), published().get((key.dataset, key.ipc, key.method))
        # Records of one column have their settings in common, but a single one may be of other images.
        furthest = max(records, key=lambda record: len(departures(record)))
        judged = None if reference is None else verdict(measured, reference, furthest)
        cells.append(Cell(*key.row, key.column, measured, reference, judged, records))
    return cells


def _whole_in_other_rows(cells: Sequence[Cell]) -> list[Cell]:
    """Return the whole training set's cells for the published rows of its dataset in which nothing else was run."""
    measured = {(cell.dataset, cell.ipc, cell.column) for cell in cells}
    first = {(cell.dataset, cell.column): cell for cell in cells if cell.column.method == "whole"}
    return [
        replace(cell, ipc=ipc)
        for (dataset, column), cell in first.items()
        for other, ipc, name in published()
        if other == dataset and name == "whole" and (dataset, ipc, column) not in measured
    ]


def _best_coresets(cells: Sequence[Cell], results: Results) -> list[Cell]:
    """Return Table 1's best coreset selection, for datasets with a selection other than random, against the best measured."""
    datasets = {cell.dataset for cell in cells if cell.column.method in CORESETS[1:]}
    return [
        _best_coreset([cell for cell in cells if (cell.dataset, cell.ipc) == (dataset, ipc)], dataset, ipc, results)
        for dataset, ipc, method in published()
        if method == BEST_CORESET and dataset in datasets
    ]


def _best_coreset(row: Sequence[Cell], dataset: str, ipc: int, results: Results) -> Cell:
    """Return the cell of the best coreset selection, of those that were evaluated under one protocol.

    Args:
        row: the measured cells of this dataset and IPC.
        dataset: the row's.
        ipc: the row's.
        results: the records of all cells.

    """
    reference, column, names = published()[dataset, ipc, BEST_CORESET], Column(BEST_CORESET), results.names
    coresets = [cell for cell in row if cell.column.method in CORESETS and not any(map(departures, cell.records))]
    columns = under_one_protocol(results, (dataset, ipc), [cell.column for cell in coresets])
    fair = [(cell, cell.measured) for cell in coresets if cell.measured and cell.column in columns]
    if all(cell.column.method == "random" for cell, _ in fair):
        return Cell(dataset, ipc, column, None, reference, Verdict("not run"))
    best, measured = max(fair, key=lambda pair: pair[1].mean)
    others = ", ".join(names.column(cell.column) for cell, _ in fair)
    note = f"the best here of {others}: {names.column(best.column)}"
    note += f"; published value: {reference.note}" if reference.note else ""
    judged = compare(measured, reference, note=note)
    return Cell(dataset, ipc, column, measured, reference, judged, best.records)


def summary(cells: Sequence[Cell]) -> str:
    """Return the verdicts in one line."""
    kinds = Counter({cell.counted: cell.verdict.kind for cell in cells if cell.verdict}.values())
    if not kinds:
        return "No published value to compare with."
    compared = sum(kinds[kind] for kind in JUDGED if kind != "smaller budget")
    judged = f"{kinds['reproduced']} of {compared} cells reproduced, {kinds['above']} above, {kinds['below']} below"
    judged += f", {kinds['unclear']} unclear; {kinds['smaller budget']} more below with a smaller budget"
    return f"{judged}; {kinds['not comparable']} not comparable; {kinds['not run']} published cells of these datasets not run."
