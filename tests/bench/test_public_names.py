"""The names that `bench` offers to files outside the engine."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

import bench

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize("name", bench.__all__)
def test_a_public_name_is_what_its_module_defines(name):
    value = getattr(bench, name)
    module, _, attribute = bench._LOCATIONS[name].partition(":")
    assert value is getattr(sys.modules[module], attribute)
    assert name == attribute
    assert name in dir(bench)


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="module 'bench' has no attribute 'Metod'"):
        bench.Metod
    with pytest.raises(ImportError, match="cannot import name 'Metod'"):
        from bench import Metod  # noqa: F401


def test_names_are_loaded_at_their_first_use():
    code = "import sys, bench; bench.FeatureLoss; bench.Method; print('torch' in sys.modules, 'bench.loops' in sys.modules)"
    process = subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True, capture_output=True, text=True)
    assert process.stdout.split() == ["False", "False"]


def test_the_head_of_bench_names_every_package():
    packages = {path.parent.name for path in (ROOT / "bench").glob("*/__init__.py")}
    modules = {path.stem for path in (ROOT / "bench").glob("*.py")} - {"__init__"}
    head = bench.__doc__
    assert packages == {name for line in re.findall(r"(?m)^    ([a-z, ]+?)  ", head) for name in line.split(", ")}
    assert modules == set(re.findall(r"`(\w+)`", head.partition("Beside them are")[2].partition(".")[0]))
