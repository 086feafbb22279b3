"""The accuracy gate: no method may leave its committed baseline, down or up, by more than the noise of both.

    python tests/regression/gate.py                       judge a new seed; exit 1 if a cell is below or above
    python tests/regression/gate.py --update              renew the baselines, from seeds 0 to 9; refused if the tree is dirty
    python tests/regression/gate.py --update --methods dm renew, or make, those of one method alone
    python tests/regression/gate.py --seeds 11,12         judge other seeds

`tox -e regression` calls it. The baselines, `baselines.json`, have the raw accuracies of every network, the seconds of an
iteration over those of a matrix product in the same run, and by method which code made them. A method that is not in that list
has no baseline yet: it is named, and passes. A cell of a listed method without a baseline has lost it: the gate fails.

A cell is a method at one dataset and IPC, with networks and budgets so small that all cells take minutes. One new seed is below
if its mean accuracy is under

    mean - t · s · sqrt(1 + 1/n)

of the baselines' n seeds: a prediction interval. It is above on the other side of the same interval. s is the deviation
between seeds, pooled over the cells of a group, and t the quantile of Student's t at 1 - FALSE_ALARMS / 2 / cells, half of the
false alarms on each side. It has n - 1 degrees of freedom: the cells of one seed begin with the same images, and rise and fall
together, so that more cells make s no surer. A gate over unchanged code fails in at most two of a hundred runs.

A cell above its baseline is a failure too: it has seen the test images, say, or it is better, and then `--update` records that.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import math
import os
import subprocess
import sys
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from statistics import mean, variance
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

import torch  # noqa: E402
from scipy.stats import t as student  # noqa: E402

from bench.cells.method import FeatureMatching  # noqa: E402
from bench.command import command  # noqa: E402
from bench.errors import UsageError, unknown  # noqa: E402
from bench.machine.cores import usable_cores  # noqa: E402
from bench.machine.hardware import hardware, library_versions  # noqa: E402
from bench.records.storage import read_folder  # noqa: E402
from bench.running.suite import Suite  # noqa: E402
from datasets import DATASETS  # noqa: E402
from methods import METHODS  # noqa: E402
from run_all import SUITE  # noqa: E402

BASELINES = Path(__file__).with_name("baselines.json")
BASELINE_SEEDS = tuple(range(10))
NEW_SEED = 10
FALSE_ALARMS = 0.02
"""How often a gate over unchanged code may fail, all cells together: half of it below, half above."""

SLOWER = 1.5
"""A cell that takes so many times its baseline's seconds, in matrix products, is named."""

_JOBS = 2
"""How many cells run side by side, at most. Seconds are a little longer then, for cores share the memory."""

LOSSES = tuple(name for name, method in METHODS.items() if isinstance(method, FeatureMatching))
_SMALL = ("network.width=32", "match.real_batch=32", "whole.epochs=1", "whole.nets=1")


@dataclass(frozen=True)
class Grid:
    """Cells that one command line makes: methods on one dataset at one IPC."""

    dataset: str
    ipc: int
    methods: tuple[str, ...]
    options: tuple[str, ...]

    def key(self, method: str) -> str:
        """Return the name of a cell."""
        return f"{self.dataset} {self.ipc} {method}"

    def arguments(self, methods: Iterable[str], seeds: Iterable[int], out: Path) -> list[str]:
        """Return the command line of some of the methods."""
        settings = [f"--set={setting}" for setting in _SMALL]
        where = ["--datasets", self.dataset, "--ipc", str(self.ipc), "--precision", "fp32", "--threads", "1", "--out", str(out)]
        which = ["--methods", ",".join(methods), "--seeds", ",".join(map(str, seeds))]
        return [*which, *where, *settings, *self.options]


