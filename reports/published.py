"""The published numbers, as data: `published.csv`, from Tables 1 and 2 of Li, Xue and Shi 2025."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import pandas as pd


@dataclass(frozen=True)
class Published:
    """A published accuracy, percent, its ±, the table it stands in, and what is known against it."""

    value: float
    plus_minus: float
    source: str
    note: str


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
