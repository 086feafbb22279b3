"""What a method is: the contract, and the kinds of methods.

A method's file describes it and starts nothing: its settings with the published defaults, what a short profile sets otherwise,
its label, citation, order and colour in tables and figures, and which procedure distills.

    METHOD = FeatureMatching(name="dm", label="DM", citation="...", settings=MeanMatching, order=80, color="#0173b2")

The loop, the ranks and the plan ask the description for what they need.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.cells.artefact import ArtefactSpec, Preparation
from bench.cells.loss import FeatureLoss, reason_coupled
from bench.cells.protocol import Match
from bench.cells.settings import Settings
from bench.cells.spec import RunSpec
from bench.networks.fitting import fit
from bench.types import Bundle, Shaped, SyntheticSet

if TYPE_CHECKING:
    from bench.cells.task import Task

LATE = 500
"""The order of a method that names none: after the suite's own, before the whole training set."""

Procedure = Callable[["Task"], SyntheticSet]
"""Distills one cell; the settings are `task.settings`."""


class NoSettings(Settings):
    """The settings of a method that has none."""


@dataclass(frozen=True, kw_only=True)
class Method:
    """One entry of the registry.

    Required:
        name: its key, as `--methods` names it.
        label: what tables and figures print.
        citation: paper and equation or algorithm.
        procedure: the function that distills a cell, or its location `"module:function"` if importing it takes long.

    Optional:
        settings: its hyper-parameters, with the published values as defaults.
        presets: by profile, the settings that differ from the defaults there.
        order: its position among the columns of tables, from left to right.
        color: its colour in figures, `#rrggbb`; empty if one is to be chosen.
        sections: the sections of the protocol that its numbers depend on, besides data and network.
        whole_set: whether its result is the full training set, whatever the IPC.
        has_passes: whether distilling passes images through networks in the run's precision.
        passes_per_class: `(settings, ipc) -> images` of a class that pass through `settings.network`; see `passes`.
        by_class: whether its procedure works class by class, with `task.share` and `task.sum`.
        each_size: whether a class of few images gives a step all that it has, by `Batches.real_by_size`; with `Batches.real`
            every class gives as few as the smallest one, which the run and the record say.
        learns_lr: whether its sets carry a learning rate, which `eval.lr=own` asks for.
        preparation: what several of its cells share, such as a trained network; it is made once.
        code: a hash of the user's own file that it comes from.
        files: the user's own files that it comes from, the one that was named first.
        spelling: how the command line names it, if not by `name`.

    A subclass may override `settings_on`, `match`, `has_cell`, `check`, `check_data`, `batch_notes`, `real_batch`,
    `reason_of_one_size`, `passes`, `assumptions`, `reason_not_divisible`, `spelled_at`, `networks` and `artefacts`.

    """

    name: str
    label: str
    citation: str
    procedure: Procedure | str
    settings: type[Settings] = NoSettings
    presets: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    order: int = LATE
    color: str = ""
    sections: tuple[str, ...] = ("eval",)
    whole_set: bool = False
    has_passes: bool = False
    passes_per_class: Callable[[Any, int], float] | None = None
    by_class: bool = False
    each_size: bool = False
    learns_lr: bool = False
    preparation: Preparation | None = None
    code: str = ""
    files: tuple[Path, ...] = ()
    spelling: str = ""

    def resolve(self, typed: Mapping[str, str], *, profile: str) -> Settings:
        """Return the settings of a run: first the values of `--set`, then the profile's preset, then the published defaults.

        Args:
            typed: values by field, as typed on the command line.
            profile: the name of the protocol's profile.

        Raises:
            UsageError: if a field is unknown or a value is not valid.

        """
        return self.settings.from_texts(typed, owner=self.name, base=self.presets.get(profile, {}))

    def settings_on(self, source: Shaped, settings: Any) -> Settings:
        """Return the settings with what follows from a dataset; for most methods nothing does.

        Args:
            source: the dataset.
            settings: the method's own.

        """
        complete: Settings = settings
        return complete

    def match(self, match: Match, settings: Any) -> Match:
        """Return the settings of the matching loop for this method, complete.

        Args:
            match: the protocol's.
            settings: the method's own.

        Raises:
            UsageError: if the two contradict each other.

        """
        return match.with_step()

    def has_cell(self, source: Shaped, ipc: int | None, settings: Any) -> bool:
        """Return whether a grid has cells of this method on a dataset at an IPC; None means the whole training set."""
        return self.whole_set == (ipc is None)

    def check(self, sources: Sequence[Shaped], ipcs: Sequence[int], seeds: Sequence[int], settings: Any) -> None:
        """Raise `UsageError` if the method cannot fill its cells of a grid; most methods can.

        Args:
            sources: the datasets.
            ipcs: images per class.
            seeds: one distillation each.
            settings: the method's own.

        """

    def check_data(self, spec: RunSpec, bundle: Bundle) -> None:
        """Raise `UsageError` if the images of a dataset do not do for a cell, before work starts; for most methods all do.

        Args:
            spec: the cell.
            bundle: its dataset.

        """

    def batch_notes(self, spec: RunSpec, bundle: Bundle) -> Iterator[str]:
        """Yield that every class gives a step as few real images as the smallest class has, if that is so.

        Args:
            spec: the cell.
            bundle: its dataset.

        """
        (smallest, name), wanted = smallest_class(bundle), self.real_batch(spec)
        if smallest < wanted and (reason := self.reason_of_one_size(spec)):
            few = f"every class gives {smallest} real images a step, as many as the smallest class {name!r} has"
            yield f"{few}, and not {wanted}: {reason}"

    def real_batch(self, spec: RunSpec) -> int:
        """Return how many real images a class is to give a step; 0 for a method without steps."""
        size: int = getattr(spec.settings, "real_batch", 0)
        return size

    def reason_of_one_size(self, spec: RunSpec) -> str | None:
        """Return why all classes have to give equally many real images; None if they need not."""
        return None if self.each_size else "the method takes equally many of all classes"

    def passes(self, spec: RunSpec, *, classes: int, images: int) -> tuple[float, str]:
        """Return about how many images pass through a network while a cell is distilled, and the network's name.

        A pass with gradient counts as three. It is for estimating seconds. What is prepared for several cells is not counted
        here: see `ArtefactSpec.passes`.

        Args:
            spec: the cell.
            classes: of its dataset.
            images: in the training set.

        """
        if self.passes_per_class is None:
            return 0.0, ""
        settings: Any = self.settings.model_validate(dict(spec.settings))
        return classes * self.passes_per_class(settings, spec.ipc or 0), settings.network

    def assumptions(self, source: Shaped, settings: Any) -> Iterable[str]:
        """Return what is assumed of the images on a dataset, which a reader of the accuracies has to know; mostly nothing.

        Args:
            source: the dataset.
            settings: the method's own.

        """
        return ()

    def reason_not_divisible(self, spec: RunSpec, source: Shaped) -> str | None:
        """Return why one process has to distill a cell alone; None if ranks can share its classes.

        Args:
            spec: the cell.
            source: its dataset.

        """
        return None if self.by_class else "the method does not work class by class"

    def spelled_at(self, path: Path) -> str:
        """Return how the command line names the method when its first file is at `path`."""
        return f"{path}:{self.name}"

    def networks(self, settings: Settings) -> tuple[str, ...]:
        """Return the names of the networks that distilling uses besides the matching loop's."""
        name = getattr(settings, "network", "")
        return (name,) if name else ()

    def artefacts(self, spec: RunSpec) -> tuple[ArtefactSpec, ...]:
        """Return what has to be prepared before a cell is distilled, and is shared with others; mostly nothing."""
        return (self.preparation.describe(spec, self.code),) if self.preparation else ()


