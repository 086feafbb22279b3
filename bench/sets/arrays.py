"""NumPy's `.npz`, without pickles: a stack of distillations, and what is said of them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.errors import UsageError
from bench.files import atomic, reading
from bench.lazy import numpy as np
from bench.sets.described import assembled, pair_in
from bench.sets.distilled import DistilledSet

if TYPE_CHECKING:
    from numpy.typing import NDArray


def read_arrays(path: Path) -> DistilledSet:
    """Return the set in an `.npz` file; raise `UsageError` if it has no images or labels, or holds pickles.

    `images` `[N, channels, H, W]` and `labels` `[N]` or `[N, classes]` are one distillation; one dimension more in front makes
    several, whose numbers are `seeds`. `mean`, `std`, `classes`, `dataset` and `lr` are optional.
    """
    with reading(path), np.load(path, allow_pickle=False) as file:
        arrays: dict[str, NDArray[Any]] = {name: file[name] for name in file.files}
    pair = pair_in(arrays)
    if pair is None:
        raise UsageError(f"arrays {', '.join(arrays)}; valid: images and labels")
    with reading(path):
        return assembled([pair] if pair[0].ndim < 5 else list(zip(*pair, strict=True)), arrays)


def write_arrays(path: Path, content: DistilledSet) -> None:
    """Write a set to an `.npz` file.

    Its arrays: `images` `[seeds, N, channels, H, W]`, `labels` `[seeds, N]` or `[seeds, N, classes]`, `seeds`, `mean`, `std`,
    `classes` and `dataset`; `lr` `[seeds]` if the set carries learning rates; and `details`, JSON with the accuracies.
    """
    rates: dict[str, Any] = {"lr": np.asarray(content.lrs)} if content.lrs else {}
    with atomic(path) as temporary, temporary.open("wb") as stream:
        np.savez_compressed(
            stream,
            images=np.stack([each.images for each in content.distillations]),
            labels=np.stack([each.labels for each in content.distillations]),
            seeds=np.asarray(content.seeds),
            mean=np.asarray(content.mean),
            std=np.asarray(content.std),
            classes=np.asarray(content.classes),
            dataset=np.asarray(content.dataset),
            details=np.asarray(json.dumps({**content.details, "accuracies": dict(content.accuracies)})),
            **rates,
        )
