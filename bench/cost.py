"""How much work a cell is, for ordering cells: the longest first leaves the fewest processes idle at the end."""

from __future__ import annotations

from typing import Any

from bench.spec import RunSpec


def passes(spec: RunSpec) -> float:
    """Return about how many passes of an image of each class through a network a cell takes; a pass with gradient counts three.

    Critics, transport plans and the size of networks are left out: this orders cells, it does not tell seconds.
    """
    ipc, settings, total = spec.ipc or 0, spec.settings.model_dump(), 0.0
    match = spec.protocol.match
    if match is not None:
        total += (match.iterations or 0) * (match.real_batch + 3 * ipc)
    total += _loops(settings, ipc)
    for training, images in ((spec.protocol.eval, ipc), (spec.protocol.whole, 6000)):
        if training is not None:
            total += 3.0 * training.nets * training.epochs * images * len(training.networks)
    return total


def _loops(settings: dict[str, Any], ipc: int) -> float:
    """Return the passes of the loops of bi-level methods: iterations x outer x (gradients and inner epochs)."""
    if "iterations" not in settings:
        return 0.0
    outer, inner = settings.get("outer") or 1, settings.get("inner") or 1
    return float(3 * settings["iterations"] * outer * (settings.get("real_batch", 0) + 2 * ipc + inner * ipc))
