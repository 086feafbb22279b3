"""The suite's own safetensors, which lie beside records: one distillation a file."""

from __future__ import annotations

import json
from pathlib import Path

from bench.errors import UsageError
from bench.files import reading
from bench.lazy import safetensors
from bench.sets.distilled import Distillation, DistilledSet, described


def read_tensors(path: Path, *, seed: int = 0) -> DistilledSet:
    """Return the set in a file of the tensors `images` and `labels`, whose metadata may have classes, mean, std and dataset.

    Args:
        path: the file.
        seed: the number of its distillation, which the file does not say.

    Raises:
        UsageError: where it has no such tensors.

    """
    with reading(path), safetensors.safe_open(path, framework="np") as file:
        metadata = {name: _value(text) for name, text in (file.metadata() or {}).items()}
        if not {"images", "labels"} <= set(file.keys()):
            raise UsageError(f"tensors {', '.join(file.keys())}; valid: images and labels")
        return DistilledSet(
            distillations=(Distillation.of(seed, file.get_tensor("images"), file.get_tensor("labels")),),
            details={name: value for name, value in metadata.items() if name not in described({})},
            **described(metadata),
        )


def _value(text: str) -> object:
    """Return what a text of the metadata means: JSON, or, in files of other tools, itself."""
    try:
        return json.loads(text)
    except ValueError:
        return text
