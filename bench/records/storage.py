"""The files of records: one JSON file a cell, named by the hash of its description, with its images beside it.

Each is written completely or not at all. A record carries a checksum of itself and of its images. Files are identified by
content: a record with a wrong checksum is rejected; one under a wrong name counts for what it is, and is named.
"""

from __future__ import annotations

import hashlib
import json
import shlex
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from pydantic import ValidationError

from bench.cells.spec import RunSpec, hash_of
from bench.errors import DistillationError, UsageError
from bench.files import atomic, file_digest, is_file
from bench.lazy import safetensors
from bench.records.record import SCHEMA_VERSION, RecordProblem, RunRecord
from bench.types import SyntheticSet

if TYPE_CHECKING:
    import torch

    from bench.types import Bundle


def write_record(folder: Path, record: RunRecord) -> None:
    """Write `record` into `folder`, atomically."""
    content = signed(record.model_dump(mode="json"))
    with atomic(folder / f"{record.hash}.json") as path:
        path.write_text(json.dumps(content, indent=1, allow_nan=False) + "\n", encoding="utf-8")


def signed(content: Mapping[str, Any]) -> dict[str, Any]:
    """Return a record's content with its checksum."""
    return {**content, "checksum": _checksum(content)}


def _checksum(content: Mapping[str, Any]) -> str:
    """Return the SHA-256 of a record's canonical JSON, without the checksum itself."""
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def write_images(path: Path, spec: RunSpec, syn: SyntheticSet, bundle: Bundle) -> str:
    """Write images (normalised units, as evaluated) and labels.

    The metadata has mean and std, with pixel = image · std + mean, and the learning rate that the set carries, if any.

    Args:
        path: the file.
        spec: the cell.
        syn: its images.
        bundle: the dataset, whose class names and statistics are written along.

    Returns:
        The SHA-256 of the file, for the record.

    """
    tensors = {"images": syn.images.detach().cpu().contiguous(), "labels": syn.labels.cpu().contiguous()}
    about: dict[str, Any] = {"dataset": bundle.name, "classes": bundle.classes, "mean": bundle.mean, "std": bundle.std}
    about |= {"hash": spec.hash} | ({"lr": syn.lr} if syn.lr is not None else {})
    content = safetensors.torch.save(tensors, metadata={key: json.dumps(value) for key, value in about.items()})
    with atomic(path) as temporary:
        temporary.write_bytes(content)
    return hashlib.sha256(content).hexdigest()


def read_images(path: Path, owner: str, device: torch.device) -> SyntheticSet:
    """Return the images in a file; raise `DistillationError` if it cannot be read, or holds those of another cell.

    Args:
        path: the file.
        owner: the hash of the cell whose images they must be.
        device: where they go.

    """
    try:
        with safetensors.safe_open(path, framework="pt", device=str(device)) as file:
            metadata = file.metadata() or {}
            written_by, lr = (json.loads(metadata.get(name, "null")) for name in ("hash", "lr"))
            images = SyntheticSet(file.get_tensor("images"), file.get_tensor("labels"), lr=lr)
    except (OSError, ValueError, safetensors.SafetensorError) as error:
        raise DistillationError(f"{path} cannot be read ({error}); run this cell again with --force") from error
    if written_by != owner:
        raise DistillationError(f"{path} holds the images of another cell; run this one again with --force")
    return images


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"it holds {name}, which is no number")


class _OtherVersionError(ValueError):
    """A record is of another version of this suite, and its file may be sound."""


def parse_record(document: str) -> RunRecord:
    """Return the record in a JSON document; raise `ValueError` with one line if there is none of this version in it."""
    content = json.loads(document, parse_constant=_refuse_constant)
    if not isinstance(content, Mapping) or not {"spec", "hash"} <= set(content):
        raise ValueError("it is no record of this suite")
    version = content.get("schema_version", 1)
    if version != SCHEMA_VERSION:
        raise _OtherVersionError(f"its form is version {version}, not {SCHEMA_VERSION}: it is of another version of this suite")
    content = dict(content)
    if content.pop("checksum", None) != _checksum(content):
        raise ValueError("it is not as it was written: its checksum is that of another content")
    try:
        record = RunRecord.model_validate_json(json.dumps(content))
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        raise ValueError(f"{'.'.join(map(str, first['loc']))}: {first['msg']}") from None
    except UsageError as error:  # what the settings in it say of themselves
        raise ValueError(str(error)) from None
    if record.hash != hash_of(content["spec"]):
        raise ValueError("its hash is not that of its description")
    return record


