"""Verdicts: whether a measured accuracy reproduces the published one, is above or below it, or cannot be compared with it."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Literal

from bench.cells.protocol import ALL_OPERATIONS, PROFILES
from bench.records.record import RunRecord
from reports.frames.published import HYPER, MATCHING, Published, published
from reports.frames.variants import protocol_fields
from reports.statistics.variance import Statistics, error_bounds
from reports.verdicts.budget import MUCH, budget, round_factor

Kind = Literal["reproduced", "above", "below", "unclear", "smaller budget", "not comparable", "not run"]

SIGNS: dict[Kind, str] = {
    "reproduced": "✓",
    "above": "↑",
    "below": "↓",
    "unclear": "?",
    "smaller budget": "<",
    "not comparable": "≠",
    "not run": "–",
}
"""The sign that is printed for each verdict."""

JUDGED: tuple[Kind, ...] = ("reproduced", "above", "below", "unclear", "smaller budget")
"""The verdicts on two numbers that answer the same question."""

MARGIN = 1.0
"""Percentage points within which a cell is reproduced, however small its standard error."""

Z_95 = 1.96
"""Half the 95 % interval in standard errors, normal: narrower than Student's, so less is called reproduced than by that."""

ROUNDING = 0.1 / math.sqrt(12)
"""Standard deviation of the error of rounding to 0.1; it keeps the standard error of a published `99.6 ± 0.0` above zero."""

FEWEST, MOST = 1, 100
"""Observations of a ± whose source does not give their number: at least a single distillation, and at most the field's five
with 20 networks each."""

BUDGET = frozenset(
    {
        *("match.iterations", "match.real_batch"),
        *("match.optimizer", "match.rate", "match.lr_images", "match.schedule", "match.momentum"),
        *("eval.nets", "eval.epochs", "whole.nets", "whole.epochs", "data.holdout"),
        *("eval.precision", "whole.precision"),
    }
)
"""How long, how large, how precise, and how the loss is minimised: the same question, answered with less or in another way. Any
other field makes another question. (The learning rates on the images that are settings of a method belong here too; `HYPER` has
none of them.)"""

LEGEND = (
    f"{SIGNS['reproduced']} reproduced: within ± {MARGIN:g} point of the published value, or the 95 % interval of the "
    f"difference contains 0. {SIGNS['above']} above, {SIGNS['below']} below: z is the difference over its standard error, "
    f"the largest it may be. {SIGNS['unclear']} unclear: the least and the largest standard error lead to different verdicts. "
    f"{SIGNS['smaller budget']} smaller budget: below, with a budget at least {MUCH:g} times smaller than the published one. "
    f"{SIGNS['not comparable']} not comparable: the note says why. {SIGNS['not run']} not run."
)

BASIS = (
    "Standard errors: ours from the deviation between the seeds' means. One seed says nothing of how distillations vary; it is "
    "taken that they vary by nothing at least, and by as much as its networks at most. The published ± is pooled over "
    "distillations and networks in the authors' code; its standard error is bounded in the same way, for each source."
)


@dataclass(frozen=True)
class Verdict:
    """A verdict, and if the two values are comparable the numbers that it follows from.

    Attributes:
        kind: the verdict.
        difference: ours less the published, in points.
        z: the difference over the largest standard error that it may have.
        z_most: the difference over the least.
        note: what is said beside it.
        factor: how many times smaller than the published our budget is, if the verdict is `smaller budget`.

    """

    kind: Kind
    difference: float | None = None
    z: float | None = None
    z_most: float | None = None
    note: str = ""
    factor: float | None = None

    @property
    def sign(self) -> str:
        """The sign that is printed."""
        return SIGNS[self.kind]

    @property
    def numbers(self) -> str:
        """What is printed behind the sign: z if the two values differ, and how much smaller the budget is."""
        if self.z is None or self.z_most is None or self.kind == "reproduced":
            return ""
        z = f"z {_signed(self.z)} to {_signed(self.z_most)}" if self.kind == "unclear" else f"z {_signed(self.z)}"
        return z if self.factor is None else f"1/{round_factor(self.factor)} of the budget, {z}"

    @property
    def failed(self) -> bool:
        """Whether the value is clearly below the published one, for whatever reason."""
        return self.kind in ("below", "smaller budget")


def published_errors(reference: Published) -> tuple[float, float]:
    """Return the least and the largest standard error of a published value, as its source allows."""
    if reference.distillations and reference.networks:
        return error_bounds(reference.plus_minus, reference.distillations, reference.networks)
    return reference.plus_minus / math.sqrt(MOST), reference.plus_minus / math.sqrt(FEWEST)


