"""A distilled set of anybody's, `set:PATH`, evaluated under this suite's protocol beside its own methods.

The set is a file or folder in one of the forms of `bench.sets`. It has the cells of its own IPC, on the dataset that its images
fit. Seed `s` takes the distillation of that number. Images are brought from their own normalisation to the dataset's, labels to
its classes. If each distillation carries a learning rate, `--set eval.lr=own` trains with it.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.cells.method import Method
from bench.cells.settings import Settings
from bench.errors import UsageError, listed
from bench.files import DataWarning, user_path
from bench.sets import DistilledSet, files_beside, read_set
from bench.types import Bundle
from methods.outside.doubts import normalisation_doubt, permutation
from methods.outside.imported import Released, distillation, entries_of, evaluated, grey_shape, names_of, order_of
from methods.outside.labels import Matching, mapped, matching

if TYPE_CHECKING:
    from bench.cells.spec import RunSpec
    from bench.types import Shaped

PREFIX = "set:"
"""With what the spelling of a set on the command line begins, and the name of its method."""


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
        self._check_entry(seeds, settings)
        self._check_normalisation(settings)
        self._check_images(settings)
        for assumed in dict.fromkeys(line for source in fitting for line in self.assumptions(source, settings)):
            warnings.warn(f"{self.spelling!r}: {assumed}", DataWarning, stacklevel=2)

    def check_data(self, spec: RunSpec, bundle: Bundle) -> None:
        """Warn if labels look permuted beside the images of a dataset."""
        super().check_data(spec, bundle)
        for doubt in self._doubts(bundle, spec.settings):
            warnings.warn(f"{self.spelling!r}: {doubt}", DataWarning, stacklevel=2)

    def settings_on(self, source: Shaped, settings: Released) -> Released:
        """Return the settings with the classes that labels mean on a dataset, if the hash of the set does not say them."""
        content, order = self.content, self._matching(source).order
        if (
            settings.labels
            or order == tuple(range(len(order)))
            or (content.by_name and set(names_of(content)) == set(source.classes))
        ):
            return settings
        return settings.changed(labels=order)

    def spelled_at(self, path: Path) -> str:
        """Return how the command line names the set when it is at `path`."""
        return f"{PREFIX}{path}"

    def _misfit(self, source: Shaped, settings: Released) -> str:
        """Return why the set is none of a dataset; an empty string if it is one."""
        content, count = self.content, len(source.classes)
        dataset = settings.dataset or content.dataset
        if dataset and dataset != source.name:
            return f"it was distilled from {dataset!r}, not {source.name!r}"
        if source.shape not in (content.shape, grey_shape(content)):
            sizes = ["x".join(map(str, shape)) for shape in (content.shape, source.shape)]
            return f"its images are {sizes[0]} (channels, height, width), those of {source.name!r} {sizes[1]}"
        if content.class_count != count:
            return f"its labels are of {content.class_count} classes, {source.name!r} has {count}"
        if settings.labels is None and (unmatched := self._matching(source).unmatched):
            names = listed(sorted(unmatched))
            if content.by_name:
                return f"its class folders {names} are neither numbered, as in 00-name, nor classes of {source.name!r}"
            return f"its classes {names} are none of {source.name!r}, and the names of others take the classes of their numbers"
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

    def _check_entry(self, seeds: Sequence[int], settings: Released) -> None:
        """Raise `UsageError` if the file lacks an entry that is asked for, or that of a seed."""
        content, owner = self.content, f"--set {self.name}.entry"
        count = len(content.distillations)
        if isinstance(settings.entry, int) and settings.entry >= count:
            raise UsageError(
                f"{owner}={settings.entry}: {self.spelling!r} has {count} entries; valid: 0 to {count - 1}, or last"
            )
        missing = [] if settings.entry is not None else [seed for seed in seeds if seed not in content.seeds]
        if missing:
            valid = f"--seeds {','.join(map(str, content.seeds))}, or {owner}=last for one entry for every seed"
            raise UsageError(f"--seeds: {self.spelling!r} has no distillation of seed {missing[0]}; valid: {valid}")

    def _check_images(self, settings: Released) -> None:
        """Raise `UsageError` if images cannot be cut as is asked for, or labels are of other classes."""
        content, owner = self.content, f"--set {self.name}"
        height, width = content.shape[1:]
        if height % settings.factor or width % settings.factor:
            valid = [str(size) for size in range(1, min(height, width) + 1) if not (height % size or width % size)]
            what = f"images of {height}x{width} are not cut into {settings.factor} x {settings.factor} of one size"
            raise UsageError(f"{owner}.factor={settings.factor}: {what}; valid: {', '.join(valid)}")
        if settings.labels is not None and len(settings.labels) != content.class_count:
            raise UsageError(f"{owner}.labels: {len(settings.labels)} classes; valid: {content.class_count}, one of each label")

    def _matching(self, source: Shaped) -> Matching:
        """Return which classes of a dataset the labels mean."""
        aliases = dict(getattr(source, "aliases", ()))
        return matching(names_of(self.content), source.classes, aliases, numbered=not self.content.by_name)

    def assumptions(self, source: Shaped, settings: Released) -> Iterator[str]:
        """Yield what the file does not say, and what looks wrong: normalisation, entries, what its classes are on a dataset."""
        content, owner = self.content, f"--set {self.name}"
        if content.family and settings.mean is None and not content.in_pixels:
            yield (
                "the file says no mean and deviation; those of the dataset are taken, as is usual in the DatasetCondensation "
                f"family ({owner}.mean=... and .std=... name others)"
            )
        mean, std = settings.mean or content.mean, settings.std or content.std
        usual = getattr(source, "mean", ()), getattr(source, "std", ())
        doubt = normalisation_doubt(content, *((mean, std) if mean else usual), said=bool(mean))
        yield from content.remarks
        if doubt:
            yield doubt if content.in_pixels else f"{doubt}; {owner}.mean=... and .std=... name others"
        yield from self._entries(settings)
        if settings.factor > 1:
            images = content.ipc * settings.factor**2
            yield (
                f"each image is cut into {settings.factor} x {settings.factor}, which are enlarged: networks are trained on "
                f"{images} images a class"
            )
        yield from self._by_number(source, settings)
        if isinstance(source, Bundle):
            yield from self._doubts(source, settings)

    def _entries(self, settings: Released) -> Iterator[str]:
        """Yield which entry of the file a seed takes, if that is not said by the file."""
        content, count = self.content, len(self.content.distillations)
        if settings.entry is not None:
            number = count - 1 if settings.entry == "last" else settings.entry
            yield f"every seed takes entry {number} of 0 to {count - 1}, so ± is between networks trained on the same images"
        elif not content.names_seeds:
            yield (
                f"the file names no seeds and has {count} entries, which may be distillations or snapshots of one run: seed s "
                f"takes entry s, from 0 (--set {self.name}.entry=last, or a number, takes that one for every seed)"
            )

    def _by_number(self, source: Shaped, settings: Released) -> Iterator[str]:
        """Yield the labels that no name explains."""
        names, match = names_of(self.content), self._matching(source)
        if match.by_number and settings.labels in (None, match.order):
            first = match.by_number[0]
            said = f"it calls a class {names[first]!r} that {source.name!r} calls {source.classes[match.order[first]]!r}"
            mapping = mapped(names, match.by_number, match.order, source.classes)
            yield f"{said}; labels are taken by number: {mapping}"

    def _doubts(self, bundle: Bundle, settings: Any) -> Iterator[str]:
        """Yield that labels look permuted, and how."""
        content, classes = self.content, bundle.classes
        for each in entries_of(content, settings):
            images, labels = evaluated(content, each, settings, bundle)
            best = permutation(images, labels, bundle)
            if best is not None:
                moved = [label for label, other in enumerate(best) if label != other]
                seen = f"by the nearest class mean of real images, {mapped(classes, moved, best, classes)}"
                remedy = ",".join(str(best[label]) for label in settings.labels or order_of(content, classes))
                yield f"its labels look permuted: {seen}; if so, --set {self.name}.labels={remedy}"
                return


def released_method(spelling: str) -> ReleasedSet:
    """Return the method of a distilled set; raise `UsageError` if it cannot be read, or is none.

    Args:
        spelling: `set:PATH`, a file or folder in one of the forms of `bench.sets`.

    """
    path = user_path(spelling.removeprefix(PREFIX))
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
        files=(path, *files_beside(path).values()),
    )


def _typed(values: Any) -> str:
    """Return numbers as the command line takes them."""
    return ",".join(f"{value:g}" for value in values)
