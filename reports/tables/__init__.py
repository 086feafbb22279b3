"""The tables of the report: their layout, and the registry `TABLES`.

A new table is a function that returns a `Table`, or None if the records have nothing for it, in a file of its own, and a line
in `TABLES`. `table` has the parts of a table, `formats` and `reports/templates` how one is written, `captions` what all of them
say. Imports `reports.frames`, `reports.statistics` and `reports.verdicts`, where the numbers are made, and records of `bench`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import pandas as pd

from reports.frames.results import Results
from reports.statistics.answer import answer_frame
from reports.statistics.dd_ranking import dd_ranking_frame
from reports.statistics.metrics import metrics_frame
from reports.statistics.rates import rates_frame
from reports.statistics.transfer import has_transfer, transfer_frame
from reports.tables.answer import answer_table
from reports.tables.comparisons import best_table, comparisons_frame, comparisons_table, variance_table
from reports.tables.dd_ranking import dd_ranking_table
from reports.tables.metrics import metrics_table
from reports.tables.rates import rates_table
from reports.tables.reached import reached_table
from reports.tables.table import Format, Table
from reports.tables.table1 import table1_table
from reports.tables.table2 import table2_frame, table2_table
from reports.tables.timing import timing_frame, timing_table
from reports.tables.transfer import transfer_table
from reports.verdicts.reached import reached_frame


@dataclass(frozen=True)
class Entry:
    """A table.

    Attributes:
        name: the name of its files.
        make: returns the table, or None if the records have nothing for it.
        frame: returns the frame of its CSV; None for a table without one.
        on_page: returns whether the page shows it.

    """

    name: str
    make: Callable[[Results], Table | None]
    frame: Callable[[Results], pd.DataFrame] | None = None
    on_page: Callable[[Results], bool] = lambda results: True


TABLES: Sequence[Entry] = (
    Entry("answer", answer_table, answer_frame),
    Entry("table2", table2_table, table2_frame),
    Entry("table1", table1_table),
    Entry("comparisons", comparisons_table, comparisons_frame),
    Entry("best", best_table),
    Entry("variance", variance_table),
    Entry("transfer", transfer_table, transfer_frame, on_page=has_transfer),
    Entry("metrics", metrics_table, metrics_frame),
    Entry("rates", rates_table, rates_frame),
    Entry("reached", reached_table, reached_frame),
    Entry("dd_ranking", dd_ranking_table, dd_ranking_frame),
    Entry("timing", timing_table, timing_frame),
)
"""In the order in which the page shows them."""

FORMATS: Sequence[Format] = ("md", "tex")
"""The formats that are written beside the page."""
