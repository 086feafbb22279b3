"""Memory stays bounded: a matching iteration of CIFAR-100's size, 100 classes x 256 real images and 10 synthetic ones each."""

from __future__ import annotations

import pytest
from setting import CPU, Shape, measure, task

from bench.cells.method import FeatureMatching
from bench.loops.matching import match
from bench.machine.timing import peak_memory_mib, reset_peak_memory
from methods import METHODS

LIMIT_MIB = 6 * 1024
LOSSES = [name for name, method in METHODS.items() if isinstance(method, FeatureMatching)]


@pytest.mark.benchmark(group="memory")
@pytest.mark.parametrize("name", LOSSES)
def test_an_iteration_of_cifar100_s_size_stays_under_six_gib(benchmark, name):
    given = task(Shape(classes=100, size=32, channels=3), loss=METHODS[name].settings())
    reset_peak_memory(CPU)

    def iteration():
        return match(given)

    measure(benchmark, iteration, rounds=1, warm_up=0, kind="fast", loss=METHODS[name].settings())
    peak = peak_memory_mib(CPU)  # of the whole process, libraries and compiler included
    benchmark.extra_info["peak_mib"] = peak
    benchmark.extra_info["limit_mib"] = LIMIT_MIB
    assert peak < LIMIT_MIB
