"""Estimates of seconds and memory, and the plans that are made of them."""

from __future__ import annotations

import math
import random
import re
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

import run_all
from bench.cells.grid import make_specs
from bench.command.command import parse
from bench.machine.compute import Compute
from bench.machine.hardware import hardware
from bench.plan.cost import operations, passed
from bench.plan.estimates import Estimates, Machine, measured, usual_machine
from bench.plan.lines import dry_run, duration, simulation
from bench.plan.similar import Measured, SimilarRecords
from bench.records.sections import PreparedFor
from datasets import DATASETS
from methods import METHODS

REFERENCE = Path(__file__).resolve().parents[3] / "reports" / "reference"
SPEED = {"dm": 1.0, "kr": 3.0, "emd": 1.5}
MACHINE = {"old": 4.0, "new": 1.0}


def rows(noise=0.0, repeats=20):
    """Return measured values that are a product of factors, each with `noise` in its logarithm."""
    generator = random.Random(0)
    return [
        Measured(
            (method, machine),
            7 * speed * slow * math.exp(generator.gauss(0, noise)),
            f"{method} {number}",
            Machine(machine, 1),
        )
        for method, speed in SPEED.items()
        for machine, slow in MACHINE.items()
        for number in range(repeats)
    ]


def test_what_was_measured_is_estimated_by_the_records_of_its_own_levels():
    estimates = SimilarRecords(rows())
    for method, speed in SPEED.items():
        for machine, slow in MACHINE.items():
            assert estimates.predict((method, machine)) == pytest.approx(7 * speed * slow)


def test_what_was_never_measured_is_taken_to_be_average():
    estimates = SimilarRecords(rows())
    measured_here = [estimates.predict((method, "new")) for method in SPEED]
    other = estimates.predict(("of a user", "new"))
    assert min(measured_here) < other < max(measured_here)
    assert other == pytest.approx(math.exp(np.log(measured_here).mean()), rel=0.05)


def test_the_first_of_the_levels_counts_most():
    levels = [("dm", "old"), ("kr", "new")]
    estimates = SimilarRecords([Measured(at, value, "", "") for at, value in zip(levels, (2.0, 3.0), strict=True)])
    assert estimates.predict(("dm", "new")) == pytest.approx(2)
    assert estimates.predict(("emd", "new")) == pytest.approx(3)
    assert estimates.predict(("emd", "other")) == pytest.approx(math.sqrt(6))
    assert SimilarRecords([]).predict(("dm", "new")) == 1


@pytest.mark.parametrize("group", ["kind", "machine"])
def test_the_error_is_that_of_estimates_without_the_cells_of_a_kind_or_of_a_machine(group):
    made = rows(noise=0.3, repeats=3)
    squares = []
    for name in {getattr(row, group) for row in made}:
        others = SimilarRecords([row for row in made if getattr(row, group) != name])
        left_out = [row for row in made if getattr(row, group) == name]
        squares += [(math.log(row.value) - math.log(others.predict(row.levels))) ** 2 for row in left_out]
    assert SimilarRecords(made).error(group) == pytest.approx(math.sqrt(np.mean(squares)), rel=1e-6)


def test_of_other_machines_nothing_is_said_if_all_records_are_of_the_same():
    assert math.isnan(SimilarRecords([row for row in rows() if row.machine.name == "new"]).error("machine"))


@pytest.fixture(scope="module")
def records():
    """Return the committed records of real images."""
    return measured(*(REFERENCE / name / "records" for name in ("cpu", "rates", "transport")))


@pytest.fixture(scope="module")
def estimates(records):
    """Return estimates for the machine that most of the records are of."""
    return Estimates(records, METHODS, DATASETS, usual_machine(records))


def test_cells_that_were_measured_are_estimated_within_a_factor_of_two_and_a_half(records, estimates):
    here = [record for record in records if Machine.of(record.hardware) == estimates.machine]
    assert len(here) > 30
    for record in here:
        assert 0.4 < estimates.seconds(record.spec) / record.seconds["total"] < 2.5, record.spec.label
        assert 0.5 < estimates.memory(record.spec) / record.peak_memory_mib < 2, record.spec.label


