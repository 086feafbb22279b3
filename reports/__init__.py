"""Reports: tables, plots and a page, made from records alone. What they need is imported when a report is made."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

from bench.lazy import lazy_module

if TYPE_CHECKING:
    from reports import report
else:
    report = lazy_module("reports.report")


def write_report(out: Path, *, wanted: Collection[str] | None = None, log: TextIO | None = None) -> Path:
    """Write `<out>/report/` from the records in `<out>/records/`, and return the page.

    Args:
        out: the folder that holds `records/`.
        wanted: hashes of the records to take; all of them where it is None.
        log: where files that cannot be read are named; the standard error where it is None.

    Raises:
        UsageError: where there is no record with results.

    """
    return report.write_report(out, wanted=wanted, log=log)
