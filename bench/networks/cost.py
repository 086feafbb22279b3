"""What a pass through a network costs: floating-point operations, and the size of its largest map."""

from __future__ import annotations

import copy
from typing import Any

import torch
import torch.nn.functional as F
from torch.overrides import TorchFunctionMode

from bench.networks.base import Architecture


class _Counter(TorchFunctionMode):
    """Counts the operations of convolutions and linear layers while it is active, and finds their largest output."""

    flops = largest = 0

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        output = func(*args, **(kwargs or {}))
        if func in (F.conv2d, F.linear):
            weight = args[1]  # each output is a sum of as many products as one row has weights
            self.flops += 2 * output.numel() * weight[0].numel()
            self.largest = max(self.largest, output.numel())
        return output


def cost_of(module: Architecture, shape: tuple[int, int, int]) -> tuple[int, int]:
    """Return the floating-point operations of the features of one image, and the number of elements of its largest map.

    Args:
        module: a network on the device `meta`, where weights have no numbers. A copy with any numbers is passed through: for
            functions on `meta` torch imports its compiler, for a second or more.
        shape: `(channels, size, size)` of the image.

    """
    on_cpu = copy.deepcopy(module).to_empty(device="cpu")
    with torch.no_grad(), _Counter() as counter:
        on_cpu.features(torch.zeros(1, *shape))
    return counter.flops, counter.largest
