"""Chunks, precisions and compiled kernels give the same answer."""

from __future__ import annotations

import pytest
import torch

import bench.compute
from bench.compute import Compute, Kernel
from bench.errors import UsageError
from bench.networks import ConvNet

NETWORK = ConvNet.fit((1, 28, 28), classes=10, width=16, depth=None)
PARAMETERS = NETWORK.init(torch.Generator().manual_seed(0))
IMAGES = torch.randn(37, 1, 28, 28, generator=torch.Generator().manual_seed(1))


def relative(found: torch.Tensor, exact: torch.Tensor) -> float:
    return float((found.double() - exact).norm() / exact.norm())


def exact() -> torch.Tensor:
    return NETWORK.features(IMAGES.double(), [p.double() for p in PARAMETERS])


@pytest.mark.parametrize(("precision", "most"), [("fp32", 1e-5), ("bf16", 1e-2)])
def test_features_in_chunks_against_float64(precision, most, monkeypatch):
    monkeypatch.setattr(Compute, "chunk", lambda self, network, total: 10)  # 37 = 10 + 10 + 10 + 7 and 3 of filling
    compute = Compute(torch.device("cpu"), precision, 1)
    found = compute.features(compute.features_kernel(NETWORK, 0), NETWORK, IMAGES, PARAMETERS)
    assert found.dtype == torch.float32
    assert found.shape == (37, NETWORK.features_dim)
    assert relative(found, exact()) < most


def test_a_compiled_kernel_gives_the_same_features_and_gradients():
    if bench.compute._compiler_missing():
        pytest.skip(f"nothing can be compiled here: {bench.compute._compiler_missing()}")
    compute = Compute.choose(device="cpu")
    compiled, eager = (compute.features_kernel(NETWORK, flops) for flops in (1e15, 0))
    found = compute.features(compiled, NETWORK, IMAGES, PARAMETERS)
    assert compiled.note == "compiled"
    assert eager.note.startswith("eager")
    assert relative(found, exact()) < 1e-5
    assert relative(compute.features(eager, NETWORK, IMAGES, PARAMETERS), exact()) < 1e-5


def test_a_kernel_that_cannot_be_compiled_runs_eagerly_and_says_so(monkeypatch):
    monkeypatch.setattr(bench.compute, "_compiler_missing", lambda: "no C++ compiler")
    kernel = Kernel(lambda x: x + 1, compile=True)
    assert kernel(torch.ones(2)).tolist() == [2, 2]
    assert kernel.note == "eager: no C++ compiler"


def test_a_failing_compiler_falls_back(monkeypatch):
    def fail(*arguments):
        raise torch._inductor.exc.InductorError(RuntimeError("no"), None)

    monkeypatch.setattr(torch, "compile", lambda function, **options: fail)
    monkeypatch.setattr(bench.compute, "_compiler_missing", lambda: "")
    kernel = Kernel(lambda x: x + 1, compile=True)
    assert kernel(torch.ones(2)).tolist() == [2, 2]
    assert kernel.note == "eager: compiling failed (InductorError)"


def test_chunks_leave_no_rest_where_that_can_be():
    compute = Compute.choose(device="cpu")
    usual = ConvNet.fit((1, 28, 28), classes=10, width=128, depth=None)
    assert compute.chunk(usual, 640) == 16
    assert compute.chunk(usual, 100) == 10
    assert compute.chunk(usual, 10) == 10
    assert compute.chunk(usual, 97) == 16
    assert compute.chunk(usual, 1) == 1


def test_a_device_that_is_not_there_is_a_usage_error():
    with pytest.raises(UsageError, match="--device 'nonsense'"):
        Compute.choose(device="nonsense")
    if not torch.cuda.is_available():
        with pytest.raises(UsageError, match="--device 'cuda'"):
            Compute.choose(device="cuda")
