"""The gradient of the objective that weight-clipped critics are trained with, in closed form.

A critic is a matrix: row k holds hidden unit k's weights on the features, its bias and its weight in the output, and then zeros
up to a whole number of vector registers. A point is a row too: the features, a one for the bias, then zeros. Let Z be the
points, s their weights (1/n for real and -1/m for synthetic ones), W the critic without its last weights w2, and H = Z Wᵀ. The
objective is sᵀ relu(H) w2, so that

    dJ/dw2 = relu(H)ᵀ s        dJ/dW = w2 ⊙ (1[H > 0] ⊙ s)ᵀ Z

In the shapes below `...` stands for optional leading class dimensions: nothing for one critic, `C` for the critics of C
classes.
"""

from __future__ import annotations

from math import gcd
from typing import TYPE_CHECKING

from bench.lazy import torch

if TYPE_CHECKING:
    from torch import Tensor

    from methods.losses.critic.ascent import Ascent

_REGISTER = 8
_TILE = 16
"""Matrix products compute units in groups of so many; a part of a group costs as much as all of it."""


def _padded(columns: int) -> int:
    return -(-columns // _REGISTER) * _REGISTER


class Sample:
    """Real and synthetic points, and weights whose product with a critic's values, times `unit`, is the objective."""

    def __init__(self, real: Tensor, syn: Tensor, *, dtype: torch.dtype) -> None:
        """Join the points, `[..., n, d]` and `[..., m, d]`; both they and the weights are rounded to `dtype`."""
        n, m, self.dim = real.shape[-2], syn.shape[-2], real.shape[-1]
        # In this unit the weights 1/n and -1/m are whole numbers. They sum to exactly zero, whatever the order of summation,
        # and bfloat16 holds them up to 256.
        self.unit = gcd(n, m) / (n * m)
        self.points = real.new_zeros(*real.shape[:-2], n + m, _padded(self.dim + 2), dtype=dtype)
        self.points[..., :n, : self.dim] = real
        self.points[..., n:, : self.dim] = syn
        self.points[..., self.dim] = 1
        weights = torch.cat([real.new_full((n,), 1 / n / self.unit), real.new_full((m,), -1 / m / self.unit)])
        self.weights = weights.round().to(dtype)[:, None]  # [n + m, 1]


class Units:
    """The parameters of critics, `values` `[..., h, columns]`, and their gradient. See the head of this file.

    `rounded` holds the values in the dtype of the products; it is `values` itself where that is their own.
    """

    def __init__(self, w1: Tensor, b1: Tensor, w2: Tensor, *, dtype: torch.dtype) -> None:
        """Copy the parameters `w1` `[..., h, d]`, `b1` `[..., h]` and `w2` `[..., h]`."""
        self._dim = w1.shape[-1]
        self.values = w1.new_zeros(*w1.shape[:-1], _padded(self._dim + 2))
        for own, given in zip(self.parameters(), (w1, b1, w2), strict=True):
            own.copy_(given)
        self.gradient = torch.zeros_like(self.values)
        self.rounded = self.values.to(dtype)
        self.order: Tensor | None = None  # which unit each row holds, once that has changed

    @property
    def w2(self) -> Tensor:
        """The weights in the output, `[..., h, 1]`."""
        return self.values[..., self._dim + 1 : self._dim + 2]

    @property
    def gradient_w2(self) -> Tensor:
        """Their gradient, `[..., h]`."""
        return self.gradient[..., self._dim + 1]

    def parameters(self) -> tuple[Tensor, Tensor, Tensor]:
        """Return views of `w1`, `b1` and `w2`, in the order of the rows."""
        return self.values[..., : self._dim], self.values[..., self._dim], self.values[..., self._dim + 1]

    def clamp(self, limit: float) -> None:
        """Clamp all values to [-limit, limit], and round them."""
        self.values.clamp_(-limit, limit)
        if self.rounded is not self.values:
            self.rounded.copy_(self.values)

    def reorder(self, rows: Tensor) -> None:
        """Bring the units of one critic into another order: that of row `rows[i]` goes to row `i`."""
        self.order = rows if self.order is None else self.order[rows]
        self.values.copy_(self.values[rows])
        if self.rounded is not self.values:
            self.rounded.copy_(self.values)

    def restore_order(self) -> None:
        """Bring the values into their first order."""
        if self.order is not None:
            self.values[self.order] = self.values.clone()
            self.order = None


class Gradient:
    """The gradient of the objective, divided by the sample's unit, of any number of critics."""

    def __init__(self, sample: Sample, units: Units) -> None:
        """Allocate 1[H > 0] ⊙ w2 and relu(H), one behind the other, so that both are weighted in one pass."""
        self._points, self._weights, self._units = sample.points, sample.weights, units
        hidden = units.rounded.shape[-2]
        self._both = sample.points.new_empty(2, *sample.points.shape[:-1], hidden)  # [2, ..., n + m, h]

    def compute(self) -> None:
        """Write the gradient at the present parameters."""
        units, (active, hidden) = self._units, self._both
        torch.matmul(self._points, units.rounded.transpose(-2, -1), out=hidden)
        hidden.relu_()
        torch.sign(hidden, out=active).mul_(units.w2.transpose(-2, -1))
        self._both.mul_(self._weights)
        units.gradient.copy_(active.transpose(-2, -1) @ self._points)
        units.gradient_w2.copy_(hidden.sum(-2))  # in bfloat16 a product of a matrix with a vector is slow


class ReusingGradient(Gradient):
    """The same gradient of one critic, without products whose results are known.

    The rows of (1[H > 0] ⊙ s)ᵀ Z, here called slopes, change only where a unit has become active or inactive at some point.
    From one step to the next this is so for a tenth to a quarter of the units of ConvNet features, and the second product is
    taken for these alone. And a unit that is inactive at all points has no gradient: what moves it is its momentum, which
    decays. `set_aside` finds the units that cannot become active again, about a third; they are left out of both products.
    """

    def __init__(self, sample: Sample, units: Units) -> None:
        """Start with units that are active nowhere; their slopes are zero."""
        self._points, self._weights, self._units = sample.points, sample.weights, units
        self._farthest = sample.points.abs().amax(0).to(units.values.dtype)  # [columns]
        self._slopes = torch.zeros_like(units.values)
        self._active = torch.zeros(len(sample.points), len(units.values), dtype=torch.bool)  # [n + m, kept]
        self._keep(len(units.values))

    def _keep(self, count: int) -> None:
        """Make the views of the first `count` units, which are those that the products are taken for."""
        units, slopes = self._units, self._slopes
        self._hidden = self._points.new_empty(len(self._points), count)
        self._rows, self._w2 = units.rounded[:count].t(), units.w2[:count]
        self._kept_slopes, self._gradient, self._gradient_w2 = slopes[:count], units.gradient[:count], units.gradient_w2[:count]

    def compute(self) -> None:
        """Write the gradient at the present parameters."""
        hidden, slopes = self._hidden, self._kept_slopes
        torch.mm(self._points, self._rows, out=hidden)
        active = hidden > 0
        changed = (active != self._active).any(0).nonzero().flatten()
        self._active = active
        if len(changed):
            weights = active.index_select(1, changed) * self._weights  # [n + m, changed]
            slopes.index_copy_(0, changed, (weights.t() @ self._points).to(slopes.dtype))
        torch.mul(slopes, self._w2, out=self._gradient)
        self._gradient_w2.copy_(hidden.relu_().mul_(self._weights).sum(0))

    def set_aside(self, ascent: Ascent, steps: int) -> None:
        """Leave out the units that stay inactive at all points in the `steps` steps that are left.

        A unit's value at a point changes by at most the sum over its weights of how far the weight can go times the farthest
        coordinate among the points. The products' rounding is allowed for.
        """
        units, kept = self._units, len(self._gradient)
        values = units.values[:kept]
        highest = torch.mm(self._points, self._rows).amax(0).to(values.dtype)  # [kept]
        exact, rounded = (torch.finfo(dtype).eps for dtype in (values.dtype, self._points.dtype))
        error = (values.abs() @ self._farthest) * (values.shape[1] * exact + 4 * rounded)
        idle = highest + ascent.drift(steps)[:kept] @ self._farthest + error < 0
        keep = -(-int((~idle).sum()) // _TILE) * _TILE
        if keep >= kept:
            return
        rows = torch.cat([idle.to(torch.int8).argsort(stable=True), torch.arange(kept, len(units.values))])
        units.reorder(rows)
        ascent.reorder(rows)
        self._slopes.copy_(self._slopes[rows])
        units.gradient[keep:] = 0
        self._active = self._active[:, rows[:keep]]
        self._keep(keep)
