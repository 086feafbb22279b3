"""The `.pt` layouts of the DatasetCondensation family (DC, DSA, DM and what follows them).

`{"data": [[images, labels], ...], "accs_all_exps": {network: [accuracy, ...]}}`: a pair of tensors a distillation, and the
accuracies of all networks trained on them, fractions of 1. Others save a pair alone, or in a dictionary, or as MTT does, with
`labels_best.pt` and `lr_best.pt` beside `images_best.pt`; some append snapshots of one run to the list. The family's codes
normalise images by the dataset's mean and deviation and write neither down. What we write has both, with seeds, class names and
learning rates, under keys of their own.

Files are read by `torch.load(weights_only=True)`, which runs no code. NumPy's own unpickling is never called: `bench.pickles`
makes its arrays and numbers.
"""

from __future__ import annotations

import pickle
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from bench.errors import UsageError
from bench.files import atomic, is_file, reading
from bench.lazy import numpy as np
from bench.lazy import torch
from bench.pickles import NUMPY_ARRAYS, NUMPY_SCALARS, Array
from bench.sets.described import Pair, assembled, pair_in
from bench.sets.distilled import DistilledSet

NETWORK_NAMES = {
    "convnet": "ConvNet",
    "mlp": "MLP",
    "lenet": "LeNet",
    "alexnet": "AlexNet",
    "vgg11": "VGG11",
    "resnet18": "ResNet18",
}
"""What the family calls the networks that it has too."""


class _TensorDataset:
    """Replaces torch's `TensorDataset` while a file is loaded."""

    tensors: tuple[Any, ...] = ()


_REPLACEMENTS: list[Callable[..., Any] | tuple[Callable[..., Any], str]] = [
    (_TensorDataset, "torch.utils.data.dataset.TensorDataset"),
    *((replacement, ".".join(name)) for name, replacement in {**NUMPY_ARRAYS, **NUMPY_SCALARS}.items()),
]

_VALID = "{'data': [[images, labels], ...]}, [images, labels], or {'images': ..., 'labels': ...}, of tensors or arrays"


def read_condensation(path: Path) -> DistilledSet:
    """Return the set in a `.pt` file; raise `UsageError` if it has another layout, or would run code."""
    payload = _loaded(path)
    if isinstance(payload, np.ndarray):
        payload = {"images": payload} | {name: _loaded(file) for name, file in files_beside(path).items()}
    pairs = _pairs(payload)
    if pairs is None:
        raise UsageError(f"another layout ({_outline(payload)}); valid: {_VALID}")
    about = payload if isinstance(payload, Mapping) else {}
    with reading(path):
        return assembled(pairs, about, family="mean" not in about)


def files_beside(path: Path) -> dict[str, Path]:
    """Return the files of the labels and of the learning rate beside one of images, by what they hold."""
    if not path.name.startswith("images") or path.suffix not in (".pt", ".pth"):
        return {}
    names = {name: path.with_name(path.name.replace("images", name, 1)) for name in ("labels", "lr", "syn_lr")}
    return {name: file for name, file in names.items() if is_file(file)}


def _loaded(path: Path) -> Any:
    """Return what a file holds, with arrays for tensors."""
    with reading(path), torch.serialization.safe_globals(_REPLACEMENTS):
        try:
            return _as_arrays(torch.load(path, map_location="cpu", weights_only=True))
        except pickle.UnpicklingError as error:
            match = re.search(r"GLOBAL ([\w.]+)", str(error))
            if match is None:
                raise
            raise UsageError(
                f"{path} cannot be read: it asks for {match[1]}, which would run code, and was not loaded; valid: {_VALID}"
            ) from error


def _as_arrays(content: Any) -> Any:
    """Return what a file holds, with arrays for tensors and for what replaced arrays, at any depth."""
    if isinstance(content, torch.Tensor):
        content = content.detach()
        return (content.float() if content.dtype == torch.bfloat16 else content).numpy()
    if isinstance(content, Array):
        return content.array
    if isinstance(content, _TensorDataset):
        return [_as_arrays(tensor) for tensor in content.tensors]
    if isinstance(content, Mapping):
        return {name: _as_arrays(value) for name, value in content.items()}
    return [_as_arrays(item) for item in content] if isinstance(content, list | tuple) else content


def _pairs(payload: Any) -> list[Pair] | None:
    """Return the images and labels of each distillation; None if the layout has no meaning, or more than one."""
    if isinstance(payload, Mapping):
        data = payload.get("data")
        pair = data if isinstance(data, list) else pair_in(payload)
        return _pairs(None if pair is None else list(pair))
    if not isinstance(payload, list):
        return None
    if _is_pair(payload):
        return [(payload[0], np.asarray(payload[1]))]
    return [(images, np.asarray(labels)) for images, labels in payload] if all(map(_is_pair, payload)) else None


def _is_pair(pair: object) -> bool:
    """Return whether something is images and as many labels."""
    if not isinstance(pair, list) or len(pair) != 2 or not isinstance(pair[0], np.ndarray) or pair[0].ndim < 3:
        return False
    return isinstance(pair[1], np.ndarray | list) and np.ndim(pair[1]) in (1, 2) and len(pair[1]) == len(pair[0])


def _outline(content: Any) -> str:
    """Return what a file holds, in a few words."""
    if isinstance(content, dict) and list(content) == ["images"]:
        return "images alone"
    return type(content).__name__


def write_condensation(path: Path, content: DistilledSet) -> None:
    """Write a set to a `.pt` file that the family's tools read; what they do not ask for is under other keys."""
    payload: dict[str, Any] = {
        "data": [[torch.from_numpy(each.images), torch.from_numpy(each.labels)] for each in content.distillations],
        "accs_all_exps": {
            NETWORK_NAMES.get(name, name): [value / 100 for value in values] for name, values in content.accuracies.items()
        },
        "seeds": list(content.seeds),
        "classes": list(content.classes),
        "mean": list(content.mean),
        "std": list(content.std),
        "dataset": content.dataset,
        "details": dict(content.details),
    }
    if content.lrs:
        payload["lr"] = list(content.lrs)
    with atomic(path) as temporary:
        torch.save(payload, temporary)
