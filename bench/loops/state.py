"""What a loop declares as its state, as tensors and numbers that a resume state can hold."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

import torch
from torch import Tensor


class Stateful(Protocol):
    """Something that keeps tensors by name, such as a loss with a running mean."""

    def state_dict(self) -> Mapping[str, Tensor]:
        """Return what is kept."""

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Go on from there."""


State = Tensor | torch.optim.Optimizer | dict[str, int] | Stateful
"""What a loop may declare as its state: a tensor, changed in place; an optimizer; numbers that it counts; or a `Stateful`."""


def state_of(state: State) -> tuple[dict[str, Tensor], Any]:
    """Return the tensors of a declared state by name, and its numbers, which JSON can hold."""
    if isinstance(state, Tensor):
        return {"value": state.detach()}, None
    if isinstance(state, dict):
        return {}, state
    if not isinstance(state, torch.optim.Optimizer):
        return {name: tensor.detach() for name, tensor in state.state_dict().items()}, None
    content = state.state_dict()
    pairs = [(f"{index} {key}", value) for index, kept in content["state"].items() for key, value in kept.items()]
    tensors = {name: value for name, value in pairs if isinstance(value, Tensor)}
    numbers = {name: value for name, value in pairs if not isinstance(value, Tensor)}
    groups = [{key: value for key, value in group.items() if key != "params"} for group in content["param_groups"]]
    return tensors, {"state": numbers, "groups": groups}


def restore_state(state: State, tensors: Mapping[str, Tensor], numbers: Any) -> None:
    """Bring a declared state back to what `state_of` returned."""
    if isinstance(state, Tensor):
        with torch.no_grad():
            state.copy_(tensors["value"])
    elif isinstance(state, dict):
        state.update(numbers)
    elif isinstance(state, torch.optim.Optimizer):
        kept: dict[int, dict[str, Any]] = {}
        for name, value in {**tensors, **numbers["state"]}.items():
            index, _, key = name.partition(" ")
            kept.setdefault(int(index), {})[key] = value
        pairs = zip(state.state_dict()["param_groups"], numbers["groups"], strict=True)
        state.load_state_dict({"state": kept, "param_groups": [{**own, **saved} for own, saved in pairs]})
        _lay_out_like_parameters(state)
    else:
        state.load_state_dict(tensors)


def _lay_out_like_parameters(optimizer: torch.optim.Optimizer) -> None:
    """Give an optimizer's tensors the memory format of their parameters, which fused optimizers rely on."""
    for parameter, kept in optimizer.state.items():
        for name, value in kept.items():
            if isinstance(value, Tensor) and value.shape == parameter.shape:
                kept[name] = torch.empty_like(parameter, dtype=value.dtype, requires_grad=False).copy_(value)
