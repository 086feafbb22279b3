"""A sheet: the images of one distilled set as one picture, a row for each class, pixel by pixel."""

from __future__ import annotations

import hashlib
import io
import json
import math
import re
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from safetensors import safe_open

MOST = 50
"""The most images of a class on a sheet."""

_LINE = 128
"""The grey of the lines between images, a pixel wide: it is visible on light and on dark pages."""

_LONGEST = 180
"""The most characters of a name before its suffix; file systems allow 255 bytes."""

_SAFE = re.compile(r"[a-z0-9][a-z0-9.=-]*")
"""Components of a name that need no replacement: without capitals, because some file systems do not tell them apart."""


@dataclass(frozen=True, eq=False)
class Pixels:
    """The images of a file.

    `images`: float `[N, channels, H, W]`, before clipping to [0, 1]. `labels`: the class of each, int `[N]`; of soft labels the
    most probable one. `classes`: their names. `rms`: root mean square of the images in normalised units.
    """

    images: np.ndarray
    labels: np.ndarray
    classes: tuple[str, ...]
    rms: float

    @property
    def clipped(self) -> float:
        """The share of values outside [0, 1], in percent; values that are there by rounding alone do not count."""
        return 100 * float(np.mean((self.images < -1e-5) | (self.images > 1 + 1e-5)))

    @property
    def most(self) -> int:
        """The number of images of the largest class."""
        return int(np.bincount(self.labels).max())


def read_pixels(path: Path) -> Pixels:
    """Return the images in a file; raise `ValueError` if it has no distilled set that can be drawn."""
    with safe_open(path, framework="np") as file:
        images, labels = file.get_tensor("images"), file.get_tensor("labels")
        metadata: dict[str, Any] = {key: json.loads(value) for key, value in file.metadata().items()}
    classes = tuple(map(str, metadata["classes"]))
    if images.ndim != 4 or images.shape[1] not in (1, 3) or not images.size:
        raise ValueError(f"images of shape {list(images.shape)}, not [images, 1 or 3 channels, height, width]")
    if not np.isfinite(images).all():
        raise ValueError("a pixel is no finite number")
    images = images.astype(np.float32, copy=False)
    if labels.ndim == 2:
        labels = labels.argmax(1)
    if labels.shape != images.shape[:1] or labels.min() < 0 or labels.max() >= len(classes):
        raise ValueError(f"labels of shape {list(labels.shape)} for {len(images)} images of {len(classes)} classes")
    mean, std = (np.asarray(metadata[key], np.float32).reshape(1, -1, 1, 1) for key in ("mean", "std"))
    squares = sum(float(np.vdot(image, image)) for image in images)  # image by image, so that float32 has digits enough
    rms = math.sqrt(squares / images.size)
    images *= std
    images += mean
    return Pixels(images, labels.astype(np.int64), classes, rms)


def sheet(pixels: Pixels) -> np.ndarray:
    """Return the picture of a set, uint8 `[rows, columns]` or `[rows, columns, 3]`.

    A row of it is a class, with at most `MOST` images; a line of one pixel goes around each image.
    """
    channels, height, width = pixels.images.shape[1:]
    columns = min(pixels.most, MOST)
    cells = np.full((len(pixels.classes), height + 1, columns, width + 1, channels), _LINE, np.uint8)
    for row in range(len(pixels.classes)):  # class by class, since large arrays take longer to allocate than to fill
        images = pixels.images[np.flatnonzero(pixels.labels == row)[:columns]]
        values = np.rint(np.clip(images, 0, 1) * 255).astype(np.uint8)
        cells[row, 1:, : len(images), 1:] = values.transpose(2, 0, 3, 1)  # [H, images, W, channels]
    picture = cells.reshape(len(pixels.classes) * (height + 1), columns * (width + 1), channels)
    picture = np.pad(picture, ((0, 1), (0, 1), (0, 0)), constant_values=_LINE)  # the lines below and at the right
    return picture[..., 0] if channels == 1 else picture


def png(picture: np.ndarray) -> bytes:
    """Return a picture, uint8, as a PNG file."""
    file = io.BytesIO()
    # Distilled images are noisy: searching for repetitions longer than runs takes twice as long and saves almost nothing.
    Image.fromarray(picture).save(file, "png", compress_type=zlib.Z_RLE)
    return file.getvalue()


@dataclass(frozen=True)
class Drawn:
    """The sheet of a file of images as PNG, and what the page says about them.

    `shape`: of each image, `[channels, height, width]`. The other fields are those of `Pixels`.
    """

    picture: bytes
    classes: tuple[str, ...]
    shape: tuple[int, ...]
    rms: float
    clipped: float
    most: int


def draw_sheet(path: Path) -> Drawn:
    """Return the sheet of the images in a file; raise `ValueError` if it has no distilled set that can be drawn."""
    pixels = read_pixels(path)
    about = pixels.classes, pixels.images.shape[1:], pixels.rms, pixels.clipped, pixels.most
    return Drawn(png(sheet(pixels)), *about)


def file_name(*components: object) -> str:
    """Return the file name of a picture. Two different lists of components never have the same name.

    A name that had to be changed, because it is long or has characters that some file systems refuse, ends with a hash.
    """
    strings = [str(component) for component in components]
    name = "_".join(re.sub(r"[^a-z0-9.=-]+", "-", string.lower()).strip("-.") for string in strings)
    if len(name) > _LONGEST or not all(map(_SAFE.fullmatch, strings)):
        digest = hashlib.sha256(json.dumps(strings).encode()).hexdigest()[:16]
        name = f"{name[:_LONGEST]}-{digest}"
    return f"synthetic_{name}.png"
