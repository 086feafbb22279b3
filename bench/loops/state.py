"""What a loop declares as its state, as tensors and numbers that a resume state can hold."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

import torch
from torch import Tensor

_IN_LIST = "in list "
"""Prefix of the names of tensors that an optimizer keeps in lists."""


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
    numbers = {name: _listed(value, name, tensors) for name, value in pairs if not isinstance(value, Tensor)}
    groups = [{key: value for key, value in group.items() if key != "params"} for group in content["param_groups"]]
    return tensors, {"state": numbers, "groups": groups}


def _listed(value: Any, name: str, tensors: dict[str, Tensor]) -> Any:
    """Return what an optimizer keeps as JSON can hold it; tensors in lists, as LBFGS has, are added to `tensors` by name.

    Raises:
        TypeError: if a resume state cannot hold it.

    """
    if isinstance(value, Tensor):
        tensors[f"{_IN_LIST}{name}"] = value
        return {"tensor": f"{_IN_LIST}{name}"}
    if isinstance(value, list | tuple):
        return [_listed(each, f"{name} {number}", tensors) for number, each in enumerate(value)]
    if value is None or isinstance(value, bool | int | float | str):
        return value
    kind = type(value).__name__
    raise TypeError(f"an optimizer keeps {name!r} as {kind}, which a resume state cannot hold; valid: tensors, numbers, lists")


def _unlisted(value: Any, tensors: Mapping[str, Tensor]) -> Any:
    """Return what `_listed` was given."""
    if isinstance(value, dict):
        return tensors[value["tensor"]].clone()
    return [_unlisted(each, tensors) for each in value] if isinstance(value, list) else value


def restore_state(state: State, tensors: Mapping[str, Tensor], numbers: Any) -> None:
    """Bring a declared state back to what `state_of` returned."""
    if isinstance(state, Tensor):
        with torch.no_grad():
            state.copy_(tensors["value"])
    elif isinstance(state, dict):
        state.update(numbers)
    elif isinstance(state, torch.optim.Optimizer):
        kept: dict[int, dict[str, Any]] = {}
        # Copies: a file's tensors begin anywhere in memory, and a product of vectors adds in the order that their begin suits.
        whole = {name: tensor.clone() for name, tensor in tensors.items() if not name.startswith(_IN_LIST)}
        for name, value in {**whole, **numbers["state"]}.items():
            index, _, key = name.partition(" ")
            kept.setdefault(int(index), {})[key] = _unlisted(value, tensors)
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
