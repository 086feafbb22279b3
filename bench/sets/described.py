"""What files say of the sets in them, and a set made of that and of its arrays, whatever the form of the file."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from bench.errors import UsageError
from bench.lazy import numpy as np
from bench.sets.distilled import Distillation, DistilledSet

IMAGES = ("images", "image", "imgs", "img", "data", "x", "image_syn", "arr_0")
LABELS = ("soft_label", "labels", "label", "targets", "y", "label_syn", "arr_1")
"""What files call images and labels, in the order in which they are looked for; NumPy calls what has no name `arr_0`."""

Pair = tuple[Any, Any]
"""Images and labels of one distillation."""


def assembled(
    pairs: Sequence[Pair], about: Mapping[str, Any], *, seeds: Sequence[int] | None = None, **fields: Any
) -> DistilledSet:
    """Return a set.

    Args:
        pairs: images and labels of each distillation, as arrays; labels may be names of classes.
        about: what the file says.
        seeds: of the distillations; if it is None, those that the file says, or else their indices.
        fields: other fields of `DistilledSet`.

    Raises:
        UsageError: if it is none.

    """
    if seeds is None:
        seeds = about.get("seeds")
    if pairs and all(np.asarray(labels).dtype.kind in "UO" for _, labels in pairs):
        names, by_name = in_order_of_labels({str(name) for _, labels in pairs for name in labels})
        pairs = [(images, np.asarray([names.index(str(name)) for name in labels])) for images, labels in pairs]
        fields |= {"folders": names, "by_name": by_name}
    fields = described(about) | fields
    if fields.get("by_name"):
        fields["classes"] = fields["folders"]
    numbers, rates = range(len(pairs)) if seeds is None else seeds, learning_rates(about, len(pairs))
    return DistilledSet(
        distillations=tuple(
            Distillation.of(int(seed), images, labels, lr)
            for seed, (images, labels), lr in zip(numbers, pairs, rates, strict=True)
        ),
        names_seeds=seeds is not None or len(pairs) == 1,
        **fields,
    )


def pair_in(arrays: Mapping[str, Any]) -> Pair | None:
    """Return the images and the labels among named arrays, or None if there are not both."""
    keys = [next((name for name in names if name in arrays), None) for names in (IMAGES, LABELS)]
    return None if None in keys else (arrays[str(keys[0])], arrays[str(keys[1])])


def described(about: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a file says of its set, as arguments of `DistilledSet`; empty values for what it does not say."""
    return {
        "classes": tuple(map(str, about.get("classes", ()))),
        "mean": tuple(map(float, about.get("mean", ()))),
        "std": tuple(map(float, about.get("std", ()))),
        "dataset": str(about.get("dataset", "")),
    }


def learning_rates(about: Mapping[str, Any], count: int) -> Sequence[float | None]:
    """Return the learning rate of each distillation that a file names as `lr` or `syn_lr`; None each if it names none.

    Args:
        about: what the file says: one number for all distillations, or one of each.
        count: the number of distillations.

    Raises:
        UsageError: if there are more or fewer numbers.

    """
    value = about.get("lr", about.get("syn_lr"))
    if value is None:
        return [None] * count
    rates: list[float] = np.asarray(value, dtype=np.float64).reshape(-1).tolist()
    if len(rates) not in (1, count):
        raise UsageError(f"{len(rates)} learning rates of {count} distillations; valid: one of each, or one of all")
    return rates * count if len(rates) < count else rates


def in_order_of_labels(names: Iterable[str]) -> tuple[tuple[str, ...], bool]:
    """Return names of classes in the order of labels, and whether names alone say which classes these are.

    They do if they are not numbered from 0, as `00-airplane` or `class 0` are.
    """
    ordered = sorted(names)
    numbers = numbers_of(ordered)
    if sorted(numbers) != list(range(len(ordered))):
        return tuple(ordered), True
    return tuple(name for _, name in sorted(zip(numbers, ordered, strict=True))), False


def numbers_of(names: Sequence[str]) -> list[int]:
    """Return the number with which each name begins, or ends if all begin alike, as `new000`; nothing if one has none."""
    leading = [match for name in names if (match := re.fullmatch(r"(\d+)(\D.*)?", name, re.ASCII | re.DOTALL))]
    if len(leading) == len(names):
        return [int(match[1]) for match in leading]
    last = [match for name in names if (match := re.fullmatch(r"(\D+)(\d+)", name, re.ASCII | re.DOTALL))]
    alike = len(last) == len(names) and len({match[1] for match in last}) == 1
    return [int(match[2]) for match in last] if alike else []
