"""Table 2 and the table of times, each as Markdown, CSV and (Table 2) LaTeX."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from bench.records import RunRecord
from reports.captions import caption, networks_heading
from reports.cells import Cell, summary, table2_cells
from reports.formats import plus_minus, tex, tex_plus_minus
from reports.frames import Statistics, cell_rows
from reports.names import Names, dataset_rank
from reports.published import Published
from reports.verdicts import BASIS, LEGEND

MARKS = {"reproduced": "✓", "above": "↑", "below": "↓", "not comparable": "≠", "not run": ""}
"""What stands behind a published value for each verdict."""

_TEX_MARKS = {"reproduced": r"\checkmark", "above": r"\uparrow", "below": r"\downarrow", "not comparable": r"\neq"}

_Grid = tuple[list[str], list[tuple[str, int]], dict[tuple[str, int, str], Cell]]


def _grid(cells: Sequence[Cell], names: Names) -> _Grid:
    """Return the columns, the rows, and the cells by row and column."""
    columns = sorted({cell.method for cell in cells}, key=names.column_rank)
    rows = sorted({(cell.dataset, cell.ipc) for cell in cells}, key=lambda row: (dataset_rank(row[0]), row[1]))
    return columns, rows, {(cell.dataset, cell.ipc, cell.method): cell for cell in cells}


def _footnotes(cells: Sequence[Cell]) -> dict[str, int]:
    """Return the number of each note, in reading order: those of verdicts, and of published values not run."""
    return {note: number for number, note in enumerate(dict.fromkeys(filter(None, map(_note, cells))), start=1)}


def _note(cell: Cell) -> str:
    if cell.measured is None and cell.published is not None and cell.published.note:
        return f"published value: {cell.published.note}"
    return cell.verdict.note if cell.verdict else ""


def _markdown_cell(cell: Cell | None, notes: Mapping[str, int]) -> str:
    if cell is None:
        return ""
    parts = [plus_minus(cell.measured.mean, cell.measured.spread) if cell.measured else "–"]
    if cell.published and cell.verdict:
        parts.append(f"({plus_minus(cell.published.value, cell.published.plus_minus)})")
        parts.append(MARKS[cell.verdict.kind])
        if cell.verdict.z is not None and cell.verdict.kind in ("above", "below"):
            parts.append(f"z {cell.verdict.z:.1f}")
        if _note(cell):
            parts.append(f"[{notes[_note(cell)]}]")
    return " ".join(filter(None, parts))


def table2_markdown(records: Sequence[RunRecord]) -> str:
    """Return Table 2: measured mean ± deviation, in brackets the published value, and the verdict; notes stand below.

    The heading names the evaluation network where it is not the ConvNet.
    """
    cells, names = table2_cells(records), Names.of(records)
    columns, rows, by_place = _grid(cells, names)
    notes = _footnotes(cells)
    lines = [f"# Table 2: test accuracy{networks_heading(records)}", "", summary(cells), "", caption(records)]
    lines.append("In brackets: the published value (Li, Xue and Shi 2025, Table 2 if not said otherwise).")
    lines += [LEGEND, BASIS, ""] if any(cell.verdict for cell in cells) else [""]
    lines.append("| Dataset | IPC | " + " | ".join(map(names.column, columns)) + " |")
    lines.append("| --- | ---: |" + " ---: |" * len(columns))
    for dataset, ipc in rows:
        texts = [_markdown_cell(by_place.get((dataset, ipc, column)), notes) for column in columns]
        lines.append(f"| {names.dataset(dataset)} | {ipc} | " + " | ".join(texts) + " |")
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


def _measured_columns(measured: Statistics | None) -> dict[str, float | None]:
    return {
        "mean": measured.mean if measured else None,
        "plus_minus": measured.spread if measured else None,
        "std_networks": measured.std_networks if measured else None,
        "std_seeds": measured.std_seeds if measured else None,
        "seeds": measured.seeds if measured else None,
        "networks": measured.networks if measured else None,
    }


def _published_columns(reference: Published | None) -> dict[str, float | str | None]:
    return {
        "published": reference.value if reference else None,
        "published_pm": reference.plus_minus if reference else None,
        "published_source": reference.source if reference else None,
        "published_note": reference.note if reference else None,
    }


def _tex_published(cell: Cell | None, notes: Mapping[str, int]) -> str:
    if cell is None or cell.published is None or cell.verdict is None:
        return ""
    text = rf"\textit{{{tex_plus_minus(cell.published.value, cell.published.plus_minus)}}}"
    if cell.verdict.kind in _TEX_MARKS:
        z = f"_{{z={cell.verdict.z:.1f}}}" if cell.verdict.z is not None and cell.verdict.kind != "reproduced" else ""
        text += f" ${_TEX_MARKS[cell.verdict.kind]}{z}$"
    return text + (f"$^{{[{notes[_note(cell)]}]}}$" if _note(cell) else "")


def _tex_lines(cells: Sequence[Cell | None], notes: Mapping[str, int]) -> tuple[str, str]:
    """Return a row's measured values, and below them the published ones, or an empty text where there is none."""
    measured = [
        (tex_plus_minus(cell.measured.mean, cell.measured.spread) if cell.measured else "--") if cell else "" for cell in cells
    ]
    reference = [_tex_published(cell, notes) for cell in cells]
    return " & ".join(measured), " & ".join(reference) if any(reference) else ""


