"""What the networks have in common: the contract of their classes, and the normalisation layers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from torch import Tensor, nn

from bench.networks.fast import GroupNorm, LayerNorm


class Architecture(nn.Module):
    """A network of images that ends in a linear layer, `classifier`; the tensors before that layer are its features.

    A subclass is constructed as `Class(channels, size, classes, **options)`: the channels and the side of the images it takes,
    the number of classes, and the arguments that its line in the registry lists. It defines `features`, and makes `classifier`
    last. Its parameters belong to convolutions, linear layers and norms, so that `Network.init` can draw them.
    """

    sizes: ClassVar[tuple[int, ...]] = (28, 32)
    """Sides of the images that the network takes, in pixels; smaller images are enlarged to the next. Empty: any side."""

    classifier: nn.Linear

    @classmethod
    def complete(cls, channels: int, size: int, options: Mapping[str, Any]) -> dict[str, Any]:
        """Return the options, with those filled in that follow from the images; raise `UsageError` on what does not fit."""
        del channels, size
        return dict(options)

    def features(self, images: Tensor) -> Tensor:
        """Return the features of `images` `[N, channels, size, size]`: `[N, features_dim]`, the input of the classifier."""
        raise NotImplementedError

    def features_without_gradient(self, images: Tensor) -> Tensor:
        """Return the features if no gradient is taken: a faster path, for networks that have one."""
        return self.features(images)

    def forward(self, images: Tensor) -> Tensor:
        """Return the scores of the classes, `[N, classes]`."""
        scores: Tensor = self.classifier(self.features(images))
        return scores


def normalisation(kind: str, channels: int, side: int) -> nn.Module:
    """Return the normalisation of maps `[N, channels, side, side]` that a variant names, with affine parameters.

    Instance norm (`in`) is a group norm with one channel a group, `gn` has 4 groups, `ln` takes all of an image's map together,
    `bn` couples the images of a batch, and `nn` is none; as in the code of DC (Zhao, Mopuri and Bilen 2021).
    """
    if kind == "in":
        return GroupNorm(channels, channels)
    if kind == "gn":
        return GroupNorm(4, channels)
    if kind == "ln":
        return LayerNorm([channels, side, side])
    return nn.BatchNorm2d(channels) if kind == "bn" else nn.Identity()
