"""The registry of networks: one file a network, one line here. It imports no torch; `bench.networks.network` makes them.

A name may carry variants of its network, each after a hyphen and in any order: `convnet-d4`, `convnet-w64-bn`. To add a
network, write a subclass of `bench.networks.base.Architecture` in a file of its own and add its line to `NETWORKS`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from bench.errors import UsageError, unknown

Option = int | str
"""The value of a variant: `d4` gives the number 4, `bn` gives itself."""


@dataclass(frozen=True)
class Entry:
    """A line of the registry.

    `location` is the class, as `"module:Class"`. `label` names the network in tables; `{depth}` in it stands for the depth.
    `variants` maps keyword arguments of the class to what a name may choose for them: numbers as `"d1..d6"`, or words as
    `"in|bn"`, the first being the default. Arguments called `width` and `depth` are otherwise set by `--set network.width`
    and `network.depth`.
    """

    location: str
    label: str
    variants: Mapping[str, str] = field(default_factory=dict)


_CONVNET_VARIANTS = {
    "depth": "d1..d6",
    "width": "w1..w1024",
    "norm": "in|bn|ln|gn|nn",
    "activation": "ar|as|al",
    "pooling": "ap|mp|np",
}

NETWORKS: dict[str, Entry] = {
    "convnet": Entry("bench.networks.convnet:ConvNet", "ConvNet-{depth}", _CONVNET_VARIANTS),
    "mlp": Entry("bench.networks.mlp:MLP", "MLP"),
    "lenet": Entry("bench.networks.lenet:LeNet", "LeNet"),
    "alexnet": Entry("bench.networks.alexnet:AlexNet", "AlexNet"),
    "vgg11": Entry("bench.networks.vgg:VGG11", "VGG-11", {"norm": "in|bn"}),
    "resnet18": Entry("bench.networks.resnet:ResNet18", "ResNet-18", {"norm": "in|bn"}),
}
"""The networks by name."""


def parse_network(name: str) -> tuple[Entry, dict[str, Option]]:
    """Return the registry's entry for a network's name, and the arguments that the variants in the name set.

    `convnet-bn-d4` gives the ConvNet's entry and `{"norm": "bn", "depth": 4}`. Raise `UsageError` if the network or a
    variant is unknown, or if two variants set the same argument.
    """
    base, *chosen = name.split("-")
    if base not in NETWORKS:
        raise unknown("network", base, NETWORKS)
    entry = NETWORKS[base]
    options: dict[str, Option] = {}
    for variant in chosen:
        argument, value = _read_variant(base, variant, entry.variants)
        if argument in options:
            raise UsageError(f"network {name!r} sets its {argument} twice")
        options[argument] = value
    return entry, options


def check_network(name: str) -> str:
    """Return a network's name with its variants in the registry's order and without defaults: one network has one name.

    `convnet-ap-bn-d4` becomes `convnet-d4-bn`. Raise `UsageError` as `parse_network` does.
    """
    entry, options = parse_network(name)
    texts = [name.partition("-")[0]]
    for argument, choices in entry.variants.items():
        value = options.get(argument)
        if isinstance(value, int):
            texts.append(f"{choices[0]}{value}")
        elif value is not None and value != choices.split("|")[0]:
            texts.append(value)
    return "-".join(texts)


def network_label(name: str, depth: int = 0) -> str:
    """Return a network's name as tables show it, such as `ConvNet-3 (w64, bn)`.

    `depth` is that of the network, or 0 if it has none or only its name says it.
    """
    variants = check_network(name).split("-")[1:]
    entry, options = parse_network(name)
    depth = depth or int(options.get("depth", 0))
    if "{depth}" in entry.label and "depth" in options:
        variants.remove(f"d{options['depth']}")
    label = entry.label.replace("-{depth}", f"-{depth}" if depth else "")
    return f"{label} ({', '.join(variants)})" if variants else label


def _read_variant(base: str, variant: str, variants: Mapping[str, str]) -> tuple[str, Option]:
    """Return the argument that a variant of a name sets, and its value."""
    for argument, choices in variants.items():
        if ".." not in choices:
            if variant in choices.split("|"):
                return argument, variant
        elif variant[:1] == choices[0] and variant[1:].isdecimal():
            first, last = (int(bound[1:]) for bound in choices.split(".."))
            if first <= int(variant[1:]) <= last:
                return argument, int(variant[1:])
    valid = ", ".join(choices.replace("|", ", ") for choices in variants.values()) or "none"
    raise UsageError(f"unknown variant {variant!r} of network {base!r}; valid: {valid}")
