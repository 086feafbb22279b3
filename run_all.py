"""The command line: distill, evaluate and report a grid of methods, datasets, IPCs and seeds.

`python run_all.py` runs everything on the embedded digits; `python run_all.py --help` names the options.
"""

from __future__ import annotations

import os
import signal
from types import FrameType


def _end(number: int, frame: FrameType | None) -> None:
    """End a run of which modules are still being imported: there is nothing yet that has to end in order."""
    if os.environ.get("RANK", "0") == "0":  # under torchrun, one process says it for all
        os.write(2, b"run_all.py: interrupted by SIGINT before work started\n")
    os._exit(128 + number)


if __name__ == "__main__" and signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:
    signal.signal(signal.SIGINT, _end)

import io
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

from bench import executors, folder, interrupts
from bench.ending import status_of
from bench.errors import UsageError, unknown
from bench.executors import OWNERS, Choice, Driver
from bench.executors.work import Work
from bench.grid import check_ipc, make_specs
from bench.lazy import compute, console, parts
from bench.listing import listing
from bench.method import Method
from bench.options import Texts, folder_path, number, numbers, option_parser, typed_texts
from bench.plan.estimates import Estimates, Machine, measured, record_folders, usual_machine
from bench.plan.lines import dry_run
from bench.protocol import SECTIONS, SEEDS, Protocol, resolve
from bench.ranks import ALONE, Ranks
from bench.records import RunRecord
from bench.settings import Settings
from bench.spec import RunSpec
from datasets import DATASETS, Loader, data_warnings, find_source, split_names
from datasets.fingerprint import Fingerprint
from datasets.source import Source
from methods import METHODS, find_method
from reports import write_report

if TYPE_CHECKING:
    from bench.compute import Compute
    from bench.runner import Runner
    from bench.types import Bundle

REFERENCE = Path(__file__).with_name("reports") / "reference"
"""The committed records."""


@dataclass(frozen=True)
class Options:
    """The command line, typed and checked: each method with its settings, and the protocol."""

    methods: tuple[tuple[Method, Settings], ...]
    sources: tuple[Source, ...]
    ipcs: tuple[int, ...]
    seeds: tuple[int, ...]
    protocol: Protocol
    data_root: Path
    out: Path
    device: str
    precision: str
    threads: int | None
    jobs: int | None
    executor: Choice
    checkpoints: tuple[int, ...]
    force: bool
    report_only: bool
    list: bool
    dry_run: bool
    ranks: Ranks


def _methods(text: str) -> tuple[Method, ...]:
    methods: dict[str, tuple[str, Method]] = {}
    for part in text.split(","):
        method = find_method(part)
        if method.name in methods and methods[method.name][0] != part:
            raise UsageError(f"--methods {part!r}: {methods[method.name][0]!r} has that name too; valid: a name of its own")
        methods[method.name] = part, method
    return tuple(method for _, method in methods.values())


def _settings(texts: Texts, methods: Sequence[Method], profile: str) -> tuple[tuple[Method, Settings], ...]:
    """Return each method with its settings; a misspelt setting of a method that is not in the grid is a mistake too."""
    own = {name: values for name, values in texts.items() if name not in SECTIONS}  # `whole` names a section, and a method
    checked = {m.name: m.resolve(own.get(m.name, {}), profile=profile) for m in (*METHODS.values(), *methods)}
    return tuple((method, checked[method.name]) for method in methods)


def parse(arguments: Sequence[str], ranks: Ranks = ALONE) -> Options:
    """Return the options that `arguments` mean, for this one of `ranks`; raise `UsageError` on a mistake."""
    parser = option_parser(__doc__ or "", METHODS)
    typed, rest = parser.parse_known_args(arguments)
    if rest:
        raise unknown("option", rest[0], [name for action in parser._actions for name in action.option_strings])
    methods = _methods(typed.methods)
    texts = typed_texts(typed, methods, {*METHODS, *SECTIONS, *OWNERS, *(method.name for method in methods)})
    protocol = resolve(typed.profile, {name: texts[name] for name in SECTIONS if name in texts})
    if typed.precision not in ("auto", "fp32", "bf16"):
        raise unknown("--precision", typed.precision, ("auto", "fp32", "bf16"))
    return Options(
        methods=_settings(texts, methods, typed.profile),
        sources=tuple(find_source(name, size=protocol.data.size) for name in dict.fromkeys(split_names(typed.datasets))),
        ipcs=numbers("--ipc", typed.ipc, low=1),
        seeds=numbers("--seeds", typed.seeds, low=0) if typed.seeds is not None else SEEDS[typed.profile],
        protocol=protocol,
        data_root=folder_path("--data-root", typed.data_root),
        out=folder_path("--out", typed.out),
        device=typed.device,
        precision=typed.precision,
        threads=number("--threads", typed.threads, low=1) if typed.threads is not None else None,
        jobs=number("--jobs", typed.jobs, low=1) if typed.jobs is not None else None,
        executor=executors.choose(typed.executor, texts, address=typed.ray_address),
        checkpoints=tuple(sorted(numbers("--checkpoints", typed.checkpoints, low=0))) if typed.checkpoints is not None else (),
        force=typed.force,
        report_only=typed.report_only,
        list=typed.list,
        dry_run=typed.dry_run,
        ranks=ranks,
    )


