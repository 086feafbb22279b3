"""The table of what changed between two folders of results."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace

import pandas as pd

from bench.records.record import RunRecord
from reports.frames.machines import machines
from reports.frames.metrics import metric_label
from reports.frames.names import CELL, Names
from reports.frames.results import Results
from reports.statistics.changes import Change, outcomes
from reports.statistics.comparisons import LEVEL
from reports.tables.table import Row, Table, TableCell, number

_CAPTION = (
    f"{metric_label().capitalize()}, over the seeds and networks that both folders have; networks of a seed are subtracted one "
    "by one. Interval: 95 %, Student's t. p: paired t-test, after Holm's correction over all rows that were tested. Changed: p "
    f"below {LEVEL:g}. Observations are seeds; if there is a single one, its networks, and then interval and p are of these "
    "two distilled sets and say nothing of others. Time ratio: seconds an iteration in the second folder over those in the "
    "first. Cells of one folder alone are last."
)
_COLUMNS = [
    *CELL,
    *("eval_network", "first", "second", "difference", "low", "high", "p", "p_holm"),
    *("outcome", "seeds", "networks", "only_first", "only_second", "speed", "settings"),
]


def changes_frame(made: Sequence[Change]) -> pd.DataFrame:
    """Return a row for each cell and architecture; seeds that one folder alone has are listed with blanks between them."""
    rows = [
        (
            *(change.dataset, change.ipc, *change.column, change.network, change.first, change.second),
            *(change.difference, change.low, change.high, change.p, change.p_holm),
            *(change.outcome, change.seeds, change.networks),
            *(" ".join(map(str, seeds)) for seeds in (change.only_first, change.only_second)),
            *(change.speed, change.settings),
        )
        for change in made
    ]
    return pd.DataFrame(rows, columns=_COLUMNS).astype({"ipc": "Int64", "first": "float64", "second": "float64"})


def changes_table(made: Sequence[Change], folders: Mapping[str, Results]) -> Table:
    """Return the table.

    Args:
        made: the cells.
        folders: the records of the first folder and of the second, by what the folders are called.

    """
    both = Results.of([record for results in folders.values() for record in results.records])
    first, second = folders
    settings = dict.fromkeys(change.settings for change in made if change.settings)
    notes = {note: number for number, note in enumerate(settings, start=1)}
    labels = {
        evaluation.network: evaluation.facts.label for record in both.records for evaluation in record.evaluations
    }  # of several datasets the last one's: what it was resized to may differ
    return Table(
        name="changes",
        title="What changed",
        label_heads=("Dataset", "IPC", "Method", "Network"),
        heads=(
            *("first", "second", "difference", "95 % interval", "p", "changed", "observations", "time ratio"),
            *("only in first", "only in second"),
        ),
        rows=tuple(_row(change, both.names, labels, notes) for change in sorted(made, key=lambda change: not change.seeds)),
        lead=outcomes(made, first, second),
        caption=(
            f"First folder: {first} ({_about(folders[first], both)}).",
            f"Second folder: {second} ({_about(folders[second], both)}).",
            _CAPTION,
        ),
        notes=tuple(notes),
        text_columns=(0, 2, 3),
    )


def _about(results: Results, both: Results) -> str:
    """Return the number of records of a folder, and by which code and on what they were made.

    Args:
        results: of the folder.
        both: of both folders: if their records of a commit have several sources, the commit does not identify the code.

    """
    sources: dict[str, set[str]] = defaultdict(set)
    for record in both.records:
        sources[_commit(record)].add(_sources(record))
    made = {(_commit(record), _sources(record)) for record in results.records}
    code = sorted({f"{commit} with sources {digest}" if len(sources[commit]) > 1 else commit for commit, digest in made})
    torch = sorted({record.versions.get("torch", "unknown") for record in results.records})
    return f"{len(results.records)} cells; code {', '.join(code)}; torch {', '.join(torch)}; {machines(results.records)}"


def _commit(record: RunRecord) -> str:
    return str(record.code.get("commit", "unknown"))


def _sources(record: RunRecord) -> str:
    """Return the hash of the code's files, which an edit changes before it is committed."""
    return str(record.code.get("sources", "unknown"))


def _seeds(seeds: Sequence[int]) -> str:
    return f"seed{'s' if len(seeds) > 1 else ''} {', '.join(map(str, seeds))}" if seeds else ""


def _row(change: Change, names: Names, labels: Mapping[str, str], notes: Mapping[str, int]) -> Row:
    """Return a row.

    Args:
        change: the cell.
        names: what datasets and methods are called.
        labels: what networks are called.
        notes: the numbers of footnotes.

    """
    tested = not math.isnan(change.p_holm)
    networks = f"{change.networks} network{'s' if change.networks > 1 else ''} of one seed" if change.seeds else ""
    counts = f"{change.seeds} seeds" if change.seeds > 1 else networks
    answers = {"changed": "yes", "not distinguishable": "no", "one pair": "unknown", "only in one": ""}
    difference = None if math.isnan(change.difference) else change.difference
    cells = (
        *(TableCell(value=value, digits=2) for value in (change.first, change.second)),
        TableCell(value=difference, digits=2, note=notes.get(change.settings)),
        TableCell(label=f"{number(change.low, 2)} to {number(change.high, 2)}" if tested else ""),
        TableCell(label=f"{change.p_holm:.2g}" if tested else ""),
        TableCell(label=answers.get(change.outcome, change.outcome)),
        TableCell(label=counts),
        TableCell(value=change.speed, digits=2),
        *(TableCell(label=_seeds(seeds)) for seeds in (change.only_first, change.only_second)),
    )
    row = Row.of((change.dataset, change.ipc, *change.column), names, cells)
    return replace(row, labels=(*row.labels, labels[change.network]))
