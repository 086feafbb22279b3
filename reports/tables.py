"""Table 2 and the table of times, each as Markdown, CSV and (Table 2) LaTeX."""

from __future__ import annotations

import math
from collections.abc import Sequence

import pandas as pd

from bench.records import RunRecord
from reports.cells import Cell, summary, table2_cells
from reports.frames import DATASET_ORDER, METHOD_ORDER, Labels, Statistics, caption, cell_rows, rank
from reports.published import BEST_CORESET, PAPER_METHODS, Published
from reports.verdicts import BASIS, LEGEND

MARKS = {"reproduced": "✓", "above": "↑", "below": "↓", "not comparable": "≠", "not run": ""}
"""What stands behind a published value for each verdict."""

_TEX_MARKS = {"reproduced": r"\checkmark", "above": r"\uparrow", "below": r"\downarrow", "not comparable": r"\neq"}


def _pm(mean: float, std: float) -> str:
    return f"{mean:.1f}" if math.isnan(std) else f"{mean:.1f} ± {std:.1f}"


def _grid(cells: Sequence[Cell]) -> tuple[list[str], list[tuple[str, int]], dict[tuple[str, int, str], Cell]]:
    """Return the columns, the rows, and the cells by row and column."""
    columns = sorted({cell.method for cell in cells}, key=lambda name: rank(name, METHOD_ORDER))
    rows = sorted({(cell.dataset, cell.ipc) for cell in cells}, key=lambda row: (rank(row[0], DATASET_ORDER), row[1]))
    return columns, rows, {(cell.dataset, cell.ipc, cell.method): cell for cell in cells}


def _column(labels: Labels, column: str) -> str:
    """Return what is printed for a column, with names for those that no record is of."""
    if column == BEST_CORESET:
        return "Best coreset (Table 1)"
    return labels.column(column) if column.split(" ")[0] in labels.methods else PAPER_METHODS.get(column, column)


def _footnotes(cells: Sequence[Cell]) -> dict[str, int]:
    """Return the number of each note, in reading order: those of verdicts, and of published values not run."""
    return {note: number for number, note in enumerate(dict.fromkeys(filter(None, map(_note, cells))), start=1)}


def _note(cell: Cell) -> str:
    if cell.measured is None and cell.published is not None and cell.published.note:
        return f"published value: {cell.published.note}"
    return cell.verdict.note if cell.verdict else ""


def _markdown_cell(cell: Cell | None, notes: dict[str, int]) -> str:
    if cell is None:
        return ""
    parts = [_pm(cell.measured.mean, cell.measured.spread) if cell.measured else "–"]
    if cell.published and cell.verdict:
        parts.append(f"({_pm(cell.published.value, cell.published.plus_minus)})")
        parts.append(MARKS[cell.verdict.kind])
        if cell.verdict.z is not None and cell.verdict.kind in ("above", "below"):
            parts.append(f"z {cell.verdict.z:.1f}")
        if _note(cell):
            parts.append(f"[{notes[_note(cell)]}]")
    return " ".join(filter(None, parts))


def table2_markdown(records: Sequence[RunRecord]) -> str:
    """Return Table 2: measured mean ± deviation, in brackets the published value, and the verdict; notes stand below."""
    cells, labels = table2_cells(records), Labels.of(records)
    columns, rows, found = _grid(cells)
    notes = _footnotes(cells)
    lines = ["# Table 2: test accuracy", "", summary(cells), "", caption(records)]
    lines.append("In brackets: the published value (Li, Xue and Shi 2025, Table 2 if not said otherwise).")
    lines += [LEGEND, BASIS, ""] if any(cell.verdict for cell in cells) else [""]
    lines.append("| Dataset | IPC | " + " | ".join(_column(labels, column) for column in columns) + " |")
    lines.append("| --- | ---: |" + " ---: |" * len(columns))
    for dataset, ipc in rows:
        texts = [_markdown_cell(found.get((dataset, ipc, column)), notes) for column in columns]
        lines.append(f"| {labels.dataset(dataset)} | {ipc} | " + " | ".join(texts) + " |")
    for note, number in notes.items():
        lines += ["", f"[{number}] {note}."]
    return "\n".join(lines) + "\n"


