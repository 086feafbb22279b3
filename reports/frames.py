"""Records as tables of data: one row a network, one row a cell. Statistics start here, from raw accuracies."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import pandas as pd

from bench.protocol import PROFILES
from bench.records import RunRecord

METHOD_ORDER = ("random", "herding", "kcenter", "kmeans", "dc", "dsa", "cafe", "dm", "kr", "sinkhorn", "emd")
"""The order of columns, the paper's; other methods follow, the whole training set is last."""

DATASET_ORDER = ("digits", "mnist", "fashionmnist", "svhn", "cifar10", "cifar100")
"""The order of rows, the paper's; other datasets follow."""

STAGES = ("features", "loss", "update", "evaluation", "total")


def rank(name: str, order: Sequence[str]) -> tuple[int, str]:
    """Return the sort key of a column or row: its place in `order`, then its name; `whole` comes last."""
    base = name.split(" ")[0]
    return (len(order) + 1 if base == "whole" else order.index(base) if base in order else len(order), name)


@dataclass(frozen=True)
class Labels:
    """What tables print for columns and datasets, as the records say."""

    methods: Mapping[str, str]
    datasets: Mapping[str, str]

    @classmethod
    def of(cls, records: Iterable[RunRecord]) -> Labels:
        """Return the labels that `records` carry."""
        pairs = [(record.spec, record.labels) for record in records]
        return cls(
            {spec["method"]: labels["method"] for spec, labels in pairs if "method" in labels},
            {spec["dataset"]: labels["dataset"] for spec, labels in pairs if "dataset" in labels},
        )

    def column(self, name: str) -> str:
        """Return what is printed for a column, a method's name with or without a variant in brackets."""
        base, _, rest = name.partition(" ")
        return f"{self.methods.get(base, base)} {rest}".strip()

    def dataset(self, name: str) -> str:
        """Return what is printed for a dataset."""
        return self.datasets.get(name, name)


