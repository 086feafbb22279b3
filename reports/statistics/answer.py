"""The answer to the report's question: which loss is best on which data, by how much, at what cost, and how sure that is."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache

import pandas as pd

from reports.frames.machines import machines_by_column
from reports.frames.names import CELL, CellKey, Column, Names
from reports.frames.results import Results
from reports.statistics.comparisons import Comparison, losses_ranked

_MOST_NAMED = 6
"""Pairs of dataset and IPC, or losses, are named in a sentence up to this number; if there are more, the number is given."""

_DIGITS = (
    "Digits are 8 x 8 pixels and have no published values: they show that the suite works and what its losses cost, and say "
    "little of how the losses compare on real images."
)


@dataclass(frozen=True)
class Entry:
    """A loss on one dataset and IPC.

    Attributes:
        column: the loss.
        accuracy: its mean, in percent.
        seconds: of distilling, the mean.
        machines: the processors or GPUs that the seconds are of.
        behind: the comparison of the best loss with this one; None for the best itself.

    """

    column: Column
    accuracy: float
    seconds: float
    machines: tuple[str, ...]
    behind: Comparison | None


@dataclass(frozen=True)
class Leaderboard:
    """The losses on one dataset and IPC, the best first.

    `left_out`: those that lack the same seeds and networks. `other_protocol`: those that have another protocol, and in what.
    """

    dataset: str
    ipc: int
    entries: tuple[Entry, ...]
    left_out: tuple[Column, ...] = ()
    other_protocol: Mapping[Column, str] = field(default_factory=dict)

    @property
    def best(self) -> Entry:
        """The loss with the highest mean accuracy."""
        return self.entries[0]

    @property
    def lead(self) -> Comparison | None:
        """The best loss compared with the next, or None if there is a single one."""
        return self.entries[1].behind if len(self.entries) > 1 else None

    @property
    def machines(self) -> tuple[str, ...]:
        """The machines on which the losses were distilled. Seconds of several are not compared."""
        return tuple(sorted({machine for entry in self.entries for machine in entry.machines}))

    @property
    def fastest(self) -> Entry:
        """The loss that took the least seconds."""
        return min(self.entries, key=lambda entry: entry.seconds)

    def label(self, names: Names) -> str:
        """Return what is printed for dataset and IPC."""
        return f"{names.dataset(self.dataset)} IPC {self.ipc}"


@lru_cache(maxsize=8)
def leaderboards(results: Results) -> tuple[Leaderboard, ...]:
    """Return the losses of each dataset and IPC, as they rank over the same seeds and networks."""
    seconds = results.cells.groupby(CELL)["distilling_s"].mean()
    machines = machines_by_column(results.cells)
    return tuple(
        Leaderboard(
            *row,
            tuple(
                Entry(column, accuracy, float(seconds[key]), machines[key], ranking.behind.get(column))
                for column, accuracy in ranking.accuracies.items()
                for key in (CellKey(*row, *column),)
            ),
            ranking.left_out,
            ranking.other_protocol,
        )
        for row, ranking in losses_ranked(results).items()
    )


def answer(results: Results) -> str:
    """Return the answer in a few sentences."""
    boards, names = leaderboards(results), results.names
    compared = [board for board in boards if board.lead]
    if not boards:
        first = "No loss on features was run here, so this report compares none."
    elif any(len(board.entries) > 1 for board in boards) and not compared:
        first = "No two losses here have a seed and an evaluation network in common, so this report cannot compare them."
    elif not compared and any(board.other_protocol for board in boards):
        first = "No two losses here have the same protocol, so this report cannot compare them."
    elif not compared:
        single = boards[0]
        first = (
            f"One loss was run, so there is nothing to compare it with: {names.column(single.best.column)} reaches "
            f"{single.best.accuracy:.1f} % on {_data(single, names)}."
        )
    elif len(compared) == 1:
        first = _of_one_board(compared[0], names)
    else:
        first = _of_many_boards(compared, names)
    sentences = " ".join((first, *_other_protocols(boards, names)))
    return f"{sentences} {_DIGITS}" if {record.spec.dataset for record in results.records} == {"digits"} else sentences


def _data(board: Leaderboard, names: Names) -> str:
    return f"{names.dataset(board.dataset)} at IPC {board.ipc}"


def _other_protocols(boards: Sequence[Leaderboard], names: Names) -> Sequence[str]:
    """Return a sentence for each loss that is not compared, because it has another protocol; of many, one with their number."""
    sentences = [
        f"On {_data(board, names)}, {names.column(column)} is not compared, for another protocol: {reason}."
        for board in boards
        for column, reason in board.other_protocol.items()
    ]
    if len(sentences) <= _MOST_NAMED:
        return sentences
    return [f"{len(sentences)} results of losses are not compared, for another protocol: the words above the table name them."]


def confidence(lead: Comparison) -> str:
    """Return in words how sure a lead is."""
    if lead.outcome == "one seed":
        return "one seed gives no interval, so it may be chance"
    interval = f"95 % interval {lead.low:.2f} to {lead.high:.2f}, p = {lead.p_holm:.2g} after Holm's correction"
    if lead.outcome == "better":
        return interval
    more = f"; about {lead.more_seeds} more seeds would settle it" if lead.more_seeds else ""
    return f"not distinguishable over {lead.seeds} seeds: {interval}{more}"


def _of_one_board(board: Leaderboard, names: Names) -> str:
    best, lead, fastest = board.best, board.lead, board.fastest
    assert lead is not None
    ahead = f"{lead.difference:.1f} points above" if lead.difference else "as high as that of"
    accuracy = (
        f"On {_data(board, names)}, {names.column(best.column)} has the highest accuracy of {len(board.entries)} "
        f"losses, {best.accuracy:.1f} %: {ahead} {names.column(lead.second)} ({confidence(lead)})."
    )
    machine = "; ".join(best.machines)
    if len(board.machines) > 1:
        return (
            f"{accuracy} It takes {best.seconds:.0f} s of distilling ({machine}). The losses were not all distilled on one "
            "machine with as many threads, so their seconds are not compared."
        )
    if fastest is best:
        cost = f"It is also the fastest, with {best.seconds:.0f} s of distilling"
    else:
        ratio = f"{best.seconds / fastest.seconds:.1f}" if fastest.seconds else "many"
        cost = f"It takes {best.seconds:.0f} s of distilling, {ratio} times what the fastest takes, "
        cost += names.column(fastest.column)
    return f"{accuracy} {cost} ({machine})."


def _of_many_boards(boards: Sequence[Leaderboard], names: Names) -> str:
    leads = [board.lead for board in boards if board.lead]
    wins = Counter(board.best.column for board in boards)
    first = wins.most_common(1)[0][0]
    won = _listed([_won(column, boards, names) for column, _ in wins.most_common()])
    gaps = sorted(lead.difference for lead in leads)
    alone = sum(lead.outcome == "one seed" for lead in leads)
    sentence = (
        f"Of {len(boards)} pairs of dataset and IPC, the highest accuracy is that of {won}: {gaps[0]:.1f} to {gaps[-1]:.1f} "
        f"points above the next loss. {_significant(boards, names)}"
    )
    sentence += f"; {alone} {'has' if alone == 1 else 'have'} one seed, which gives no interval. " if alone else ". "
    return sentence + _cost(first, boards, names)


def _cost(first: Column, boards: Sequence[Leaderboard], names: Names) -> str:
    """Return how many times the seconds of the fastest loss the loss with the most wins takes, on the data on which it is best.

    Args:
        first: the loss.
        boards: the leaderboards.
        names: what is printed.

    """
    fair = [board for board in boards if len(board.machines) == 1]
    ratios = sorted(board.best.seconds / board.fastest.seconds for board in fair if board.best.column == first)
    left_out = (
        ""
        if len(fair) == len(boards)
        else ("Seconds are not compared where losses were not all distilled on one machine with as many threads.")
    )
    if not ratios:
        return left_out
    condition = f"Where {names.column(first)} is best, "
    if f"{ratios[-1]:.1f}" == "1.0":
        cost = f"{condition}it is the fastest loss, too, or as fast"
    else:
        spread = f"{ratios[0]:.1f}" if f"{ratios[0]:.1f}" == f"{ratios[-1]:.1f}" else f"{ratios[0]:.1f} to {ratios[-1]:.1f}"
        cost = f"{condition}distilling with it takes {spread} times the seconds of the fastest loss"
    machines = sorted({board.machines[0] for board in fair if board.best.column == first})
    return f"{cost} ({'; '.join(machines)}). {left_out}".rstrip()


def _won(column: Column, boards: Sequence[Leaderboard], names: Names) -> str:
    """Return on how many leaderboards a loss is best, and on which ones if there are few.

    Args:
        column: the loss.
        boards: the leaderboards.
        names: what is printed.

    """
    won = [board.label(names) for board in boards if board.best.column == column]
    named = f" ({', '.join(won)})" if len(boards) <= _MOST_NAMED else ""
    return f"{names.column(column)} in {len(won)}{named}"


def _significant(boards: Sequence[Leaderboard], names: Names) -> str:
    """Return on how many leaderboards the lead is significant, and how large it is if there are few."""
    leads = [(board.label(names), board.lead) for board in boards if board.lead and board.lead.outcome == "better"]
    if not leads:
        return "The lead is significant in none of them"
    named = [f"{label}: by {lead.low:.1f} to {lead.high:.1f}" for label, lead in leads]
    shown = f" ({', '.join(named)})" if len(boards) <= _MOST_NAMED else ""
    return f"The lead is significant in {len(leads)} of them{shown}"


def _listed(nouns: Sequence[str]) -> str:
    return " and ".join(filter(None, (", ".join(nouns[:-1]), nouns[-1])))


def answer_frame(results: Results) -> pd.DataFrame:
    """Return a row for each loss of each dataset and IPC: how far it is behind the best, with the interval, and its seconds."""
    rows = []
    for board in leaderboards(results):
        for entry in board.entries:
            pair = entry.behind
            behind = 0.0 if entry is board.best and board.lead else None  # without a lead nothing was compared
            lead = (pair.difference, pair.low, pair.high, pair.p_holm, pair.seeds) if pair else (behind, *[None] * 4)
            rows.append((board.dataset, board.ipc, *entry.column, entry.accuracy, entry.seconds, *lead))
    numbers = ["accuracy", "distilling_s", "behind_best", "low", "high", "p_holm"]
    frame = pd.DataFrame(rows, columns=[*CELL, *numbers, "seeds"])
    return frame.astype(dict.fromkeys(numbers, "float64") | {"seeds": "Int64"})
