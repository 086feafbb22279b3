"""The command line: distill, evaluate and report a grid of methods, datasets, IPCs and seeds.

`python run_all.py` runs everything on the embedded digits; `python run_all.py --help` names the options.
"""

from __future__ import annotations

import os
import signal
from types import FrameType


def _end(number: int, frame: FrameType | None) -> None:
    """End a run of which modules are still being imported: there is nothing yet that has to end in order."""
    os.write(2, b"run_all.py: interrupted by SIGINT before work started\n")
    os._exit(128 + number)


if __name__ == "__main__":
    signal.signal(signal.SIGINT, _end)

import argparse
import io
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

from bench import folder, interrupts
from bench.cost import passes
from bench.errors import UsageError, is_disk_error, unknown
from bench.grid import check_ipc, make_specs
from bench.interrupts import Interrupted
from bench.lazy import compute, console, local, runner
from bench.listing import listing
from bench.method import Method
from bench.options import Texts, folder_path, number, numbers, option_parser, setting_texts
from bench.protocol import SECTIONS, SEEDS, Protocol, resolve
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
    from bench.runner import Observer, Runner


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
    jobs: int
    checkpoints: tuple[int, ...]
    force: bool
    report_only: bool
    list: bool
    dry_run: bool
    typed: tuple[str, ...]


def _methods(text: str) -> tuple[Method, ...]:
    methods: dict[str, tuple[str, Method]] = {}
    for part in text.split(","):
        method = find_method(part)
        if method.name in methods and methods[method.name][0] != part:
            raise UsageError(f"--methods {part!r}: {methods[method.name][0]!r} has that name too; valid: a name of its own")
        methods[method.name] = part, method
    return tuple(method for _, method in methods.values())


def _texts(arguments: argparse.Namespace, methods: Sequence[Method]) -> Texts:
    """Return the texts of all `--set`, with the short forms written out; raise `UsageError` where one is malformed."""
    pairs: list[str] = []  # the short forms first: what is set by its own name counts
    if arguments.iterations is not None:
        iterations = number("--iterations", arguments.iterations, low=0)
        counting = [method.name for method in methods if "iterations" in method.settings.model_fields]
        pairs += [f"{owner}.iterations={iterations}" for owner in ("match", *counting)]
    if arguments.eval_nets is not None:
        nets = number("--eval-nets", arguments.eval_nets, low=1)
        pairs += [f"eval.nets={nets}", f"whole.nets={nets}"]
    pairs += [f"whole.networks={pair.partition('=')[2]}" for pair in arguments.set if pair.startswith("eval.networks=")]
    return setting_texts((*pairs, *arguments.set), {*METHODS, *SECTIONS, *(method.name for method in methods)})


def _settings(texts: Texts, methods: Sequence[Method], profile: str) -> tuple[tuple[Method, Settings], ...]:
    """Return each method with its settings; a misspelt setting of a method that is not in the grid is a mistake too."""
    own = {name: values for name, values in texts.items() if name not in SECTIONS}  # `whole` names a section, and a method
    checked = {
        method.name: method.resolve(own.get(method.name, {}), profile=profile) for method in (*METHODS.values(), *methods)
    }
    return tuple((method, checked[method.name]) for method in methods)


def parse(arguments: Sequence[str]) -> Options:
    """Return the options that `arguments` mean; raise `UsageError` on a mistake."""
    parser = option_parser(__doc__ or "", METHODS)
    typed, rest = parser.parse_known_args(arguments)
    if rest:
        raise unknown("option", rest[0], [name for action in parser._actions for name in action.option_strings])
    methods = _methods(typed.methods)
    texts = _texts(typed, methods)
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
        jobs=number("--jobs", typed.jobs, low=1),
        checkpoints=tuple(sorted(numbers("--checkpoints", typed.checkpoints, low=0))) if typed.checkpoints is not None else (),
        force=typed.force,
        report_only=typed.report_only,
        list=typed.list,
        dry_run=typed.dry_run,
        typed=tuple(arguments),
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
    return compute.Compute.choose(device=options.device, precision=precision, threads=options.threads, jobs=options.jobs)


def _grid(options: Options, where: Compute, *, log: TextIO) -> tuple[list[RunSpec], Loader]:
    """Return the descriptions of all cells, and what loads their datasets."""
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
    return specs, Loader(options.sources, options.data_root, fingerprints)


def _runner(options: Options, where: Compute, load: Loader, observer: Observer) -> Runner:
    methods = {method.name: method for method, _ in options.methods}
    labels = {source.name: source.label for source in options.sources}
    return runner.Runner(options.out / "records", where, methods, load, observer, labels, options.force, options.checkpoints)


