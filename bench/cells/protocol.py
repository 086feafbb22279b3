"""Protocols: how long and how large every cell is, the same for every method. Profiles are named protocols.

| profile | for | a cell takes |
| --- | --- | --- |
| `quick` | the embedded digits, and a first look at anything | seconds |
| `cpu` | real images on two CPU cores | of one core, IPC 1: 1 to 5 minutes; IPC 10: 20 to 60; IPC 50: 75 |
| `paper` | the published protocol in full, for a GPU | hours |
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal, Self, TypeVar

from pydantic import Field

from bench.cells.settings import Count, Fraction, Later, NonNegative, NonNegativeInt, Positive, Settings, Valid, checked_by
from bench.errors import UsageError, unknown
from bench.networks.names import check_network
from bench.types import Precision

_Value = TypeVar("_Value")

OPERATIONS = ("color", "crop", "cutout", "flip", "scale", "rotate")
"""The operations of differentiable siamese augmentation (Zhao and Bilen 2021)."""

ALL_OPERATIONS = "_".join(OPERATIONS)
"""The usual strategy: one of all operations is drawn at a time; `flip` is left out if it changes a label."""


def operations_of(strategy: str) -> tuple[str, ...]:
    """Return the operations that `color_crop_...` or `none` names; raise `UsageError` if one is unknown."""
    names = () if strategy == "none" else tuple(strategy.split("_"))
    for name in names:
        if name not in OPERATIONS:
            raise unknown("augmentation", name, [*OPERATIONS, "none"])
    return names


def _check_augmentation(strategy: str) -> str:
    operations_of(strategy)
    return strategy


def _check_networks(names: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(check_network(name) for name in names))


Augment = Annotated[
    str,
    Field(description="Operations of differentiable siamese augmentation, one of which is drawn at a time."),
    Valid("operations with _ between, or none"),
    checked_by(_check_augmentation),
]

NetworkName = Annotated[str, Valid("the name of a network"), checked_by(check_network)]
"""The name of a network in `bench.networks`."""

NetworkNames = Annotated[
    tuple[str, ...], Field(min_length=1), Valid("names of networks with commas between"), checked_by(_check_networks)
]
"""Names of networks, each once."""

Start = Annotated[
    Literal["real", "noise"], Field(description="Where the images start: random real ones of their class, or Gaussian noise.")
]


class Data(Settings):
    """Which images are learned from and tested on.

    With `split=validation` the test set is never looked at, and what is held out of the training set is not trained on.
    """

    split: Literal["test", "validation"] = Field(
        default="test",
        description="Images to test on: the test set, or for choosing hyper-parameters images held out of the training set.",
    )
    holdout: Annotated[float, Field(gt=0, lt=1)] = Field(
        default=0.1, description="Fraction of each class of the training set that is held out for split=validation, at random."
    )
    size: Annotated[int, Field(ge=4, le=256)] | None = Field(
        default=None,
        description="Side in pixels to which the images of a folder are resized; none for the side that they have.",
    )
    flip: Annotated[bool | None, Later()] = Field(
        default=None, description="Whether a mirrored image of a folder keeps its class, as in augmentation; none for true."
    )

    def settled(self) -> Self:
        """Return the settings in their only spelling: `flip=true` is what folders have anyway."""
        return self.changed(flip=None) if self.flip else self


class ConvNetSize(Settings):
    """The size of the network `convnet`, as extractor and in evaluation."""

    width: Annotated[int, Field(ge=1, le=1024)] = Field(default=128, description="Channels of each convolution.")
    depth: Annotated[int, Field(ge=1, le=6)] | None = Field(
        default=None,
        description="Number of blocks; none for the number that follows from the images' size: 3 at 28 and 32 pixels.",
    )


ITERATIONS, EPOCHS = {1: 150, 10: 1000}, {1: 300, 10: 1000}
"""Iterations, and epochs of evaluation, if none are set: those at the largest of these IPCs that is not above the cell's.
docs/protocol.md says how they were chosen: more images a class have more to gain from longer matching and longer training."""

STEP_SIZES = {"rate": 0.05, "lr_images": 1.0}
"""The size of a step if none is set. `rate` is that of the optimizer `angular`, in radians; docs/protocol.md says how it was
chosen. `lr_images` is that of `sgd`, as published."""


def by_ipc(values: Mapping[int, _Value], ipc: int) -> _Value:
    """Return the value at the largest of the keys that is not above `ipc`."""
    return values[max(size for size in values if size <= ipc)]


class Match(Settings):
    """The matching loop: steps on the images that lower the loss of their features."""

    iterations: NonNegativeInt | None = Field(
        default=20_000, description="Number of steps on the images; none for the number that follows from the IPC."
    )
    real_batch: Count = Field(default=256, description="Real images of each class in a step.")
    optimizer: Literal["sgd", "angular"] = Field(
        default="sgd",
        description="SGD on the images, or angular, which turns each image by an angle whatever the scale of the loss.",
    )
    rate: Positive | None = Field(
        default=None, description="Angle in radians of a step of optimizer=angular; none for the common one, 0.05."
    )
    lr_images: Positive | None = Field(
        default=None, description="Learning rate of optimizer=sgd; none for the published one, 1."
    )
    momentum: Fraction = Field(default=0.5, description="Momentum of either optimizer.")
    schedule: Literal["constant", "cosine"] = Field(
        default="constant", description="Course of the size of a step: constant, or along half a cosine down to zero."
    )
    augment: Augment = ALL_OPERATIONS
    extractor: Literal["fresh", "fixed"] = Field(
        default="fresh", description="Whether each step draws a fresh random network, or all have a fixed one (an ablation)."
    )
    start: Start = "real"
    network: NetworkName = Field(default="convnet", description="Network whose features are matched.")

    def at_ipc(self, ipc: int) -> Self:
        """Return the settings with the number of iterations for this number of images per class, if none is set."""
        if self.iterations is not None:
            return self
        return self.changed(iterations=by_ipc(ITERATIONS, ipc))

    def with_step(self, *, rate: float | None = None, lr_images: float | None = None, owner: str = "match") -> Match:
        """Return complete settings: the size of a step is that of one loss, or else the common one, or else the default.

        Args:
            rate: the angle that is set for one loss alone.
            lr_images: the learning rate that is set for one loss alone.
            owner: the loss that they are set for.

        Raises:
            UsageError: if the size is one of the other optimizer.

        """
        size, other = ("rate", "lr_images") if self.optimizer == "angular" else ("lr_images", "rate")
        of_loss = {"rate": rate, "lr_images": lr_images}
        for section, value in ((owner, of_loss[other]), ("match", getattr(self, other))):
            if value is not None:
                reason = f"{other} does not belong to match.optimizer={self.optimizer}"
                valid = f"{section}.{size}, or the other optimizer"
                raise UsageError(f"--set {section}.{other}={value:g}: {reason}; valid: {valid}")
        return self.changed(**{size: of_loss[size] or getattr(self, size) or STEP_SIZES[size]})


class Training(Settings):
    """How networks are trained and tested, each from its own stream of random numbers.

    The schedule `step` is the field's: `epochs`+1 epochs, learning rate x 0.1 and a fresh optimizer after epoch `epochs`//2+1;
    `onecycle` is linear warm-up over the first fifth of `epochs`, then linear to zero, with Nesterov momentum.
    The accuracy is the last epoch's. Weights and their updates are float32 whatever the precision of the passes.
    """

    nets: Count = Field(default=5, description="Number of networks of each architecture.")
    epochs: Count | None = Field(
        default=1000, description="Number of epochs of training; none for the number that follows from the IPC."
    )
    lr: Positive | Literal["own"] = Field(
        default=0.01, description="Learning rate of SGD; own for the rate that the distilled images carry."
    )
    momentum: Fraction = Field(default=0.9, description="Momentum of SGD.")
    weight_decay: NonNegative = Field(default=5e-4, description="Weight decay of SGD.")
    batch: Count = Field(default=256, description="Number of images in a batch.")
    augment: Augment = ALL_OPERATIONS
    schedule: Literal["step", "onecycle"] = Field(
        default="step",
        description="Course of the learning rate: a tenth of it in the second half, or linear warm-up and decay to zero.",
    )
    precision: Precision = Field(
        default="auto", description="Precision of the passes through networks, in training and testing; auto for the run's."
    )
    networks: NetworkNames = Field(default=("convnet",), description="Architectures to train, each on its own.")

    def at_ipc(self, ipc: int) -> Self:
        """Return the settings with the number of epochs for this number of images per class, if none is set."""
        return self if self.epochs is not None else self.changed(epochs=by_ipc(EPOCHS, ipc))


class Protocol(Settings):
    """Everything about a cell that is the same for every method; the defaults are the paper's.

    `eval` trains on a small set, `whole` on the full training set. In the description of a cell, the sections that its method
    does not use are None.
    """

    profile: str
    match: Match | None = Match()
    eval: Training | None = Training()
    whole: Training | None = Training(epochs=300)
    data: Data = Data()
    network: ConvNetSize = ConvNetSize()

    @property
    def training(self) -> Training:
        """How evaluation networks are trained: on the small set, or for a method without one on the full training set."""
        training = self.eval or self.whole
        assert training is not None
        return training

    def at_ipc(self, ipc: int) -> Protocol:
        """Return the protocol with the numbers filled in that follow from the number of images per class."""
        sections = {name: getattr(self, name) for name in ("match", "eval", "whole")}
        return self.model_copy(update={name: section.at_ipc(ipc) for name, section in sections.items() if section})


PROFILES: dict[str, Protocol] = {
    "quick": Protocol(
        profile="quick",
        match=Match(iterations=60, real_batch=64, optimizer="angular", schedule="cosine"),
        eval=Training(nets=3, epochs=100),
        whole=Training(nets=3, epochs=15, lr=0.1, batch=64, augment="none", schedule="onecycle"),
    ),
    "cpu": Protocol(
        profile="cpu",
        match=Match(iterations=None, real_batch=64, optimizer="angular", schedule="cosine"),
        eval=Training(nets=5, epochs=None),
        whole=Training(nets=1, epochs=8, lr=0.1, batch=128, augment="crop_flip", schedule="onecycle"),
    ),
    "paper": Protocol(profile="paper"),
}

SEEDS: dict[str, tuple[int, ...]] = {"quick": (0,), "cpu": (0,), "paper": (0, 1, 2, 3, 4)}
"""The seeds of each profile if none are named: one distillation a seed."""

SECTIONS: dict[str, type[Settings]] = {
    "match": Match,
    "eval": Training,
    "whole": Training,
    "data": Data,
    "network": ConvNetSize,
}
"""The sections of a protocol, as `--set section.field=value` names them."""


def resolve(profile: str, overrides: Mapping[str, Mapping[str, str]]) -> Protocol:
    """Return the named profile with other values of some fields; raise `UsageError` on a mistake.

    Args:
        profile: a key of `PROFILES`.
        overrides: by section and field, what was typed on the command line.

    """
    if profile not in PROFILES:
        raise unknown("profile", profile, PROFILES)
    protocol = PROFILES[profile]
    sections = {
        name: SECTIONS[name].from_texts(typed, owner=name, base=dict(getattr(protocol, name)))
        for name, typed in overrides.items()
    }
    return protocol.model_copy(update=sections)
