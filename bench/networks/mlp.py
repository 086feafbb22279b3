"""MLP: two hidden layers of 128 units, as in the evaluation pool of DC (Zhao, Mopuri and Bilen 2021)."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from bench.networks.base import Architecture


class MLP(Architecture):
    """Linear 128 and ReLU, twice, on all pixels; then the linear layer of the classes."""

    def __init__(self, channels: int, size: int, classes: int) -> None:
        """Take the shape of the images and the number of classes."""
        super().__init__()
        self.first = nn.Linear(channels * size**2, 128)
        self.second = nn.Linear(128, 128)
        self.classifier = nn.Linear(128, classes)

    def features(self, images: Tensor) -> Tensor:
        """Return the second hidden layer `[N, 128]` of `images` `[N, channels, size, size]`."""
        return F.relu(self.second(F.relu(self.first(images.flatten(1)))))
