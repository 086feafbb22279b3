"""What the suite knows of a dataset before it is loaded: a source, and the possible layouts of its files.

A set in the registry is a `Source` with a few layouts. Each file format has a function that returns the layout of its files,
such as `datasets.idx.idx_files`.
"""

from __future__ import annotations

import hashlib
import http.client
import itertools
import tarfile
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from bench.errors import UsageError
from bench.files import DataWarning
from bench.lazy import torch, torchvision
from bench.types import Bundle, Split
from datasets.fingerprint import Fingerprint, cached, fingerprint_of, is_writable
from datasets.reading import Group
from datasets.searching import homes

Groups = tuple[Group, ...]
"""The files of a split, in order, group by group."""


@dataclass(frozen=True)
class Layout:
    """One way in which a dataset's files may be stored.

    Attributes:
        where: the path of its files below the data root, for messages.
        files: returns the files of the training and the test split below a data root, or None if they are not there.
        read: reads a group of files of a split, `train` or `test`.

    """

    where: str
    files: Callable[[Path], tuple[Groups, Groups] | None]
    read: Callable[[Group, str], Split]


class Files(NamedTuple):
    """The files of a dataset that are read: those of the first layout that is there."""

    layout: Layout
    train: Groups
    test: Groups

    @property
    def all(self) -> list[Path]:
        """Every file, once, in order."""
        return list(dict.fromkeys(file for group in (*self.train, *self.test) for file in group))


@dataclass(frozen=True)
class Download:
    """How torchvision downloads a dataset. It compares what it downloads with checksums of its own.

    Attributes:
        class_name: the class of `torchvision.datasets`, such as `MNIST`.
        calls: the keyword arguments of each call of the class. Most classes download both splits in one call; SVHN's
            downloads one split.

    """

    class_name: str
    calls: tuple[Mapping[str, Any], ...] = field(default=({},), hash=False)

    def fetch(self, root: Path) -> None:
        """Download the dataset into `root`."""
        dataset = getattr(torchvision.datasets, self.class_name)
        for arguments in self.calls:
            dataset(str(root), download=True, **arguments)

    @property
    def addresses(self) -> list[str]:
        """Where torchvision downloads from."""
        dataset = getattr(torchvision.datasets, self.class_name)
        files = [entry[0] for entry in getattr(dataset, "split_list", {}).values()]
        return [*getattr(dataset, "mirrors", files or [getattr(dataset, "url", "torchvision's address")])]

    def are_published(self, files: list[Path]) -> bool | None:
        """Return whether files have the published checksums; None if there is none for the name of some file."""
        dataset = getattr(torchvision.datasets, self.class_name)
        lists = [getattr(dataset, name, ()) for name in ("resources", "train_list", "test_list")]
        entries = [*(entry for entries in lists for entry in entries), *getattr(dataset, "split_list", {}).values()]
        checksums = {entry[-2]: entry[-1] for entry in entries}  # each ends with a file's name and its MD5
        if not files or any(file.name not in checksums for file in files):
            return None
        return all(_md5(file) == checksums[file.name] for file in files)


