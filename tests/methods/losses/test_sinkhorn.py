"""Sinkhorn against a converged log-domain reference, exact transport and closed forms.

geomloss anneals: it takes one step at each temperature, each `scaling` times the last, and never tests convergence. So its
potentials trail the fixed point by about one step, an error of first order in 1 - scaling. The plan and with it the gradient
share that order; the value, stationary at the optimal potentials, is off by the second. The tolerances follow from this.
"""

import itertools
import math

import pytest
import torch
from clouds import central_differences, clouds, distances, generator, loss, loss_and_gradient

from bench.errors import UsageError
from methods import METHODS
from methods.losses import distances as fast_distances
from methods.losses import sinkhorn

FINE = 0.99
"""A `scaling` at which the annealing's error in the value is of order (1 - .99)² = 1e-4 or less."""


def log_sum_exp(terms):
    """Return log of the sum of exponentials of floats."""
    highest = max(terms)
    return highest + math.log(sum(math.exp(term - highest) for term in terms))


def converged_sinkhorn(cost, temperature):
    """Return the entropic transport cost of one class, uniform weights, by loops until both marginals hold.

    min_P <P, cost> + temperature · KL(P | a ⊗ b) = mean f + mean g at the fixed point.
    """
    cost = cost.tolist()
    n, m = len(cost), len(cost[0])
    f, g = [0.0] * n, [0.0] * m
    for _ in range(10_000):
        f = [-temperature * log_sum_exp([(g[j] - cost[i][j]) / temperature - math.log(m) for j in range(m)]) for i in range(n)]
        g = [-temperature * log_sum_exp([(f[i] - cost[i][j]) / temperature - math.log(n) for i in range(n)]) for j in range(m)]
        rows = [sum(math.exp((f[i] + g[j] - cost[i][j]) / temperature) for j in range(m)) / m for i in range(n)]
        if max(abs(row - 1) for row in rows) < 1e-10:
            return sum(f) / n + sum(g) / m
    raise AssertionError("the reference did not converge")


