"""What a record says of the machine, the libraries and the code."""

from __future__ import annotations

import hashlib
import math
import os
import platform
import subprocess
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from bench.lazy import torch
from bench.machine.cores import cpu_quota

ROOT = Path(__file__).resolve().parents[2]
"""The folder of the suite."""

COMMIT_FILE = ".commit"
"""In a copy of the code, which git does not know: a file with the commit of what was copied, or empty."""

_LIBRARIES = ("torch", "torchvision", "numpy", "geomloss", "pot", "scikit-learn")


def hardware(device: torch.device) -> dict[str, Any]:
    """Return the names of processor, device and GPU, and the number of cores of the machine or container."""
    cpu = platform.processor() or platform.machine()
    with suppress(OSError):
        cpu = processor(Path("/proc/cpuinfo").read_text(encoding="utf-8")) or cpu
    machine: dict[str, Any] = {"cpu": cpu, "cores": math.ceil(min(os.cpu_count() or 1, cpu_quota())), "device": str(device)}
    if device.type == "cuda":
        machine["gpu"] = torch.cuda.get_device_name(device)
    return machine


def processor(cpuinfo: str) -> str:
    """Return the name of the processor that Linux's /proc/cpuinfo describes; empty if it names none.

    Family and model follow the name, if there are any: a virtual machine may call processors of several generations
    `AMD EPYC`, and their speeds differ twofold.
    """
    pairs = (line.partition(":") for line in cpuinfo.partition("\n\n")[0].splitlines())
    facts = {name.strip(): value.strip() for name, _, value in pairs}
    kind = [f"{word} {facts[name]}" for word, name in (("family", "cpu family"), ("model", "model")) if facts.get(name)]
    name = facts.get("model name", "")
    return f"{name} ({', '.join(kind)})" if name and kind else name


def library_versions() -> dict[str, str]:
    """Return the versions of Python and of the libraries that numbers depend on."""
    versions = {"python": platform.python_version()}
    for name in _LIBRARIES:
        with suppress(PackageNotFoundError):
            versions[name] = version(name)
    return versions


@dataclass(frozen=True)
class Code:
    """The files of the suite, as names in its folder.

    `numbers`: the folders that numbers depend on. `copied`: what workers on other machines need a copy of.
    """

    numbers: tuple[str, ...]
    copied: tuple[str, ...] = ()

    @property
    def version(self) -> dict[str, str]:
        """A hash of the sources that numbers depend on, and the commit, if git knows it, with its changes, if any."""
        return code_version(self.numbers)

    @property
    def sources(self) -> str:
        """The hash alone."""
        return self.version["sources"]


@lru_cache(maxsize=4)
def code_version(folders: tuple[str, ...], root: Path = ROOT) -> dict[str, str]:
    """Return a hash of the Python files in `folders` of `root`, and the commit, if git knows it, with its changes, if any."""
    digest = hashlib.sha256()
    for folder in folders:
        for path in sorted((root / folder).rglob("*.py")):
            digest.update(path.relative_to(root).as_posix().encode() + b"\0" + path.read_bytes())
    code = {"sources": digest.hexdigest()[:16]}
    copied = root / COMMIT_FILE
    if copied.exists():
        commit = copied.read_text(encoding="utf-8")
        return code | ({"commit": commit} if commit else {})
    with suppress(OSError, subprocess.CalledProcessError):
        changed = _git(root, "status", "--porcelain", "--", *folders)
        code["commit"] = _git(root, "rev-parse", "--short=12", "HEAD") + (" with changes" if changed else "")
    return code


def _git(root: Path, *arguments: str) -> str:
    """Return what git says of a folder; raise if there is no git, or the folder is not in a repository."""
    return subprocess.run(
        ["git", "-C", str(root), *arguments], capture_output=True, encoding="utf-8", check=True
    ).stdout.strip()