def _md5(file: Path) -> str:
    with file.open("rb") as stream:
        # The published checksums are MD5. It detects other and damaged files, not forged files.
        return hashlib.file_digest(stream, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()


@dataclass(frozen=True, kw_only=True)
class Source:
    """A dataset that is not loaded yet.

    Attributes:
        name: its key in the registry; of a folder `folder:` and the beginning of its fingerprint.
        label: what tables and figures print.
        classes: class names, in the order of labels.
        mean: the mean of each channel over the training images, scaled to [0, 1].
        std: the standard deviation of each channel, likewise.
        size: height and width of an image.
        flip: whether a mirrored image keeps its class.
        layouts: how its files may be stored, in the order in which they are tried.
        download: how it is downloaded; None if it cannot be.
        published: the fingerprint of the published set; None if we do not have it.
        own: the fingerprint of the images themselves, if they were read to make this source.
        spelling: how `--datasets` names it, if not by its name.
        aliases: pairs of what others call a class, and its name here.
        counts: the numbers of training and test images, for estimating seconds; by default those of CIFAR.

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
    spelling: str = ""
    aliases: tuple[tuple[str, str], ...] = ()
    counts: tuple[int, int] = (50_000, 10_000)

    @property
    def shape(self) -> tuple[int, int, int]:
        """`(channels, height, width)` of an image."""
        return len(self.mean), self.size, self.size

    def load(self, root: Path, *, expected: Fingerprint | None = None) -> Bundle:
        """Return the dataset below a data root; download it if it is not there.

        Args:
            root: the data root.
            expected: the fingerprint under which results will be recorded; None accepts any images.

        Raises:
            UsageError: if downloading fails, with every path that was searched; if the files have no images of this set; or if
                the images do not have the expected fingerprint.

        """
        train, test = self._read(self._files_or_download(root), root)
        if expected is not None and expected.digest and self._fingerprint_of(train, test).digest != expected.digest:
            kind = "published ones" if expected.assumed else "ones that were there when the run was planned"
            raise UsageError(f"dataset {self.name!r} below {str(root)!r}: its images are not the {kind}; start the run again")
        published = expected.published if expected is not None else None
        about = (self.mean, self.std, self.flip, published, self.spelling, self.aliases)
        return Bundle(self.name, train, test, self.classes, *about)

    def fingerprint(self, root: Path) -> Fingerprint:
        """Return the fingerprint of the images below `root`; download them if they are not there, as `load` does.

        All images are read for it once; after that it comes from a cache until the files change. If the set is not the
        published set, a `DataWarning` says so.
        """
        if self.own is not None:
            return self.own
        files = self._files_or_download(root)

        fingerprint = cached(Fingerprint, self.name, home=root, files=files.all, compute=lambda: self._computed(files, root))
        if self.published is not None:
            # Either is enough: the same images, in any layout, or files with the published checksums.
            same = fingerprint.content == self.published.content or fingerprint.published is True
            fingerprint = fingerprint.model_copy(update={"published": same})
        if fingerprint.published is False:
            folders = ", ".join(sorted({str(file.parent) for file in files.all}))
            warnings.warn(
                f"dataset {self.name!r} in {folders} is not the published one: its images or labels differ "
                f"(fingerprint {fingerprint.digest[:16]}); results cannot be compared with published numbers",
                DataWarning,
                stacklevel=2,
            )
        return fingerprint

    def planned_fingerprint(self, root: Path) -> Fingerprint:
        """Return the fingerprint of the images below `root`; if they are not there, the one to expect.

        Nothing is downloaded. The fingerprint to expect is that of the published set, marked `assumed`; its digest is empty if
        we do not have it.
        """
        if self.own is not None or self.files(root) is not None:
            return self.fingerprint(root)
        return (self.published or Fingerprint(digest="", content="")).model_copy(update={"assumed": True})

    def files(self, root: Path) -> Files | None:
        """Return the files of the first layout that is there, or None. Nothing is read.

        After the data root itself, its folders that have the dataset's name are tried as if each was the data root.
        """
        for base in itertools.chain([root], homes(root, self.name)):
            for layout in self.layouts:
                splits = layout.files(base)
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
        # The classes of a registered set belong to the suite's code; those of a folder belong to the data.
        return fingerprint_of(train, test, self.classes if self.own is not None else ())

    def _fetch(self, root: Path) -> str:
        """Download below `root`; return what went wrong, or an empty string."""
        if self.download is None:
            return "there is nothing to download"
        nearest = next((folder for folder in (root, *root.absolute().parents) if folder.exists()), root)
        if not is_writable(nearest):
            return f"{nearest} is read-only"
        try:
            self.download.fetch(root)
        except (OSError, RuntimeError, http.client.HTTPException, tarfile.TarError) as error:
            reason = str(error) or type(error).__name__
            return reason if "://" in reason else f"{reason} from {', '.join(self.download.addresses)}"
        return ""

    def _not_there(self, root: Path, problem: str) -> UsageError:
        """Return the error that lists every path where the files could have been."""
        places = "; ".join(f"{root / layout.where}" for layout in self.layouts)
        return UsageError(
            f"dataset {self.name!r} is not below --data-root {str(root)!r}: none of these is there: {places}, "
            f"nor is any of them below a folder with the Hub's name of the dataset. "
            f"Downloading failed: {problem or 'nothing usable came'}. "
            f"Put the files in one of these places, or name another root by --data-root or DATA_ROOT"
        )

    def _read(self, files: Files, root: Path) -> tuple[Split, Split]:
        """Return both splits; raise `UsageError` if they are not images of this set."""
        splits = []
        for kind, groups in (("train", files.train), ("test", files.test)):
            split = _joined([self._checked(files.layout.read(group, kind), group) for group in groups])
            counts = split.labels.bincount(minlength=len(self.classes))
            if not counts.all():
                name = self.classes[int(counts.argmin())]
                folder = groups[0][0].parent if groups and groups[0] else root
                raise UsageError(
                    f"dataset {self.name!r} in {folder}: class {name!r} has no images in the {kind} split; "
                    f"valid: at least one of each class"
                )
            splits.append(split)
        return splits[0], splits[1]

    def _checked(self, split: Split, group: Group) -> Split:
        """Return the images of a group; raise `UsageError` if they have another shape, or labels of no class."""
        shape, lowest, highest = tuple(split.images.shape[1:]), int(split.labels.min()), int(split.labels.max())
        if shape != self.shape:
            raise UsageError(f"{group[0]}: images of shape {shape}; valid for dataset {self.name!r}: {self.shape}")
        for label in (lowest, highest):
            if not 0 <= label < len(self.classes):
                valid = f"0 to {len(self.classes) - 1}"
                raise UsageError(f"{group[-1]}: label {label}; valid for dataset {self.name!r}: {valid}")
        return split


def _joined(splits: list[Split]) -> Split:
    if len(splits) == 1:
        return splits[0]
    return Split(torch.cat([split.images for split in splits]), torch.cat([split.labels for split in splits]))
