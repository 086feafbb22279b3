"""What the suite knows of a dataset before it is loaded: a source, and the layouts in which its files may lie.

A set in the registry is a `Source` with a few layouts. Each file format has a function that returns the layout of its files,
such as `datasets.idx.idx_files`.
"""

from __future__ import annotations

import hashlib
import http.client
import tarfile
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from bench.errors import UsageError
from bench.lazy import torch, torchvision
from bench.types import Bundle, Split
from datasets.fingerprint import Fingerprint, cached, fingerprint_of, is_writable
from datasets.reading import DataWarning, Part

Parts = tuple[Part, ...]
"""The files of a split, in order."""


@dataclass(frozen=True)
class Layout:
    """One way in which a dataset may lie on disk.

    Attributes:
        where: the place of its files below the data root, in words, for messages.
        files: returns the files of the training and the test split below a data root, or None where they are not there.
        read: reads one part of a split, `train` or `test`.

    """

    where: str
    files: Callable[[Path], tuple[Parts, Parts] | None]
    read: Callable[[Part, str], Split]


class Files(NamedTuple):
    """The files of a dataset that are used: those of the first layout that is there."""

    layout: Layout
    train: Parts
    test: Parts

    @property
    def all(self) -> list[Path]:
        """Every file, once, in order."""
        return list(dict.fromkeys(file for part in (*self.train, *self.test) for file in part))


@dataclass(frozen=True)
class Download:
    """How torchvision downloads a dataset. It compares what it downloads with checksums of its own.

    Attributes:
        class_name: the class of `torchvision.datasets`, such as `MNIST`.
        calls: keyword arguments, once for each time that the class has to be made. Most classes download both splits at
            once; SVHN downloads the split that it is asked for.

    """

    class_name: str
    calls: tuple[Mapping[str, Any], ...] = field(default=({},), hash=False)

    def fetch(self, root: Path) -> None:
        """Download the dataset into `root`."""
        dataset = getattr(torchvision.datasets, self.class_name)
        for arguments in self.calls:
            dataset(str(root), download=True, **arguments)

    def are_published(self, files: list[Path]) -> bool | None:
        """Return whether files have the published checksums; None where none is published for a file of some name."""
        dataset = getattr(torchvision.datasets, self.class_name)
        lists = [getattr(dataset, name, ()) for name in ("resources", "train_list", "test_list")]
        entries = [*(entry for entries in lists for entry in entries), *getattr(dataset, "split_list", {}).values()]
        checksums = {entry[-2]: entry[-1] for entry in entries}  # each ends with a file's name and its MD5
        if not files or any(file.name not in checksums for file in files):
            return None
        return all(_md5(file) == checksums[file.name] for file in files)


