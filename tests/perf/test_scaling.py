"""How time and memory of each loss, forward and backward, grow with the number of points, classes and dimensions.

One size at a time is changed from a base of 256 real and 10 synthetic points of 2048 dimensions in each of 10 classes; and both
numbers of points together, where exact transport meets its cube. `python -m reports --benchmarks benchmarks.json` fits the
exponents. A call that is long is taken once, after a call of the same shapes that compiles what there is to compile.
"""

from __future__ import annotations

import pytest
from setting import features, loss_and_slope, measure, peak_of

BASE = {"n": 256, "m": 10, "d": 2048, "C": 10}
SWEEPS = {
    "n": (64, 256, 1024, 2048),
    "m": (1, 3, 10, 30, 50),
    "d": (128, 512, 2048),
    "C": (10, 30, 100),
}
SQUARES = (64, 256, 1024)
LOSSES = ("dm", "kr", "sinkhorn", "emd")
LONG = 4e11
"""A call of KR with more floating-point operations than this, some seconds, is taken once."""


def _sizes():
    found = [BASE | {axis: value} for axis, values in SWEEPS.items() for value in values]
    found += [BASE | {"n": value, "m": value} for value in SQUARES]
    return list({tuple(sizes.values()): sizes for sizes in found}.values())


@pytest.mark.benchmark(group="scaling")
@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("sizes", _sizes(), ids=lambda sizes: "-".join(f"{key}{value}" for key, value in sizes.items()))
def test_loss(benchmark, name, sizes):
    real = features(sizes["C"], sizes["n"], sizes["d"])
    syn = features(sizes["C"], sizes["m"], sizes["d"], shift=0.1, seed=1)
    flops = 4 * 100 * 128 * sizes["C"] * (sizes["n"] + sizes["m"]) * sizes["d"] if name == "kr" else None
    brief = {"steps": 2} if name == "kr" else {}  # the same memory, and the same kernels
    peak = peak_of(lambda: loss_and_slope(name, real, syn, **brief))
    about = {"kind": "fast", "loss": name, "base": BASE, "sizes": sizes, "peak_mib": peak} | ({"flops": flops} if flops else {})
    long = flops is not None and flops > LONG
    measure(benchmark, loss_and_slope, name, real, syn, rounds=1 if long else 3, warm_up=0 if name == "kr" else 1, **about)
