"""What a measured accuracy says of the published one: reproduced, above, below, or that the two answer different questions."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

from bench.protocol import DSA, PROFILES
from reports.frames import Statistics
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
        *("match.iterations", "match.real_batch", "match.lr_images"),
        *("eval.nets", "eval.epochs", "whole.nets", "whole.epochs", "data.holdout"),
        *("eval.precision", "whole.precision"),
    }
)
"""How long, how large and how precise: the same question asked with less. Any other field makes another one."""

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


def standard_error(measured: Statistics, known: Published) -> float:
    """Return the standard error of the difference, in points.

    Where a deviation cannot be measured (a single network), the published one is taken for ours too.
    """
    if measured.seeds > 1:
        ours = measured.std_seeds / math.sqrt(measured.seeds)
    else:
        deviation = known.plus_minus if math.isnan(measured.std_networks) else measured.std_networks
        ours = deviation / math.sqrt(measured.networks)
    return math.hypot(ours, known.plus_minus / math.sqrt(RUNS), ROUNDING)


def compare(measured: Statistics, known: Published, *, note: str = "") -> Verdict:
    """Return the verdict on two numbers that answer the same question."""
    difference = measured.mean - known.value
    z = difference / standard_error(measured, known)
    # The slack is for decimals that binary fractions miss: 71.7 is within a point of 70.7.
    if abs(difference) <= MARGIN + 1e-9 or abs(z) <= Z_95:
        kind: Kind = "reproduced"
    else:
        kind = "above" if z > 0 else "below"
    if measured.networks == 1:
        note = "; ".join(filter(None, (note, "one network: its deviation is taken to be the published one")))
    return Verdict(kind, difference, z, note)


def departures(spec: Mapping[str, Any]) -> list[str]:
    """Return what makes a cell another question than the published one, as `field=value, published value`.

    What the record or the protocol lacks is not judged, nor the matching loop's fields where a method has its own loop.
    """
    found = []
    paper = asdict(PROFILES["paper"])
    paper["network"]["depth"] = 3  # published images have sides of 28 and 32
    for section, fields in spec["protocol"].items():
        if section not in paper or not isinstance(fields, Mapping) or (section == "match" and spec["method"] not in MATCHING):
            continue
        if section == "whole" and spec["method"] != "whole":  # of a coreset: how the network that it selects by is trained
            continue
        for field, value in fields.items():
            name, usual = f"{section}.{field}", paper[section].get(field, value)
            own = name == "eval.augment" and value == "none" and spec["method"] in NOT_AUGMENTED  # as it was published
            if name not in BUDGET and value not in (usual, None) and not own:
                found.append(f"{name}={_word(value)}, published {_word(usual)}")
    for field, usual in HYPER.get(spec["method"], {}).items():
        if spec["hyper"].get(field, usual) != usual:
            found.append(f"{spec['method']}.{field}={spec['hyper'][field]}, not {usual}")
    return found


def verdict(measured: Statistics, known: Published, spec: Mapping[str, Any]) -> Verdict:
    """Return the verdict on a measured cell."""
    other = departures(spec)
    if known.note.startswith("misprint"):
        other.append(f"published value: {known.note}")
    if other:
        return Verdict("not comparable", note="; ".join(other))
    augmented = spec["protocol"].get("eval", {}).get("augment", DSA) != "none"
    notes = (known.note and f"published value: {known.note}", augmented and evaluation_note(spec["dataset"], spec["method"]))
    return compare(measured, known, note="; ".join(filter(None, notes)))


def _word(value: object) -> str:
    return "DSA" if value == DSA else str(value)
