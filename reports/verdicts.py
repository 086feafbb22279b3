"""What a measured accuracy says of the published one: reproduced, above, below, or that the two answer different questions."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from bench.protocol import ALL_OPERATIONS, PROFILES
from bench.records import RunRecord
from reports.frames import Statistics
from reports.names import protocol_fields
from reports.published import HYPER, MATCHING, NOT_AUGMENTED, RUNS, Published, evaluation_note

Kind = Literal["reproduced", "above", "below", "not comparable", "not run"]

MARGIN = 1.0
"""Percentage points within which a cell is reproduced, however small its standard error."""

Z_95 = 1.96
"""Half the 95 % interval in standard errors, normal: narrower than Student's, so less is called reproduced than by that."""

ROUNDING = 0.1 / math.sqrt(12)
"""Deviation of what rounding to 0.1 takes from a published value; it keeps the standard error of `99.6 ± 0.0` above zero."""

BUDGET = frozenset(
    {
        *("match.iterations", "match.real_batch"),
        *("eval.nets", "eval.epochs", "whole.nets", "whole.epochs", "data.holdout"),
        *("eval.precision", "whole.precision"),
    }
)
"""How long, how large and how precise: the same question asked with less. Any other field makes another question. (The learning
rate on the images belongs to the budget too; it is a setting of each method, and none in `HYPER`.)"""

LEGEND = (
    f"✓ reproduced: within ± {MARGIN:g} point of the published value, or the 95 % interval of the difference contains 0. "
    "↑ above, ↓ below: z is the difference over its standard error. ≠ not comparable: the note says why. – not run."
)

BASIS = (
    "Standard errors: ours from the deviation between the seeds' means; with one seed between its networks, which says nothing "
    f"of how distillations vary. The published ± is taken for the deviation over {RUNS} runs (the paper does not say)."
)


@dataclass(frozen=True)
class Verdict:
    """`difference` is ours less the published, in points; `z` that over its standard error; both only where comparable."""

    kind: Kind
    difference: float | None = None
    z: float | None = None
    note: str = ""


def standard_error(measured: Statistics, reference: Published) -> float:
    """Return the standard error of the difference, in points.

    Where a deviation cannot be measured (a single network), the published one is taken for ours too.
    """
    if measured.seeds > 1:
        ours = measured.std_seeds / math.sqrt(measured.seeds)
    else:
        deviation = reference.plus_minus if math.isnan(measured.std_networks) else measured.std_networks
        ours = deviation / math.sqrt(measured.networks)
    return math.hypot(ours, reference.plus_minus / math.sqrt(RUNS), ROUNDING)


def compare(measured: Statistics, reference: Published, *, note: str = "") -> Verdict:
    """Return the verdict on two numbers that answer the same question.

    Args:
        measured: ours.
        reference: the published number.
        note: what the verdict's note begins with.

    """
    difference = measured.mean - reference.value
    z = difference / standard_error(measured, reference)
    # Binary fractions miss some decimals: the slack keeps 71.7 within a point of 70.7.
    if abs(difference) <= MARGIN + 1e-9 or abs(z) <= Z_95:
        kind: Kind = "reproduced"
    else:
        kind = "above" if z > 0 else "below"
    if measured.networks == 1:
        note = "; ".join(filter(None, (note, "one network: its deviation is taken to be the published one")))
    return Verdict(kind, difference, z, note)


def departures(record: RunRecord) -> list[str]:
    """Return what makes a cell another question than the published one, as `field=value, published value`."""
    return [*_protocol_departures(record), *_settings_departures(record)]


def _protocol_departures(record: RunRecord) -> Iterator[str]:
    """Yield the fields of the protocol that differ from the paper's, and another evaluation network."""
    spec, network = record.spec, record.main_evaluation.network
    paper = protocol_fields(PROFILES["paper"]) | {"network.depth": 3}  # published images have sides of 28 and 32
    for name, value in protocol_fields(spec.protocol).items():
        section = name.partition(".")[0]
        if section == "match" and spec.method not in MATCHING:  # the published method has a loop of its own
            continue
        if section == "whole" and spec.protocol.eval is not None:  # how a coreset's network of features is trained
            continue
        as_published = name == "eval.augment" and value == "none" and spec.method in NOT_AUGMENTED
        if name not in BUDGET and value not in (paper[name], None) and not as_published:
            yield f"{name}={_word(value)}, published {_word(paper[name])}"
    if network != "convnet":
        yield f"eval.network={network}, published convnet"


def _settings_departures(record: RunRecord) -> Iterator[str]:
    """Yield the settings that differ from those that stand for the published method."""
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
    spec = record.spec
    other = departures(record)
    if reference.note.startswith("misprint"):
        other.append(f"published value: {reference.note}")
    if other:
        return Verdict("not comparable", note="; ".join(other))
    augmented = spec.protocol.eval is None or spec.protocol.eval.augment != "none"
    other_evaluation = evaluation_note(spec.dataset, spec.method) if augmented else ""
    own_note = f"published value: {reference.note}" if reference.note else ""
    return compare(measured, reference, note="; ".join(filter(None, (own_note, other_evaluation))))


def _word(value: object) -> str:
    return "DSA" if value == ALL_OPERATIONS else str(value)
