"""Encoded pictures, PNG and others, as pixels of 8 bits."""

from __future__ import annotations

from collections.abc import Sequence
from typing import IO, TYPE_CHECKING, Any

from bench.errors import UsageError
from bench.lazy import PIL
from bench.lazy import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

IMAGE_FORMATS = ("PNG", "JPEG", "BMP", "WEBP", "PPM", "TIFF")
"""The formats of encoded images that are opened: Pillow starts other programs for some."""

SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".webp", ".ppm", ".pgm", ".tif", ".tiff")

_LOSSY = ("JPEG", "MPO", "WEBP")
_GREY = ("1", "L", "LA")
_MODES = (*_GREY, "P", "PA", "RGB", "RGBA")
"""Pillow's modes of at most 8 bits a channel."""

Picture = tuple["NDArray[Any]", str]
"""Pixels, uint8 `[channels, H, W]`, and the name of the format if it is a lossy one."""


def decoded(stream: IO[bytes]) -> Picture:
    """Return an encoded image: one channel if it is grey, else three; raise `UsageError` if it is transparent or of 16 bits."""
    with PIL.Image.open(stream, formats=IMAGE_FORMATS) as image:
        name, lossy = image.mode, image.format if image.format in _LOSSY else ""
        if name not in _MODES or (image.has_transparency_data and np.asarray(image.convert("RGBA"))[..., 3].min() < 255):
            raise UsageError(
                f"an image of Pillow's mode {name}; valid: L (grey), RGB or a palette, 8 bits a channel, none transparent"
            )
        pixels = np.asarray(image.convert("L" if name in _GREY else "RGB"))
    return (pixels[None] if pixels.ndim == 2 else np.ascontiguousarray(pixels.transpose(2, 0, 1))), str(lossy)


def stacked(pictures: Sequence[Picture]) -> tuple[NDArray[Any], tuple[str, ...]]:
    """Return pictures as `[N, channels, H, W]`, and what has to be said of them; raise `UsageError` if shapes differ.

    If some have colours, grey ones get three equal channels.
    """
    channels = max(len(pixels) for pixels, _ in pictures)
    images = [pixels if len(pixels) == channels else pixels.repeat(channels, 0) for pixels, _ in pictures]
    shapes = sorted({image.shape for image in images})
    if len(shapes) > 1:
        raise UsageError(f"pictures of shapes {shapes[0]} and {shapes[1]}; valid: one shape, [channels, height, width]")
    lossy = sorted({name for _, name in pictures if name})
    says = f"its pictures are {' and '.join(lossy)}, which is lossy: they are not quite the images that were distilled"
    return np.stack(images), (says,) if lossy else ()
