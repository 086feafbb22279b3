"""Euclidean distances that are right near zero, and fast."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

_CLOSE = 0.1
"""A squared distance below this part of the two squared norms is summed again from differences: above it, the matrix product
loses at most one decimal to cancellation."""


def euclidean(x: Tensor, y: Tensor) -> Tensor:
    """Return |x_i - y_j| of `x` `[C, n, d]` and `y` `[C, m, d]`, `[C, n, m]`; the gradient at coincident points is zero.

    |x|² + |y|² - 2x·y is a matrix product, some five times faster than differences, but cancels near zero. So points are taken
    from their centre, and of close pairs (an image and its own copy) value and gradient come from the difference.
    """
    if x.device.type != "cpu":  # looking for close pairs would wait for the device
        return torch.cdist(x, y, compute_mode=_EXACT)
    return _Distances.apply(x, y)  # type: ignore[no-any-return]


_EXACT = "donot_use_mm_for_euclid_dist"


class _Distances(torch.autograd.Function):
    """The distances, with d|x - y|/dy = (y - x) / |y - x| as a matrix product too."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, y: Tensor) -> Tensor:
        near_x, near_y = _centred(x, y)
        norms = _squared_norms(near_x)[:, :, None] + _squared_norms(near_y)[:, None]  # [C, n, m]
        squares = torch.baddbmm(norms, near_x, near_y.transpose(1, 2), alpha=-2)
        close = (squares <= _CLOSE * norms).nonzero(as_tuple=True)  # three times [pairs]
        classes, n, m = norms.shape
        ctx.many = len(close[0]) > classes * (n + m)  # clusters: the plain way takes less memory
        if ctx.many:
            distances = torch.cdist(x, y, compute_mode=_EXACT)
        else:
            index, rows, columns = close
            distances = squares.clamp_min_(0).sqrt_()
            distances[close] = torch.linalg.vector_norm(x[index, rows] - y[index, columns], dim=1)
        ctx.save_for_backward(x, y, distances, *close)
        return distances

    @staticmethod
    def backward(ctx: Any, *slopes: Tensor) -> tuple[Tensor | None, Tensor | None]:
        x, y, distances, index, rows, columns = ctx.saved_tensors
        need_x, need_y = ctx.needs_input_grad
        if ctx.many:
            with torch.enable_grad():
                x, y = x.detach().requires_grad_(need_x), y.detach().requires_grad_(need_y)
                again = torch.cdist(x, y, compute_mode=_EXACT)  # its own gradient sums differences
            wanted = [side for side in (x, y) if side.requires_grad]
            found = iter(torch.autograd.grad(again, wanted, slopes[0]))
            return next(found) if need_x else None, next(found) if need_y else None
        pulls = torch.where(distances > 0, slopes[0] / distances, 0.0)  # [C, n, m], along y_j - x_i
        apart = (y[index, columns] - x[index, rows]) * pulls[index, rows, columns][:, None]  # [pairs, d]
        pulls[index, rows, columns] = 0
        near_x, near_y = _centred(x, y)
        slope_x = slope_y = None
        if need_y:
            slope_y = near_y * pulls.sum(1)[:, :, None] - pulls.transpose(1, 2) @ near_x
            slope_y.index_put_((index, columns), apart, accumulate=True)
        if need_x:
            slope_x = near_x * pulls.sum(2)[:, :, None] - pulls @ near_y
            slope_x.index_put_((index, rows), -apart, accumulate=True)
        return slope_x, slope_y


def _centred(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    centre = x.mean(1, keepdim=True)
    return x - centre, y - centre


def _squared_norms(points: Tensor) -> Tensor:
    norms: Tensor = torch.linalg.vector_norm(points, dim=2)
    return norms.square()
