"""Random: real images drawn at random, trained on as they are."""

from __future__ import annotations

from bench.cells.method import Method
from bench.loops.images import initial_images

METHOD = Method(
    name="random",
    label="Random",
    citation="Li, Xue and Shi 2025, Table 2",
    procedure=initial_images,  # exactly the images that every matching method of that seed starts from
    order=10,
    color="#949494",
)
