"""Where and how tensors are computed: device, precision, threads, compilation and the size of chunks.

The ConvNet's first maps are half a megabyte an image: a whole batch of them streams through memory, a chunk of sixteen stays in
cache. Compilation fuses norm, ReLU and pooling; it costs seconds, so a kernel is compiled only where it has work enough.
"""

from __future__ import annotations

import ctypes
import logging
import os
import platform
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cache, lru_cache
from pathlib import Path
from typing import Any, Literal, TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor

from bench.errors import UsageError
from bench.networks import ConvNet, Parameters

_T = TypeVar("_T")
Precision = Literal["fp32", "bf16"]

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # from malloc.h
_CHUNK_BYTES = {"cpu": 8 * 2**20}
_CHUNK_BYTES_ELSEWHERE = 2 * 2**30
_COMPILE_FLOPS = 3e12
"""A kernel with less work than this in one cell (about 30 s of eager time on two cores) is not compiled."""


@lru_cache(maxsize=1)
def _compiler_missing() -> str:
    """Return why nothing can be compiled here, or an empty text."""
    if os.environ.get("TORCH_COMPILE_DISABLE") == "1":
        return "TORCH_COMPILE_DISABLE is set"
    compiler = os.environ.get("CXX") or next((name for name in ("g++", "clang++", "c++") if shutil.which(name)), None)
    return "" if compiler and shutil.which(compiler) else "no C++ compiler"


def _keep_memory() -> None:
    """Let glibc keep what is freed: by default maps of a few megabytes go back to the system, and page faults cost a third.

    Elsewhere than on glibc nothing is changed.
    """
    with suppress(OSError, AttributeError):
        libc = ctypes.CDLL(None)
        libc.mallopt(_M_MMAP_THRESHOLD, 32 * 2**20)  # the largest that glibc takes
        libc.mallopt(_M_TRIM_THRESHOLD, 2**31 - 1)


class Kernel:
    """A function of tensors, compiled once a shape; where that fails, the function itself. `note` says which, and why."""

    def __init__(self, function: Callable[..., Any], *, compile: bool) -> None:
        """Take the function as it is, or compile it at its first call."""
        reason = _compiler_missing() if compile else "too little work to pay for compiling"
        self.note = f"eager: {reason}" if reason else "compiled"
        self._function = function
        self._compiled = None if reason else torch.compile(function, fullgraph=True, dynamic=False)

    def __call__(self, *arguments: Any) -> Any:
        """Return the function's value."""
        if self._compiled is not None:
            try:
                return self._compiled(*arguments)
            except (torch._dynamo.exc.TorchDynamoException, torch._inductor.exc.InductorError) as error:
                self.note = f"eager: compiling failed ({type(error).__name__})"
                self._compiled = None
        return self._function(*arguments)


