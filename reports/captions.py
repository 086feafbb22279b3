"""What every table says of itself."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from bench.protocol import PROFILES
from bench.records import Evaluation, RunRecord
from bench.spec import RunSpec
from reports.names import protocol_fields, run_precision


def caption(records: Sequence[RunRecord]) -> str:
    """Return the profile, seeds, networks and hardware of a table of main evaluations, and what ± means."""
    return _caption(records, [record.main_evaluation for record in records])


def transfer_caption(records: Sequence[RunRecord]) -> str:
    """Return the same for a table of all evaluations."""
    return _caption(records, [evaluation for record in records for evaluation in record.evaluations])


def _caption(records: Sequence[RunRecord], evaluations: Iterable[Evaluation]) -> str:
    networks = _words(len(evaluation.accuracies) for evaluation in evaluations)
    seeds = ", ".join(map(str, sorted({record.spec.seed for record in records})))
    return (
        f"Profile {_words(profile_words(record.spec) for record in records)}; seeds {seeds}; "
        f"{networks} evaluation networks a seed; "
        f"accuracy in percent on the {_words(record.spec.protocol.data.split for record in records)} split; "
        f"hardware: {_words(_machine(record.hardware) for record in records)}; "
        f"precision {_words(run_precision(record.spec) for record in records)}. "
        f"± is the sample standard deviation between the seeds' mean accuracies; with one seed, between its networks."
    )


def networks_heading(records: Sequence[RunRecord]) -> str:
    """Return ` of MLP` for a heading, or an empty text where every main evaluation is by the ConvNet, as usual."""
    evaluations = [record.main_evaluation for record in records]
    if all(evaluation.network == "convnet" for evaluation in evaluations):
        return ""
    return " of " + ", ".join(dict.fromkeys(evaluation.facts.label for evaluation in evaluations))


def profile_words(spec: RunSpec) -> str:
    """Return the profile's name, and what was set otherwise than it says; the depth follows from the images' size."""
    name = spec.protocol.profile
    if name not in PROFILES:
        return name
    usual = protocol_fields(PROFILES[name])
    fields = protocol_fields(spec.protocol, precision=run_precision(spec))
    changed = [f"{field}={value}" for field, value in fields.items() if field != "network.depth" and usual[field] != value]
    return f"{name} with {' '.join(changed)}" if changed else name


def _words(values: Iterable[object]) -> str:
    return ", ".join(sorted({str(value) for value in values}))


def _machine(hardware: Mapping[str, Any]) -> str:
    where = hardware.get("gpu", hardware.get("cpu", "unknown"))
    return f"{where}, {hardware.get('threads', hardware.get('cores'))} threads on {hardware.get('device', 'cpu')}"
