"""`folder:PATH`: images in torchvision's ImageFolder layout, `PATH/train/CLASS/*` and `PATH/test/CLASS/*`."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING

from bench.errors import UsageError
from datasets.source import Layout, Source, reading

if TYPE_CHECKING:
    from bench.types import Split

SUFFIXES = (".jpg", ".jpeg", ".png", ".ppm", ".bmp", ".pgm", ".tif", ".tiff", ".webp")
"""What torchvision's ImageFolder takes for an image."""

_GREY = ("1", "L", "I", "I;16", "I;16B", "F")


def _classes(path: Path) -> tuple[str, ...]:
    """Return the class names of a folder; raise `UsageError` where its layout is another."""
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
    found = []
    for label, name in enumerate(classes):
        files = sorted(file for file in (folder / name).rglob("*") if file.suffix.lower() in SUFFIXES)
        if not files:
            raise UsageError(f"dataset folder: {folder / name} holds no image; valid: {', '.join(SUFFIXES)}")
        found += [(file, label) for file in files]
    return found


def _split(folder: Path, classes: tuple[str, ...], mode: str, size: int | None) -> Split:
    import numpy as np
    import torch
    from PIL import Image, ImageOps

    from bench.types import Split

    images: list[np.ndarray] = []
    labels: list[int] = []
    for file, label in _files(folder, classes):
        with reading(file), Image.open(file) as opened:
            deep = opened.mode.startswith("I")  # 16 bits of grey, which PIL would clip and not scale
            image = Image.fromarray((np.asarray(opened) // 257).astype(np.uint8)) if deep else opened
            image = image.convert(mode)
        if size is not None:
            image = ImageOps.fit(image, (size, size), method=Image.Resampling.BICUBIC)
        if (images and image.size != images[0].shape[1::-1]) or image.width != image.height:
            raise UsageError(
                f"dataset folder: {file} is {image.width}x{image.height}; images must be square and of one size, "
                f"or give one by --set data.size=32"
            )
        images.append(np.asarray(image).reshape(image.height, image.width, -1))
        labels.append(label)
    pixels = torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2).contiguous()  # [N, channels, H, W]
    return Split(pixels, torch.tensor(labels))


def _fingerprint(*splits: Split) -> str:
    digest = hashlib.sha256()
    for split in splits:
        digest.update(split.images.numpy().tobytes())
        digest.update(split.labels.numpy().tobytes())
    return digest.hexdigest()[:16]


def folder_source(path: Path, *, size: int | None) -> Source:
    """Return the source of the images below `path`; mean and deviation are the training split's.

    Raise `UsageError` where the layout is another, classes differ between splits, or images differ in size.
    """
    from PIL import Image

    classes = _classes(path)
    mode = "L"
    for file, _ in _files(path / "train", classes):
        with reading(file), Image.open(file) as opened:
            if opened.mode not in _GREY:
                mode = "RGB"
                break
    train = _split(path / "train", classes, mode, size)
    test = _split(path / "test", classes, mode, size)
    pixels = train.images.double() / 255
    if train.images.shape[1:] != test.images.shape[1:]:
        raise UsageError(f"dataset 'folder:{path}': train and test images differ in size; give one by --set data.size=32")
    mean, std = pixels.mean((0, 2, 3)), pixels.std((0, 2, 3)).clamp_min(1e-3)
    return Source(
        name=f"folder:{path}",
        label=path.name,
        classes=classes,
        mean=tuple(round(value, 4) for value in mean.tolist()),
        std=tuple(round(value, 4) for value in std.tolist()),
        size=train.images.shape[-1],
        flip=True,
        layouts=(Layout("", lambda root: (train, test)),),
        code=_fingerprint(train, test),
    )