def table2_tex(records: Sequence[RunRecord]) -> str:
    """Return Table 2 for LaTeX (packages booktabs and amssymb): below each measured value the published one and the verdict.

    What belongs into the caption, notes included, stands around it as comments, escaped.
    """
    cells, names = table2_cells(records), Names.of(records)
    columns, rows, by_place = _grid(cells, names)
    notes, heading = _footnotes(cells), networks_heading(records)
    lines = [f"% Test accuracy{tex(heading)}."] if heading else []
    lines += [f"% {caption(records)}", "% " + tex(summary(cells))]
    lines += [r"\begin{tabular}{llr" + "r" * (len(columns) - 1) + "}", r"\toprule"]
    lines.append("Dataset & IPC & " + " & ".join(tex(names.column(column)) for column in columns) + r" \\")
    previous = None
    for dataset, ipc in rows:
        lines += [r"\midrule"] if dataset != previous else []
        measured, reference = _tex_lines([by_place.get((dataset, ipc, column)) for column in columns], notes)
        name = tex(names.dataset(dataset)) if dataset != previous else ""
        lines.append(f"{name} & {ipc} & {measured}" + r" \\")
        if reference:
            lines.append(f" & & {reference}" + r" \\")
        previous = dataset
    lines += [r"\bottomrule", r"\end{tabular}"]
    lines.append("% " + tex("Upper line measured, lower line (italic) published by Li, Xue and Shi 2025."))
    if any(cell.verdict for cell in cells):
        lines += ["% " + tex(LEGEND), "% " + tex(BASIS), *(f"% [{number}] {tex(note)}." for note, number in notes.items())]
    return "\n".join(lines) + "\n"


def timing_markdown(records: Sequence[RunRecord]) -> str:
    """Return seconds of each cell, mean over seeds."""
    frame, names = cell_rows(records), Names.of(records)
    numbers = [name for name in frame.columns if name not in ("dataset", "ipc", "method", "seed", "accuracy")]
    means = frame.groupby(["dataset", "ipc", "method"], sort=False)[numbers].mean().reset_index()
    lines = [f"# Seconds of each cell{_evaluated(records)}", "", caption(records)]
    lines += [
        "Seconds of distilling by stage (features, loss, update), of training and testing all evaluation networks of a seed, "
        "and in all; mean over seeds. Seconds an iteration: the median, the first five left out; the stages hold all of them, "
        "with what the first ones cost "
        "(compiling, imports). Memory: peak of the process.",
        "",
        "| Dataset | IPC | Method | iterations | s / iteration | features | loss | update | evaluation | total | peak MiB |",
        "| --- | ---: | --- |" + " ---: |" * 8,
    ]
    lines += [_timing_row(row, names) for row in means.to_dict("records")]
    return "\n".join(lines) + "\n"


def _evaluated(records: Sequence[RunRecord]) -> str:
    heading = networks_heading(records)
    return f", evaluated by networks{heading}" if heading else ""


def _timing_row(row: Mapping[Any, Any], names: Names) -> str:
    def text(value: float | None, form: str) -> str:
        return "" if value is None or math.isnan(value) else format(value, form)

    cells = (
        names.dataset(row["dataset"]),
        row["ipc"],
        names.column(row["method"]),
        f"{row['iterations']:.0f}",
        text(row["seconds_per_iteration"], ".3f"),
        *(text(row[f"{stage}_s"], ".1f") for stage in ("features", "loss", "update", "evaluation", "total")),
        text(row["peak_memory_mib"], ".0f"),
    )
    return f"| {' | '.join(cells)} |"
