"""The fast distances against differences: values, gradients of either side, and pairs that nearly coincide."""

import pytest
import torch

from methods.losses.distances import euclidean


def by_differences(x, y):
    """Return the distances by differences, their gradient zero where points coincide."""
    squares = (x[:, :, None] - y[:, None]).square().sum(3)
    return torch.where(squares > 0, squares.where(squares > 0, 1.0).sqrt(), 0.0)


def clouds(real, syn, dim, dtype=torch.float64):
    """Return two Gaussian clouds of 3 classes, `[3, real, dim]` and `[3, syn, dim]`, with different means."""
    generator = torch.Generator().manual_seed(0)
    first = torch.randn(3, real, dim, generator=generator, dtype=torch.float64)
    second = 0.8 * torch.randn(3, syn, dim, generator=generator, dtype=torch.float64) + 0.5
    return first.to(dtype), second.to(dtype)


def situations(dtype):
    real, syn = clouds(40, 6, 64, dtype)
    offset = 30 * torch.ones(64, dtype=dtype)
    few = real[:, :6].clone()
    few[:, 3:] += 1e-3 * syn[:, 3:]
    knots = torch.cat([real[:, :1] + 1e-3 * real[:, :20], 5 + real[:, 1:2] + 1e-3 * real[:, 20:]], 1)
    return {
        "apart": (real, syn),
        "far from the origin": (real + offset, syn + offset),
        "on real points, or near them": (real, few),
        "a cloud and itself": (real, real),
        "clusters": (knots, knots[:, 15:25] + 1e-4 * syn[:, :1]),
        "one point": (real[:, :1], syn[:, :1]),
    }


def gradients(function, x, y, weights):
    """Return the distances, and the gradients of their weighted sum with respect to `x` and `y`."""
    x, y = x.detach().clone().requires_grad_(), y.detach().clone().requires_grad_()
    value = function(x, y)
    return value.detach(), *torch.autograd.grad((value * weights).sum(), (x, y))


@pytest.mark.parametrize("name", situations(torch.float64))
@pytest.mark.parametrize(("dtype", "error"), [(torch.float64, 1e-11), (torch.float32, 1e-5)])
def test_distances_and_gradients_are_those_of_differences(name, dtype, error):
    x, y = situations(dtype)[name]
    weights = torch.rand(3, x.shape[1], y.shape[1], generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    fast = gradients(euclidean, x, y, weights.to(dtype))
    exact = gradients(by_differences, x.double(), y.double(), weights)
    for value, expected in zip(fast, exact, strict=True):
        assert value.dtype == dtype
        assert (value - expected).norm() <= error * expected.norm()


@pytest.mark.parametrize("name", ["on real points, or near them", "a cloud and itself", "clusters"])
def test_small_distances_are_right_one_by_one_in_float32(name):
    x, y = situations(torch.float32)[name]
    torch.testing.assert_close(euclidean(x, y), by_differences(x.double(), y.double()).float(), rtol=1e-5, atol=0)


def test_only_the_side_that_asks_gets_a_gradient():
    x, y = clouds(7, 3, 5)
    (gradient,) = torch.autograd.grad(euclidean(x, y.requires_grad_()).sum(), y)
    torch.testing.assert_close(gradient, gradients(by_differences, x, y, torch.ones(3, 7, 3))[2])
