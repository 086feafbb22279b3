"""`index.html`: the whole report on one page, from its tables, pictures, images and cards."""

from __future__ import annotations

import base64
import math
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

from reports.figures.figure import Picture
from reports.frames.names import Column, Names, dataset_rank
from reports.page.cards import Deck
from reports.page.charts import Chart, library
from reports.page.images import Gallery
from reports.tables.table import Table, environment

LARGEST = 5_000_000
"""Bytes of the page up to which pictures are embedded in it."""

_PICTURE = re.compile(r'(?<=<img src=")(?:figures|images)/[\w.=-]+(?=")')
"""The path of a picture beside the page."""

_TYPES = {".svg": "image/svg+xml", ".png": "image/png"}

_SECTIONS = {
    "accuracy": "Accuracy",
    "cost": "Accuracy and time",
    "networks": "Other networks",
    "rates": "The rate of the step",
    "growth": "How cost grows",
}
"""The headings of figures below the tables, in their order; the section `answer` is at the top."""

_FIRST = ("answer", "table2", "table1", "transfer")
"""The tables that come before the others, in this order."""

_TITLES = {"answer": "The best loss of each dataset and IPC"}
"""Titles of tables whose own would repeat the top of the page."""

_GROWTH = {
    "time": "Seconds of one loss as its sizes grow",
    "memory": "Memory of one loss as its sizes grow",
}
"""The figures that `python -m reports --benchmarks` writes, and their titles."""


@dataclass(frozen=True)
class Shown:
    """A picture on the page: its title and caption, the path of the file that is shown, and its files by format."""

    stem: str
    title: str
    caption: str
    source: str
    files: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Group:
    """A figure: its pictures, and its interactive charts."""

    title: str
    pictures: tuple[Shown, ...]
    charts: tuple[Chart, ...] = ()


@dataclass(frozen=True)
class Filter:
    """A choice of one value of the attribute `data-<name>`, which hides elements of other values; `options`: values, labels."""

    name: str
    label: str
    options: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Page:
    """The content of the page.

    `answer` and `summary` (how much reproduces) come first. `cells` is the number of records, `files` are the raw data beside
    the page. `groups` are the figures by section, `images` the galleries, `decks` the cards of cells. `left_out`: a line for
    each cell or file that is not on it, because it has no results or could not be read. `notes`: a line for each record that
    counts, but has another file name or is in several folders.
    """

    answer: str
    summary: str
    cells: int
    files: Sequence[str]
    tables: Sequence[Table]
    groups: Sequence[tuple[str, Group]]
    names: Names
    images: Sequence[Gallery] = ()
    decks: Sequence[Deck] = ()
    left_out: Sequence[str] = ()
    notes: Sequence[str] = ()

    def figures(self, section: str) -> list[Group]:
        """Return the figures of a section."""
        return [group for own, group in self.groups if own == section]

    @property
    def sections(self) -> list[tuple[str, str]]:
        """The sections that have a figure, and their headings."""
        return [(section, title) for section, title in _SECTIONS.items() if self.figures(section)]

    @cached_property
    def charts(self) -> bool:
        """Whether anything is interactive."""
        return any(group.charts for _, group in self.groups)

    @property
    def library(self) -> str:
        """The script that draws charts."""
        return library()

    @cached_property
    def contents(self) -> list[tuple[str, str]]:
        """The anchors of the sections, and their titles."""
        entries = [("the-answer", "The answer"), *((table.name, table.title) for table in self.tables)]
        entries += [(f"section-{section}", title) for section, title in self.sections]
        more = (
            ("images", "The distilled images", self.images),
            ("cells", "The cells", self.decks),
            ("not-shown", "Not shown", self.left_out),
            ("counted-once", "Counted once", self.notes),
        )
        entries += [(anchor, title) for anchor, title, members in more if members]
        return [*entries, ("files", "Files")]

    @cached_property
    def filters(self) -> list[Filter]:
        """The choices of dataset, IPC, method and variant, among those on the page; none if there is only one value."""
        rows = [row for table in self.tables for row in table.rows if row.dataset]
        cards = [card for deck in self.decks for card in deck.cards]
        datasets = sorted({row.dataset for row in rows} | {card.dataset for card in cards}, key=dataset_rank)
        ipcs = sorted({row.ipc for row in rows} | {card.ipc for card in cards}, key=lambda ipc: (len(ipc), ipc))
        numbers = [ipc for ipc in ipcs if ipc.isdecimal()]
        columns: set[Column] = {card.column for card in cards} | {row.column for row in rows if row.column}
        columns |= {column for table in self.tables for column in table.columns}
        ordered = sorted(columns, key=self.names.column_rank)
        methods = dict.fromkeys(column.method for column in ordered)
        variants = sorted({column.variant for column in ordered})
        made = [
            Filter("dataset", "Dataset", tuple((name, self.names.dataset(name)) for name in datasets)),
            Filter("ipc", "IPC", (*zip(numbers, numbers, strict=True), *((("all", "whole set"),) if "all" in ipcs else ()))),
            Filter("method", "Method", tuple((name, self.names.facts(name).label) for name in methods)),
            Filter("variant", "Variant", tuple((variant, variant or "none") for variant in variants)),
        ]
        return [choice for choice in made if len(choice.options) > 1]


