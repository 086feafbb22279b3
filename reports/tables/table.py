"""The form of every table of the report; the templates in `reports/templates` make Markdown, LaTeX and HTML of it."""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal, cast

import pandas as pd
from jinja2 import Environment, FileSystemLoader, StrictUndefined, select_autoescape

from reports.frames.names import Column, Names, by_cell
from reports.tables.formats import markdown, tex
from reports.verdicts.verdict import Verdict

Format = Literal["md", "tex", "html"]

TEMPLATES = Path(__file__).resolve().parents[1] / "templates"


@dataclass(frozen=True)
class TableCell:
    """One cell: a number, a label, or nothing.

    Attributes:
        value: the number.
        spread: what is printed after ±.
        digits: of both.
        label: what is printed instead of a number.
        bracket: a second number, in brackets.
        published: the published value, beside or below the number.
        published_spread: its ±.
        verdict: on the number, by the published value.
        best: whether it is the best of its row.
        tied: whether it is not distinguishable from the best.
        note: the number of a footnote.
        anchor: what the number is a link to on the page; empty for no link.

    """

    value: float | None = None
    spread: float | None = None
    digits: int = 1
    label: str = ""
    bracket: float | None = None
    published: float | None = None
    published_spread: float | None = None
    verdict: Verdict | None = None
    best: bool = False
    tied: bool = False
    note: int | None = None
    anchor: str = ""


@dataclass(frozen=True)
class Row:
    """The labels that say what the row is of, and its cells. Rows whose first label is the same belong together.

    `dataset`, `ipc` (`all` for the whole training set) and `column` (method and variant) are what the row is of, as records
    name it; empty and None if it is of several of them, or none. HTML has them as `data-dataset`, `data-ipc`, `data-method` and
    `data-variant`, for the filters of the page.
    """

    labels: tuple[str, ...]
    cells: tuple[TableCell, ...]
    dataset: str = ""
    ipc: str = ""
    column: Column | None = None

    @classmethod
    def of(cls, key: Hashable, names: Names, cells: Iterable[TableCell]) -> Row:
        """Return the row of a dataset, IPC, method and variant.

        Args:
            key: these four; the IPC is missing for the whole training set.
            names: what datasets and methods are called.
            cells: of the row.

        """
        dataset, ipc, method, variant = cast("tuple[str, int, str, str]", key)
        column, size = Column(method, variant), "all" if pd.isna(ipc) else str(ipc)
        return cls((names.dataset(dataset), size, names.column(column)), tuple(cells), dataset, size, column)


@dataclass(frozen=True)
class Table:
    """A table with its title, caption and notes.

    Attributes:
        name: the name of its files.
        title: the heading.
        label_heads: the heads of the labels of a row.
        heads: the heads of its cells.
        rows: the rows.
        lead: a summary, below the title.
        caption: paragraphs above the table.
        notes: footnotes, numbered from 1.
        columns: the method and variant of each head, if heads are methods; HTML has them as `data-method` and `data-variant` of
            the heads and of the cells below.
        text_columns: the numbers of label columns that are aligned to the left; other columns are aligned to the right.
        level: of the heading in Markdown.

    """

    name: str
    title: str
    label_heads: tuple[str, ...]
    heads: tuple[str, ...]
    rows: tuple[Row, ...]
    lead: str = ""
    caption: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    columns: tuple[Column, ...] = ()
    text_columns: tuple[int, ...] = (0, 2)
    level: int = 1

    @property
    def has_published(self) -> bool:
        """Whether any cell has a published value."""
        return any(cell.published is not None for row in self.rows for cell in row.cells)

    def render(self, form: Format) -> str:
        """Return the table in one of the formats; of HTML, a section of a page."""
        return environment().get_template(f"table.{form}").render(table=self)


def rows_across(
    frame: pd.DataFrame,
    names: Names,
    *,
    by: str,
    heads: Iterable[Hashable],
    cell: Callable[[Mapping[Hashable, Any]], TableCell],
) -> tuple[Row, ...]:
    """Return a row for each dataset, IPC, method and variant of a frame, with a cell under each head.

    Args:
        frame: in long form.
        names: what datasets and methods are called.
        by: the column whose values are the heads.
        heads: these values, in order; without a row of the frame, a cell is empty.
        cell: makes a cell of a row of the frame.

    """
    rows = []
    for key, group in by_cell(frame):
        cells = {row[by]: cell(row) for row in group.to_dict("records")}
        rows.append(Row.of(key, names, (cells.get(head, TableCell()) for head in heads)))
    return tuple(rows)


def number(value: float | None, digits: int = 1) -> str:
    """Return a number with these digits behind the point, or an empty string for None and NaN."""
    return "" if value is None or math.isnan(value) else f"{value:.{digits}f}"


@cache
def environment() -> Environment:
    """Return the templates' environment: HTML is escaped automatically, LaTeX and Markdown by the filters `tex` and `md`."""
    made = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=select_autoescape(("html",)),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    made.filters |= {"number": number, "tex": tex, "md": markdown}
    return made
