"""Renew old records: `python -m bench.migrate FOLDER [FOLDER...]` brings those of older versions to today's, in place.

A FOLDER holds `records/`, or is itself such a folder. Where a renewed record has a new hash, its file and the images beside it
get new names; the tensors of the images stay as they are, bit for bit. A dataset of the registry is taken to have been the
published one, since older records do not say which images it held. The command can be repeated: it leaves today's version
alone. Each file that cannot be renewed is named in one line on the standard error, and left as it is.

The exit status is 0 where all records are of today's version, 1 where files were left, and 2 where a folder holds no records.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, TextIO

from pydantic import ValidationError
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from bench.errors import UsageError
from bench.old_records import RENEWALS
from bench.records import SCHEMA_VERSION, RunRecord
from bench.storage import atomic, file_digest, read_record, write_record

Outcome = Literal["renewed", "as they are", "left"]


def migrate_file(path: Path) -> Outcome:
    """Renew one record and its images, where it is of an older version.

    New files are complete before old ones go, and a run that was interrupted in between can be repeated.

    Raises:
        UsageError: one line that says why the file is left as it is.

    """
    old = _content(path)
    if old is None:
        return "as they are"
    try:
        record = RENEWALS[old.get("schema_version", 1)](old)
    except (UsageError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise UsageError(f"it is no complete record of version {old.get('schema_version', 1)}: {_reason(error)}") from None
    new = path.with_name(f"{record.hash}.json")
    there = read_record(new) if new != path else None
    if there is not None and not (isinstance(there, RunRecord) and there.model_copy(update={"images": {}}) == record):
        raise UsageError(f"{new.name} is another record of the same cell")
    old_images = _images_beside(path)
    for file in old_images if new != path else ():
        _copy_images(file, _renamed(file, path.stem, record.hash), old["hash"])
    images = {file.name: file_digest(file) for file in _images_beside(new)}  # those too that an interrupted run had moved
    write_record(path.parent, record.model_copy(update={"images": images}))
    if new != path:
        for file in (*old_images, path):
            file.unlink()
    return "renewed"


def _images_beside(path: Path) -> list[Path]:
    """Return the files of images of a record: the final ones, and those of checkpoints."""
    checkpoints = [file for file in path.parent.glob(f"{path.stem}-*.safetensors") if file.stem.rpartition("-")[2].isdecimal()]
    return sorted(file for file in (path.with_suffix(".safetensors"), *checkpoints) if file.is_file())


def _renamed(file: Path, old: str, new: str) -> Path:
    """Return the path of a file of images with another hash in its name."""
    return file.with_name(new + file.name.removeprefix(old))


def _content(path: Path) -> Mapping[str, Any] | None:
    """Return the content of an old record, or None for one of today's version; raise `UsageError` for other files."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UsageError(f"it cannot be read: {_reason(error)}") from None
    if not isinstance(content, Mapping) or not {"spec", "hash"} <= set(content):
        raise UsageError("it is no record of this suite")
    version = content.get("schema_version", 1)
    if version == SCHEMA_VERSION:
        record = read_record(path)
        if not isinstance(record, RunRecord):
            raise UsageError(f"it is no complete record of version {version}: {record.reason if record else 'it is gone'}")
        return None
    if version not in RENEWALS:
        raise UsageError(f"its form is version {version}; versions that can be renewed: {', '.join(map(str, RENEWALS))}")
    return content


def _copy_images(source: Path, target: Path, old_hash: str) -> None:
    """Copy a file of images, with the hash in its metadata changed to that of the new name.

    Args:
        source: the file beside the old record.
        target: the file beside the new one.
        old_hash: the hash of the old record, which the images must carry too.

    Raises:
        UsageError: where they are the images of another cell, or are damaged.

    """
    try:
        with safe_open(source, framework="np") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  (it is no mapping)
    except SafetensorError as error:
        raise UsageError(f"the images beside it cannot be read: {_reason(error)}") from None
    if json.loads(metadata.get("hash", "null")) not in (None, old_hash):
        raise UsageError("the images beside it are those of another cell")
    with atomic(target) as path:
        save_file(tensors, path, metadata={**metadata, "hash": json.dumps(target.stem.partition("-")[0])})


def _reason(error: Exception) -> str:
    """Return an error in one line; of pydantic's errors, the first."""
    if isinstance(error, ValidationError):
        first = error.errors(include_url=False)[0]
        return f"{'.'.join(map(str, first['loc']))}: {first['msg']}"
    text = str(error) if isinstance(error, UsageError) else f"{type(error).__name__}: {error}"
    return " ".join(text.split())


def migrate_folder(folder: Path, *, log: TextIO) -> Counter[Outcome]:
    """Renew the records of a folder; name on `log` what is left. Return how many files had each outcome.

    Raise `UsageError` where there is no JSON file.
    """
    records = folder / "records" if (folder / "records").is_dir() else folder
    paths = sorted(records.glob("*.json"))
    if not paths:
        raise UsageError(f"{folder} holds no records; valid: a folder with *.json files, or one that holds records/")
    outcomes: Counter[Outcome] = Counter()
    for path in paths:
        try:
            outcomes[migrate_file(path)] += 1
        except UsageError as error:
            log.write(f"left: {path}: {error}\n")
            outcomes["left"] += 1
    return outcomes


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; return its exit status, which the head of this file describes."""
    form = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(prog="python -m bench.migrate", description=__doc__, formatter_class=form)
    parser.add_argument("folders", nargs="+", type=Path, metavar="FOLDER", help="a folder that holds records/, or is one")
    status = 0
    for folder in parser.parse_args(arguments).folders:
        try:
            outcomes = migrate_folder(folder, log=sys.stderr)
        except UsageError as error:
            sys.stderr.write(f"migrate: error: {error}\n")
            status = 2
            continue
        counts = ", ".join(f"{outcomes[name]} {name}" for name in ("renewed", "as they are", "left"))
        sys.stdout.write(f"{folder}: {counts}\n")
        status = max(status, 1 if outcomes["left"] else 0)
    return status


if __name__ == "__main__":
    sys.exit(main())