DIGITS = Grid("digits", 1, tuple(METHODS), ("--iterations=60", "--eval-nets=5", "--set=eval.epochs=80"))
GRIDS = (
    DIGITS,
    Grid("fashionmnist", 1, LOSSES, ("--profile=cpu", "--iterations=40", "--eval-nets=3", "--set=eval.epochs=40")),
    Grid("fashionmnist", 10, LOSSES, ("--profile=cpu", "--iterations=10", "--eval-nets=3", "--set=eval.epochs=10")),
)


@dataclass(frozen=True)
class Result:
    """What seeds of a cell gave: the accuracies of each seed's networks, and seconds an iteration in matrix products."""

    accuracies: tuple[tuple[float, ...], ...]
    seconds: tuple[float, ...] = ()

    @property
    def means(self) -> list[float]:
        """The mean accuracy of each seed."""
        return [mean(networks) for networks in self.accuracies]


@dataclass(frozen=True)
class Judgement:
    """A cell's verdict: `ok`, `below`, `above`, or `slower`, and the numbers behind it."""

    key: str
    baseline: float
    now: float
    low: float
    high: float
    slowdown: float | None

    @property
    def verdict(self) -> str:
        """Below and above are failures, the others are not."""
        if self.now < self.low:
            return "below"
        if self.now > self.high:
            return "above"
        return "slower" if self.slowdown and self.slowdown > SLOWER else "ok"

    def __str__(self) -> str:
        speed = f"{self.slowdown:5.2f}x" if self.slowdown else "      "
        bounds = f"[{self.low:6.2f}, {self.high:6.2f}]"
        return f"{self.key:<24} {self.baseline:6.2f} {self.now:6.2f}  {bounds} {speed}  {self.verdict}"


def matrix_product_seconds() -> float:
    """Return the seconds of a product of two float32 matrices of 1024 x 1024, by one thread: the best of ten."""
    torch.set_num_threads(1)
    a, b = torch.randn(2, 1024, 1024, generator=torch.Generator().manual_seed(0))
    seconds = []
    for _ in range(10):
        begin = time.perf_counter()
        a @ b
        seconds.append(time.perf_counter() - begin)
    return min(seconds)


def run(
    grid: Grid, seeds: Sequence[int], *, methods: Sequence[str] = (), jobs: int = 1, suite: Suite = SUITE
) -> dict[str, Result]:
    """Return the results of a grid's cells by their names; raise `RuntimeError` if one failed.

    Args:
        grid: the cells.
        seeds: of each.
        methods: some of the grid's, or all.
        jobs: how many cells run side by side.
        suite: the methods, and what evaluates; its report is not written.

    """
    accuracies, seconds = defaultdict[str, list[tuple[float, ...]]](list), defaultdict[str, list[float]](list)
    product, log = matrix_product_seconds(), io.StringIO()
    with tempfile.TemporaryDirectory() as folder:
        arguments = [*grid.arguments(methods or grid.methods, seeds, Path(folder)), "--jobs", str(jobs)]
        with contextlib.redirect_stdout(log), contextlib.redirect_stderr(log):
            status = command.main(replace(suite, write_report=lambda out, **options: out), arguments)
        if status:
            raise RuntimeError(f"{' '.join(arguments)}\n{log.getvalue()}")
        for record in sorted(read_folder(Path(folder) / "records")[0], key=lambda record: record.spec.seed):
            key = grid.key(record.spec.method)
            accuracies[key].append(record.main_evaluation.accuracies)
            if record.seconds_per_iteration is not None:
                seconds[key].append(record.seconds_per_iteration / product)
    return {key: Result(tuple(values), tuple(seconds[key])) for key, values in accuracies.items()}


def group(key: str) -> tuple[str, str, str]:
    """Return the cells whose noise is taken to be the same: selections, or the rest, of a dataset and IPC."""
    dataset, ipc, name = key.split()
    method = METHODS[name]
    kind = "whole" if method.whole_set else "made" if method.has_passes else "selection"
    return dataset, ipc, kind


