"""Networks without weights: what fits which images, and pure functions of images and weights.

    network = fit("convnet", (1, 28, 28), classes=10, width=128, depth=None)
    weights = network.init(generator)
    scores = network.logits(images, weights.all)

A `Network` is a description. Its weights are passed in, so that a fresh network costs its random draws alone, and one compiled
graph serves all networks of a description. The architectures are modules of torch, one class a file, applied with
`torch.func.functional_call`, which puts the weights into a skeleton during the call. Each thread has skeletons of its own.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bench.errors import UsageError
from bench.networks.base import Architecture
from bench.networks.cost import cost_of
from bench.networks.fast import channels_last
from bench.networks.names import check_network, network_label, parse_network
from bench.networks.weights import Weights, initial_weights

Kind = Literal["features", "features with gradient", "logits", "layers"]
"""What a function of a network computes: `features` takes no gradient; the others can be differentiated."""


@dataclass(frozen=True)
class Network:
    """An architecture for images of one shape; equal networks share their compiled kernels. `fit` makes them.

    `name` is the registry's, with variants. `size` is the side of the images that the network takes, and `resized` says whether
    smaller images are to be enlarged to it first. `width` and `depth` are the ConvNet's, and 0 for networks without them.
    """

    name: str
    channels: int
    size: int
    classes: int
    width: int
    depth: int
    resized: bool

    @property
    def module(self) -> Architecture:
        """The network as a module of torch, in evaluation mode, whose tensors have shapes but no numbers."""
        return _skeleton(self, training=False)

    @property
    def label(self) -> str:
        """The name as tables show it, such as `ConvNet-3 (bn)`."""
        return network_label(self.name, self.depth)

    @property
    def features_dim(self) -> int:
        """Length of a feature vector: 2048 for the usual ConvNet and 28x28 or 32x32 images."""
        return self.module.classifier.in_features

    @property
    def uses_batch(self) -> bool:
        """Whether a batch norm couples the images of a batch, which then may be neither split nor filled up in training."""
        return any(isinstance(module, nn.BatchNorm2d) for module in self.module.modules())

    @property
    def has_layers(self) -> bool:
        """Whether `layers` is defined for this network."""
        return hasattr(self.module, "layers")

    @property
    def flops(self) -> int:
        """Floating-point operations of one image's features: those of convolutions and linear layers."""
        return _cost(self)[0]

    @property
    def first_map(self) -> int:
        """Number of elements of an image's largest map, which for the ConvNet is its first."""
        return _cost(self)[1]

    def resize(self, images: Tensor) -> Tensor:
        """Return `images` `[N, channels, H, H]` enlarged bilinearly to `size` if the network needs it, else as they are."""
        if not self.resized:
            return images
        return F.interpolate(images, size=(self.size, self.size), mode="bilinear", align_corners=False)

    def init(self, generator: torch.Generator) -> Weights:
        """Draw fresh weights on the CPU, distributed as torch's default, in the order of the module's parameters.

        Weights and biases of convolutions and linear layers are U(±1/sqrt(fan in)), of the norms 1 and 0. Buffers are those of
        batch norms that have seen no batch: mean 0 and variance 1.
        """
        return initial_weights(self.module, generator)

    def features(self, images: Tensor, tensors: Sequence[Tensor], *, training: bool = False) -> Tensor:
        """Return the features `[N, features_dim]` of `images` `[N, channels, size, size]`, in their dtype; differentiable.

        Args:
            images: what `resize` returns, in the dtype that the passes are to be computed in. Parameters are cast to it.
            tensors: the network's weights, `Weights.all`.
            training: whether batch norms use the batch's statistics, and update the buffers among `tensors` in place.

        """
        features: Tensor = self.function("features with gradient", training=training)(images, tensors)
        return features

    def logits(self, images: Tensor, tensors: Sequence[Tensor], *, training: bool = False) -> Tensor:
        """Return the scores `[N, classes]` of `images` in the dtype of the classifier's weights; arguments as of `features`."""
        scores: Tensor = self.function("logits", training=training)(images, tensors)
        return scores

    def layers(self, images: Tensor, tensors: Sequence[Tensor], *, training: bool = False) -> tuple[Tensor, ...]:
        """Return the maps of `images` after each activation, `[N, width, s, s]`, then the features; arguments as of `features`.

        Raise `UsageError` for networks other than the ConvNet.
        """
        layers: tuple[Tensor, ...] = self.function("layers", training=training)(images, tensors)
        return layers

    def scores(self, features: Tensor, tensors: Sequence[Tensor]) -> Tensor:
        """Return the classifier's scores `[N, classes]` of `features` `[N, features_dim]`, in the dtype of its weights."""
        return _scores(features, tensors, _classifier_index(self))

    def cast(self, tensors: Sequence[Tensor], dtype: torch.dtype) -> tuple[Tensor, ...]:
        """Return the weights as passes over images of `dtype` use them: those of batch norms and classifier stay as they are.

        The functions do this themselves. For many chunks of images, doing it once before them saves time.
        """
        return tuple(t.to(dtype) if cast else t for t, (_, cast) in zip(tensors, _tensors(self), strict=True))

    def function(self, kind: Kind, *, training: bool = False) -> Callable[[Tensor, Sequence[Tensor]], Any]:
        """Return a pure function of `(images, tensors)`, to be called as it is or to be compiled.

        Args:
            kind: what it computes. The function of `features` may be faster, and is then not meant to be differentiated.
            training: whether batch norms use the batch's statistics, and update the buffers among the tensors in place.

        """
        if kind == "layers":
            if not self.has_layers:
                raise UsageError(f"network {self.name!r} has no layers to match; convnet has")
            return _applied(self, "layers", training)
        if kind == "features":
            return _applied(self, "features_without_gradient", training)
        features = _applied(self, "features", training)
        if kind == "features with gradient":
            return features

        index = _classifier_index(self)

        def logits(images: Tensor, tensors: Sequence[Tensor]) -> Tensor:
            return _scores(features(images, tensors), tensors, index)

        return logits


