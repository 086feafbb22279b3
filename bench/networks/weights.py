"""The weights of networks: their tensors, and how they are drawn."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn


@dataclass(frozen=True, eq=False)
class Weights:
    """The tensors of one network, in the order of its module: parameters, and the buffers of batch norms.

    The buffers are the running means and variances, and the number of batches seen. Training updates them in place.
    """

    parameters: tuple[Tensor, ...]
    buffers: tuple[Tensor, ...] = ()

    @property
    def all(self) -> tuple[Tensor, ...]:
        """The parameters, then the buffers: what the functions of a network take."""
        return (*self.parameters, *self.buffers)

    def to(self, device: torch.device) -> Weights:
        """Return the weights on a device."""
        return self._map(lambda tensor: tensor.to(device, non_blocking=True))

    def trainable(self) -> Weights:
        """Return the weights with parameters that collect gradients; they are the same tensors."""
        return Weights(tuple(parameter.requires_grad_() for parameter in self.parameters), self.buffers)

    def detached(self) -> Weights:
        """Return the weights without gradients; they share memory with these."""
        return self._map(Tensor.detach)

    def select(self, index: int) -> Weights:
        """Return one network's weights of those that `stack` put together."""
        return self._map(lambda tensor: tensor[index])

    @staticmethod
    def stack(networks: Sequence[Weights]) -> Weights:
        """Return the weights of several networks as one, each tensor with a dimension of networks in front."""
        parameters = zip(*(weights.parameters for weights in networks), strict=True)
        buffers = zip(*(weights.buffers for weights in networks), strict=True)
        return Weights(tuple(map(torch.stack, parameters)), tuple(map(torch.stack, buffers)))

    def _map(self, function: Callable[[Tensor], Tensor]) -> Weights:
        return Weights(tuple(map(function, self.parameters)), tuple(map(function, self.buffers)))


def initial_weights(module: nn.Module, generator: torch.Generator) -> Weights:
    """Draw fresh weights of a module on the CPU; `Network.init` says how they are distributed."""
    parameters, buffers = [], []
    for layer in module.modules():
        for name, parameter in layer.named_parameters(recurse=False):
            parameters.append(_draw(layer, name, parameter.shape, generator))
        for name, buffer in layer.named_buffers(recurse=False):
            make = torch.ones if name == "running_var" else torch.zeros
            buffers.append(make(buffer.shape, dtype=buffer.dtype))
    return Weights(tuple(parameters), tuple(buffers))


def _draw(layer: nn.Module, name: str, shape: torch.Size, generator: torch.Generator) -> Tensor:
    """Return the initial values of one parameter of a layer."""
    if isinstance(layer, nn.Conv2d | nn.Linear):
        bound = layer.weight[0].numel() ** -0.5
        values = torch.empty(shape).uniform_(-bound, bound, generator=generator)
        return values.contiguous(memory_format=torch.channels_last) if values.dim() == 4 else values
    if isinstance(layer, nn.GroupNorm | nn.LayerNorm | nn.BatchNorm2d):
        return torch.ones(shape) if name == "weight" else torch.zeros(shape)
    raise TypeError(f"no initial values for the parameter {name!r} of a {type(layer).__name__}")
