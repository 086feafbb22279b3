"""The network of a name for given images, for files that are imported before torch is."""

from __future__ import annotations

from pkgutil import resolve_name
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from bench.networks.network import Network


def fit(name: str, shape: tuple[int, int, int], *, classes: int, width: int, depth: int | None) -> Network:
    """Return the network of that name for images of one shape, as `bench.networks.network.fit` does."""
    network: Network = resolve_name("bench.networks.network:fit")(name, shape, classes=classes, width=width, depth=depth)
    return network
