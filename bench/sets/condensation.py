"""The `.pt` layout of the DatasetCondensation family (DC, DSA, DM and what follows them).

`{"data": [[images, labels], ...], "accs_all_exps": {network: [accuracy, ...]}}`: a pair of tensors a distillation, and the
accuracies of all networks trained on them, fractions of 1. The family's codes normalise images by the dataset's mean and
deviation and write neither down. What we write has both, with seeds, class names and learning rates, under keys of their own.

Files are read by `torch.load(weights_only=True)`, which runs no code. It refuses NumPy's scalars, which the family's accuracies
are, so they are not read; NumPy's own unpickling is never called.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from bench.errors import UsageError
from bench.files import atomic, reading
from bench.lazy import torch
from bench.sets.distilled import Distillation, DistilledSet, described, learning_rates

NETWORK_NAMES = {
    "convnet": "ConvNet",
    "mlp": "MLP",
    "lenet": "LeNet",
    "alexnet": "AlexNet",
    "vgg11": "VGG11",
    "resnet18": "ResNet18",
}
"""What the family calls the networks that it has too."""


class _Unread:
    """Takes the place of NumPy's scalars and their types in a pickle: the accuracies of others are not read."""

    def __init__(self, *arguments: object) -> None:
        """Take what a scalar or a type would be made of, and leave it."""

    def __setstate__(self, state: object) -> None:
        """Likewise."""


_STAND_INS: list[Callable[..., Any] | tuple[Callable[..., Any], str]] = [
    (_Unread, "numpy.dtype"),
    (_Unread, "numpy.core.multiarray.scalar"),  # NumPy 1
    (_Unread, "numpy._core.multiarray.scalar"),  # NumPy 2
]


def read_condensation(path: Path) -> DistilledSet:
    """Return the set in a `.pt` file; raise `UsageError` if it has another layout, or would run code."""
    with reading(path), torch.serialization.safe_globals(_STAND_INS):
        payload = torch.load(path, map_location="cpu", weights_only=True)
    data = payload.get("data") if isinstance(payload, dict) else None
    if not isinstance(data, list | tuple) or not all(_is_pair(pair) for pair in data):
        raise UsageError(f"another layout ({type(payload).__name__}); valid: {{'data': [[images, labels], ...]}} with tensors")
    seeds = payload.get("seeds", range(len(data)))
    with reading(path):
        with torch.no_grad():
            rates = learning_rates(payload, len(data))
        return DistilledSet(
            distillations=tuple(
                Distillation.of(int(seed), images.detach().numpy(), labels.detach().numpy(), lr)
                for seed, (images, labels), lr in zip(seeds, data, rates, strict=True)
            ),
            family="mean" not in payload,
            **described(payload),
        )


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


def _is_pair(pair: object) -> bool:
    return isinstance(pair, list | tuple) and len(pair) == 2 and all(isinstance(item, torch.Tensor) for item in pair)