def read_record(path: Path) -> RunRecord | RecordProblem | None:
    """Return the record in a file, None if there is no file, or what is wrong with it."""
    try:
        return parse_record(path.read_text(encoding="utf-8")) if is_file(path) else None
    except FileNotFoundError:
        return None
    except Exception as error:  # noqa: BLE001  (one damaged file does not keep the others from being read)
        sound = isinstance(error, OSError | _OtherVersionError)  # for all we know
        reason = " ".join(str(error).split()) or type(error).__name__
        return RecordProblem(path=path, reason=reason, remedy="none" if sound else "remove")


def image_damage(path: Path, record: RunRecord) -> RecordProblem | None:
    """Return what is wrong with the images of a record, if anything: one is not as it was written. One may be missing.

    Args:
        path: the record's file; its images are beside it.
        record: its content.

    """
    for name, digest in record.images.items():
        images = path.with_name(name)
        try:
            whole = not images.exists() or (images.is_file() and file_digest(images) == digest)
        except OSError as error:
            reason = f"the images in {name} cannot be read ({error.strerror})"
            return RecordProblem(path=path, reason=reason, remedy="none")
        if not whole:
            reason = f"the images in {name} are not those that it was written with; the command that made it makes them again"
            return RecordProblem(path=path, reason=reason, remedy="rerun")
    return None


def read_folder(folder: Path) -> tuple[list[RunRecord], list[RecordProblem]]:
    """Return the records in a folder, each once, in the order of their hashes, and what is wrong with files.

    A record counts as the cell that it describes, whatever its file is called.
    """
    records, problems = dict[str, RunRecord](), list[RecordProblem]()
    contents = {path: read_record(path) for path in sorted(folder.glob("*.json"))}
    rightly_named_first = sorted(
        contents.items(), key=lambda pair: not (isinstance(pair[1], RunRecord) and pair[0].stem == pair[1].hash)
    )
    for path, content in rightly_named_first:
        if isinstance(content, RunRecord):
            problem = _problem(path, content, records.get(content.hash))
            if problem is None or problem.counted:
                records[content.hash] = content
        else:
            problem = content
        if problem is not None:
            problems.append(problem)
    return [records[digest] for digest in sorted(records)], sorted(problems, key=lambda problem: problem.path)


def _problem(path: Path, record: RunRecord, other: RunRecord | None) -> RecordProblem | None:
    """Return what is wrong with a whole record, if anything.

    Args:
        path: its file.
        record: its content.
        other: a record of the same cell that counts already.

    """
    damage = image_damage(path, record)
    if damage is not None:
        return damage
    if other is not None:
        kind = "a copy of" if other == record else "another record of the cell of"
        reason = f"it is {kind} {record.hash}.json, which counts; to remove it: rm {shlex.quote(str(path))}"
        return RecordProblem(path=path, reason=reason, remedy="none")
    if path.stem != record.hash:
        target = path.with_name(f"{record.hash}.json")
        reason = (
            f"it holds the record of {record.spec.label}, and counts as that; "
            f"to rename it: mv {shlex.quote(str(path))} {shlex.quote(str(target))}"
        )
        return RecordProblem(path=path, reason=reason, counted=True)
    return None


def distilled(folder: Path, spec: RunSpec) -> RunRecord | None:
    """Return the record of the distillation that `spec` describes, if all of its images are there, or it had none to keep."""
    record = _record_of(folder, spec)
    if record is None or not (record.images or record.evaluations):
        return None
    there = all((folder / name).is_file() for name in record.images)
    return record if there and image_damage(folder / f"{record.hash}.json", record) is None else None


def worth_keeping(folder: Path, spec: RunSpec) -> RunRecord | None:
    """Return the record that no failure may replace: its images are there, or it has evaluations, whatever became of them."""
    record = _record_of(folder, spec)
    return record if record is not None and record.evaluations else distilled(folder, spec)


def _record_of(folder: Path, spec: RunSpec) -> RunRecord | None:
    """Return the record of a cell, if there is a whole one."""
    record = read_record(folder / f"{spec.hash}.json")
    return record if isinstance(record, RunRecord) and record.hash == spec.hash else None


def finished(folder: Path, spec: RunSpec, checkpoints: Collection[int] = ()) -> RunRecord | None:
    """Return the record of a cell that need not run.

    It is distilled, has the `checkpoints` that are asked for, and is evaluated by every network that it asks for.
    """
    record = distilled(folder, spec)
    if record is None or record.status != "ok" or record.lacks_checkpoints(checkpoints):
        return None
    return None if record.missing_evaluations(spec, checkpoints) else record
