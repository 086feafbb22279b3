"""The functional ConvNet against the field's, built of torch's modules."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from bench.networks import ConvNet


def modules(network: ConvNet) -> nn.Sequential:
    """Return the same network as the papers' codes write it."""
    layers: list[nn.Module] = []
    channels = network.channels
    for block in range(network.depth):
        padding = 3 if network.channels == 1 and block == 0 else 1
        layers += [nn.Conv2d(channels, network.width, 3, padding=padding), nn.GroupNorm(network.width, network.width)]
        layers += [nn.ReLU(), nn.AvgPool2d(2)]
        channels = network.width
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(network.features_dim, network.classes))


@pytest.mark.parametrize("shape", [(1, 8, 8), (1, 28, 28), (3, 32, 32), (3, 8, 8)])
def test_logits_and_gradients_are_those_of_modules(shape):
    network = ConvNet.fit(shape, classes=5, width=6, depth=None)
    parameters = [p.double() for p in network.init(torch.Generator().manual_seed(0))]
    reference = modules(network).double()
    with torch.no_grad():
        for own, theirs in zip(parameters, reference.parameters(), strict=True):
            theirs.copy_(own)
    images = torch.rand(4, *shape, dtype=torch.float64, requires_grad=True)
    torch.testing.assert_close(network.logits(images, parameters), reference(images))
    features = reference[:-1](images)
    torch.testing.assert_close(network.features(images, parameters), features)
    slopes = [
        torch.autograd.grad(net.square().sum(), images)[0] for net in (network.logits(images, parameters), reference(images))
    ]
    torch.testing.assert_close(*slopes)


@pytest.mark.parametrize(
    ("shape", "depth", "features"),
    [
        ((1, 28, 28), 3, 2048),
        ((3, 32, 32), 3, 2048),
        ((3, 28, 28), 3, 1152),
        ((3, 64, 64), 4, 2048),
        ((1, 8, 8), 2, 1152),
        ((3, 8, 8), 2, 512),
    ],
)
def test_depth_follows_the_image_size(shape, depth, features):
    network = ConvNet.fit(shape, classes=10, width=128, depth=None)
    assert (network.depth, network.features_dim) == (depth, features)
    parameters = network.init(torch.Generator().manual_seed(0))
    assert network.features(torch.zeros(2, *shape), parameters).shape == (2, features)


def test_what_does_not_fit_raises():
    with pytest.raises(ValueError, match="at most 3"):
        ConvNet.fit((3, 8, 8), classes=10, width=4, depth=4)
    with pytest.raises(ValueError, match="square"):
        ConvNet.fit((3, 8, 9), classes=10, width=4, depth=None)


def test_parameters_are_distributed_as_torchs_default():
    network = ConvNet.fit((3, 32, 32), classes=10, width=64, depth=None)
    drawn = network.init(torch.Generator().manual_seed(0))
    torch.manual_seed(0)
    theirs = list(modules(network).parameters())
    for own, other in zip(drawn, theirs, strict=True):
        assert own.shape == other.shape
        if other.std() > 0:  # not the norms, which start at one and zero
            assert own.abs().max() <= other.abs().max() * 1.2
            assert own.std() == pytest.approx(other.std().item(), rel=0.35 if own.numel() < 100 else 0.1)
        else:
            assert torch.equal(own, other)


def test_the_flops_of_the_usual_network():
    # By hand, 28x28 images: 2·9·(1·128·32² + 128·128·16² + 128·128·8²)
    assert ConvNet.fit((1, 28, 28), classes=10, width=128, depth=None).flops == 2 * 9 * (128 * 1024 + 16384 * 256 + 16384 * 64)


@pytest.mark.parametrize(("shape", "depth"), [((1, 28, 28), 3), ((3, 8, 8), 2)])
def test_layers_are_the_maps_after_each_relu_and_the_features(shape, depth):
    network = ConvNet.fit(shape, classes=5, width=6, depth=None)
    parameters = [p.double() for p in network.init(torch.Generator().manual_seed(0))]
    reference = modules(network).double()
    with torch.no_grad():
        for own, theirs in zip(parameters, reference.parameters(), strict=True):
            theirs.copy_(own)
    images = torch.rand(4, *shape, dtype=torch.float64)
    layers = network.layers(images, parameters)
    assert len(layers) == depth + 1
    for block, layer in enumerate(layers[:-1]):
        torch.testing.assert_close(layer, reference[: 4 * block + 3](images))
    assert torch.equal(layers[-1], network.features(images, parameters))
