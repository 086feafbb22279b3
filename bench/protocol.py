"""Protocols: how long and how large every cell is, the same for every method. Profiles are named protocols.

| profile | for | a cell takes |
| --- | --- | --- |
| `quick` | the embedded digits, and a first look at anything | seconds |
| `cpu` | real images on two CPU cores | IPC 1: under 5 minutes |
| `paper` | the published protocol in full, for a GPU | hours |
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Annotated, Any, Literal, get_type_hints

from bench.errors import unknown
from bench.options import Count, Option, Positive, Range, check_options, options_of, parse_options

OPERATIONS = ("color", "crop", "cutout", "flip", "scale", "rotate")
"""The operations of differentiable siamese augmentation (Zhao and Bilen 2021)."""

DSA = "_".join(OPERATIONS)
"""The usual strategy: one of them all is drawn at a time; `flip` is left out where it changes a label."""


def operations_of(strategy: str) -> tuple[str, ...]:
    """Return the operations that `color_crop_...` or `none` names; raise `UsageError` on an unknown one."""
    names = () if strategy == "none" else tuple(strategy.split("_"))
    for name in names:
        if name not in OPERATIONS:
            raise unknown("augmentation", name, [*OPERATIONS, "none"])
    return names


Fraction = Annotated[float, Range(low=0, below=1)]
NonNegative = Annotated[float, Range(low=0)]


@dataclass(frozen=True, kw_only=True)
class Section:
    """A part of a protocol; checked when made."""

    def __post_init__(self) -> None:
        """Raise `UsageError` where a field has the wrong type or is out of range."""
        check_options(self)
        operations_of(getattr(self, "augment", "none"))


@dataclass(frozen=True, kw_only=True)
class Data(Section):
    """Which images are learned from and tested on.

    `split`: `test` tests on the test set; `validation` never looks at it, and tests on a random `holdout` of each class of the
    training set, which is then not trained on: for choosing hyper-parameters. `size`: resize images of a folder to it.
    """

    split: Literal["test", "validation"] = "test"
    holdout: Annotated[float, Range(above=0, below=1)] = 0.1
    size: Annotated[int, Range(low=4, high=256)] | None = None


@dataclass(frozen=True, kw_only=True)
class Network(Section):
    """The ConvNet of extractor and evaluation: `width` channels, `depth` blocks (None: by the images' size, 3 at 32)."""

    width: Annotated[int, Range(low=1, high=1024)] = 128
    depth: Annotated[int, Range(low=1, high=6)] | None = None


@dataclass(frozen=True, kw_only=True)
class Match(Section):
    """The matching loop: `iterations` steps of SGD on the images, `real_batch` real images a class each.

    `lr_images` None takes the method's own default for the profile. `extractor`: a `fresh` random network each step, or one
    `fixed` one (an ablation). `start`: `real` images of the class, or Gaussian `noise`. `augment`: DSA operations, or `none`.
    """

    iterations: Annotated[int, Range(low=0)] = 20_000
    real_batch: Count = 256
    lr_images: Positive | None = None
    momentum: Fraction = 0.5
    augment: str = DSA
    extractor: Literal["fresh", "fixed"] = "fresh"
    start: Literal["real", "noise"] = "real"


@dataclass(frozen=True, kw_only=True)
class Training(Section):
    """How an evaluation network is trained; `nets` of them, each from its own stream.

    `schedule`: `step` is the field's: `epochs`+1 epochs, learning rate x 0.1 and a fresh optimiser after epoch `epochs`//2+1;
    `onecycle` is linear warm-up over the first fifth of `epochs`, then linear to zero, with Nesterov momentum.
    The accuracy is the last epoch's. `precision` of the passes, training and testing, `auto` being the run's; weights and their
    updates are float32.
    """

    nets: Count = 5
    epochs: Count = 1000
    lr: Positive = 0.01
    momentum: Fraction = 0.9
    weight_decay: NonNegative = 5e-4
    batch: Count = 256
    augment: str = DSA
    schedule: Literal["step", "onecycle"] = "step"
    precision: Literal["auto", "fp32", "bf16"] = "auto"


@dataclass(frozen=True, kw_only=True)
class Protocol:
    """Everything about a cell that is the same for every method; the defaults are the paper's.

    `eval` trains on a small set, `whole` on the full training set.
    """

    profile: str
    match: Match = Match()
    eval: Training = Training()
    whole: Training = Training(epochs=300)
    data: Data = Data()
    network: Network = Network()


PROFILES: dict[str, Protocol] = {
    "quick": Protocol(
        profile="quick",
        match=Match(iterations=60, real_batch=64),
        eval=Training(nets=3, epochs=100),
        whole=Training(nets=3, epochs=15, lr=0.1, batch=64, augment="none", schedule="onecycle"),
    ),
    "cpu": Protocol(
        profile="cpu",
        match=Match(iterations=150, real_batch=64),
        eval=Training(nets=5, epochs=300),
        whole=Training(nets=1, epochs=8, lr=0.1, batch=128, augment="crop_flip", schedule="onecycle"),
    ),
    "paper": Protocol(profile="paper"),
}

SEEDS: dict[str, tuple[int, ...]] = {"quick": (0,), "cpu": (0,), "paper": (0, 1, 2, 3, 4)}
"""The seeds each profile runs where none are named: one distillation a seed."""


def sections() -> dict[str, dict[str, Option]]:
    """Return the options of each section of a protocol, as `--set section.field=value` names them."""
    hints = get_type_hints(Protocol)
    return {field.name: options_of(hints[field.name]) for field in fields(Protocol) if field.name != "profile"}


def resolve(profile: str, overrides: Mapping[str, Mapping[str, str]]) -> Protocol:
    """Return the named profile with `overrides` (section -> field -> text) in place; raise `UsageError` on a mistake."""
    if profile not in PROFILES:
        raise unknown("profile", profile, PROFILES)
    protocol = PROFILES[profile]
    for name, texts in overrides.items():
        section = getattr(protocol, name)
        values: dict[str, Any] = parse_options(options_of(type(section)), texts, owner=name)
        protocol = replace(protocol, **{name: replace(section, **values)})
    return protocol
