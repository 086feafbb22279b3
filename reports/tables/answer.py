"""Which loss is best on each dataset and IPC, by how much, how sure that is, and what it costs."""

from __future__ import annotations

from reports.answer import Contest, answer, certainty, contests
from reports.names import Names
from reports.results import Results
from reports.tables.table import Row, Table, TableCell


def answer_table(results: Results) -> Table | None:
    """Return one row for each dataset and IPC, or None where no loss was run."""
    held = contests(results)
    if not held:
        return None
    return Table(
        name="answer",
        title="Which loss, at what cost?",
        label_heads=("Dataset", "IPC", "Best loss"),
        heads=("accuracy", "next", "points ahead", "how sure", "seconds", "fastest loss", "its seconds"),
        rows=tuple(_row(contest, results.names) for contest in held),
        lead=answer(results),
        caption=("Among losses on features alone, which share everything else. Seconds of distilling, mean over seeds.",),
    )


def _row(contest: Contest, names: Names) -> Row:
    best, lead, fastest = contest.best, contest.lead, contest.fastest
    cells = (
        TableCell(value=best.accuracy),
        TableCell(text=names.column(lead.second) if lead else "no other"),
        TableCell(value=lead.difference if lead else None, digits=2),
        TableCell(text=certainty(lead) if lead else ""),
        TableCell(value=best.seconds),
        TableCell(text=names.column(fastest.column)),
        TableCell(value=fastest.seconds),
    )
    return Row.of((contest.dataset, contest.ipc, *best.column), names, cells)
