"""`folder:PATH`: the user's own images, in the layout of torchvision's ImageFolder.

That is `PATH/train/CLASS/*` and `PATH/test/CLASS/*`.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import BaseModel, ConfigDict

from bench.errors import UsageError
from bench.files import DataWarning, is_file, reading
from bench.lazy import PIL, torch
from bench.lazy import numpy as np
from bench.types import Split
from datasets.fingerprint import Fingerprint, cached, fingerprint_of
from datasets.pictures import convert, has_alpha, is_grey, open_image
from datasets.reading import Group
from datasets.source import Groups, Layout, Source

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from PIL.Image import Image

SUFFIXES = (".jpg", ".jpeg", ".png", ".ppm", ".bmp", ".pgm", ".tif", ".tiff", ".webp")
"""The suffixes of the files that torchvision's ImageFolder reads."""

_SMALLEST_STD = 1e-3
"""Images are divided by their deviation, which is at least this: that of images of one colour is zero."""


class Facts(BaseModel):
    """What the suite needs to know of a folder before it is loaded. It takes reading all images, so it is cached.

    Attributes:
        fingerprint: of the images, labels and class names.
        mean: the mean of each channel over the training images.
        std: the standard deviation of each channel, likewise.
        side: height and width of the images.
        transparent: the images that have an alpha channel.

    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    fingerprint: Fingerprint
    mean: tuple[float, ...]
    std: tuple[float, ...]
    side: int
    transparent: tuple[str, ...]


class _Folder:
    """The images below a path: their files, and their pixels, which are read once, at first use."""

    def __init__(self, path: Path, size: int | None) -> None:
        self.path, self.size, self.classes = path, size, _classes(path)
        self.train, self.test = (_images(path / split, self.classes) for split in ("train", "test"))

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
        """Both splits, and the images that have an alpha channel."""
        mode, transparent = _mode_and_alpha(self.train, self.test)
        train, test = (_read_split(images, mode=mode, size=self.size) for images in (self.train, self.test))
        if train.images.shape[1:] != test.images.shape[1:]:
            raise UsageError(
                f"dataset 'folder:{self.path}': train and test images differ in size; give one by --set data.size=32"
            )
        return train, test, transparent

    def _facts(self) -> Facts:
        train, test, transparent = self._splits
        pixels = train.images.double() / 255
        mean, std = pixels.mean((0, 2, 3)), pixels.std((0, 2, 3)).clamp_min(_SMALLEST_STD)
        return Facts(
            fingerprint=fingerprint_of(train, test, self.classes),
            mean=tuple(round(value, 4) for value in mean.tolist()),
            std=tuple(round(value, 4) for value in std.tolist()),
            side=train.images.shape[-1],
            transparent=transparent,
        )


def folder_source(path: Path, *, size: int | None) -> Source:
    """Return the source of the images below `path`. They are read now, unless the cache has their facts.

    Args:
        path: the folder with `train` and `test`.
        size: height and width to which the images are cropped and resized; None if they have one size already.

    Returns:
        The source; mean and deviation are those of the training images.

    Raises:
        UsageError: if the folder has another layout, the splits differ in classes, or images differ in size or cannot be
            used unchanged.

    """
    folder = _Folder(path, size)
    facts = folder.facts()
    if facts.transparent:
        count, first = len(facts.transparent), facts.transparent[0]
        warnings.warn(
            f"dataset 'folder:{path}': {count} images have an alpha channel, which is dropped, first {first}",
            DataWarning,
            stacklevel=2,
        )
    return Source(
        name=f"folder:{path}",
        label=path.name,
        classes=folder.classes,
        mean=facts.mean,
        std=facts.std,
        size=facts.side,
        flip=True,
        counts=(len(folder.train), len(folder.test)),
        layouts=(Layout("", folder.files, folder.read),),
        own=facts.fingerprint,
    )


def _classes(path: Path) -> tuple[str, ...]:
    """Return the class names of a folder; raise `UsageError` if it has another layout."""
    names: list[tuple[str, ...]] = []
    for split in ("train", "test"):
        folder = path / split
        if not folder.is_dir():
            raise UsageError(f"dataset 'folder:{path}': {folder} is not there; valid: PATH/train/CLASS/* and PATH/test/CLASS/*")
        names.append(tuple(sorted(entry.name for entry in folder.iterdir() if entry.is_dir())))
    if not names[0] or names[0] != names[1]:
        raise UsageError(f"dataset 'folder:{path}': train has classes {list(names[0])}, test {list(names[1])}; they must agree")
    return names[0]


def _images(folder: Path, classes: tuple[str, ...]) -> dict[Path, int]:
    """Return the image files of a split and their labels, in the order of ImageFolder."""
    labels: dict[Path, int] = {}
    for label, name in enumerate(classes):
        candidates = sorted(path for path in (folder / name).rglob("*") if path.suffix.lower() in SUFFIXES)
        files = [path for path in candidates if not path.is_dir() and is_file(path)]
        if not files:
            raise UsageError(f"dataset folder: {folder / name} holds no image; valid: {', '.join(SUFFIXES)}")
        labels |= dict.fromkeys(files, label)
    return labels


def _mode_and_alpha(train: Iterable[Path], test: Iterable[Path]) -> tuple[str, tuple[str, ...]]:
    """Return Pillow's mode to which all images are converted, and the images with an alpha channel.

    The mode is `L` if all training images are grey, else `RGB`.
    """
    grey, transparent = True, []
    for is_train, files in ((True, train), (False, test)):
        for file in files:
            with reading(file), file.open("rb") as stream, open_image(stream) as image:
                grey = grey and (is_grey(image) or not is_train)
                if has_alpha(image):
                    transparent.append(str(file))
    return "L" if grey else "RGB", tuple(transparent)


def _read_split(files: dict[Path, int], *, mode: str, size: int | None) -> Split:
    """Return the images of a split; raise `UsageError` if they are not square or not of one size."""
    images: list[NDArray[np.uint8]] = []
    for file in files:
        image = _read_image(file, mode)
        if size is not None:
            image = PIL.ImageOps.fit(image, (size, size), method=PIL.Image.Resampling.BICUBIC)
        if (images and image.size != images[0].shape[1::-1]) or image.width != image.height:
            raise UsageError(
                f"dataset folder: {file} is {image.width}x{image.height}; images must be square and of one size, "
                f"or give one by --set data.size=32"
            )
        images.append(np.asarray(image).reshape(image.height, image.width, -1))
    pixels = torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2).contiguous()  # [N, channels, H, W]
    return Split(pixels, torch.tensor(list(files.values())))


def _read_image(file: Path, mode: str) -> Image:
    """Return the image in `file`, converted to `mode`."""
    with reading(file), file.open("rb") as stream, open_image(stream) as opened:
        return convert(opened, mode, str(file))