@dataclass(frozen=True, kw_only=True)
class FeatureMatching(Method):
    """A method that matches features in the one matching loop; its settings are its loss."""

    procedure: Procedure | str = "bench.loops.matching:match"
    settings: type[FeatureLoss] = FeatureLoss
    sections: tuple[str, ...] = ("match", "eval")
    has_passes: bool = True

    @property
    def objective(self) -> type[FeatureLoss]:
        """The loss: `METHODS["emd"].objective()(real, syn, generator=...)` returns its value for each class."""
        return self.settings

    def match(self, match: Match, settings: FeatureLoss) -> Match:
        """Return the settings of the matching loop for this loss: its own size of a step counts before the common one."""
        return match.with_step(rate=settings.rate, lr_images=settings.lr_images, owner=self.name)

    def passes(self, spec: RunSpec, *, classes: int, images: int) -> tuple[float, str]:
        """Return the passes of real batches, and of synthetic images with gradient."""
        match = spec.protocol.match
        assert match is not None
        return float((match.iterations or 0) * classes * (match.real_batch + 3 * (spec.ipc or 0))), match.network

    def reason_not_divisible(self, spec: RunSpec, source: Shaped) -> str | None:
        """Return the reason: a batch norm, or a loss that keeps state or does not declare that it works class by class."""
        match, size = spec.protocol.match, spec.protocol.network
        assert match is not None
        extractor = fit(match.network, source.shape, classes=len(source.classes), width=size.width, depth=size.depth)
        if extractor.uses_batch:
            return f"the batch norm of {extractor.label} couples the classes"
        return reason_coupled(spec.settings)

    def real_batch(self, spec: RunSpec) -> int:
        """Return how many real images a class is to give a step."""
        assert spec.protocol.match is not None
        return spec.protocol.match.real_batch

    def reason_of_one_size(self, spec: RunSpec) -> str | None:
        """Return the reason: a loss that keeps state or does not declare that it works class by class."""
        return reason_coupled(spec.settings)


def smallest_class(bundle: Bundle) -> tuple[int, str]:
    """Return the number of training images of the smallest class, and its name."""
    counts = bundle.train.labels.bincount(minlength=len(bundle.classes))
    return int(counts.min()), bundle.classes[int(counts.argmin())]
