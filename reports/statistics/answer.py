"""The answer to the report's question, from its records: which loss is best where, by how much, at what cost, and how sure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache

import pandas as pd

from reports.frames.names import Column, Names
from reports.frames.results import Results
from reports.statistics.comparisons import Comparison, losses_ranked
from reports.tables.captions import machines_by_column

_NAMED = 6
"""So many pairs of dataset and IPC, or losses, are named in a sentence; of more, the number is given."""

_DIGITS = (
    "Digits are 8 x 8 pixels and have no published values: they show that the suite works and what its losses cost, and say "
    "little of how the losses compare on real images."
)


@dataclass(frozen=True)
class Standing:
    """A loss on one dataset and IPC: mean accuracy, mean seconds of distilling, and the best loss's comparison with it.

    `machine`: what the seconds are of, in words; several machines with semicolons between.
    """

    column: Column
    accuracy: float
    seconds: float
    behind: Comparison | None
    machine: str


@dataclass(frozen=True)
class Contest:
    """The losses on one dataset and IPC, the best first.

    `left_out`: those that lack the same seeds and networks. `other_protocol`: those that have another protocol, and in what.
    """

    dataset: str
    ipc: int
    standings: tuple[Standing, ...]
    left_out: tuple[Column, ...] = ()
    other_protocol: Mapping[Column, str] = field(default_factory=dict)

    @property
    def best(self) -> Standing:
        """The loss with the highest mean accuracy."""
        return self.standings[0]

    @property
    def lead(self) -> Comparison | None:
        """The best loss compared with the next, or None where there is a single one."""
        return self.standings[1].behind if len(self.standings) > 1 else None

    @property
    def machines(self) -> tuple[str, ...]:
        """The machines on which the losses were distilled. Seconds of several are not compared."""
        return tuple(sorted({machine for standing in self.standings for machine in standing.machine.split("; ")}))

    @property
    def fastest(self) -> Standing:
        """The loss that took the least seconds."""
        return min(self.standings, key=lambda standing: standing.seconds)


@lru_cache(maxsize=8)
def contests(results: Results) -> tuple[Contest, ...]:
    """Return the losses of each dataset and IPC, as they rank over the same seeds and networks."""
    seconds = results.cells.groupby(["dataset", "ipc", "method", "variant"])["distilling_s"].mean()
    machines = machines_by_column(results)
    return tuple(
        Contest(
            *place,
            tuple(
                Standing(
                    *(column, accuracy, float(seconds[(*place, *column)])),
                    *(ranking.behind.get(column), machines[(*place, *column)]),
                )
                for column, accuracy in ranking.accuracies.items()
            ),
            ranking.left_out,
            ranking.other_protocol,
        )
        for place, ranking in losses_ranked(results).items()
    )


def answer(results: Results) -> str:
    """Return the answer in a few sentences."""
    held, names = contests(results), results.names
    open_contests = [contest for contest in held if contest.lead]
    if not held:
        text = "No loss on features was run here, so this report compares none."
    elif any(len(contest.standings) > 1 for contest in held) and not open_contests:
        text = "No two losses here have a seed and an evaluation network in common, so this report cannot compare them."
    elif not open_contests and any(contest.other_protocol for contest in held):
        text = "No two losses here have the same protocol, so this report cannot compare them."
    elif not open_contests:
        single = held[0]
        text = (
            f"One loss was run, so there is nothing to compare it with: {names.column(single.best.column)} reaches "
            f"{single.best.accuracy:.1f} % on {_place(single, names)}."
        )
    elif len(open_contests) == 1:
        text = _one(open_contests[0], names)
    else:
        text = _many(open_contests, names)
    text = " ".join((text, *_other_protocols(held, names)))
    return f"{text} {_DIGITS}" if {record.spec.dataset for record in results.records} == {"digits"} else text


def _place(contest: Contest, names: Names) -> str:
    return f"{names.dataset(contest.dataset)} at IPC {contest.ipc}"


def _other_protocols(held: Sequence[Contest], names: Names) -> Sequence[str]:
    """Return a sentence for each loss that is not compared, because it has another protocol; of many, one with their number."""
    sentences = [
        f"On {_place(contest, names)}, {names.column(column)} is not compared, for another protocol: {words}."
        for contest in held
        for column, words in contest.other_protocol.items()
    ]
    if len(sentences) <= _NAMED:
        return sentences
    return [f"{len(sentences)} results of losses are not compared, for another protocol: the words above the table name them."]


def certainty(lead: Comparison) -> str:
    """Return in words how sure a lead is."""
    if lead.outcome == "one seed":
        return "one seed gives no interval, so it may be chance"
    interval = f"95 % interval {lead.low:.2f} to {lead.high:.2f}, p = {lead.p_holm:.2g} after Holm's correction"
    if lead.outcome == "better":
        return interval
    more = f"; about {lead.more_seeds} more seeds would settle it" if lead.more_seeds else ""
    return f"not distinguishable over {lead.seeds} seeds: {interval}{more}"


def _one(contest: Contest, names: Names) -> str:
    best, lead, fastest = contest.best, contest.lead, contest.fastest
    assert lead is not None
    ahead = f"{lead.difference:.1f} points above" if lead.difference else "as high as that of"
    text = (
        f"On {_place(contest, names)}, {names.column(best.column)} has the highest accuracy of {len(contest.standings)} "
        f"losses, {best.accuracy:.1f} %: {ahead} {names.column(lead.second)} ({certainty(lead)}). "
    )
    if len(contest.machines) > 1:
        return text + (
            f"It takes {best.seconds:.0f} s of distilling ({best.machine}). The losses were not all distilled on one machine "
            "with as many threads, so their seconds are not compared."
        )
    if fastest is best:
        text += f"It is also the fastest, with {best.seconds:.0f} s of distilling"
    else:
        text += f"It takes {best.seconds:.0f} s of distilling, {_times(best, fastest)} times what the fastest takes, "
        text += names.column(fastest.column)
    return f"{text} ({best.machine})."


def _many(held: Sequence[Contest], names: Names) -> str:
    leads = [contest.lead for contest in held if contest.lead]
    wins = Counter(contest.best.column for contest in held)
    first = wins.most_common(1)[0][0]
    won = _listed([_won(column, held, names) for column, _ in wins.most_common()])
    gaps = sorted(lead.difference for lead in leads)
    alone = sum(lead.outcome == "one seed" for lead in leads)
    text = (
        f"Of {len(held)} pairs of dataset and IPC, the highest accuracy is that of {won}: {gaps[0]:.1f} to {gaps[-1]:.1f} "
        f"points above the next loss. {_sure(held, names)}"
    )
    text += f"; {alone} {'has' if alone == 1 else 'have'} one seed, which gives no interval. " if alone else ". "
    return text + _cost(first, held, names)


def _cost(first: Column, held: Sequence[Contest], names: Names) -> str:
    """Return how many times the seconds of the fastest loss the loss that wins most takes, where it is best.

    Args:
        first: the loss.
        held: the contests.
        names: what is printed.

    """
    fair = [contest for contest in held if len(contest.machines) == 1]
    ratios = sorted(contest.best.seconds / contest.fastest.seconds for contest in fair if contest.best.column == first)
    left_out = (
        ""
        if len(fair) == len(held)
        else ("Seconds are not compared where losses were not all distilled on one machine with as many threads.")
    )
    if not ratios:
        return left_out
    where = f"Where {names.column(first)} is best, "
    if f"{ratios[-1]:.1f}" == "1.0":
        text = f"{where}it is the fastest loss, too, or as fast"
    else:
        spread = f"{ratios[0]:.1f}" if f"{ratios[0]:.1f}" == f"{ratios[-1]:.1f}" else f"{ratios[0]:.1f} to {ratios[-1]:.1f}"
        text = f"{where}distilling with it takes {spread} times the seconds of the fastest loss"
    machines = sorted({contest.machines[0] for contest in fair if contest.best.column == first})
    return f"{text} ({'; '.join(machines)}). {left_out}".rstrip()


def _won(column: Column, held: Sequence[Contest], names: Names) -> str:
    """Return in how many contests a loss is best, and in which ones where they are few.

    Args:
        column: the loss.
        held: the contests.
        names: what is printed.

    """
    places = [f"{names.dataset(one.dataset)} IPC {one.ipc}" for one in held if one.best.column == column]
    named = f" ({', '.join(places)})" if len(held) <= _NAMED else ""
    return f"{names.column(column)} in {len(places)}{named}"


def _sure(held: Sequence[Contest], names: Names) -> str:
    """Return in how many contests the best loss is surely ahead, and by how much where they are few."""
    sure = [(one, one.lead) for one in held if one.lead and one.lead.outcome == "better"]
    if not sure:
        return "The lead is significant in none of them"
    named = [f"{names.dataset(one.dataset)} IPC {one.ipc}: by {lead.low:.1f} to {lead.high:.1f}" for one, lead in sure]
    shown = f" ({', '.join(named)})" if len(held) <= _NAMED else ""
    return f"The lead is significant in {len(sure)} of them{shown}"


def _listed(words: Sequence[str]) -> str:
    return " and ".join(filter(None, (", ".join(words[:-1]), words[-1])))


def _times(one: Standing, other: Standing) -> str:
    return f"{one.seconds / other.seconds:.1f}" if other.seconds else "many"


def answer_frame(results: Results) -> pd.DataFrame:
    """Return one row a loss of each dataset and IPC: how far it is behind the best, with the interval, and its seconds."""
    rows = []
    for contest in contests(results):
        for standing in contest.standings:
            pair = standing.behind
            behind = 0.0 if standing is contest.best and contest.lead else None  # without a lead nothing was compared
            numbers = (pair.difference, pair.low, pair.high, pair.p_holm, pair.seeds) if pair else (behind, *[None] * 4)
            place = contest.dataset, contest.ipc, *standing.column
            rows.append((*place, standing.accuracy, standing.seconds, *numbers))
    columns = [
        "dataset",
        "ipc",
        "method",
        "variant",
        "accuracy",
        "distilling_s",
        "behind_best",
        "low",
        "high",
        "p_holm",
        "seeds",
    ]
    frame = pd.DataFrame(rows, columns=columns)
    return frame.astype(dict.fromkeys(columns[4:10], "float64") | {"seeds": "Int64"})
