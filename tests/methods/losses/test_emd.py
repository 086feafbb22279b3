"""EMD against closed forms, brute force, a linear program and scipy's distance on the line."""

import itertools
import warnings

import numpy as np
import pytest
import torch
from clouds import central_differences, clouds, distances, generator, loss, loss_and_gradient
from scipy.optimize import linprog
from scipy.stats import wasserstein_distance

from bench.errors import DistillationError, UsageError
from bench.machine.threads import Workers
from methods import METHODS

EXACT = {"rtol": 1e-12, "atol": 1e-12}
"""What summation in float64 leaves of an exact solution at values of order 1."""


def linear_program(cost):
    """Return an optimal plan `[n, m]` between uniform weights, by a general solver that knows no transport."""
    n, m = cost.shape
    rows = np.zeros((n + m, n * m))
    for i in range(n):
        for j in range(m):
            rows[i, i * m + j] = 1
            rows[n + j, i * m + j] = 1
    sides = np.concatenate([np.full(n, 1 / n), np.full(m, 1 / m)])
    solution = linprog(cost.numpy().ravel(), A_eq=rows, b_eq=sides, bounds=(0, None), method="highs")
    assert solution.status == 0
    return torch.from_numpy(solution.x.reshape(n, m))


def test_one_synthetic_point_costs_the_mean_distance():
    real, syn = clouds(classes=3, syn=1)
    value, gradient = loss_and_gradient("emd", real, syn)
    away = syn - real  # [C, n, d]
    length = away.norm(dim=2, keepdim=True)
    torch.testing.assert_close(value, length.mean((1, 2)), **EXACT)
    torch.testing.assert_close(gradient[:, 0], (away / length).mean(1), **EXACT)


def test_gradient_is_that_of_finite_differences():
    real, syn = clouds(classes=2, real=7, syn=3, dim=4)
    _, gradient = loss_and_gradient("emd", real, syn)
    expected = central_differences(lambda points: loss("emd", real, points).sum(), syn)
    torch.testing.assert_close(gradient, expected, rtol=1e-7, atol=1e-8)


def test_translation_costs_its_length():
    # f(x) = x·t/|t| is an optimal potential, so mass moves along t alone: every row's gradient is t/|t|/m.
    real, _ = clouds(real=9)
    shift = torch.tensor([3.0, 0.0, -4.0, 0.0, 12.0], dtype=torch.float64)
    value, gradient = loss_and_gradient("emd", real, real + shift)
    torch.testing.assert_close(value, torch.full((2,), 13.0, dtype=torch.float64), **EXACT)
    torch.testing.assert_close(gradient, (shift / 13 / 9).expand_as(gradient), **EXACT)


@pytest.mark.parametrize(("n", "m"), [(1, 1), (1, 5), (8, 1), (6, 6), (12, 5), (5, 12), (40, 7)])
def test_points_on_a_line_cost_what_scipy_says(n, m):
    source = generator(n * 100 + m)
    x, y = torch.randn(n, generator=source, dtype=torch.float64), torch.randn(m, generator=source, dtype=torch.float64) + 0.3
    direction = torch.randn(6, generator=source, dtype=torch.float64)
    direction /= direction.norm()
    origin = torch.randn(6, generator=source, dtype=torch.float64)
    real, syn = origin + x[None, :, None] * direction, origin + y[None, :, None] * direction
    expected = torch.tensor([wasserstein_distance(x.numpy(), y.numpy())], dtype=torch.float64)
    torch.testing.assert_close(loss("emd", real, syn), expected, **EXACT)


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_equal_sizes_cost_the_best_of_all_matchings(seed):
    # Birkhoff: with n = m some optimal plan is a permutation.
    real, syn = clouds(classes=2, real=5, syn=5, seed=seed)
    expected = []
    for x, y in zip(real, syn, strict=True):
        cost = distances(x, y).tolist()
        expected.append(min(sum(cost[i][j] for i, j in enumerate(order)) / 5 for order in itertools.permutations(range(5))))
    torch.testing.assert_close(loss("emd", real, syn), torch.tensor(expected, dtype=torch.float64), **EXACT)


