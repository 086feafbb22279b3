"""The cells of Table 2: what was measured, what is published, and the verdict on the measured by the published."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import cast

from bench.records import RunRecord
from reports.frames import Statistics, expanded, network_rows, statistics
from reports.names import Names, column_names, dataset_rank
from reports.published import BEST_CORESET, PAPER_METHODS, Published, published
from reports.verdicts import Verdict, compare, departures, verdict

CORESETS = ("random", "herding", "kcenter", "kmeans")
"""What Table 1's "coreset selection" is the best of. Random counts: it is the best at CIFAR-10, IPC 50."""


@dataclass(frozen=True)
class Cell:
    """One cell: what was measured, None where nothing was; what is published, if anything is, and then the verdict."""

    dataset: str
    ipc: int
    method: str
    measured: Statistics | None
    published: Published | None
    verdict: Verdict | None
    records: tuple[RunRecord, ...] = ()

    @property
    def base(self) -> str:
        """The method, without the settings that tell its column from others."""
        return self.method.split(" ")[0]

    @property
    def counted(self) -> tuple[str, int | None, str]:
        """What counts as a single cell: the whole training set does, however many rows it stands in."""
        return self.dataset, None if self.base == "whole" else self.ipc, self.method


def table2_cells(records: Sequence[RunRecord]) -> list[Cell]:
    """Return the cells in reading order: the measured, and of their datasets the published that were not run."""
    names = Names.of(records)
    cells = _measured(records)
    cells += _whole_in_other_rows(cells)
    cells += _best_coresets(cells, names)
    datasets, done = {cell.dataset for cell in cells}, {(cell.dataset, cell.ipc, cell.base) for cell in cells}
    for (dataset, ipc, method), reference in published().items():
        if dataset in datasets and method in PAPER_METHODS and (dataset, ipc, method) not in done:
            cells.append(Cell(dataset, ipc, method, None, reference, Verdict("not run")))
    return sorted(cells, key=lambda cell: (dataset_rank(cell.dataset), cell.ipc, names.column_rank(cell.method)))


def _measured(records: Sequence[RunRecord]) -> list[Cell]:
    columns = column_names(records)
    members: dict[tuple[str, int, str], list[RunRecord]] = defaultdict(list)
    for record, ipc in expanded(records):
        members[record.spec.dataset, ipc, columns[record.hash]].append(record)
    cells = []
    for key, frame in network_rows(records).groupby(["dataset", "ipc", "method"], sort=False):
        dataset, ipc, column = cast("tuple[str, int, str]", key)
        own, measured = members[dataset, ipc, column], statistics(frame)
        reference = published().get((dataset, int(ipc), column.split(" ")[0]))
        judged = None if reference is None else verdict(measured, reference, own[0])
        cells.append(Cell(dataset, int(ipc), column, measured, reference, judged, tuple(own)))
    return cells


def _whole_in_other_rows(cells: Sequence[Cell]) -> list[Cell]:
    """Return the whole training set's cells for the published rows of its dataset in which nothing else was run."""
    there = {(cell.dataset, cell.ipc, cell.method) for cell in cells}
    first = {(cell.dataset, cell.method): cell for cell in cells if cell.base == "whole"}
    return [
        replace(cell, ipc=ipc)
        for (dataset, method), cell in first.items()
        for other, ipc, name in published()
        if other == dataset and name == "whole" and (dataset, ipc, method) not in there
    ]


def _best_coresets(cells: Sequence[Cell], names: Names) -> list[Cell]:
    """Return Table 1's best coreset selection, for datasets with a selection other than random, against the best measured."""
    datasets = {cell.dataset for cell in cells if cell.base in CORESETS[1:]}
    return [
        _best_coreset([cell for cell in cells if (cell.dataset, cell.ipc) == (dataset, ipc)], dataset, ipc, names)
        for dataset, ipc, method in published()
        if method == BEST_CORESET and dataset in datasets
    ]


def _best_coreset(row: Sequence[Cell], dataset: str, ipc: int, names: Names) -> Cell:
    """Return the cell of the best coreset selection.

    Args:
        row: the measured cells of this dataset and IPC.
        dataset: the row's.
        ipc: the row's.
        names: what the note calls the methods.

    """
    reference = published()[dataset, ipc, BEST_CORESET]
    coresets = [cell for cell in row if cell.base in CORESETS]
    fair = [(cell, cell.measured) for cell in coresets if cell.measured and not departures(cell.records[0])]
    if all(cell.base == "random" for cell, _ in fair):
        return Cell(dataset, ipc, BEST_CORESET, None, reference, Verdict("not run"))
    best, measured = max(fair, key=lambda pair: pair[1].mean)
    others = ", ".join(names.column(cell.method) for cell, _ in fair)
    note = f"the best here of {others}: {names.column(best.method)}"
    note += f"; published value: {reference.note}" if reference.note else ""
    judged = compare(measured, reference, note=note)
    return Cell(dataset, ipc, BEST_CORESET, measured, reference, judged, best.records)


def summary(cells: Sequence[Cell]) -> str:
    """Return the verdicts in one line."""
    kinds = Counter({cell.counted: cell.verdict.kind for cell in cells if cell.verdict}.values())
    if not kinds:
        return "No published value to compare with."
    compared = kinds["reproduced"] + kinds["above"] + kinds["below"]
    text = f"{kinds['reproduced']} of {compared} cells reproduced, {kinds['above']} above, {kinds['below']} below"
    return f"{text}; {kinds['not comparable']} not comparable; {kinds['not run']} published cells of these datasets not run."
