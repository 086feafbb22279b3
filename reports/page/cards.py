"""A card for every cell: the command that makes it again, and all that its record says about how it was made."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any, Self
from urllib.parse import quote

from pydantic import BaseModel

from bench.cells.spec import NUMERICS, RunSpec
from bench.records.record import RunRecord
from reports.frames.metrics import metric_name
from reports.frames.names import Column, dataset_rank
from reports.frames.results import Results
from reports.page.commands import command, spelling


@dataclass(frozen=True)
class Card:
    """What the page says about one cell.

    `title`: its method, variant and seed. `score`: its mean test accuracy, as it is printed. `facts`: the name and the value of
    each line. `warnings`: why the command may not make the same cell, and what failed. `record`: the path of its record, from
    the page; `images`: the paths of its files of images, each with the stage of distilling that it shows.
    """

    hash: str
    dataset: str
    ipc: str
    column: Column
    title: str
    score: str
    command: str
    facts: tuple[tuple[str, str], ...]
    warnings: tuple[str, ...]
    record: str
    images: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Deck:
    """The cards of one dataset and IPC."""

    title: str
    cards: tuple[Card, ...]


def decks(results: Results, folders: Mapping[str, Path], report: Path) -> list[Deck]:
    """Return a card for each record, those that tables leave out too, in reading order.

    Args:
        results: the records.
        folders: the folder of each record and its images, by hash.
        report: the folder of the page.

    """
    names = results.names
    columns = {record.hash: Column(record.spec.method, results.main_variants[record.hash]) for record in results.records}

    def deck(record: RunRecord) -> tuple[tuple[int, str], float]:
        return dataset_rank(record.spec.dataset), float("inf") if record.spec.ipc is None else record.spec.ipc

    def rank(record: RunRecord) -> tuple[Any, ...]:
        return *deck(record), names.column_rank(columns[record.hash]), record.spec.seed, record.hash

    listed = {folder: _Folder.of(folder, report) for folder in set(folders.values())}
    made: list[Deck] = []
    for _, group in groupby(sorted(results.records, key=rank), key=deck):
        records = list(group)
        cards = (_card(record, columns[record.hash], results, listed[folders[record.hash]]) for record in records)
        spec = records[0].spec
        size = "the whole training set" if spec.ipc is None else f"IPC {spec.ipc}"
        made.append(Deck(f"{names.dataset(spec.dataset)}, {size}", tuple(cards)))
    return made


@dataclass(frozen=True)
class _Folder:
    """A folder of records: the link to it from the page, and the names of the files of images in it."""

    link: str
    images: frozenset[str]

    @classmethod
    def of(cls, folder: Path, report: Path) -> Self:
        """Return the facts of a folder; it is listed once, since asking for each file takes longer."""
        link = Path(os.path.relpath(folder.resolve(), report.resolve())).as_posix()
        return cls(quote(link), frozenset(path.name for path in folder.glob("*.safetensors")))


def _card(record: RunRecord, column: Column, results: Results, folder: _Folder) -> Card:
    """Return the card of a record.

    Args:
        record: of the cell.
        column: its method and variant.
        results: names methods, and says which records tables take.
        folder: of the record.

    """
    spec, main = record.spec, record.main_evaluation
    stages = (*(at.iteration for at in record.checkpoints), None)
    images = {record.images_name_at(at): "the end" if at is None else f"iteration {at}" for at in stages}
    mean = sum(main.accuracies) / len(main.accuracies)
    return Card(
        hash=record.hash,
        dataset=spec.dataset,
        ipc="all" if spec.ipc is None else str(spec.ipc),
        column=column,
        title=f"{results.names.column(column)}, seed {spec.seed}",
        score=f"{mean:.1f} %",
        command=command(record),
        facts=tuple(_facts(record)),
        warnings=tuple(_warnings(record, left_out=record.hash not in results.shown)),
        record=f"{folder.link}/{record.hash}.json",
        images=tuple((f"{folder.link}/{name}", stage) for name, stage in images.items() if name in folder.images),
    )


def _facts(record: RunRecord) -> Iterator[tuple[str, str]]:
    """Yield the lines of a card."""
    spec = record.spec
    for evaluation in record.evaluations:
        yield f"accuracy, {evaluation.facts.label}", f"{_values(evaluation.accuracies)} % ({evaluation.seconds:.1f} s)"
        for name, values in evaluation.metrics.items():
            yield f"{metric_name(name)}, {evaluation.facts.label}", _values(values)
    yield "method", f"{record.method.citation or spec.method}"
    yield from _settings(spec)
    yield "seconds", _seconds(record)
    if record.preparation:
        yield "preparation", _preparation(record)
    if record.lr is not None:
        yield "learning rate of the set", f"{record.lr:.6g}"
    if record.peak_memory_mib is not None:
        yield "peak memory", f"{record.peak_memory_mib:.0f} MiB"
    if record.rms_start is not None and record.rms_end is not None:
        yield "root mean square", f"{record.rms_start:.3f} at the start, {record.rms_end:.3f} at the end, normalised units"
    for name, facts in (("hardware", record.hardware), ("versions", record.versions), ("code", record.code)):
        yield name, _pairs(facts)
    if spec.code:
        yield "own file", f"hash {spec.code}"
    if spec.data:
        yield "data", f"fingerprint {spec.data}"
    yield "finished", record.finished


def _values(values: Iterable[float]) -> str:
    return ", ".join(f"{value:.2f}" for value in values)


def _settings(spec: RunSpec) -> Iterator[tuple[str, str]]:
    """Yield the method's settings, and those of each section of the protocol that it uses."""
    own = spec.settings.model_dump()
    yield f"{spec.method}.", _pairs(own) or "no settings"
    for name, section in spec.protocol:
        if isinstance(section, BaseModel):
            yield f"{name}.", _pairs(dict(section))