def _fingerprints(options: Options, *, log: TextIO) -> dict[str, Fingerprint]:
    """Return which images the datasets hold; for `--dry-run`, name in `log` those that are taken for the published ones."""
    if not options.dry_run:
        return {source.name: source.fingerprint(options.data_root) for source in options.sources}
    planned = {source.name: source.planned_fingerprint(options.data_root) for source in options.sources}
    for name in (name for name, fingerprint in planned.items() if fingerprint.assumed):
        what = "the published images are assumed" if planned[name].digest else "which images it holds is not known before a run"
        log.write(f"dataset {name!r} is not below {options.data_root}: {what}\n")
    return planned


def _compute(options: Options) -> Compute:
    """Return where and in which precision the grid is computed."""
    # Quick cells are too short to be compiled, and bfloat16 pays only where they are.
    precision = "fp32" if (options.precision, options.protocol.profile) == ("auto", "quick") else options.precision
    device = options.executor.device(options.device)
    if not options.executor.is_local:
        return compute.Compute.elsewhere(device=device, precision=precision, threads=options.threads or 1)
    threads = options.ranks.take_cores(options.threads)
    return compute.Compute.choose(device=device, precision=precision, threads=threads, jobs=options.jobs or 1)


def _grid(options: Options, where: Compute, *, log: TextIO) -> tuple[list[RunSpec], Mapping[str, Fingerprint]]:
    """Return the descriptions of all cells, and which images their datasets hold."""
    # The cells come first: a mistake is answered before any image is looked at, or downloaded.
    cells = make_specs(
        methods=options.methods,
        sources=options.sources,
        data={},
        ipcs=options.ipcs,
        seeds=options.seeds,
        protocol=options.protocol,
        precision=where.precision,
    )
    fingerprints = _fingerprints(options, log=log)
    specs = [spec.model_copy(update={"data": fingerprints[spec.dataset].short}) for spec in cells]
    return specs, fingerprints


def _work(options: Options, where: Compute, fingerprints: Mapping[str, Fingerprint]) -> Work:
    """Return what workers in other processes are given."""
    return Work(
        start="run_all:worker",
        methods={text: text for text in (m.name if m.name in METHODS else m.citation for m, _ in options.methods)},
        datasets=tuple(source.name for source in options.sources),
        size=options.protocol.data.size,
        data_root=options.data_root,
        fingerprints=fingerprints,
        labels={source.name: source.label for source in options.sources},
        folder=options.out / "records",
        device=options.executor.device(options.device),
        precision=where.precision,
        threads=where.threads,
        force=options.force,
        checkpoints=options.checkpoints,
        place=Path.cwd(),
    )


def worker(work: Work, number: int, bundles: Mapping[str, Bundle] | None) -> Runner:
    """Return what runs cells in a process of its own; see `Work.open`."""
    with data_warnings(lambda text: None):  # the first process has shown them
        methods = [work.as_typed(find_method(text), text) for text in work.methods]
        sources = [] if bundles else [find_source(name, size=work.size) for name in work.datasets]
    where = compute.Compute.choose(device=work.device, precision=work.precision, threads=work.threads, number=number)
    return work.runner(where, methods, Loader(sources, work.data_root, work.fingerprints, bundles), console.Silent())