def flat_settings(spec: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a method's numbers depend on, apart from dataset, IPC and seed, as dotted names."""
    found = {f"{spec['method']}.{name}": value for name, value in spec["hyper"].items()}
    for section, fields in spec["protocol"].items():
        if isinstance(fields, Mapping):
            found |= {f"{section}.{name}": value for name, value in fields.items()}
    return found | {"precision": spec["precision"], "code": spec.get("code", ""), "numerics": spec["numerics"]}


def variant_names(records: Sequence[RunRecord]) -> dict[str, str]:
    """Return each record's column by hash: its method, and in brackets what tells it from other records of that method.

    Records of one dataset, method and IPC that were made under different settings are never averaged.
    """
    groups: dict[tuple[str, str], list[RunRecord]] = defaultdict(list)
    for record in records:
        groups[record.spec["dataset"], record.spec["method"]].append(record)
    differing: dict[str, set[str]] = defaultdict(set)
    for (_, method), members in groups.items():
        flats = [flat_settings(record.spec) for record in members]
        for name in {name for flat in flats for name in flat}:
            if len({str(flat.get(name)) for flat in flats}) > 1:
                differing[method].add(name)
    names = {}
    for record in records:
        method, flat = record.spec["method"], flat_settings(record.spec)
        told = ", ".join(f"{name}={flat.get(name)}" for name in sorted(differing[method]))
        names[record.hash] = f"{method} ({told})" if told else method
    return names


def expanded(records: Sequence[RunRecord]) -> Iterable[tuple[RunRecord, int]]:
    """Yield records with the IPC of their row; the whole training set stands at each IPC of its dataset, as in the paper."""
    ipcs: dict[str, set[int]] = defaultdict(set)
    for record in records:
        if record.spec["ipc"] is not None:
            ipcs[record.spec["dataset"]].add(record.spec["ipc"])
    for record in records:
        own = record.spec["ipc"]
        rows = [own] if own is not None else sorted(ipcs[record.spec["dataset"]]) or [1]
        for ipc in rows:
            yield record, ipc


def network_rows(records: Sequence[RunRecord]) -> pd.DataFrame:
    """Return one row a network: dataset, ipc, method, seed, network (from 0), accuracy (percent)."""
    names = variant_names(records)
    rows = [
        (record.spec["dataset"], ipc, names[record.hash], record.spec["seed"], number, accuracy)
        for record, ipc in expanded(records)
        for number, accuracy in enumerate(record.accuracies)
    ]
    frame = pd.DataFrame(rows, columns=["dataset", "ipc", "method", "seed", "network", "accuracy"])
    return _ordered(frame, ["seed", "network"])


def cell_rows(records: Sequence[RunRecord]) -> pd.DataFrame:
    """Return one row a cell: its seconds by stage, seconds an iteration, peak memory in MiB, and mean accuracy."""
    names = variant_names(records)
    rows = []
    for record in records:
        seconds = {f"{stage}_s": record.seconds.get(stage) for stage in STAGES}
        ipc = record.spec["ipc"]
        row = {"dataset": record.spec["dataset"], "ipc": "all" if ipc is None else str(ipc), "method": names[record.hash]}
        row |= {"seed": record.spec["seed"], "iterations": len(record.loss)}
        row |= {"seconds_per_iteration": record.seconds_per_iteration, **seconds}
        row |= {"peak_memory_mib": record.peak_memory_mib, "accuracy": sum(record.accuracies) / len(record.accuracies)}
        rows.append(row)
    frame = pd.DataFrame(rows)
    frame["order"] = frame["ipc"].map(lambda ipc: 10**9 if ipc == "all" else int(ipc))
    return _ordered(frame, ["seed"], ipc="order").drop(columns="order")


def _ordered(frame: pd.DataFrame, last: list[str], *, ipc: str = "ipc") -> pd.DataFrame:
    keys = frame.assign(
        _dataset=frame["dataset"].map(lambda name: rank(name, DATASET_ORDER)),
        _method=frame["method"].map(lambda name: rank(name, METHOD_ORDER)),
    )
    return frame.loc[keys.sort_values(["_dataset", ipc, "_method", *last]).index].reset_index(drop=True)


@dataclass(frozen=True)
class Statistics:
    """Mean accuracy and its spread, in percent: between the networks of a seed, and between the means of the seeds."""

    mean: float
    std_networks: float
    std_seeds: float
    seeds: int
    networks: int

    @property
    def spread(self) -> float:
        """What stands after ±: the deviation between seeds' means, or of one seed between its networks, if any."""
        return self.std_seeds if self.seeds > 1 else self.std_networks


def statistics(frame: pd.DataFrame) -> Statistics:
    """Return the statistics of the networks of one cell over its seeds; deviations have n - 1 in the denominator."""
    groups = frame.groupby("seed")["accuracy"]
    freedom = len(frame) - len(groups)
    within = float((groups.var() * (groups.size() - 1)).sum() / freedom) ** 0.5 if freedom else float("nan")
    return Statistics(
        mean=float(frame["accuracy"].mean()),
        std_networks=within,
        std_seeds=float(groups.mean().std()),
        seeds=len(groups),
        networks=len(frame),
    )


def caption(records: Sequence[RunRecord]) -> str:
    """Return what every table says of itself: profile, seeds, networks, hardware, and what ± means."""

    def words(values: Iterable[object]) -> str:
        return ", ".join(sorted({str(value) for value in values}))

    networks = words(len(record.accuracies) for record in records)
    seeds = ", ".join(map(str, sorted({record.spec["seed"] for record in records})))
    machine = words(_machine(record.hardware) for record in records)
    split = words(record.spec["protocol"]["data"]["split"] for record in records)
    return (
        f"Profile {words(profile_words(record.spec) for record in records)}; seeds {seeds}; "
        f"{networks} evaluation networks a seed; accuracy in percent on the {split} split; hardware: {machine}; "
        f"precision {words(record.spec['precision'] for record in records)}. "
        f"± is the sample standard deviation between the seeds' mean accuracies; with one seed, between its networks."
    )


def profile_words(spec: Mapping[str, Any]) -> str:
    """Return the profile's name, and what was set otherwise than it says; depth and learning rate follow from the cell."""
    name = spec["protocol"]["profile"]
    if name not in PROFILES:
        return str(name)
    usual, changed = asdict(PROFILES[name]), []
    for section, fields in spec["protocol"].items():
        for field, value in fields.items() if isinstance(fields, Mapping) else ():
            if f"{section}.{field}" not in ("network.depth", "match.lr_images") and usual[section].get(field) != value:
                changed.append(f"{section}.{field}={value}")
    return f"{name} with {' '.join(changed)}" if changed else str(name)


def _machine(hardware: Mapping[str, Any]) -> str:
    where = hardware.get("gpu", hardware.get("cpu", "unknown"))
    return f"{where}, {hardware.get('threads', hardware.get('cores'))} threads on {hardware.get('device', 'cpu')}"
