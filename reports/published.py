"""The published numbers, as data: `published.csv`, from Tables 1 and 2 of Li, Xue and Shi 2025."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import pandas as pd

from bench.protocol import ALL_OPERATIONS
from bench.records import MethodFacts

RUNS = 5
"""Runs behind a published ±. The paper does not say; the field's habit, taken here, is the deviation over five of them."""

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
"""The column of Table 1 that our coreset selections stand against; its other one names no method, network or source."""

COLUMNS = PAPER_METHODS | {BEST_CORESET: MethodFacts(label="Best coreset (Table 1)")}
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
        **{"start": "noise", "augment": "none"},
    },
    "kr": {"hidden": 128, "clip": 0.01, "steps": 100, "critic_lr": 1e-3, "critic_optimizer": "adam"},
}
"""The hyper-parameters that stand for the published method, but for its budget (numbers of steps and images, learning rates on
images): the authors' own; of `kr` the paper's (`steps`, `critic_lr`), else our reading of it."""

NOT_AUGMENTED = {"random": "probably without augmentation", "dc": "without augmentation", "cafe": "without augmentation"}
"""Methods whose published numbers come from another evaluation than the common one, which augments."""


@dataclass(frozen=True)
class Published:
    """A published accuracy, percent, its ±, the table it stands in, and what speaks against it."""

    value: float
    plus_minus: float
    source: str
    note: str


def evaluation_note(dataset: str, method: str) -> str:
    """Return how the published evaluation of a cell differed from the common one, or an empty text."""
    how = "with crop, scale and rotation" if (dataset, method) == ("mnist", "dc") else NOT_AUGMENTED.get(method)
    return f"the published evaluation was {how}, ours has DSA" if how else ""


@lru_cache(maxsize=1)
def published() -> dict[tuple[str, int, str], Published]:
    """Return the published cells by dataset, IPC and method; of two tables the later (Table 2) stands."""
    frame = pd.read_csv(Path(__file__).with_name("published.csv"), keep_default_na=False)
    frame = frame.sort_values("source")
    return {
        (row["dataset"], int(row["ipc"]), row["method"]): Published(
            float(row["value"]), float(row["plus_minus"]), row["source"], row["note"]
        )
        for row in frame.to_dict("records")
    }
