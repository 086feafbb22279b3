"""The cores of this machine."""

from __future__ import annotations

import os


def usable_cores() -> int:
    """Return how many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def bind(number: int, threads: int) -> None:
    """Bind this process to cores of its own, if the system can.

    Args:
        number: which of this machine's processes it is, from 0.
        threads: of each of them. If cores are too few for all, later processes begin again at the first core.

    """
    if hasattr(os, "sched_setaffinity"):
        cores = sorted(os.sched_getaffinity(0))
        os.sched_setaffinity(0, {cores[index % len(cores)] for index in range(number * threads, (number + 1) * threads)})
