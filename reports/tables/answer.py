"""Which loss is best on each dataset and IPC, by how much, how sure that is, and what it costs."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator

from reports.frames.names import Names, protocol_fields, run_precision
from reports.frames.results import Results
from reports.statistics.answer import Contest, answer, certainty, contests
from reports.tables.table import Row, Table, TableCell

_WORDS = (
    "Losses on features alone, over seeds and evaluation networks that all of a row have. Seconds of distilling are the mean "
    "over all seeds."
)


def answer_table(results: Results) -> Table | None:
    """Return one row for each dataset and IPC, or None where no loss was run."""
    held = contests(results)
    if not held:
        return None
    machines = dict.fromkeys(machine for contest in held for machine in contest.machines)
    return Table(
        name="answer",
        title="Which loss, at what cost?",
        label_heads=("Dataset", "IPC", "Best loss"),
        heads=("accuracy", "next", "points ahead", "how sure", "seconds", "fastest loss", "its seconds"),
        rows=tuple(_row(contest, results.names) for contest in held),
        lead=answer(results),
        caption=(
            f"{_WORDS} They are of {'; '.join(machines)}.",
            " ".join(_remarks(held, results)) or "They share everything else.",
        ),
    )


def _remarks(held: tuple[Contest, ...], results: Results) -> Iterator[str]:
    """Yield sentences: which losses are left out, and in what those of a row differ besides the loss and its own settings."""
    cells = results.cells
    for contest in held:
        columns = {tuple(standing.column) for standing in contest.standings}
        own = cells[(cells["dataset"] == contest.dataset) & (cells["ipc"] == contest.ipc)]
        values: dict[str, set[str]] = defaultdict(set)
        for digest, *column in own[["hash", "method", "variant"]].itertuples(index=False):
            if tuple(column) in columns:
                spec = results.by_hash[digest].spec
                precision = run_precision(spec)
                fields = {**protocol_fields(spec.protocol, precision=precision), "precision": precision}
                for name, value in fields.items():
                    values[name] |= {"that of the run" if value == "auto" else str(value)} if value is not None else set()
        differing = [f"{name} ({', '.join(sorted(some))})" for name, some in sorted(values.items()) if len(some) > 1]
        place = f"{results.names.dataset(contest.dataset)}, IPC {contest.ipc}"
        if contest.left_out:
            lacking = ", ".join(map(results.names.column, contest.left_out))
            yield f"On {place}, without {lacking}, for want of the same seeds and networks."
        for other, words in contest.other_protocol.items():
            yield f"On {place}, without {results.names.column(other)}, which has another protocol: {words}."
        if len(contest.machines) > 1:
            yield f"On {place}, seconds are of different machines or threads ({'; '.join(contest.machines)}) and not compared."
        if differing:
            yield f"On {place}, they also differ in {', '.join(differing)}."


def _row(contest: Contest, names: Names) -> Row:
    best, lead, fastest = contest.best, contest.lead, contest.fastest
    cells = (
        TableCell(value=best.accuracy),
        TableCell(text=names.column(lead.second) if lead else "none comparable" if len(contest.standings) > 1 else "no other"),
        TableCell(value=lead.difference if lead else None, digits=2),
        TableCell(text=certainty(lead) if lead else ""),
        TableCell(value=best.seconds),
        *(
            (TableCell(text=names.column(fastest.column)), TableCell(value=fastest.seconds))
            if len(contest.machines) == 1
            else (TableCell(text="not compared"), TableCell())
        ),
    )
    return Row.of((contest.dataset, contest.ipc, *best.column), names, cells)