def _pairs(values: Mapping[str, Any]) -> str:
    return ", ".join(
        f"{name}={'+'.join(map(str, value)) if isinstance(value, list | tuple) else value}" for name, value in values.items()
    )


def _seconds(record: RunRecord) -> str:
    """Return the seconds by stage, those of evaluation, and of an iteration."""
    stages = [f"{name} {value:.2f}" for name, value in record.seconds.items() if name != "total"]
    stages.append(f"evaluation {sum(evaluation.seconds for evaluation in record.evaluations):.2f}")
    if "total" in record.seconds:
        stages.append(f"in all {record.seconds['total']:.2f}")
    if record.seconds_per_iteration is not None:
        stages.append(f"an iteration {record.seconds_per_iteration:.4f} (median)")
    return ", ".join(stages)


def _preparation(record: RunRecord) -> str:
    """Return the seconds in all that the artefacts of a cell took, and of each whether this cell made it."""
    artefacts = sorted(record.preparation.values(), key=lambda artefact: (artefact.kind, artefact.label))
    shares = [
        f"{artefact.label} {artefact.seconds:.2f}, made {'by this cell' if artefact.made else 'for another cell'}"
        for artefact in artefacts
    ]
    return f"{sum(artefact.seconds for artefact in artefacts):.2f} s in all: {'; '.join(shares)}"


def _warnings(record: RunRecord, *, left_out: bool) -> Iterator[str]:
    """Yield what a reader has to know before trusting the card.

    Args:
        record: of the cell.
        left_out: whether tables leave it out because of its rate of the step.

    """
    spec, method = record.spec, spelling(record)
    if method != spec.method:
        yield f"The command needs {method}, unchanged (hash {spec.code or 'unknown'}), at this path from where it is run."
    if spec.numerics != NUMERICS:
        yield f"It was made with numerics {spec.numerics}, which are now {NUMERICS}: the command makes another cell."
    if not spec.data:
        yield "The record does not say which images the dataset had: the command gives the cell another hash."
    if left_out:
        yield "Tables leave it out: it differs from others in the rate of a step alone."
    yield from (" ".join(warning.split()) for warning in record.warnings)
    for network, error in record.failed_evaluations.items():
        yield f"The evaluation by {network} failed: {' '.join(error.split())}"
