"""Whether compiling pays: a function of the cell alone, in the cells that the profiles have."""

from __future__ import annotations

import re

import pytest
import torch

from bench.machine.compile_cost import Estimate
from bench.machine.compute import Compute
from bench.machine.kernels import function_of
from bench.networks.network import fit

KINDS = ("features", "features with gradient", "loss", "losses", "layer sums")
CONVNET = fit("convnet", (1, 28, 28), classes=10, width=128, depth=None)
DIGITS = fit("convnet", (1, 8, 8), classes=10, width=128, depth=None)


def estimate(kind, network, images, *, device="cpu"):
    """Return the decision for so many images, forward and back where there is a gradient."""
    passes = images if kind in ("features", "layer sums") else 3 * images
    return Estimate.of(kind, network, float(passes) * network.flops, device)


CELLS = [
    # A short run of large batches: 12 iterations of 256 real images of 10 classes.
    ("features", CONVNET, 12 * 256 * 10, True),
    # The profile `cpu` on FashionMNIST at IPC 1: 150 iterations, 64 real images; 5 networks trained for 300 epochs.
    ("features", CONVNET, 150 * 64 * 10, True),
    ("features with gradient", CONVNET, 150 * 10, False),
    ("loss", CONVNET, 5 * 300 * 10, True),
    # The profile `quick` on digits: 60 iterations, 64 real images; 3 networks trained for 100 epochs.
    ("features", DIGITS, 60 * 64 * 10, False),
    ("features with gradient", DIGITS, 60 * 10, False),
    ("loss", DIGITS, 3 * 100 * 10, False),
]


@pytest.mark.parametrize(("kind", "network", "images", "pays"), CELLS)
def test_what_pays_in_the_usual_cells(kind, network, images, pays):
    assert estimate(kind, network, images).compile is pays


@pytest.mark.parametrize("kind", KINDS)
def test_much_work_is_compiled_little_is_not_and_the_seconds_saved_grow_with_it(kind):
    few, many, more = (estimate(kind, CONVNET, images) for images in (10, 10**6, 2 * 10**6))
    assert (few.compile, many.compile) == (False, True)
    saved = [float(re.match(r"saves about (\d+) s for", made.reason)[1]) for made in (many, more)]
    assert saved[1] == pytest.approx(2 * saved[0], abs=2)


@pytest.mark.parametrize("name", ["convnet-bn", "mlp", "lenet", "alexnet", "vgg11", "resnet18"])
@pytest.mark.parametrize("kind", KINDS)
def test_every_network_and_kind_has_an_estimate(kind, name):
    network = fit(name, (1, 28, 28), classes=10, width=128, depth=None)
    assert not estimate(kind, network, 1).compile


def test_the_reason_gives_both_numbers_and_they_bear_out_the_decision():
    seconds = r"([\d.]+) s"
    for images in (10, 1000, 10**4, 10**5, 10**6):
        made = estimate("features", CONVNET, images)
        if made.compile:
            saved, cost = re.fullmatch(f"saves about {seconds} for {seconds}", made.reason).groups()
        else:
            cost, saved = re.fullmatch(f"compiling would take about {seconds} and save {seconds}", made.reason).groups()
        assert (float(saved) > float(cost)) is made.compile


def test_the_decision_does_not_depend_on_what_ran_before():
    compute = Compute(torch.device("cpu"), "fp32", 1)
    work = [float(images) * CONVNET.flops for images in (10, 10**6, 1000, 10**5)]
    forward = {flops: compute.kernel("features", CONVNET, flops).estimate for flops in work}
    function_of.cache_clear()
    backward = {flops: compute.kernel("features", CONVNET, flops).estimate for flops in reversed(work)}
    assert forward == backward
    # Nor on the number of threads or the precision.
    others = Compute(torch.device("cpu"), "bf16", 7)
    assert {flops: others.kernel("features", CONVNET, flops).estimate for flops in work} == forward


def test_other_devices_go_by_the_number_of_operations():
    assert Estimate.of("loss", CONVNET, 2.9e12, "cuda") == Estimate(False, "2.9e+12 operations, less than 3e+12")
    assert Estimate.of("loss", CONVNET, 3e12, "cuda") == Estimate(True, "3e+12 operations, at least 3e+12")
