"""`index.html`: the whole report on one page, from the tables, pictures, images and cards that were made."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

from reports.cards import Deck
from reports.charts import Chart, library
from reports.figures.figure import Picture
from reports.images import Gallery
from reports.names import Column, Names, dataset_rank
from reports.tables.table import Table, environment

_SECTIONS = {
    "accuracy": "Accuracy",
    "cost": "Accuracy and time",
    "networks": "Other networks",
    "rates": "The rate of the step",
    "growth": "How cost grows",
}
"""The headings of figures below the tables, in their order; the section `answer` stands at the top."""

_FIRST = ("answer", "table2", "table1", "transfer")
"""The tables that stand before the others, in this order."""

_TITLES = {"answer": "The best loss of each dataset and IPC"}
"""Titles of tables where their own would say again what the top of the page says."""

_GROWTH = {
    "time": "Seconds of one loss as its sizes grow",
    "memory": "Memory of one loss as its sizes grow",
}
"""The figures that `python -m reports --benchmarks` leaves, and what they show."""


@dataclass(frozen=True)
class Shown:
    """A picture as it stands on the page: its words, itself as a data URI, and its files beside the page by form."""

    stem: str
    title: str
    caption: str
    source: str
    files: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Group:
    """A figure: its pictures, and what is interactive of it."""

    title: str
    pictures: tuple[Shown, ...]
    charts: tuple[Chart, ...] = ()


@dataclass(frozen=True)
class Filter:
    """A choice that hides what is of something else: of the attribute `data-<name>`, with values and what they are called."""

    name: str
    label: str
    options: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Page:
    """What stands on the page.

    `answer` and `summary` (how much reproduces) stand first. `cells` is how many records there are, `files` the raw data beside
    the page. `groups` are the figures by section; `images` the galleries; `decks` the cards of cells. `left_out`: a line for
    each thing that is not on it, for want of results or because it could not be read.
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
        parts = [("the-answer", "The answer"), *((table.name, table.title) for table in self.tables)]
        parts += [(f"section-{section}", title) for section, title in self.sections]
        more = (("images", "The distilled images", self.images), ("cells", "The cells", self.decks))
        parts += [(anchor, title) for anchor, title, members in more if members]
        return [*parts, *((("not-shown", "Not shown"),) if self.left_out else ()), ("files", "Files")]

    @cached_property
    def filters(self) -> list[Filter]:
        """The choices of dataset, IPC, method and variant, of those that are on the page; none where there is only one."""
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
            Filter("variant", "Variant", tuple((text, text or "none") for text in variants)),
        ]
        return [one for one in made if len(one.options) > 1]


def groups(pictures: Iterable[Picture], charts: Sequence[Chart], folder: Path, grown: Path) -> list[tuple[str, Group]]:
    """Return the figures of the page with their sections.

    Args:
        pictures: those that were written, the pictures of one figure after one another.
        charts: what is interactive.
        folder: where they lie.
        grown: where the figures of benchmarks lie, if there are any.

    """
    members: dict[str, list[Picture]] = {}
    for picture in pictures:
        members.setdefault(picture.figure.name, []).append(picture)
    made = []
    for name, own in members.items():
        figure = own[0].figure
        titles = [figure.title if one.title == figure.title else f"{figure.title}: {one.title}" for one in own]
        shown = (_shown(one.stem, title, figure.caption, one.formats, folder) for one, title in zip(own, titles, strict=True))
        interactive = tuple(chart for chart in charts if chart.name == name)
        made.append((str(figure.section), Group(figure.title, tuple(shown), interactive)))
    return [*made, *_benchmarks(grown)]


def _shown(stem: str, title: str, caption: str, forms: Iterable[str], folder: Path) -> Shown:
    """Return a picture as it stands on the page.

    Args:
        stem: the name of its files.
        title: of the picture.
        caption: of its figure.
        forms: in which it is written.
        folder: where.

    """
    picture = base64.b64encode((folder / f"{stem}.svg").read_bytes()).decode()
    files = tuple((form, f"{folder.name}/{stem}.{form}") for form in forms)
    return Shown(stem, title, caption, f"data:image/svg+xml;base64,{picture}", files)


def _benchmarks(folder: Path) -> Iterator[tuple[str, Group]]:
    """Yield the figures of benchmarks that an earlier run left in a folder."""
    caption = "Measured by tox -e bench on one machine, apart from the cells; benchmarks.md has the tables."
    for name, title in _GROWTH.items():
        stem = f"benchmarks_{name}"
        if (folder / f"{stem}.svg").is_file():
            forms = [form for form in ("png", "svg", "pdf", "csv") if (folder / f"{stem}.{form}").is_file()]
            yield "growth", Group(title, (_shown(stem, title, caption, forms, folder),))


def ordered(tables: Iterable[Table], *, said: Iterable[str]) -> list[Table]:
    """Return the tables in the order of the page, without leads that the top of the page has `said`."""
    leads, ranks = set(said), {name: place for place, name in enumerate(_FIRST)}
    shown = (
        replace(table, title=_TITLES.get(table.name, table.title), lead="" if table.lead in leads else table.lead)
        for table in tables
    )
    return sorted(shown, key=lambda table: ranks.get(table.name, len(ranks)))


def render_page(page: Page, path: Path) -> None:
    """Write the page into a file."""
    path.write_text(environment().get_template("page.html").render(page=page), encoding="utf-8")
