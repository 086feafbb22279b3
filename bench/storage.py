"""The files of records: one JSON file a cell, named by the hash of its description, with its images beside it.

Each is written whole or not at all.
"""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import ValidationError

from bench.errors import DistillationError
from bench.lazy import safetensors
from bench.records import SCHEMA_VERSION, RunRecord, UnreadableRecord
from bench.spec import RunSpec
from bench.types import SyntheticSet

if TYPE_CHECKING:
    import torch

    from bench.types import Bundle


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


def write_images(path: Path, spec: RunSpec, syn: SyntheticSet, bundle: Bundle) -> None:
    """Write images (normalised units, as evaluated) and labels; pixel = image · std + mean, which stand in the metadata.

    Args:
        path: the file.
        spec: the cell.
        syn: its images.
        bundle: the dataset, whose class names and statistics are written along.

    """
    path.parent.mkdir(parents=True, exist_ok=True)
    tensors = {"images": syn.images.detach().cpu().contiguous(), "labels": syn.labels.cpu().contiguous()}
    about = {"dataset": bundle.name, "classes": bundle.classes, "mean": bundle.mean, "std": bundle.std, "hash": spec.hash}
    with atomic(path) as temporary:
        safetensors.torch.save_file(tensors, str(temporary), metadata={key: json.dumps(value) for key, value in about.items()})


def read_images(path: Path, owner: str, device: torch.device) -> SyntheticSet:
    """Return the images in a file; raise `DistillationError` where it cannot be read, or holds those of another cell.

    Args:
        path: the file.
        owner: the hash of the cell whose images they must be.
        device: where they go.

    """
    try:
        with safetensors.safe_open(path, framework="pt", device=str(device)) as file:
            written_by = json.loads((file.metadata() or {}).get("hash", '""'))
            images = SyntheticSet(file.get_tensor("images"), file.get_tensor("labels"))
    except (OSError, ValueError, safetensors.SafetensorError) as error:
        raise DistillationError(f"{path} cannot be read ({error}); run this cell again with --force") from error
    if written_by != owner:
        raise DistillationError(f"{path} holds the images of another cell; run this one again with --force")
    return images


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


def distilled(folder: Path, spec: RunSpec) -> RunRecord | None:
    """Return the record of the distillation that `spec` describes, if its images are there, or evaluations of them."""
    record = read_record(folder / f"{spec.hash}.json")
    if not isinstance(record, RunRecord) or not (record.has_images or record.evaluations):
        return None
    return record if not record.has_images or (folder / record.images_name).is_file() else None


def finished(folder: Path, spec: RunSpec, checkpoints: Collection[int] = ()) -> RunRecord | None:
    """Return the record of a cell that need not run.

    It is distilled, has the `checkpoints` that are asked for, and is evaluated by every network that it asks for.
    """
    record = distilled(folder, spec)
    if record is None or record.status != "ok" or record.lacks_checkpoints(checkpoints):
        return None
    return None if record.missing_evaluations(spec, checkpoints) else record
