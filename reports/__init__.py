"""Reports: tables, plots and a page, made from records alone. The libraries they need are imported when a report is made."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from bench.errors import UsageError
from bench.records import RunRecord, read_records

if TYPE_CHECKING:
    import numpy as np


def write_report(out: Path, *, wanted: Collection[str] | None = None) -> Path:
    """Write `<out>/report/` from the records in `<out>/records/`, those with a hash in `wanted` or all; return the page.

    Raise `UsageError` where there is no good record.
    """
    folder = out / "records"
    records = [record for record in read_records(folder) if record.status == "ok"]
    if wanted is not None:
        records = [record for record in records if record.hash in wanted]
    if not records:
        raise UsageError(f"there is no finished record in {folder}; valid: an --out with records, or run the cells first")
    from reports.frames import cell_rows, network_rows
    from reports.page import render_page, write_csv
    from reports.plots import plot_accuracy, plot_accuracy_vs_time, plot_timing
    from reports.tables import table2_frame, table2_markdown, table2_tex, timing_markdown

    report = out / "report"
    report.mkdir(parents=True, exist_ok=True)
    for old in report.glob("synthetic_*.png"):  # what an earlier report of other records left
        old.unlink()
    (report / "table2.md").write_text(table2_markdown(records), encoding="utf-8")
    (report / "table2.tex").write_text(table2_tex(records), encoding="utf-8")
    write_csv(table2_frame(records), report / "table2.csv")
    (report / "timing.md").write_text(timing_markdown(records), encoding="utf-8")
    write_csv(cell_rows(records), report / "timing.csv")
    write_csv(network_rows(records), report / "accuracy.csv")
    plots = {"accuracy.png": plot_accuracy, "timing.png": plot_timing, "accuracy_vs_time.png": plot_accuracy_vs_time}
    for name, plot in plots.items():
        plot(records, report / name)
    images = _write_images(records, folder, report)
    render_page(report, cells=len(records), markdown=("table2.md", "timing.md"), plots=list(plots), images=images)
    return report / "index.html"


def _write_images(records: Sequence[RunRecord], folder: Path, report: Path) -> list[str]:
    """Draw the distilled images of the first seed of each dataset, IPC and method; return the files' names."""
    from reports.frames import variant_names
    from reports.plots import plot_images

    names = variant_names(records)
    first: dict[tuple[str, int, str], Path] = {}
    for record in sorted(records, key=lambda record: int(record.spec["seed"])):
        path = folder / record.images_name
        if path.is_file():
            first.setdefault((record.spec["dataset"], record.spec["ipc"], names[record.hash]), path)
    written = []
    for (dataset, ipc, method), path in sorted(first.items()):
        pixels, classes = _pixels(path)
        parts = (re.sub(r"[^A-Za-z0-9_.=-]+", "-", str(part)).strip("-") for part in (dataset, ipc, method))
        written.append(f"synthetic_{'_'.join(parts)}.png")
        plot_images(pixels, classes, report / written[-1])
    return written


def _pixels(path: Path) -> tuple[np.ndarray, list[str]]:
    """Return the images of a file, `[C, m, H, W]` or `[C, m, H, W, 3]` in [0, 1], and the class names."""
    import json

    import numpy as np
    from safetensors import safe_open

    with safe_open(path, framework="np") as file:
        images, labels = file.get_tensor("images"), file.get_tensor("labels")
        about = {key: json.loads(value) for key, value in file.metadata().items()}
    mean, std = (np.asarray(about[key]).reshape(1, -1, 1, 1) for key in ("mean", "std"))
    pixels = np.clip(images * std + mean, 0, 1).transpose(0, 2, 3, 1)  # [N, H, W, channels]
    if pixels.shape[-1] == 1:
        pixels = pixels[..., 0]
    classes = about["classes"]
    ordered = pixels[np.argsort(labels, kind="stable")]
    return ordered.reshape(len(classes), -1, *ordered.shape[1:]), classes
