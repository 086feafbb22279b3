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

from bench.cells.settings import Count, Fraction, NonNegative, NonNegativeInt, Positive, Settings, checked_by
from bench.errors import UsageError, unknown
from bench.networks.names import check_network
from bench.types import Precision

_Value = TypeVar("_Value")

OPERATIONS = ("color", "crop", "cutout", "flip", "scale", "rotate")
"""The operations of differentiable siamese augmentation (Zhao and Bilen 2021)."""

ALL_OPERATIONS = "_".join(OPERATIONS)
"""The usual strategy: one of all operations is drawn at a time; `flip` is left out where it changes a label."""


def operations_of(strategy: str) -> tuple[str, ...]:
    """Return the operations that `color_crop_...` or `none` names; raise `UsageError` on an unknown one."""
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


Augment = Annotated[str, Field(description="operations with _ between, or none"), checked_by(_check_augmentation)]
"""Operations with underscores between, one of which is drawn at a time, or `none`."""

NetworkName = Annotated[str, Field(description="the name of a network"), checked_by(check_network)]
"""The name of a network in `bench.networks`."""

NetworkNames = Annotated[
    tuple[str, ...],
    Field(min_length=1, description="names of networks with commas between"),
    checked_by(_check_networks),
]
"""Names of networks, each once."""

Start = Literal["real", "noise"]
"""Where the images start: random real ones of their class, or Gaussian noise."""


class Data(Settings):
    """Which images are learned from and tested on.

    `split`: `test` tests on the test set; `validation` never looks at it, and tests on a random `holdout` of each class of the
    training set, which is then not trained on: for choosing hyper-parameters. `size`: resize images of a folder to it.
    """

    split: Literal["test", "validation"] = "test"
    holdout: Annotated[float, Field(gt=0, lt=1)] = 0.1
    size: Annotated[int, Field(ge=4, le=256)] | None = None


class ConvNetSize(Settings):
    """The size of the network `convnet`, as extractor and in evaluation.

    `width` channels and `depth` blocks; depth None follows from the images' size: 3 at 28 and 32 pixels.
    """

    width: Annotated[int, Field(ge=1, le=1024)] = 128
    depth: Annotated[int, Field(ge=1, le=6)] | None = None


ITERATIONS, EPOCHS = {1: 150, 10: 1000}, {1: 300, 10: 1000}
"""Iterations, and epochs of evaluation, where none are set: those at the largest of these IPCs that is not above the cell's.
docs/protocol.md says how they were chosen: more images a class have more to gain from longer matching and longer training."""

STEP_SIZES = {"rate": 0.05, "lr_images": 1.0}
"""The size of a step where none is set. `rate` is that of the optimizer `angular`, in radians; docs/protocol.md says how it was
chosen. `lr_images` is that of `sgd`, as published."""


def by_ipc(values: Mapping[int, _Value], ipc: int) -> _Value:
    """Return the value at the largest of the keys that is not above `ipc`."""
    return values[max(size for size in values if size <= ipc)]


class Match(Settings):
    """The matching loop: `iterations` steps on the images (None: by IPC), `real_batch` real images a class each.

    `optimizer`: `sgd` with the learning rate `lr_images` (None: 1), or `angular`, which turns each image by the angle `rate` in
    radians whatever the scale of the loss (None: 0.05); see `bench.loops.optimizers`. Both have `momentum`, and a `schedule`:
    `constant`, or `cosine` down to zero. `network`: the extractor. `extractor`: a `fresh` random one each step, or one `fixed`
    one (an ablation). `start`: `real` images of the class, or Gaussian `noise`. `augment`: operations of differentiable
    siamese augmentation, or `none`.
    """

    iterations: NonNegativeInt | None = 20_000
    real_batch: Count = 256
    optimizer: Literal["sgd", "angular"] = "sgd"
    rate: Positive | None = None
    lr_images: Positive | None = None
    momentum: Fraction = 0.5
    schedule: Literal["constant", "cosine"] = "constant"
    augment: Augment = ALL_OPERATIONS
    extractor: Literal["fresh", "fixed"] = "fresh"
    start: Start = "real"
    network: NetworkName = "convnet"

    def at_ipc(self, ipc: int) -> Self:
        """Return the settings with a number of iterations, where none is set, for this many images a class."""
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
            UsageError: where the size is one of the other optimiser.

        """
        size, other = ("rate", "lr_images") if self.optimizer == "angular" else ("lr_images", "rate")
        own = {"rate": rate, "lr_images": lr_images}
        for place, value in ((owner, own[other]), ("match", getattr(self, other))):
            if value is not None:
                belongs = f"{other} does not belong to match.optimizer={self.optimizer}"
                raise UsageError(f"--set {place}.{other}={value:g}: {belongs}; valid: {place}.{size}, or the other optimizer")
        return self.changed(**{size: own[size] or getattr(self, size) or STEP_SIZES[size]})


class Training(Settings):
    """How networks are trained and tested: `nets` of each of `networks`, each from its own stream of random numbers.

    `epochs`: how long (None: by IPC).
    `schedule`: `step` is the field's: `epochs`+1 epochs, learning rate x 0.1 and a fresh optimiser after epoch `epochs`//2+1;
    `onecycle` is linear warm-up over the first fifth of `epochs`, then linear to zero, with Nesterov momentum.
    The accuracy is the last epoch's. `precision` of the passes, training and testing, `auto` being the run's; weights and their
    updates are float32.
    """

    nets: Count = 5
    epochs: Count | None = 1000
    lr: Positive | Literal["own"] = 0.01
    momentum: Fraction = 0.9
    weight_decay: NonNegative = 5e-4
    batch: Count = 256
    augment: Augment = ALL_OPERATIONS
    schedule: Literal["step", "onecycle"] = "step"
    precision: Precision = "auto"
    networks: NetworkNames = ("convnet",)

    def at_ipc(self, ipc: int) -> Self:
        """Return the settings with a number of epochs, where none is set, for this many images a class."""
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
        """Return the protocol in which what follows from the images a class is decided."""
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
"""The seeds each profile runs where none are named: one distillation a seed."""

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
        overrides: by section and field, the texts typed on the command line.

    """
    if profile not in PROFILES:
        raise unknown("profile", profile, PROFILES)
    protocol = PROFILES[profile]
    sections = {
        name: SECTIONS[name].from_texts(texts, owner=name, base=dict(getattr(protocol, name)))
        for name, texts in overrides.items()
    }
    return protocol.model_copy(update=sections)
