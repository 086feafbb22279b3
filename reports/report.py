"""Everything that a report consists of, written in one go; see `reports.write_report`."""

from __future__ import annotations

import gc
from collections.abc import Collection
from pathlib import Path
from typing import TextIO

import pandas as pd

from reports.answer import answer
from reports.cells import summary, table2_cells
from reports.figures import figures
from reports.figures.figure import write_figure
from reports.formats import write_csv
from reports.images import write_images
from reports.names import Column
from reports.page import Page, render_page
from reports.reading import finished_records
from reports.results import Results
from reports.tables import FORMATS, TABLES
from reports.tables.table import Table

_OWN = (".csv", ".md", ".parquet", ".pdf", ".png", ".svg", ".tex")


def accuracy_frame(results: Results) -> pd.DataFrame:
    """Return the main evaluations alone, one row a network, as every version has written them: a variant stands in brackets."""
    frame = results.main
    columns = [Column(*pair).name for pair in zip(frame["method"], frame["variant"], strict=True)]
    return frame.assign(method=columns)[["dataset", "ipc", "method", "seed", "network", "accuracy"]]


def write_report(out: Path, *, wanted: Collection[str] | None, log: TextIO | None) -> Path:
    """Write the report and return its page; see `reports.write_report`."""
    gc.freeze()  # statsmodels collects garbage at every correction; what is imported need not be looked through each time
    try:
        return _write(Results.of(finished_records(out, wanted=wanted, log=log)), out)
    finally:
        gc.unfreeze()


def _write(results: Results, out: Path) -> Path:
    report = out / "report"
    places = report / "figures", report / "images"
    for folder in places:
        folder.mkdir(parents=True, exist_ok=True)
    _remove_old(report, *places)
    _write_frames(results, report)
    tables = _write_tables(results, report)
    page = Page(
        answer=answer(results),
        summary=summary(table2_cells(results)),
        cells=len(results.records),
        files=sorted(path.name for path in report.iterdir() if path.suffix in _OWN),
        tables=tables,
        pictures=[picture for figure in figures() for picture in write_figure(figure, results, places[0])],
        images=write_images(results, out / "records", places[1]),
    )
    render_page(page, report / "index.html")
    return report / "index.html"


def _remove_old(report: Path, *places: Path) -> None:
    """Remove what an earlier report left that this one may not write: it may be of records that are gone."""
    names = {"results", "checkpoints", "losses", *(entry.name for entry in TABLES)}
    old = [path for path in report.iterdir() if path.suffix in _OWN and path.stem in names]
    old += [path for folder in places for path in folder.iterdir() if path.suffix in _OWN]
    for path in old:
        if not path.name.startswith("benchmarks_"):  # of `--benchmarks`, which no record makes
            path.unlink()


def _write_frames(results: Results, report: Path) -> None:
    """Write the tidy frames, and the accuracies of the main evaluations."""
    frames = {"results": results.networks, "checkpoints": results.checkpoints, "losses": results.losses}
    for name, frame in frames.items():
        if len(frame):
            write_csv(frame, report / f"{name}.csv")
            frame.to_parquet(report / f"{name}.parquet", index=False)
    write_csv(accuracy_frame(results), report / "accuracy.csv")


def _write_tables(results: Results, report: Path) -> list[Table]:
    """Write each table in all formats; return those that the page shows."""
    shown = []
    for entry in TABLES:
        table = entry.make(results)
        if table is None:
            continue
        for form in FORMATS:
            (report / f"{table.name}.{form}").write_text(table.render(form), encoding="utf-8")
        if entry.frame is not None:
            write_csv(entry.frame(results), report / f"{table.name}.csv")
        if entry.on_page(results):
            shown.append(table)
    return shown
