"""AlexNet (Krizhevsky et al. 2012) for small images, as in the evaluation pool of DC (Zhao, Mopuri and Bilen 2021)."""

from __future__ import annotations

from torch import Tensor, nn

from bench.networks.base import Architecture


class AlexNet(Architecture):
    """Five convolutions with ReLU, max pooling after the first, second and fifth; then the linear layer of the classes."""

    def __init__(self, channels: int, size: int, classes: int) -> None:
        """Take the shape of the images and the number of classes; 28 pixels are padded so that the first map is 32x32."""
        super().__init__()
        self.convolutions = nn.Sequential(
            *(nn.Conv2d(channels, 128, 5, padding=2 + (32 - size) // 2), nn.ReLU(), nn.MaxPool2d(2)),
            *(nn.Conv2d(128, 192, 5, padding=2), nn.ReLU(), nn.MaxPool2d(2)),
            *(nn.Conv2d(192, 256, 3, padding=1), nn.ReLU()),
            *(nn.Conv2d(256, 192, 3, padding=1), nn.ReLU()),
            *(nn.Conv2d(192, 192, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)),
        )
        self.classifier = nn.Linear(192 * 4 * 4, classes)

    def features(self, images: Tensor) -> Tensor:
        """Return the flattened last maps `[N, 3072]` of `images` `[N, channels, size, size]`."""
        maps: Tensor = self.convolutions(images)  # [N, 192, 4, 4]
        return maps.flatten(1)