@pytest.mark.parametrize(("n", "m"), [(7, 3), (3, 7), (10, 4), (6, 6)])
def test_loss_and_gradient_are_those_of_a_linear_program(n, m):
    real, syn = clouds(classes=2, real=n, syn=m, seed=n + m)
    value, gradient = loss_and_gradient("emd", real, syn)
    for c in range(2):
        cost = distances(real[c], syn[c])
        plan = linear_program(cost)
        # Points in general position have one optimal plan, so the plan's own gradient is comparable too (envelope theorem).
        away = (syn[c][None] - real[c][:, None]) / cost[:, :, None]  # [n, m, d]
        # HiGHS keeps constraints to 1e-7 by default, and at a vertex this small to rounding.
        torch.testing.assert_close(value[c], (plan * cost).sum(), rtol=1e-9, atol=0)
        torch.testing.assert_close(gradient[c], (plan[:, :, None] * away).sum(0), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("factor", [1e-4, 7.3, 1e5])
def test_scaled_features_scale_the_loss(factor):
    real, syn = clouds()
    value, gradient = loss_and_gradient("emd", real, syn)
    scaled, scaled_gradient = loss_and_gradient("emd", factor * real, factor * syn)
    torch.testing.assert_close(scaled / factor, value, **EXACT)
    torch.testing.assert_close(scaled_gradient, gradient, **EXACT)  # W1 is of degree one, its gradient of degree zero


@pytest.mark.parametrize(("n", "m"), [(20, 1), (20, 6), (6, 20)])
def test_no_row_of_the_gradient_is_longer_than_its_mass(n, m):
    _, gradient = loss_and_gradient("emd", *clouds(classes=4, real=n, syn=m))
    assert gradient.norm(dim=2).max() <= (1 + 1e-12) / m


@pytest.mark.parametrize(("n", "m"), [(20, 1), (20, 6), (6, 20)])
def test_loss_is_at_least_the_distance_of_the_means(n, m):
    # Jensen: |E(x - y)| <= E|x - y| under any plan.
    real, syn = clouds(classes=4, real=n, syn=m)
    assert (loss("dm", real, syn).sqrt() <= loss("emd", real, syn) * (1 + 1e-12)).all()


def test_the_same_points_in_another_order_cost_nothing():
    real, _ = clouds(real=9)
    value, gradient = loss_and_gradient("emd", real, real.flip(1))
    assert torch.equal(value, torch.zeros_like(value))
    assert torch.equal(gradient, torch.zeros_like(gradient))


def test_loss_is_symmetric():
    real, syn = clouds(real=8, syn=5)
    torch.testing.assert_close(loss("emd", real, syn), loss("emd", syn, real), **EXACT)


def test_small_distances_far_from_the_origin_are_right_in_float32():
    # |x|² + |y|² - 2x·y loses them: at |x|² of 1e6 float32 keeps .06 of a square of .01. More than 25 points, since torch
    # takes the shortcut, unless told not to, only above that.
    real, _ = clouds(real=40, dim=64, dtype=torch.float32)
    real = real.round(decimals=1).mul(1024).round().div(1024) + 128  # on a grid that float32 holds exactly after the shift
    shift = torch.full((64,), 1 / 64)
    value = loss("emd", real, real + shift)
    torch.testing.assert_close(value, torch.full((2,), 8 / 64), rtol=1e-5, atol=0)


@pytest.mark.parametrize("threads", [1, 4])
def test_workers_change_nothing(threads):
    real, syn = clouds(classes=9, real=12, syn=5)
    expected = loss_and_gradient("emd", real, syn)
    with Workers(threads) as workers, workers.serving():
        values = loss_and_gradient("emd", real, syn)
    assert all(torch.equal(value, other) for value, other in zip(values, expected, strict=True))


def test_a_simplex_that_does_not_converge_raises():
    real, syn = clouds(classes=3, real=60, syn=50)
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # it is an error, not a warning too
        with pytest.raises(DistillationError, match="did not converge"):
            loss("emd", real, syn, max_iterations=1)
        assert (loss("emd", real, syn) > 0).all()


def test_the_bound_on_iterations_is_a_checked_setting():
    assert METHODS["emd"].settings().max_iterations == 1_000_000
    with pytest.raises(UsageError, match="max_iterations takes a whole number at least 1"):
        METHODS["emd"].settings(max_iterations=0)
