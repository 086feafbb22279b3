"""Records: one JSON file a cell, named by the hash of its description, with its images beside it; written whole or not at all.

A record is a typed model with a `schema_version`. Fields may be added to a version with a default; any other change of form
needs a new version, and `python -m bench.migrate` to bring old records along.
"""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, ValidationError

from bench.lazy import safetensors
from bench.spec import RunSpec

if TYPE_CHECKING:
    from bench.method import Method
    from bench.networks.network import Network
    from bench.types import Bundle, SyntheticSet

SCHEMA_VERSION: Literal[2] = 2

WARM_UP = 5
"""Iterations left out of `seconds_per_iteration`: the first ones compile and fill caches."""


class _Part(BaseModel):
    """A part of a record: frozen, and without unknown fields."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class MethodFacts(_Part):
    """What tables and figures need to know of a method; see `bench.method.Method`."""

    label: str
    citation: str = ""
    order: int = 500
    color: str = ""

    @classmethod
    def of(cls, method: Method) -> Self:
        """Return the facts of a method."""
        return cls(label=method.label, citation=method.citation, order=method.order, color=method.color)


class NetworkFacts(_Part):
    """A network as it was used: its label, size, and the side of the images it took where they were resized."""

    label: str
    width: int = 0
    depth: int = 0
    features: int
    resized_to: int | None = None

    @classmethod
    def of(cls, network: Network) -> Self:
        """Return the facts of a network."""
        return cls(
            label=network.label,
            width=network.width,
            depth=network.depth,
            features=network.features_dim,
            resized_to=network.size if network.resized else None,
        )


class Evaluation(_Part):
    """An evaluation of the images by networks of one architecture.

    `network`: its name in the registry. `accuracies`: test accuracy of each network, percent. `seconds`: of training and
    testing all of them. `peak_memory_mib`: in that time. `kernel`: how the training loss was run. `hardware`, `versions`,
    `code`: on what, with what and by which code; empty where that is what the record says.
    """

    network: str
    facts: NetworkFacts
    accuracies: tuple[float, ...]
    seconds: float
    peak_memory_mib: float | None = None
    kernel: str = ""
    hardware: dict[str, Any] = {}
    versions: dict[str, str] = {}
    code: dict[str, str] = {}
    finished: str = ""


class RunRecord(_Part):
    """What one cell left: its description `spec`, and either results or an `error`.

    `method` and `dataset_label`: what tables print. `has_images`: whether there is a file of images beside the record.
    `evaluations`: one for each architecture; `failed_evaluations`: the errors of those that failed. `loss`: of each iteration.
    `seconds`: of distilling, by stage (features, loss, update), and in all (`total`, with the evaluations).
    `seconds_per_iteration`: median over the iterations, the first `WARM_UP` left out; None where there are none.
    `peak_memory_mib`: over distilling and all evaluations. `details`: what else a reader may want to know.
    """

    schema_version: Literal[2] = SCHEMA_VERSION
    hash: str
    status: Literal["ok", "failed"]
    spec: RunSpec
    method: MethodFacts
    dataset_label: str
    error: str = ""
    has_images: bool = False
    evaluations: tuple[Evaluation, ...] = ()
    failed_evaluations: dict[str, str] = {}
    loss: tuple[float, ...] = ()
    seconds: dict[str, float] = {}
    seconds_per_iteration: float | None = None
    peak_memory_mib: float | None = None
    hardware: dict[str, Any] = {}
    versions: dict[str, str] = {}
    code: dict[str, str] = {}
    details: dict[str, Any] = {}
    finished: str = ""

    @property
    def images_name(self) -> str:
        """The name of the file of images beside the record."""
        return f"{self.hash}.safetensors"

    def evaluation(self, network: str) -> Evaluation | None:
        """Return the evaluation by the network of that name, if there is one."""
        return next((evaluation for evaluation in self.evaluations if evaluation.network == network), None)

    @property
    def main_evaluation(self) -> Evaluation:
        """The evaluation that Table 2 takes: by `convnet`, or by the first network where that is not among them."""
        return self.evaluation("convnet") or self.evaluations[0]

    def missing_networks(self, spec: RunSpec) -> tuple[str, ...]:
        """Return the networks that `spec` asks for and that the record has no evaluation by."""
        return tuple(name for name in spec.networks if self.evaluation(name) is None)


class UnreadableRecord(_Part):
    """A file that holds no record of this version: its path, and why in one line."""

    path: Path
    reason: str


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
        content = record.model_dump(mode="json")
        path.write_text(json.dumps(content, indent=1, allow_nan=False) + "\n", encoding="utf-8")


def write_images(folder: Path, spec: RunSpec, syn: SyntheticSet, bundle: Bundle) -> None:
    """Write images (normalised units, as evaluated) and labels; pixel = image · std + mean, which stand in the metadata.

    Args:
        folder: where records lie.
        spec: the cell.
        syn: its images.
        bundle: the dataset, whose class names and statistics are written along.

    """
    folder.mkdir(parents=True, exist_ok=True)
    tensors = {"images": syn.images.detach().cpu().contiguous(), "labels": syn.labels.cpu().contiguous()}
    about = {"dataset": bundle.name, "classes": bundle.classes, "mean": bundle.mean, "std": bundle.std, "hash": spec.hash}
    with atomic(folder / f"{spec.hash}.safetensors") as path:
        safetensors.torch.save_file(tensors, str(path), metadata={key: json.dumps(value) for key, value in about.items()})


def parse_record(text: str) -> RunRecord:
    """Return the record that a JSON text holds; raise `ValueError` with one line where it holds none of this version."""
    content = json.loads(text)
    if not isinstance(content, Mapping) or not {"spec", "hash"} <= set(content):
        raise ValueError("it is no record of this suite")
    version = content.get("schema_version", 1)
    if version != SCHEMA_VERSION:
        raise ValueError(
            f"its form is version {version}, not {SCHEMA_VERSION}: `python -m bench.migrate FOLDER` renews old ones"
        )
    try:
        return RunRecord.model_validate_json(text)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        raise ValueError(f"{'.'.join(map(str, first['loc']))}: {first['msg']}") from None


def read_record(path: Path) -> RunRecord | UnreadableRecord | None:
    """Return the record in a file, None where there is no file, or what is wrong with it."""
    try:
        return parse_record(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except Exception as error:  # noqa: BLE001  (one damaged file does not keep the others from being read)
        return UnreadableRecord(path=path, reason=" ".join(str(error).split()))


def read_folder(folder: Path) -> tuple[list[RunRecord], list[UnreadableRecord]]:
    """Return all records in `folder`, in the order of their names, and the files that hold none."""
    contents = [read_record(path) for path in sorted(folder.glob("*.json"))]
    records = [content for content in contents if isinstance(content, RunRecord)]
    return records, [content for content in contents if isinstance(content, UnreadableRecord)]


def typical_iteration(seconds: tuple[float, ...]) -> float | None:
    """Return the median seconds of an iteration, the first `WARM_UP` (of few, the first half) left out."""
    kept = seconds[min(WARM_UP, len(seconds) // 2) :]
    return median(kept) if kept else None
