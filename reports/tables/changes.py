"""The table of what changed between two folders of results."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace

import pandas as pd

from bench.records.record import RunRecord
from reports.frames.names import Names
from reports.frames.results import Results
from reports.statistics.changes import Change, outcomes
from reports.statistics.comparisons import LEVEL
from reports.tables.captions import machines
from reports.tables.table import Row, Table, TableCell, number

_WORDS = (
    "Accuracy in percent, over the seeds and networks that both folders have; networks of a seed are subtracted one by one. "
    "Interval: 95 %, Student's t. p: paired t-test, after Holm's correction over all rows that were tested. Changed: p below "
    f"{LEVEL:g}. Observations are seeds; where there is a single one, its networks, and then interval and p are of these two "
    "distilled sets and say nothing of others. Time ratio: seconds an iteration in the second folder over those in the first. "
    "Cells of one folder alone stand last."
)
_COLUMNS = [
    *("dataset", "ipc", "method", "variant", "eval_network", "first", "second", "difference", "low", "high", "p", "p_holm"),
    *("outcome", "seeds", "networks", "only_first", "only_second", "speed", "settings"),
]


def changes_frame(made: Sequence[Change]) -> pd.DataFrame:
    """Return a row for each cell and architecture; seeds that one folder alone has are listed with blanks between them."""
    rows = [
        (
            *(one.dataset, one.ipc, *one.column, one.network, one.first, one.second),
            *(one.difference, one.low, one.high, one.p, one.p_holm, one.outcome, one.seeds, one.networks),
            *(" ".join(map(str, seeds)) for seeds in (one.only_first, one.only_second)),
            *(one.speed, one.settings),
        )
        for one in made
    ]
    return pd.DataFrame(rows, columns=_COLUMNS).astype({"ipc": "Int64", "first": "float64", "second": "float64"})


def changes_table(made: Sequence[Change], folders: Mapping[str, Results]) -> Table:
    """Return the table.

    Args:
        made: the cells.
        folders: the records of the first folder and of the second, by what the folders are called.

    """
    both = Results.of([record for held in folders.values() for record in held.records])
    first, second = folders
    notes = {note: number for number, note in enumerate(dict.fromkeys(one.settings for one in made if one.settings), start=1)}
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
        rows=tuple(_row(one, both.names, labels, notes) for one in sorted(made, key=lambda one: not one.seeds)),
        lead=outcomes(made, first, second),
        caption=(
            *(f"{place} folder: {name} ({_about(held, both)})." for place, (name, held) in _placed(folders)),
            _WORDS,
        ),
        notes=tuple(notes),
        text_columns=(0, 2, 3),
    )


def _placed(folders: Mapping[str, Results]) -> list[tuple[str, tuple[str, Results]]]:
    return list(zip(("First", "Second"), folders.items(), strict=True))


def _about(held: Results, both: Results) -> str:
    """Return how many records a folder has, by which code and on what they were made.

    Args:
        held: of the folder.
        both: of both folders: a commit of which their records have several sources is no name for a code.

    """
    sources: dict[str, set[str]] = defaultdict(set)
    for record in both.records:
        sources[_commit(record)].add(_sources(record))
    made = {(_commit(record), _sources(record)) for record in held.records}
    code = sorted({f"{commit} with sources {text}" if len(sources[commit]) > 1 else commit for commit, text in made})
    torch = sorted({record.versions.get("torch", "unknown") for record in held.records})
    return f"{len(held.records)} cells; code {', '.join(code)}; torch {', '.join(torch)}; {machines(held.records)}"


def _commit(record: RunRecord) -> str:
    return str(record.code.get("commit", "unknown"))


def _sources(record: RunRecord) -> str:
    """Return the hash of the code's files, which an edit changes before it is committed."""
    return str(record.code.get("sources", "unknown"))


def _seeds(seeds: Sequence[int]) -> str:
    return f"seed{'s' if len(seeds) > 1 else ''} {', '.join(map(str, seeds))}" if seeds else ""


def _row(one: Change, names: Names, labels: Mapping[str, str], notes: Mapping[str, int]) -> Row:
    """Return a row.

    Args:
        one: the cell.
        names: what datasets and methods are called.
        labels: what networks are called.
        notes: the numbers of footnotes.

    """
    tested = not math.isnan(one.p_holm)
    networks = f"{one.networks} network{'s' if one.networks > 1 else ''} of one seed" if one.seeds else ""
    counts = f"{one.seeds} seeds" if one.seeds > 1 else networks
    words = {"changed": "yes", "not distinguishable": "no", "one pair": "unknown", "only in one": ""}
    cells = (
        *(TableCell(value=value, digits=2) for value in (one.first, one.second)),
        TableCell(value=None if math.isnan(one.difference) else one.difference, digits=2, note=notes.get(one.settings)),
        TableCell(text=f"{number(one.low, 2)} to {number(one.high, 2)}" if tested else ""),
        TableCell(text=f"{one.p_holm:.2g}" if tested else ""),
        TableCell(text=words.get(one.outcome, one.outcome)),
        TableCell(text=counts),
        TableCell(value=one.speed, digits=2),
        *(TableCell(text=_seeds(seeds)) for seeds in (one.only_first, one.only_second)),
    )
    row = Row.of((one.dataset, one.ipc, *one.column), names, cells)
    return replace(row, labels=(*row.labels, labels[one.network]))
