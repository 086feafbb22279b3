"""The published numbers, as data: `published.csv`, from Tables 1 and 2 of Li, Xue and Shi 2025, and how they were evaluated."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import pandas as pd

from bench.cells.protocol import ALL_OPERATIONS, operations_of
from bench.records.record import MethodFacts

PAPER_METHODS = {
    "random": MethodFacts(label="Random", order=10),
    "dc": MethodFacts(label="DC", order=50),
    "dsa": MethodFacts(label="DSA", order=60),
    "cafe": MethodFacts(label="CAFE", order=70),
    "dm": MethodFacts(label="DM", order=80),
    "kr": MethodFacts(label="KR", order=90),
    "whole": MethodFacts(label="Whole", order=1000),
}
"""The columns of the published Table 2 ("Ours" there is `kr` here): label and place where no record says them."""

BEST_CORESET = "best_coreset_selection"
"""The column of Table 1 that our coreset selections stand against."""

BEST_DISTILLATION = "best_dataset_distillation"
"""The other column of Table 1. It names no method, network or source, so nothing is compared with it."""

COLUMNS = PAPER_METHODS | {
    BEST_CORESET: MethodFacts(label="Best coreset (Table 1)"),
    BEST_DISTILLATION: MethodFacts(label="Best distillation (Table 1)"),
}
"""All published columns that Table 2 shows."""

MATCHING = ("dm", "kr")
"""The published methods that run the common matching loop, so that its settings are the published ones or are not."""

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
"""The hyper-parameters that stand for the published method, but for its budget (numbers of steps and images, learning rates on
images): the authors' own; of `kr` the paper's (`steps`, `critic_lr`), else our reading of it. Table 1 has the best
of the selections."""

_WORDS = {"": "unknown", "none": "without augmentation", ALL_OPERATIONS: "with DSA"}


@dataclass(frozen=True)
class Published:
    """A published accuracy, percent, its ±, the table it stands in, what speaks against it, and how it was evaluated.

    `note` is always said, `doubt` where our value is below.

    `epochs` and `augmentation` of the evaluation, `evaluation_source` for these two, and the `distillations` and the evaluation
    `networks` of each that the ± is pooled over. None or empty where nothing is said.
    """

    value: float
    plus_minus: float
    source: str
    note: str = ""
    epochs: int | None = None
    augmentation: str = ""
    evaluation_source: str = ""
    distillations: int | None = None
    networks: int | None = None
    doubt: str = ""

    @property
    def stated(self) -> bool:
        """Whether a source says how it was evaluated; otherwise that is what it probably was."""
        return self.evaluation_source.startswith("authors' code")

    def evaluation_note(self, augmentation: str) -> str:
        """Return how the published evaluation differed from one with another augmentation, or an empty text."""
        if not self.augmentation or self.same_augmentation(augmentation):
            return ""
        words = _WORDS.get(self.augmentation) or f"with {_listed(operations_of(self.augmentation))}"
        probably = "" if self.stated else "probably "
        ours = "DSA" if augmentation == ALL_OPERATIONS else augmentation
        return f"the published evaluation was {probably}{words}, ours has {ours}"

    def same_augmentation(self, augmentation: str) -> bool:
        """Return whether the published evaluation had these operations, in whatever order."""
        return bool(self.augmentation) and set(operations_of(self.augmentation)) == set(operations_of(augmentation))


def _listed(operations: tuple[str, ...]) -> str:
    words = [{"rotate": "rotation"}.get(operation, operation) for operation in operations]
    return " and ".join(filter(None, (", ".join(words[:-1]), words[-1])))


@lru_cache(maxsize=1)
def published() -> dict[tuple[str, int, str], Published]:
    """Return the published cells by dataset, IPC and method; of two tables the later (Table 2) stands."""
    frame = pd.read_csv(Path(__file__).with_name("published.csv"), keep_default_na=False)
    frame = frame.sort_values("source", kind="stable")
    return {
        (row["dataset"], int(row["ipc"]), row["method"]): Published(
            value=float(row["value"]),
            plus_minus=float(row["plus_minus"]),
            source=row["source"],
            note=row["note"],
            epochs=_whole(row["epochs"]),
            augmentation=row["augmentation"],
            evaluation_source=row["evaluation_source"],
            distillations=_whole(row["distillations"]),
            networks=_whole(row["networks"]),
            doubt=row["doubt"],
        )
        for row in frame.to_dict("records")
    }


def _whole(text: object) -> int | None:
    return None if text == "" else int(str(text))
