"""Distilled sets in the forms of other tools: `python -m reports export --out RESULTS --to dc-pt|parquet|png|npz`.

A file, or a folder, for each dataset, IPC, method and variant that tables show, with the images of all its seeds.
"""

from __future__ import annotations

import argparse
import hashlib
import re
import sys
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, TextIO

from bench.errors import UsageError, unknown
from bench.files import user_path
from bench.records.record import RunRecord
from bench.sets import (
    PICTURES_ABOUT,
    DistilledSet,
    read_tensors,
    write_arrays,
    write_condensation,
    write_parquet,
    write_pictures,
)
from reports.export.dataset_card import write_card
from reports.frames.names import Column, dataset_rank
from reports.frames.reading import finished_records
from reports.frames.results import Results
from reports.frames.variants import real_settings, variants
from reports.swap import swapped

PARQUET_NAME = "train-00000-of-00001.parquet"
"""The Hub's name of the one file of a split."""

_LONGEST = 120
"""The longest name of an export, without its suffix: file systems take 255 bytes."""


@dataclass(frozen=True)
class Export:
    """One distilled set to write, and the records of its seeds, in the order of seeds."""

    name: str
    content: DistilledSet
    records: tuple[RunRecord, ...]
    label: str
    dataset_label: str


Write = Callable[[Export, Path, TextIO], Path]
"""Writes a set into a folder; returns the file, or the folder in it, that holds the set."""


def export(out: Path, form: str, *, target: Path | None = None, log: TextIO | None = None) -> list[Path]:
    """Write the distilled sets of a results folder in another form; return the files or folders that were written.

    Args:
        out: the folder that holds `records/`.
        form: a key of `FORMS`.
        target: their folder; `<out>/export/` if it is None.
        log: gets a line for each cell that is left out, and for what a form cannot hold; the standard error if it is None.

    Raises:
        UsageError: if the form is unknown, there is nothing to export, or the target cannot be written to.

    """
    if form not in FORMS:
        raise unknown("--to", form, FORMS)
    lines = log or sys.stderr
    results = Results.of(finished_records(out, log=lines))
    target = target or out / "export"
    paths = []
    try:
        for exported in exports(results, out / "records", log=lines):
            target.mkdir(parents=True, exist_ok=True)
            paths.append(FORMS[form](exported, target, lines))
    except OSError as error:
        raise UsageError(f"--target {str(target)!r} cannot be written to ({error}); valid: a folder of yours") from error
    if not paths:
        raise UsageError(f"--out {str(out)!r} holds no distilled images; valid: a folder with images beside its records")
    return paths


def exports(results: Results, folder: Path, *, log: TextIO) -> Iterator[Export]:
    """Yield each distilled set that tables show.

    Args:
        results: the records.
        folder: of their images.
        log: gets a line for each cell that is left out.

    """
    names: set[str] = set()
    for (dataset, ipc, column), records in _groups(results, log).items():
        pairs = [(record, _images_of(record, folder, log)) for record in records]
        sets = [(record, content) for record, content in pairs if content is not None]
        if not sets:
            continue
        name = _file_name(dataset, f"ipc{ipc}", *filter(None, column))
        while name in names:
            name += "-2"
        names.add(name)
        label, dataset_label = results.names.column(column), results.names.dataset(dataset)
        yield Export(name, _joined(sets, column), tuple(record for record, _ in sets), label, dataset_label)


def _groups(results: Results, log: TextIO) -> dict[tuple[str, int, Column], list[RunRecord]]:
    """Return the records that tables take, with images, by dataset, IPC and column in reading order, each in order of seeds."""
    names = variants(results.records)
    groups: dict[tuple[str, int, Column], list[RunRecord]] = defaultdict(list)
    for record in sorted(results.records, key=lambda record: record.spec.seed):
        spec = record.spec
        if record.hash not in results.shown:
            log.write(f"not exported: {spec.label} ({record.hash}) at another rate of the step; tables leave it out too\n")
        elif record.has_images and spec.ipc is not None:
            groups[spec.dataset, spec.ipc, Column(spec.method, names[record.hash])].append(record)

    def rank(key: tuple[str, int, Column]) -> tuple[object, ...]:
        dataset, ipc, column = key
        return dataset_rank(dataset), ipc, results.names.column_rank(column)

    return {key: groups[key] for key in sorted(groups, key=rank)}


