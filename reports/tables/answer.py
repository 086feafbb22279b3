"""Which loss is best on each dataset and IPC, by how much, how sure that is, and what it costs."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence

from reports.frames.names import Names, columns_of
from reports.frames.results import Results
from reports.frames.variants import protocol_fields, run_precision
from reports.statistics.answer import Leaderboard, answer, confidence, leaderboards
from reports.tables.table import Row, Table, TableCell

_CAPTION = (
    "Losses on features alone, over seeds and evaluation networks that all of a row have. Seconds of distilling are the mean "
    "over all seeds."
)


def answer_table(results: Results) -> Table | None:
    """Return one row for each dataset and IPC, or None if no loss was run."""
    boards = leaderboards(results)
    if not boards:
        return None
    machines = dict.fromkeys(machine for board in boards for machine in board.machines)
    return Table(
        name="answer",
        title="Which loss, at what cost?",
        label_heads=("Dataset", "IPC", "Best loss"),
        heads=("accuracy", "next", "points ahead", "how sure", "seconds", "fastest loss", "its seconds"),
        rows=tuple(_row(board, results.names) for board in boards),
        lead=answer(results),
        caption=(
            f"{_CAPTION} They are of {'; '.join(machines)}.",
            " ".join(_remarks(boards, results)) or "They share everything else.",
        ),
    )


def _remarks(boards: Sequence[Leaderboard], results: Results) -> Iterator[str]:
    """Yield sentences: which losses are left out, and in what those of a row differ besides the loss and its own settings."""
    for board in boards:
        data = f"{results.names.dataset(board.dataset)}, IPC {board.ipc}"
        differing = _differing(board, results)
        if board.left_out:
            lacking = ", ".join(map(results.names.column, board.left_out))
            yield f"On {data}, without {lacking}, for lack of the same seeds and networks."
        for column, reason in board.other_protocol.items():
            yield f"On {data}, without {results.names.column(column)}, which has another protocol: {reason}."
        if len(board.machines) > 1:
            yield f"On {data}, seconds are of different machines or threads ({'; '.join(board.machines)}) and not compared."
        if differing:
            yield f"On {data}, they also differ in {', '.join(differing)}."


def _differing(board: Leaderboard, results: Results) -> list[str]:
    """Return the fields of the protocol in which the losses of a row differ, with their values."""
    columns, cells = {entry.column for entry in board.entries}, results.cells
    row = cells[(cells["dataset"] == board.dataset) & (cells["ipc"] == board.ipc)]
    values: dict[str, set[str]] = defaultdict(set)
    for digest, column in zip(row["hash"], columns_of(row), strict=True):
        if column in columns:
            spec = results.by_hash[digest].spec
            precision = run_precision(spec)
            fields = {**protocol_fields(spec.protocol, precision=precision), "precision": precision}
            for name, value in fields.items():
                values[name] |= {"that of the run" if value == "auto" else str(value)} if value is not None else set()
    return [f"{name} ({', '.join(sorted(of))})" for name, of in sorted(values.items()) if len(of) > 1]


def _row(board: Leaderboard, names: Names) -> Row:
    best, lead, fastest = board.best, board.lead, board.fastest
    cells = (
        TableCell(value=best.accuracy),
        TableCell(label=names.column(lead.second) if lead else "none comparable" if len(board.entries) > 1 else "no other"),
        TableCell(value=lead.difference if lead else None, digits=2),
        TableCell(label=confidence(lead) if lead else ""),
        TableCell(value=best.seconds),
        *(
            (TableCell(label=names.column(fastest.column)), TableCell(value=fastest.seconds))
            if len(board.machines) == 1
            else (TableCell(label="not compared"), TableCell())
        ),
    )
    return Row.of((board.dataset, board.ipc, *best.column), names, cells)
