"""`index.html`: the whole report on one page, from the tables and pictures that were made."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from reports.figures.figure import Picture, Section
from reports.tables.table import Table, environment

_SECTIONS: dict[Section, str] = {
    "accuracy": "Accuracy",
    "rates": "The rate of the step",
    "cost": "Accuracy and time",
    "networks": "Other networks",
}
"""The headings of figures below the tables; the section `answer` stands at the top."""


@dataclass(frozen=True)
class Page:
    """What stands on the page: the answer, how much reproduces, the tables, and the pictures of figures and of images.

    `cells` is how many records there are, `files` the raw data beside the page.
    """

    answer: str
    summary: str
    cells: int
    files: Sequence[str]
    tables: Sequence[Table]
    pictures: Sequence[Picture]
    images: Sequence[str]

    @property
    def sections(self) -> list[tuple[Section, str]]:
        """The sections that have a picture, and their headings."""
        used = {picture.figure.section for picture in self.pictures}
        return [(section, title) for section, title in _SECTIONS.items() if section in used]


def render_page(page: Page, path: Path) -> None:
    """Write the page into a file."""
    path.write_text(environment().get_template("page.html").render(page=page), encoding="utf-8")