def _run_cells(
    options: Options, where: Compute, work: Work, specs: Sequence[RunSpec], estimates: Callable[[], Estimates], progress: TextIO
) -> list[RunRecord]:
    """Run the cells; return their records."""
    load = Loader(options.sources, options.data_root, work.fingerprints)
    first = {spec.dataset: spec for spec in reversed(specs)}
    check_ipc(specs, {name: load(name, spec.protocol, spec.seed) for name, spec in first.items()})
    folder.make(options.out)
    with interrupts.listening(), console.observer(progress, total=len(specs)) as shown:
        runner = work.runner(where, [method for method, _ in options.methods], load, shown)
        if options.ranks.count > 1:
            runner = parts.lead(options.ranks, work, runner, specs, log=progress)
        driver = Driver(work, runner, shown, options.jobs, options.executor, load.whole, estimates)
        return list(executors.make(options.executor, driver).map(specs))


def _estimates(options: Options, where: Compute | None, distilled: Mapping[str, RunRecord]) -> Estimates:
    """Return what cells will take where they are computed, or, for None, on the machine of the records; see `Estimates`."""
    records = measured(*record_folders(options.out, REFERENCE))
    machine = Machine.like(where, options.ranks.count, here=options.executor.is_local) if where else usual_machine(records)
    methods = METHODS | {method.name: method for method, _ in options.methods}
    sources = {source.name: source for source in (*DATASETS.values(), *options.sources)}
    return Estimates(records, methods, sources, machine, checkpoints=options.checkpoints, distilled=distilled)


def planned(arguments: Sequence[str]) -> tuple[list[RunSpec], Estimates, list[str]]:
    """Return the cells of a command line, what they take, and where the records are that say so; see `bench.plan`."""
    options = parse(arguments)
    specs, _ = _grid(options, _compute(options), log=io.StringIO())
    return specs, _estimates(options, None, {}), [str(path) for path in record_folders(options.out, REFERENCE)]


def run(options: Options, *, out: TextIO, progress: TextIO) -> int:
    """Run what is missing of the grid and write the report.

    Args:
        options: the command line.
        out: where the outcome is printed.
        progress: where progress is shown.

    Returns:
        The exit status: 1 where a cell failed or a file could not be put right, else 0.

    """
    options.ranks.check(options.executor.name, options.jobs, options.device, options.sources)
    where = _compute(options)
    specs, fingerprints = _grid(options, where, log=progress)
    there = folder.present(options.out, specs, options.checkpoints, force=options.force, look=options.dry_run, log=progress)
    estimates = cache(partial(_estimates, options, where, there.distilled))
    if options.dry_run:
        jobs = options.jobs or (1 if options.executor.is_local else None)
        out.writelines(f"{line}\n" for line in dry_run(specs, there.finished, estimates(), jobs=jobs))
        return 0

    left = [spec for spec in specs if spec.hash not in there.finished]
    records = _run_cells(options, where, _work(options, where, fingerprints), left, estimates, progress)
    failed = [record for record in records if record.status == "failed"]
    good, wanted = len(records) - len(failed), {spec.hash for spec in specs}
    page = (
        write_report(options.out, wanted=wanted, log=io.StringIO()) if good or there.finished else "none, for want of results"
    )
    out.write(f"{good} cells run, {len(there.finished)} there before, {len(failed)} failed; report: {page}\n")
    out.writelines(f"failed: {record.spec.dataset} {record.spec.method}: {record.error}\n" for record in failed)
    out.writelines(f"not repaired: {line}\n" for line in there.unrepaired)
    return 1 if failed or there.unrepaired else 0


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; return its exit status.

    It is 0, 1 where something failed or could not be written, 2 on a user's mistake, and 128 + a signal that ended it.
    """
    if signal.getsignal(signal.SIGINT) is _end:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    ranks = Ranks.of_environment()
    command = partial(_main, sys.argv[1:] if arguments is None else arguments, ranks)
    return status_of("run_all.py", partial(ranks.run, command))


def _main(arguments: Sequence[str], ranks: Ranks) -> int:
    with data_warnings(lambda text: sys.stderr.write(f"run_all.py: warning: {text}\n")):
        options = parse(arguments, ranks)
        if options.list:
            if (options.device, options.threads, options.jobs) != ("auto", None, None):  # these are checked with torch
                _compute(options)
            sys.stdout.write(listing(METHODS.values(), DATASETS.values()) + "\n")
            return 0
        if options.report_only:
            sys.stdout.write(f"report: {write_report(options.out, log=sys.stderr)}\n")
            return 0
        return run(options, out=sys.stdout, progress=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