def test_a_kind_of_cell_without_records_is_estimated_within_a_factor_of_two(estimates):
    for model in (estimates.distilling, estimates.evaluating, estimates.memory_model):
        assert len(model.rows) > 30
        assert 1 < math.exp(model.error("kind")) < 2


def cells(*arguments):
    """Return the specs of a command line."""
    options = parse(run_all.SUITE, arguments)
    return make_specs(
        methods=options.methods,
        sources=options.sources,
        ipcs=options.ipcs,
        seeds=options.seeds,
        protocol=options.protocol,
        precision="fp32",
    )


def documented(records, threads, *more, **options):
    """Return the specs of the grid whose seconds docs/cluster.md has, and estimates for its processor with some threads."""
    arguments = [
        "--methods=dm,emd",
        "--datasets=fashionmnist",
        "--ipc=1",
        "--profile=cpu",
        "--iterations=30",
        "--precision=fp32",
    ]
    specs = cells(*arguments, "--eval-nets=2", "--set=eval.epochs=100", *more)
    return specs, Estimates(records, METHODS, DATASETS, Machine("AMD EPYC", threads), **options)


def test_twice_the_threads_take_about_half_the_seconds_though_the_records_of_each_number_are_of_other_processors(records):
    (specs, one), (_, two) = documented(records, 1), documented(records, 2)
    assert {record.hardware["threads"] for record in records if record.hardware["cpu"] == "AMD EPYC"} == {1, 2}
    for spec in specs:
        assert one.seconds(spec) / two.seconds(spec) == pytest.approx(2**0.9)


def test_what_was_measured_on_another_processor_lies_within_the_error_that_is_stated_for_it(records):
    for threads, measured_seconds in ((2, 132.6), (1, 2 * 122.6)):  # the second: two cells side by side
        specs, estimates = documented(records, threads)
        models = estimates.distilling, estimates.evaluating
        error = math.exp(min(model.error("machine") for model in models))
        assert 1 / error < sum(map(estimates.seconds, specs)) / measured_seconds < error
        assert all(model.error("machine") > model.error("kind") for model in models)
        elsewhere = math.exp(estimates.distilling.error("machine"))
        assert re.search(rf"distilling x/÷ {elsewhere:.2g}, .* of the same name", estimates.basis)


def test_evaluations_at_checkpoints_cost_as_much_as_the_last(records):
    (spec, _), without = documented(records, 1)
    _, estimates = documented(records, 1, checkpoints=(10, 20, 30))  # the last iteration is no checkpoint
    (twice, _), _ = documented(records, 1, "--eval-nets=6")
    assert estimates.seconds(spec) == pytest.approx(without.seconds(twice))


def test_a_cell_that_lacks_evaluations_only_is_not_distilled_again(records, estimates):
    record = next(record for record in records if record.spec.method == "dm" and record.spec.networks == ("convnet",))
    wanted = record.spec.with_networks(("convnet", "mlp"))
    options = {"distilled": {record.hash: record}}
    there = Estimates(records, METHODS, DATASETS, estimates.machine, **options)
    mlp = estimates.seconds(wanted) - estimates.seconds(record.spec)
    assert there.seconds(wanted) == pytest.approx(mlp)
    assert there.seconds(record.spec) == 0


def test_without_records_cells_are_ordered_by_their_operations(records):
    estimates = Estimates([], METHODS, DATASETS, Machine("", 1))
    of = {(record.spec.dataset, record.spec.ipc, record.spec.method): record.spec for record in records}
    one, ten = (estimates.seconds(of["fashionmnist", ipc, "dm"]) for ipc in (1, 10))
    assert one < ten
    assert estimates.memory(of["fashionmnist", 1, "dm"]) is None
    on_a_gpu = [record.model_copy(update={"hardware": {**record.hardware, "device": "cuda"}}) for record in records]
    there = Estimates(on_a_gpu, METHODS, DATASETS, Machine("", 1))
    assert there.memory(of["fashionmnist", 1, "dm"]) is None  # the memory that they say is the GPU's
    assert estimates.basis == "no records to estimate by"


