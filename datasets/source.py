"""What a dataset is before it is loaded: a source, and the layouts in which its files may lie."""

from __future__ import annotations

import http.client
import os
import tarfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from bench.errors import UsageError

if TYPE_CHECKING:
    from bench.types import Bundle, Split

Reader = Callable[[Path], "tuple[Split, Split] | None"]
"""Reads train and test split below a root, or returns None where the files are not there."""


@contextmanager
def reading(file: Path) -> Iterator[None]:
    """Turn whatever a damaged or foreign file makes a reader raise into a `UsageError` that names the file."""
    try:
        yield
    except UsageError:
        raise
    except Exception as error:
        raise UsageError(
            f"{file} cannot be read: it is damaged or of another format ({type(error).__name__}: {error})"
        ) from error


@dataclass(frozen=True)
class Layout:
    """One way a dataset may lie on disk: `where` in words, below the root; `read` its reader."""

    where: str
    read: Reader


@dataclass(frozen=True)
class Source:
    """A named dataset: class names in label order, channel means and deviations, whether a mirrored image keeps its class.

    `layouts` are tried in order; `download` names the class of `torchvision.datasets` that fetches it, empty where none does;
    `code` is a hash of the images where the name alone does not say which they are.
    """

    name: str
    label: str
    classes: tuple[str, ...]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    size: int
    flip: bool
    layouts: tuple[Layout, ...]
    download: str = ""
    code: str = ""

    @property
    def shape(self) -> tuple[int, int, int]:
        """`(channels, height, width)` of an image."""
        return len(self.mean), self.size, self.size

    def load(self, root: Path) -> Bundle:
        """Return the dataset found below `root`, downloaded where it is not there.

        Raise `UsageError` that lists every place looked at and what would satisfy it.
        """
        from bench.types import Bundle

        splits = self._read(root)
        if splits is None:
            problem = self._fetch(root)
            splits = None if problem else self._read(root)
            if splits is None:
                places = "; ".join(f"{root / layout.where}" for layout in self.layouts)
                raise UsageError(
                    f"dataset {self.name!r} is not below --data-root {str(root)!r}: none of these is there: {places}. "
                    f"Downloading failed: {problem or 'nothing usable came'}. "
                    f"Put the files in one of these places, or name another root by --data-root or DATA_ROOT"
                )
        for split in splits:
            shape, labels = tuple(split.images.shape[1:]), (int(split.labels.min()), int(split.labels.max()))
            if shape != self.shape or labels[0] < 0 or labels[1] >= len(self.classes):
                raise UsageError(
                    f"dataset {self.name!r} below {str(root)!r}: images of shape {shape}, labels {labels[0]} to {labels[1]}; "
                    f"valid: {self.shape} with labels 0 to {len(self.classes) - 1}"
                )
        return Bundle(self.name, *splits, self.classes, self.mean, self.std, self.flip)

    def _read(self, root: Path) -> tuple[Split, Split] | None:
        for layout in self.layouts:
            found = layout.read(root)
            if found is not None:
                return found
        return None

    def _fetch(self, root: Path) -> str:
        """Download below `root`; return what went wrong, or an empty text."""
        if not self.download:
            return "there is nothing to download"
        nearest = next((place for place in (root, *root.absolute().parents) if place.exists()), root)
        if not os.access(nearest, os.W_OK):
            return f"{nearest} is read-only"
        import torchvision

        kind = getattr(torchvision.datasets, self.download)
        try:
            if self.download == "SVHN":
                for split in ("train", "test"):
                    kind(str(root), split=split, download=True)
            else:
                kind(str(root), download=True)
        except (OSError, RuntimeError, http.client.HTTPException, tarfile.TarError) as error:
            return str(error).splitlines()[0] if str(error) else type(error).__name__
        return ""
