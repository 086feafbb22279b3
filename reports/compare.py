"""`python -m reports --out A --out B --compare`: what changed between two folders, as a table and a page of its own."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path, PurePath
from typing import TextIO

from bench.errors import UsageError
from reports.frames.reading import read_records
from reports.frames.results import Results
from reports.report import chosen_formats, write_table
from reports.statistics.changes import changes
from reports.swap import swapped
from reports.tables.changes import changes_frame, changes_table
from reports.tables.table import environment

_FORMATS = frozenset({"html", "md", "tex", "csv", "parquet"})


def write_changes(
    outs: Sequence[Path], *, target: Path | None = None, formats: Collection[str] = (), log: TextIO | None = None
) -> Path:
    """Write what changed from the first folder to the second, beside the report; return the page, or the folder without one.

    Args:
        outs: the two folders that hold `records/`.
        target: the folder of the report; `<first>/report/` if it is None.
        formats: those that are written, of `html`, `md`, `tex`, `csv`, `parquet`; all of them if none is named.
        log: gets a line for everything that is left out; the standard error if it is None.

    Raises:
        UsageError: if there are not two folders with results, or no format that a comparison has.

    """
    if len(outs) != 2 or outs[0].resolve() == outs[1].resolve():
        raise UsageError("--compare takes two folders; valid: --out BEFORE --out AFTER --compare")
    forms = chosen_formats(formats) & _FORMATS
    if not forms:
        raise UsageError(f"--format {','.join(formats)}: a comparison has no pictures; valid: {', '.join(sorted(_FORMATS))}")
    read = {str(out): read_records([out], log=log) for out in outs}
    folders = {name: Results.of(finished.records) for name, finished in read.items()}
    made = changes(*folders.values())
    table, frame, report = changes_table(made, folders), changes_frame(made), target or outs[0] / "report"
    with swapped(report, _is_own) as folder:
        write_table(table, frame, folder, forms)
        if "parquet" in forms:
            frame.to_parquet(folder / f"{table.name}.parquet", index=False)
        if "html" in forms:
            left_out = {name: finished.left_out for name, finished in read.items() if finished.left_out}
            files = sorted(path.name for path in folder.iterdir())
            page = environment().get_template("changes.html").render(table=table, files=files, left_out=left_out)
            (folder / "changes.html").write_text(page, encoding="utf-8")
    return report / "changes.html" if "html" in forms else report


def _is_own(path: PurePath) -> bool:
    """Return whether a file of an old report, by its path in it, is of an earlier comparison."""
    return len(path.parts) == 1 and path.stem == "changes" and path.suffix.removeprefix(".") in _FORMATS
