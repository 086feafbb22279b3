"""Everything that a report consists of, written in one go; see `reports.write_report`."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import TextIO

from bench.records import RunRecord
from reports.formats import write_csv
from reports.frames import cell_rows, network_rows
from reports.images import write_images
from reports.page import render_page
from reports.plots import plot_accuracy, plot_accuracy_vs_time, plot_timing, plot_transfer
from reports.reading import finished_records
from reports.tables import table2_frame, table2_markdown, table2_tex, timing_markdown
from reports.transfer import has_transfer, transfer_frame, transfer_markdown, transfer_tex

_TEXTS: dict[str, Callable[[Sequence[RunRecord]], str]] = {
    "table2.md": table2_markdown,
    "table2.tex": table2_tex,
    "timing.md": timing_markdown,
    "transfer.md": transfer_markdown,
    "transfer.tex": transfer_tex,
}

_FRAMES = {
    "table2.csv": table2_frame,
    "timing.csv": cell_rows,
    "accuracy.csv": network_rows,
    "transfer.csv": transfer_frame,
}

_PLOTS = {"accuracy.png": plot_accuracy, "timing.png": plot_timing, "accuracy_vs_time.png": plot_accuracy_vs_time}


def write_report(out: Path, *, wanted: Collection[str] | None, log: TextIO | None) -> Path:
    """Write the report and return its page; see `reports.write_report`."""
    records = finished_records(out, wanted=wanted, log=log)
    report = out / "report"
    report.mkdir(parents=True, exist_ok=True)
    for old in report.glob("synthetic_*.png"):  # they may be of records that are gone
        old.unlink()
    for name, text in _TEXTS.items():
        (report / name).write_text(text(records), encoding="utf-8")
    for name, frame in _FRAMES.items():
        write_csv(frame(records), report / name)
    for name, plot in _PLOTS.items():
        plot(records, report / name)
    plot_transfer(records, report / "transfer.png")
    several = has_transfer(records)
    render_page(
        report,
        cells=len(records),
        markdown=("table2.md", *(("transfer.md",) if several else ()), "timing.md"),
        plots=[*_PLOTS, *(("transfer.png",) if several else ())],
        images=write_images(records, out / "records", report),
    )
    return report / "index.html"
