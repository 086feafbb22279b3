"""The registry of datasets: a source knows where its files may lie and how to read them into a `Bundle`.

(The name shadows Hugging Face's library inside this repository; its parquet layout is read with pandas.)
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from bench.errors import UsageError, unknown
from datasets.digits import DIGITS
from datasets.folder import folder_source
from datasets.source import Source
from datasets.torchvision_sets import TORCHVISION_SETS

if TYPE_CHECKING:
    from bench.types import Bundle

DATASETS: Mapping[str, Source] = {source.name: source for source in (DIGITS, *TORCHVISION_SETS)}


def find_source(name: str, *, size: int | None = None) -> Source:
    """Return the source that `name` or `folder:PATH` means; `size` resizes a folder's images.

    Raise `UsageError` that names the valid ones.
    """
    if name.startswith("folder:"):
        return folder_source(Path(name.removeprefix("folder:")), size=size)
    if name not in DATASETS:
        raise unknown("dataset", name, [*DATASETS, "folder:PATH"])
    if size is not None:
        raise UsageError(f"--set data.size={size}: {name!r} has a size of its own; data.size is for folder:PATH alone")
    return DATASETS[name]


def held_out(bundle: Bundle, *, fraction: float, seed: int) -> Bundle:
    """Return `bundle` with the test split replaced by a random `fraction` of each class's training images, held out."""
    import torch

    from bench.seeding import Streams
    from bench.types import Split

    generator = Streams(seed, bundle.name, None).generator("holdout")
    train, test = [], []
    for label in range(len(bundle.classes)):
        members = (bundle.train.labels == label).nonzero().flatten()
        members = members[torch.randperm(len(members), generator=generator)]
        cut = max(1, round(fraction * len(members)))
        test.append(members[:cut])
        train.append(members[cut:])
    parts = []
    for chosen in (train, test):
        index = torch.cat(chosen).sort().values
        parts.append(Split(bundle.train.images[index], bundle.train.labels[index]))
    return replace(bundle, train=parts[0], test=parts[1])