def fit(name: str, shape: tuple[int, int, int], *, classes: int, width: int, depth: int | None) -> Network:
    """Return the network of that name for images of one shape.

    Args:
        name: a network's name in the registry, with variants.
        shape: `(channels, height, width)` of the images.
        classes: number of classes.
        width: channels of the ConvNet's blocks, if its name says no other.
        depth: number of the ConvNet's blocks, likewise; None follows from the images' size.

    Raises:
        UsageError: if the name is unknown, or the network does not take such images.

    """
    channels, height, width_px = shape
    if height != width_px:
        raise UsageError(f"images are {height}x{width_px}; networks take square ones")
    entry, variants = parse_network(name)
    architecture = _architecture(entry.location)
    size = min((side for side in architecture.sizes if side >= height), default=height)
    if architecture.sizes and size not in architecture.sizes:
        most = max(architecture.sizes)
        raise UsageError(f"network {name!r} takes images of at most {most}x{most}; these are {height}x{height}")
    sizes = {option: value for option, value in (("width", width), ("depth", depth)) if option in entry.variants}
    options = architecture.complete(channels, size, {**sizes, **variants})
    return Network(
        name=check_network(name),
        channels=channels,
        size=size,
        classes=classes,
        width=options.get("width", 0),
        depth=options.get("depth", 0),
        resized=size != height,
    )


class _Method(nn.Module):
    """A method of a module in the place of `forward`, which alone `functional_call` calls."""

    def __init__(self, module: nn.Module, method: str) -> None:
        super().__init__()
        self.module, self.method = module, method

    def forward(self, images: Tensor) -> Any:
        return getattr(self.module, self.method)(images)


def _architecture(location: str) -> type[Architecture]:
    """Return the class at `"module:Class"`."""
    module, _, name = location.partition(":")
    architecture: type[Architecture] = getattr(import_module(module), name)
    return architecture


def _built(network: Network, *, training: bool) -> Architecture:
    """Return the network's module on the device `meta`, where tensors have shapes but no numbers."""
    entry, options = parse_network(network.name)
    sizes = {"width": network.width, "depth": network.depth}
    options.update({option: value for option, value in sizes.items() if option in entry.variants})
    with torch.device("meta"):
        module = _architecture(entry.location)(network.channels, network.size, network.classes, **options)
    return module.train(training)


_skeleton = cache(_built)


@cache
def _tensors(network: Network) -> tuple[tuple[str, bool], ...]:
    """Return the name of each of the network's tensors, and whether it is cast to the images' dtype.

    The classifier computes in the dtype of its weights; batch norms take float32 weights and statistics beside other images.
    """
    kept = {"classifier.weight", "classifier.bias"}
    for prefix, module in network.module.named_modules():
        if isinstance(module, nn.BatchNorm2d):
            kept |= {f"{prefix}.weight", f"{prefix}.bias"}
    parameters = [(name, name not in kept) for name, _ in network.module.named_parameters()]
    return (*parameters, *((name, False) for name, _ in network.module.named_buffers()))


@cache
def _applied(network: Network, method: str, training: bool) -> Callable[[Tensor, Sequence[Tensor]], Any]:
    """Return a method of the network's module as a function of `(images, tensors)`."""
    own, shared = threading.local(), _Method(_skeleton(network, training=training), method)
    names = [(f"module.{name}", cast) for name, cast in _tensors(network)]

    def skeleton() -> nn.Module:
        if torch.compiler.is_compiling():
            return shared
        if not hasattr(own, "module"):
            own.module = _Method(_built(network, training=training), method)
        module: nn.Module = own.module
        return module

    def function(images: Tensor, tensors: Sequence[Tensor]) -> Any:
        pairs = zip(names, tensors, strict=True)
        state = {name: tensor.to(images.dtype) if cast else tensor for (name, cast), tensor in pairs}
        return torch.func.functional_call(skeleton(), state, (channels_last(images),), tie_weights=False)

    return function


@cache
def _cost(network: Network) -> tuple[int, int]:
    return cost_of(network.module, (network.channels, network.size, network.size))


@cache
def _classifier_index(network: Network) -> int:
    """Return the place of the classifier's weight among the network's tensors; its bias follows."""
    return [name for name, _ in _tensors(network)].index("classifier.weight")


def _scores(features: Tensor, tensors: Sequence[Tensor], index: int) -> Tensor:
    """Return the classifier's scores `[N, classes]` of features `[N, d]`, its weight and bias being at `index` and after."""
    weight, bias = tensors[index : index + 2]
    return F.linear(features.to(weight.dtype), weight, bias)
