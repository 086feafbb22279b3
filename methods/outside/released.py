"""A distilled set of anybody's, `set:PATH`, evaluated under this suite's protocol beside its own methods.

The set is a file or folder in one of the forms of `bench.sets`. It has the cells of its own IPC, on the dataset that its images
fit. Seed `s` takes the distillation of that number. Images are brought from their own normalisation to the dataset's. If each
distillation carries a learning rate, `--set eval.lr=own` trains with it.
"""

from __future__ import annotations

import math
import re
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import BeforeValidator, Field

from bench.cells.method import Method
from bench.cells.settings import Settings, Valid
from bench.errors import UsageError
from bench.files import DataWarning
from bench.lazy import torch
from bench.loops.images import normalise
from bench.sets import DistilledSet, read_set
from bench.types import SyntheticSet

if TYPE_CHECKING:
    from torch import Tensor

    from bench.cells.task import Task
    from bench.types import Bundle, Shaped

PREFIX = "set:"
"""With what the spelling of a set on the command line begins, and the name of its method."""

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


@dataclass(frozen=True, kw_only=True)
class ReleasedSet(Method):
    """The method of a distilled set that was read from `content`."""

    settings: type[Settings] = Released
    content: DistilledSet = field(compare=False, repr=False)

    def has_cell(self, source: Shaped, ipc: int | None, settings: Released) -> bool:
        """Return whether the set fits a dataset and has this many images a class."""
        return ipc == self.content.ipc and not self._misfit(source, settings)

    def check(self, sources: Sequence[Shaped], ipcs: Sequence[int], seeds: Sequence[int], settings: Released) -> None:
        """Raise `UsageError` if the set has no cell of a grid, or lacks a seed; warn if something is assumed.

        Args:
            sources: the datasets.
            ipcs: images per class.
            seeds: one distillation each.
            settings: what the command line says of the set.

        """
        content = self.content
        misfits = {source.name: self._misfit(source, settings) for source in sources}
        fitting = [source for source in sources if not misfits[source.name]]
        if not fitting:
            reasons = "; ".join(misfits.values())
            raise UsageError(f"--methods {self.spelling!r} fits no dataset of this run: {reasons}")
        if len(fitting) > 1 and not (settings.dataset or content.dataset):
            names = ", ".join(source.name for source in fitting)
            raise UsageError(f"--methods {self.spelling!r} may be of {names}; valid: --set {self.name}.dataset=NAME")
        if content.ipc not in ipcs:
            asked = ",".join(map(str, ipcs))
            raise UsageError(f"--ipc {asked}: {self.spelling!r} has {content.ipc} images a class; valid: --ipc {content.ipc}")
        missing = [seed for seed in seeds if seed not in content.seeds]
        if missing:
            valid = ",".join(map(str, content.seeds))
            raise UsageError(f"--seeds: {self.spelling!r} has no distillation of seed {missing[0]}; valid: --seeds {valid}")
        self._check_normalisation(settings)
        for assumed in dict.fromkeys(line for source in fitting for line in self.assumptions(source, settings)):
            warnings.warn(f"{self.spelling!r}: {assumed}", DataWarning, stacklevel=2)

    def spelled_at(self, path: Path) -> str:
        """Return how the command line names the set when it is at `path`."""
        return f"{PREFIX}{path}"

    def _misfit(self, source: Shaped, settings: Released) -> str:
        """Return why the set is none of a dataset; an empty string if it is one."""
        content, count = self.content, len(source.classes)
        dataset = settings.dataset or content.dataset
        if dataset and dataset != source.name:
            return f"it was distilled from {dataset!r}, not {source.name!r}"
        if content.shape != source.shape:
            sizes = ["x".join(map(str, shape)) for shape in (content.shape, source.shape)]
            return f"its images are {sizes[0]} (channels, height, width), those of {source.name!r} {sizes[1]}"
        if content.class_count != count:
            return f"its labels are of {content.class_count} classes, {source.name!r} has {count}"
        if content.by_name and set(content.classes) != set(source.classes):
            names = ", ".join(sorted(set(content.classes) - set(source.classes)))
            return f"its class folders {names} are neither numbered, as in 00-name, nor classes of {source.name!r}"
        return ""

    def _check_normalisation(self, settings: Released) -> None:
        """Raise `UsageError` if the normalisation is missing, or what is said of it cannot be true."""
        content, owner = self.content, f"--set {self.name}"
        typed = {name: value for name, value in (("mean", settings.mean), ("std", settings.std)) if value is not None}
        if typed and content.in_pixels:
            raise UsageError(f"{owner}.{next(iter(typed))}: its images are pixels from 0 to 255; valid: no mean and no std")
        if len(typed) == 1:
            raise UsageError(f"{owner}.{next(iter(typed))}: one without the other; valid: both mean and std")
        for name, values in typed.items():
            if len(values) != content.shape[0]:
                count = content.shape[0]
                raise UsageError(f"{owner}.{name}={_typed(values)}: {len(values)} values; valid: {count}, one for each channel")
        if settings.std and min(settings.std) <= 0:
            raise UsageError(f"{owner}.std={_typed(settings.std)}; valid: numbers above 0")
        if not (typed or content.in_pixels or content.mean or content.family):
            raise UsageError(
                f"--methods {self.spelling!r}: its images are floats, and nothing says how they were normalised; "
                f"valid: {owner}.mean=... {owner}.std=..., for example 0 and 1 for images from 0 to 1"
            )

    def assumptions(self, source: Shaped, settings: Released) -> Iterator[str]:
        """Yield what the file does not say: the normalisation, or what its classes are on this dataset."""
        content = self.content
        if content.family and settings.mean is None:
            yield (
                "the file says no mean and deviation; those of the dataset are taken, as is usual in the DatasetCondensation "
                f"family (--set {self.name}.mean=... and .std=... name others)"
            )
        names = zip(content.classes, source.classes, strict=True) if content.classes else ()
        other = next((pair for pair in names if set(content.classes) != set(source.classes) and pair[0] != pair[1]), None)
        if other is not None:
            yield f"it calls a class {other[0]!r} that {source.name!r} calls {other[1]!r}; labels are taken by number"


