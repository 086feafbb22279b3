"""What looks wrong of a distilled set: a normalisation that cannot be right, and labels that look permuted."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache
from typing import TYPE_CHECKING

from bench.lazy import numpy as np
from bench.lazy import scipy, torch

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

    from bench.sets import DistilledSet
    from bench.types import Bundle

_BRIGHTEST = 20.0
"""No image that is distilled from [0, 1] has a higher value, however large the steps are: those of SGD reach 7."""

_FLATTEST = 0.01
_DARKEST = -0.1
"""Images that are distilled as pixels from 0 to 1 may go a little below 0."""

_ODDS = math.log(1000)
_WORST_FIT = 0.4
"""Images that are far from those of all classes, such as noise or parts of images, have no labels that explain them."""

_MOST_OF_A_CLASS = 10
"""Images of one class are alike, so more of them count as ten."""

_CHUNK = 256


def normalisation_doubt(content: DistilledSet, mean: Sequence[float], std: Sequence[float], *, said: bool) -> str:
    """Return what cannot be right of the normalisation, with the likely cause; an empty string if nothing shows.

    Args:
        content: the set.
        mean: of each channel, with pixel / 255 = image · std + mean; empty if nobody knows it.
        std: likewise.
        said: whether the file or the user names them; if not, they are assumed.

    """
    if content.in_pixels:
        mean, std = (0.0,), (1 / 255,)
    elif not mean:
        return ""
    ends = [(each.images.min((0, 2, 3)), each.images.max((0, 2, 3))) for each in content.distillations]
    low, high = np.min([end[0] for end in ends], 0), np.max([end[1] for end in ends], 0)  # of each channel
    lowest, undone = float(low.min()), (low * np.asarray(std) + mean, high * np.asarray(std) + mean)
    darkest, brightest = float(undone[0].min()), float(undone[1].max())
    if brightest - darkest < _FLATTEST:
        return f"its values lie within {brightest - darkest:.2g} of each other: divided by 255 twice, or of one colour"
    if content.in_pixels:
        return ""
    if brightest > _BRIGHTEST:
        cause = "images from 0 to 255, a mean and deviation of such, or another set's"
        return f"its values reach {brightest:.4g} once the normalisation is undone, and not about 1: {cause}"
    if lowest >= 0 and max(mean) > 0:
        named = f"a mean of {max(mean):g} is {'said' if said else 'assumed'}"
        cause = f"images from 0 to {1 if high.max() < 1.5 else 255}, which nobody normalised"
        return f"none of its values is below 0, though {named}: {cause}"
    if lowest < _DARKEST and not any(mean) and set(std) == {1.0}:
        cause = "normalised already by other numbers, or whitened by ZCA, which is not undone here"
        return f"its values go down to {lowest:.2g}, though mean 0 and deviation 1 are said: {cause}"
    return ""


def permutation(images: Tensor, labels: Tensor, bundle: Bundle) -> tuple[int, ...] | None:
    """Return the class that each label seems to mean if that is another one; None if labels are as good as any others.

    Each image has a nearest class mean of real images. How often real images of a class have which gives the likelihood of what
    is seen under any assignment of labels to classes. The best assignment counts if it is 1000 times as likely as the labels
    themselves, after division by the number of assignments that move as many classes, and if it explains an image about as well
    as labels explain a real one, in mean log-likelihood.

    Args:
        images: `[N, channels, H, W]` in the dataset's normalised units.
        labels: `[N]`, classes, or probabilities `[N, classes]`.
        bundle: the dataset.

    """
    means, likelihood = _of_real_images(bundle)
    labels = labels.argmax(1) if labels.dim() == 2 else labels
    seen = _confusion(_nearest(images.flatten(1), means), labels, len(means))
    seen *= np.minimum(1, _MOST_OF_A_CLASS / np.maximum(1, seen.sum(1, keepdims=True)))
    evidence = seen @ np.log(likelihood).T  # [label, class]
    _, best = scipy.optimize.linear_sum_assignment(-evidence)
    own = np.arange(len(means))
    explained, moved = evidence[own, best].sum(), int((best != own).sum())
    choices = math.lgamma(len(means) + 1) - math.lgamma(len(means) - moved + 1)
    usual = (likelihood * np.log(likelihood)).sum() / len(means)  # of a real image
    is_clear = explained - evidence[own, own].sum() > choices + _ODDS and explained / seen.sum() > usual - _WORST_FIT
    return tuple(map(int, best)) if is_clear else None


@lru_cache(maxsize=1)
def _of_real_images(bundle: Bundle) -> tuple[Tensor, NDArray[np.float64]]:
    """Return the mean of each class, `[C, d]` in normalised units, and how likely an image of a class is nearest to each."""
    images, labels, count = bundle.train.images, bundle.train.labels, len(bundle.classes)
    sums = torch.zeros(count, images[0].numel())
    for begin in range(0, len(images), _CHUNK):
        sums.index_add_(0, labels[begin : begin + _CHUNK], images[begin : begin + _CHUNK].flatten(1).float())
    means = _normalised(sums / labels.bincount(minlength=count).unsqueeze(1), bundle)
    nearest = [
        _nearest(_normalised(images[begin : begin + _CHUNK].flatten(1).float(), bundle), means)
        for begin in range(0, len(images), _CHUNK)
    ]
    seen = _confusion(torch.cat(nearest), labels, count) + 1
    return means, seen / seen.sum(1, keepdims=True)


def _normalised(levels: Tensor, bundle: Bundle) -> Tensor:
    """Return levels from 0 to 255, `[N, channels · H · W]`, in normalised units."""
    mean, std = (torch.tensor(values).view(-1, 1) for values in (bundle.mean, bundle.std))
    normalised: Tensor = ((levels.unflatten(1, (len(bundle.mean), -1)) / 255 - mean) / std).flatten(1)
    return normalised


def _nearest(images: Tensor, means: Tensor) -> Tensor:
    """Return the class whose mean is nearest to each image, `[N]`."""
    nearest: Tensor = torch.cdist(images, means).argmin(1)
    return nearest


def _confusion(nearest: Tensor, labels: Tensor, count: int) -> NDArray[np.float64]:
    """Return how many images of each label have which nearest mean, `[C, C]`."""
    counts = (labels * count + nearest).bincount(minlength=count**2).view(count, count)
    return np.asarray(counts, dtype=np.float64)
