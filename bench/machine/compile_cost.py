"""Whether compiling a kernel pays: the seconds that it saves in a cell, against those that it takes.

What compiling saves are passes over a network's maps: norm, activation and pooling become one. The seconds saved are therefore
proportional to the images that pass times the size of their largest map. In the ConvNet they depend neither on the width of the
convolutions nor on the size of the images. A pass is forward; forward and back count as three.

The constants below were measured once. A cell's decision follows from its settings alone, never from the clock or from what ran
before, because compiled and eager kernels round differently: the same cell must give the same numbers whatever ran before it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from bench.networks.network import Network

Kind = Literal["features", "features with gradient", "loss", "losses", "layer sums"]

OPERATIONS_ELSEWHERE = 3e12
"""On devices other than a CPU nothing was measured: a kernel is compiled from this number of operations per cell."""


@dataclass(frozen=True)
class _Cost:
    """Seconds saved for each element of the largest map of an image that passes once, and seconds to compile."""

    saved: float
    compiling: float


_CONVNET: dict[Kind, _Cost] = {
    "features": _Cost(2.8e-9, 10),
    "features with gradient": _Cost(2.9e-9, 14),
    "loss": _Cost(3.2e-9, 14),
    "losses": _Cost(3.2e-9, 29),
    "layer sums": _Cost(4.3e-9, 7),
}
"""Of ConvNets, float32, measured on two shared cores of an AMD EPYC (Zen 3, AVX2; torch 2.14).

The seconds saved are half of those on one core: 5.6, 5.7, 6.3, 6.5 and 8.6 ns an element at a width of 128 and 28x28 pixels.
`features` saved 6.5 at a width of 32, and at 8x8 pixels 4.4, `loss` 4.6. The seconds to compile are those with nothing in the
compiler's cache. Starting the compiler took 13 more, once a process, whatever the kernel. With a full cache both together took
4.
"""


_OTHERS: dict[str, tuple[_Cost, _Cost]] = {
    "mlp": (_Cost(0.0, 10), _Cost(0.0, 14)),
    "lenet": (_Cost(0.7e-9, 10), _Cost(0.0, 14)),
    "alexnet": (_Cost(2.8e-9, 10), _Cost(0.0, 14)),
    "vgg11": (_Cost(8.4e-9, 10), _Cost(6.5e-9, 39)),
    "resnet18": (_Cost(49e-9, 22), _Cost(36e-9, 67)),
}
"""Of the other networks, without and with a gradient, measured likewise at 28x28 pixels.

The losses of LeNet and AlexNet were slower when compiled. A ResNet's largest map is one of many of its size.
"""


def _cost_of(kind: Kind, network: Network) -> _Cost:
    forward_only = kind in ("features", "layer sums")
    others = _OTHERS.get(network.name.partition("-")[0])
    return _CONVNET[kind] if others is None else others[0 if forward_only else 1]


@dataclass(frozen=True)
class Estimate:
    """The decision for one kernel of one cell, and what it rests on."""

    compile: bool
    reason: str

    @classmethod
    def of(cls, kind: Kind, network: Network, flops: float, device: str) -> Estimate:
        """Decide.

        Args:
            kind: the kind of kernel.
            network: the architecture.
            flops: about how many floating-point operations the cell will spend in it.
            device: the type of the device, such as `cpu`.

        """
        if device != "cpu":
            enough = flops >= OPERATIONS_ELSEWHERE
            sense = "at least" if enough else "less than"
            return cls(enough, f"{flops:.2g} operations, {sense} {OPERATIONS_ELSEWHERE:.0e}")
        cost = _cost_of(kind, network)
        passes = flops / network.flops
        saved = passes * network.first_map * cost.saved
        if saved > cost.compiling:
            return cls(True, f"saves about {_seconds(saved)} for {_seconds(cost.compiling)}")
        return cls(False, f"compiling would take about {_seconds(cost.compiling)} and save {_seconds(saved)}")


def _seconds(value: float) -> str:
    return f"{value:.0f} s" if value >= 10 else f"{value:.1f} s"
