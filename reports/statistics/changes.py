"""What changed between two folders of results: the same cells, paired by seed and evaluation network.

Cells of two folders are the same if dataset, IPC, method and variant are. The variant is what distinguishes a cell from all
others of its method in both folders; if no cell of the other folder has that variant, it is what distinguishes the cell from
those of its own folder, so that cells whose settings were changed are compared. The settings that differ are in the outcome.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, cast

import pandas as pd

from bench.cells.spec import RunSpec
from reports.frames.names import CELL, Column, dataset_rank
from reports.frames.results import Results
from reports.frames.variants import flat_settings, real_settings, variants
from reports.statistics.comparisons import LEVEL, holm, paired_test

_EVALUATED_CELL = [*CELL, "eval_network"]
_NETWORK = [*_EVALUATED_CELL, "seed", "network"]

Outcome = Literal["changed", "not distinguishable", "identical", "one pair", "only in one"]


@dataclass(frozen=True)
class Change:
    """One cell, evaluated by one architecture, in both folders or in one of them. Accuracies in percent.

    `ipc` is None for the whole training set. `first` and `second`: mean accuracy in each folder over the seeds and networks
    that both have, or else over its own; None if the folder has none. `difference`: the second less the first; `low` and
    `high` bound its 95 % interval, `p` is of the paired t-test, `p_holm` after Holm's correction over all cells that were
    tested. The observations are the `seeds` that both have; with one seed, its `networks`, which say nothing of other
    distillations. `identical`: every network has the same accuracy. `only_first`, `only_second`: seeds that one folder has.
    `speed`: seconds an iteration in the second over those in the first. `settings`: what differs, in words.
    """

    dataset: str
    ipc: int | None
    column: Column
    network: str
    first: float | None
    second: float | None
    difference: float = math.nan
    low: float = math.nan
    high: float = math.nan
    p: float = math.nan
    p_holm: float = math.nan
    seeds: int = 0
    networks: int = 0
    identical: bool = False
    only_first: tuple[int, ...] = ()
    only_second: tuple[int, ...] = ()
    speed: float | None = None
    settings: str = ""

    @property
    def outcome(self) -> Outcome:
        """Whether accuracies changed: by the corrected p, if there was a test."""
        if not self.seeds:
            return "only in one"
        if self.identical:
            return "identical"
        if math.isnan(self.p_holm):
            return "one pair"
        return "changed" if self.p_holm < LEVEL else "not distinguishable"


def changes(first: Results, second: Results) -> tuple[Change, ...]:
    """Return the cells of two folders in reading order; those that tables leave out for their rate are left out here, too."""
    both = Results.of([*first.records, *second.records])
    frames = _frames(first, second, both)
    merged = frames[0].merge(frames[1], how="outer", on=_NETWORK, suffixes=("_first", "_second"), indicator="where")
    made = [
        _change(cast("tuple[str, int, str, str, str]", key), group, both)
        for key, group in merged.groupby(_EVALUATED_CELL, sort=False, dropna=False, observed=True)
    ]
    corrected = [replace(change, p_holm=p) for change, p in zip(made, holm([change.p for change in made]), strict=True)]
    networks = list(dict.fromkeys(both.networks["eval_network"]))
    return tuple(
        sorted(
            corrected,
            key=lambda change: (
                *(dataset_rank(change.dataset), math.inf if change.ipc is None else change.ipc),
                *(both.names.column_rank(change.column), networks.index(change.network)),
            ),
        )
    )


def _frames(first: Results, second: Results, both: Results) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return a row a network of each folder, with the variant by which cells are paired.

    Args:
        first: of one folder.
        second: of the other.
        both: of both together.

    """
    together = variants(both.records)
    names = [*_NETWORK, "accuracy", "seconds_per_iteration", "hash"]
    frames = [folder.networks.loc[folder.networks["hash"].isin(folder.shown), names] for folder in (first, second)]
    cells = [list(zip(*(frame[name] for name in CELL[:3]), frame["hash"].map(together), strict=True)) for frame in frames]
    shared = {tuple(map(str, cell)) for cell in cells[0]} & {tuple(map(str, cell)) for cell in cells[1]}
    left, right = (
        frame.assign(
            variant=[
                cell[-1] if tuple(map(str, cell)) in shared else own
                for cell, own in zip(of_frame, frame["variant"], strict=True)
            ]
        )
        for frame, of_frame in zip(frames, cells, strict=True)
    )
    return left, right


