"""From the content of a file to the images and labels that networks are trained on, and the settings of that."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import BeforeValidator, Field

from bench.cells.settings import Count, Later, NonNegativeInt, Settings, Valid
from bench.lazy import torch
from bench.loops.images import normalise
from bench.sets import Distillation, DistilledSet
from bench.types import SyntheticSet

if TYPE_CHECKING:
    from torch import Tensor

    from bench.cells.task import Task
    from bench.types import Bundle

_NUMBERS = "a number for each channel, with commas between"


def _as_numbers(values: object) -> object:
    """Return the numbers that were typed; raise `ValueError` if one is no number."""
    if not isinstance(values, tuple):
        return values
    try:
        numbers = tuple(map(float, values))
    except ValueError:
        numbers = (math.nan,)
    if not all(map(math.isfinite, numbers)):
        raise ValueError(f"valid: {_NUMBERS}")
    return numbers


Numbers = Annotated[tuple[float, ...], Valid(_NUMBERS), BeforeValidator(_as_numbers)]

_CLASSES = "the number of a class for each label, each once, with commas between"


def _as_classes(values: object) -> object:
    """Return the whole numbers that were typed; raise `ValueError` if they are not those from 0, each once."""
    if not isinstance(values, tuple):
        return values
    if sorted(map(str, values)) != sorted(map(str, range(len(values)))):
        raise ValueError(f"valid: {_CLASSES}")
    return tuple(map(int, values))


Classes = Annotated[tuple[int, ...], Valid(_CLASSES), BeforeValidator(_as_classes)]


class Released(Settings):
    """What a file does not say, or says wrongly."""

    mean: Numbers | None = Field(
        default=None,
        description="Mean of each channel, pixel / 255 = image * std + mean, 0 for images from 0 to 1; none for the file's.",
    )
    std: Numbers | None = Field(
        default=None, description="Deviation of each channel, likewise, 1 for images from 0 to 1; none for the file's."
    )
    dataset: str | None = Field(
        default=None, exclude=True, description="Dataset of the run that the set belongs to; it decides no number."
    )
    entry: Annotated[NonNegativeInt | Literal["last"] | None, Later()] = Field(
        default=None, description="Entry of the file for every seed, counted from 0, or `last`; none for one of each seed."
    )
    factor: Annotated[Count, Later()] = Field(
        default=1,
        description="Pictures along a side of each stored image, which is cut into them; they are enlarged bilinearly.",
    )
    labels: Annotated[Classes | None, Later()] = Field(
        default=None, description="Class of the dataset that each label of the file means; none if names or numbers say it."
    )


def distillation(content: DistilledSet, task: Task) -> SyntheticSet:
    """Return the distillation of the cell's seed, in the dataset's normalised units, with its labels and learning rate."""
    settings: Any = task.settings
    entries, device = entries_of(content, settings), task.compute.device
    distilled = entries[0] if settings.entry is not None else entries[content.seeds.index(task.spec.seed)]
    images, labels = evaluated(content, distilled, settings, task.bundle)
    return SyntheticSet(images.to(device), labels.to(device), lr=distilled.lr)


def entries_of(content: DistilledSet, settings: Released) -> Sequence[Distillation]:
    """Return the distillations that seeds may take."""
    if settings.entry is None:
        return content.distillations
    return [content.distillations[-1 if settings.entry == "last" else settings.entry]]


def evaluated(content: DistilledSet, distilled: Distillation, settings: Released, bundle: Bundle) -> tuple[Tensor, Tensor]:
    """Return the images and labels of a distillation as networks are trained on them.

    Args:
        content: the set.
        distilled: one of its distillations.
        settings: what the command line says of the set.
        bundle: the dataset.

    Returns:
        Images `[N · factor², channels, H, W]` in the dataset's normalised units, and labels in the order of its classes.

    """
    images, mean, std = torch.from_numpy(distilled.images), settings.mean or content.mean, settings.std or content.std
    if images.shape[1] > bundle.shape[0]:  # grey, saved as RGB
        images, mean, std = images[:, :1].contiguous(), mean[:1], std[:1]
    images = normalise(images, bundle) if content.in_pixels else renormalised(images, mean, std, bundle)
    order = torch.tensor(settings.labels or order_of(content, bundle.classes))  # the class of each label
    labels = torch.from_numpy(distilled.labels)
    labels = torch.empty_like(labels).index_copy_(1, order, labels) if labels.dim() == 2 else order[labels]
    return cut(images, settings.factor), labels.repeat(settings.factor**2, *([1] * (labels.dim() - 1)))


def cut(images: Tensor, factor: int) -> Tensor:
    """Return the pictures in mosaics of `factor` x `factor`, each enlarged to the size of a mosaic.

    The order is that of IDC: all that are above on the left, then those to the right of them, and so on, row by row.

    Args:
        images: `[N, channels, H, W]`, both sides multiples of the factor.
        factor: of the sides; 1 leaves images as they are.

    """
    if factor == 1:
        return images
    height, width = (side // factor for side in images.shape[2:])
    tiles = [
        images[:, :, row * height : (row + 1) * height, column * width : (column + 1) * width]
        for row in range(factor)
        for column in range(factor)
    ]
    return torch.nn.functional.interpolate(torch.cat(tiles), size=images.shape[2:], mode="bilinear")


def names_of(content: DistilledSet) -> tuple[str, ...]:
    """Return the names of a set's classes in the order of its labels, or of its class folders."""
    return content.classes or content.folders


def order_of(content: DistilledSet, classes: Sequence[str]) -> tuple[int, ...]:
    """Return the class of each label if no setting says it: that of its name, if the names are those of the dataset."""
    own = content.classes
    return tuple(classes.index(name) for name in own) if set(own) == set(classes) else tuple(range(len(classes)))


def grey_shape(content: DistilledSet) -> tuple[int, int, int] | None:
    """Return the shape of images that have one channel three times with that channel once; None for others."""
    return (1, *content.shape[1:]) if content.is_grey else None


def renormalised(images: Tensor, mean: Sequence[float], std: Sequence[float], bundle: Bundle) -> Tensor:
    """Return images in the normalised units of a dataset; they stay bit-equal if they have these already.

    Args:
        images: float32 `[N, channels, H, W]`.
        mean: of each channel, by which they were normalised; empty for the dataset's own.
        std: likewise.
        bundle: the dataset.

    """
    if not mean or (tuple(mean), tuple(std)) == (bundle.mean, bundle.std):
        return images
    shift, scale, own_mean, own_std = (
        torch.tensor(values, dtype=torch.float64).view(-1, 1, 1) for values in (mean, std, bundle.mean, bundle.std)
    )
    return ((images.double() * scale + shift - own_mean) / own_std).float()