@cache
def _quantile(cells: int, seeds: int) -> float:
    """Return the quantile of Student's t that bounds each of `cells`; scipy takes a millisecond for it."""
    return float(student.ppf(1 - FALSE_ALARMS / 2 / cells, seeds - 1))


def judge(baselines: Mapping[str, Result], now: Mapping[str, Result]) -> list[Judgement]:
    """Return the verdict on each cell of `now`, which has one seed, under the bounds for all cells of the baselines."""
    variances = defaultdict[tuple[str, str, str], list[float]](list)
    for key, result in baselines.items():
        variances[group(key)].append(variance(result.means))
    judgements = []
    for key, result in now.items():
        baseline = baselines[key]
        seeds = len(baseline.means)
        reach = _quantile(len(baselines), seeds) * math.sqrt(mean(variances[group(key)]) * (1 + 1 / seeds))
        slowdown = mean(result.seconds) / mean(baseline.seconds) if result.seconds and baseline.seconds else None
        centre = mean(baseline.means)
        judgements.append(Judgement(key, centre, mean(result.means), centre - reach, centre + reach, slowdown))
    return judgements


@dataclass(frozen=True)
class Baselines:
    """The committed baselines: the methods that they cover, what each was made on and by, and the results of their cells."""

    methods: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    cells: Mapping[str, Result] = field(default_factory=dict)

    @classmethod
    def read(cls, path: Path = BASELINES) -> Baselines:
        """Return the baselines in a file; none if there is no file."""
        content = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {"methods": {}, "cells": {}}
        cells = content["cells"].items()
        results = {key: Result(tuple(map(tuple, cell["accuracies"])), tuple(cell["seconds"])) for key, cell in cells}
        return cls(content["methods"], results)

    def write(self, path: Path = BASELINES) -> None:
        """Write the file."""
        cells = {
            key: {
                "accuracies": [[round(value, 2) for value in networks] for networks in result.accuracies],
                "seconds": [round(value, 3) for value in result.seconds],
            }
            for key, result in self.cells.items()
        }
        path.write_text(json.dumps({"methods": dict(self.methods), "cells": cells}, indent=1) + "\n", encoding="utf-8")

    def renewed(self, results: Mapping[str, Result], methods: Iterable[str], made: Mapping[str, Any]) -> Baselines:
        """Return the same with the results of some methods, made on and by `made`, in place of those that they had."""
        renewed = set(methods)
        kept = {key: result for key, result in self.cells.items() if key.split()[2] not in renewed}
        return Baselines(dict(sorted({**self.methods, **dict.fromkeys(renewed, made)}.items())), {**kept, **results})

    def lost(self) -> list[str]:
        """Return the cells of the listed methods that have no baseline, and the listed methods that are in no grid."""
        cells = {method: [grid.key(method) for grid in GRIDS if method in grid.methods] for method in self.methods}
        return [name for method, keys in cells.items() for name in keys or [method] if name not in self.cells]


def _made() -> dict[str, Any]:
    """Return what baselines are made on and by here."""
    return {"hardware": hardware(torch.device("cpu")), "versions": library_versions(), "code": SUITE.code.version}


def _jobs() -> int:
    """Return how many cells run side by side here; each has one thread, so it gives the same accuracies."""
    return min(_JOBS, usable_cores())


def available() -> list[Grid]:
    """Return the grids whose images are there: those of FashionMNIST need `DATA_ROOT`. Nothing is downloaded."""
    root = os.environ.get("DATA_ROOT", "")
    there = [grid for grid in GRIDS if grid.dataset == "digits" or (root and DATASETS[grid.dataset].files(Path(root)))]
    missing = sorted({grid.dataset for grid in GRIDS if grid not in there})
    if missing:
        sys.stderr.write(
            f"gate: WITHOUT {', '.join(missing)}: DATA_ROOT, {root!r}, has none of it. Its cells are not judged.\n"
        )
    return there


def changed_files() -> str:
    """Return what git says of files that are not committed."""
    status = subprocess.run(["git", "status", "--porcelain"], cwd=ROOT, capture_output=True, text=True, check=True)
    return status.stdout


