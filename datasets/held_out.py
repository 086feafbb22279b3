"""The validation split: some training images take the place of the test set."""

from __future__ import annotations

from dataclasses import replace

from bench.errors import UsageError
from bench.lazy import torch
from bench.seeding import Streams
from bench.types import Bundle, Split


def held_out(bundle: Bundle, *, fraction: float, seed: int) -> Bundle:
    """Return `bundle` with some training images of each class, held out, as its test images.

    Which images are held out depends on the seed and the dataset's name alone. The others keep their order.

    Args:
        bundle: the dataset; its test split is not read.
        fraction: of each class that is held out: at least one image, and not all.
        seed: the seed of the run.

    Returns:
        The dataset with a smaller training split, and with the held-out images as its test split.

    Raises:
        UsageError: if a class has fewer than two images.

    """
    generator = Streams(seed, bundle.name, None).generator("holdout")
    kept, chosen = [], []
    for label in range(len(bundle.classes)):
        members = (bundle.train.labels == label).nonzero().flatten()
        members = members[torch.randperm(len(members), generator=generator)]
        if len(members) < 2:
            raise UsageError(
                f"--set data.split=validation: class {bundle.classes[label]!r} of {bundle.name} has {len(members)} training "
                f"images; valid: at least two of each class, one to train on and one to hold out"
            )
        count = min(max(1, round(fraction * len(members))), len(members) - 1)
        chosen.append(members[:count])
        kept.append(members[count:])
    splits = []
    for indices in (kept, chosen):
        index = torch.cat(indices).sort().values
        splits.append(Split(bundle.train.images[index], bundle.train.labels[index]))
    return replace(bundle, train=splits[0], test=splits[1])