def test_a_plan_shows_each_cell_and_the_makespan(records, estimates):
    first, second = (record.spec for record in records[:2])
    shown = list(dry_run([first, second], {first.hash}, estimates, jobs=2))
    assert shown[0] == f"{first.hash} there   {first.label}"
    assert shown[1].startswith(f"{second.hash} to run  {second.label}: about {duration(estimates.seconds(second))}, ")
    assert shown[2].startswith("1 of 2 cells to run; estimates are from ")
    time = duration(estimates.seconds(second))
    assert shown[3] == f"with --jobs 2: {time} of {time} of work, 50% idle"


def test_a_losss_own_iterations_are_not_those_of_the_matching_loop():
    def spec(match, own):
        return SimpleNamespace(protocol=SimpleNamespace(match=match), settings=SimpleNamespace(iterations=own))

    assert passed(spec(SimpleNamespace(iterations=100), 5), (10, 50, 200)) == 2
    assert passed(spec(None, 5), (1, 10)) == 1


def test_beside_a_gpu_threads_make_nothing_faster():
    at = {"gpu": "some GPU", "cpu": "some processor"}
    assert Machine.of(at | {"threads": 16}) == Machine.of(at | {"threads": 1})
    assert Machine.of(at | {"threads": 1, "ranks": 2}).speedup > Machine.of(at | {"threads": 16}).speedup


def test_ranks_that_share_a_cell_have_the_threads_of_all():
    compute = Compute.elsewhere(device="cpu", precision="fp32", threads=2)
    machine = Machine.like(compute, 3, here=True)
    assert machine.threads == 6
    assert machine == Machine.of(hardware(compute.device) | {"threads": 2, "ranks": 3})


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [(0.25, "0.2 s"), (119, "119 s"), (120, "2.0 min"), (7200, "2.0 h"), (3 * 86400, "3.0 d"), (800 * 86400, "2.2 y")],
)
def test_durations_are_in_the_unit_that_suits_them(seconds, shown):
    assert duration(seconds) == shown


def herding_cells():
    """Return the cells of two methods that share a network, and of a third with a network of its own."""
    settings = ("--set=herding.epochs=5", "--set=kcenter.epochs=5", "--set=kmeans.epochs=2")
    return cells("--methods=herding,kcenter,kmeans", "--ipc=1", "--datasets=fashionmnist", "--profile=cpu", *settings)


def test_an_artefact_is_planned_once_and_its_seconds_are_in_the_totals_once(records):
    herding, kcenter, kmeans = herding_cells()
    estimates = Estimates(records, METHODS, DATASETS, Machine("AMD EPYC", 1))
    first, second = estimates.preparing([herding, kcenter, kmeans])
    assert (first.first, second.first) == (herding.hash, kmeans.hash)
    assert first.seconds > second.seconds > 0
    shown = list(dry_run([herding, kcenter, kmeans], (), estimates, jobs=1))
    made = [(line, artefact) for line, artefact in zip(shown, (first, second), strict=False)]
    for line, artefact in made:
        assert line == f"{artefact.spec.hash} to make {artefact.spec.label}: about {duration(artefact.seconds)}"
    assert [line.split()[0] for line in shown[2:5]] == [spec.hash for spec in (herding, kcenter, kmeans)]
    total = sum(map(estimates.seconds, (herding, kcenter, kmeans))) + first.seconds + second.seconds
    assert shown[-1].startswith(f"with --jobs 1: {duration(total)} of {duration(total)} of work")
    [simulated] = [
        line for line in simulation([herding, kcenter, kmeans], estimates, [1], speedup=1, folders=[]) if line[5] == "1"
    ]
    assert simulated.split()[1:3] == duration(total).split()


