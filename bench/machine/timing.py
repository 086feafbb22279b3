"""Seconds by stage, and peak memory, without waiting for the device inside the loop."""

from __future__ import annotations

import ctypes
import gc
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path

from bench.lazy import torch

try:
    import resource
except ImportError:  # Windows has none
    resource = None  # type: ignore[assignment]

_STATUS = Path("/proc/self/status")
_CLEAR = Path("/proc/self/clear_refs")


class Stopwatch:
    """Seconds of each named stage of a loop, step by step.

    On CUDA events are recorded in the stream and read once at the end; on a CPU the clock is read, since work there is done
    when a call returns.
    """

    def __init__(self, device: torch.device) -> None:
        """Start with nothing measured."""
        self._cuda = device.type == "cuda"
        self._spans: list[tuple[int, str, Callable[[], float]]] = []
        self._step = 0
        self._earlier: tuple[Mapping[str, float], Sequence[float]] = {}, ()

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Add the seconds of the block to the stage `name` of the current step."""
        step = self._step
        if self._cuda:
            start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
            start.record()
            yield
            end.record()
            self._spans.append((step, name, lambda: start.elapsed_time(end) / 1e3))
        else:
            begin = time.perf_counter()
            yield
            seconds = time.perf_counter() - begin
            self._spans.append((step, name, lambda: seconds))

    def restore(self, stages: Mapping[str, float], steps: Sequence[float]) -> None:
        """Go on from what another stopwatch had read: seconds by stage, and seconds by step."""
        self._earlier, self._step = (stages, steps), len(steps)

    def next_step(self) -> None:
        """Begin the next step."""
        self._step += 1

    def read(self) -> tuple[dict[str, float], tuple[float, ...]]:
        """Return seconds by stage, and seconds by step; waits for the device."""
        if self._cuda:
            torch.cuda.synchronize()
        stages: dict[str, float] = defaultdict(float, self._earlier[0])
        steps: dict[int, float] = defaultdict(float, enumerate(self._earlier[1]))
        for step, name, seconds in self._spans:
            stages[name] += seconds()
            steps[step] += seconds()
        return dict(stages), tuple(steps[step] for step in sorted(steps))


@cache
def _set_modules_aside() -> None:
    """Keep what lives before the first cell, mostly modules, out of garbage collection: it takes 0.2 s each time."""
    gc.collect()
    gc.freeze()


def reset_peak_memory(device: torch.device) -> None:
    """Start a new measurement of peak memory; if the system cannot, the peak is the process's so far."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    _set_modules_aside()
    gc.collect()
    with suppress(OSError, AttributeError, TypeError):  # what earlier cells freed is not this cell's
        ctypes.CDLL(None).malloc_trim(0)
    with suppress(OSError):
        _CLEAR.write_text("5")


def peak_memory_mib(device: torch.device) -> float | None:
    """Return the peak since the reset in MiB: allocated device memory on CUDA, else the process's resident memory.

    None if the system does not say, as Windows does not.
    """
    return float(torch.cuda.max_memory_allocated(device)) / 2**20 if device.type == "cuda" else resident_peak_mib()


def resident_peak_mib(status: Path = _STATUS, platform: str = sys.platform) -> float | None:
    """Return the peak of this process's resident memory in MiB; None if the system does not say.

    Args:
        status: Linux's file on this process, whose peak can be reset. Without it the peak is the process's so far.
        platform: the system, as `sys.platform` names it.

    """
    with suppress(OSError):
        for line in status.read_text(encoding="utf-8").splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) / 2**10
    if resource is None:
        return None
    unit = 1 if platform == "darwin" else 2**10  # macOS counts bytes, other systems KiB
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 2**20
