"""Everything that a report consists of, written in one go; see `reports.write_report`."""

from __future__ import annotations

import sys
from collections.abc import Collection, Sequence
from pathlib import Path, PurePath
from typing import TextIO

import pandas as pd

from bench.errors import unknown
from reports.figures import figures
from reports.figures.figure import WRITTEN, Figure, write_figure
from reports.frames.names import columns_of
from reports.frames.reading import Finished, read_records
from reports.frames.results import Results
from reports.page.cards import decks
from reports.page.charts import charts
from reports.page.images import write_images
from reports.page.page import Page, groups, ordered, render_page
from reports.statistics.answer import answer
from reports.swap import swapped
from reports.tables import FORMATS, TABLES
from reports.tables.formats import write_csv
from reports.tables.table import Table
from reports.verdicts.cells import summary, table2_cells

ALL_FORMATS = ("html", "md", "tex", "csv", "parquet", "png", "svg", "pdf")

_NEEDED = {"html": frozenset({"html", "svg", "png"})}
"""The formats that a format needs: the page shows figures as SVG and images as PNG."""

_OWN = (".csv", ".html", ".jpg", ".json", ".md", ".parquet", ".pdf", ".png", ".svg", ".tex", ".webp")


def accuracy_frame(results: Results) -> pd.DataFrame:
    """Return the main evaluations alone, a row for each network, in the form of all versions: variants are in brackets."""
    frame, columns = results.main, ["dataset", "ipc", "method", "seed", "network", "accuracy"]
    return frame.assign(method=[column.name for column in columns_of(frame)])[columns]


def chosen_formats(names: Collection[str]) -> frozenset[str]:
    """Return the formats to write: those named, or all, and what they need; raise `UsageError` for an unknown one."""
    for name in names:
        if name not in ALL_FORMATS:
            raise unknown("format", name, ALL_FORMATS)
    return frozenset().union(*(_NEEDED.get(name, {name}) for name in names or ALL_FORMATS))


def write_report(
    outs: Sequence[Path],
    *,
    target: Path | None = None,
    formats: Collection[str] = (),
    wanted: Collection[str] | None = None,
    log: TextIO | None = None,
    drawn: Collection[Figure] | None = None,
) -> Path:
    """Write the report and return its page, or its folder if no page is wanted; see `reports.write_report`.

    `drawn`: the figures in it, in this order; all if it is None.
    """
    forms = chosen_formats(formats)
    finished = read_records(outs, wanted=wanted, log=log)
    report = target or outs[0] / "report"
    with swapped(report, _is_own) as folder:
        left_out = _write(finished, folder, forms, report, figures() if drawn is None else drawn)
        (log or sys.stderr).writelines(f"{line}\n" for line in left_out)
    return report / "index.html" if "html" in forms else report


def _write(finished: Finished, report: Path, formats: frozenset[str], earlier: Path, drawn: Collection[Figure]) -> list[str]:
    """Write the files of a report; return a line for each file of images that cannot be drawn.

    Args:
        finished: the records.
        report: an empty folder.
        formats: those that are written.
        earlier: the folder of an earlier report, which may have figures of benchmarks.
        drawn: the figures.

    """
    results, unseen = Results.of(finished.records), list[str]()
    for name in ("figures", "images"):
        (report / name).mkdir()
    _write_frames(results, report, formats)
    tables = _write_tables(results, report, formats)
    images = write_images(results, finished.folders, report / "images", unseen) if "png" in formats else []
    shown = drawn if formats.intersection(WRITTEN) else ()
    pictures = [picture for figure in shown for picture in write_figure(figure, results, report / "figures", formats)]
    if "html" in formats:
        said = answer(results), summary(table2_cells(results))
        page = Page(
            answer=said[0],
            summary=said[1],
            cells=len(results.records),
            files=sorted(path.name for path in report.iterdir() if path.is_file()),
            tables=ordered(tables, said=said),
            groups=groups(pictures, charts(results), earlier / "figures"),
            names=results.names,
            images=images,
            decks=decks(results, finished.folders, earlier),
            left_out=[*map(str, finished.left_out), *unseen],
            notes=finished.notes,
        )
        render_page(page, report / "index.html", earlier)
    return unseen


def _is_own(path: PurePath) -> bool:
    """Return whether a file of an old report, by its path in it, is removed: a report with the right records writes it."""
    if path.suffix not in _OWN or path.name.startswith("benchmarks_"):  # of `--benchmarks`, not made from records
        return False
    if len(path.parts) > 1:
        return path.parts[0] in ("figures", "images")
    return path.stem in {"index", "accuracy", "results", "checkpoints", "losses", *(entry.name for entry in TABLES)}


def _write_frames(results: Results, report: Path, formats: frozenset[str]) -> None:
    """Write the tidy frames, and the accuracies of the main evaluations.

    Args:
        results: has the frames.
        report: the folder.
        formats: those that are written.

    """
    frames = {"results": results.networks, "checkpoints": results.checkpoints, "losses": results.losses}
    for name, frame in frames.items():
        if len(frame) and "csv" in formats:
            write_csv(frame, report / f"{name}.csv")
        if len(frame) and "parquet" in formats:
            frame.to_parquet(report / f"{name}.parquet", index=False)
    if "csv" in formats:
        write_csv(accuracy_frame(results), report / "accuracy.csv")


def _write_tables(results: Results, report: Path, formats: frozenset[str]) -> list[Table]:
    """Write each table; return those that the page shows.

    Args:
        results: the records that they show.
        report: the folder.
        formats: those that are written.

    """
    shown = []
    for entry in TABLES:
        table = entry.make(results)
        if table is None:
            continue
        write_table(table, entry.frame(results) if entry.frame else None, report, formats)
        if entry.on_page(results):
            shown.append(table)
    return shown


def write_table(table: Table, frame: pd.DataFrame | None, folder: Path, formats: Collection[str]) -> None:
    """Write a table.

    Args:
        table: the table.
        frame: its numbers, for its CSV.
        folder: of its files.
        formats: those that are written.

    """
    for form in FORMATS:
        if form in formats:
            (folder / f"{table.name}.{form}").write_text(table.render(form), encoding="utf-8")
    if frame is not None and "csv" in formats:
        write_csv(frame, folder / f"{table.name}.csv")
