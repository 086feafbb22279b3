"""Chunks, precisions and compiled kernels give the same answer."""

from __future__ import annotations

import pytest
import torch

import bench.compute
from bench.compute import Compute, Kernel, resolve_precision
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
    compute = Compute.choose(device="cpu", precision="fp32")
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
    compute, half = (Compute.choose(device="cpu", precision=precision) for precision in ("fp32", "bf16"))
    usual = ConvNet.fit((1, 28, 28), classes=10, width=128, depth=None)
    assert compute.chunk(usual, 640) == 16
    assert compute.chunk(usual, 100) == 10
    assert compute.chunk(usual, 10) == 10
    assert compute.chunk(usual, 97) == 16
    assert compute.chunk(usual, 1) == 1
    assert [half.chunk(usual, total) for total in (640, 100, 97)] == [32, 25, 32]  # maps of half the bytes


def test_auto_is_bfloat16_where_the_cpu_multiplies_it(monkeypatch):
    cpu, meta = torch.device("cpu"), torch.device("meta")
    for feature, found in (("avx512_bf16", "bf16"), ("amx_bf16", "bf16"), ("avx512_f", "fp32")):
        monkeypatch.setattr(torch.cpu, "get_capabilities", lambda feature=feature: {feature: True})
        assert resolve_precision("auto", cpu) == found
        assert resolve_precision("auto", meta) == "fp32"
        assert [resolve_precision(name, cpu) for name in ("fp32", "bf16")] == ["fp32", "bf16"]


def test_a_stage_may_have_a_precision_of_its_own():
    compute = Compute(torch.device("cpu"), "bf16", 1)
    assert compute.at("auto") is compute
    assert compute.at("fp32") == Compute(torch.device("cpu"), "fp32", 1)
    assert (compute.cast(IMAGES).dtype, compute.at("fp32").cast(IMAGES).dtype) == (torch.bfloat16, torch.float32)


@pytest.mark.parametrize("compiled", [False, True], ids=["eager", "compiled"])
@pytest.mark.parametrize(("precision", "most"), [("fp32", 1e-5), ("bf16", 0.15)])
def test_the_gradient_of_training_against_float64(precision, most, compiled):
    # Sums of a thousand rounded numbers of both signs: in bfloat16 the first weights' gradient is off by a tenth.
    if compiled and bench.compute._compiler_missing():
        pytest.skip(f"nothing can be compiled here: {bench.compute._compiler_missing()}")
    compute = Compute(torch.device("cpu"), precision, 1)
    labels = torch.arange(37) % 10
    parameters = [p.clone().requires_grad_() for p in PARAMETERS]
    for part in compute.weighted(IMAGES, labels, 20):
        compute.loss_kernel(NETWORK, 1e15 if compiled else 0)(*part, *parameters).backward()
    plain = [p.double().requires_grad_() for p in PARAMETERS]
    torch.nn.functional.cross_entropy(NETWORK.logits(IMAGES.double(), plain), labels).backward()
    for own, exact in zip(parameters, plain, strict=True):
        if exact.grad is None:  # a convolution's bias, which the norm cancels
            assert own.grad is None
            continue
        assert own.grad.dtype == torch.float32
        assert relative(own.grad, exact.grad) < most


def test_a_device_that_is_not_there_is_a_usage_error():
    with pytest.raises(UsageError, match="--device 'nonsense'"):
        Compute.choose(device="nonsense")
    if not torch.cuda.is_available():
        with pytest.raises(UsageError, match="--device 'cuda'"):
            Compute.choose(device="cuda")
