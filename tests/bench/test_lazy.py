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
    modules = "bench.cells.settings, bench.cells.protocol, bench.cells.method, bench.cells.grid, bench.records.record, bench.command.listing, methods, datasets, run_all"
    assert run(f"import sys, {modules}; print([name for name in {HEAVY} if name in sys.modules])") == "[]"


def test_a_stand_in_loads_its_module_at_the_first_attribute():
    code = """
import sys
from bench.lazy import PIL, matching, safetensors, torch
assert not {"torch", "PIL", "safetensors", "bench.loops.matching"} & set(sys.modules)
assert torch.ones(2).tolist() == [1, 1]
assert "torch" in sys.modules and "bench.loops.matching" not in sys.modules
assert matching.match is sys.modules["bench.loops.matching"].match
assert "PIL" not in sys.modules
# Submodules that importing the library does not load.
assert PIL.Image.new("L", (2, 2)).size == (2, 2)
assert safetensors.torch.save({"x": torch.ones(1)})
print("done")
"""
    assert run(code) == "done"


def test_the_value_is_the_module_s_own():
    from bench.loops import matching

    assert bench.lazy.matching.match is matching.match
    assert isinstance(bench.lazy.torch.zeros(1), sys.modules["torch"].Tensor)


def test_an_unknown_module_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no module 'tensorflow'"):
        bench.lazy.tensorflow
    with pytest.raises(ImportError, match="tensorflow"):
        from bench.lazy import tensorflow  # noqa: F401


def test_an_unknown_attribute_of_a_module_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no_such_thing"):
        bench.lazy.torch.no_such_thing
    assert not hasattr(bench.lazy.torch, "no_such_thing")
