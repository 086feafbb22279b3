"""Encoded images: opened by Pillow and converted to one mode, or rejected if decoding would change pixel values."""

from __future__ import annotations

from typing import IO, TYPE_CHECKING

from bench.errors import UsageError
from bench.lazy import PIL
from bench.lazy import numpy as np

if TYPE_CHECKING:
    from PIL.Image import Image

FORMATS = ("BMP", "JPEG", "PNG", "PPM", "TIFF", "WEBP")
"""The formats that are opened. Pillow knows more, and starts another program for some, whatever the file's suffix."""

_GREY_MODES = ("1", "L", "I", "I;16", "I;16B", "I;16L")
"""Pillow's modes with one channel."""

_SIXTEEN_BITS = ("PNG", "PPM")
"""In files of these formats the mode `I` means 16 bits; in TIFF it may mean 32."""


def open_image(stream: IO[bytes]) -> Image:
    """Return the image in an open file; its pixels are not decoded yet."""
    return PIL.Image.open(stream, formats=FORMATS)


def is_grey(image: Image) -> bool:
    """Return whether an image has one channel."""
    return image.mode in (*_GREY_MODES, "F")


def has_alpha(image: Image) -> bool:
    """Return whether some pixels of an image may be transparent."""
    return image.has_transparency_data


def convert(image: Image, mode: str, name: str) -> Image:
    """Return an image in another mode.

    Args:
        image: an opened image.
        mode: `L` for grey, `RGB` for colour.
        name: the file, for messages.

    Raises:
        UsageError: if pixels are floats or have 32 bits, whose range is unknown, or if colours would become grey.

    """
    if image.mode == "F" or (image.mode == "I" and image.format not in _SIXTEEN_BITS):
        low, high = image.getextrema()
        kind = "floats" if image.mode == "F" else "whole numbers of 32 bits"
        raise UsageError(f"{name}: pixels are {kind}, {low} to {high}; valid: whole numbers of 8 or 16 bits")
    if image.mode.startswith("I"):  # 16 bits of grey: Pillow would clip them at 255, so they are scaled first
        return PIL.Image.fromarray((np.asarray(image) // 257).astype(np.uint8)).convert(mode)
    if mode == "L" and image.mode not in (*_GREY_MODES, "LA"):
        channels = np.asarray(image.convert("RGB"))
        if not (channels == channels[..., :1]).all():
            raise UsageError(f"{name} has colours; valid: grey images, as the images of this dataset are")
        return PIL.Image.fromarray(np.ascontiguousarray(channels[..., 0]))
    return image.convert(mode)