@dataclass(frozen=True)
class Gate:
    """The gate on some methods.

    Attributes:
        methods: their names.
        path: of the baselines.
        run: returns the results of a grid; see `run`.
        grids: those whose images are there.
        changed_files: returns what git says of files that are not committed.

    """

    methods: Sequence[str] = tuple(METHODS)
    path: Path = BASELINES
    run: Callable[..., Mapping[str, Result]] = run
    grids: Sequence[Grid] = GRIDS
    changed_files: Callable[[], str] = changed_files

    def update(self) -> int:
        """Renew the baselines of the methods; return the exit status."""
        if self.changed_files():
            sys.stderr.write("gate: the tree is dirty, so nobody could say which code made the baselines; commit first\n")
            return 2
        if len(self.grids) < len(GRIDS):
            return 2
        results: dict[str, Result] = {}
        for grid, methods in self._cells(self.methods):
            results |= self.run(grid, BASELINE_SEEDS, methods=methods, jobs=_jobs())
        Baselines.read(self.path).renewed(results, self.methods, _made()).write(self.path)
        return 0

    def _cells(self, methods: Sequence[str]) -> Iterator[tuple[Grid, list[str]]]:
        """Yield each grid with those of the methods that it has."""
        for grid in self.grids:
            names = [name for name in grid.methods if name in methods]
            if names:
                yield grid, names

    def judge(self, seeds: Sequence[int]) -> int:
        """Judge each seed for itself; return 1 if a cell is below or above its baseline, or has lost it."""
        baselines, begin, verdicts = Baselines.read(self.path), time.perf_counter(), Counter[str]()
        lost, without = baselines.lost(), [name for name in self.methods if name not in baselines.methods]
        sys.stdout.writelines(f"LOST: {name} is listed in {self.path.name}, and has no baseline\n" for name in lost)
        sys.stdout.writelines(f"{name} has no baseline yet; `--update --methods {name}` makes it\n" for name in without)
        for seed in seeds:
            sys.stdout.write(f"seed {seed}: baseline, now, [bounds], seconds an iteration over the baseline's, verdict\n")
            for grid, names in self._cells(self.methods):
                kept = [name for name in names if grid.key(name) in baselines.cells]
                results = self.run(grid, [seed], methods=kept, jobs=_jobs()) if kept else {}
                for judgement in judge(baselines.cells, results):
                    sys.stdout.write(f"{judgement}\n")
                    sys.stdout.flush()
                    verdicts[judgement.verdict] += 1
        seconds, below, above = time.perf_counter() - begin, verdicts["below"], verdicts["above"]
        judged = f"{verdicts.total()} of {len(baselines.cells) * len(seeds)} cells judged"
        sys.stdout.write(f"{judged}, {below} below and {above} above their baseline, in {seconds:.0f} s\n")
        if above:
            sys.stdout.write("Above: an error, such as testing on what was trained on, or progress; `--update` records it.\n")
        return 1 if below or above or lost else 0


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; return its exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--update", action="store_true", help="renew the baselines instead")
    parser.add_argument("--methods", default=",".join(METHODS), help="some methods, with commas between; default all")
    parser.add_argument("--seeds", default=str(NEW_SEED), help="the seeds to judge, each for itself, with commas between")
    options = parser.parse_args(arguments)
    try:
        methods = _known_methods(options.methods)
    except UsageError as error:
        parser.error(str(error))
    gate = Gate(methods, grids=available())
    return gate.update() if options.update else gate.judge([int(seed) for seed in options.seeds.split(",")])


def _known_methods(names: str) -> list[str]:
    """Return the names with commas between; raise `UsageError` if one is of no method."""
    for name in names.split(","):
        if name not in METHODS:
            raise unknown("method", name, METHODS)
    return names.split(",")


if __name__ == "__main__":
    sys.exit(main())
