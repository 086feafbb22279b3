"""What columns and rows are called, and in which order they stand: both as the records say."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, NamedTuple

from pydantic import BaseModel

from bench.cells.protocol import Protocol
from bench.cells.spec import RunSpec
from bench.records.record import MethodFacts, RunRecord
from reports.frames.published import COLUMNS

DATASET_ORDER = ("digits", "mnist", "fashionmnist", "svhn", "cifar10", "cifar100")
"""The order of rows, the paper's; other datasets follow by name."""

_NO_SETTING = ("eval.networks", "whole.networks")
"""Fields that make no variant: one distilled set may be evaluated by several networks."""

_UNSAID = ("match.rate", "match.lr_images", "data")
"""Settings of which None says nothing: the size of a step under the other optimizer, and the only images of a dataset."""

_OF_THE_OPTIMIZER = frozenset({"match.lr_images", "match.momentum", "match.schedule"})
"""Settings that usually come with an optimizer: where each of a method's optimizers has its own, the optimizer says it all."""

_BY_IPC = (".iterations", ".outer", ".inner", "match.real_batch", "eval.nets", "eval.epochs")
"""How the names end of what says how long and how large. These may follow from the IPC, and make a variant only where records
of one IPC differ in them."""


def dataset_rank(name: str) -> tuple[int, str]:
    """Return the sort key of a dataset."""
    return (DATASET_ORDER.index(name) if name in DATASET_ORDER else len(DATASET_ORDER), name)


class Column(NamedTuple):
    """A column of tables: a method, and what tells its settings from others of that method, if there are any."""

    method: str
    variant: str = ""

    @property
    def name(self) -> str:
        """The two as one word for a file: `kr`, or `kr (kr.hidden=64)`."""
        return f"{self.method} ({self.variant})" if self.variant else self.method


@dataclass(frozen=True)
class Names:
    """What tables print for methods and datasets."""

    methods: Mapping[str, MethodFacts]
    datasets: Mapping[str, str]

    @classmethod
    def of(cls, records: Iterable[RunRecord]) -> Names:
        """Return the names that `records` carry, the newest record's where they differ; published columns have names too."""
        ordered = sorted(records, key=lambda record: record.finished)
        return cls(
            COLUMNS | {record.spec.method: record.method for record in ordered},
            {record.spec.dataset: record.dataset_label for record in ordered},
        )

    def facts(self, method: str) -> MethodFacts:
        """Return the facts of a method."""
        return self.methods.get(method, MethodFacts(label=method))

    def column(self, column: Column) -> str:
        """Return what is printed for a column: `KR`, or `KR (kr.hidden=64)`."""
        label = self.facts(column.method).label
        return f"{label} ({column.variant})" if column.variant else label

    def column_rank(self, column: Column) -> tuple[int, str, str]:
        """Return the sort key of a column: the place that its method's file names, then its name."""
        return self.facts(column.method).order, *column

    def dataset(self, name: str) -> str:
        """Return what is printed for a dataset."""
        return self.datasets.get(name, name)


def run_precision(spec: RunSpec) -> str:
    """Return the precision of a run: of distilling, or where that passes no images through networks, of the evaluation."""
    training = spec.protocol.eval or spec.protocol.whole
    return spec.precision or (training.precision if training else "fp32")


@lru_cache(maxsize=1024)
def protocol_fields(protocol: Protocol, *, precision: str = "auto") -> Mapping[str, Any]:
    """Return the fields of the sections that a protocol has, as dotted names.

    Args:
        protocol: whose fields.
        precision: the run's. A field of that value reads `auto`, so that only what was set apart from the run shows.

    """
    sections = {name: dict(section) for name, section in protocol if isinstance(section, BaseModel)}
    fields = {f"{name}.{field}": value for name, values in sections.items() for field, value in values.items()}
    return _relative({name: value for name, value in fields.items() if name not in _NO_SETTING}, precision)


def real_settings(spec: RunSpec) -> dict[str, Any]:
    """Return what a method's numbers depend on, apart from dataset, IPC, seed and evaluation networks, as dotted names."""
    settings = {f"{spec.method}.{name}": value for name, value in spec.settings.model_dump().items()}
    others = {"precision": run_precision(spec), "code": spec.code, "data": spec.data, "numerics": spec.numerics}
    return {**settings, **protocol_fields(spec.protocol), **others}


def flat_settings(spec: RunSpec) -> dict[str, Any]:
    """Return the same with `auto` for what follows from the IPC or from the run, so that such cells stand in one column.

    That are iterations and epochs that are as many as the IPC says, and a precision that is the run's.
    """
    fields = _relative(real_settings(spec), run_precision(spec))
    match, training = spec.protocol.match, spec.protocol.eval
    if match is not None and match == match.changed(iterations=None).at_ipc(spec.ipc or 1):
        fields["match.iterations"] = "auto"
    if training is not None and training == training.changed(epochs=None).at_ipc(spec.ipc or 1):
        fields["eval.epochs"] = "auto"
    return fields