def median_distance(real, syn):
    return sorted(distances(real, syn).flatten().tolist())[(len(real) * len(syn) - 1) // 2]


def reference(real, syn, *, p, blur, debias):
    """Return the Sinkhorn loss of one class at temperature (blur · median distance)^p."""

    def transport(x, y):
        return converged_sinkhorn(distances(x, y) ** p / p, temperature)

    temperature = (blur * median_distance(real, syn)) ** p
    value = transport(real, syn)
    return value - (transport(real, real) + transport(syn, syn)) / 2 if debias else value


@pytest.mark.parametrize("debias", [False, True])
@pytest.mark.parametrize("blur", [1.0, 0.3])
@pytest.mark.parametrize("p", [1, 2])
def test_loss_is_that_of_a_converged_reference(p, blur, debias):
    real, syn = clouds(classes=2, syn=4, dim=3)
    value = loss("sinkhorn", real, syn, p=p, blur=blur, debias=debias, scaling=FINE)
    expected = [reference(x, y, p=p, blur=blur, debias=debias) for x, y in zip(real, syn, strict=True)]
    # Second order in 1 - scaling, see above. A debiased value is a difference of such values: the bound is on their size.
    size = float(loss("sinkhorn", real, syn, p=p, blur=blur).max())
    torch.testing.assert_close(value, torch.tensor(expected, dtype=torch.float64), rtol=0, atol=(1 - FINE) ** 2 * size)


def fixed_temperature_loss(real, syn, *, p, blur, debias):
    """Return the converged loss of one class as a function of the synthetic points, its temperature held where it is now."""
    temperature = (blur * median_distance(real, syn)) ** p

    def solve(x, y):
        cost = torch.cdist(x, y, compute_mode="donot_use_mm_for_euclid_dist") ** p / p
        g = torch.zeros(len(y), dtype=torch.float64)
        for _ in range(400):
            f = -temperature * ((g - cost) / temperature - math.log(len(y))).logsumexp(1)
            g = -temperature * ((f[:, None] - cost) / temperature - math.log(len(x))).logsumexp(0)
        return f.mean() + g.mean()

    def value(points):
        return solve(real, points) - (solve(points, points) / 2 if debias else 0)

    return value


@pytest.mark.parametrize(("p", "debias"), [(1, False), (2, False), (1, True)])
def test_gradient_is_that_of_finite_differences_at_a_fixed_temperature(p, debias):
    # The temperature is a setting: no gradient flows through the median distance that it is relative to.
    hyper = {"p": p, "debias": debias, "blur": 0.3}
    real, syn = clouds(classes=1, real=6, syn=3, dim=2)
    expected = central_differences(fixed_temperature_loss(real[0], syn[0], **hyper), syn[0], step=1e-5)
    coarse, fine = (loss_and_gradient("sinkhorn", real, syn, scaling=scaling, **hyper)[1][0] for scaling in (0.99, 0.999))
    # The error is of first order in 1 - scaling, its factor varying with the length of the annealing's last step. A tenth of
    # the step leaves about a tenth of the error, and surely less than a half: then what is left is less than what the finer
    # steps have changed. That must be small, or this test would say nothing.
    changed = float((fine - coarse).abs().max())
    assert changed < 0.02 * float(expected.abs().max())
    torch.testing.assert_close(fine, expected, rtol=0, atol=changed)


def relu_clouds():
    """Return features as the extractor's: not negative, many dimensions, distances close to their median."""
    source = generator(0)
    real = torch.randn(3, 64, 256, generator=source).relu()
    return real, (0.9 * torch.randn(3, 10, 256, generator=source) + 0.1).relu()


def test_loss_approaches_exact_transport_from_above_as_the_blur_shrinks():
    real, syn = relu_clouds()
    exact = loss("emd", real, syn)
    # Percent above W1 by blur, as measured once on features of a random network.
    quoted = {0.3: 12.5, 0.1: 11.1, 0.03: 7.6, 0.01: 3.6, 0.003: 1.2, 0.001: 0.4}
    errors = [100 * (loss("sinkhorn", real, syn, blur=blur) / exact - 1) for blur in quoted]
    for error, most in zip(errors, quoted.values(), strict=True):
        assert (error > 0).all()
        assert (error < most).all()
    assert all((later < earlier).all() for earlier, later in itertools.pairwise(errors))


@pytest.mark.parametrize("blur", [0.3, 0.03, 0.01])
def test_loss_exceeds_exact_transport_by_no_more_than_the_entropy(blur):
    # W1 <= loss <= W1 + temperature · KL(P | a ⊗ b) at W1's optimal plan P, whose mutual information is at most log m.
    real, syn = (points.double() for points in relu_clouds())
    exact, value = loss("emd", real, syn), loss("sinkhorn", real, syn, blur=blur, scaling=FINE)
    medians = torch.tensor([median_distance(x, y) for x, y in zip(real, syn, strict=True)], dtype=torch.float64)
    assert (value >= exact).all()
    assert (value <= exact + blur * medians * math.log(10)).all()


def test_the_defaults_are_those_of_the_issue():
    assert METHODS["sinkhorn"].settings().model_dump() == {"p": 1, "blur": 0.01, "scaling": 0.9, "debias": False}


@pytest.mark.parametrize("debias", [False, True])
@pytest.mark.parametrize("p", [1, 2])
def test_where_the_points_are_stored_means_nothing(p, debias):
    # The two sets may be views of one tensor, in either order, may overlap, and may even be the same tensor.
    real, syn = clouds(classes=3, real=6, syn=6)
    settings = {"p": p, "debias": debias}
    for n, m in ((6, 3), (6, 6), (3, 6)):
        value, gradient = loss_and_gradient("sinkhorn", real[:, :n], syn[:, :m], **settings)
        real_first = torch.cat([real[:, :n], syn[:, :m]], 1).requires_grad_().split([n, m], 1)
        syn_first = torch.cat([syn[:, :m], real[:, :n]], 1).requires_grad_().split([m, n], 1)
        for real_view, syn_view in (real_first, syn_first[::-1]):
            of_views = loss("sinkhorn", real_view.detach(), syn_view, **settings)
            torch.testing.assert_close(of_views, value, rtol=1e-12, atol=1e-14)
            (gradient_of_view,) = torch.autograd.grad(of_views.sum(), syn_view)
            torch.testing.assert_close(gradient_of_view, gradient, rtol=1e-9, atol=1e-14)
    copied = loss("sinkhorn", real, real.clone(), **settings)
    assert torch.equal(loss("sinkhorn", real, real, **settings), copied)
    _, gradient = loss_and_gradient("sinkhorn", real, real, **settings)
    points = real.clone().requires_grad_()
    value = loss("sinkhorn", points.detach(), points, **settings)  # one storage, the same address
    assert torch.equal(value, copied)
    assert torch.equal(torch.autograd.grad(value.sum(), points)[0], gradient)


@pytest.mark.parametrize(("debias", "calls"), [(False, 1), (True, 3)])
def test_distances_within_a_set_are_computed_only_where_they_are_needed(debias, calls, monkeypatch):
    shapes, euclidean = [], fast_distances.euclidean

    def counted(x, y):
        shapes.append((x.shape[1], y.shape[1]))
        return euclidean(x, y)

    monkeypatch.setattr(sinkhorn, "euclidean", counted)
    loss("sinkhorn", *clouds(real=7, syn=3), debias=debias)
    assert shapes == [(7, 3), (7, 7), (3, 3)][:calls]


@pytest.mark.parametrize("blur", [1.0, 0.01])
@pytest.mark.parametrize("p", [1, 2])
def test_one_synthetic_point_is_exact_at_any_blur(p, blur):
    # There is one plan only. Half the squared distances for p = 2.
    real, syn = clouds(classes=3, syn=1)
    value, gradient = loss_and_gradient("sinkhorn", real, syn, p=p, blur=blur)
    away = syn - real  # [C, n, d]
    length = away.norm(dim=2)
    torch.testing.assert_close(value, (length**p / p).mean(1), rtol=1e-12, atol=0)
    torch.testing.assert_close(gradient[:, 0], (away * length[:, :, None] ** (p - 2)).mean(1), rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_one_synthetic_point_is_exact_where_most_real_points_lie_on_it(dtype):
    # The median distance is zero: the blur has no unit, yet with one plan only it does not matter. The blur is large, since a
    # small one costs digits: the plan is known to cost/temperature · 2^-24 in float32.
    real = torch.zeros(1, 4, 3, dtype=dtype)
    real[0, 3, 0] = 1.0
    for p in (1, 2):
        value, gradient = loss_and_gradient("sinkhorn", real, torch.zeros(1, 1, 3, dtype=dtype), p=p, blur=1.0)
        torch.testing.assert_close(value, torch.tensor([1 / 4 / p], dtype=dtype), rtol=1e-5, atol=0)
        torch.testing.assert_close(gradient, torch.tensor([[[-1 / 4, 0, 0]]], dtype=dtype), rtol=1e-5, atol=1e-6)


def test_p_2_is_half_the_squared_distance_of_a_translation():
    # W2² = |t|², half of it is the loss, and the entropy adds at most temperature · log n.
    real, _ = clouds(real=8)
    shift = torch.tensor([3.0, 0.0, -4.0, 0.0, 0.0], dtype=torch.float64)
    value = loss("sinkhorn", real, real + shift, p=2, blur=0.01, scaling=FINE)
    medians = torch.tensor([median_distance(x, x + shift) for x in real], dtype=torch.float64)
    assert (value >= 12.5 * (1 - (1 - FINE) ** 2)).all()
    # The bound is reached here, up to rounding.
    assert (value <= 12.5 + (0.01 * medians) ** 2 * math.log(8) + 1e-12).all()


@pytest.mark.parametrize("p", [1, 2])
def test_the_debiased_loss_is_zero_at_equality_and_the_other_is_not(p):
    real, _ = clouds(real=8)
    value, gradient = loss_and_gradient("sinkhorn", real, real, p=p, blur=0.3, debias=True)
    torch.testing.assert_close(value, torch.zeros(2, dtype=torch.float64), rtol=0, atol=1e-14)
    torch.testing.assert_close(gradient, torch.zeros_like(gradient), rtol=0, atol=1e-14)
    assert (loss("sinkhorn", real, real, p=p, blur=0.3) > 0.01).all()


@pytest.mark.parametrize("debias", [False, True])
@pytest.mark.parametrize("p", [1, 2])
@pytest.mark.parametrize("factor", [1e-4, 7.3, 1e5])
def test_scaled_features_scale_the_loss(factor, p, debias):
    # The blur is relative. An absolute one would be a different loss for each layer width.
    real, syn = clouds()
    value = loss("sinkhorn", real, syn, p=p, debias=debias)
    scaled = loss("sinkhorn", factor * real, factor * syn, p=p, debias=debias)
    torch.testing.assert_close(scaled / factor**p, value, rtol=1e-10, atol=0)


def test_the_unit_of_blur_is_the_class_s_own():
    # One class scaled: its loss scales, the other's stays.
    real, syn = clouds(real=64, syn=10)
    factors = torch.tensor([1.0, 50.0], dtype=torch.float64)[:, None, None]
    before, after = loss("sinkhorn", real, syn, blur=0.1), loss("sinkhorn", factors * real, factors * syn, blur=0.1)
    torch.testing.assert_close(after / before, factors.flatten(), rtol=1e-10, atol=0)


@pytest.mark.parametrize(
    ("name", "value", "valid"),
    [
        ("p", 3, "one of 1, 2"),
        ("p", 1.5, "one of 1, 2"),
        ("blur", 0.0, "a number above 0"),
        ("blur", -0.1, "a number above 0"),
        ("blur", float("nan"), "a number above 0"),
        ("blur", "0.1", "a number above 0"),
        ("blur", True, "a number above 0"),
        ("scaling", 1.0, "at least 0.1 and below 1"),
        ("scaling", 0.05, "at least 0.1 and below 1"),
        ("debias", "yes", "true or false"),
    ],
)
def test_a_bad_hyper_parameter_raises_and_says_what_is_valid(name, value, valid):
    with pytest.raises(UsageError, match=f"{name} takes .*{valid}"):
        METHODS["sinkhorn"].objective(**{name: value})
