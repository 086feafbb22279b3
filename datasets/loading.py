"""Loading the datasets of a run, and checking that their images have the fingerprints in the descriptions of its cells."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

from bench.cells.protocol import Protocol
from bench.errors import UsageError
from bench.types import Bundle
from datasets.fingerprint import Fingerprint
from datasets.held_out import held_out
from datasets.source import Source


class Loader:
    """Loads each dataset once, at first use, and keeps the last held-out split.

    Calling it raises `UsageError` if the images no longer have their fingerprint.
    """

    def __init__(
        self,
        sources: Iterable[Source],
        root: Path,
        fingerprints: Mapping[str, Fingerprint],
        bundles: Mapping[str, Bundle] | None = None,
    ) -> None:
        """Prepare loading; nothing is loaded yet.

        Args:
            sources: the datasets.
            root: the data root.
            fingerprints: by the names of the datasets.
            bundles: datasets that are already loaded, by name.

        """
        self._sources, self._root, self._fingerprints = {source.name: source for source in sources}, root, fingerprints
        self._whole = dict(bundles or {})
        self._last: tuple[tuple[str, Protocol, int], Bundle] | None = None

    def __call__(self, name: str, protocol: Protocol, seed: int) -> Bundle:
        """Return the dataset `name` with the test split that the protocol asks for."""
        bundle, data = self.whole(name), protocol.data
        if data.split == "test":
            return bundle
        key = name, protocol, seed
        if self._last is None or self._last[0] != key:
            self._last = key, held_out(bundle, fraction=data.holdout, seed=seed)
        return self._last[1]

    def whole(self, name: str) -> Bundle:
        """Return the dataset `name` with its own test split."""
        if name not in self._whole:
            if name not in self._sources:  # a folder is called by its images
                raise UsageError(f"dataset {name!r}: its images are no longer those of the run; start the run again")
            self._whole[name] = self._sources[name].load(self._root, expected=self._fingerprints.get(name))
        return self._whole[name]