def _relative(fields: Mapping[str, Any], precision: str) -> dict[str, Any]:
    return {name: "auto" if name.endswith(".precision") and value == precision else value for name, value in fields.items()}


def variants(records: Sequence[RunRecord]) -> dict[str, str]:
    """Return for each record, by hash, what tells it from other records of its method, or an empty text.

    A setting counts where it differs between records of one dataset and method; numbers of iterations, images, networks and
    epochs where records of one IPC differ in them. Evaluation networks make no variant, and the rate of a step makes none:
    `reports.frames.results` keeps rates apart. What comes with the optimizer, such as its schedule, is not named beside it.
    """
    return _variants(records, _settings_by_hash(records))


def main_variants(records: Sequence[RunRecord]) -> dict[str, str]:
    """Return the same for tables that take the main evaluation of each record.

    Where the records of a method have not all been evaluated by the same network, the variant names it, because accuracies of
    different networks are not averaged either.
    """
    settings = _settings_by_hash(records)
    networks = {record.hash: {"eval.network": record.main_evaluation.network} for record in records}
    return _variants(records, {digest: fields | networks[digest] for digest, fields in settings.items()})


def _settings_by_hash(records: Sequence[RunRecord]) -> dict[str, dict[str, Any]]:
    """Return the settings of each record. `data`, the digest of the dataset's images, is None where a method has one of them.

    A record that does not name its images is taken to have those of the other records of its dataset, if these name one.
    """
    by_dataset: dict[str, set[str]] = defaultdict(set)
    by_method: dict[tuple[str, str], set[str]] = defaultdict(set)
    for record in records:
        by_dataset[record.spec.dataset] |= {record.spec.data} - {""}
    digests = {record.hash: record.spec.data for record in records}
    for record in records:
        spec, named = record.spec, by_dataset[record.spec.dataset]
        digests[record.hash] = spec.data or (min(named) if len(named) == 1 else "unknown")
        by_method[spec.method, spec.dataset].add(digests[record.hash])
    settings = {}
    for record in records:
        several = len(by_method[record.spec.method, record.spec.dataset]) > 1
        settings[record.hash] = flat_settings(record.spec) | {"data": digests[record.hash] if several else None}
    return settings


def _variants(records: Sequence[RunRecord], settings: Mapping[str, Mapping[str, Any]]) -> dict[str, str]:
    """Return the text of each record's variant from all its settings, both by hash."""
    values: dict[tuple[str, str, str, int | None], set[str]] = defaultdict(set)
    names = {name for fields in settings.values() for name in fields} - {"match.rate"}
    for record in records:
        spec, fields = record.spec, settings[record.hash]
        for name in names:
            values[spec.method, name, spec.dataset, spec.ipc if name.endswith(_BY_IPC) else None].add(str(fields.get(name)))
    differing: dict[str, set[str]] = defaultdict(set)
    for (method, name, *_), members in values.items():
        if len(members) > 1:
            differing[method].add(name)
    for method, own in differing.items():
        own -= _implied([settings[record.hash] for record in records if record.spec.method == method])
    return _printed(records, settings, differing)


def _printed(
    records: Sequence[RunRecord], settings: Mapping[str, Mapping[str, Any]], differing: Mapping[str, set[str]]
) -> dict[str, str]:
    """Return the text of each record's variant: where all cells of a column have one value, that stands instead of `auto`.

    Args:
        records: of all columns.
        settings: of each record, by hash.
        differing: the names of the settings that tell the columns of a method apart.

    """
    columns: dict[tuple[str, str], list[RunRecord]] = defaultdict(list)
    for record in records:
        columns[record.spec.method, _text(settings[record.hash], differing.get(record.spec.method, ()))].append(record)
    texts: dict[str, str] = {}
    for (method, _), members in columns.items():
        own, fields = differing.get(method, set()), dict(settings[members[0].hash])
        for name in own:
            if fields.get(name) == "auto":
                values = {real_settings(record.spec)[name] for record in members}
                fields[name] = values.pop() if len(values) == 1 else "by IPC" if name.endswith(_BY_IPC) else "that of the run"
        texts |= dict.fromkeys((record.hash for record in members), _text(fields, own))
    return texts


def _implied(settings: Sequence[Mapping[str, Any]]) -> set[str]:
    """Return which settings of the optimizer always have the same value under the same optimizer, among those of one method."""
    seen: dict[tuple[str, str], set[str]] = defaultdict(set)
    for fields in settings:
        for name in _OF_THE_OPTIMIZER & fields.keys():
            seen[name, str(fields.get("match.optimizer"))].add(str(fields[name]))
    return {name for name, _ in seen} - {name for (name, _), values in seen.items() if len(values) > 1}


def _text(settings: Mapping[str, Any], differing: Iterable[str]) -> str:
    pairs = [(name, settings.get(name)) for name in sorted(differing)]
    return ", ".join(f"{name}={value}" for name, value in pairs if value is not None or name not in _UNSAID)
