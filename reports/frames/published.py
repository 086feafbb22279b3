"""The published numbers, as data: `published.csv`, from Tables 1 and 2 of Li, Xue and Shi 2025, and how they were evaluated."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import pandas as pd

from bench.cells.protocol import ALL_OPERATIONS, operations_of
from bench.records.sections import MethodFacts

PAPER_METHODS = {
    "random": MethodFacts(label="Random", order=10),
    "dc": MethodFacts(label="DC", order=50),
    "dsa": MethodFacts(label="DSA", order=60),
    "cafe": MethodFacts(label="CAFE", order=70),
    "dm": MethodFacts(label="DM", order=80),
    "kr": MethodFacts(label="KR", order=90),
    "whole": MethodFacts(label="Whole", order=1000),
}
"""The columns of the published Table 2 ("Ours" there is `kr` here): label and order if no record says them."""

BEST_CORESET = "best_coreset_selection"
"""The column of Table 1 that our coreset selections are compared with."""

CORESETS = ("random", "herding", "kcenter", "kmeans")
"""What Table 1's "coreset selection" is the best of. Random counts: it is the best at CIFAR-10, IPC 50."""

BEST_DISTILLATION = "best_dataset_distillation"
"""The other column of Table 1. It names no method, network or source, so nothing is compared with it."""

COLUMNS = PAPER_METHODS | {
    BEST_CORESET: MethodFacts(label="Best coreset (Table 1)"),
    BEST_DISTILLATION: MethodFacts(label="Best distillation (Table 1)"),
}
"""All published columns that Table 2 shows."""

MATCHING = ("dm", "kr")
"""The published methods that run the common matching loop: only their cells can have its settings as published."""

_GRADIENTS: dict[str, Any] = {"momentum": 0.5, "lr_network": 0.01}

HYPER: dict[str, dict[str, Any]] = {
    "dc": {**_GRADIENTS, "start": "noise", "augment": "none", "network": "convnet"},
    "dsa": {**_GRADIENTS, "start": "real", "augment": ALL_OPERATIONS, "network": "convnet"},
    "cafe": {
        **_GRADIENTS,
        **{"early_weight": 0.1, "late_weight": 1.0, "discrimination_weight": 0.01, "outer_range": 0.04, "inner_range": 0.03},
        **{"start": "noise", "augment": "none", "network": "convnet"},
    },
    "kr": {"hidden": 128, "clip": 0.01, "steps": 100, "critic_lr": 1e-3, "critic_optimizer": "adam"},
    **{selection: {"network": "convnet"} for selection in ("herding", "kcenter", "kmeans")},
}
"""The hyper-parameters of the published methods, but for their budget (numbers of steps and images, learning rates on images).
They are the authors' own; of `kr` the paper's (`steps`, `critic_lr`), else our reading of it. Table 1 has the best of the
selections."""

_AUGMENTATIONS = {"": "unknown", "none": "without augmentation", ALL_OPERATIONS: "with DSA"}


@dataclass(frozen=True)
class Published:
    """A published accuracy and its ±, in percent, and how it was evaluated: a row of `published.csv`.

    Attributes:
        value: the accuracy.
        plus_minus: its ±.
        source: the table it is from.
        note: what is always said of it.
        epochs: of the evaluation; None if unknown.
        augmentation: of the evaluation; empty if unknown.
        evaluation_source: what these two are taken from.
        stated: whether a source says how it was evaluated; otherwise the two are what they probably were.
        distillations: that the ± is pooled over; None if unknown.
        networks: evaluation networks of each of these; None if unknown.
        misprint: whether it is a misprint, with which nothing is compared.
        doubt: what is said of it if our value is below.

    """

    value: float
    plus_minus: float
    source: str
    note: str = ""
    epochs: int | None = None
    augmentation: str = ""
    evaluation_source: str = ""
    stated: bool = False
    distillations: int | None = None
    networks: int | None = None
    misprint: bool = False
    doubt: str = ""

    def evaluation_note(self, augmentation: str) -> str:
        """Return how the published evaluation differed from one with another augmentation, or an empty string."""
        if not self.augmentation or self.same_augmentation(augmentation):
            return ""
        theirs = _AUGMENTATIONS.get(self.augmentation) or f"with {_listed(operations_of(self.augmentation))}"
        probably = "" if self.stated else "probably "
        ours = "DSA" if augmentation == ALL_OPERATIONS else augmentation
        return f"the published evaluation was {probably}{theirs}, ours has {ours}"

    def same_augmentation(self, augmentation: str) -> bool:
        """Return whether the published evaluation had these operations, in whatever order."""
        return bool(self.augmentation) and set(operations_of(self.augmentation)) == set(operations_of(augmentation))


def _listed(operations: tuple[str, ...]) -> str:
    nouns = [{"rotate": "rotation"}.get(operation, operation) for operation in operations]
    return " and ".join(filter(None, (", ".join(nouns[:-1]), nouns[-1])))


@lru_cache(maxsize=1)
def published() -> dict[tuple[str, int, str], Published]:
    """Return the published cells by dataset, IPC and method; if two tables have one, that of the later table (Table 2)."""
    frame = pd.read_csv(Path(__file__).with_name("published.csv"), keep_default_na=False, dtype=str)
    frame = frame.sort_values("source", kind="stable")
    return {
        (row["dataset"], int(row["ipc"]), row["method"]): Published(
            value=float(row["value"]),
            plus_minus=float(row["plus_minus"]),
            epochs=_whole(row["epochs"]),
            stated=row["stated"] == "yes",
            distillations=_whole(row["distillations"]),
            networks=_whole(row["networks"]),
            misprint=row["misprint"] == "yes",
            **{name: row[name] for name in ("source", "note", "augmentation", "evaluation_source", "doubt")},
        )
        for row in frame.to_dict("records")
    }


def _whole(number: str) -> int | None:
    return int(number) if number else None
