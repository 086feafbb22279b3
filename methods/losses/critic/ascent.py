"""Gradient ascent in place: plain, RMSprop and Adam, as torch has them, for parameters that lie in one tensor."""

from __future__ import annotations

from pkgutil import resolve_name
from typing import TYPE_CHECKING, Any, Literal

from bench.lazy import torch

if TYPE_CHECKING:
    from torch import Tensor

Optimizer = Literal["adam", "sgd", "rmsprop"]
_EPSILON = 1e-8
"""The epsilon of Adam and RMSprop, torch's default."""


class Ascent:
    """Gradient ascent of one tensor, in place, along `unit` · `gradient`, which is written anew before each step.

    Moments are kept of `gradient` itself, so epsilon is divided by the unit; the steps are the same.
    """

    def __init__(self, values: Tensor, gradient: Tensor, *, lr: float, unit: float) -> None:
        """Take the two tensors."""
        self.values, self.gradient, self.lr, self.unit = values, gradient, lr, unit
        self.epsilon = _EPSILON / unit

    def step(self) -> None:
        """Take a step."""
        raise NotImplementedError

    def drift(self, steps: int) -> Tensor:
        """Return how far `steps` more steps can move each value if its gradient is zero from now on: at most so far."""
        return torch.zeros_like(self.values)

    def reorder(self, rows: Tensor) -> None:
        """Follow a change of the order of the rows of `values`: what was in row `rows[i]` is in row `i` now."""


class _GradientAscent(Ascent):
    def step(self) -> None:
        """Take a step of the length lr · gradient."""
        self.values.add_(self.gradient, alpha=self.lr * self.unit)


class _RMSprop(Ascent):
    def __init__(self, values: Tensor, gradient: Tensor, *, lr: float, unit: float) -> None:
        """Start with moments of zero."""
        super().__init__(values, gradient, lr=lr, unit=unit)
        self._second = torch.zeros_like(values)

    def step(self) -> None:
        """Take a step as `torch.optim.RMSprop` does."""
        self._second.mul_(0.99).addcmul_(self.gradient, self.gradient, value=0.01)
        self.values.addcdiv_(self.gradient, self._second.sqrt().add_(self.epsilon), value=self.lr)

    def reorder(self, rows: Tensor) -> None:
        """Bring the moments into the new order."""
        self._second.copy_(self._second[rows])


class _Adam(Ascent):
    """`torch.optim.adam.adam`, the function behind `torch.optim.Adam`: the class itself would cost a tenth of the training.

    After importing it torch deletes the name of the submodule, so that the function has to be looked up by its full name.
    """

    _BETA1, _BETA2 = 0.9, 0.999

    def __init__(self, values: Tensor, gradient: Tensor, *, lr: float, unit: float) -> None:
        """Start with moments of zero, at step 0."""
        super().__init__(values, gradient, lr=lr, unit=unit)
        self._adam = resolve_name("torch.optim.adam:adam")
        self._first, self._second = torch.zeros_like(values), torch.zeros_like(values)
        self._count = torch.zeros((), device=values.device)
        self._lists: Any = [values], [gradient], [self._first], [self._second], [], [self._count]

    def step(self) -> None:
        """Take a step as `torch.optim.Adam` does."""
        self._adam(
            *self._lists,
            fused=True,
            amsgrad=False,
            beta1=self._BETA1,
            beta2=self._BETA2,
            lr=self.lr,
            weight_decay=0.0,
            eps=self.epsilon,
            maximize=True,
        )

    def drift(self, steps: int) -> Tensor:
        """Return the sum of the steps that the moments alone make as they decay; without epsilon, which shortens them."""
        factor, done = 0.0, int(self._count)
        for n in range(1, steps + 1):
            first = self._BETA1**n / (1 - self._BETA1 ** (done + n))
            second = self._BETA2**n / (1 - self._BETA2 ** (done + n))
            factor += first / second**0.5
        tiny = torch.finfo(self.values.dtype).tiny  # where no gradient has been yet both moments are zero
        return self._first.abs().div_(self._second.sqrt().clamp_(min=tiny)).mul_(self.lr * factor)

    def reorder(self, rows: Tensor) -> None:
        """Bring the moments into the new order."""
        for moment in (self._first, self._second):
            moment.copy_(moment[rows])


ASCENTS: dict[Optimizer, type[Ascent]] = {"adam": _Adam, "sgd": _GradientAscent, "rmsprop": _RMSprop}
