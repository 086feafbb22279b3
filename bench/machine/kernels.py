"""Kernels: the functions of tensors that take most of the time, compiled if that pays.

Compilation fuses norm, ReLU and pooling. It costs seconds, so a kernel is compiled only if that saves a cell more of them: see
`bench/machine/compile_cost.py`.
"""

from __future__ import annotations

import logging
import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from bench.machine.compile_cost import Estimate, Kind
from bench.networks.network import Network


def compiler_missing() -> str:
    """Return why nothing can be compiled here; empty if there is a compiler."""
    if os.environ.get("TORCH_COMPILE_DISABLE") == "1":
        return "TORCH_COMPILE_DISABLE is set"
    compiler = os.environ.get("CXX") or next((name for name in ("g++", "clang++", "c++") if shutil.which(name)), None)
    return "" if compiler and shutil.which(compiler) else "no C++ compiler"


class CompiledOrEager:
    """A function of tensors, compiled for each shape; if that fails, the eager function. `failure` says why."""

    def __init__(self, eager: Callable[..., Any], *, to_compile: bool = False) -> None:
        """Take the function, and whether it is to be compiled at its first call."""
        self.failure = compiler_missing() if to_compile else ""
        self._eager = eager
        possible = to_compile and not self.failure
        self._compiled = torch.compile(eager, fullgraph=True, dynamic=False) if possible else None

    def __call__(self, *arguments: Any) -> Any:
        """Return the function's value."""
        if self._compiled is not None:
            try:
                return self._compiled(*arguments)
            except (torch._dynamo.exc.TorchDynamoException, torch._inductor.exc.InductorError) as error:
                self.failure = f"compiling failed ({type(error).__name__})"
                self._compiled = None
        return self._eager(*arguments)


@dataclass(frozen=True)
class Kernel:
    """The function that computes a kernel of one cell, and why it is compiled there or not."""

    function: CompiledOrEager
    estimate: Estimate

    def __call__(self, *arguments: Any) -> Any:
        """Return the function's value."""
        return self.function(*arguments)

    @property
    def note(self) -> str:
        """How the kernel is run, and why, for the record."""
        if not self.estimate.compile:
            return f"eager: {self.estimate.reason}"
        return f"eager: {self.function.failure}" if self.function.failure else f"compiled: {self.estimate.reason}"


@cache
def function_of(kind: Kind, network: Network, *, training: bool, compile: bool) -> CompiledOrEager:
    """Return the function that all cells of a run share.

    Args:
        kind: `features` without gradient, `features with gradient`, the training `loss`, the `losses` of several networks with
            a dimension of networks in front of all tensors, or the `layer sums` of `layer_sums`.
        network: the architecture.
        training: whether batch norm takes the statistics of its batch.
        compile: whether to compile it.

    """
    function = _MAKERS[kind](network, training)
    if not compile:
        return CompiledOrEager(function)
    logging.getLogger("torch.utils.cpp_extension").setLevel(logging.ERROR)  # it warns if there is no CUDA
    # One code object serves every network and shape of a run; the default limit of 8 would stop at the third dataset.
    torch._dynamo.config.recompile_limit = 256
    return CompiledOrEager(function, to_compile=True)


def kernel_of(kind: Kind, network: Network, *, flops: float, device: str, training: bool = True) -> Kernel:
    """Return a kernel for a cell that will spend about `flops` floating-point operations in it.

    Args:
        kind: as of `function_of`.
        network: the architecture.
        flops: the operations.
        device: the type of the device, such as `cpu`.
        training: whether batch norm takes the statistics of its batch.

    """
    estimate = Estimate.of(kind, network, flops, device)
    return Kernel(function_of(kind, network, training=training, compile=estimate.compile), estimate)


def _features(network: Network, training: bool) -> Callable[..., Tensor]:
    function = network.function("features", training=training)
    return lambda images, *tensors: function(images, tensors)


def _features_with_gradient(network: Network, training: bool) -> Callable[..., Tensor]:
    function = network.function("features with gradient", training=training)
    return lambda images, *tensors: function(images, tensors)


def _training_loss(network: Network, training: bool) -> Callable[..., Tensor]:
    logits = network.function("logits", training=training)

    def loss(images: Tensor, labels: Tensor, weights: Tensor, *tensors: Tensor) -> Tensor:
        """Return the weighted sum of the cross-entropies."""
        entropy = F.cross_entropy(logits(images, tensors), labels, reduction="none")
        return (entropy * weights).sum()

    return loss


def _training_losses(network: Network, training: bool) -> Callable[..., Tensor]:
    losses: Callable[..., Tensor] = torch.func.vmap(_training_loss(network, training))
    return losses


def _layer_sums(network: Network, training: bool) -> Callable[..., tuple[Tensor, ...]]:
    layers = network.function("layers", training=training)

    def layer_sums(images: Tensor, *tensors: Tensor) -> tuple[Tensor, ...]:
        """Return the sum over the images of each map after a ReLU, then the features of each image."""
        *maps, features = layers(images, tensors)
        return *(relu.sum(0, dtype=torch.float32) for relu in maps), features.float()

    return layer_sums


_MAKERS: dict[str, Callable[[Network, bool], Callable[..., Any]]] = {
    "features": _features,
    "features with gradient": _features_with_gradient,
    "loss": _training_loss,
    "losses": _training_losses,
    "layer sums": _layer_sums,
}
