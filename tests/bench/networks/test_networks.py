"""Each network against the same one built of torch's modules, its weights, and the fast paths against the plain ones."""

from __future__ import annotations

import math

import pytest
import torch
from reference_networks import reference
from torch import Tensor, nn

from bench.errors import UsageError
from bench.networks.base import Architecture
from bench.networks.names import NETWORKS, Entry, check_network, network_label
from bench.networks.network import Network, Weights, fit

VARIANTS = [
    *NETWORKS,
    "vgg11-bn",
    "resnet18-bn",
    *(f"convnet-{part}" for part in ("d1", "w8", "bn", "ln", "gn", "nn", "as", "al", "mp", "np", "ln-np-d2")),
]


def build(name, shape, *, classes=5, width=4, depth=None) -> Network:
    return fit(name, shape, classes=classes, width=width, depth=depth)


def drawn(network, seed=0, dtype=torch.float64) -> Weights:
    """Return random weights whose norms are not the identity, so that they are seen to take part."""
    generator = torch.Generator().manual_seed(seed)
    weights = network.init(generator)
    parameters = [p + 0.1 * torch.rand(p.shape, generator=generator) if p.dim() == 1 else p for p in weights.parameters]
    return Weights(tuple(p.to(dtype) for p in parameters), tuple(b.to(dtype) if b.dim() else b for b in weights.buffers))


def loaded(network, weights) -> nn.Sequential:
    module = reference(network).double().eval()
    with torch.no_grad():
        for theirs, own in zip((*module.parameters(), *module.buffers()), weights.all, strict=True):
            assert theirs.shape == own.shape
            theirs.copy_(own)
    return module


@pytest.mark.parametrize("shape", [(1, 28, 28), (3, 32, 32), (1, 8, 8)], ids=str)
@pytest.mark.parametrize("name", VARIANTS)
def test_a_network_is_the_one_built_of_torchs_modules(name, shape):
    network = build(name, shape)
    weights = drawn(network)
    module = loaded(network, weights)
    images = network.resize(torch.rand(3, *shape, dtype=torch.float64)).requires_grad_()
    assert images.shape[1:] == (network.channels, network.size, network.size)
    features = network.features(images, weights.all)
    assert features.shape == (3, network.features_dim)
    logits = network.logits(images, weights.all)
    torch.testing.assert_close(features, module[:-1](images))
    torch.testing.assert_close(logits, module(images))
    torch.testing.assert_close(network.scores(features, weights.all), logits)
    slopes = [torch.autograd.grad(scores.square().sum(), images)[0] for scores in (logits, module(images))]
    torch.testing.assert_close(*slopes)


@pytest.mark.parametrize("name", NETWORKS)
def test_initial_weights_follow_the_seed_and_torchs_default(name):
    network = build(name, (3, 32, 32), width=64)
    weights, again, other = (network.init(torch.Generator().manual_seed(seed)) for seed in (0, 0, 1))
    assert all(map(torch.equal, weights.all, again.all))
    assert not torch.equal(weights.parameters[0], other.parameters[0])
    torch.manual_seed(0)
    for own, theirs in zip(weights.parameters, reference(network).parameters(), strict=True):
        assert own.shape == theirs.shape
        if theirs.std() > 0:  # not the norms, which start at one and zero
            assert own.abs().max() <= theirs.abs().max() * 1.2
            assert own.std() == pytest.approx(theirs.std().item(), rel=0.5 if own.numel() < 100 else 0.1)
        else:
            assert torch.equal(own, theirs)


def test_the_convnet_draws_weights_and_biases_in_the_order_of_its_layers():
    weights = build("convnet", (3, 8, 8), width=2, depth=1).init(torch.Generator().manual_seed(3)).parameters
    generator = torch.Generator().manual_seed(3)
    bounds = [((2, 3, 3, 3), 27), ((2,), 27), ((5, 32), 32), ((5,), 32)]
    expected = [torch.empty(shape).uniform_(-(fan**-0.5), fan**-0.5, generator=generator) for shape, fan in bounds]
    expected[2:2] = [torch.ones(2), torch.zeros(2)]
    assert all(map(torch.equal, weights, expected))


@pytest.mark.parametrize(
    ("name", "parameters"),
    [
        # ConvNet: convolutions 3x3 with biases, two parameters a channel for each norm, and 10 classes of 2048 features.
        ("convnet", 128 * 9 + 2 * 128 * 128 * 9 + 3 * 3 * 128 + 10 * 2049),
        ("mlp", 128 * 785 + 128 * 129 + 10 * 129),
        ("lenet", 6 * 26 + 16 * 151 + 120 * 401 + 84 * 121 + 10 * 85),  # 61,706, LeCun's own number with full connections
    ],
)
def test_the_number_of_parameters(name, parameters):
    network = build(name, (1, 28, 28), classes=10, width=128)
    assert sum(p.numel() for p in network.module.parameters()) == parameters


