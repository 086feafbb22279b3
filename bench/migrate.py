"""Renew old records: `python -m bench.migrate FOLDER [FOLDER...]` brings those of version 1 to version 2, in place.

A FOLDER holds `records/`, or is itself such a folder. A renewed record has a new hash, so the file and the images beside it get
new names; the tensors of the images stay as they are, bit for bit. The command can be repeated: it leaves version 2 alone.
Each file that cannot be renewed is named in one line on the standard error, and left as it is.

The exit status is 0 where all records are of version 2 now, 1 where files were left, and 2 where a folder holds no records.
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
from bench.protocol import Protocol
from bench.records import Evaluation, MethodFacts, NetworkFacts, RunRecord, atomic, read_record, write_record
from bench.spec import RecordedSettings, RunSpec

_SECTIONS = ("match", "eval", "whole")

_WITHOUT_PASSES = frozenset({"random", "herding", "kcenter", "kmeans", "whole"})
"""The methods that optimise no images: the run's precision enters their protocol, but not the description itself."""

_NEW_SETTINGS: dict[str, dict[str, Any]] = {
    "kr": {"precision": "auto"},
    **{method: {"network": "convnet"} for method in ("dc", "dsa", "cafe", "herding", "kcenter", "kmeans")},
}
"""Settings that a method has today and that its older records lack, with the value that these records were made under."""

_FACTS: dict[str, tuple[int, str, str]] = {
    "random": (10, "#949494", "Li, Xue and Shi 2025, Table 2"),
    "herding": (20, "#de8f05", "Welling 2009; Rebuffi et al. 2017, Algorithm 4"),
    "kcenter": (30, "#8c613c", "Gonzalez 1985; Sener and Savarese 2018"),
    "kmeans": (40, "#b1400d", "Lloyd 1982; Arthur and Vassilvitskii 2007"),
    "dc": (50, "#56b4e9", "Zhao, Mopuri and Bilen 2021, Algorithm 1"),
    "dsa": (60, "#ca9161", "Zhao and Bilen 2021"),
    "cafe": (70, "#fbafe4", "Wang et al. 2022"),
    "dm": (80, "#0173b2", "Zhao and Bilen 2023, eq. 4"),
    "kr": (90, "#d55e00", "Li, Xue and Shi 2025, Algorithm 1"),
    "sinkhorn": (100, "#029e73", "Cuturi 2013; Feydy et al. 2019, eq. 3"),
    "emd": (110, "#cc78bc", "Bonneel et al. 2011 (network simplex)"),
    "whole": (1000, "#4d4d4d", "Li, Xue and Shi 2025, Table 2"),
}
"""Order, colour and citation of the methods that the suite had in version 1, whose records lack them."""

Outcome = Literal["renewed", "version 2 before", "left"]


def renew(old: Mapping[str, Any], *, has_images: bool) -> RunRecord:
    """Return the record of version 2 that says what one of version 1 said.

    Args:
        old: the content of the old record's file.
        has_images: whether there is a file of images beside it.

    Raises:
        UsageError, ValueError, KeyError, TypeError: where `old` is no complete record of version 1.

    """
    spec = renewed_spec(old["spec"])
    seconds = {stage: value for stage, value in old["seconds"].items() if stage != "evaluation"}
    details = dict(old["details"])
    if "kernels" in details:
        details["kernels"] = {name: kernel for name, kernel in details["kernels"].items() if name != "evaluation"}
    order, color, citation = _FACTS.get(spec.method, (MethodFacts(label="").order, "", ""))
    return RunRecord(
        hash=spec.hash,
        status=old["status"],
        spec=spec,
        method=MethodFacts(label=old["labels"].get("method", spec.method), order=order, color=color, citation=citation),
        dataset_label=old["labels"].get("dataset", spec.dataset),
        error=old["error"],
        has_images=has_images,
        evaluations=_evaluations(old),
        loss=tuple(old["loss"]),
        seconds=seconds,
        seconds_per_iteration=old["seconds_per_iteration"],
        peak_memory_mib=old["peak_memory_mib"],
        hardware=old["hardware"],
        versions=old["versions"],
        code=old["code"],
        details=details,
        finished=old["finished"],
    )


