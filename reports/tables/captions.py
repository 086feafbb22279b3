"""What every table says of itself."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from typing import Any, cast

from bench.cells.protocol import PROFILES
from bench.cells.spec import RunSpec
from bench.records.record import Evaluation, RunRecord
from reports.frames.names import protocol_fields, run_precision
from reports.frames.results import Results


def caption(results: Results) -> str:
    """Return the profile, seeds, networks and hardware of a table of main evaluations, and what ± means."""
    records = shown_records(results)
    return _caption(records, [record.main_evaluation for record in records]) + _other_rates(results)


def transfer_caption(results: Results) -> str:
    """Return the same for a table of all evaluations."""
    records = shown_records(results)
    return _caption(records, [evaluation for record in records for evaluation in record.evaluations]) + _other_rates(results)


def shown_records(results: Results) -> list[RunRecord]:
    """Return the records that tables take."""
    return [record for record in results.records if record.hash in results.shown]


def _caption(records: Sequence[RunRecord], evaluations: Iterable[Evaluation]) -> str:
    networks = _words(len(evaluation.accuracies) for evaluation in evaluations)
    seeds = ", ".join(map(str, sorted({record.spec.seed for record in records})))
    return (
        f"Profile {profiles_words([record.spec for record in records])}; seeds {seeds}; "
        f"{networks} evaluation networks a seed; "
        f"accuracy in percent on the {_words(record.spec.protocol.data.split for record in records)} split; "
        f"hardware: {machines(records)}; "
        f"precision {_words(run_precision(record.spec) for record in records)}. "
        f"± is the sample standard deviation between the seeds' mean accuracies; with one seed, between its networks."
    )


def _other_rates(results: Results) -> str:
    if not results.hidden_rates:
        return ""
    rates = ", ".join(f"{rate:g}" for rate in results.hidden_rates)
    return f" Cells that differ in the rate of a step alone (match.rate={rates}) stand in the table and figure of rates only."


def networks_heading(results: Results) -> str:
    """Return ` of MLP` for a heading, or an empty text where every main evaluation is by the ConvNet, as usual."""
    evaluations = [record.main_evaluation for record in shown_records(results)]
    if all(evaluation.network == "convnet" for evaluation in evaluations):
        return ""
    return " of " + ", ".join(dict.fromkeys(evaluation.facts.label for evaluation in evaluations))


def profile_words(spec: RunSpec) -> str:
    """Return the profile's name, and what was set otherwise than it says; the depth follows from the images' size."""
    changed = _changed(spec)
    name = spec.protocol.profile
    return f"{name} with {' '.join(f'{field}={value}' for field, value in changed.items())}" if changed else name


def profiles_words(specs: Iterable[RunSpec]) -> str:
    """Return the same for many cells: each profile once, with the values of its cells that differ from it, and in which cells.

    Cells without the section of a field, as random images have no matching loop, do not count.
    """
    profiles: dict[str, list[RunSpec]] = defaultdict(list)
    for spec in specs:
        profiles[spec.protocol.profile].append(spec)
    texts = []
    for name, members in sorted(profiles.items()):
        changed = [_changed(spec) for spec in members]
        fields = dict.fromkeys(field for values in changed for field in values)
        words: dict[str, list[str]] = defaultdict(list)
        for field in fields:
            value, where = _field_words(field, members, changed)
            words[where].append(value)
        groups = ", ".join(f"{' '.join(values)}{where}" for where, values in words.items())
        texts.append(f"{name} with {groups}" if groups else name)
    return " and profile ".join(texts)


def _field_words(field: str, specs: Sequence[RunSpec], changed: Sequence[Mapping[str, Any]]) -> tuple[str, str]:
    """Return the values of a field that differ from the profile, and in which cells, where others have the profile's own.

    Args:
        field: as a dotted name.
        specs: the cells of one profile.
        changed: the fields of each that are not as the profile says.

    """
    having = [index for index, spec in enumerate(specs) if field in protocol_fields(spec.protocol)]
    other = {index for index in having if field in changed[index]}
    values = sorted({_value(changed[index][field]) for index in other})
    ipcs = {specs[index].ipc for index in other}
    where = ""
    if other != set(having):
        whole = all(index in other for index in having if specs[index].ipc in ipcs)
        where = f" at IPC {' and '.join(map(str, sorted(ipc or 1 for ipc in ipcs)))}" if whole else " in part of the cells"
    return f"{field}={'|'.join(values)}", where


def _value(value: object) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def _changed(spec: RunSpec) -> dict[str, Any]:
    """Return the fields of a cell's protocol that are not as its profile says, but for the size of a step of no optimizer."""
    name = spec.protocol.profile
    if name not in PROFILES:
        return {}
    usual = _usual(name, spec.ipc or 1)
    fields = protocol_fields(spec.protocol, precision=run_precision(spec))
    sizes = {field for field in ("match.rate", "match.lr_images") if fields.get(field) is None}
    return {field: value for field, value in fields.items() if field not in {"network.depth", *sizes} and usual[field] != value}


@cache
def _usual(profile: str, ipc: int) -> Mapping[str, Any]:
    """Return the fields of a profile, with iterations and the size of a step, as the descriptions of cells have them."""
    protocol = PROFILES[profile].at_ipc(ipc)
    return protocol_fields(protocol.changed(match=protocol.match.with_step() if protocol.match else None))


def _words(values: Iterable[object]) -> str:
    return ", ".join(sorted({str(value) for value in values}))


def machines(records: Iterable[RunRecord]) -> str:
    """Return the processors or GPUs of records, each once: those of distilling and those of evaluations."""
    return _words(
        machine_words(hardware)
        for record in records
        for hardware in (record.hardware, *(evaluation.hardware for evaluation in record.evaluations if evaluation.hardware))
    )


def distilled_on(records: Iterable[RunRecord]) -> str:
    """Return what the seconds of distilling are of: the processors or GPUs, each once, with semicolons between."""
    return "; ".join(sorted({machine_words(record.hardware) for record in records}))


def machines_by_column(results: Results) -> Mapping[tuple[str, int, str, str], str]:
    """Return what the seconds of distilling of each dataset, IPC, method and variant are of; see `distilled_on`."""
    cells = results.cells.groupby(["dataset", "ipc", "method", "variant"])["hash"]
    return {
        cast("tuple[str, int, str, str]", place): distilled_on(results.by_hash[digest] for digest in digests)
        for place, digests in cells
    }


def machine_words(hardware: Mapping[str, Any]) -> str:
    """Return the processor or GPU of a record, how many threads it had, and among how many processes a cell was divided."""
    where = hardware.get("gpu", hardware.get("cpu", "unknown"))
    words = f"{where}, {hardware.get('threads', hardware.get('cores'))} threads on {hardware.get('device', 'cpu')}"
    ranks = hardware.get("ranks", 1)
    return f"{words}, {ranks} ranks" if ranks > 1 else words
