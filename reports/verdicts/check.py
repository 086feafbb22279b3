"""`python -m reports --check`: has a cell that the committed records reproduce fallen below its published value?"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.errors import UsageError
from reports.frames.profiles import profile_label
from reports.frames.reading import finished_records
from reports.frames.results import Results
from reports.frames.variants import flat_settings
from reports.verdicts.cells import Cell, summary, table2_cells
from reports.verdicts.verdict import JUDGED

REFERENCE = Path(__file__).resolve().parents[1] / "reference"
"""The committed records, a folder each."""


@dataclass(frozen=True)
class Check:
    """The outcome: the summary of the folder's verdicts, the number of cells compared, and a line for each that fell."""

    summary: str
    compared: int
    fell: tuple[str, ...]

    @property
    def report(self) -> str:
        """What is printed."""
        line = f"{self.compared} cells compared with the committed records, {len(self.fell)} fell."
        return "\n".join((self.summary, line, *self.fell)) + "\n"


def check_report(out: Path, against: Path | None = None) -> Check:
    """Compare verdicts of the records in `out` with those in `against`, or in every folder of committed records.

    A committed cell is compared with the cells of its dataset, IPC, method and profile: those of the very same settings, or
    else those that take today's profile unchanged (it may have been another one). Raise `UsageError` if that leaves none.
    """
    folders = [against] if against else sorted(path.parent for path in REFERENCE.glob("*/records"))
    ours = table2_cells(Results.of(finished_records(out)))
    fell, compared = [], set()
    for folder in folders:
        for committed in _judged(table2_cells(Results.of(finished_records(folder)))):
            for cell in _counterparts(committed, ours):
                compared.add(cell.counted)
                if _kind(committed) == "reproduced" and cell.verdict and cell.verdict.failed:
                    fell.append(_line(committed, cell, folder))
    if not compared:
        references = ", ".join(map(str, folders)) or str(REFERENCE)
        raise UsageError(
            f"nothing to compare: no dataset, IPC, method and profile has a verdict both in {out} and in {references}; "
            "valid: an --out with cells that the committed records have, or another --against"
        )
    return Check(summary(ours), len(compared), tuple(dict.fromkeys(fell)))


def _kind(cell: Cell) -> str:
    return cell.verdict.kind if cell.verdict else ""


def _judged(cells: Sequence[Cell]) -> Iterator[Cell]:
    """Yield the cells with a verdict on two numbers, once each, though the whole training set is in several rows."""
    seen = set()
    for cell in cells:
        if _kind(cell) in JUDGED and cell.counted not in seen:
            seen.add(cell.counted)
            yield cell


def _key(cell: Cell) -> tuple[str, int | None, str, str]:
    dataset, ipc, _ = cell.counted
    return dataset, ipc, cell.column.method, cell.records[0].spec.protocol.profile


def _settings(cell: Cell) -> dict[str, Any]:
    """Return the settings of a cell without its code and images: the check is there to see what changes of these do."""
    settings = flat_settings(cell.records[0].spec)
    return {name: value for name, value in settings.items() if name not in ("code", "data", "numerics")}


def _counterparts(committed: Cell, cells: Sequence[Cell]) -> list[Cell]:
    same = [cell for cell in _judged(cells) if _key(cell) == _key(committed)]
    exact = [cell for cell in same if _settings(cell) == _settings(committed)]
    return exact or [cell for cell in same if profile_label(cell.records[0].spec) == _key(cell)[-1]]


def _line(committed: Cell, cell: Cell, folder: Path) -> str:
    dataset, ipc, method, profile = _key(cell)
    assert committed.measured and cell.measured and cell.published and cell.verdict  # judged cells have all of them
    name = f"{dataset} {'all images' if ipc is None else f'ipc {ipc}'} {method}, profile {profile}"
    return (
        f"fell: {name}: {cell.measured.mean:.1f} is below the published {cell.published.value:.1f} (z {cell.verdict.z:.1f}); "
        f"the records in {folder} reproduce it with {committed.measured.mean:.1f}"
    )