def renewed_spec(old: Mapping[str, Any]) -> RunSpec:
    """Return the description that a `spec` of version 1 stands for; raise as `renew` does.

    The learning rate on the images moves from the protocol to the method's settings, each precision `auto` becomes the run's,
    and fields that came later get the values that the record was made under.
    """
    method, precision = old["method"], old["precision"]
    protocol = {name: dict(value) if isinstance(value, Mapping) else value for name, value in old["protocol"].items()}
    settings = {**_NEW_SETTINGS.get(method, {}), **old["hyper"]}
    if "match" in protocol:
        settings["lr_images"] = float(protocol["match"].pop("lr_images"))
    checked = Protocol.model_validate({**dict.fromkeys(_SECTIONS), **protocol})
    used = {name: getattr(checked, name) for name in _SECTIONS if name in protocol}
    return RunSpec(
        dataset=old["dataset"],
        ipc=old["ipc"],
        method=method,
        seed=old["seed"],
        settings=RecordedSettings.model_validate(settings).at_precision(precision),
        protocol=checked.model_copy(update={name: section.at_precision(precision) for name, section in used.items()}),
        precision=None if method in _WITHOUT_PASSES else precision,
        code=old.get("code", ""),
        numerics=old["numerics"],
    )


def _evaluations(old: Mapping[str, Any]) -> tuple[Evaluation, ...]:
    """Return the evaluation that a record of version 1 holds: by the ConvNet, or none where the cell failed."""
    if not old["accuracies"]:
        return ()
    network = old["network"]
    evaluation = Evaluation(
        network="convnet",
        facts=NetworkFacts(label=network["name"], width=network["width"], depth=network["depth"], features=network["features"]),
        accuracies=tuple(old["accuracies"]),
        seconds=old["seconds"]["evaluation"],
        kernel=old["details"].get("kernels", {}).get("evaluation", ""),
        finished=old["finished"],
    )
    return (evaluation,)


def migrate_file(path: Path) -> Outcome:
    """Renew one record and its images, where it is of version 1.

    New files are complete before old ones go, and a run that was interrupted in between can be repeated.

    Raises:
        UsageError: one line that says why the file is left as it is.

    """
    old = _content(path)
    if old is None:
        return "version 2 before"
    try:
        record = renew(old, has_images=path.with_suffix(".safetensors").is_file())
    except (UsageError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise UsageError(f"it is no complete record of version 1: {_reason(error)}") from None
    new = path.with_name(f"{record.hash}.json")
    if not record.has_images and new.with_suffix(".safetensors").is_file():  # an interrupted run moved them
        record = record.model_copy(update={"has_images": True})
    if new.exists() and read_record(new) != record:
        raise UsageError(f"{new.name} is another record of the same cell")
    if path.with_suffix(".safetensors").is_file():
        _copy_images(path.with_suffix(".safetensors"), new.with_suffix(".safetensors"), old["hash"])
    write_record(path.parent, record)
    path.with_suffix(".safetensors").unlink(missing_ok=True)
    path.unlink()
    return "renewed"


def _content(path: Path) -> Mapping[str, Any] | None:
    """Return the content of a record of version 1, or None for a record of version 2; raise `UsageError` for other files."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UsageError(f"it cannot be read: {_reason(error)}") from None
    if not isinstance(content, Mapping) or not {"spec", "hash"} <= set(content):
        raise UsageError("it is no record of this suite")
    version = content.get("schema_version", 1)
    if version == 2:
        record = read_record(path)
        if not isinstance(record, RunRecord):
            raise UsageError(f"it is no complete record of version 2: {record.reason if record else 'it is gone'}")
        return None
    if version != 1:
        raise UsageError(f"its form is version {version}; only version 1 can be renewed")
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
        save_file(tensors, path, metadata={**metadata, "hash": json.dumps(target.stem)})


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
        counts = ", ".join(f"{outcomes[name]} {name}" for name in ("renewed", "version 2 before", "left"))
        sys.stdout.write(f"{folder}: {counts}\n")
        status = max(status, 1 if outcomes["left"] else 0)
    return status


if __name__ == "__main__":
    sys.exit(main())
