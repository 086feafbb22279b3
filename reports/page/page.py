"""`index.html`: the whole report on one page, from the tables, pictures, images and cards that were made."""

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

_LARGEST = 5_000_000
"""Bytes of the page up to which pictures stand in it."""

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
    """A picture as it stands on the page: its words, the path of what is shown, and its files beside the page by form."""

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
    each thing that is not on it, for want of results or because it could not be read. `notes`: a line for each record that
    counts, but lies under another name or in several folders.
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
        parts = [("the-answer", "The answer"), *((table.name, table.title) for table in self.tables)]
        parts += [(f"section-{section}", title) for section, title in self.sections]
        more = (
            ("images", "The distilled images", self.images),
            ("cells", "The cells", self.decks),
            ("not-shown", "Not shown", self.left_out),
            ("counted-once", "Counted once", self.notes),
        )
        parts += [(anchor, title) for anchor, title, members in more if members]
        return [*parts, ("files", "Files")]

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


def groups(pictures: Iterable[Picture], charts: Sequence[Chart], grown: Path) -> list[tuple[str, Group]]:
    """Return the figures of the page with their sections.

    Args:
        pictures: those that were written, the pictures of one figure after one another.
        charts: what is interactive.
        grown: where the figures of benchmarks lie, if there are any.

    """
    members: dict[str, list[Picture]] = {}
    for picture in pictures:
        members.setdefault(picture.figure.name, []).append(picture)
    made = []
    for name, own in members.items():
        figure = own[0].figure
        titles = [figure.title if one.title == figure.title else f"{figure.title}: {one.title}" for one in own]
        shown = (_shown(one.stem, title, figure.caption, one.formats) for one, title in zip(own, titles, strict=True))
        interactive = tuple(chart for chart in charts if chart.name == name)
        made.append((str(figure.section), Group(figure.title, tuple(shown), interactive)))
    return [*made, *_benchmarks(grown)]


def _shown(stem: str, title: str, caption: str, forms: Iterable[str]) -> Shown:
    """Return a picture as it stands on the page.

    Args:
        stem: the name of its files.
        title: of the picture.
        caption: of its figure.
        forms: in which it is written.

    """
    return Shown(stem, title, caption, f"figures/{stem}.svg", tuple((form, f"figures/{stem}.{form}") for form in forms))


def _benchmarks(folder: Path) -> Iterator[tuple[str, Group]]:
    """Yield the figures of benchmarks that an earlier run left in a folder."""
    caption = "Measured by tox -e bench on one machine, apart from the cells; benchmarks.md has the tables."
    for name, title in _GROWTH.items():
        stem = f"benchmarks_{name}"
        if (folder / f"{stem}.svg").is_file():
            forms = [form for form in ("png", "svg", "pdf", "csv") if (folder / f"{stem}.{form}").is_file()]
            yield "growth", Group(title, (_shown(stem, title, caption, forms),))


def ordered(tables: Iterable[Table], *, said: Iterable[str]) -> list[Table]:
    """Return the tables in the order of the page, without leads that the top of the page has `said`."""
    leads, ranks = set(said), {name: place for place, name in enumerate(_FIRST)}
    shown = (
        replace(table, title=_TITLES.get(table.name, table.title), lead="" if table.lead in leads else table.lead)
        for table in tables
    )
    return sorted(shown, key=lambda table: ranks.get(table.name, len(ranks)))


def render_page(page: Page, path: Path, earlier: Path) -> None:
    """Write the page into a file.

    Args:
        page: what stands on it.
        path: the file.
        earlier: the folder of an earlier report, for pictures that are not beside the file yet.

    """
    text = environment().get_template("page.html").render(page=page)
    path.write_text(_with_pictures(text, (path.parent, earlier)), encoding="utf-8")


def _with_pictures(text: str, folders: Sequence[Path]) -> str:
    """Return a page with its pictures in it, in its order, while it stays within `_LARGEST`; further ones stay links.

    Args:
        text: the page, with the paths of its pictures.
        folders: where these lie.

    """
    room = _LARGEST - len(text.encode())

    def source(match: re.Match[str]) -> str:
        nonlocal room
        file = next(path for folder in folders if (path := folder / match[0]).is_file())
        head = f"data:{_TYPES[file.suffix]};base64,"
        added = len(head) + 4 * math.ceil(file.stat().st_size / 3) - len(match[0])
        if added > room:
            return match[0]
        room -= added
        return head + base64.b64encode(file.read_bytes()).decode()

    return _PICTURE.sub(source, text)