def one_thread_each(function: Callable[..., _T], *items: Iterable[Any]) -> list[_T]:
    """Return `function` of each item (or of each tuple of items), as many at once as torch has threads, each in one thread.

    So each works in its own core's cache, and its numbers do not depend on how many threads there are.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        # Said in each thread too: MKL's first product in a new thread would otherwise be split, or not, as the cores are free.
        with ThreadPoolExecutor(threads, initializer=torch.set_num_threads, initargs=(1,)) as pool:
            return list(pool.map(function, *items))
    finally:
        torch.set_num_threads(threads)


def _training_loss(network: ConvNet) -> Callable[..., Tensor]:
    def loss(images: Tensor, labels: Tensor, weights: Tensor, *parameters: Tensor) -> Tensor:
        """Return the weighted sum of the cross-entropies."""
        entropy = F.cross_entropy(network.logits(images, parameters), labels, reduction="none")
        return (entropy * weights).sum()

    return loss


def _features(network: ConvNet) -> Callable[..., Tensor]:
    def features(images: Tensor, *parameters: Tensor) -> Tensor:
        return network.features(images, parameters)

    return features


def _layer_sums(network: ConvNet) -> Callable[..., tuple[Tensor, ...]]:
    def sums(images: Tensor, *parameters: Tensor) -> tuple[Tensor, ...]:
        """Return the sum over the images of each map after a ReLU, then the features of each image."""
        *maps, features = network.layers(images, parameters)
        return *(relu.sum(0, dtype=torch.float32) for relu in maps), features.float()

    return sums


_KERNELS: dict[str, Callable[[ConvNet], Callable[..., Any]]] = {
    "features": _features,
    "loss": _training_loss,
    "losses": lambda network: torch.func.vmap(_training_loss(network)),
    "layer sums": _layer_sums,
}


@cache
def _kernel(kind: str, network: ConvNet, compile: bool) -> Kernel:
    """Return the kernel that all cells of a run share."""
    if compile:
        logging.getLogger("torch.utils.cpp_extension").setLevel(logging.ERROR)  # it warns wherever there is no CUDA
        # One code object serves every network and shape of a run; the default limit of 8 would stop at the third dataset.
        torch._dynamo.config.recompile_limit = 256
    return Kernel(_KERNELS[kind](network), compile=compile)


@dataclass(frozen=True)
class Compute:
    """A device, the precision of the passes through networks, and the number of CPU threads.

    In `bf16` these are bfloat16: the real images' features, layers and gradients, the critics' products, and all training and
    testing of networks. Weights, optimisers, losses and the synthetic side of what is matched stay float32.
    """

    device: torch.device
    precision: Precision
    threads: int

    @classmethod
    def choose(cls, *, device: str = "auto", precision: str = "auto", threads: int | None = None) -> Compute:
        """Return what the options name; `auto` is CUDA where there is one. Sets torch's number of threads."""
        if device == "auto":
            device = "cuda" if torch.cuda.is_available() else "cpu"
        try:
            chosen = torch.device(device)
            torch.empty(0, device=chosen)
            if chosen.type == "meta":
                raise RuntimeError("it holds no numbers")
        except (RuntimeError, AssertionError) as error:
            reason = str(error).splitlines()[0]
            raise UsageError(f"--device {device!r} cannot be used here ({reason}); valid: auto, cpu, cuda, cuda:N") from None
        if chosen.type == "cuda":
            torch.cuda.set_device(chosen)
            torch.backends.cudnn.allow_tf32 = False  # fp32 means float32
        if threads is not None:
            torch.set_num_threads(threads)
        _keep_memory()
        return cls(chosen, resolve_precision(precision, chosen), torch.get_num_threads())

    def cast(self, images: Tensor) -> Tensor:
        """Return a network's `images` as they are, or in bfloat16: all its maps follow."""
        return images.bfloat16() if self.precision == "bf16" else images

    def at(self, precision: Literal["auto", "fp32", "bf16"]) -> Compute:
        """Return the same in another precision; `auto` is this one's."""
        return self if precision == "auto" else replace(self, precision=precision)

    def chunk(self, network: ConvNet, total: int) -> int:
        """Return how many images of `total` to take at once: their first maps fit in cache, with no rest if that can be."""
        each = (2 if self.precision == "bf16" else 4) * network.width * network.maps[0] ** 2
        most = max(1, _CHUNK_BYTES.get(self.device.type, _CHUNK_BYTES_ELSEWHERE) // each)
        if total <= most:
            return max(1, total)
        return next((size for size in range(most, most // 2, -1) if total % size == 0), most)

    def put(self, parameters: Parameters) -> Parameters:
        """Return the parameters on the device."""
        return tuple(p.to(self.device, non_blocking=True) for p in parameters)

    def features_kernel(self, network: ConvNet, flops: float) -> Kernel:
        """Return the feature kernel for a cell that will spend about `flops` floating-point operations in it."""
        return _kernel("features", network, flops >= _COMPILE_FLOPS)

    def loss_kernel(self, network: ConvNet, flops: float) -> Kernel:
        """Return the kernel of the training loss, likewise."""
        return _kernel("loss", network, flops >= _COMPILE_FLOPS)

    def losses_kernel(self, network: ConvNet, flops: float) -> Kernel:
        """Return the kernel of the training losses of several networks at once, with a dimension in front of all else."""
        return _kernel("losses", network, flops >= _COMPILE_FLOPS)

    def layer_sums_kernel(self, network: ConvNet, flops: float) -> Kernel:
        """Return the kernel of the sums of the maps after each ReLU, likewise."""
        return _kernel("layer sums", network, flops >= _COMPILE_FLOPS)

    def features(self, kernel: Kernel, network: ConvNet, images: Tensor, parameters: Parameters) -> Tensor:
        """Return float32 features `[N, features_dim]` of `images` `[N, channels, H, W]`, chunk by chunk, without gradient."""
        images = self.cast(images)
        weights = tuple(p.to(images.dtype) for p in parameters)
        with torch.no_grad():
            parts = [kernel(part, *weights).float() for part in self._padded(network, images)]
        return torch.cat(parts)[: len(images)]  # [N, features_dim]

    def weighted(self, images: Tensor, labels: Tensor, size: int) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        """Yield what the kernel of the training loss takes, chunk by chunk of `size`: their losses sum to the mean of all.

        The last chunk is filled up with images of no weight: one shape, so one compiled graph.
        """
        for part, part_labels in zip(self.cast(images).split(size), labels.split(size), strict=True):
            rest = size - len(part)
            weights = torch.full((len(part),), 1 / len(images), device=images.device)
            if rest:
                part = F.pad(part, (0, 0, 0, 0, 0, 0, 0, rest))
                part_labels, weights = F.pad(part_labels, (0, rest)), F.pad(weights, (0, rest))
            yield part.contiguous(memory_format=torch.channels_last), part_labels, weights

    def _padded(self, network: ConvNet, images: Tensor) -> Iterator[Tensor]:
        """Yield chunks of one size, the last filled up with zeros: one shape, so one compiled graph."""
        size = self.chunk(network, len(images))
        for part in images.split(size):
            if len(part) < size:
                part = F.pad(part, (0, 0) * (part.dim() - 1) + (0, size - len(part)))
            yield part.contiguous(memory_format=torch.channels_last)


def resolve_precision(precision: str, device: torch.device) -> Precision:
    """Return what `auto` means: bfloat16 on x86 CPUs that multiply it in hardware, float32 elsewhere.

    Without such instructions bfloat16 is slower than float32, and on GPUs nothing has been measured.
    """
    if precision == "auto":
        read = getattr(torch.cpu, "get_capabilities", dict)  # torch 2.9 lacks it
        has: Mapping[str, Any] = read() if device.type == "cpu" else {}
        return "bf16" if has.get("avx512_bf16") or has.get("amx_bf16") else "fp32"
    return "bf16" if precision == "bf16" else "fp32"


def hardware(device: torch.device) -> dict[str, Any]:
    """Return what the record says of the machine."""
    cpu = platform.processor() or platform.machine()
    with suppress(OSError):
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        cpu = next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), cpu)
    found: dict[str, Any] = {"cpu": cpu, "cores": os.cpu_count(), "device": str(device)}
    if device.type == "cuda":
        found["gpu"] = torch.cuda.get_device_name(device)
    return found
