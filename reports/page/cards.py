"""A card for every cell: the command that makes it again, and all that its record says of how it was made."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any, Self
from urllib.parse import quote

from pydantic import BaseModel

from bench.cells.spec import NUMERICS, RunSpec
from bench.records.record import Evaluation, RunRecord
from reports.frames.names import Column, dataset_rank
from reports.frames.results import Results
from reports.page.commands import command, needed_file


@dataclass(frozen=True)
class Card:
    """What the page says of one cell.

    `title`: its method, variant and seed. `score`: its mean accuracy, in words. `facts`: pairs of what a line is about and what
    it says. `warnings`: what may keep the command from making the same cell, and what failed. `record`: the path of its record
    from the page; `images`: those of its files of images, with what each holds.
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
        folders: where each lies with its images, by hash.
        report: the folder of the page.

    """
    texts, names = results.main_variants, results.names

    def place(record: RunRecord) -> tuple[tuple[int, str], float]:
        return dataset_rank(record.spec.dataset), float("inf") if record.spec.ipc is None else record.spec.ipc

    def rank(record: RunRecord) -> tuple[Any, ...]:
        column = Column(record.spec.method, texts[record.hash])
        return *place(record), names.column_rank(column), record.spec.seed, record.hash

    places = {folder: _Folder.of(folder, report) for folder in set(folders.values())}
    made: list[Deck] = []
    for _, group in groupby(sorted(results.records, key=rank), key=place):
        records = list(group)
        cards = (
            _card(record, Column(record.spec.method, texts[record.hash]), results, places[folders[record.hash]])
            for record in records
        )
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
        """Return what cards need to know of a folder: one look into it is cheaper than one for each record."""
        link = Path(os.path.relpath(folder.resolve(), report.resolve())).as_posix()
        return cls(quote(link), frozenset(path.name for path in folder.glob("*.safetensors")))


def _card(record: RunRecord, column: Column, results: Results, folder: _Folder) -> Card:
    """Return the card of a record.

    Args:
        record: of the cell.
        column: its method and variant.
        results: what they are called.
        folder: where the record lies.

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
        images=tuple((f"{folder.link}/{name}", words) for name, words in images.items() if name in folder.images),
    )


def _facts(record: RunRecord) -> Iterator[tuple[str, str]]:
    """Yield the lines of a card."""
    spec = record.spec
    for evaluation in record.evaluations:
        yield f"accuracy, {evaluation.facts.label}", _accuracies(evaluation)
    yield "method", f"{record.method.citation or spec.method}"
    yield from _settings(spec)
    yield "seconds", _seconds(record)
    if record.peak_memory_mib is not None:
        yield "peak memory", f"{record.peak_memory_mib:.0f} MiB"
    if record.rms_start is not None and record.rms_end is not None:
        yield "root mean square", f"{record.rms_start:.3f} at the start, {record.rms_end:.3f} at the end, normalised units"
    for name, values in (("hardware", record.hardware), ("versions", record.versions), ("code", record.code)):
        yield name, _pairs(values)
    if spec.code:
        yield "own file", f"hash {spec.code}"
    if spec.data:
        yield "data", f"fingerprint {spec.data}"
    yield "finished", record.finished


def _accuracies(evaluation: Evaluation) -> str:
    values = ", ".join(f"{value:.2f}" for value in evaluation.accuracies)
    return f"{values} % ({evaluation.seconds:.1f} s)"


def _settings(spec: RunSpec) -> Iterator[tuple[str, str]]:
    """Yield the method's settings, and those of each section of the protocol that it uses."""
    own = spec.settings.model_dump()
    yield f"{spec.method}.", _pairs(own) or "no settings"
    for name, section in spec.protocol:
        if isinstance(section, BaseModel):
            yield f"{name}.", _pairs(dict(section))


def _pairs(values: Mapping[str, Any]) -> str:
    return ", ".join(f"{name}={_word(value)}" for name, value in values.items())


def _word(value: Any) -> str:
    return "+".join(map(str, value)) if isinstance(value, list | tuple) else str(value)


def _seconds(record: RunRecord) -> str:
    """Return the seconds by stage, those of evaluation, and of an iteration."""
    words = [f"{name} {value:.2f}" for name, value in record.seconds.items() if name != "total"]
    words.append(f"evaluation {sum(evaluation.seconds for evaluation in record.evaluations):.2f}")
    if "total" in record.seconds:
        words.append(f"in all {record.seconds['total']:.2f}")
    if record.seconds_per_iteration is not None:
        words.append(f"an iteration {record.seconds_per_iteration:.4f} (median)")
    return ", ".join(words)


def _warnings(record: RunRecord, *, left_out: bool) -> Iterator[str]:
    """Yield what a reader has to know before trusting the card.

    Args:
        record: of the cell.
        left_out: whether tables leave it out, for another rate of the step.

    """
    spec = record.spec
    if file := needed_file(record):
        yield f"The command needs {file}, as it was (hash {spec.code or 'unknown'}), seen from where it is run."
    if spec.numerics != NUMERICS:
        yield f"An engine of other numbers made it (numerics {spec.numerics}, now {NUMERICS}): the command makes another cell."
    if not spec.data:
        yield "The record does not say which images the dataset held: the command gives the cell another hash."
    if left_out:
        yield "Tables leave it out: it differs from others in the rate of a step alone."
    yield from (" ".join(text.split()) for text in record.warnings)
    for name, text in record.failed_evaluations.items():
        yield f"The evaluation by {name} failed: {' '.join(text.split())}"
