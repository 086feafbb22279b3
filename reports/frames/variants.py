"""What distinguishes the columns of a method: the settings in which its records differ, such as the variant `kr.hidden=64`."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Any

from pydantic import BaseModel

from bench.cells.protocol import Protocol
from bench.cells.spec import RunSpec
from bench.records.record import RunRecord

_NO_SETTING = ("eval.networks", "whole.networks")
"""Fields that make no variant: one distilled set may be evaluated by several networks."""

_OMIT_IF_NONE = ("match.rate", "match.lr_images", "data")
"""Settings that are not named if they are None: the step size of the other optimizer, and the only images of a dataset."""

_OF_THE_OPTIMIZER = frozenset({"match.lr_images", "match.momentum", "match.schedule"})
"""Settings that usually come with an optimizer: if each optimizer of a method has its own, the optimizer alone is named."""

_BY_IPC = (".iterations", ".outer", ".inner", "match.real_batch", "eval.nets", "eval.epochs")
"""How the names of settings end that say how long and how large. They may follow from the IPC, and make a variant only if
records of one IPC differ in them."""


def run_precision(spec: RunSpec) -> str:
    """Return the precision of a run: of distilling, or if that passes no images through networks, of the evaluation."""
    return spec.precision or spec.protocol.training.precision


@lru_cache(maxsize=1024)
def protocol_fields(protocol: Protocol, *, precision: str = "auto") -> Mapping[str, Any]:
    """Return the fields of the sections that a protocol has, as dotted names; all of them, to compare protocols by.

    Args:
        protocol: whose fields.
        precision: the run's. A field of that value reads `auto`, so that only what was set apart from the run shows.

    """
    sections = {name: dict(section) for name, section in protocol if isinstance(section, BaseModel)}
    return _relative(_dotted(sections), precision)


def real_settings(spec: RunSpec) -> dict[str, Any]:
    """Return what a method's numbers depend on, apart from dataset, IPC, seed and evaluation networks, as dotted names.

    They are those of the JSON of the description: a field that was added later is left out while it has its default.
    """
    settings = {f"{spec.method}.{name}": value for name, value in spec.settings.model_dump().items()}
    sections = {name: section.model_dump() for name, section in spec.protocol if isinstance(section, BaseModel)}
    others = {"precision": run_precision(spec), "code": spec.code, "data": spec.data, "numerics": spec.numerics}
    return {**settings, **_dotted(sections), **others}


def flat_settings(spec: RunSpec) -> dict[str, Any]:
    """Return the same with `auto` for what follows from the IPC or from the run, so that such cells are in one column.

    Those are a number of iterations and of epochs that is the default of the IPC, and a precision that is the run's.
    """
    fields = _relative(real_settings(spec), run_precision(spec))
    match, training = spec.protocol.match, spec.protocol.eval
    if match is not None and match == match.changed(iterations=None).at_ipc(spec.ipc or 1):
        fields["match.iterations"] = "auto"
    if training is not None and training == training.changed(epochs=None).at_ipc(spec.ipc or 1):
        fields["eval.epochs"] = "auto"
    return fields


def _dotted(sections: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    fields = {f"{name}.{field}": value for name, values in sections.items() for field, value in values.items()}
    return {name: value for name, value in fields.items() if name not in _NO_SETTING}


def _relative(fields: Mapping[str, Any], precision: str) -> dict[str, Any]:
    return {name: "auto" if name.endswith(".precision") and value == precision else value for name, value in fields.items()}


def variants(records: Sequence[RunRecord]) -> dict[str, str]:
    """Return the variant of each record, by hash: the settings that distinguish it from others of its method, or an empty one.

    A setting counts if it differs between records of one dataset and method; numbers of iterations, images, networks and epochs
    if records of one IPC differ in them. Evaluation networks make no variant, nor does the rate of a step:
    `reports.frames.results` keeps rates apart. What comes with the optimizer, such as its schedule, is not named beside it.
    """
    return _variants(records, _settings_by_hash(records))


def main_variants(records: Sequence[RunRecord]) -> dict[str, str]:
    """Return the same for tables that take the main evaluation of each record.

    If the records of a method have not all been evaluated by the same network, the variant names it, because accuracies of
    different networks are not averaged either.
    """
    settings = _settings_by_hash(records)
    networks = {record.hash: {"eval.network": record.main_evaluation.network} for record in records}
    return _variants(records, {digest: fields | networks[digest] for digest, fields in settings.items()})


def _settings_by_hash(records: Sequence[RunRecord]) -> dict[str, dict[str, Any]]:
    """Return the settings of each record; `data`, the digest of the dataset's images, is None if a method has a single one.

    A record that does not name its images is taken to have those of the other records of its dataset, if these name one set.
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
    """Return each record's variant from all its settings, both by hash."""
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
    """Return each record's variant; if all cells of a column have one value, it is printed instead of `auto`.

    Args:
        records: of all columns.
        settings: of each record, by hash.
        differing: the names of the settings that distinguish the columns of each method.

    """
    columns: dict[tuple[str, str], list[RunRecord]] = defaultdict(list)
    for record in records:
        columns[record.spec.method, _variant(settings[record.hash], differing.get(record.spec.method, ()))].append(record)
    made: dict[str, str] = {}
    for (method, _), members in columns.items():
        own, fields = differing.get(method, set()), dict(settings[members[0].hash])
        for name in own:
            if fields.get(name) == "auto":
                values = {real_settings(record.spec)[name] for record in members}
                fields[name] = values.pop() if len(values) == 1 else "by IPC" if name.endswith(_BY_IPC) else "that of the run"
        made |= dict.fromkeys((record.hash for record in members), _variant(fields, own))
    return made


def _implied(settings: Sequence[Mapping[str, Any]]) -> set[str]:
    """Return which settings of the optimizer always have the same value under the same optimizer, among those of one method."""
    seen: dict[tuple[str, str], set[str]] = defaultdict(set)
    for fields in settings:
        for name in _OF_THE_OPTIMIZER & fields.keys():
            seen[name, str(fields.get("match.optimizer"))].add(str(fields[name]))
    return {name for name, _ in seen} - {name for (name, _), values in seen.items() if len(values) > 1}


def _variant(settings: Mapping[str, Any], differing: Iterable[str]) -> str:
    """Return the settings that distinguish a column; those that its description lacks have their default, and are not named."""
    pairs = [(name, settings[name]) for name in sorted(differing) if name in settings]
    return ", ".join(f"{name}={value}" for name, value in pairs if value is not None or name not in _OMIT_IF_NONE)
