"""The form of every table of the report; the templates in `reports/templates` make Markdown, LaTeX and HTML of it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from jinja2 import Environment, FileSystemLoader, StrictUndefined, select_autoescape

from reports.formats import markdown, tex
from reports.verdicts import Verdict

Format = Literal["md", "tex", "html"]

TEMPLATES = Path(__file__).resolve().parents[1] / "templates"


@dataclass(frozen=True)
class TableCell:
    """One cell: a number, or `text`, or nothing.

    `value` is printed with `digits`, `spread` after ±, `bracket` in brackets. `published` and its `published_spread` stand
    beside or below it with the `verdict`. `best`: the best of its row; `tied`: not distinguishable from that. `note` is the
    number of a footnote.
    """

    value: float | None = None
    spread: float | None = None
    digits: int = 1
    text: str = ""
    bracket: float | None = None
    published: float | None = None
    published_spread: float | None = None
    verdict: Verdict | None = None
    best: bool = False
    tied: bool = False
    note: int | None = None


@dataclass(frozen=True)
class Row:
    """The words that say what the row is of, and its cells. Rows whose first word is the same belong together."""

    labels: tuple[str, ...]
    cells: tuple[TableCell, ...]


@dataclass(frozen=True)
class Table:
    """A table with all that is said of it.

    `name` is its file's. `title`, then `lead` (a summary) and `caption` (paragraphs) stand above; numbered `notes` below.
    `label_heads` are the heads of the words of a row, `heads` those of its cells. `text_columns`: the numbers of label columns
    with text, which stand at the left; other columns stand at the right. `level` is that of the heading in Markdown.
    """

    name: str
    title: str
    label_heads: tuple[str, ...]
    heads: tuple[str, ...]
    rows: tuple[Row, ...]
    lead: str = ""
    caption: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    text_columns: tuple[int, ...] = (0, 2)
    level: int = 1

    @property
    def has_published(self) -> bool:
        """Whether any cell has a published value."""
        return any(cell.published is not None for row in self.rows for cell in row.cells)

    def render(self, form: Format) -> str:
        """Return the table in one of the formats; of HTML, a section of a page."""
        return environment().get_template(f"table.{form}").render(table=self)


def number(value: float | None, digits: int = 1) -> str:
    """Return a number with so many digits, or an empty text where there is none."""
    return "" if value is None or math.isnan(value) else f"{value:.{digits}f}"


def environment() -> Environment:
    """Return the templates' environment: HTML is escaped by itself, LaTeX and Markdown by the filters `tex` and `md`."""
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
