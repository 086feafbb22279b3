"""Kernels: the functions of tensors that take most of the time, compiled where that pays.

Compilation fuses norm, ReLU and pooling. It costs seconds, so a kernel is compiled only where a cell has work enough for it.
"""

from __future__ import annotations

import logging
import os
import shutil
from collections.abc import Callable
from functools import cache, lru_cache
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from bench.networks.network import Network

COMPILE_FLOPS = 3e12
"""A kernel with less work than this in one cell (about 30 s of eager time on two cores) is not compiled."""

Kind = Literal["features", "features with gradient", "loss", "losses", "layer sums"]


@lru_cache(maxsize=1)
def _compiler_missing() -> str:
    """Return why nothing can be compiled here, or an empty text."""
    if os.environ.get("TORCH_COMPILE_DISABLE") == "1":
        return "TORCH_COMPILE_DISABLE is set"
    compiler = os.environ.get("CXX") or next((name for name in ("g++", "clang++", "c++") if shutil.which(name)), None)
    return "" if compiler and shutil.which(compiler) else "no C++ compiler"


class Kernel:
    """A function of tensors, compiled for each shape; where that fails, the eager function. `note` says which, and why."""

    def __init__(self, eager: Callable[..., Any], to_compile: Callable[..., Any] | None = None) -> None:
        """Take the eager function, and the one to compile at its first call where there is work enough."""
        reason = _compiler_missing() if to_compile else "too little work to pay for compiling"
        self.note = f"eager: {reason}" if reason else "compiled"
        self._eager = eager
        self._compiled = None if reason or to_compile is None else torch.compile(to_compile, fullgraph=True, dynamic=False)

    def __call__(self, *arguments: Any) -> Any:
        """Return the function's value."""
        if self._compiled is not None:
            try:
                return self._compiled(*arguments)
            except (torch._dynamo.exc.TorchDynamoException, torch._inductor.exc.InductorError) as error:
                self.note = f"eager: compiling failed ({type(error).__name__})"
                self._compiled = None
        return self._eager(*arguments)


@cache
def kernel_of(kind: Kind, network: Network, *, training: bool, compile: bool) -> Kernel:
    """Return the kernel that all cells of a run share.

    Args:
        kind: `features` without gradient, `features with gradient`, the training `loss`, the `losses` of several networks with
            a dimension of networks in front of all tensors, or the `layer sums` of `layer_sums`.
        network: the architecture.
        training: whether batch norm takes the statistics of its batch.
        compile: whether there is work enough to pay for compiling.

    """
    make = _MAKERS[kind]
    if not compile:
        return Kernel(make(network, training, False))
    logging.getLogger("torch.utils.cpp_extension").setLevel(logging.ERROR)  # it warns wherever there is no CUDA
    # One code object serves every network and shape of a run; the default limit of 8 would stop at the third dataset.
    torch._dynamo.config.recompile_limit = 256
    return Kernel(make(network, training, False), make(network, training, True))


def _features(network: Network, training: bool, compiled: bool) -> Callable[..., Tensor]:
    function = network.function("features", training=training, compiled=compiled)
    return lambda images, *tensors: function(images, tensors)


def _features_with_gradient(network: Network, training: bool, compiled: bool) -> Callable[..., Tensor]:
    function = network.function("features with gradient", training=training, compiled=compiled)
    return lambda images, *tensors: function(images, tensors)


def _training_loss(network: Network, training: bool, compiled: bool) -> Callable[..., Tensor]:
    logits = network.function("logits", training=training, compiled=compiled)

    def loss(images: Tensor, labels: Tensor, weights: Tensor, *tensors: Tensor) -> Tensor:
        """Return the weighted sum of the cross-entropies."""
        entropy = F.cross_entropy(logits(images, tensors), labels, reduction="none")
        return (entropy * weights).sum()

    return loss


def _training_losses(network: Network, training: bool, compiled: bool) -> Callable[..., Tensor]:
    losses: Callable[..., Tensor] = torch.func.vmap(_training_loss(network, training, compiled))
    return losses


def _layer_sums(network: Network, training: bool, compiled: bool) -> Callable[..., tuple[Tensor, ...]]:
    layers = network.function("layers", training=training, compiled=compiled)

    def layer_sums(images: Tensor, *tensors: Tensor) -> tuple[Tensor, ...]:
        """Return the sum over the images of each map after a ReLU, then the features of each image."""
        *maps, features = layers(images, tensors)
        return *(relu.sum(0, dtype=torch.float32) for relu in maps), features.float()

    return layer_sums


_MAKERS: dict[str, Callable[[Network, bool, bool], Callable[..., Any]]] = {
    "features": _features,
    "features with gradient": _features_with_gradient,
    "loss": _training_loss,
    "losses": _training_losses,
    "layer sums": _layer_sums,
}
