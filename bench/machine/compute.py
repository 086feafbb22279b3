"""Where and how tensors are computed: device, precision, threads, and the size of chunks.

A ConvNet's first maps are half a megabyte an image: a whole batch of them streams through memory, a chunk of sixteen stays in
the processor's cache.
"""

from __future__ import annotations

import ctypes
import math
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

from bench.errors import UsageError, quoted
from bench.machine.compile_cost import Kind
from bench.machine.cores import cpu_quota, usable_cores
from bench.machine.kernels import Kernel, kernel_of
from bench.machine.threads import Workers, side_by_side
from bench.networks.network import Network
from bench.networks.weights import Weights
from bench.types import Precision, RunPrecision

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # from malloc.h
_DEVICES = ("cpu", "cuda")
_CHUNK_BYTES = {"cpu": 8 * 2**20}
_CHUNK_BYTES_ELSEWHERE = 2 * 2**30
_SMALLEST_CHUNK_BYTES = 2**20


def _raise_malloc_thresholds() -> None:
    """Stop glibc returning freed blocks to the system: the page faults on maps of a few megabytes cost a third of the run time.

    Without glibc nothing is changed.
    """
    with suppress(OSError, AttributeError, TypeError):  # Windows cannot open the library None
        libc = ctypes.CDLL(None)
        libc.mallopt(_M_MMAP_THRESHOLD, 32 * 2**20)  # the largest that glibc takes
        libc.mallopt(_M_TRIM_THRESHOLD, 2**31 - 1)


def _limit_compilers() -> None:
    """Let no more of torch's compilers run side by side than a quota allows: torch itself counts the cores of the affinity."""
    if cpu_quota() < math.inf:
        os.environ.setdefault("TORCHINDUCTOR_COMPILE_THREADS", str(usable_cores()))


