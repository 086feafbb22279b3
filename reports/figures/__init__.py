"""The figures of the report: every file of this folder with a `FIGURE` is one; `docs/report.md` says how to add one.

`figure` says what a figure is, and writes its pictures; `style` has colours, panels, legends and axes. A figure is layout
alone: its numbers come from `reports.statistics`. Imports `reports.frames`, `reports.statistics` and `reports.verdicts`, and of
`reports.tables` the writing of CSV and captions.
"""

from __future__ import annotations

import pkgutil
from collections.abc import Iterator
from importlib import import_module
from typing import get_args

from reports.figures.figure import Figure, Section


def figures() -> list[Figure]:
    """Return all figures, in the order of sections and of names."""
    order = get_args(Section)
    return sorted(_figures(), key=lambda figure: (order.index(figure.section), figure.name))


def _figures() -> Iterator[Figure]:
    for module in pkgutil.iter_modules(__path__):
        figure = getattr(import_module(f"{__name__}.{module.name}"), "FIGURE", None)
        if figure is not None:
            yield figure
