"""DM against its formula, loops and closed forms."""

import pytest
import torch
from clouds import central_differences, clouds, loss, loss_and_gradient

from bench.errors import UsageError
from methods import METHODS


def squared_mean_difference(real, syn):
    """Return |mean difference|² of one class, coordinate by coordinate in Python floats."""
    total = 0.0
    for k in range(real.shape[1]):
        mean_real = sum(float(x[k]) for x in real) / len(real)
        mean_syn = sum(float(y[k]) for y in syn) / len(syn)
        total += (mean_real - mean_syn) ** 2
    return total


def linear_mmd(real, syn):
    """Return the biased squared MMD of the linear kernel: mean k(x, x') - 2 mean k(x, y) + mean k(y, y')."""

    def mean_kernel(first, second):
        return sum(float(a @ b) for a in first for b in second) / (len(first) * len(second))

    return mean_kernel(real, real) - 2 * mean_kernel(real, syn) + mean_kernel(syn, syn)


@pytest.mark.parametrize("oracle", [squared_mean_difference, linear_mmd])
def test_loss_is_that_of_loops(oracle):
    real, syn = clouds(classes=3)
    expected = torch.tensor([oracle(x, y) for x, y in zip(real, syn, strict=True)], dtype=torch.float64)
    torch.testing.assert_close(loss("dm", real, syn), expected, rtol=1e-12, atol=0)


def test_gradient_is_the_mean_difference_for_every_row():
    real, syn = clouds(syn=4)
    _, gradient = loss_and_gradient("dm", real, syn)
    row = 2 / 4 * (syn.mean(1) - real.mean(1))  # d|mean difference|²/dy_j, the same for every j
    torch.testing.assert_close(gradient, row[:, None].expand_as(gradient), rtol=1e-12, atol=0)


def test_gradient_is_that_of_finite_differences():
    real, syn = clouds(classes=2, real=7, syn=3, dim=4)
    _, gradient = loss_and_gradient("dm", real, syn)
    expected = central_differences(lambda points: loss("dm", real, points).sum(), syn)
    torch.testing.assert_close(gradient, expected, rtol=1e-7, atol=1e-8)


def test_translation_costs_its_squared_length():
    real, _ = clouds(real=6)
    shift = torch.tensor([3.0, 0.0, -4.0, 0.0, 0.0], dtype=torch.float64)
    torch.testing.assert_close(loss("dm", real, real + shift), torch.full((2,), 25.0, dtype=torch.float64), rtol=1e-12, atol=0)


def test_scaled_features_scale_the_loss_by_the_square():
    real, syn = clouds()
    torch.testing.assert_close(loss("dm", 7.3 * real, 7.3 * syn), 7.3**2 * loss("dm", real, syn), rtol=1e-12, atol=0)


def test_equal_means_of_different_clouds_cost_nothing():
    # DM sees means alone: that is what the other losses are compared with.
    real, _ = clouds(real=6)
    mean = real.mean(1, keepdim=True)
    value, gradient = loss_and_gradient("dm", real, mean - 3 * (real - mean))
    torch.testing.assert_close(value, torch.zeros(2, dtype=torch.float64), rtol=0, atol=1e-28)
    torch.testing.assert_close(gradient, torch.zeros_like(gradient), rtol=0, atol=1e-14)


def test_it_has_no_settings_but_the_learning_rate():
    assert set(METHODS["dm"].settings.model_fields) == {"lr_images", "rate"}
    with pytest.raises(UsageError, match="blur"):
        loss("dm", *clouds(), blur=0.1)
