"""Speed is measured where it is asked for, by `tox -e bench`; else only the agreement tests of this folder run."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from bench.machine.compute import Compute, resolve_precision
from bench.machine.hardware import hardware

HERE = Path(__file__).parent


def pytest_collection_modifyitems(config, items):
    if config.getoption("--benchmark-enable"):
        return
    for item in items:
        if HERE in item.path.parents and "benchmark" in item.fixturenames:
            item.add_marker(pytest.mark.skip(reason="a measurement, not a test: run it with `tox -e bench`"))


@pytest.fixture(scope="session", autouse=True)
def as_in_a_cell():
    """Set the allocator up as every run of the suite does, whatever is measured first."""
    Compute.choose(device="cpu")


def pytest_benchmark_update_machine_info(config, machine_info):
    cpu = torch.device("cpu")
    machine_info |= hardware(cpu) | {"threads": torch.get_num_threads(), "torch": torch.__version__}
    machine_info["precision"] = resolve_precision("auto", cpu)
