"""DC: dataset condensation by gradient matching (Zhao, Mopuri and Bilen 2021)."""

from __future__ import annotations

from bench.method import OwnProcedure
from methods.gradient import PRESETS, GradientMatching, match_gradients, passes_per_class

METHOD = OwnProcedure(
    name="dc",
    label="DC",
    citation="Zhao, Mopuri and Bilen 2021, Algorithm 1",
    settings=GradientMatching,
    procedure=match_gradients,
    passes_per_class=passes_per_class,
    presets=PRESETS,
    has_passes=True,
    by_class=True,
    order=50,
    color="#56b4e9",
)
