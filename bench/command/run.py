"""Running the grid of a command line: which cells there are, which of them are missing, and what they take."""

from __future__ import annotations

import io
import warnings
from collections.abc import Callable, Mapping, Sequence
from functools import cache, partial
from pathlib import Path
from typing import Any, TextIO

import torch

from bench.cells.artefact import ArtefactSpec
from bench.cells.grid import check_ipc, make_specs
from bench.cells.spec import RunSpec
from bench.command import console
from bench.command.options import Options
from bench.errors import UsageError
from bench.files import DataWarning
from bench.loops.evaluation import evaluate
from bench.machine import signals
from bench.machine.compute import Compute
from bench.machine.ranks import Ranks
from bench.plan.estimates import Estimates, Machine, measured, record_folders, usual_machine
from bench.plan.lines import dry_run, simulation
from bench.records import folder
from bench.records.artefacts import ArtefactFiles
from bench.records.record import RunRecord
from bench.running import driver, torchrun
from bench.running.observer import Done
from bench.running.runner import Runner
from bench.running.setup import WorkerSetup
from bench.running.suite import Suite
from bench.running.workplace import Workplace
from bench.types import Bundle


def under_torchrun(ranks: Ranks, command: Callable[[], int]) -> int:
    """Return the exit status of the command, which rank 0 runs; the other ranks do its jobs."""
    return torchrun.run(ranks, command)


def run(suite: Suite, options: Options, *, out: TextIO, progress: TextIO) -> int:
    """Run what is missing of the grid and write the report.

    Args:
        suite: the registries.
        options: the command line.
        out: the stream of the outcome.
        progress: the stream of progress.

    Returns:
        The exit status: 1 if a cell failed or a file could not be removed, else 0.

    """
    _check_ranks(options)
    compute = chosen_compute(options)
    specs, fingerprints = _grid(options, compute, log=progress)
    contents = folder.present(
        options.out, specs, options.checkpoints, force=options.force, dry_run=options.dry_run, log=progress
    )
    estimates = cache(partial(_estimates, suite, options, compute, contents.distilled))
    if options.dry_run:
        out.writelines(f"{line}\n" for line in _plan(suite, options, specs, contents, estimates))
        return 0

    left = [spec for spec in specs if spec.hash not in contents.finished]
    ended = _run_cells(suite, options, compute, fingerprints, left, estimates, progress)
    failed = [done.record for done in ended if done.record.status == "failed"]
    elsewhere, wanted = sum(done.elsewhere for done in ended), {spec.hash for spec in specs}
    page = "none, for want of results"
    if len(ended) > len(failed) or contents.finished:
        page = str(suite.write_report(options.out, wanted=wanted, log=io.StringIO()))
    counts = [f"{len(ended) - len(failed) - elsewhere} cells run", f"{len(contents.finished)} there before"]
    counts += [f"{elsewhere} run by another process"] if elsewhere else []
    out.write(f"{', '.join(counts)}, {len(failed)} failed; report: {page}\n")
    out.writelines(f"failed: {record.spec.dataset} {record.spec.method}: {record.error}\n" for record in failed)
    out.writelines(f"not repaired: {line}\n" for line in contents.unrepaired)
    return 1 if failed or contents.unrepaired else 0


def _check_ranks(options: Options) -> None:
    """Raise `UsageError` if the options, or the datasets, do not go with the ranks of torchrun."""
    ranks, jobs, device = options.ranks, options.jobs, options.device
    if ranks.count == 1:
        return
    if not options.executor.is_local:
        raise UsageError(f"--executor {options.executor.name} under torchrun, which starts the processes itself; valid: local")
    if (jobs or 1) > 1:
        raise UsageError(f"--jobs {jobs} under torchrun: all {ranks.count} ranks work on one cell; valid: 1")
    if device not in ("auto", "cpu", "cuda"):
        raise UsageError(f"--device {device!r} under torchrun: ranks take a GPU each; valid: auto, cpu, cuda")
    gpus = torch.cuda.device_count()
    if device != "cpu" and 0 < gpus < ranks.local_count:
        raise UsageError(f"{ranks.local_count} ranks on this machine of {gpus} GPUs; valid: {gpus} ranks, or --device cpu")
    for source in options.sources:
        if len(source.classes) < ranks.count:
            few = f"dataset {source.name!r} has {len(source.classes)} classes"
            raise UsageError(f"{ranks.count} ranks under torchrun: {few}; valid: at most as many ranks")


def chosen_compute(options: Options) -> Compute:
    """Return the device and the precision of the grid; raise `UsageError` if that is not possible here."""
    # Quick cells are too short to be compiled, and bfloat16 pays only if they are.
    precision = "fp32" if (options.precision, options.protocol.profile) == ("auto", "quick") else options.precision
    device = options.executor.device(options.device)
    if not options.executor.is_local:
        return Compute.elsewhere(device=device, precision=precision, threads=options.threads or 1)
    threads = options.ranks.take_cores(options.threads)
    return Compute.choose(device=device, precision=precision, threads=threads, jobs=options.jobs or 1)


def _grid(options: Options, compute: Compute, *, log: TextIO) -> tuple[list[RunSpec], Mapping[str, Any]]:
    """Return the descriptions of all cells, and what is known of their datasets' images."""
    # The cells come first: a mistake is answered before any image is looked at, or downloaded.
    cells = make_specs(
        methods=options.methods,
        sources=options.sources,
        ipcs=options.ipcs,
        seeds=options.seeds,
        protocol=options.protocol,
        precision=compute.precision,
    )
    fingerprints = _fingerprints(options, log=log)
    log.writelines(f"dataset {source.spelling!r} is {source.name}\n" for source in options.sources if source.spelling)
    specs = [spec.model_copy(update={"data": fingerprints[spec.dataset].short}) for spec in cells]
    return specs, fingerprints