def groups(pictures: Iterable[Picture], charts: Sequence[Chart], benchmarks: Path) -> list[tuple[str, Group]]:
    """Return the figures of the page with their sections.

    Args:
        pictures: those that were written, grouped by figure.
        charts: the interactive ones.
        benchmarks: the folder of the figures of benchmarks, if there are any.

    """
    members: dict[str, list[Picture]] = {}
    for picture in pictures:
        members.setdefault(picture.figure.name, []).append(picture)
    made = []
    for name, own in members.items():
        figure = own[0].figure
        titles = [figure.title if of.title == figure.title else f"{figure.title}: {of.title}" for of in own]
        shown = (_shown(of.stem, title, figure.caption, of.formats) for of, title in zip(own, titles, strict=True))
        interactive = tuple(chart for chart in charts if chart.name == name)
        made.append((str(figure.section), Group(figure.title, tuple(shown), interactive)))
    return [*made, *_benchmarks(benchmarks)]


def _shown(stem: str, title: str, caption: str, forms: Iterable[str]) -> Shown:
    """Return a picture for the page.

    Args:
        stem: the name of its files.
        title: of the picture.
        caption: of its figure.
        forms: the formats of its files.

    """
    return Shown(stem, title, caption, f"figures/{stem}.svg", tuple((form, f"figures/{stem}.{form}") for form in forms))


def _benchmarks(folder: Path) -> Iterator[tuple[str, Group]]:
    """Yield the figures of benchmarks that are in the folder of an earlier report."""
    caption = "Measured by tox -e bench on one machine, apart from the cells; benchmarks.md has the tables."
    for name, title in _GROWTH.items():
        stem = f"benchmarks_{name}"
        if (folder / f"{stem}.svg").is_file():
            forms = [form for form in ("png", "svg", "pdf", "csv") if (folder / f"{stem}.{form}").is_file()]
            yield "growth", Group(title, (_shown(stem, title, caption, forms),))


def ordered(tables: Iterable[Table], *, said: Iterable[str]) -> list[Table]:
    """Return the tables in the order of the page, without leads that the top of the page has `said`."""
    leads, ranks = set(said), {name: rank for rank, name in enumerate(_FIRST)}
    shown = (
        replace(table, title=_TITLES.get(table.name, table.title), lead="" if table.lead in leads else table.lead)
        for table in tables
    )
    return sorted(shown, key=lambda table: ranks.get(table.name, len(ranks)))


def render_page(page: Page, path: Path, earlier: Path) -> None:
    """Write the page into a file.

    Args:
        page: its content.
        path: the file.
        earlier: the folder of an earlier report, for pictures that are not beside the file yet.

    """
    html = environment().get_template("page.html").render(page=page)
    path.write_text(with_pictures(html, (path.parent, earlier)), encoding="utf-8")


def with_pictures(html: str, folders: Sequence[Path], *, largest: int = LARGEST) -> str:
    """Return a page with its pictures embedded, in its order, while it has at most `largest` bytes; others remain links.

    Args:
        html: the page, with the paths of its pictures.
        folders: of the pictures.
        largest: bytes.

    """
    room = largest - len(html.encode())

    def source(match: re.Match[str]) -> str:
        nonlocal room
        file = next(path for folder in folders if (path := folder / match[0]).is_file())
        head = f"data:{_TYPES[file.suffix]};base64,"
        added = len(head) + 4 * math.ceil(file.stat().st_size / 3) - len(match[0])
        if added > room:
            return match[0]
        room -= added
        return head + base64.b64encode(file.read_bytes()).decode()

    return _PICTURE.sub(source, html)
