"""The suite's own safetensors, which it keeps beside records: one distillation a file."""

from __future__ import annotations

import json
from pathlib import Path

from bench.errors import UsageError
from bench.files import reading
from bench.lazy import safetensors
from bench.sets.distilled import Distillation, DistilledSet, described, learning_rates


def read_tensors(path: Path, *, seed: int = 0) -> DistilledSet:
    """Return the set in a file of the tensors `images` and `labels`; its metadata may have classes, mean, std, dataset and lr.

    Args:
        path: the file.
        seed: the number of its distillation, which the file does not say.

    Raises:
        UsageError: if it has no such tensors.

    """
    with reading(path), safetensors.safe_open(path, framework="np") as file:
        metadata = {name: _value(content) for name, content in (file.metadata() or {}).items()}
        if not {"images", "labels"} <= set(file.keys()):
            raise UsageError(f"tensors {', '.join(file.keys())}; valid: images and labels")
        (lr,) = learning_rates(metadata, 1)
        return DistilledSet(
            distillations=(Distillation.of(seed, file.get_tensor("images"), file.get_tensor("labels"), lr),),
            details={name: value for name, value in metadata.items() if name not in {*described({}), "lr"}},
            **described(metadata),
        )


def _value(content: str) -> object:
    """Return what an entry of the metadata means: JSON, or, in files of other tools, itself."""
    try:
        return json.loads(content)
    except ValueError:
        return content
