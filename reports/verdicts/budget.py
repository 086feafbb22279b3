"""How much smaller a cell's budget is than the published one: real images seen while distilling, epochs of the evaluation."""

from __future__ import annotations

from dataclasses import dataclass

from bench.cells.protocol import PROFILES
from bench.records.record import RunRecord
from reports.frames.published import MATCHING, Published

MUCH = 2.0
"""A budget counts as smaller from this factor on."""

_PUBLISHED_ITERATIONS = {"dc": 1000, "dsa": 1000, "cafe": 2000}
_PUBLISHED_BATCH = 256
_LOOPED = ("dc", "dsa")
_MOST_STEPS = 50
"""Steps on the images under each network of DC and DSA: as many as images a class, at most these."""


def round_factor(factor: float) -> str:
    """Return a factor with three digits, without an exponent: 3.33, 200, 8,000."""
    return f"{factor:.3g}" if factor < 100 else f"{float(f'{factor:.3g}'):,.0f}"


@dataclass(frozen=True)
class Budget:
    """How many times less than published: `images` real images a class while distilling, `epochs` of evaluation."""

    images: float = 1.0
    epochs: float = 1.0

    @property
    def factor(self) -> float:
        """The larger of the two."""
        return max(self.images, self.epochs)

    @property
    def smaller(self) -> bool:
        """Whether it is much smaller than the published budget."""
        return self.factor >= MUCH

    @property
    def description(self) -> str:
        """What is smaller, and by which factor."""
        factors = ((self.images, "fewer real images in distilling"), (self.epochs, "fewer epochs of evaluation"))
        return ", ".join(f"{round_factor(factor)} times {what}" for factor, what in factors if factor >= MUCH)


def budget(record: RunRecord, reference: Published) -> Budget:
    """Return the budget of a cell against that of its published value; epochs count only if a source states them."""
    published, ours = _published_images(record), _images(record)
    epochs = record.spec.protocol.training.epochs
    return Budget(
        images=published / ours if published and ours else 1.0,
        epochs=reference.epochs / epochs if reference.stated and reference.epochs and epochs else 1.0,
    )


def _images(record: RunRecord) -> float | None:
    """Return how many real images a class the cell's settings ask for, over all steps on the synthetic images."""
    match, settings = record.spec.protocol.match, record.spec.settings.model_dump()
    if match is not None:
        return float((match.iterations or 0) * match.real_batch)
    if "iterations" not in settings or "real_batch" not in settings:
        return None
    steps = (settings.get("outer") or _steps(record)) if record.spec.method in _LOOPED else 1
    return float(settings["iterations"] * settings["real_batch"] * steps)


def _published_images(record: RunRecord) -> float | None:
    if record.spec.method in MATCHING:
        match = PROFILES["paper"].match
        return float((match.iterations or 0) * match.real_batch) if match else None
    iterations = _PUBLISHED_ITERATIONS.get(record.spec.method)
    steps = _steps(record) if record.spec.method in _LOOPED else 1
    return None if iterations is None else float(iterations * _PUBLISHED_BATCH * steps)


def _steps(record: RunRecord) -> int:
    return min(record.spec.ipc or 1, _MOST_STEPS)
