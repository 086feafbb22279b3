"""The gradient of the objective that weight-clipped critics are trained with, in closed form.

A critic is a matrix: row k holds hidden unit k's weights on the features, its bias and its weight in the output, and then zeros
up to a whole number of vector registers. A point is a row too: the features, a one for the bias, then zeros. Let Z be the
points, s their weights (1/n for real and -1/m for synthetic points), W the critic without its output weights w2, and H = Z Wᵀ.
The objective is sᵀ relu(H) w2, so

    dJ/dw2 = relu(H)ᵀ s        dJ/dW = w2 ⊙ (1[H > 0] ⊙ s)ᵀ Z

In the shapes below `...` is an optional leading dimension: absent for one critic, `C` for the critics of C classes.
"""

from __future__ import annotations

from math import gcd
from typing import TYPE_CHECKING

from bench.lazy import torch

if TYPE_CHECKING:
    from torch import Tensor

    from methods.losses.critic.ascent import Ascent

_REGISTER = 8
"""float32 numbers in a vector register."""
_TILE = 16
"""Matrix products compute units in groups of this size; an incomplete group costs as much as a complete one."""


def _padded(columns: int) -> int:
    return -(-columns // _REGISTER) * _REGISTER


class Sample:
    """Real and synthetic points, and their weights: the objective is `scale` times the weighted sum of a critic's values."""

    def __init__(self, real: Tensor, syn: Tensor, *, dtype: torch.dtype) -> None:
        """Join the points, `[..., n, d]` and `[..., m, d]`; both they and the weights are rounded to `dtype`."""
        n, m, self.dim = real.shape[-2], syn.shape[-2], real.shape[-1]
        # Divided by this scale the weights 1/n and -1/m are whole numbers. Their sum is exactly zero in any order of summation,
        # and bfloat16 represents them exactly up to 256.
        self.scale = gcd(n, m) / (n * m)
        self.points = real.new_zeros(*real.shape[:-2], n + m, _padded(self.dim + 2), dtype=dtype)
        self.points[..., :n, : self.dim] = real
        self.points[..., n:, : self.dim] = syn
        self.points[..., self.dim] = 1
        weights = torch.cat([real.new_full((n,), 1 / n / self.scale), real.new_full((m,), -1 / m / self.scale)])
        self.weights = weights.round().to(dtype)[:, None]  # [n + m, 1]


class Units:
    """The parameters of critics, `values` `[..., h, columns]`, and their gradient. See the head of this file.

    `rounded` has the values in the dtype of the products; it is `values` itself if the two dtypes are the same.
    """

    def __init__(self, w1: Tensor, b1: Tensor, w2: Tensor, *, dtype: torch.dtype) -> None:
        """Copy the parameters `w1` `[..., h, d]`, `b1` `[..., h]` and `w2` `[..., h]`."""
        self._dim = w1.shape[-1]
        self.values = w1.new_zeros(*w1.shape[:-1], _padded(self._dim + 2))
        for view, parameter in zip(self.parameters(), (w1, b1, w2), strict=True):
            view.copy_(parameter)
        self.gradient = torch.zeros_like(self.values)
        self.rounded = self.values.to(dtype)
        self.order: Tensor | None = None  # the unit in each row, if rows were reordered

    @property
    def w2(self) -> Tensor:
        """The output weights, `[..., h, 1]`."""
        return self.values[..., self._dim + 1 : self._dim + 2]

    @property
    def gradient_w2(self) -> Tensor:
        """The gradient of the output weights, `[..., h]`."""
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
        """Reorder the units of one critic: row `rows[i]` becomes row `i`."""
        self.order = rows if self.order is None else self.order[rows]
        self.values.copy_(self.values[rows])
        if self.rounded is not self.values:
            self.rounded.copy_(self.values)

    def restore_order(self) -> None:
        """Bring the values back into their original order."""
        if self.order is not None:
            self.values[self.order] = self.values.clone()
            self.order = None


class Gradient:
    """The gradient of the objective, divided by the sample's scale, of any number of critics."""

    def __init__(self, sample: Sample, units: Units) -> None:
        """Allocate 1[H > 0] ⊙ w2 and relu(H) in one tensor, so that both are weighted in one pass."""
        self._points, self._weights, self._units = sample.points, sample.weights, units
        hidden = units.rounded.shape[-2]
        self._both = sample.points.new_empty(2, *sample.points.shape[:-1], hidden)  # [2, ..., n + m, h]

    def compute(self) -> None:
        """Write the gradient at the current parameters into `units.gradient`."""
        units, (active, hidden) = self._units, self._both
        torch.matmul(self._points, units.rounded.transpose(-2, -1), out=hidden)
        hidden.relu_()
        torch.sign(hidden, out=active).mul_(units.w2.transpose(-2, -1))
        self._both.mul_(self._weights)
        units.gradient.copy_(active.transpose(-2, -1) @ self._points)
        units.gradient_w2.copy_(hidden.sum(-2))  # in bfloat16 a product of a matrix with a vector is slow


class ReusingGradient(Gradient):
    """The same gradient of one critic, without the products whose results are already known.

    The rows of (1[H > 0] ⊙ s)ᵀ Z, here called slopes, change only for units that have become active or inactive at some point.
    On ConvNet features these are a tenth to a quarter of the units at each step, and the second product is computed for them
    alone. A unit that is inactive at all points has no gradient: only its decaying momentum moves it. `prune_dead_units` leaves
    the units that cannot become active again, about a third, out of both products.

    Attributes:
        active: whether each unit was active at each point when the gradient was last computed, `[n + m, units]`, without the
            pruned units.

    """

    def __init__(self, sample: Sample, units: Units) -> None:
        """Start with all units inactive and their slopes zero."""
        self._points, self._weights, self._units = sample.points, sample.weights, units
        self._max_abs_coordinate = sample.points.abs().amax(0).to(units.values.dtype)  # [columns]
        self._slopes = torch.zeros_like(units.values)
        self.active = torch.zeros(len(sample.points), len(units.values), dtype=torch.bool)
        self._use_first_units(len(units.values))

    def _use_first_units(self, count: int) -> None:
        """Make views of the first `count` units: the products are computed for these."""
        units, slopes = self._units, self._slopes
        self._hidden = self._points.new_empty(len(self._points), count)
        self._rows, self._w2 = units.rounded[:count].t(), units.w2[:count]
        self._kept_slopes, self._gradient, self._gradient_w2 = slopes[:count], units.gradient[:count], units.gradient_w2[:count]

    def compute(self) -> None:
        """Write the gradient at the current parameters into `units.gradient`."""
        hidden, slopes = self._hidden, self._kept_slopes
        torch.mm(self._points, self._rows, out=hidden)
        active = hidden > 0
        changed = (active != self.active).any(0).nonzero().flatten()
        self.active = active
        if len(changed):
            weights = active.index_select(1, changed) * self._weights  # [n + m, changed]
            slopes.index_copy_(0, changed, (weights.t() @ self._points).to(slopes.dtype))
        torch.mul(slopes, self._w2, out=self._gradient)
        self._gradient_w2.copy_(hidden.relu_().mul_(self._weights).sum(0))

    def prune_dead_units(self, ascent: Ascent, steps: int) -> None:
        """Leave out the units that stay inactive at all points in the remaining `steps` steps.

        A unit's activation at a point changes by at most the sum over its weights of the weight's drift times the largest
        absolute coordinate of all points. The bound includes the rounding of the products.
        """
        units, count = self._units, len(self._gradient)
        values = units.values[:count]
        max_activation = torch.mm(self._points, self._rows).amax(0).to(values.dtype)  # [count]
        exact, rounded = (torch.finfo(dtype).eps for dtype in (values.dtype, self._points.dtype))
        error = (values.abs() @ self._max_abs_coordinate) * (values.shape[1] * exact + 4 * rounded)
        dead = max_activation + ascent.drift(steps)[:count] @ self._max_abs_coordinate + error < 0
        remaining = -(-int((~dead).sum()) // _TILE) * _TILE
        if remaining >= count:
            return
        rows = torch.cat([dead.to(torch.int8).argsort(stable=True), torch.arange(count, len(units.values))])
        units.reorder(rows)
        ascent.reorder(rows)
        self._slopes.copy_(self._slopes[rows])
        units.gradient[remaining:] = 0
        self.active = self.active[:, rows[:remaining]]
        self._use_first_units(remaining)
