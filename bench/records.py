"""Records: one JSON file a cell, named by the hash of its spec, with its images beside it; written whole or not at all."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from functools import lru_cache
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from bench.types import Bundle, RunSpec, SyntheticSet

WARM_UP = 5
"""Iterations left out of `seconds_per_iteration`: the first ones compile and fill caches."""


@dataclass(frozen=True)
class RunRecord:
    """What one cell left: its resolved `spec`, and either results or an `error`.

    `labels`: what tables print for its method and dataset. `accuracies`: test accuracy of each evaluation network, percent.
    `seconds`: by stage (features, loss, update: distilling; evaluation: training and testing all networks; total).
    `seconds_per_iteration`: median over distilling's iterations, the first `WARM_UP` left out; None where there are none.
    `network`: the ConvNet used. `details`: what else a reader may want to know.
    """

    hash: str
    status: Literal["ok", "failed"]
    spec: Mapping[str, Any]
    labels: Mapping[str, str] = field(default_factory=dict)
    error: str = ""
    accuracies: tuple[float, ...] = ()
    loss: tuple[float, ...] = ()
    seconds: Mapping[str, float] = field(default_factory=dict)
    seconds_per_iteration: float | None = None
    peak_memory_mib: float | None = None
    network: Mapping[str, Any] = field(default_factory=dict)
    hardware: Mapping[str, Any] = field(default_factory=dict)
    versions: Mapping[str, str] = field(default_factory=dict)
    code: Mapping[str, str] = field(default_factory=dict)
    details: Mapping[str, Any] = field(default_factory=dict)
    finished: str = ""

    @property
    def images_name(self) -> str:
        """The name of the file of images beside the record."""
        return f"{self.hash}.safetensors"


@contextmanager
def atomic(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`; it takes that place when the block ends well, and is removed when it does not."""
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        temporary.chmod(0o644)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def write_record(folder: Path, record: RunRecord) -> None:
    """Write `record` into `folder`, atomically."""
    folder.mkdir(parents=True, exist_ok=True)
    with atomic(folder / f"{record.hash}.json") as path:
        path.write_text(json.dumps(asdict(record), indent=1, allow_nan=False) + "\n", encoding="utf-8")


def write_images(folder: Path, spec: RunSpec, syn: SyntheticSet, bundle: Bundle) -> None:
    """Write the images (normalised units, as evaluated) and labels; pixel = image · std + mean, which stand in the metadata."""
    from safetensors.torch import save_file

    folder.mkdir(parents=True, exist_ok=True)
    tensors = {"images": syn.images.detach().cpu().contiguous(), "labels": syn.labels.cpu().contiguous()}
    about = {"dataset": bundle.name, "classes": bundle.classes, "mean": bundle.mean, "std": bundle.std, "hash": spec.hash}
    with atomic(folder / f"{spec.hash}.safetensors") as path:
        save_file(tensors, str(path), metadata={key: json.dumps(value) for key, value in about.items()})


def read_record(path: Path) -> RunRecord | None:
    """Return the record in `path`, or None where it is not there or is no record."""
    try:
        plain = json.loads(path.read_text(encoding="utf-8"))
        for name in ("accuracies", "loss"):
            plain[name] = tuple(plain[name])
        return RunRecord(**plain)
    except (OSError, ValueError, KeyError, TypeError):
        return None


def read_records(folder: Path) -> list[RunRecord]:
    """Return all records in `folder`, in the order of their hashes."""
    found = (read_record(path) for path in sorted(folder.glob("*.json")))
    return [record for record in found if record is not None]


def typical_iteration(seconds: tuple[float, ...]) -> float | None:
    """Return the median seconds of an iteration, the first `WARM_UP` (of few, the first half) left out."""
    kept = seconds[min(WARM_UP, len(seconds) // 2) :]
    return median(kept) if kept else None


@lru_cache(maxsize=1)
def code_version() -> dict[str, str]:
    """Return a hash of the sources that numbers depend on, and the commit, where git knows it."""
    root = Path(__file__).resolve().parent.parent
    digest = hashlib.sha256()
    for folder in ("bench", "datasets", "methods"):
        for path in sorted((root / folder).glob("*.py")):
            digest.update(path.name.encode() + b"\0" + path.read_bytes())
    found = {"sources": digest.hexdigest()[:16]}
    try:
        answer = subprocess.run(
            ["git", "-C", str(root), "rev-parse", "--short=12", "HEAD"], capture_output=True, text=True, check=True
        )
        found["commit"] = answer.stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        pass
    return found


def library_versions() -> dict[str, str]:
    """Return the versions of Python and of the libraries that numbers depend on."""
    import platform
    from importlib.metadata import PackageNotFoundError, version

    found = {"python": platform.python_version()}
    for name in ("torch", "torchvision", "numpy", "geomloss", "pot", "scikit-learn"):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found
