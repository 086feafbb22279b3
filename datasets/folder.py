"""`folder:PATH`: the user's own images, in the layout of torchvision's ImageFolder.

That is `PATH/train/CLASS/*` and `PATH/test/CLASS/*`; without `test`, `val` is taken for it. What is hidden is ignored.
The set is called by the fingerprint of its images, so that it is the same set under any path and on any machine.
"""

from __future__ import annotations

import unicodedata
import warnings
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import BaseModel, ConfigDict

from bench.errors import UsageError, listed
from bench.files import DataWarning, announced, is_file, is_stray, reading
from bench.lazy import PIL, torch
from bench.lazy import numpy as np
from bench.types import Split
from datasets.fingerprint import Fingerprint, cached, fingerprint_of, image_hashes
from datasets.pictures import convert, has_alpha, is_grey, open_image
from datasets.reading import Group
from datasets.source import Groups, Layout, Source

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from PIL.Image import Image

SUFFIXES = (".jpg", ".jpeg", ".png", ".ppm", ".bmp", ".pgm", ".tif", ".tiff", ".webp")
"""The suffixes of the files that torchvision's ImageFolder reads."""

_VALIDATION = ("val", "valid", "validation", "dev")
_SPLITS = {"train": ("train", "training"), "test": ("test", "testing", *_VALIDATION)}
"""What people call the folders of the two splits, in lower case, in the order in which they are tried."""

_DIGITS = 12
"""How many digits of the fingerprint the name of a folder has."""

_SMALLEST_STD = 1e-3
"""Images are divided by their deviation, which is at least this: that of images of one colour is zero."""