def test_resnet18_has_as_many_parameters_as_its_cifar_form():
    # Known of kuangliu/pytorch-cifar, with batch norm and 10 classes.
    assert sum(p.numel() for p in build("resnet18-bn", (3, 32, 32), classes=10).module.parameters()) == 11_173_962


def test_operations_and_largest_maps():
    # By hand, 28x28 images: 2·9·(1·128·32² + 128·128·16² + 128·128·8²)
    network = build("convnet", (1, 28, 28), width=128)
    assert network.flops == 2 * 9 * (128 * 1024 + 16384 * 256 + 16384 * 64)
    assert network.first_map == 128 * 32**2
    mlp = build("mlp", (1, 28, 28))
    assert (mlp.flops, mlp.first_map) == (2 * 128 * (784 + 128), 128)
    assert build("resnet18", (3, 32, 32)).first_map == 64 * 32**2


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
    network = build("convnet", shape, width=128)
    assert (network.depth, network.features_dim, network.resized) == (depth, features, False)


@pytest.mark.parametrize(
    ("name", "shape", "message"),
    [
        ("convnet-d4", (3, 8, 8), "depth 4 does not fit images of 8x8: at most 3"),
        ("convnet", (3, 8, 9), "square"),
        ("lenet", (3, 64, 64), "at most 32x32; these are 64x64"),
        ("convnet-gn-w6", (3, 8, 8), "multiples of 4"),
    ],
)
def test_images_that_do_not_fit_are_refused(name, shape, message):
    with pytest.raises(UsageError, match=message):
        build(name, shape)


def test_smaller_images_are_enlarged_to_the_next_side_taken():
    assert [build("mlp", (1, side, side)).size for side in (8, 28, 30, 32)] == [28, 28, 32, 32]
    images = torch.rand(2, 1, 8, 8)
    expected = nn.functional.interpolate(images, size=(28, 28), mode="bilinear", align_corners=False)
    assert torch.equal(build("mlp", (1, 8, 8)).resize(images), expected)
    assert build("convnet", (1, 8, 8)).resize(images) is images


def test_names_and_labels():
    assert check_network("convnet-ap-bn-d4") == "convnet-d4-bn"
    assert check_network("convnet-in") == "convnet"
    for name in ("convnet-d7", "convnet-w0", "convnet-b4", "mlp-bn", "lenet-"):
        with pytest.raises(UsageError, match=f"unknown variant {name.partition('-')[2]!r} of network"):
            check_network(name)
    with pytest.raises(UsageError, match="did you mean 'lenet'"):
        check_network("lennet")
    with pytest.raises(UsageError, match="depth twice"):
        check_network("convnet-d3-d4")
    assert build("convnet-w8-bn", (1, 28, 28)).label == "ConvNet-3 (w8, bn)"
    assert network_label("convnet-d4") == "ConvNet-4"
    assert network_label("convnet") == "ConvNet"
    assert network_label("vgg11") == "VGG-11"
    named, given = build("convnet-w8-d2", (1, 28, 28)), build("convnet", (1, 28, 28), width=8, depth=2)
    assert (named.width, named.depth) == (given.width, given.depth) == (8, 2)
    assert build("mlp", (1, 28, 28), width=1) == build("mlp", (1, 28, 28), width=2, depth=3)


@pytest.mark.parametrize(("shape", "depth"), [((1, 28, 28), 3), ((3, 8, 8), 2)])
def test_layers_are_the_maps_after_each_relu_and_the_features(shape, depth):
    network = build("convnet", shape)
    weights = drawn(network)
    module = loaded(network, weights)
    images = torch.rand(4, *shape, dtype=torch.float64)
    layers = network.layers(images, weights.all)
    assert len(layers) == depth + 1
    for block, layer in enumerate(layers[:-1]):
        torch.testing.assert_close(layer, module[: 4 * block + 3](images))
    assert torch.equal(layers[-1], network.features(images, weights.all))
    with pytest.raises(UsageError, match="no layers"):
        build("mlp", (1, 28, 28)).function("layers")


