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
from bench.machine.compute import Compute
from bench.machine.hardware import hardware
from bench.plan import __main__ as plan
from bench.plan.cost import passed
from bench.plan.estimates import Estimates, LogModel, Machine, Measured, measured, usual_machine
from bench.plan.lines import dry_run, duration
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
            {"method": method, "machine": machine},
            7 * speed * slow * math.exp(generator.gauss(0, noise)),
            f"{method} {number}",
            Machine(machine, 1),
        )
        for method, speed in SPEED.items()
        for machine, slow in MACHINE.items()
        for number in range(repeats)
    ]


def test_a_product_of_factors_is_recovered():
    model = LogModel(rows())
    for method, speed in SPEED.items():
        for machine, slow in MACHINE.items():
            assert model.predict({"method": method, "machine": machine}) == pytest.approx(7 * speed * slow, rel=0.03)


def test_what_was_never_measured_is_taken_to_be_average():
    model = LogModel(rows())
    known = [model.predict({"method": method, "machine": "new"}) for method in SPEED]
    other = model.predict({"method": "of a user", "machine": "new"})
    assert min(known) < other < max(known)
    assert other == pytest.approx(math.exp(np.log(known).mean()), rel=0.05)


@pytest.mark.parametrize(("error", "of"), [("error", "group"), ("error_elsewhere", "place")])
def test_the_error_is_that_of_models_without_the_cells_of_a_kind_or_of_a_place(error, of):
    made = rows(noise=0.3, repeats=3)
    squares = []
    for part in {getattr(row, of) for row in made}:
        others = LogModel([row for row in made if getattr(row, of) != part])
        left_out = [row for row in made if getattr(row, of) == part]
        squares += [(math.log(row.value) - math.log(others.predict(row.levels))) ** 2 for row in left_out]
    assert getattr(LogModel(made), error) == pytest.approx(math.sqrt(np.mean(squares)), rel=1e-6)


def test_of_other_places_nothing_is_said_where_all_records_are_of_one():
    assert math.isnan(LogModel([row for row in rows() if row.place.name == "new"]).error_elsewhere)


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
        assert model.count > 30
        assert 1 < math.exp(model.error) < 2


def documented(records, threads, *more, **options):
    """Return the specs of the grid whose seconds docs/cluster.md has, and estimates for so many threads of its processor."""
    arguments = [
        "--methods=dm,emd",
        "--datasets=fashionmnist",
        "--ipc=1",
        "--profile=cpu",
        "--iterations=30",
        "--precision=fp32",
    ]
    specs = run_all.planned([*arguments, "--eval-nets=2", "--set=eval.epochs=100", "--dry-run", *more])[0]
    return specs, Estimates(records, METHODS, DATASETS, Machine("AMD EPYC", threads), **options)


def test_twice_the_threads_take_about_half_the_seconds_though_the_records_of_each_number_are_of_other_processors(records):
    (specs, one), (_, two) = documented(records, 1), documented(records, 2)
    assert {record.hardware["threads"] for record in records if record.hardware["cpu"] == "AMD EPYC"} == {1, 2}
    for spec in specs:
        assert one.seconds(spec) / two.seconds(spec) == pytest.approx(2**0.9)


def test_what_was_measured_on_another_processor_lies_within_the_error_that_is_stated_for_it(records):
    for threads, measured_seconds in ((2, 132.6), (1, 2 * 122.6)):  # the second: two cells side by side
        specs, estimates = documented(records, threads)
        error = math.exp(min(estimates.distilling.error_elsewhere, estimates.evaluating.error_elsewhere))
        assert 1 / error < sum(map(estimates.seconds, specs)) / measured_seconds < error
        assert all(model.error_elsewhere > model.error for model in (estimates.distilling, estimates.evaluating))
        assert re.search(
            rf"distilling x/÷ {math.exp(estimates.distilling.error_elsewhere):.2g}, .* of the same name", estimates.basis
        )


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
    ("seconds", "text"),
    [(0.25, "0.2 s"), (119, "119 s"), (120, "2.0 min"), (7200, "2.0 h"), (3 * 86400, "3.0 d"), (800 * 86400, "2.2 y")],
)
def test_durations_are_in_the_unit_that_suits_them(seconds, text):
    assert duration(seconds) == text


def test_table_2_is_simulated(capsys, tmp_path):
    assert plan.main(["--profile", "paper", "--gpus", "1,4", "--speedup", "50", "--out", str(tmp_path)]) == 0
    shown = capsys.readouterr().out.splitlines()
    specs = run_all.planned([*plan.TABLE_2, "--profile", "paper", "--out", str(tmp_path), "--dry-run"])[0]
    assert shown[0].startswith(f"SIMULATION of {len(specs)} cells")
    assert "50 times as fast" in shown[3]
    one, four = (line.split() for line in shown[5:7])
    assert (one[0], four[0]) == ("1", "4")
    assert float(four[4]) == pytest.approx(4, abs=0.5)  # times as fast, after two words of the makespan and the idle share


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--gpus", "0"], ["--gpus", "'0'", "at least 1"]),
        (["--speedup", "-3"], ["--speedup", "'-3'", "above 0"]),
        (["--methods", "nothing"], ["method", "'nothing'"]),
    ],
)
def test_mistakes_are_one_line(arguments, expected, capsys):
    assert plan.main(arguments) == 2
    error = capsys.readouterr().err
    assert error.startswith("plan: error: ")
    assert error.count("\n") == 1
    assert all(word in error for word in expected)
