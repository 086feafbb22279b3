"""`folder:PATH`: the user's own images, in the layout of torchvision's ImageFolder.

That is `PATH/train/CLASS/*` and `PATH/test/CLASS/*`.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING

from bench.errors import UsageError
from bench.lazy import PIL, torch
from bench.lazy import numpy as np
from bench.types import Split
from datasets.source import Layout, Source, reading

if TYPE_CHECKING:
    from PIL.Image import Image

SUFFIXES = (".jpg", ".jpeg", ".png", ".ppm", ".bmp", ".pgm", ".tif", ".tiff", ".webp")
"""The file names that torchvision's ImageFolder takes for images."""

_GREY_MODES = ("1", "L", "I", "I;16", "I;16B", "F")
"""PIL's modes with one channel."""

_SMALLEST_STD = 1e-3
"""Images are divided by their deviation. That of images of one colour is zero, so this stands in for it."""


def folder_source(path: Path, *, size: int | None) -> Source:
    """Return the source of the images below `path`. They are read at once, for the hash and the statistics.

    Args:
        path: the folder with `train` and `test`.
        size: height and width to which the images are cropped and resized; None where they have one size already.

    Returns:
        The source; mean and deviation are those of the training images.

    Raises:
        UsageError: where the folder has another layout, the splits differ in classes, or images differ in size.

    """
    classes = _classes(path)
    mode = _mode(path / "train", classes)
    train = _read_split(path / "train", classes, mode=mode, size=size)
    test = _read_split(path / "test", classes, mode=mode, size=size)
    if train.images.shape[1:] != test.images.shape[1:]:
        raise UsageError(f"dataset 'folder:{path}': train and test images differ in size; give one by --set data.size=32")
    pixels = train.images.double() / 255
    mean, std = pixels.mean((0, 2, 3)), pixels.std((0, 2, 3)).clamp_min(_SMALLEST_STD)
    return Source(
        name=f"folder:{path}",
        label=path.name,
        classes=classes,
        mean=tuple(round(value, 4) for value in mean.tolist()),
        std=tuple(round(value, 4) for value in std.tolist()),
        size=train.images.shape[-1],
        flip=True,
        layouts=(Layout("", lambda root: (train, test)),),  # already read: the data root plays no part
        code=_fingerprint(train, test),
    )


def _classes(path: Path) -> tuple[str, ...]:
    """Return the class names of a folder; raise `UsageError` where it has another layout."""
    names: list[tuple[str, ...]] = []
    for split in ("train", "test"):
        folder = path / split
        if not folder.is_dir():
            raise UsageError(f"dataset 'folder:{path}': {folder} is not there; valid: PATH/train/CLASS/* and PATH/test/CLASS/*")
        names.append(tuple(sorted(entry.name for entry in folder.iterdir() if entry.is_dir())))
    if not names[0] or names[0] != names[1]:
        raise UsageError(f"dataset 'folder:{path}': train has classes {list(names[0])}, test {list(names[1])}; they must agree")
    return names[0]


def _files(folder: Path, classes: tuple[str, ...]) -> list[tuple[Path, int]]:
    """Return the image files of a split and their labels, in the order of ImageFolder."""
    labelled = []
    for label, name in enumerate(classes):
        files = sorted(file for file in (folder / name).rglob("*") if file.suffix.lower() in SUFFIXES)
        if not files:
            raise UsageError(f"dataset folder: {folder / name} holds no image; valid: {', '.join(SUFFIXES)}")
        labelled += [(file, label) for file in files]
    return labelled


def _mode(folder: Path, classes: tuple[str, ...]) -> str:
    """Return PIL's mode to which all images are converted: `L` where all training images are grey, else `RGB`."""
    for file, _ in _files(folder, classes):
        with reading(file), PIL.Image.open(file) as image:
            if image.mode not in _GREY_MODES:
                return "RGB"
    return "L"


def _read_split(folder: Path, classes: tuple[str, ...], *, mode: str, size: int | None) -> Split:
    """Return the images of a split; raise `UsageError` where they are not square or not of one size."""
    images: list[np.ndarray] = []
    labels: list[int] = []
    for file, label in _files(folder, classes):
        image = _read_image(file, mode)
        if size is not None:
            image = PIL.ImageOps.fit(image, (size, size), method=PIL.Image.Resampling.BICUBIC)
        if (images and image.size != images[0].shape[1::-1]) or image.width != image.height:
            raise UsageError(
                f"dataset folder: {file} is {image.width}x{image.height}; images must be square and of one size, "
                f"or give one by --set data.size=32"
            )
        images.append(np.asarray(image).reshape(image.height, image.width, -1))
        labels.append(label)
    pixels = torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2).contiguous()  # [N, channels, H, W]
    return Split(pixels, torch.tensor(labels))


def _read_image(file: Path, mode: str) -> Image:
    """Return the image in `file`, converted to `mode`."""
    with reading(file), PIL.Image.open(file) as opened:
        if opened.mode.startswith("I"):  # 16 bits of grey: PIL would clip them at 255, so they are scaled first
            return PIL.Image.fromarray((np.asarray(opened) // 257).astype(np.uint8)).convert(mode)
        return opened.convert(mode)


def _fingerprint(*splits: Split) -> str:
    """Return a hash of all pixels and labels, 16 hexadecimal digits."""
    digest = hashlib.sha256()
    for split in splits:
        digest.update(split.images.numpy().tobytes())
        digest.update(split.labels.numpy().tobytes())
    return digest.hexdigest()[:16]