def released_method(spelling: str) -> ReleasedSet:
    """Return the method of a distilled set; raise `UsageError` if it cannot be read, or is none.

    Args:
        spelling: `set:PATH`, a file or folder in one of the forms of `bench.sets`.

    """
    path = Path(spelling.removeprefix(PREFIX))
    try:
        content = read_set(path)
    except UsageError as error:
        raise UsageError(f"--methods {spelling!r}: {error}") from error
    stem = path.stem if path.is_file() else path.resolve().name
    name = PREFIX + re.sub(r"[^A-Za-z0-9_-]+", "-", stem).strip("-")
    return ReleasedSet(
        name=name,
        label=name,
        citation=spelling,
        spelling=spelling,
        procedure=partial(distillation, content),
        code=content.digest,
        learns_lr=bool(content.lrs),
        content=content,
        files=(path,),
    )


def distillation(content: DistilledSet, task: Task) -> SyntheticSet:
    """Return the distillation of the cell's seed, in the dataset's normalised units, with its labels and learning rate."""
    distilled, device, settings = content.distillations[content.seeds.index(task.spec.seed)], task.compute.device, task.settings
    images, labels = torch.from_numpy(distilled.images), torch.from_numpy(distilled.labels)
    if content.in_pixels:
        images = normalise(images, task.bundle)
    else:
        images = renormalised(images, settings.mean or content.mean, settings.std or content.std, task.bundle)
    labels = _in_order_of(task.bundle.classes, labels, content.classes)
    return SyntheticSet(images.to(device), labels.to(device), lr=distilled.lr)


def _in_order_of(classes: Sequence[str], labels: Tensor, own: Sequence[str]) -> Tensor:
    """Return labels in the order of a dataset's classes.

    Args:
        classes: the dataset's.
        labels: `[N]`, or probabilities `[N, classes]`, in the order of the file.
        own: the classes that the file names, in its order; if they are not those of the dataset, its order is the dataset's.

    """
    if set(own) != set(classes):
        return labels
    order = torch.tensor([classes.index(name) for name in own])  # of the file's label -> the dataset's
    return torch.empty_like(labels).index_copy_(1, order, labels) if labels.dim() == 2 else order[labels]


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


def _typed(values: Any) -> str:
    """Return numbers as the command line takes them."""
    return ",".join(f"{value:g}" for value in values)
