"""The tables of the report. A new one is a function that returns a `Table`, or None without records for it, and a line."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import pandas as pd

from reports.frames.results import Results
from reports.statistics.answer import answer_frame
from reports.tables.answer import answer_table
from reports.tables.comparisons import best_table, comparisons_frame, comparisons_table, variance_table
from reports.tables.dd_ranking import dd_ranking_frame, dd_ranking_table
from reports.tables.rates import rates_frame, rates_table
from reports.tables.reached import reached_frame, reached_table
from reports.tables.table import Format, Table
from reports.tables.table1 import table1_table
from reports.tables.table2 import table2_frame, table2_table
from reports.tables.timing import timing_frame, timing_table
from reports.tables.transfer import has_transfer, transfer_frame, transfer_table


@dataclass(frozen=True)
class Entry:
    """A table: how it is made, the frame of its CSV (None: it has none of its own), and whether the page shows it."""

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
    Entry("rates", rates_table, rates_frame),
    Entry("reached", reached_table, reached_frame),
    Entry("dd_ranking", dd_ranking_table, dd_ranking_frame),
    Entry("timing", timing_table, timing_frame),
)
"""In the order in which the page shows them."""

FORMATS: Sequence[Format] = ("md", "tex")
"""The formats that are written beside the page."""
