"""What a figure is, and how it is written: as PNG, SVG and PDF, with its numbers as CSV."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import matplotlib
import matplotlib.pyplot as plt
import pandas as pd

from reports.frames.results import Results
from reports.tables.formats import write_csv

if TYPE_CHECKING:
    from matplotlib.figure import Figure as Canvas

matplotlib.use("Agg")  # opens no window

Section = Literal["answer", "accuracy", "rates", "cost", "networks"]

STYLE: dict[Any, Any] = {
    "text.parse_math": False,  # a dataset, class or setting may be called $_$
    "svg.hashsalt": "reports",  # the same numbers give the same file
    "figure.max_open_warning": 0,
}

_METADATA: dict[str, dict[str, None]] = {"svg": {"Date": None}, "pdf": {"CreationDate": None}, "png": {}}
FORMATS = tuple(_METADATA)
WRITTEN = (*FORMATS, "csv")
"""The kinds of files of a picture; `csv` holds its numbers."""


@dataclass(frozen=True)
class Drawing:
    """A picture and its numbers. If a figure has several pictures, each has a `name` and a `title` of its own."""

    canvas: Canvas
    data: pd.DataFrame
    name: str = ""
    title: str = ""


@dataclass(frozen=True)
class Figure:
    """A figure of the report.

    Attributes:
        name: the stem of its files, and its anchor on the page.
        title: what it shows.
        section: the section of the page that it is in.
        caption: how to read it; it names the metric, unless the axes do.
        draw: returns its pictures: none if the records have nothing for it, or several.

    """

    name: str
    title: str
    section: Section
    caption: str
    draw: Callable[[Results], Iterable[Drawing]]


def settle(canvas: Canvas) -> None:
    """Lay a picture out once: it takes as long as drawing, and every format would do it again."""
    engine = canvas.get_layout_engine()
    if engine is not None:
        engine.execute(canvas)
        canvas.set_layout_engine(None)  # "none" keeps a placeholder, and each format is drawn twice with it


@dataclass(frozen=True)
class Picture:
    """A picture that was written: its figure, its own title, the stem of its files, and their formats."""

    figure: Figure
    title: str
    stem: str
    formats: tuple[str, ...] = WRITTEN


def write_figure(figure: Figure, results: Results, folder: Path, formats: Collection[str] = WRITTEN) -> list[Picture]:
    """Draw a figure, and write each of its pictures; return what was written.

    Args:
        figure: the figure.
        results: the records that it shows.
        folder: of its files.
        formats: those of `WRITTEN` that are wanted.

    """
    forms = tuple(form for form in WRITTEN if form in formats)
    pictures = []
    with matplotlib.rc_context(STYLE):
        for number, drawing in enumerate(figure.draw(results)):
            stem = f"{figure.name}{f'_{number + 1}' if drawing.name else ''}"
            write_drawing(drawing, folder, stem, forms)
            pictures.append(Picture(figure, drawing.title or figure.title, stem, forms))
    return pictures


def write_drawing(drawing: Drawing, folder: Path, stem: str, formats: Collection[str] = WRITTEN) -> None:
    """Write one picture, and its numbers.

    Args:
        drawing: the picture, which is closed afterwards.
        folder: of the files.
        stem: the name of the files.
        formats: those of `WRITTEN` that are wanted.

    """
    for form, metadata in _METADATA.items():
        if form in formats:
            settle(drawing.canvas)
            drawing.canvas.savefig(folder / f"{stem}.{form}", dpi=120, metadata=metadata)
    plt.close(drawing.canvas)
    if "csv" in formats:
        write_csv(drawing.data, folder / f"{stem}.csv")