def _md5(file: Path) -> str:
    with file.open("rb") as stream:
        # The published sums are MD5's. It guards against other and damaged files, not against forged ones.
        return hashlib.file_digest(stream, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()


@dataclass(frozen=True, kw_only=True)
class Source:
    """A dataset that is not loaded yet.

    Attributes:
        name: its key in the registry, as `--datasets` names it.
        label: what tables and figures print.
        classes: class names, in the order of labels.
        mean: the mean of each channel over the training images, scaled to [0, 1].
        std: the standard deviation of each channel, likewise.
        size: height and width of an image.
        flip: whether a mirrored image keeps its class.
        layouts: where its files may lie, in the order in which they are tried.
        download: how it is downloaded; None where it cannot be.
        published: the fingerprint of the published set; None where we have none.
        own: the fingerprint of the images themselves, where they were looked at to make this source.
        counts: how many training and test images it has, for estimating seconds; where nobody says, as many as CIFAR.

    """

    name: str
    label: str
    classes: tuple[str, ...]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    size: int
    flip: bool
    layouts: tuple[Layout, ...]
    download: Download | None = None
    published: Fingerprint | None = None
    own: Fingerprint | None = None
    counts: tuple[int, int] = (50_000, 10_000)

    @property
    def shape(self) -> tuple[int, int, int]:
        """`(channels, height, width)` of an image."""
        return len(self.mean), self.size, self.size

    def load(self, root: Path, *, expected: Fingerprint | None = None) -> Bundle:
        """Return the dataset below a data root; download it where it is not there.

        Args:
            root: the data root.
            expected: the fingerprint under which results will be recorded; None to load whatever is there.

        Raises:
            UsageError: where downloading fails, with every place that was looked at; where the files hold no images of this
                set; or where they are not those of the expected fingerprint.

        """
        train, test = self._read(self._files_or_download(root), root)
        if expected is not None and expected.digest and self._fingerprint_of(train, test).digest != expected.digest:
            kind = "published ones" if expected.assumed else "ones that were there when the run was planned"
            raise UsageError(f"dataset {self.name!r} below {str(root)!r}: its images are not the {kind}; start the run again")
        published = expected.published if expected is not None else None
        return Bundle(self.name, train, test, self.classes, self.mean, self.std, self.flip, published)

    def fingerprint(self, root: Path) -> Fingerprint:
        """Return the fingerprint of the images below `root`; download them where they are not there, as `load` does.

        All images are read for it once; after that a cache has it while the files stay as they are. Where the set is not the
        published one, a `DataWarning` says so.
        """
        if self.own is not None:
            return self.own
        files = self._files_or_download(root)

        fingerprint = cached(Fingerprint, self.name, home=root, files=files.all, compute=lambda: self._computed(files, root))
        if self.published is not None:
            # Either shows it: the images themselves, in whichever layout, or the checksums of the files.
            same = fingerprint.content == self.published.content or fingerprint.published is True
            fingerprint = fingerprint.model_copy(update={"published": same})
        if fingerprint.published is False:
            place = ", ".join(sorted({str(file.parent) for file in files.all}))
            warnings.warn(
                f"dataset {self.name!r} in {place} is not the published one: its images or labels differ "
                f"(fingerprint {fingerprint.digest[:16]}); results cannot be compared with published numbers",
                DataWarning,
                stacklevel=2,
            )
        return fingerprint

    def planned_fingerprint(self, root: Path) -> Fingerprint:
        """Return the fingerprint of the images below `root`; where they are not there, what it is expected to be.

        Nothing is downloaded. An expected fingerprint is that of the published set, is marked `assumed`, and has an empty
        digest where we have none of the published set.
        """
        if self.own is not None or self.files(root) is not None:
            return self.fingerprint(root)
        return (self.published or Fingerprint(digest="", content="")).model_copy(update={"assumed": True})

    def files(self, root: Path) -> Files | None:
        """Return the files of the first layout that is there, or None. Nothing is read."""
        for layout in self.layouts:
            splits = layout.files(root)
            if splits is not None:
                return Files(layout, *splits)
        return None

    def _files_or_download(self, root: Path) -> Files:
        files = self.files(root)
        if files is None:
            problem = self._fetch(root)
            files = None if problem else self.files(root)
            if files is None:
                raise self._not_there(root, problem)
        return files

    def _computed(self, files: Files, root: Path) -> Fingerprint:
        """Return the fingerprint of images that are read for it, and whether their files have the published checksums."""
        fingerprint = self._fingerprint_of(*self._read(files, root))
        if self.download is None or (self.published and fingerprint.content == self.published.content):
            return fingerprint
        return fingerprint.model_copy(update={"published": self.download.are_published(files.all)})

    def _fingerprint_of(self, train: Split, test: Split) -> Fingerprint:
        # The classes of a registered set are a part of the suite's code; those of a folder are a part of the data.
        return fingerprint_of(train, test, self.classes if self.own is not None else ())

    def _fetch(self, root: Path) -> str:
        """Download below `root`; return what went wrong, or an empty text."""
        if self.download is None:
            return "there is nothing to download"
        nearest = next((place for place in (root, *root.absolute().parents) if place.exists()), root)
        if not is_writable(nearest):
            return f"{nearest} is read-only"
        try:
            self.download.fetch(root)
        except (OSError, RuntimeError, http.client.HTTPException, tarfile.TarError) as error:
            return str(error).splitlines()[0] if str(error) else type(error).__name__
        return ""

    def _not_there(self, root: Path, problem: str) -> UsageError:
        """Return the error that lists every place where the files could have been."""
        places = "; ".join(f"{root / layout.where}" for layout in self.layouts)
        return UsageError(
            f"dataset {self.name!r} is not below --data-root {str(root)!r}: none of these is there: {places}. "
            f"Downloading failed: {problem or 'nothing usable came'}. "
            f"Put the files in one of these places, or name another root by --data-root or DATA_ROOT"
        )

    def _read(self, files: Files, root: Path) -> tuple[Split, Split]:
        """Return both splits; raise `UsageError` where they are not the images of this set."""
        splits = []
        for kind, parts in (("train", files.train), ("test", files.test)):
            split = _joined([self._checked(files.layout.read(part, kind), part) for part in parts])
            counts = split.labels.bincount(minlength=len(self.classes))
            if not counts.all():
                name = self.classes[int(counts.argmin())]
                place = parts[0][0].parent if parts and parts[0] else root
                raise UsageError(
                    f"dataset {self.name!r} in {place}: class {name!r} has no images in the {kind} split; "
                    f"valid: at least one of each class"
                )
            splits.append(split)
        return splits[0], splits[1]

    def _checked(self, split: Split, part: Part) -> Split:
        """Return one part of a split; raise `UsageError` where images have another shape, or labels are of no class."""
        shape, lowest, highest = tuple(split.images.shape[1:]), int(split.labels.min()), int(split.labels.max())
        if shape != self.shape:
            raise UsageError(f"{part[0]}: images of shape {shape}; valid for dataset {self.name!r}: {self.shape}")
        for label in (lowest, highest):
            if not 0 <= label < len(self.classes):
                valid = f"0 to {len(self.classes) - 1}"
                raise UsageError(f"{part[-1]}: label {label}; valid for dataset {self.name!r}: {valid}")
        return split


def _joined(splits: list[Split]) -> Split:
    if len(splits) == 1:
        return splits[0]
    return Split(torch.cat([split.images for split in splits]), torch.cat([split.labels for split in splits]))
