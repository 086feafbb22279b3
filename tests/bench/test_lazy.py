"""Heavy libraries load at their first use, so that a list of options or an answer to a typing error comes at once."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import bench.lazy

ROOT = Path(__file__).resolve().parents[2]
HEAVY = ("torch", "torchvision", "pandas", "sklearn", "scipy", "matplotlib", "geomloss", "ot", "pyarrow", "PIL")


def run(code: str) -> str:
    """Return what a fresh interpreter prints."""
    return subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True).stdout.strip()


def test_what_is_imported_before_work_starts_imports_nothing_heavy():
    cells = "bench.cells.settings, bench.cells.protocol, bench.cells.method, bench.cells.grid, bench.records.record"
    modules = f"{cells}, bench.command.listing, bench.running.suite, methods, datasets, run_all"
    assert run(f"import sys, {modules}; print([name for name in {HEAVY} if name in sys.modules])") == "[]"


def test_a_stand_in_loads_its_module_at_the_first_attribute():
    code = """
import sys
from bench.lazy import PIL, safetensors, torch
assert not {"torch", "PIL", "safetensors"} & set(sys.modules)
assert torch.ones(2).tolist() == [1, 1]
assert "torch" in sys.modules and "PIL" not in sys.modules
# Submodules that importing the library does not load.
assert PIL.Image.new("L", (2, 2)).size == (2, 2)
assert safetensors.torch.save({"x": torch.ones(1)})
print("done")
"""
    assert run(code) == "done"


def test_the_value_is_the_module_s_own():
    import torch

    assert bench.lazy.torch.zeros is torch.zeros
    assert isinstance(bench.lazy.torch.zeros(1), torch.Tensor)


def test_an_unknown_module_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no module 'tensorflow'"):
        bench.lazy.tensorflow
    with pytest.raises(ImportError, match="tensorflow"):
        from bench.lazy import tensorflow  # noqa: F401


def test_a_registry_imports_an_entry_when_it_is_first_asked_for():
    code = """
import sys
from bench.lazy import Registry
registry = Registry({"colour": "colorsys:rgb_to_hls", "missing": "colorsys:nothing"})
assert list(registry) == ["colour", "missing"] and len(registry) == 2 and "colour" in registry and "torch" not in registry
assert "colorsys" not in sys.modules
assert registry["colour"] is sys.modules["colorsys"].rgb_to_hls is registry["colour"]
for name, error in (("missing", AttributeError), ("torch", KeyError)):
    try:
        registry[name]
    except error:
        print(name)
"""
    assert run(code) == "missing\ntorch"


def test_a_function_with_a_gradient_of_its_own_is_differentiable():
    import torch

    def forward(ctx, x, factor):
        ctx.factor = factor
        return x * factor

    double = bench.lazy.autograd_function(forward, lambda ctx, gradient: (gradient * ctx.factor * 10, None))
    x = torch.ones(3, requires_grad=True)
    double(x, 2.0).sum().backward()
    assert x.grad.tolist() == [20.0] * 3


def test_an_unknown_attribute_of_a_module_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no_such_thing"):
        bench.lazy.torch.no_such_thing
    assert not hasattr(bench.lazy.torch, "no_such_thing")
