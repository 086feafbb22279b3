"""The cores that this process may use: those of its affinity, or fewer if its container has a quota of processor time."""

from __future__ import annotations

import math
import os
from contextlib import suppress
from pathlib import Path, PurePosixPath

_OWN_GROUPS = Path("/proc/self/cgroup")
_GROUPS = Path("/sys/fs/cgroup")


def usable_cores() -> int:
    """Return how many cores this process may use; a quota of one and a half counts as two."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return math.ceil(min(cores, cpu_quota()))


def cpu_quota() -> float:
    """Return how many cores' time the control groups of this process allow it; infinity if they set no limit, or are none."""
    with suppress(OSError, ValueError):
        return quota_of(_OWN_GROUPS.read_text(encoding="utf-8"), _GROUPS)
    return math.inf


def quota_of(groups: str, root: Path) -> float:
    """Return the least limit of a process's control groups, of either version, and of those above them.

    In a container the groups may be named as on the host, while `root` has only the container's own: its limit is at the top.

    Args:
        groups: what Linux's /proc/self/cgroup holds: `number:controllers:path`, each on a line. Version 2 names no controller.
        root: the folder below which the hierarchies are mounted.

    """
    limits = [math.inf]
    for _, controllers, path in (line.split(":", 2) for line in groups.splitlines()):
        if controllers and "cpu" not in controllers.split(","):
            continue
        group = PurePosixPath(path.lstrip("/"))
        mounts = (root / controllers, root / "cpu") if controllers else (root, root / "unified")
        limits += [_limit(mount / folder) for mount in mounts for folder in (group, *group.parents)]
    return min(limits)


def _limit(group: Path) -> float:
    """Return the limit of one control group; infinity if it has none."""
    with suppress(OSError, ValueError):  # version 2; without a limit the first word is `max`
        quota, period = map(int, (group / "cpu.max").read_text(encoding="utf-8").split())
        return quota / period
    with suppress(OSError, ValueError):  # version 1; without a limit the quota is -1
        quota, period = (int((group / f"cpu.cfs_{name}_us").read_text(encoding="utf-8")) for name in ("quota", "period"))
        return quota / period if quota > 0 else math.inf
    return math.inf


def bind(number: int, threads: int) -> None:
    """Bind this process to cores of its own, if the system can.

    A quota is of time and names no cores: below one, processes are not bound, for the first cores may be busy with others.

    Args:
        number: which of this machine's processes it is, from 0.
        threads: of each of them. If cores are too few for all, later processes begin again at the first core.

    """
    if hasattr(os, "sched_setaffinity"):
        cores = sorted(os.sched_getaffinity(0))
        if cpu_quota() >= len(cores):
            os.sched_setaffinity(0, {cores[index % len(cores)] for index in range(number * threads, (number + 1) * threads)})
