"""The suite's own safetensors, which it keeps beside records: one distillation a file."""

from __future__ import annotations

import json
from pathlib import Path

from bench.errors import UsageError
from bench.files import reading
from bench.lazy import safetensors
from bench.sets.described import assembled, described, pair_in
from bench.sets.distilled import DistilledSet


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
        pair = pair_in({name: file.get_tensor(name) for name in file.keys()})  # noqa: SIM118  (it is no dictionary)
        if pair is None:
            raise UsageError(f"tensors {', '.join(file.keys())}; valid: images and labels")
        details = {name: value for name, value in metadata.items() if name not in {*described({}), "lr"}}
        return assembled([pair], metadata, seeds=[seed], details=details)


def _value(content: str) -> object:
    """Return what an entry of the metadata means: JSON, or, in files of other tools, itself."""
    try:
        return json.loads(content)
    except ValueError:
        return content