@dataclass(frozen=True)
class Compute:
    """A device, the precision of the passes through networks, and the number of CPU threads.

    In `bf16` these are bfloat16: the real images' features, layers and gradients, the critics' products, and all training and
    testing of networks. Weights, optimisers, losses and the synthetic side of what is matched stay float32. `chunk_bytes`
    bounds the largest maps of a chunk; None is what suits the device.
    """

    device: torch.device
    precision: RunPrecision
    threads: int
    chunk_bytes: int | None = None

    @classmethod
    def choose(
        cls, *, device: str = "auto", precision: str = "auto", threads: int | None = None, jobs: int = 1, number: int = 0
    ) -> Compute:
        """Return what the options name, and give torch one thread: see `bench.machine.threads`.

        Args:
            device: `auto`, which is CUDA if there is a GPU, `cpu`, `cuda` or `cuda:N`.
            precision: `auto`, `fp32` or `bf16`; see `resolve_precision`.
            threads: the number of CPU threads of each process; None deals all cores out among the processes.
            jobs: how many processes share the machine.
            number: which of them this is; `auto` and `cuda` are dealt out by it, a GPU each.

        Raises:
            UsageError: if the device cannot be used here, or there are fewer cores.

        """
        threads = _checked_threads(threads, jobs)
        if device == "auto":
            device = "cuda" if torch.cuda.is_available() else "cpu"
        if device == "cuda" and torch.cuda.device_count() > 1:
            device = f"cuda:{number % torch.cuda.device_count()}"
        chosen = _usable(device)
        if chosen.type == "cuda":
            torch.cuda.set_device(chosen)
            torch.backends.cudnn.allow_tf32 = False  # fp32 means float32
        torch.set_num_threads(1)  # `bench.machine.threads` has the others: no result depends on how many they are
        _raise_malloc_thresholds()
        _limit_compilers()
        return cls(chosen, resolve_precision(precision, chosen), threads)

    @classmethod
    def elsewhere(cls, *, device: str, precision: str, threads: int) -> Compute:
        """Return what workers on other machines compute with. Nothing is set or tried on this one.

        Args:
            device: `cpu` or `cuda`.
            precision: `auto`, `fp32` or `bf16`; for processors, `auto` is what suits this machine's.
            threads: the number of CPU threads of each worker.

        """
        chosen = torch.device(device)
        return cls(chosen, resolve_precision(precision, chosen), threads)

    @contextmanager
    def serving(self) -> Iterator[None]:
        """Let `side_by_side` use the threads inside the `with` block."""
        if self.threads == 1:
            yield
        else:
            with Workers(self.threads) as workers, workers.serving():
                yield

    def cast(self, images: Tensor) -> Tensor:
        """Return a network's `images` as they are, or in bfloat16: all its maps follow."""
        return images.bfloat16() if self.precision == "bf16" else images

    def at(self, precision: Precision) -> Compute:
        """Return the same in another precision; `auto` is this one's."""
        return self if precision == "auto" else replace(self, precision=precision)

    @property
    def _most_bytes(self) -> int:
        return self.chunk_bytes or _CHUNK_BYTES.get(self.device.type, _CHUNK_BYTES_ELSEWHERE)

    def with_smaller_chunks(self) -> Compute | None:
        """Return the same with chunks of half the size, and free what the device keeps; None if they are small already."""
        if self._most_bytes < _SMALLEST_CHUNK_BYTES:
            return None
        if self.device.type not in ("cpu", "meta"):
            torch.get_device_module(self.device).empty_cache()
        return replace(self, chunk_bytes=self._most_bytes // 2)

    def chunk(self, network: Network, total: int, *, training: bool = True) -> int:
        """Return how many images to take at once: their largest maps fit in cache, with no rest if that can be.

        Args:
            network: what they pass through.
            total: how many there are.
            training: whether batch norm takes the statistics of what it is given; it must then be given all images at once.

        """
        if training and network.uses_batch:
            return max(1, total)
        each = (2 if self.precision == "bf16" else 4) * network.first_map
        most = max(1, self._most_bytes // each)
        if total <= most:
            return max(1, total)
        return next((size for size in range(most, most // 2, -1) if total % size == 0), most)

    def kernel(self, kind: Kind, network: Network, flops: float, *, training: bool = True) -> Kernel:
        """Return a kernel for a cell that will spend about `flops` floating-point operations in it; see `kernel_of`."""
        return kernel_of(kind, network, flops=flops, device=self.device.type, training=training)

    def features(self, kernel: Kernel, network: Network, images: Tensor, weights: Weights, *, training: bool = True) -> Tensor:
        """Return features of images, chunk by chunk, without gradient.

        Args:
            kernel: of kind `features`.
            network: its architecture.
            images: `[N, channels, H, W]`, float32.
            weights: the network's.
            training: whether batch norm takes the statistics of these images; they are then one chunk.

        Returns:
            float32 `[N, features_dim]`.

        """
        images = self.cast(images)
        size = self.chunk(network, len(images), training=training)
        with torch.no_grad():
            tensors = network.cast(weights.all, images.dtype)
            chunks = side_by_side(lambda chunk: kernel(chunk, *tensors).float(), _padded(images, size))
        return torch.cat(chunks)[: len(images)]  # [N, features_dim]

    def features_with_gradient(self, kernel: Kernel, network: Network, images: Tensor, weights: Weights) -> Tensor:
        """Return features of images, chunk by chunk, to be differentiated; in float32, whatever the precision.

        Args:
            kernel: of kind `features with gradient`.
            network: its architecture.
            images: `[N, channels, H, W]`, float32.
            weights: the network's.

        Returns:
            float32 `[N, features_dim]`.

        """
        size = self.at("fp32").chunk(network, len(images))
        features: Tensor = _Chunks.apply(images, size, lambda chunk: kernel(chunk, *weights.all))
        return features

    def weighted(self, images: Tensor, labels: Tensor, size: int) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        """Yield the arguments of the training loss, chunk by chunk: images, labels, weights. The losses sum to the mean of all.

        The last chunk is filled up with images of no weight: one shape, so one compiled graph.

        Args:
            images: `[n, channels, H, W]`.
            labels: `[n]`, or probabilities `[n, classes]`.
            size: how many images a chunk has.

        """
        for chunk, chunk_labels in zip(self.cast(images).split(size), labels.split(size), strict=True):
            rest = size - len(chunk)
            weights = torch.full((len(chunk),), 1 / len(images), device=images.device)
            if rest:
                chunk = F.pad(chunk, (0, 0, 0, 0, 0, 0, 0, rest))
                chunk_labels = F.pad(chunk_labels, (0, 0) * (labels.dim() - 1) + (0, rest))
                weights = F.pad(weights, (0, rest))
            yield chunk, chunk_labels, weights


class _Chunks(torch.autograd.Function):
    """A function of images, chunk by chunk; its gradient is computed by chunks too, each by one thread."""

    @staticmethod
    def forward(ctx: Any, images: Tensor, size: int, function: Callable[[Tensor], Tensor]) -> Tensor:
        def differentiable(chunk: Tensor) -> tuple[Tensor, Tensor]:
            leaf = chunk.detach().requires_grad_()
            return leaf, function(leaf)

        with torch.enable_grad():
            ctx.chunks, ctx.size = side_by_side(differentiable, images.split(size)), size
        return torch.cat([values.detach() for _, values in ctx.chunks])

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        def of_chunk(chunk: tuple[Tensor, Tensor], slope: Tensor) -> Tensor:
            leaf, values = chunk
            return torch.autograd.grad(values, leaf, slope)[0]

        return torch.cat(side_by_side(of_chunk, ctx.chunks, gradient.split(ctx.size))), None, None


def _padded(images: Tensor, size: int) -> Iterator[Tensor]:
    """Yield chunks of one size, the last filled up with zeros: one shape, so one compiled graph."""
    for chunk in images.split(size):
        if len(chunk) < size:
            chunk = F.pad(chunk, (0, 0) * (chunk.dim() - 1) + (0, size - len(chunk)))
        yield chunk


def _usable(name: str) -> torch.device:
    """Return the device of a name; raise `UsageError` if it is no processor or CUDA device, or cannot be used here."""
    try:
        if name.partition(":")[0] not in _DEVICES:
            raise RuntimeError("the suite computes on processors and on CUDA")
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise UsageError(f"--device {quoted(name)} cannot be used here ({reason}); valid: auto, cpu, cuda, cuda:N") from None
    return device


def _checked_threads(threads: int | None, jobs: int) -> int:
    """Return the number of threads of each of `jobs` processes; raise `UsageError` if in all they are more than the cores.

    None is all cores; for a single process, OMP_NUM_THREADS of them if that is set.
    """
    cores = usable_cores()
    if (threads or 1) * jobs <= cores:
        limit = os.environ.get("OMP_NUM_THREADS", "") if jobs == 1 else ""
        return threads or min(cores // jobs, int(limit) if limit.isdecimal() and int(limit) else cores)
    option = f"--threads {quoted(threads)}" if jobs == 1 else f"--jobs {jobs} of {threads or 1} threads each"
    raise UsageError(f"{option}: this process may use {cores} cores; valid: 1 to {cores} threads in all")


def resolve_precision(precision: str, device: torch.device) -> RunPrecision:
    """Return what `auto` means: bfloat16 on x86 CPUs that multiply it in hardware, float32 elsewhere.

    Without such instructions bfloat16 is slower than float32, and on GPUs nothing has been measured.
    """
    if precision == "auto":
        read = getattr(torch.cpu, "get_capabilities", dict)  # torch 2.9 lacks it
        capabilities: Mapping[str, Any] = read() if device.type == "cpu" else {}
        return "bf16" if capabilities.get("avx512_bf16") or capabilities.get("amx_bf16") else "fp32"
    return "bf16" if precision == "bf16" else "fp32"
