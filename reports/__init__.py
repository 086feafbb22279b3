"""Reports: tables, plots and a page, made from records alone. What they need is imported when a report is made."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path
from pkgutil import resolve_name
from typing import TextIO


def write_report(
    out: Path,
    *others: Path,
    target: Path | None = None,
    formats: Sequence[str] = (),
    wanted: Collection[str] | None = None,
    log: TextIO | None = None,
) -> Path:
    """Write a report from the records in `<out>/records/` of one or several folders, and return its page.

    It is written beside an old one and takes its place in whole. Where no page is wanted, the folder is returned. Where there
    are many records, processes draw figures: a script that calls this does so behind `if __name__ == "__main__":`.

    Args:
        out: the folder that holds `records/`.
        others: more such folders; records in several of them count once.
        target: the folder of the report; `<out>/report/` where it is None.
        formats: what is written, of `reports.report.ALL_FORMATS`; all of them where none is named.
        wanted: hashes of the records to take; all of them where it is None.
        log: where a line is written for what is left out; the standard error where it is None.

    Raises:
        UsageError: where there is no record with results, a format is unknown, or the report cannot be written.

    """
    write = resolve_name("reports.report:write_report")
    page: Path = write((out, *others), target=target, formats=formats, wanted=wanted, log=log)
    return page