def standard_errors(measured: Statistics, reference: Published) -> tuple[float, float]:
    """Return the least and the largest standard error of the difference, in points.

    If a deviation cannot be measured (a single network), the published one is taken for ours too.
    """
    pairs = zip(measured.standard_errors(reference.plus_minus), published_errors(reference), strict=True)
    least, largest = (math.hypot(ours, theirs, ROUNDING) for ours, theirs in pairs)
    return least, largest


def compare(measured: Statistics, reference: Published, *, note: str = "") -> Verdict:
    """Return the verdict on two numbers that answer the same question.

    Args:
        measured: ours.
        reference: the published number.
        note: what the verdict's note begins with.

    """
    difference = measured.mean - reference.value
    least, largest = standard_errors(measured, reference)
    by_least, by_largest = _kind(difference, difference / least), _kind(difference, difference / largest)
    if measured.networks == 1:
        note = "; ".join(filter(None, (note, "one network: its deviation is taken to be the published one")))
    kind = by_least if by_least == by_largest else "unclear"
    return Verdict(kind, difference, difference / largest, difference / least, note)


def _kind(difference: float, z: float) -> Kind:
    # Binary fractions miss some decimals: the slack keeps 71.7 within a point of 70.7.
    if abs(difference) <= MARGIN + 1e-9 or abs(z) <= Z_95:
        return "reproduced"
    return "above" if z > 0 else "below"


def departures(record: RunRecord, published_as: str = "") -> list[str]:
    """Return what makes a cell another question than the published one: other images, or `field=value, published value`.

    Args:
        record: of the cell.
        published_as: the method whose published value the cell is compared with; its own if it is empty.

    """
    images = ["images that are not the published ones"] if record.published_images is False else []
    return [*images, *_protocol_departures(record, published_as or record.spec.method), *_settings_departures(record)]


def incomparable(record: RunRecord, reference: Published, published_as: str = "") -> list[str]:
    """Return why a cell is not compared with a published value: its departures, and that the value is a misprint.

    Args:
        record: of the cell.
        reference: the published value.
        published_as: the method whose value that is; the cell's own if it is empty.

    """
    misprint = [f"published value: {reference.note}"] if reference.misprint else []
    return [*departures(record, published_as), *misprint]


def _protocol_departures(record: RunRecord, method: str) -> Iterator[str]:
    """Yield the fields of the protocol that differ from those of a published method, and another evaluation network."""
    spec, network = record.spec, record.main_evaluation.network
    paper = {**protocol_fields(PROFILES["paper"]), "network.depth": 3}  # published images have sides of 28 and 32
    reference = published().get((spec.dataset, spec.ipc or 1, method))
    for name, value in protocol_fields(spec.protocol).items():
        section = name.partition(".")[0]
        if section == "match" and method not in MATCHING:  # the published method has a loop of its own
            continue
        if section == "whole" and spec.protocol.eval is not None:  # how a coreset's network of features is trained
            continue
        as_published = name == "eval.augment" and reference is not None and reference.same_augmentation(value)
        if name not in BUDGET and value not in (paper[name], None) and not as_published:
            yield f"{name}={_value(value)}, published {_value(paper[name])}"
    if network != "convnet":
        yield f"eval.network={network}, published convnet"


def _settings_departures(record: RunRecord) -> Iterator[str]:
    """Yield the settings that differ from those of the published method, in `HYPER`."""
    spec = record.spec
    settings = spec.settings.model_dump()
    for name, usual in HYPER.get(spec.method, {}).items():
        if settings.get(name, usual) != usual:
            yield f"{spec.method}.{name}={settings[name]}, not {usual}"


def verdict(measured: Statistics, reference: Published, record: RunRecord) -> Verdict:
    """Return the verdict on a measured cell.

    Args:
        measured: its numbers.
        reference: the published number.
        record: one of its records, which have their settings in common.

    """
    other = incomparable(record, reference)
    if other:
        return Verdict("not comparable", note="; ".join(other))
    training = record.spec.protocol.eval
    other_evaluation = reference.evaluation_note(training.augment) if training else ""
    own_note = f"published value: {reference.note}" if reference.note else ""
    judged = compare(measured, reference, note="; ".join(filter(None, (own_note, other_evaluation))))
    if judged.kind == "below" and reference.doubt:
        judged = replace(judged, note="; ".join(filter(None, (judged.note, f"published value: {reference.doubt}"))))
    size = budget(record, reference)
    if judged.kind != "below" or not size.smaller:
        return judged
    note = "; ".join(filter(None, (size.description, judged.note)))
    return replace(judged, kind="smaller budget", note=note, factor=size.factor)


def _signed(value: float) -> str:
    return f"{value:.1f}".replace("-", "−")


def _value(value: object) -> str:
    return "DSA" if value == ALL_OPERATIONS else str(value)
