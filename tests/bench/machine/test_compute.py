"""Chunks, precisions and compiled kernels give the same answer."""

from __future__ import annotations

import sys

import pytest
import torch

from bench.errors import UsageError
from bench.machine.compile_cost import Estimate
from bench.machine.compute import Compute, resolve_precision
from bench.machine.kernels import CompiledOrEager, Kernel, compiler_missing, function_of
from bench.networks.network import fit
from bench.networks.weights import Weights

NETWORK = fit("convnet", (1, 28, 28), classes=10, width=16, depth=None)
WEIGHTS = NETWORK.init(torch.Generator().manual_seed(0))
IMAGES = torch.randn(37, 1, 28, 28, generator=torch.Generator().manual_seed(1))


def relative_error(value: torch.Tensor, exact: torch.Tensor) -> float:
    return float((value.double() - exact).norm() / exact.norm())


def exact_features() -> torch.Tensor:
    return NETWORK.features(IMAGES.double(), double(WEIGHTS).all)


def double(weights: Weights) -> Weights:
    return Weights(tuple(parameter.double() for parameter in weights.parameters))


needs_compiler = pytest.mark.skipif(bool(compiler_missing()), reason=f"nothing can be compiled here: {compiler_missing()}")


@pytest.mark.parametrize(("precision", "most"), [("fp32", 1e-5), ("bf16", 1e-2)])
def test_features_in_chunks_against_float64(precision, most, monkeypatch):
    monkeypatch.setattr(Compute, "chunk", lambda self, *arguments, **options: 10)  # 37 = 10 + 10 + 10 + 7 and 3 of filling
    compute = Compute(torch.device("cpu"), precision, 1)
    features = compute.features(compute.kernel("features", NETWORK, 0), NETWORK, IMAGES, WEIGHTS)
    assert features.dtype == torch.float32
    assert features.shape == (37, NETWORK.features_dim)
    assert relative_error(features, exact_features()) < most


@needs_compiler
def test_a_compiled_kernel_gives_the_same_features_and_gradients():
    compute = Compute.choose(device="cpu", precision="fp32")
    compiled, eager = (compute.kernel("features", NETWORK, flops) for flops in (1e15, 0))
    features = compute.features(compiled, NETWORK, IMAGES, WEIGHTS)
    assert compiled.note.startswith("compiled: saves about ")
    assert eager.note.startswith("eager")
    assert relative_error(features, exact_features()) < 1e-5
    assert relative_error(compute.features(eager, NETWORK, IMAGES, WEIGHTS), exact_features()) < 1e-5

    slopes = []
    for flops in (1e15, 0):
        images = IMAGES.clone().requires_grad_()
        kernel = compute.kernel("features with gradient", NETWORK, flops)
        slopes += torch.autograd.grad(kernel(images, *WEIGHTS.all).square().sum(), images)
    torch.testing.assert_close(*slopes, atol=1e-5, rtol=1e-3)


def test_one_function_serves_all_cells_of_a_kind_and_network():
    compute = Compute(torch.device("cpu"), "fp32", 1)
    function = compute.kernel("features", NETWORK, 2.0).function
    assert compute.kernel("features", NETWORK, 1.0).function is function
    assert function_of("features", NETWORK, training=True, compile=False) is function
    assert compute.kernel("features", NETWORK, 1.0, training=False).function is not function
    assert compute.kernel("loss", NETWORK, 1.0).function is not function


@pytest.mark.parametrize(
    ("environment", "reason"),
    [
        ({"TORCH_COMPILE_DISABLE": "0", "CXX": "no-such-compiler"}, "no C++ compiler"),
        ({"TORCH_COMPILE_DISABLE": "1", "CXX": sys.executable}, "TORCH_COMPILE_DISABLE is set"),
    ],
)
def test_a_kernel_that_cannot_be_compiled_runs_eagerly_and_says_so(environment, reason, monkeypatch):
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    function = CompiledOrEager(lambda x: x + 1, to_compile=True)
    assert function(torch.ones(2)).tolist() == [2, 2]
    assert Kernel(function, Estimate(True, "it pays")).note == f"eager: {reason}"
    assert Kernel(function, Estimate(False, "it does not pay")).note == "eager: it does not pay"