def _change(key: tuple[str, int, str, str, str], group: pd.DataFrame, both: Results) -> Change:
    """Return one cell, not yet corrected.

    Args:
        key: dataset, IPC, method, variant and architecture.
        group: a row a network, of either folder or of both.
        both: the records of both folders.

    """
    dataset, ipc, method, variant, network = key
    pairs = group[group["where"] == "both"]
    paired = set(pairs["seed"])
    left, right = (
        tuple(sorted({int(seed) for seed in group.loc[group["where"] == side, "seed"]} - paired))
        for side in ("left_only", "right_only")
    )
    averaged = pairs if paired else group
    change = Change(
        dataset,
        None if pd.isna(ipc) else int(ipc),
        Column(method, variant),
        network,
        first=_mean(averaged, "accuracy_first"),
        second=_mean(averaged, "accuracy_second"),
        only_first=left,
        only_second=right,
    )
    return _with_test(change, pairs, both) if paired else change


def _with_test(change: Change, pairs: pd.DataFrame, both: Results) -> Change:
    """Return the cell with the numbers of its pairs.

    Args:
        change: the cell.
        pairs: a row a network that both folders have.
        both: the records of both folders.

    """
    differences = pairs["accuracy_second"] - pairs["accuracy_first"]
    by_seed = differences.groupby(pairs["seed"]).mean()
    identical = not differences.any()
    observations = by_seed if len(by_seed) > 1 else differences
    low, high, p = (0.0, 0.0, math.nan) if identical else paired_test(observations.to_numpy(float))
    seconds = [_mean(pairs, f"seconds_per_iteration_{side}") for side in ("first", "second")]
    return replace(
        change,
        difference=float(by_seed.mean()),
        low=low,
        high=high,
        p=p,
        seeds=len(by_seed),
        networks=len(pairs),
        identical=identical,
        speed=seconds[1] / seconds[0] if seconds[0] and seconds[1] else None,
        settings=_settings(pairs, both),
    )


def _mean(frame: pd.DataFrame, name: str) -> float | None:
    """Return the mean of a column over seeds, each of which counts as much as another, or None without a number."""
    mean = frame.groupby("seed")[name].mean().mean()
    return None if pd.isna(mean) else float(mean)


def _settings(pairs: pd.DataFrame, both: Results) -> str:
    """Return in words the settings in which paired cells differ; images that a record does not name count as the same.

    Args:
        pairs: a row a network that both folders have.
        both: the records of both folders.

    """
    differing: dict[str, None] = {}
    for hashes in dict.fromkeys(zip(pairs["hash_first"], pairs["hash_second"], strict=True)):
        first, second = (_every_setting(both.by_hash[digest].spec) for digest in hashes)
        for name in sorted({*first, *second}):
            if first.get(name) != second.get(name) and (name != "data" or (first[name] and second[name])):
                differing[f"{name} {_value(first.get(name))} → {_value(second.get(name))}"] = None
    return "; ".join(differing)


def _every_setting(spec: RunSpec) -> dict[str, Any]:
    """Return the settings of a cell with its numbers of iterations and epochs, whether or not these follow from the IPC."""
    real = real_settings(spec)
    return flat_settings(spec) | {name: real[name] for name in ("match.iterations", "eval.epochs") if name in real}


def _value(value: object) -> str:
    return "not set" if value in (None, "") else f"{value:g}" if isinstance(value, float) else str(value)


def outcomes(made: Sequence[Change], first: str, second: str) -> str:
    """Return what changed in a sentence.

    Args:
        made: the cells.
        first: the name of one folder.
        second: the name of the other.

    """
    both = [change for change in made if change.seeds]
    changed = [change for change in both if change.outcome == "changed"]
    higher = sum(change.difference > 0 for change in changed)
    kinds = {kind: sum(change.outcome == kind for change in both) for kind in ("not distinguishable", "identical", "one pair")}
    counts = [f"{len(changed)} changed ({higher} higher and {len(changed) - higher} lower in {second})"]
    counts.append(f"{kinds['not distinguishable']} cannot be told apart")
    counts += [f"{kinds['identical']} are identical"] if kinds["identical"] else []
    counts += [f"{kinds['one pair']} have one pair of networks, which is no test"] if kinds["one pair"] else []
    sentences = [f"Of {len(both)} cells that both folders have, {', '.join(counts)}."]
    if both:
        differences = [change.difference for change in both]
        sentences.append(f"Differences: {min(differences):+.2f} to {max(differences):+.2f} points.")
    sides = [sum(bool(getattr(change, name)) and not change.seeds for change in made) for name in ("only_first", "only_second")]
    return " ".join((*sentences, f"{sides[0]} more are only in {first}, {sides[1]} only in {second}."))