def _images_of(record: RunRecord, folder: Path, log: TextIO) -> DistilledSet | None:
    """Return the images of a cell; None, and a line in the log, if there are none of its own."""
    path = folder / record.images_name
    try:
        if not path.is_file():
            raise UsageError(f"{path} is not there")
        content = read_tensors(path, seed=record.spec.seed)
        if content.details.get("hash") != record.hash:
            raise UsageError(f"{path} holds the images of another cell")
    except UsageError as error:
        log.write(f"not exported: {record.spec.label} ({record.hash}): {error}\n")
        return None
    return content


def _joined(sets: Sequence[tuple[RunRecord, DistilledSet]], column: Column) -> DistilledSet:
    """Return the distillations of several seeds as one set, with their accuracies and how they were made."""
    accuracies: dict[str, tuple[float, ...]] = {}
    for record, _ in sets:
        for evaluation in record.evaluations:
            accuracies[evaluation.network] = accuracies.get(evaluation.network, ()) + evaluation.accuracies
    first, content = sets[0]
    details = {
        "method": column.method,
        "variant": column.variant,
        "ipc": first.spec.ipc,
        "profile": first.spec.protocol.profile,
        "citation": first.method.citation,
        "settings": {name: _simple(value) for name, value in real_settings(first.spec).items()},
        "hashes": [record.hash for record, _ in sets],
    }
    distillations = tuple(distillation for _, of_seed in sets for distillation in of_seed.distillations)
    return replace(content, distillations=distillations, accuracies=accuracies, details=details)


def _simple(value: Any) -> Any:
    """Return a setting as every form can hold it."""
    return list(value) if isinstance(value, tuple) else value


def _file_name(*components: str) -> str:
    """Return the name of an export without suffix; a long one is cut, and ends with a hash of the whole."""
    name = "_".join(re.sub(r"[^A-Za-z0-9_.=-]+", "-", component).strip("-.") for component in components)
    if len(name) > _LONGEST:
        name = f"{name[:_LONGEST]}-{hashlib.sha256(repr(components).encode(errors='surrogatepass')).hexdigest()[:8]}"
    return name


def _write_file(export: Export, target: Path, log: TextIO, *, suffix: str, write: Callable[[Path, DistilledSet], None]) -> Path:
    """Write a set to one file."""
    path = target / f"{export.name}{suffix}"
    write(path, export.content)
    return path


def _write_parquet(export: Export, target: Path, log: TextIO) -> Path:
    """Write a set as a dataset of the Hub: a Parquet file, and its card."""
    written, title = target / f"{export.name}-parquet", f"{export.dataset_label}, distilled by {export.label}"
    with swapped(written, lambda path: path.name in (PARQUET_NAME, "README.md")) as folder:
        write_parquet(folder / PARQUET_NAME, export.content)
        write_card(folder / "README.md", export.content, title=title, records=export.records)
    return written


def _write_pictures(export: Export, target: Path, log: TextIO) -> Path:
    """Write a set as pictures, and say what they cannot hold."""
    written = target / f"{export.name}-png"
    with swapped(written, lambda path: path.suffix == ".png" or path.name == PICTURES_ABOUT) as folder:
        clipped = write_pictures(folder, export.content)
    if clipped:
        log.write(f"{export.name}: {100 * clipped:.2g} % of the values lie outside [0, 1], and are clipped in pictures\n")
    if export.content.distillations[0].soft:
        log.write(f"{export.name}: its soft labels are left out; pictures are in the folder of the most probable class\n")
    return written


FORMS: Mapping[str, Write] = {
    "dc-pt": partial(_write_file, suffix=".pt", write=write_condensation),
    "parquet": _write_parquet,
    "png": _write_pictures,
    "npz": partial(_write_file, suffix=".npz", write=write_arrays),
}
"""The forms by name, as `--to` names them."""


def main(arguments: Sequence[str]) -> int:
    """Run `python -m reports export ARGUMENTS`; return its exit status: 0, or 2 on a user's mistake."""
    parser = argparse.ArgumentParser(prog="python -m reports export", description=__doc__.partition("\n")[0])
    add = parser.add_argument
    add("--out", default=Path("results"), type=user_path, help="the folder that holds records/")
    add("--to", required=True, metavar="FORM", help=", ".join(FORMS))
    add("--target", type=user_path, metavar="DIR", help="where the sets go (default: export/ in --out)")
    options = parser.parse_args(arguments)
    try:
        for path in export(options.out, options.to, target=options.target):
            sys.stdout.write(f"exported: {path}\n")
    except UsageError as error:
        sys.stderr.write(f"reports: error: {error}\n")
        return 2
    return 0