def test_a_failing_compiler_falls_back(monkeypatch):
    def fail(*arguments):
        raise torch._inductor.exc.InductorError(RuntimeError("no"), None)

    monkeypatch.setattr(torch, "compile", lambda function, **options: fail)
    monkeypatch.setenv("TORCH_COMPILE_DISABLE", "0")
    monkeypatch.setenv("CXX", sys.executable)  # any program that is there
    kernel = Kernel(CompiledOrEager(lambda x: x + 1, to_compile=True), Estimate(True, "it pays"))
    assert kernel.note == "compiled: it pays"
    assert kernel(torch.ones(2)).tolist() == [2, 2]
    assert kernel.note == "eager: compiling failed (InductorError)"


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_features_with_gradient_are_in_float32_chunks_in_every_precision(precision):
    compute, sizes = Compute(torch.device("cpu"), precision, 1, chunk_bytes=10 * 4 * NETWORK.first_map), []

    def eager(images, *tensors):
        sizes.append(len(images))
        return NETWORK.features(images, tensors)

    images = IMAGES.clone().requires_grad_()
    features = compute.features_with_gradient(eager, NETWORK, images, WEIGHTS)
    assert sizes == [10, 10, 10, 7]
    assert relative_error(features.detach(), exact_features()) < 1e-5
    exact = IMAGES.double().requires_grad_()
    (slope,) = torch.autograd.grad(features.square().sum(), images)
    (exact_slope,) = torch.autograd.grad(NETWORK.features(exact, double(WEIGHTS).all).square().sum(), exact)
    assert relative_error(slope, exact_slope) < 1e-4


def test_chunks_leave_no_rest_where_that_can_be():
    compute, half = (Compute.choose(device="cpu", precision=precision) for precision in ("fp32", "bf16"))
    usual = fit("convnet", (1, 28, 28), classes=10, width=128, depth=None)
    assert compute.chunk(usual, 640) == 16
    assert compute.chunk(usual, 100) == 10
    assert compute.chunk(usual, 10) == 10
    assert compute.chunk(usual, 97) == 16
    assert compute.chunk(usual, 1) == 1
    assert [half.chunk(usual, total) for total in (640, 100, 97)] == [32, 25, 32]  # maps of half the bytes


def test_batch_norm_takes_all_images_at_once_in_training_alone():
    compute = Compute.choose(device="cpu", precision="fp32")
    network = fit("convnet-bn", (1, 28, 28), classes=10, width=128, depth=None)
    assert compute.chunk(network, 640) == 640
    assert compute.chunk(network, 640, training=False) == 16


def test_auto_is_bfloat16_where_the_cpu_multiplies_it(monkeypatch):
    cpu, meta = torch.device("cpu"), torch.device("meta")
    for feature, precision in (("avx512_bf16", "bf16"), ("amx_bf16", "bf16"), ("avx512_f", "fp32")):
        monkeypatch.setattr(torch.cpu, "get_capabilities", lambda feature=feature: {feature: True})
        assert resolve_precision("auto", cpu) == precision
        assert resolve_precision("auto", meta) == "fp32"
        assert [resolve_precision(name, cpu) for name in ("fp32", "bf16")] == ["fp32", "bf16"]


def test_a_stage_may_have_a_precision_of_its_own():
    compute = Compute(torch.device("cpu"), "bf16", 1)
    assert compute.at("auto") is compute
    assert compute.at("fp32") == Compute(torch.device("cpu"), "fp32", 1)
    assert (compute.cast(IMAGES).dtype, compute.at("fp32").cast(IMAGES).dtype) == (torch.bfloat16, torch.float32)


@pytest.mark.parametrize("compiled", [False, pytest.param(True, marks=needs_compiler)], ids=["eager", "compiled"])
@pytest.mark.parametrize(("precision", "most"), [("fp32", 1e-5), ("bf16", 0.15)])
def test_the_gradient_of_training_against_float64(precision, most, compiled):
    # Sums of a thousand rounded numbers of both signs: in bfloat16 the first weights' gradient is off by a tenth.
    compute = Compute(torch.device("cpu"), precision, 1)
    labels = torch.arange(37) % 10
    weights = Weights(tuple(parameter.clone().requires_grad_() for parameter in WEIGHTS.parameters))
    for chunk in compute.weighted(IMAGES, labels, 20):
        compute.kernel("loss", NETWORK, 1e15 if compiled else 0)(*chunk, *weights.all).backward()
    exact = double(WEIGHTS).trainable()
    torch.nn.functional.cross_entropy(NETWORK.logits(IMAGES.double(), exact.all), labels).backward()
    for parameter, reference in zip(weights.parameters, exact.parameters, strict=True):
        if reference.grad is None:  # a convolution's bias, which the norm cancels
            assert parameter.grad is None
            continue
        assert parameter.grad.dtype == torch.float32
        assert relative_error(parameter.grad, reference.grad) < most


@pytest.mark.parametrize("name", ["mps", "mps:0", "meta", "xpu", "vulkan", "gpu", "0", "", "CUDA", "cudda"])
def test_a_device_on_which_the_suite_does_not_compute_is_refused_in_a_short_line(name):
    with pytest.raises(UsageError) as error:
        Compute.choose(device=name)
    reason = "the suite computes on processors and on CUDA"
    assert str(error.value) == f"--device {name!r} cannot be used here ({reason}); valid: auto, cpu, cuda, cuda:N"


def test_a_device_that_is_not_there_is_a_usage_error():
    with pytest.raises(UsageError, match="--device 'nonsense'"):
        Compute.choose(device="nonsense")
    if not torch.cuda.is_available():
        with pytest.raises(UsageError, match="--device 'cuda'"):
            Compute.choose(device="cuda")
