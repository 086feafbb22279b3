"""How time and memory of each loss, forward and backward, grow with the number of points, classes and dimensions.

One size at a time is changed from a base of 256 real and 10 synthetic points of 2048 dimensions in each of 10 classes; and both
numbers of points together, where exact transport meets its cube. `python -m reports --benchmarks benchmarks.json` fits the
exponents. Calls of the same shapes come first, which compile what there is to compile; a long call is then taken once.
"""

from __future__ import annotations

import time

import pytest
from setting import features, loss_and_slope, measure, peak_of

from bench.cells.method import FeatureMatching
from methods import METHODS

BASE = {"n": 256, "m": 10, "d": 2048, "C": 10}
SWEEPS = {
    "n": (64, 256, 1024, 2048),
    "m": (1, 3, 10, 30, 50),
    "d": (128, 512, 2048),
    "C": (10, 30, 100),
}
SQUARES = (64, 128, 256, 512)
LOSSES = tuple(name for name, method in METHODS.items() if isinstance(method, FeatureMatching))
LONG_SECONDS = 1.0
"""A call that takes longer is taken once."""


def _sizes():
    sizes = [BASE | {axis: value} for axis, values in SWEEPS.items() for value in values]
    sizes += [BASE | {"n": value, "m": value} for value in SQUARES]
    return list({tuple(case.values()): case for case in sizes}.values())


@pytest.mark.benchmark(group="scaling")
@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("sizes", _sizes(), ids=lambda sizes: "-".join(f"{key}{value}" for key, value in sizes.items()))
def test_loss(benchmark, name, sizes):
    real = features(sizes["C"], sizes["n"], sizes["d"])
    syn = features(sizes["C"], sizes["m"], sizes["d"], shift=0.1, seed=1)
    about = {"kind": "fast", "loss": name, "base": BASE, "sizes": sizes}
    if name == "kr":
        about["flops"] = 4 * 100 * 128 * sizes["C"] * (sizes["n"] + sizes["m"]) * sizes["d"]
    brief, share = ({"steps": 2}, 2 / 100) if name == "kr" else ({}, 1)  # the same kernels, and the same memory
    loss_and_slope(name, real, syn, **brief)
    begin = time.perf_counter()
    loss_and_slope(name, real, syn, **brief)
    long = (time.perf_counter() - begin) / share > LONG_SECONDS
    about["peak_mib"] = peak_of(lambda: loss_and_slope(name, real, syn, **brief))
    measure(benchmark, loss_and_slope, name, real, syn, rounds=1 if long else 3, warm_up=0 if long else 1, **about)
