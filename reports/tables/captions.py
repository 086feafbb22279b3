"""What every table says of itself."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from bench.records.record import RunRecord
from bench.records.sections import Evaluation
from reports.frames.machines import machines
from reports.frames.metrics import metric_label
from reports.frames.profiles import profiles_label
from reports.frames.results import Results
from reports.frames.variants import run_precision


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
    networks = _listed(len(evaluation.accuracies) for evaluation in evaluations)
    seeds = ", ".join(map(str, sorted({record.spec.seed for record in records})))
    return (
        f"Profile {profiles_label([record.spec for record in records])}; seeds {seeds}; "
        f"{networks} evaluation networks a seed; "
        f"{metric_label()} on the {_listed(record.spec.protocol.data.split for record in records)} split; "
        f"hardware: {machines(records)}; "
        f"precision {_listed(run_precision(record.spec) for record in records)}. "
        f"± is the sample standard deviation between the seeds' mean accuracies; with one seed, between its networks."
    )


def _other_rates(results: Results) -> str:
    if not results.hidden_rates:
        return ""
    rates = ", ".join(f"{rate:g}" for rate in results.hidden_rates)
    return f" Cells that differ in the rate of a step alone (match.rate={rates}) are in the table and figure of rates only."


def networks_heading(results: Results) -> str:
    """Return ` of MLP` for a heading, or an empty string if every main evaluation is by the ConvNet, as usual."""
    evaluations = [record.main_evaluation for record in shown_records(results)]
    if all(evaluation.network == "convnet" for evaluation in evaluations):
        return ""
    return " of " + ", ".join(dict.fromkeys(evaluation.facts.label for evaluation in evaluations))


def _listed(values: Iterable[object]) -> str:
    return ", ".join(sorted({str(value) for value in values}))
