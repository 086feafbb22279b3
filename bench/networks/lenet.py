"""LeNet (LeCun et al. 1998) with ReLU and max pooling, as in the evaluation pool of DC (Zhao, Mopuri and Bilen 2021)."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from bench.networks.base import Architecture


class LeNet(Architecture):
    """Convolutions 5x5 of 6 and 16 channels, each with ReLU and max pooling; then linear layers of 120, 84 and `classes`."""

    def __init__(self, channels: int, size: int, classes: int) -> None:
        """Take the shape of the images and the number of classes; 28 pixels are padded so that the first map is 28x28."""
        super().__init__()
        self.conv1 = nn.Conv2d(channels, 6, 5, padding=(32 - size) // 2)
        self.conv2 = nn.Conv2d(6, 16, 5)
        self.hidden1 = nn.Linear(16 * 5 * 5, 120)
        self.hidden2 = nn.Linear(120, 84)
        self.classifier = nn.Linear(84, classes)

    def features(self, images: Tensor) -> Tensor:
        """Return the last hidden layer `[N, 84]` of `images` `[N, channels, size, size]`."""
        x = F.max_pool2d(F.relu(self.conv1(images)), 2)  # [N, 6, 14, 14]
        x = F.max_pool2d(F.relu(self.conv2(x)), 2)  # [N, 16, 5, 5]
        return F.relu(self.hidden2(F.relu(self.hidden1(x.flatten(1)))))
