"""Records made by hand, for the tests of reports."""

from __future__ import annotations

from bench.cells.method import Method
from bench.cells.protocol import PROFILES, Match, Training
from bench.cells.spec import RecordedSettings, RunSpec
from bench.records.record import RunRecord
from bench.records.sections import Checkpoint, Evaluation, MethodFacts, NetworkFacts
from methods import METHODS

LABELS = {"convnet": "ConvNet-3", "mlp": "MLP", "lenet": "LeNet"}


def evaluation(network="convnet", accuracies=(70.0, 71.0), *, seconds=2.0, label="") -> Evaluation:
    facts = NetworkFacts(label=label or LABELS.get(network, network), features=2048)
    return Evaluation(network=network, facts=facts, accuracies=accuracies, seconds=seconds)


def method_facts(method: Method) -> MethodFacts:
    """Return what records say of a method."""
    return MethodFacts(**{name: getattr(method, name) for name in MethodFacts.model_fields})


def record(
    method="dm",
    *,
    dataset="fashionmnist",
    ipc=1,
    seed=0,
    accuracies=(70.0, 71.0),
    evaluations=None,
    iterations=10,
    rate=None,
    settings=None,
    precision="fp32",
) -> RunRecord:
    """Return a record of the `cpu` profile; the whole training set is trained as published, so that its cells compare."""
    cpu = PROFILES["cpu"]
    facts = METHODS.get(method)
    own = facts.sections if facts else ("match", "eval")
    protocol = cpu.changed(
        match=cpu.match.changed(iterations=iterations, rate=rate).with_step() if "match" in own else None,
        eval=cpu.eval.at_ipc(ipc or 1).changed(precision=precision) if "eval" in own else None,
        whole=Training(nets=1, epochs=8, precision=precision) if "whole" in own else None,
        network=cpu.network.changed(depth=3),
    )
    spec = RunSpec(
        dataset=dataset,
        ipc=ipc,
        method=method,
        seed=seed,
        settings=RecordedSettings.model_validate(settings or {}),
        protocol=protocol,
        precision=precision if facts is None or facts.has_passes else None,
    )
    evaluations = (evaluation(accuracies=accuracies),) if evaluations is None else evaluations
    return RunRecord(
        hash=spec.hash,
        status="ok",
        spec=spec,
        method=MethodFacts(label=method.upper(), order=facts.order, color=facts.color)
        if facts
        else MethodFacts(label=method.upper()),
        dataset_label=dataset,
        evaluations=evaluations,
        loss=(1.0,) * iterations,
        seconds={"features": 1.0, "loss": 1.0, "update": 1.0, "total": 3.0 + sum(made.seconds for made in evaluations)},
        seconds_per_iteration=0.3,
        peak_memory_mib=100.0,
        hardware={"cpu": "a processor", "threads": 2, "device": "cpu"},
    )


def with_checkpoints(made: RunRecord, accuracies: dict[int, tuple[float, ...]]) -> RunRecord:
    """Return the record with checkpoints at some iterations, a tenth of a second each, evaluated by the ConvNet."""
    checkpoints = tuple(
        Checkpoint(
            iteration=iteration, seconds=0.1 * iteration, rms=1.0 + iteration / 10, evaluations=(evaluation(accuracies=of),)
        )
        for iteration, of in accuracies.items()
    )
    return made.model_copy(update={"checkpoints": checkpoints, "rms_start": 1.0, "rms_end": 2.0, "angle": 0.04})


def with_spec(made: RunRecord, **changes: object) -> RunRecord:
    """Return the record of another description."""
    spec = made.spec.model_copy(update=changes)
    return made.model_copy(update={"spec": spec, "hash": spec.hash})


def with_protocol(made: RunRecord, **sections: dict[str, object]) -> RunRecord:
    """Return the record with fields of its protocol's sections set; a section that its method does not use is added."""
    protocol = made.spec.protocol
    added = {"match": Match(), "eval": Training(), "whole": Training()}
    changed = {name: (getattr(protocol, name) or added[name]).changed(**fields) for name, fields in sections.items()}
    return with_spec(made, protocol=protocol.changed(**changed))


ODD = ("$_$", r"\frac{a}{", "a_b^c $x$", "100 %", "<b>&amp;</b>", 'ünï, "q"', "$$")
"""Names that are commands of LaTeX, Markdown or HTML."""

_NAMES = ("fashionmnist", "mnist", "own", "random", "dm", "kr", "emd", "sinkhorn")


def odd_name(of: str) -> str:
    return ODD[_NAMES.index(of) % len(ODD)] if of in _NAMES else ODD[-1]


def odd(made: RunRecord) -> RunRecord:
    """Return the record with names that are commands elsewhere: of its dataset, its method, and its networks."""
    name, dataset = odd_name(made.spec.method), odd_name(made.spec.dataset)
    evaluations = tuple(
        each.model_copy(update={"facts": each.facts.model_copy(update={"label": f"{each.network} {name}"})})
        for each in made.evaluations
    )
    changes = {"dataset_label": dataset, "method": made.method.model_copy(update={"label": f"{name} {made.spec.method}"})}
    return made.model_copy(update={**changes, "evaluations": evaluations})


def rich() -> list[RunRecord]:
    """Return records for which every figure has something: several datasets, IPCs, seeds, rates, networks, checkpoints."""
    networks = (evaluation("convnet", (70.0, 71.0)), evaluation("mlp", (50.0, 52.0)))
    records = []
    for row, (dataset, ipc) in enumerate((name, ipc) for name in ("fashionmnist", "mnist", "own") for ipc in (1, 10)):
        for number, method in enumerate(("random", "dm", "kr", "emd")):
            for seed in (0, 1):
                accuracies = (60.0 + row + number + seed, 61.0 + row + number)
                made = record(method, dataset=dataset, ipc=ipc, seed=seed, accuracies=accuracies, rate=0.05)
                records.append(with_checkpoints(made, {2: (40.0, 41.0), 5: (50.0, 51.0)}) if number and not row else made)
    records += [record("kr", rate=rate, seed=seed, accuracies=(60.0, 61.0)) for rate in (0.01, 0.2) for seed in (0, 1)]
    return [*records, record("sinkhorn", evaluations=networks)]
