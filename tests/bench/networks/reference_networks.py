"""The registry's networks once more, as sequences of torch's modules: what the suite's own are compared with."""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import nn

from bench.networks.network import Network


class Residual(nn.Module):
    def __init__(self, inputs, width, stride, norm):
        super().__init__()
        self.main = nn.Sequential(
            *(nn.Conv2d(inputs, width, 3, stride, 1, bias=False), norm(width), nn.ReLU()),
            *(nn.Conv2d(width, width, 3, 1, 1, bias=False), norm(width)),
        )
        changed = [nn.Conv2d(inputs, width, 1, stride, bias=False), norm(width)] if inputs != width else []
        self.shortcut = nn.Sequential(*changed)

    def forward(self, x):
        return torch.relu(self.main(x) + self.shortcut(x))


def conv_layers(network, variants) -> list[nn.Module]:
    """Return a ConvNet as the papers' codes write it."""
    layers: list[nn.Module] = []
    channels, side = network.channels, network.size + (4 if network.channels == 1 else 0)
    norms = {
        "bn": lambda: nn.BatchNorm2d(network.width),
        "ln": lambda: nn.LayerNorm([network.width, side, side]),
        "gn": lambda: nn.GroupNorm(4, network.width),
        "nn": nn.Identity,
    }
    norm = next((norms[v] for v in variants if v in norms), lambda: nn.GroupNorm(network.width, network.width))
    activation = nn.Sigmoid if "as" in variants else nn.LeakyReLU if "al" in variants else nn.ReLU
    pooling = nn.MaxPool2d if "mp" in variants else nn.AvgPool2d
    for block in range(network.depth):
        padding = 3 if network.channels == 1 and block == 0 else 1
        layers += [nn.Conv2d(channels, network.width, 3, padding=padding), norm(), activation()]
        if "np" not in variants:
            layers.append(pooling(2))
            side //= 2
        channels = network.width
    return [*layers, nn.Flatten(), nn.Linear(network.width * side**2, network.classes)]


def reference(network: Network) -> nn.Sequential:
    """Return the same network written down independently; the last module is the classifier."""
    base, *variants = network.name.split("-")
    c, pad, classes = network.channels, 2 if network.size == 28 else 0, network.classes

    def norm(width):
        return nn.BatchNorm2d(width) if "bn" in variants else nn.GroupNorm(width, width)

    if base == "convnet":
        return nn.Sequential(*conv_layers(network, variants))
    if base == "mlp":
        units = [c * network.size**2, 128, 128]
        hidden = [layer for ins, outs in pairwise(units) for layer in (nn.Linear(ins, outs), nn.ReLU())]
        return nn.Sequential(nn.Flatten(), *hidden, nn.Linear(128, classes))
    if base == "lenet":
        convs = [nn.Conv2d(c, 6, 5, padding=pad), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(6, 16, 5), nn.ReLU(), nn.MaxPool2d(2)]
        linear = [nn.Linear(400, 120), nn.ReLU(), nn.Linear(120, 84), nn.ReLU(), nn.Linear(84, classes)]
        return nn.Sequential(*convs, nn.Flatten(), *linear)
    layers: list[nn.Module] = []
    if base == "alexnet":
        for outs, kernel, padding, pooled in (
            (128, 5, 2 + pad, 1),
            (192, 5, 2, 1),
            (256, 3, 1, 0),
            (192, 3, 1, 0),
            (192, 3, 1, 1),
        ):
            layers += [nn.Conv2d(c, outs, kernel, padding=padding), nn.ReLU(), *[nn.MaxPool2d(2)] * pooled]
            c = outs
        return nn.Sequential(*layers, nn.Flatten(), nn.Linear(192 * 16, classes))
    if base == "vgg11":
        for item in (64, "M", 128, "M", 256, 256, "M", 512, 512, "M", 512, 512, "M"):
            if item == "M":
                layers.append(nn.MaxPool2d(2))
                continue
            layers += [nn.Conv2d(c, item, 3, padding=1 + (0 if layers else pad)), norm(item), nn.ReLU()]
            c = item
        return nn.Sequential(*layers, nn.Flatten(), nn.Linear(512, classes))
    assert base == "resnet18"
    layers, c = [nn.Conv2d(c, 64, 3, padding=1, bias=False), norm(64), nn.ReLU()], 64
    for outs in (64, 64, 128, 128, 256, 256, 512, 512):
        layers.append(Residual(c, outs, 1 if outs == c else 2, norm))
        c = outs
    return nn.Sequential(*layers, nn.AvgPool2d(4), nn.Flatten(), nn.Linear(512, classes))
