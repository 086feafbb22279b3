"""A worker: what makes a runner in a process of its own, and runs the cells that are sent to it."""

from __future__ import annotations

from collections.abc import Mapping
from pkgutil import resolve_name

from bench.files import data_warnings
from bench.loops.evaluation import evaluate
from bench.machine.compute import Compute
from bench.running.observer import Done, Silent
from bench.running.progress import Reporter
from bench.running.runner import Runner
from bench.running.setup import WorkerSetup
from bench.running.suite import Suite
from bench.running.workplace import Workplace
from bench.types import Bundle


def create_runner(setup: WorkerSetup, number: int = 0, bundles: Mapping[str, Bundle] | None = None) -> Runner:
    """Return what runs cells in this process.

    Args:
        setup: what all workers share.
        number: the worker's, from 0: GPUs of one machine are dealt out by it.
        bundles: datasets that were sent along; None if they are to be read below `setup.data_root`.

    """
    suite: Suite = resolve_name(setup.suite)
    with data_warnings(lambda message: None):  # the first process has shown them
        methods = [setup.as_typed(suite.find_method(spelling), spelling) for spelling in setup.methods]
        sources = [] if bundles else [suite.find_source(name, size=setup.size, flip=setup.flip) for name in setup.datasets]
    compute = Compute.choose(device=setup.device, precision=setup.precision, threads=setup.threads, number=number)
    observer = Reporter(setup.progress) if setup.progress else Silent()
    workplace = Workplace(
        folder=setup.folder,
        compute=compute,
        methods={method.name: method for method in methods},
        load=suite.loader(sources, setup.data_root, setup.fingerprints, bundles),
        report=observer.progress,
        code=setup.code,
        evaluate=suite.evaluate or evaluate,
    )
    return Runner(workplace, observer, setup.labels, setup.force, setup.checkpoints)


def run_cell(runner: Runner, spec_json: str) -> Done:
    """Return the outcome of a cell, run here; see `Workplace.described`."""
    [done] = runner.outcomes([runner.workplace.described(spec_json)])
    return done