def _fingerprints(options: Options, *, log: TextIO) -> dict[str, Any]:
    """Return which images the datasets have; for `--dry-run`, name in `log` those that are taken to be the published ones."""
    if not options.dry_run:
        return {source.name: source.fingerprint(options.data_root) for source in options.sources}
    planned = {source.name: source.planned_fingerprint(options.data_root) for source in options.sources}
    for name in (name for name, fingerprint in planned.items() if fingerprint.assumed):
        what = "the published images are assumed" if planned[name].digest else "which images it holds is not known before a run"
        log.write(f"dataset {name!r} is not below {options.data_root}: {what}\n")
    return planned


def _setup(suite: Suite, options: Options, compute: Compute, fingerprints: Mapping[str, Any]) -> WorkerSetup:
    """Return what workers in other processes are sent."""
    spellings = [method.spelling or method.name for method, _ in options.methods]
    return WorkerSetup(
        suite=suite.location,
        methods=dict(zip(spellings, spellings, strict=True)),
        datasets=tuple(source.spelling or source.name for source in options.sources),
        size=options.protocol.data.size,
        flip=options.protocol.data.flip,
        data_root=options.data_root,
        fingerprints=fingerprints,
        labels={source.name: source.label for source in options.sources},
        folder=options.out / "records",
        device=options.executor.device(options.device),
        precision=compute.precision,
        threads=compute.threads,
        force=options.force,
        checkpoints=options.checkpoints,
        working_directory=Path.cwd(),
        code=suite.code,
    )


def _run_cells(
    suite: Suite,
    options: Options,
    compute: Compute,
    fingerprints: Mapping[str, Any],
    specs: Sequence[RunSpec],
    estimates: Callable[[], Estimates],
    progress: TextIO,
) -> list[Done]:
    """Run the cells; return how they ended."""
    setup = _setup(suite, options, compute, fingerprints)
    load = suite.loader(options.sources, options.data_root, fingerprints)
    first = {spec.dataset: spec for spec in reversed(specs)}
    _check_data(options, specs, {name: load(name, spec.protocol, spec.seed) for name, spec in first.items()})
    folder.make(options.out)
    with signals.listening(), console.observer(progress, total=len(specs)) as observer:
        workplace = Workplace(
            folder=setup.folder,
            compute=compute,
            methods={method.name: method for method, _ in options.methods},
            load=load,
            report=observer.progress,
            code=suite.code,
            evaluate=suite.evaluate or evaluate,
        )
        runner = Runner(workplace, observer, setup.labels, options.force, options.checkpoints)
        if options.ranks.count > 1:
            runner = torchrun.lead(options.ranks, setup, runner, specs, log=progress)
        made = driver.Driver(setup, runner, observer, options.jobs, options.executor, load.whole, estimates)
        return list(driver.make(options.executor, made).map(specs))


def _check_data(options: Options, specs: Sequence[RunSpec], bundles: Mapping[str, Bundle]) -> None:
    """Raise `UsageError` if the images of a dataset do not do for a cell; warn of what they mean for its batches."""
    check_ipc(specs, bundles)
    methods = {method.name: method for method, _ in options.methods}
    labels = {source.name: source.label for source in options.sources}
    notes = dict[str, None]()
    for spec in {(spec.dataset, spec.method, spec.ipc): spec for spec in specs}.values():
        method, bundle = methods[spec.method], bundles[spec.dataset]
        method.check_data(spec, bundle)
        notes |= {f"{spec.method} on {labels[spec.dataset]}: {note}": None for note in method.batch_notes(spec, bundle)}
    for note in notes:
        warnings.warn(note, DataWarning, stacklevel=2)


def _estimates(suite: Suite, options: Options, compute: Compute | None, distilled: Mapping[str, RunRecord]) -> Estimates:
    """Return what cells will take on the machine that they run on; see `Estimates`.

    If `compute` is None, it is what all of them would take, with their artefacts, on the machine of the records.
    """
    records = measured(*record_folders(options.out, suite.reference))
    methods = {**suite.methods, **{method.name: method for method, _ in options.methods}}
    sources = {source.name: source for source in (*suite.datasets.values(), *options.sources)}
    if compute is None:
        return Estimates(records, methods, sources, usual_machine(records), checkpoints=options.checkpoints)

    def is_made(spec: ArtefactSpec) -> bool:
        return ArtefactFiles.beside(options.out / "records", spec).read_record() is not None

    machine = Machine.like(compute, options.ranks.count, here=options.executor.is_local)
    checkpoints = options.checkpoints
    return Estimates(records, methods, sources, machine, checkpoints=checkpoints, distilled=distilled, is_made=is_made)


def _plan(
    suite: Suite,
    options: Options,
    specs: Sequence[RunSpec],
    contents: folder.Contents,
    estimates: Callable[[], Estimates],
) -> list[str]:
    """Return the lines of a dry run: those of each cell, or with `--gpus` a simulation."""
    if not options.gpus:
        jobs = options.jobs or (1 if options.executor.is_local else None)
        return list(dry_run(specs, contents.finished, estimates(), jobs=jobs))
    folders = [str(path) for path in record_folders(options.out, suite.reference)]
    usual = _estimates(suite, options, None, {})
    return list(simulation(specs, usual, options.gpus, speedup=options.speedup, folders=folders))