def worker(arguments: Sequence[str], number: int) -> Callable[[str], RunRecord]:
    """Return what runs the cells of a command line in a process of its own, by their hashes; see `bench.executors`."""
    with data_warnings(lambda text: None):  # the first process has told them
        options = parse(arguments)
        where = compute.Compute.choose(
            device=options.device, precision=options.precision, threads=options.threads, number=number
        )
        specs, load = _grid(options, where, log=io.StringIO())
    cells, by_hash = _runner(options, where, load, console.Silent()), {spec.hash: spec for spec in specs}
    return lambda digest: cells.run([by_hash[digest]])[0]


def _run_cells(options: Options, where: Compute, specs: Sequence[RunSpec], load: Loader, progress: TextIO) -> list[RunRecord]:
    """Run the cells; return their records."""
    first = {spec.dataset: spec for spec in reversed(specs)}
    check_ipc(specs, {name: load(name, spec.protocol, spec.seed) for name, spec in first.items()})
    folder.make(options.out)
    with interrupts.listening(), console.observer(progress, total=len(specs)) as shown:
        if options.jobs == 1:
            return _runner(options, where, load, shown).run(specs)
        # Each process takes what this one has chosen: the later of two values of an option counts.
        arguments = (*options.typed, "--precision", where.precision, "--threads", str(where.threads))
        longest_first = [spec.hash for spec in sorted(specs, key=passes, reverse=True)]
        records = []
        for record in local.Local(options.jobs, where.threads).map(partial(worker, arguments), longest_first):
            shown.started(record.spec)
            shown.finished(record)
            records.append(record)
        return records


def run(options: Options, *, out: TextIO, progress: TextIO) -> int:
    """Run what is missing of the grid and write the report.

    Args:
        options: the command line.
        out: where the outcome is printed.
        progress: where progress is shown.

    Returns:
        The exit status: 1 where a cell failed, else 0.

    """
    where = _compute(options)
    specs, load = _grid(options, where, log=progress)
    present = folder.present(options.out, specs, options.checkpoints, force=options.force, look=options.dry_run, log=progress)
    if options.dry_run:
        out.writelines(f"{spec.hash} {'there' if spec.hash in present else 'to run':<7} {spec.label}\n" for spec in specs)
        return 0

    records = _run_cells(options, where, [spec for spec in specs if spec.hash not in present], load, progress)
    failed = [record for record in records if record.status == "failed"]
    good, wanted = len(records) - len(failed), {spec.hash for spec in specs}
    page = write_report(options.out, wanted=wanted, log=io.StringIO()) if good or present else "none, for want of results"
    out.write(f"{good} cells run, {len(present)} there before, {len(failed)} failed; report: {page}\n")
    out.writelines(f"failed: {record.spec.dataset} {record.spec.method}: {record.error}\n" for record in failed)
    return 1 if failed else 0


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; return its exit status.

    It is 0, 1 where a cell failed or nothing more could be written, 2 on a user's mistake, and 128 + a signal that ended it.
    """
    if signal.getsignal(signal.SIGINT) is _end:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    if sys.stdout is None:  # it was closed, as by `>&-`
        sys.stdout = Path(os.devnull).open("w", encoding="utf-8")  # noqa: SIM115
    try:
        status = _main(sys.argv[1:] if arguments is None else arguments)
        sys.stdout.flush()
        return status
    except UsageError as error:
        sys.stderr.write(f"run_all.py: error: {error}\n")
        return 2
    except (KeyboardInterrupt, Interrupted) as error:
        number = error.number if isinstance(error, Interrupted) else signal.SIGINT
        name = signal.Signals(number).name
        sys.stderr.write(f"run_all.py: interrupted by {name}; the same command, without --force, goes on from there\n")
        return 128 + number
    except BrokenPipeError:  # whoever reads our output has seen enough, as in `--list | head`
        sys.stdout = None
        return 128 + signal.SIGPIPE
    except OSError as error:
        if not is_disk_error(error):
            raise
        place = error.filename or "the standard output, or to a file"
        reason = f"cannot write to {place}: {error.strerror}; what is finished is kept, and the same command goes on from there"
        sys.stderr.write(f"run_all.py: error: {reason}\n")
        sys.stdout = None  # Python would try once more to write what it holds
        return 1


def _main(arguments: Sequence[str]) -> int:
    with data_warnings(lambda text: sys.stderr.write(f"run_all.py: warning: {text}\n")):
        options = parse(arguments)
        if options.list:
            sys.stdout.write(listing(METHODS.values(), DATASETS.values()) + "\n")
            return 0
        if options.report_only:
            sys.stdout.write(f"report: {write_report(options.out, log=sys.stderr)}\n")
            return 0
        return run(options, out=sys.stdout, progress=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