class Facts(BaseModel):
    """What the suite needs to know of a folder before it is loaded. It takes reading all images, so it is cached.

    Attributes:
        fingerprint: of the images, labels and class names.
        mean: the mean of each channel over the training images.
        std: the standard deviation of each channel, likewise.
        side: height and width of the images.
        notes: what a user should know of the images, such as how many have an alpha channel.

    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    fingerprint: Fingerprint
    mean: tuple[float, ...]
    std: tuple[float, ...]
    side: int
    notes: tuple[str, ...]


class _Folder:
    """The images below a path: their files, and their pixels, which are read once, at first use."""

    def __init__(self, path: Path, size: int | None) -> None:
        self.path, self.size = path, size
        splits = _split_folders(path)
        self.classes = tuple(_classes(splits["train"]))
        self.train, self.test = (_images(_classes(splits[name])) for name in ("train", "test"))
        test = splits["test"]
        self.notes = (f"{test} is taken for the test split",) if test.name.lower() in _VALIDATION else ()

    def files(self, root: Path) -> tuple[Groups, Groups]:
        """Return the files; the data root does not matter."""
        return (tuple(self.train),), (tuple(self.test),)

    def read(self, group: Group, split: str) -> Split:
        """Return a split."""
        train, test, _ = self._splits
        return train if split == "train" else test

    def facts(self) -> Facts:
        """Return the facts, from the cache if it has them."""
        name = "folder" if self.size is None else f"folder-{self.size}"
        return cached(Facts, name, home=self.path, files=(*self.train, *self.test), compute=self._facts)

    @cached_property
    def _splits(self) -> tuple[Split, Split, tuple[str, ...]]:
        """Both splits, and what is to be said of their alpha channels."""
        mode, notes = _mode_and_alpha(self.path, self.train, self.test)
        train, test = (_read_split(self.path, images, mode=mode, size=self.size) for images in (self.train, self.test))
        if train.images.shape[1:] != test.images.shape[1:]:
            raise UsageError(
                f"dataset 'folder:{self.path}': train and test images differ in size; give one by --set data.size=32"
            )
        return train, test, notes

    def _facts(self) -> Facts:
        train, test, notes = self._splits
        mean, std = _moments(train.images.numpy())
        repeated = [note for split, files in ((train, self.train), (test, self.test)) for note in _repeated(split, [*files])]
        return Facts(
            fingerprint=fingerprint_of(train, test, self.classes),
            mean=tuple(round(value, 4) for value in mean),
            std=tuple(round(max(value, _SMALLEST_STD), 4) for value in std),
            side=train.images.shape[-1],
            notes=(*notes, *repeated),
        )


def folder_source(path: Path, *, size: int | None, flip: bool = True) -> Source:
    """Return the source of the images below `path`. They are read now, unless the cache has their facts.

    Args:
        path: the folder with `train` and `test`.
        size: height and width to which the images are cropped and resized; None if they have one size already.
        flip: whether a mirrored image keeps its class.

    Returns:
        The source; mean and deviation are those of the training images.

    Raises:
        UsageError: if the folder has another layout, the splits differ in classes, or images differ in size or cannot be
            used unchanged.

    """
    folder = _Folder(path, size)
    facts = folder.facts()
    for note in (*folder.notes, *facts.notes):
        warnings.warn(f"dataset 'folder:{path}': {note}", DataWarning, stacklevel=2)
    return Source(
        name=f"folder:{facts.fingerprint.digest[:_DIGITS]}",
        label=path.resolve().name or str(path),
        classes=folder.classes,
        mean=facts.mean,
        std=facts.std,
        size=facts.side,
        flip=flip,
        counts=(len(folder.train), len(folder.test)),
        layouts=(Layout("", folder.files, folder.read),),
        own=facts.fingerprint,
        spelling=f"folder:{path}",
    )


def _split_folders(path: Path) -> dict[str, Path]:
    """Return the folder of each split; raise `UsageError` if one is missing, or their classes differ.

    Of several that may be the test split, the first whose classes are those of the training split is taken.
    """
    entries = {folder.name.lower(): folder for folder in _folders(path)}
    splits: dict[str, list[Path]] = {}
    for split, names in _SPLITS.items():
        splits[split] = [entries[name] for name in names if name in entries]
        if not splits[split]:
            valid = "valid: PATH/train/CLASS/* and PATH/test/CLASS/*"
            raise UsageError(f"dataset 'folder:{path}': {path / split} is not there; {valid}")
    train, classes = splits["train"][0], [*_classes(splits["train"][0])]
    if not classes:
        raise UsageError(f"dataset 'folder:{path}': {train} holds no class folder; valid: PATH/train/CLASS/*")
    test = next((folder for folder in splits["test"] if [*_classes(folder)] == classes), None)
    if test is None:
        other = [*_classes(splits["test"][0])]
        kinds = ((train.name, classes, other), (splits["test"][0].name, other, classes))
        only = [f"only in {name}: {listed(more)}" for name, own, rest in kinds if (more := sorted({*own} - {*rest}))]
        counts = f"train has classes {listed(classes)}; {splits['test'][0].name} has {listed(other) or 'none'}"
        raise UsageError(f"dataset 'folder:{path}': {counts}; they must agree; {'; '.join(only)}")
    return {"train": train, "test": test}


def _folders(path: Path) -> list[Path]:
    """Return the folders in `path` that are not hidden; none if it is no folder."""
    entries = path.iterdir() if path.is_dir() else ()
    return [entry for entry in entries if entry.is_dir() and not is_stray(Path(entry.name))]


def _classes(split: Path) -> dict[str, Path]:
    """Return the folders of classes by name, in order. macOS and other systems spell an accent differently: here it is one."""
    return dict(sorted((unicodedata.normalize("NFC", folder.name), folder) for folder in _folders(split)))


def _images(classes: Mapping[str, Path]) -> dict[Path, int]:
    """Return the image files of a split and their labels, class by class, in the order of their paths."""
    labels: dict[Path, int] = {}
    for label, folder in enumerate(classes.values()):
        paths = {
            tuple(unicodedata.normalize("NFC", inside.as_posix()).split("/")): path
            for path in folder.rglob("*")
            if path.suffix.lower() in SUFFIXES and not is_stray(inside := path.relative_to(folder))
        }
        files = [paths[key] for key in sorted(paths) if not paths[key].is_dir() and is_file(paths[key])]
        if not files:
            raise UsageError(f"dataset folder: {folder} holds no image; valid: {', '.join(SUFFIXES)}")
        labels |= dict.fromkeys(files, label)
    return labels


def _mode_and_alpha(path: Path, train: Mapping[Path, int], test: Mapping[Path, int]) -> tuple[str, tuple[str, ...]]:
    """Return Pillow's mode to which all images are converted, and a note on the images with an alpha channel, if any.

    The mode is `L` if all training images are grey, else `RGB`.
    """
    grey, transparent = True, []
    for file in announced([*train, *test], f"headers of pictures in folder:{path} read", total=len(train) + len(test)):
        with reading(file), file.open("rb") as stream, open_image(stream) as image:
            grey = grey and (is_grey(image) or file not in train)
            if has_alpha(image):
                transparent.append(file)
    note = f"{len(transparent)} images have an alpha channel, which is dropped, first {transparent[0]}" if transparent else ""
    return "L" if grey else "RGB", (note,) if note else ()


def _read_split(path: Path, files: Mapping[Path, int], *, mode: str, size: int | None) -> Split:
    """Return the images of a split; raise `UsageError` if they are not square or not of one size."""
    pixels: NDArray[np.uint8] = np.empty((0, 1, 0, 0), np.uint8)
    for number, file in enumerate(announced(files, f"pictures of folder:{path} read", total=len(files))):
        image = _read_image(file, mode)
        if size is not None:
            image = PIL.ImageOps.fit(image, (size, size), method=PIL.Image.Resampling.BICUBIC)
        if (number and image.size != pixels.shape[:1:-1]) or image.width != image.height:
            raise UsageError(
                f"dataset folder: {file} is {image.width}x{image.height}; images must be square and of one size, "
                f"or give one by --set data.size=32"
            )
        if not number:  # filled image by image: a list of them would be a second copy of all
            pixels = np.empty((len(files), len(image.getbands()), image.height, image.width), np.uint8)
        pixels[number] = np.moveaxis(np.asarray(image).reshape(image.height, image.width, -1), -1, 0)
    return Split(torch.from_numpy(pixels), torch.tensor(list(files.values())))


def _moments(images: NDArray[np.uint8]) -> tuple[list[float], list[float]]:
    """Return the mean and the standard deviation of each channel of images `[N, channels, H, W]`, scaled to [0, 1].

    Both follow from how often each of the 256 levels is there, which takes no second copy of the images.
    """
    counts = np.zeros((images.shape[1], 256), np.int64)
    for image in images:
        for channel, plane in enumerate(image):
            counts[channel] += np.bincount(plane.reshape(-1), minlength=256)
    levels, total = np.arange(256) / 255, counts.sum(1)
    mean = counts @ levels / total
    variance = (counts * (levels - mean[:, None]) ** 2).sum(1) / np.maximum(total - 1, 1)
    return mean.tolist(), np.sqrt(variance).tolist()


def _repeated(split: Split, files: list[Path]) -> list[str]:
    """Return a note on the pictures that are in their class a second time, pixel by pixel, if there are any."""
    first: dict[bytes, Path] = {}
    again = [
        (file, other)
        for file, digest in zip(files, image_hashes(split), strict=True)
        if (other := first.setdefault(digest, file)) != file
    ]
    if not again:
        return []
    file, other = again[0]
    count = "1 picture is" if len(again) == 1 else f"{len(again)} pictures are"
    return [f"{count} in a class more than once, and counted each time, first {file}, the same as {other}"]


def _read_image(file: Path, mode: str) -> Image:
    """Return the image in `file`, converted to `mode`."""
    with reading(file), file.open("rb") as stream, open_image(stream) as opened:
        return convert(opened, mode, str(file))
