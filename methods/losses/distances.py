"""Euclidean distances between two sets of points: fast, and accurate near zero."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from bench.lazy import autograd_function, torch

if TYPE_CHECKING:
    from torch import Tensor

_CLOSE = 0.1
"""A pair is close if its squared distance is below this fraction of the sum of the two squared norms. Above it, the matrix
product loses at most one decimal digit to cancellation."""
_BY_DIFFERENCES = "donot_use_mm_for_euclid_dist"
"""The mode in which `torch.cdist` computes differences of coordinates, without a matrix product."""


def euclidean(x: Tensor, y: Tensor) -> Tensor:
    """Return the distances |x_i - y_j|, `[C, n, m]`, of `x` `[C, n, d]` and `y` `[C, m, d]`.

    The gradient at coincident points is zero.

    |x|² + |y|² - 2x·y is a matrix product, about five times faster than differences, but digits cancel near zero. So the mean
    of `x` is first subtracted from all points, and for close pairs, such as an image and its own copy, the distance and its
    gradient are computed from differences.
    """
    if x.device.type != "cpu":  # searching for close pairs would wait for the device
        return torch.cdist(x, y, compute_mode=_BY_DIFFERENCES)
    distances: Tensor = _differentiable(x, y)
    return distances


def _distances(ctx: Any, x: Tensor, y: Tensor) -> Tensor:
    """Return the distances on the CPU, and save in `ctx` what the gradient needs."""
    centred_x, centred_y = _centred(x, y)
    norms = _squared_norms(centred_x)[:, :, None] + _squared_norms(centred_y)[:, None]  # [C, n, m]
    squares = torch.baddbmm(norms, centred_x, centred_y.transpose(1, 2), alpha=-2)
    close = (squares <= _CLOSE * norms).nonzero(as_tuple=True)  # the class, row and column of each close pair
    classes, n, m = norms.shape
    # Tight clusters have many close pairs: listing their differences pair by pair would take much memory.
    ctx.clustered = len(close[0]) > classes * (n + m)
    if ctx.clustered:
        distances = torch.cdist(x, y, compute_mode=_BY_DIFFERENCES)
    else:
        index, rows, columns = close
        distances = squares.clamp_min_(0).sqrt_()
        distances[close] = torch.linalg.vector_norm(x[index, rows] - y[index, columns], dim=1)
    ctx.save_for_backward(x, y, distances, *close)
    return distances


def _gradients(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, Tensor | None]:
    """Return the gradients of both sides: d|x - y|/dy = (y - x) / |y - x|, summed by a matrix product."""
    x, y, distances, *close = ctx.saved_tensors
    need_x, need_y = ctx.needs_input_grad
    if ctx.clustered:
        return _gradient_by_differences(x, y, gradients[0], need_x=need_x, need_y=need_y)
    index, rows, columns = close
    pulls = torch.where(distances > 0, gradients[0] / distances, 0.0)  # [C, n, m], along y_j - x_i
    of_close = (y[index, columns] - x[index, rows]) * pulls[index, rows, columns][:, None]  # [pairs, d]
    pulls[index, rows, columns] = 0
    centred_x, centred_y = _centred(x, y)
    gradient_x = gradient_y = None
    if need_y:
        gradient_y = centred_y * pulls.sum(1)[:, :, None] - pulls.transpose(1, 2) @ centred_x
        gradient_y.index_put_((index, columns), of_close, accumulate=True)
    if need_x:
        gradient_x = centred_x * pulls.sum(2)[:, :, None] - pulls @ centred_y
        gradient_x.index_put_((index, rows), -of_close, accumulate=True)
    return gradient_x, gradient_y


def _gradient_by_differences(
    x: Tensor, y: Tensor, gradient: Tensor, *, need_x: bool, need_y: bool
) -> tuple[Tensor | None, Tensor | None]:
    """Return the gradients of the needed sides, computed by torch; `gradient` `[C, n, m]` is that of the distances."""
    with torch.enable_grad():
        x, y = x.detach().requires_grad_(need_x), y.detach().requires_grad_(need_y)
        distances = torch.cdist(x, y, compute_mode=_BY_DIFFERENCES)
    of_needed = iter(torch.autograd.grad(distances, [side for side in (x, y) if side.requires_grad], gradient))
    return next(of_needed) if need_x else None, next(of_needed) if need_y else None


def _centred(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """Return both sets relative to the mean of `x`."""
    centre = x.mean(1, keepdim=True)
    return x - centre, y - centre


def _squared_norms(points: Tensor) -> Tensor:
    """Return the squared norm of each point."""
    norms: Tensor = torch.linalg.vector_norm(points, dim=2)
    return norms.square()


_differentiable = autograd_function(_distances, _gradients)
