"""What a method is: the contract, and the kinds of methods.

A method's file holds all that the suite knows of it: its settings with the published defaults, what a short profile sets
otherwise, its label, citation, place and colour in tables and figures, and how it distills.

    METHOD = FeatureMatching(name="dm", label="DM", citation="...", settings=MeanMatching, order=80, color="#0173b2")
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field

from bench.lazy import matching
from bench.lazy import network as networks
from bench.protocol import Match
from bench.settings import Positive, Settings
from bench.spec import RunSpec
from bench.types import ContextObjective, Objective, SyntheticSet

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from bench.grid import Shaped
    from bench.task import Task

LATE = 500
"""The place of a method that names none: after the suite's own, before the whole training set."""


class NoSettings(Settings):
    """The settings of a method that has none."""


class FeatureLoss(Settings):
    """Base of the losses on features. Its settings are the loss: an instance is an `Objective`.

    `rate` and `lr_images` are the size of a step on the images for this loss alone, where it is not to have the common one of
    the protocol's section `match`. They are no part of the loss: a cell's description holds them in that section.
    """

    rate: Annotated[Positive | None, Field(exclude=True)] = None
    lr_images: Annotated[Positive | None, Field(exclude=True)] = None

    def __call__(self, real: Tensor, syn: Tensor, *, generator: torch.Generator) -> Tensor:
        """Return the loss of each class, `[C]`; see `Objective`."""
        raise NotImplementedError(f"{type(self).__name__} has no __call__")

    def for_cell(self) -> Objective | ContextObjective:
        """Return the loss of one cell: this one, or a new one where it keeps state."""
        return self


@dataclass(frozen=True, kw_only=True)
class Method(ABC):
    """One entry of the registry.

    Attributes:
        name: its key, as `--methods` names it.
        label: what tables and figures print.
        citation: paper and equation or algorithm.
        settings: its hyper-parameters, with the published values as defaults.
        presets: by profile, the settings that differ from the defaults there.
        order: its place among the columns of tables, from left to right.
        color: its colour in figures, `#rrggbb`; empty where one is to be chosen.
        sections: the sections of the protocol that its numbers depend on, besides data and network.
        whole_set: whether its result is the full training set, whatever the IPC.
        has_passes: whether distilling passes images through networks in the run's precision.
        code: a hash of the user's own file that it comes from.
        files: the user's own files that it comes from, the one that was named first.

    """

    name: str
    label: str
    citation: str
    settings: type[Settings] = NoSettings
    presets: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    order: int = LATE
    color: str = ""
    sections: tuple[str, ...] = ("eval",)
    whole_set: bool = False
    has_passes: bool = False
    code: str = ""
    files: tuple[Path, ...] = ()

    @abstractmethod
    def distill(self, task: Task, settings: Any) -> SyntheticSet:
        """Return the synthetic set of one cell; `settings` are an instance of the method's own class of settings."""

    def resolve(self, texts: Mapping[str, str], *, profile: str) -> Settings:
        """Return the settings of a run: first the texts of `--set`, then the profile's preset, then the published defaults.

        Args:
            texts: values by field, as typed on the command line.
            profile: the name of the protocol's profile.

        Raises:
            UsageError: where a field is unknown or a value is not valid.

        """
        return self.settings.from_texts(texts, owner=self.name, base=self.presets.get(profile, {}))

    def match(self, match: Match, settings: Any) -> Match:
        """Return the settings of the matching loop for this method, complete.

        Args:
            match: the protocol's.
            settings: the method's own.

        Raises:
            UsageError: where the two contradict each other.

        """
        return match.with_step()

    def has_cell(self, source: Shaped, ipc: int | None, settings: Any) -> bool:
        """Return whether a grid has cells of this method on a dataset at an IPC; None stands for the whole training set."""
        return self.whole_set == (ipc is None)

    def check(self, sources: Sequence[Shaped], ipcs: Sequence[int], seeds: Sequence[int], settings: Any) -> None:  # noqa: B027
        """Raise `UsageError` where the method cannot fill its cells of a grid; most methods can.

        Args:
            sources: the datasets.
            ipcs: images per class.
            seeds: one distillation each.
            settings: the method's own.

        """

    def passes(self, spec: RunSpec, *, classes: int, images: int) -> tuple[float, str]:
        """Return about how many images pass through a network while a cell is distilled, and the network's name.

        A pass with gradient counts as three. It is for estimating seconds; a method with no passes has none to tell.

        Args:
            spec: the cell.
            classes: of its dataset.
            images: in the training set.

        """
        return 0.0, ""

    def assumptions(self, source: Shaped, settings: Any) -> Iterable[str]:
        """Return what is assumed of the images on a dataset, which a reader of the accuracies has to know; mostly nothing.

        Args:
            source: the dataset.
            settings: the method's own.

        """
        return ()

    def undivided(self, spec: RunSpec, source: Shaped) -> str:
        """Return why one process has to distill a cell alone; empty where ranks can share its classes.

        Args:
            spec: the cell.
            source: its dataset.

        """
        return "it does not fall into classes"

    def networks(self, settings: Settings) -> tuple[str, ...]:
        """Return the names of the networks that distilling uses besides the matching loop's."""
        name = getattr(settings, "network", "")
        return (name,) if name else ()


