"""The weights of networks: their tensors, and how they are drawn."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bench.lazy import torch

if TYPE_CHECKING:
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
        return self._map(lambda tensor: tensor.detach())

    def select(self, index: int) -> Weights:
        """Return one network's weights of those that `stack` put together."""
        return self._map(lambda tensor: tensor[index])

    @staticmethod
    def stack(networks: Sequence[Weights]) -> Weights:
        """Return the weights of several networks as one, each tensor with a dimension of networks in front."""
        parameters = zip(*(weights.parameters for weights in networks), strict=True)
        buffers = zip(*(weights.buffers for weights in networks), strict=True)
        return Weights(tuple(map(torch.stack, parameters)), tuple(map(torch.stack, buffers)))

    def packed(self, name: object) -> dict[str, Tensor]:
        """Return the tensors by names that begin with `name`, for a file; they share memory with these."""
        named = {f"{name} parameter {index}": tensor.detach() for index, tensor in enumerate(self.parameters)}
        return named | {f"{name} buffer {index}": tensor for index, tensor in enumerate(self.buffers)}

    @staticmethod
    def unpacked(tensors: Mapping[str, Tensor], name: object = 0) -> Weights:
        """Return the weights that `packed` was called on, in the memory format of fresh ones."""
        parameters, buffers = (_numbered(tensors, f"{name} {kind} ") for kind in ("parameter", "buffer"))
        return Weights(parameters, buffers)

    def _map(self, function: Callable[[Tensor], Tensor]) -> Weights:
        return Weights(tuple(map(function, self.parameters)), tuple(map(function, self.buffers)))


def _numbered(tensors: Mapping[str, Tensor], prefix: str) -> tuple[Tensor, ...]:
    """Return the tensors with a prefix, in the order of the numbers that follow it."""
    count = sum(name.startswith(prefix) for name in tensors)
    return tuple(_in_usual_format(tensors[f"{prefix}{index}"]) for index in range(count))


def _in_usual_format(tensor: Tensor) -> Tensor:
    """Return the values of a weight; those of convolutions have their channels last in memory."""
    return tensor.contiguous(memory_format=torch.channels_last) if tensor.dim() == 4 else tensor


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
    if isinstance(layer, torch.nn.Conv2d | torch.nn.Linear):
        bound = layer.weight[0].numel() ** -0.5
        values = torch.empty(shape).uniform_(-bound, bound, generator=generator)
        return _in_usual_format(values)
    if isinstance(layer, torch.nn.GroupNorm | torch.nn.LayerNorm | torch.nn.BatchNorm2d):
        return torch.ones(shape) if name == "weight" else torch.zeros(shape)
    raise TypeError(f"no initial values for the parameter {name!r} of a {type(layer).__name__}")
