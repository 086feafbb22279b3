"""ResNet-18 (He et al. 2016) for small images, as in the evaluation pool of DC (Zhao, Mopuri and Bilen 2021)."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from bench.networks.base import Architecture, normalisation


class BasicBlock(nn.Module):
    """Two convolutions 3x3 with norms, added to the input, or if the shape changes, to a convolution 1x1 of it."""

    def __init__(self, inputs: int, width: int, *, stride: int, side: int, norm: str) -> None:
        """Take the numbers of channels, the first convolution's stride, the side of the maps, and the norm."""
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, width, 3, stride=stride, padding=1, bias=False)
        self.norm1 = normalisation(norm, width, side)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.norm2 = normalisation(norm, width, side)
        self.shortcut = nn.Sequential()
        if stride != 1 or inputs != width:
            self.shortcut.append(nn.Conv2d(inputs, width, 1, stride=stride, bias=False))
            self.shortcut.append(normalisation(norm, width, side))

    def forward(self, x: Tensor) -> Tensor:
        """Return the maps `[N, width, s/stride, s/stride]` of `x` `[N, inputs, s, s]`."""
        maps = self.norm2(self.conv2(F.relu(self.norm1(self.conv1(x)))))
        return F.relu(maps + self.shortcut(x))


class ResNet18(Architecture):
    """A convolution 3x3, eight basic blocks of 64 to 512 channels, average pooling over 4x4; then a linear layer."""

    def __init__(self, channels: int, size: int, classes: int, *, norm: str = "in") -> None:
        """Take the shape of the images, the number of classes, and the norm: `in` instance or `bn` batch."""
        super().__init__()
        self.conv = nn.Conv2d(channels, 64, 3, padding=1, bias=False)
        self.norm = normalisation(norm, 64, size)
        self.blocks = nn.Sequential()
        inputs, side = 64, size
        for width, stride in ((64, 1), (128, 2), (256, 2), (512, 2)):
            side = -(-side // stride)
            self.blocks.append(BasicBlock(inputs, width, stride=stride, side=side, norm=norm))
            self.blocks.append(BasicBlock(width, width, stride=1, side=side, norm=norm))
            inputs = width
        self.classifier = nn.Linear(inputs, classes)

    def features(self, images: Tensor) -> Tensor:
        """Return the means of the last maps, `[N, 512]`, of `images` `[N, channels, size, size]`."""
        maps = self.blocks(F.relu(self.norm(self.conv(images))))  # [N, 512, 4, 4]
        return F.avg_pool2d(maps, 4).flatten(1)
