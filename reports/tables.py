"""Table 2 and the table of times, each as Markdown, CSV and (Table 2) LaTeX."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

import pandas as pd

from bench.records import RunRecord
from reports.frames import (
    DATASET_ORDER,
    METHOD_ORDER,
    Labels,
    Statistics,
    caption,
    cell_rows,
    network_rows,
    rank,
    statistics,
)
from reports.published import Published, published


@dataclass(frozen=True)
class Cell:
    """One cell of Table 2: what was measured, and what is published for it, if anything is."""

    dataset: str
    ipc: int
    method: str
    measured: Statistics
    published: Published | None


def table2_cells(records: Sequence[RunRecord]) -> list[Cell]:
    """Return the cells of Table 2 in reading order."""
    cells = []
    for key, frame in network_rows(records).groupby(["dataset", "ipc", "method"], sort=False):
        dataset, ipc, method = cast("tuple[str, int, str]", key)
        known = published().get((dataset, int(ipc), method.split(" ")[0]))
        cells.append(Cell(dataset, int(ipc), method, statistics(frame), known))
    return cells


def _pm(mean: float, std: float) -> str:
    return f"{mean:.1f}" if math.isnan(std) else f"{mean:.1f} ± {std:.1f}"


def _grid(cells: Sequence[Cell]) -> tuple[list[str], list[tuple[str, int]], dict[tuple[str, int, str], Cell]]:
    """Return the columns, the rows, and the cells by row and column."""
    columns = sorted({cell.method for cell in cells}, key=lambda name: rank(name, METHOD_ORDER))
    rows = sorted({(cell.dataset, cell.ipc) for cell in cells}, key=lambda row: (rank(row[0], DATASET_ORDER), row[1]))
    return columns, rows, {(cell.dataset, cell.ipc, cell.method): cell for cell in cells}


def table2_markdown(records: Sequence[RunRecord]) -> str:
    """Return Table 2: measured mean ± deviation, and in brackets the published value."""
    columns, rows, found = _grid(table2_cells(records))
    labels = Labels.of(records)
    lines = ["# Table 2: test accuracy", "", caption(records)]
    lines += ["In brackets: the published value (Li, Xue and Shi 2025, Table 2; * marks a known misprint).", ""]
    lines.append("| Dataset | IPC | " + " | ".join(map(labels.column, columns)) + " |")
    lines.append("| --- | ---: |" + " ---: |" * len(columns))
    for dataset, ipc in rows:
        texts = []
        for column in columns:
            cell = found.get((dataset, ipc, column))
            text = "" if cell is None else _pm(cell.measured.mean, cell.measured.spread)
            if cell is not None and cell.published is not None:
                star = "*" if cell.published.note.startswith("misprint") else ""
                text += f" ({_pm(cell.published.value, cell.published.plus_minus)}{star})"
            texts.append(text)
        lines.append(f"| {labels.dataset(dataset)} | {ipc} | " + " | ".join(texts) + " |")
    return "\n".join(lines) + "\n"


def table2_frame(records: Sequence[RunRecord]) -> pd.DataFrame:
    """Return Table 2 with one row a cell, spreads apart, and the published value."""
    rows = []
    for cell in table2_cells(records):
        known = cell.published
        row = {"dataset": cell.dataset, "ipc": cell.ipc, "method": cell.method}
        row |= {"mean": cell.measured.mean, "plus_minus": cell.measured.spread}
        row |= {
            "std_networks": cell.measured.std_networks,
            "std_seeds": cell.measured.std_seeds,
            "seeds": cell.measured.seeds,
            "networks": cell.measured.networks,
        }
        row |= {
            "published": known.value if known else None,
            "published_pm": known.plus_minus if known else None,
            "published_note": known.note if known else None,
        }
        rows.append(row)
    return pd.DataFrame(rows)


def _tex(text: str) -> str:
    for plain, safe in (("\\", r"\textbackslash{}"), ("%", r"\%"), ("_", r"\_"), ("&", r"\&"), ("#", r"\#"), ("±", r"$\pm$")):
        text = text.replace(plain, safe)
    return text


def _tex_pm(mean: float, std: float) -> str:
    return f"{mean:.1f}" if math.isnan(std) else rf"{mean:.1f}$_{{\pm {std:.1f}}}$"


def table2_tex(records: Sequence[RunRecord]) -> str:
    """Return Table 2 for LaTeX (package booktabs): the published value below each measured one."""
    columns, rows, found = _grid(table2_cells(records))
    labels = Labels.of(records)
    lines = [f"% {caption(records)}", r"\begin{tabular}{llr" + "r" * (len(columns) - 1) + "}", r"\toprule"]
    lines.append("Dataset & IPC & " + " & ".join(_tex(labels.column(column)) for column in columns) + r" \\")
    previous = None
    for dataset, ipc in rows:
        lines += [r"\midrule"] if dataset != previous else []
        measured, known = [], []
        for column in columns:
            cell = found.get((dataset, ipc, column))
            measured.append("" if cell is None else _tex_pm(cell.measured.mean, cell.measured.spread))
            value = cell.published if cell else None
            known.append("" if value is None else rf"\textit{{{_tex_pm(value.value, value.plus_minus)}}}")
        name = _tex(labels.dataset(dataset)) if dataset != previous else ""
        lines.append(f"{name} & {ipc} & " + " & ".join(measured) + r" \\")
        if any(known):
            lines.append(" & & " + " & ".join(known) + r" \\")
        previous = dataset
    lines += [r"\bottomrule", r"\end{tabular}"]
    lines.append("% " + _tex("Upper line measured, lower line (italic) published by Li, Xue and Shi 2025."))
    return "\n".join(lines) + "\n"


def timing_markdown(records: Sequence[RunRecord]) -> str:
    """Return seconds of each cell, mean over seeds."""
    frame, labels = cell_rows(records), Labels.of(records)
    numbers = [name for name in frame.columns if name not in ("dataset", "ipc", "method", "seed", "accuracy")]
    means = frame.groupby(["dataset", "ipc", "method"], sort=False)[numbers].mean().reset_index()
    lines = ["# Seconds of each cell", "", caption(records)]
    lines += [
        "Seconds of distilling by stage (features, loss, update), of training and testing all evaluation networks of a seed, "
        "and in all; mean over seeds. Seconds an iteration: the median, the first five left out; the stages hold all of them, "
        "with what the first ones cost "
        "(compiling, imports). Memory: peak of the process.",
        "",
        "| Dataset | IPC | Method | iterations | s / iteration | features | loss | update | evaluation | total | peak MiB |",
        "| --- | ---: | --- |" + " ---: |" * 8,
    ]
    for row in means.to_dict("records"):
        per = row["seconds_per_iteration"]
        stages = [row[f"{stage}_s"] for stage in ("features", "loss", "update", "evaluation", "total")]
        texts = ["" if value is None or math.isnan(value) else f"{value:.1f}" for value in stages]
        lines.append(
            f"| {labels.dataset(row['dataset'])} | {row['ipc']} | {labels.column(row['method'])} | {row['iterations']:.0f} | "
            + ("" if per is None or math.isnan(per) else f"{per:.3f}")
            + f" | {' | '.join(texts)} | {row['peak_memory_mib']:.0f} |"
        )
    return "\n".join(lines) + "\n"