@dataclass(frozen=True, kw_only=True)
class FeatureMatching(Method):
    """A method that matches features in the one matching loop; its settings are its loss."""

    settings: type[FeatureLoss] = FeatureLoss
    sections: tuple[str, ...] = ("match", "eval")
    has_passes: bool = True

    @property
    def objective(self) -> type[FeatureLoss]:
        """The loss: `METHODS["emd"].objective()(real, syn, generator=...)` returns its value for each class."""
        return self.settings

    def match(self, match: Match, settings: FeatureLoss) -> Match:
        """Return the settings of the matching loop for this loss: a step that is its own stands in the common one's place."""
        return match.with_step(rate=settings.rate, lr_images=settings.lr_images, owner=self.name)

    def passes(self, spec: RunSpec, *, classes: int, images: int) -> tuple[float, str]:
        """Return the passes of real batches, and of synthetic images with gradient."""
        match = spec.protocol.match
        assert match is not None
        return float((match.iterations or 0) * classes * (match.real_batch + 3 * (spec.ipc or 0))), match.network

    def undivided(self, spec: RunSpec, source: Shaped) -> str:
        """Return what speaks against it in the loss or in the network."""
        match, size = spec.protocol.match, spec.protocol.network
        assert match is not None
        shape, classes = source.shape, len(source.classes)
        extractor = networks.fit(match.network, shape, classes=classes, width=size.width, depth=size.depth)
        settings: Any = spec.settings
        return matching.undivided(settings.for_cell(), extractor)

    def distill(self, task: Task, settings: FeatureLoss) -> SyntheticSet:
        """Return the images that the loss leads to."""
        return matching.match(task, settings.for_cell())


@dataclass(frozen=True, kw_only=True)
class OwnProcedure(Method):
    """A method with a procedure of its own: `procedure(task, settings)` returns the synthetic set.

    `passes_per_class(settings, ipc)` says how many images of a class pass through `settings.network`; see `passes`.
    `by_class`: whether it falls into classes, and meets the other ranks with those of its own.
    """

    procedure: Callable[[Task, Any], SyntheticSet]
    passes_per_class: Callable[[Any, int], float] | None = None
    by_class: bool = False

    def passes(self, spec: RunSpec, *, classes: int, images: int) -> tuple[float, str]:
        """Return what `passes_per_class` says, for all classes."""
        if self.passes_per_class is None:
            return 0.0, ""
        settings: Any = self.settings.model_validate(dict(spec.settings))
        return classes * self.passes_per_class(settings, spec.ipc or 0), settings.network

    def undivided(self, spec: RunSpec, source: Shaped) -> str:
        """Return what `by_class` says."""
        return "" if self.by_class else super().undivided(spec, source)

    def distill(self, task: Task, settings: Settings) -> SyntheticSet:
        """Return what the procedure makes."""
        return self.procedure(task, settings)