def table2_frame(records: Sequence[RunRecord]) -> pd.DataFrame:
    """Return Table 2 with one row a cell, spreads apart, the published value, and the verdict with its z and difference."""
    rows = [
        {
            "dataset": cell.dataset,
            "ipc": cell.ipc,
            "method": cell.method,
            **_measured_columns(cell.measured),
            **_published_columns(cell.published),
            "verdict": cell.verdict.kind if cell.verdict else None,
            "z": cell.verdict.z if cell.verdict else None,
            "difference": cell.verdict.difference if cell.verdict else None,
            "verdict_note": cell.verdict.note if cell.verdict else None,
        }
        for cell in table2_cells(records)
    ]
    return pd.DataFrame(rows).astype({"seeds": "Int64", "networks": "Int64"})  # whole numbers, some of them missing


def _measured_columns(found: Statistics | None) -> dict[str, float | None]:
    return {
        "mean": found.mean if found else None,
        "plus_minus": found.spread if found else None,
        "std_networks": found.std_networks if found else None,
        "std_seeds": found.std_seeds if found else None,
        "seeds": found.seeds if found else None,
        "networks": found.networks if found else None,
    }


def _published_columns(known: Published | None) -> dict[str, float | str | None]:
    return {
        "published": known.value if known else None,
        "published_pm": known.plus_minus if known else None,
        "published_source": known.source if known else None,
        "published_note": known.note if known else None,
    }


def _tex(text: str) -> str:
    signs = (
        ("±", r"$\pm$"),
        ("–", "--"),
        ("✓", r"$\checkmark$"),
        ("↑", r"$\uparrow$"),
        ("↓", r"$\downarrow$"),
        ("≠", r"$\neq$"),
    )
    for plain, safe in (("\\", r"\textbackslash{}"), ("%", r"\%"), ("_", r"\_"), ("&", r"\&"), ("#", r"\#"), *signs):
        text = text.replace(plain, safe)
    return text


def _tex_pm(mean: float, std: float) -> str:
    return f"{mean:.1f}" if math.isnan(std) else rf"{mean:.1f}$_{{\pm {std:.1f}}}$"


def _tex_published(cell: Cell | None, notes: dict[str, int]) -> str:
    if cell is None or cell.published is None or cell.verdict is None:
        return ""
    text = rf"\textit{{{_tex_pm(cell.published.value, cell.published.plus_minus)}}}"
    if cell.verdict.kind in _TEX_MARKS:
        z = f"_{{z={cell.verdict.z:.1f}}}" if cell.verdict.z is not None and cell.verdict.kind != "reproduced" else ""
        text += f" ${_TEX_MARKS[cell.verdict.kind]}{z}$"
    return text + (f"$^{{[{notes[_note(cell)]}]}}$" if _note(cell) else "")


def table2_tex(records: Sequence[RunRecord]) -> str:
    """Return Table 2 for LaTeX (packages booktabs and amssymb): below each measured value the published one and the verdict.

    What belongs into the caption, notes included, stands around it as comments, escaped.
    """
    cells, labels = table2_cells(records), Labels.of(records)
    columns, rows, found = _grid(cells)
    notes = _footnotes(cells)
    lines = [f"% {caption(records)}", "% " + _tex(summary(cells))]
    lines += [r"\begin{tabular}{llr" + "r" * (len(columns) - 1) + "}", r"\toprule"]
    lines.append("Dataset & IPC & " + " & ".join(_tex(_column(labels, column)) for column in columns) + r" \\")
    previous = None
    for dataset, ipc in rows:
        lines += [r"\midrule"] if dataset != previous else []
        measured, known = [], []
        for column in columns:
            cell = found.get((dataset, ipc, column))
            own = cell.measured if cell else None
            measured.append(_tex_pm(own.mean, own.spread) if own else "--" if cell else "")
            known.append(_tex_published(cell, notes))
        name = _tex(labels.dataset(dataset)) if dataset != previous else ""
        lines.append(f"{name} & {ipc} & " + " & ".join(measured) + r" \\")
        if any(known):
            lines.append(" & & " + " & ".join(known) + r" \\")
        previous = dataset
    lines += [r"\bottomrule", r"\end{tabular}"]
    lines.append("% " + _tex("Upper line measured, lower line (italic) published by Li, Xue and Shi 2025."))
    if any(cell.verdict for cell in cells):
        lines += ["% " + _tex(LEGEND), "% " + _tex(BASIS), *(f"% [{number}] {_tex(note)}." for note, number in notes.items())]
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
