"""VGG-11 (Simonyan and Zisserman 2015) for small images, as in the evaluation pool of DC (Zhao, Mopuri and Bilen 2021)."""

from __future__ import annotations

from torch import Tensor, nn

from bench.networks.base import Architecture, normalisation

_STAGES = ((64,), (128,), (256, 256), (512, 512), (512, 512))
"""Channels of the convolutions between one pooling and the next."""


class VGG11(Architecture):
    """Eight blocks of Conv 3x3, norm and ReLU in five stages that end in max pooling; then a linear layer."""

    def __init__(self, channels: int, size: int, classes: int, *, norm: str = "in") -> None:
        """Take the shape of the images, the number of classes, and the norm: `in` instance or `bn` batch.

        Images of 28 pixels are padded so that the first map is 32x32.
        """
        super().__init__()
        layers: list[nn.Module] = []
        inputs, side, padding = channels, 32, 1 + (32 - size) // 2
        for stage in _STAGES:
            for width in stage:
                layers += [nn.Conv2d(inputs, width, 3, padding=padding), normalisation(norm, width, side), nn.ReLU()]
                inputs, padding = width, 1
            layers.append(nn.MaxPool2d(2))
            side //= 2
        self.convolutions = nn.Sequential(*layers)
        self.classifier = nn.Linear(inputs, classes)

    def features(self, images: Tensor) -> Tensor:
        """Return the last maps, of 1x1, `[N, 512]`, of `images` `[N, channels, size, size]`."""
        maps: Tensor = self.convolutions(images)  # [N, 512, 1, 1]
        return maps.flatten(1)
