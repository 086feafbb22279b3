"""Reports: tables, figures and a page, made from records alone.

`frames` has records as rows, `statistics` what follows from them, `verdicts` the comparison with the paper, `tables`, `figures`
and `page` show them; `speed` reports benchmarks, `export` writes distilled sets. `reference` has committed records.
May import `cells`, `records`, `sets` and the names of networks from `bench`, and nothing that computes. What a report needs is
imported when it is made.
"""

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

    It is written beside an old one, which it then replaces as a whole. If no page is wanted, the folder is returned.

    Args:
        out: the folder that has `records/`.
        others: more such folders; records in several of them count once.
        target: the folder of the report; `<out>/report/` if it is None.
        formats: those that are written, of `reports.report.ALL_FORMATS`; all of them if none is named.
        wanted: hashes of the records to take; all of them if it is None.
        log: gets a line for everything that is left out; the standard error if it is None.

    Raises:
        UsageError: if there is no record with results, a format is unknown, or the report cannot be written.

    """
    write = resolve_name("reports.report:write_report")
    page: Path = write((out, *others), target=target, formats=formats, wanted=wanted, log=log)
    return page
