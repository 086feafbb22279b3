"""Gradient ascent in place: SGD, RMSprop and Adam with torch's defaults, for parameters in one tensor."""

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
    """Gradient ascent on `values`, in place, along `scale · gradient`.

    The caller overwrites `gradient` before each step. Moments are of the unscaled gradient, so epsilon is divided by `scale`;
    the steps are those of the scaled gradient.
    """

    def __init__(self, values: Tensor, gradient: Tensor, *, lr: float, scale: float) -> None:
        """Keep references to the two tensors, of one shape `[..., h, columns]`."""
        self.values, self.gradient, self.lr, self.scale = values, gradient, lr, scale
        self.epsilon = _EPSILON / scale

    def step(self) -> None:
        """Take a step."""
        raise NotImplementedError

    def drift(self, steps: int) -> Tensor:
        """Return an upper bound on how far `steps` more steps move each value if its gradient is zero in all of them."""
        return torch.zeros_like(self.values)

    def reorder(self, rows: Tensor) -> None:
        """Reorder the moments as the rows of `values` were reordered: row `rows[i]` became row `i`."""


class _GradientAscent(Ascent):
    def step(self) -> None:
        """Take the step lr · scale · gradient."""
        self.values.add_(self.gradient, alpha=self.lr * self.scale)


class _RMSprop(Ascent):
    def __init__(self, values: Tensor, gradient: Tensor, *, lr: float, scale: float) -> None:
        """Start with moments of zero."""
        super().__init__(values, gradient, lr=lr, scale=scale)
        self._second = torch.zeros_like(values)

    def step(self) -> None:
        """Take a step as `torch.optim.RMSprop` does."""
        self._second.mul_(0.99).addcmul_(self.gradient, self.gradient, value=0.01)
        self.values.addcdiv_(self.gradient, self._second.sqrt().add_(self.epsilon), value=self.lr)

    def reorder(self, rows: Tensor) -> None:
        """Reorder the moments."""
        self._second.copy_(self._second[rows])


class _Adam(Ascent):
    """`torch.optim.adam.adam`, the function behind `torch.optim.Adam`: the class itself would cost a tenth of the training.

    torch deletes the attribute `torch.optim.adam` after importing that module, so the function is looked up by its full name.
    """

    _BETA1, _BETA2 = 0.9, 0.999

    def __init__(self, values: Tensor, gradient: Tensor, *, lr: float, scale: float) -> None:
        """Start with moments of zero, at step 0."""
        super().__init__(values, gradient, lr=lr, scale=scale)
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
        """Return the sum of the steps that the decaying moments make; epsilon, which shortens them, is left out."""
        factor, taken = 0.0, int(self._count)
        for n in range(1, steps + 1):
            first = self._BETA1**n / (1 - self._BETA1 ** (taken + n))
            second = self._BETA2**n / (1 - self._BETA2 ** (taken + n))
            factor += first / second**0.5
        tiny = torch.finfo(self.values.dtype).tiny  # if there was no gradient yet, both moments are zero
        return self._first.abs().div_(self._second.sqrt().clamp_(min=tiny)).mul_(self.lr * factor)

    def reorder(self, rows: Tensor) -> None:
        """Reorder the moments."""
        for moment in (self._first, self._second):
            moment.copy_(moment[rows])


ASCENTS: dict[Optimizer, type[Ascent]] = {"adam": _Adam, "sgd": _GradientAscent, "rmsprop": _RMSprop}