@pytest.mark.parametrize("name", ["convnet", "convnet-as", "convnet-bn", "convnet-mp", "convnet-np-d1"])
@pytest.mark.parametrize("shape", [(1, 8, 8), (1, 7, 7), (3, 7, 7)], ids=str)
def test_fast_paths_equal_torchs_modules(name, shape):
    network = build(name, shape)
    weights = drawn(network)
    module = loaded(network, weights)[:-1]
    images = torch.rand(3, *shape, dtype=torch.float64, requires_grad=True)
    expected = module(images)
    torch.testing.assert_close(network.function("features")(images, weights.all), expected)
    fast = network.features(images, weights.all)
    torch.testing.assert_close(fast, expected)
    torch.testing.assert_close(*(torch.autograd.grad(f.square().sum(), images)[0] for f in (fast, expected)))


@pytest.mark.parametrize("name", ["convnet-bn", "vgg11-bn", "resnet18-bn"])
def test_batch_norm_learns_its_statistics_in_training_and_uses_them_in_evaluation(name):
    network = build(name, (3, 32, 32))
    assert network.uses_batch
    assert not build(name.removesuffix("-bn"), (3, 32, 32)).uses_batch
    weights = drawn(network)
    module = loaded(network, weights).train()
    images = torch.rand(4, 3, 32, 32, dtype=torch.float64)
    torch.testing.assert_close(network.logits(images, weights.all, training=True), module(images))
    for own, theirs in zip(weights.buffers, module.buffers(), strict=True):
        torch.testing.assert_close(own, theirs)
    assert weights.buffers[2] == 1  # batches seen
    before = [b.clone() for b in weights.buffers]
    torch.testing.assert_close(network.logits(images, weights.all), module.eval()(images))
    assert all(map(torch.equal, weights.buffers, before))


@pytest.mark.parametrize("name", VARIANTS)
def test_bfloat16_images_give_bfloat16_features_and_float32_gradients(name):
    network = build(name, (1, 28, 28))
    weights = network.init(torch.Generator().manual_seed(0)).trainable()
    images = torch.rand(4, 1, 28, 28).bfloat16()
    features = network.features(images, weights.all, training=True)
    assert features.dtype == torch.bfloat16
    logits = network.logits(images, weights.all, training=True)
    assert logits.dtype == torch.float32
    logits.square().sum().backward()
    assert weights.parameters[0].grad is not None
    assert weights.parameters[0].grad.dtype == torch.float32
    cast = network.cast(weights.all, torch.bfloat16)
    assert torch.equal(network.features(images, cast), network.features(images, weights.all))


@pytest.mark.parametrize("name", ["convnet", "convnet-bn", "lenet"])
def test_several_networks_at_once_are_each_their_own(name):
    network = build(name, (1, 28, 28))
    each = [drawn(network, seed) for seed in (0, 1)]
    together = Weights.stack(each)
    images = torch.rand(2, 3, 1, 28, 28, dtype=torch.float64)
    logits = torch.func.vmap(network.function("logits", training=True))(images, together.all)
    for number, weights in enumerate(each):
        torch.testing.assert_close(logits[number], network.logits(images[number], weights.all, training=True))
        for own, theirs in zip(together.select(number).all, weights.all, strict=True):
            torch.testing.assert_close(own, theirs)


@pytest.mark.parametrize("training", [False, True])
def test_functions_compile_into_one_graph(training):
    network = build("convnet-bn" if training else "convnet", (1, 8, 8))
    weights = drawn(network, dtype=torch.float32)
    images = torch.rand(4, 1, 8, 8)
    for kind in ("features", "features with gradient", "logits", "layers"):
        function = network.function(kind, training=training)
        compiled = torch.compile(function, fullgraph=True, dynamic=False, backend="eager")
        torch.testing.assert_close(compiled(images, weights.all), function(images, weights.all))


class Plain(Architecture):
    """A network that a user might add."""

    sizes = (8,)

    def __init__(self, channels: int, size: int, classes: int, *, width: int) -> None:
        super().__init__()
        self.hidden = nn.Linear(channels * size**2, width)
        self.classifier = nn.Linear(width, classes)

    def features(self, images: Tensor) -> Tensor:
        return self.hidden(images.flatten(1))


def test_a_network_is_added_by_one_file_and_one_line(monkeypatch):
    monkeypatch.setitem(NETWORKS, "plain", Entry(f"{__name__}:Plain", "Plain", {"width": "w1..w9"}))
    network = build("plain-w3", (1, 4, 4))
    assert (network.label, network.width, network.size, network.resized) == ("Plain (w3)", 3, 8, True)
    weights = network.init(torch.Generator().manual_seed(0))
    assert [p.shape for p in weights.parameters] == [(3, 64), (3,), (5, 3), (5,)]
    assert weights.parameters[0].abs().max() <= 1 / math.sqrt(64)
    assert network.logits(network.resize(torch.rand(2, 1, 4, 4)), weights.all).shape == (2, 5)
