"""The norm, activation and pooling that are computed together: values, gradients and their gradients, against torch's own."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch.autograd import gradcheck, gradgradcheck

from bench.networks import fast
from bench.networks.fast import IDENTITY, LEAKY_RELU, RELU, SIGMOID, GroupNorm, LayerNorm, channels_last

CHANNELS = 4
ACTIVATIONS = {"none": IDENTITY, "relu": RELU, "leaky": LEAKY_RELU, "sigmoid": SIGMOID}
PLAIN = {"none": lambda x: x, "relu": F.relu, "leaky": lambda x: F.leaky_relu(x, 0.01), "sigmoid": torch.sigmoid}


def norm(groups, dtype=torch.float64):
    module = GroupNorm(groups, CHANNELS).to(dtype)
    generator = torch.Generator().manual_seed(1)
    for parameter in module.parameters():
        torch.nn.init.normal_(parameter, 0.5, 1, generator=generator)
    return module


def maps(side, images=3, dtype=torch.float64):
    drawn = torch.randn(images, CHANNELS, side, side, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    return channels_last(drawn.to(dtype)).requires_grad_()


def by_torch(module, x, activation, averaged):
    values = PLAIN[activation](F.group_norm(x, module.num_groups, module.weight, module.bias))
    return F.avg_pool2d(values, 2) if averaged else values


@pytest.fixture(autouse=True)
def _some_maps_at_a_time(monkeypatch):
    monkeypatch.setattr(fast, "_CACHED_BYTES", 2 * CHANNELS * 4 * 4 * 8)


@pytest.mark.parametrize("averaged", [False, True])
@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("groups", [1, 2, CHANNELS])
@pytest.mark.parametrize("side", [4, 5])
def test_values_and_gradients_are_torchs(side, groups, activation, averaged):
    module, x = norm(groups), maps(side)
    values = module(x, ACTIVATIONS[activation], averaged=averaged)
    expected = by_torch(module, x, activation, averaged)
    torch.testing.assert_close(values, expected)
    gradient = torch.randn(values.shape, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    inputs = (x, module.weight, module.bias)
    torch.testing.assert_close(
        torch.autograd.grad(values, inputs, gradient, retain_graph=True), torch.autograd.grad(expected, inputs, gradient)
    )


@pytest.mark.parametrize("averaged", [False, True])
@pytest.mark.parametrize("groups", [2, CHANNELS])
def test_gradients_and_their_gradients_are_those_of_finite_differences(groups, averaged):
    module, x = norm(groups), maps(3, images=2)

    def function(x, scale, shift):
        return torch.func.functional_call(module, {"weight": scale, "bias": shift}, (x, SIGMOID), {"averaged": averaged})

    inputs = (x, *(p.detach().requires_grad_() for p in module.parameters()))
    assert gradcheck(function, inputs)
    assert gradgradcheck(function, inputs)


@pytest.mark.parametrize(("dtype", "most"), [(torch.float32, 2e-6), (torch.bfloat16, 0.02)])
def test_rounding_is_that_of_the_dtype(dtype, most):
    x, module = maps(16, images=4), norm(CHANNELS)
    exact = by_torch(module, x, "none", False)
    rounded = norm(CHANNELS, dtype)(x.to(dtype))
    assert rounded.dtype == dtype
    assert ((rounded - exact).abs().max() / exact.abs().max()).item() < most


def test_a_constant_map_is_the_shift():
    module, x = norm(CHANNELS, torch.float32), torch.full((2, CHANNELS, 4, 4), 100.0)
    assert torch.allclose(module(x), module.bias[:, None, None].expand_as(x), atol=0.05)


def test_layer_norm_is_torchs_and_leaves_maps_channels_last():
    module, x = LayerNorm([CHANNELS, 4, 4]).double(), maps(4)
    for parameter in module.parameters():
        torch.nn.init.normal_(parameter)
    normalised = module(x)
    torch.testing.assert_close(normalised, torch.nn.LayerNorm.forward(module, x))
    assert normalised.is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize("channels", [1, 3])
def test_maps_of_channels_last_images_are_channels_last(channels):
    images = channels_last(torch.rand(2, channels, 8, 8))
    assert F.conv2d(images, torch.rand(4, channels, 3, 3)).is_contiguous(memory_format=torch.channels_last)