def test_an_artefact_that_is_there_costs_nothing_and_what_is_distilled_needs_none(records):
    herding, kcenter, _ = herding_cells()
    there = Estimates(records, METHODS, DATASETS, Machine("AMD EPYC", 1), is_made=lambda spec: True)
    [artefact] = there.preparing([herding, kcenter])
    shown = list(dry_run([herding, kcenter], (), there, jobs=1))
    assert shown[0] == f"{artefact.spec.hash} there   {artefact.spec.label}"
    assert there.all_seconds([herding, kcenter]) == {spec.hash: there.seconds(spec) for spec in (herding, kcenter)}
    record = next(record for record in records if record.spec.method == "herding").model_copy(update={"evaluations": ()})
    distilled = Estimates(records, METHODS, DATASETS, Machine("AMD EPYC", 1), distilled={herding.hash: record})
    assert distilled.preparing([herding]) == []
    own = there.seconds(herding) - distilled.seconds(herding)  # the images pass once; in training 5 times, with gradient
    missing = Estimates(records, METHODS, DATASETS, Machine("AMD EPYC", 1))
    assert missing.seconds(herding) == there.seconds(herding)
    assert missing.preparing([herding])[0].seconds == pytest.approx(3 * 5 * own)
    assert [artefact.first for artefact in distilled.preparing([herding, kcenter])] == [kcenter.hash]
    assert not [line for line in dry_run([herding], {herding.hash}, there, jobs=1) if " make " in line]


def test_a_record_that_made_its_artefact_in_its_own_seconds_and_that_did_not_give_the_same_rate(records):
    record = next(record for record in records if record.spec.method == "herding")
    method, source = METHODS["herding"], DATASETS[record.spec.dataset]
    work = operations(record.spec, method, source)
    assert work.preparing > work.distilling > 0
    prepared = PreparedFor(kind="networks", label="", seconds=0.5 * record.seconds["total"], made=False)
    total = record.seconds["total"] - prepared.seconds
    changes = {"seconds": {**record.seconds, "total": total}, "preparation": {"0" * 16: prepared}}
    rates = [
        Estimates([each], METHODS, DATASETS, Machine("", 1)).distilling.rows[0].value
        for each in (record, record.model_copy(update=changes))
    ]
    assert rates[0] == pytest.approx(rates[1])
    seconds = record.seconds["total"] - sum(evaluation.seconds for evaluation in record.evaluations)
    assert rates[0] * (work.preparing + work.distilling) == pytest.approx(seconds * Machine.of(record.hardware).speedup)


def test_records_of_another_version_of_a_user_s_method_are_left_out(records):
    changed = [record for record in records if record.spec.method == "kr"][:1]
    settings = changed[0].spec.settings.model_copy(update={"removed": 1})
    changed = [changed[0].model_copy(update={"spec": changed[0].spec.model_copy(update={"settings": settings})})]
    assert Estimates(changed, METHODS, DATASETS, Machine("", 1)).records == []


TABLE_2 = ("--datasets", "mnist,fashionmnist,svhn,cifar10,cifar100", "--ipc", "1,10,50", "--profile", "paper")


def simulate(*arguments):
    return run_all.main([*arguments, "--dry-run", "--gpus", "1,4"])


def test_table_2_is_simulated(capsys, tmp_path):
    assert simulate(*TABLE_2, "--speedup", "50", "--out", str(tmp_path), "--data-root", str(tmp_path)) == 0
    shown = capsys.readouterr().out.splitlines()
    assert shown[0].startswith(f"SIMULATION of {len(cells(*TABLE_2))} cells")
    assert "50 times as fast" in shown[3]
    alone, four = (line.split() for line in shown[5:7])
    assert (alone[0], four[0]) == ("1", "4")
    assert float(four[4]) == pytest.approx(4, abs=0.5)  # times as fast, after two words of the makespan and the idle share
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--dry-run", "--gpus", "0"], ["--gpus", "'0'", "at least 1"]),
        (["--dry-run", "--gpus", "1", "--speedup", "-3"], ["--speedup", "'-3'", "above 0"]),
        (["--gpus", "1,8"], ["--gpus '1,8'", "valid: with --dry-run"]),
        (["--dry-run", "--speedup", "2"], ["--speedup '2'", "valid: with --dry-run --gpus"]),
        (["--speedup", "2"], ["--speedup '2'", "valid: with --dry-run --gpus"]),
        (["--dry-run", "--gpus", "1", "--methods", "nothing"], ["method", "'nothing'"]),
    ],
)
def test_mistakes_are_one_line(arguments, expected, capsys, tmp_path):
    assert run_all.main(["--methods=random", "--ipc=1", "--out", str(tmp_path / "out"), *arguments]) == 2
    error = capsys.readouterr().err
    assert error.startswith("run_all.py: error: ")
    assert error.count("\n") == 1
    assert all(phrase in error for phrase in expected)
