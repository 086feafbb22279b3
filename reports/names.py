"""What columns and rows are called, and in which order they stand: both as the records say."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel

from bench.protocol import Protocol
from bench.records import MethodFacts, RunRecord
from bench.spec import RunSpec
from reports.published import COLUMNS

DATASET_ORDER = ("digits", "mnist", "fashionmnist", "svhn", "cifar10", "cifar100")
"""The order of rows, the paper's; other datasets follow by name."""

_NO_SETTING = ("eval.networks", "whole.networks")
"""Fields that make no variant: one distilled set may be evaluated by several networks."""


def dataset_rank(name: str) -> tuple[int, str]:
    """Return the sort key of a dataset."""
    return (DATASET_ORDER.index(name) if name in DATASET_ORDER else len(DATASET_ORDER), name)


@dataclass(frozen=True)
class Names:
    """What tables print for methods and datasets. A column is a method's name, or that with a variant in brackets."""

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

    def facts(self, column: str) -> MethodFacts:
        """Return the facts of a column's method."""
        method = column.partition(" ")[0]
        return self.methods.get(method, MethodFacts(label=method))

    def column(self, column: str) -> str:
        """Return what is printed for a column."""
        return f"{self.facts(column).label} {column.partition(' ')[2]}".strip()

    def column_rank(self, column: str) -> tuple[int, str]:
        """Return the sort key of a column: the place that its method's file names, then its name."""
        return self.facts(column).order, column

    def dataset(self, name: str) -> str:
        """Return what is printed for a dataset."""
        return self.datasets.get(name, name)


def run_precision(spec: RunSpec) -> str:
    """Return the precision of a run: of distilling, or where that passes no images through networks, of the evaluation."""
    training = spec.protocol.eval or spec.protocol.whole
    return spec.precision or (training.precision if training else "fp32")


def protocol_fields(protocol: Protocol, *, precision: str = "auto") -> dict[str, Any]:
    """Return the fields of the sections that a protocol has, as dotted names.

    Args:
        protocol: whose fields.
        precision: the run's. A field of that value reads `auto`, so that only what was set apart from the run shows.

    """
    sections = {name: dict(section) for name, section in protocol if isinstance(section, BaseModel)}
    fields = {f"{name}.{field}": value for name, values in sections.items() for field, value in values.items()}
    return _relative({name: value for name, value in fields.items() if name not in _NO_SETTING}, precision)


def flat_settings(spec: RunSpec) -> dict[str, Any]:
    """Return what a method's numbers depend on, apart from dataset, IPC, seed and evaluation networks, as dotted names."""
    precision = run_precision(spec)
    settings = {f"{spec.method}.{name}": value for name, value in spec.settings.model_dump().items()}
    fields = _relative(settings, precision) | protocol_fields(spec.protocol, precision=precision)
    return fields | {"precision": precision, "code": spec.code, "numerics": spec.numerics}


def _relative(fields: Mapping[str, Any], precision: str) -> dict[str, Any]:
    return {name: "auto" if name.endswith(".precision") and value == precision else value for name, value in fields.items()}


def variants(records: Sequence[RunRecord]) -> dict[str, str]:
    """Return for each record, by hash, what tells it from other records of its method, or an empty text.

    A setting counts where it differs between records of one dataset and method. Records that were made under different settings
    are never averaged. Evaluation networks make no variant.
    """
    return _variants(records, {record.hash: flat_settings(record.spec) for record in records})


def column_names(records: Sequence[RunRecord]) -> dict[str, str]:
    """Return each record's column in tables of one network, by hash: `kr`, or `kr (kr.hidden=64)`.

    These tables take the main evaluation of each record. Where the records of a method have not all been evaluated by the same
    network, the column names it, because accuracies of different networks are not averaged either.
    """
    networks = {record.hash: {"eval.network": record.main_evaluation.network} for record in records}
    texts = _variants(records, {record.hash: flat_settings(record.spec) | networks[record.hash] for record in records})
    return {record.hash: column(record.spec.method, texts[record.hash]) for record in records}


def column(method: str, variant: str) -> str:
    """Return the name of a method's column."""
    return f"{method} ({variant})" if variant else method


def _variants(records: Sequence[RunRecord], settings: Mapping[str, Mapping[str, Any]]) -> dict[str, str]:
    """Return the text of each record's variant from all its settings, both by hash."""
    groups: dict[tuple[str, str], list[Mapping[str, Any]]] = defaultdict(list)
    for record in records:
        groups[record.spec.dataset, record.spec.method].append(settings[record.hash])
    differing: dict[str, set[str]] = defaultdict(set)
    for (_, method), members in groups.items():
        for name in {name for member in members for name in member}:
            if len({str(member.get(name)) for member in members}) > 1:
                differing[method].add(name)
    return {
        record.hash: ", ".join(f"{name}={settings[record.hash].get(name)}" for name in sorted(differing[record.spec.method]))
        for record in records
    }
