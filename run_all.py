"""The command line: distill, evaluate and report a grid of methods, datasets, IPCs and seeds.

`python run_all.py` runs everything on the embedded digits; `python run_all.py --help` names the options.
"""

from __future__ import annotations

import argparse
import io
import os
import signal
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache, lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn, TextIO

from bench import interrupts
from bench.errors import UsageError, unknown
from bench.grid import check_ipc, make_specs
from bench.interrupts import Interrupted
from bench.lazy import compute, console, runner
from bench.listing import listing
from bench.method import Method
from bench.protocol import PROFILES, SECTIONS, SEEDS, Protocol, resolve
from bench.records import RunRecord
from bench.settings import Settings
from bench.spec import RunSpec
from bench.storage import finished, read_folder
from bench.types import Bundle
from datasets import DATASETS, data_warnings, find_source, held_out, split_names
from datasets.source import Source
from methods import METHODS, find_method
from reports import write_report

if TYPE_CHECKING:
    from bench.compute import Compute

Texts = dict[str, dict[str, str]]
"""What was typed after `--set`, by owner and field."""


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
    checkpoints: tuple[int, ...]
    force: bool
    report_only: bool
    dry_run: bool


class _Parser(argparse.ArgumentParser):
    """Reports a mistake in one line, with the nearest option."""

    def error(self, message: str) -> NoReturn:
        raise UsageError(message)


def _parser() -> _Parser:
    parser = _Parser(prog="run_all.py", description=__doc__, allow_abbrev=False)
    add = parser.add_argument
    add("--methods", default=",".join(METHODS), help="names, or path/to/file.py:function, with commas between")
    add("--datasets", default="digits", help="names, or folder:PATH, with commas between")
    add("--ipc", default="1,10", help="images per class, with commas between")
    add("--seeds", help="one distillation a seed; default 0, in profile paper 0,1,2,3,4")
    add("--profile", default="quick", help=", ".join(PROFILES))
    add("--eval-nets", help="short for --set eval.nets=N --set whole.nets=N")
    add("--iterations", help="short for --set match.iterations=N, and the same of dc, dsa, cafe")
    add("--set", action="append", default=[], metavar="NAME.FIELD=VALUE", help="a method's or the protocol's own option")
    add("--data-root", default=os.environ.get("DATA_ROOT", "data"), help="where datasets lie; also the variable DATA_ROOT")
    add("--out", default="results", help="where records and the report go")
    add("--device", default="auto", help="auto, cpu, cuda, cuda:N")
    add("--precision", default="auto", help="auto, fp32, bf16: of the passes through networks")
    add("--threads", help="CPU threads; default all cores")
    add("--checkpoints", help="iterations after which the images are kept and evaluated too, with commas between")
    add("--force", action="store_true", help="run cells again that have a record")
    add("--report-only", action="store_true", help="make the report from the records that are there")
    add("--list", action="store_true", help="show methods, datasets, profiles and every option, and stop")
    add("--dry-run", action="store_true", help="show the cells and which have a record, and stop")
    return parser


def _numbers(option: str, text: str, *, low: int) -> tuple[int, ...]:
    for part in text.split(","):
        if not part.strip().isdecimal() or int(part) < low:
            raise UsageError(f"{option} {text!r}: {part!r} is not valid; valid: whole numbers of at least {low}, with commas")
    return tuple(dict.fromkeys(map(int, text.split(","))))


def _number(option: str, text: str, *, low: int) -> int:
    if not text.isdecimal() or int(text) < low:
        raise UsageError(f"{option} {text!r} is not valid; valid: a whole number of at least {low}")
    return int(text)


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
        iterations = _number("--iterations", arguments.iterations, low=0)
        counting = [method.name for method in methods if "iterations" in method.settings.model_fields]
        pairs += [f"{owner}.iterations={iterations}" for owner in ("match", *counting)]
    if arguments.eval_nets is not None:
        nets = _number("--eval-nets", arguments.eval_nets, low=1)
        pairs += [f"eval.nets={nets}", f"whole.nets={nets}"]
    pairs += [f"whole.networks={pair.partition('=')[2]}" for pair in arguments.set if pair.startswith("eval.networks=")]
    owners = {*METHODS, *SECTIONS, *(method.name for method in methods)}
    texts: Texts = {}
    for pair in (*pairs, *arguments.set):
        name, equals, value = pair.partition("=")
        owner, dot, field = name.partition(".")
        if not (equals and dot and field):
            raise UsageError(f"--set {pair!r} is not valid; valid: NAME.FIELD=VALUE, for example kr.hidden=256")
        if owner not in owners:
            raise unknown("owner in --set", owner, owners)
        texts.setdefault(owner, {})[field] = value
    return texts


def _settings(texts: Texts, methods: Sequence[Method], profile: str) -> tuple[tuple[Method, Settings], ...]:
    """Return each method with its settings; a misspelt setting of a method that is not in the grid is a mistake too."""
    own = {name: values for name, values in texts.items() if name not in SECTIONS}  # `whole` names a section, and a method
    checked = {
        method.name: method.resolve(own.get(method.name, {}), profile=profile) for method in (*METHODS.values(), *methods)
    }
    return tuple((method, checked[method.name]) for method in methods)


def parse(arguments: Sequence[str]) -> Options:
    """Return the options that `arguments` mean; raise `UsageError` on a mistake."""
    parser = _parser()
    typed, rest = parser.parse_known_args(arguments)
    if rest:
        raise unknown("option", rest[0], [name for action in parser._actions for name in action.option_strings])
    methods = _methods(typed.methods)
    texts = _texts(typed, methods)
    protocol = resolve(typed.profile, {name: texts[name] for name in SECTIONS if name in texts})
    out = Path(typed.out)
    if not next(place for place in (out, *out.absolute().parents) if place.exists()).is_dir():
        raise UsageError(f"--out {typed.out!r} is, or lies below, a file; valid: a folder, there or not")
    if typed.precision not in ("auto", "fp32", "bf16"):
        raise unknown("--precision", typed.precision, ("auto", "fp32", "bf16"))
    return Options(
        methods=_settings(texts, methods, typed.profile),
        sources=tuple(find_source(name, size=protocol.data.size) for name in dict.fromkeys(split_names(typed.datasets))),
        ipcs=_numbers("--ipc", typed.ipc, low=1),
        seeds=_numbers("--seeds", typed.seeds, low=0) if typed.seeds is not None else SEEDS[typed.profile],
        protocol=protocol,
        data_root=Path(typed.data_root),
        out=out,
        device=typed.device,
        precision=typed.precision,
        threads=_number("--threads", typed.threads, low=1) if typed.threads is not None else None,
        checkpoints=tuple(sorted(_numbers("--checkpoints", typed.checkpoints, low=0))) if typed.checkpoints is not None else (),
        force=typed.force,
        report_only=typed.report_only,
        dry_run=typed.dry_run,
    )


def _loader(options: Options) -> Callable[[str, Protocol, int], Bundle]:
    sources = {source.name: source for source in options.sources}

    @cache
    def load_all(name: str) -> Bundle:
        return sources[name].load(options.data_root)

    @lru_cache(maxsize=1)
    def load(name: str, protocol: Protocol, seed: int) -> Bundle:
        bundle = load_all(name)
        data = protocol.data
        return bundle if data.split == "test" else held_out(bundle, fraction=data.holdout, seed=seed)

    return load


def _present(options: Options, specs: Sequence[RunSpec], *, log: TextIO) -> set[str]:
    """Return the hashes of the cells that need not run; name in `log` the files that hold no readable record."""
    folder = options.out / "records"
    for file in read_folder(folder)[1]:
        again = ", and its cell has to run again" if file.path.stem in {spec.hash for spec in specs} else ""
        log.write(f"{file.path} cannot be read{again}: {file.reason}\n")
    return set() if options.force else {spec.hash for spec in specs if finished(folder, spec, options.checkpoints)}


def _make_folder(folder: Path, out: Path) -> None:
    """Make the folder of records; raise `UsageError` where it cannot be written to."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=folder).close()
    except OSError as error:
        raise UsageError(f"--out {str(out)!r} cannot be written to ({error}); valid: a folder of yours") from None


def _compute(options: Options) -> Compute:
    """Return where and in which precision the grid is computed."""
    # Quick cells are too short to be compiled, and bfloat16 pays only where they are.
    precision = "fp32" if (options.precision, options.protocol.profile) == ("auto", "quick") else options.precision
    return compute.Compute.choose(device=options.device, precision=precision, threads=options.threads)


def _run_cells(options: Options, where: Compute, specs: Sequence[RunSpec], progress: TextIO) -> list[RunRecord]:
    """Run the cells; return their records."""
    load, folder = _loader(options), options.out / "records"
    first = {spec.dataset: spec for spec in reversed(specs)}
    check_ipc(specs, {name: load(name, spec.protocol, spec.seed) for name, spec in first.items()})
    _make_folder(folder, options.out)
    methods = {method.name: method for method, _ in options.methods}
    labels = {source.name: source.label for source in options.sources}
    with interrupts.listening(), console.observer(progress, total=len(specs)) as shown:
        cells = runner.Runner(folder, where, methods, load, shown, labels, options.force, options.checkpoints)
        return cells.run(specs)


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
    specs = make_specs(
        methods=options.methods,
        sources=options.sources,
        ipcs=options.ipcs,
        seeds=options.seeds,
        protocol=options.protocol,
        precision=where.precision,
    )
    present = _present(options, specs, log=progress)
    if options.dry_run:
        out.writelines(f"{spec.hash} {'there' if spec.hash in present else 'to run':<7} {spec.label}\n" for spec in specs)
        return 0

    records = _run_cells(options, where, [spec for spec in specs if spec.hash not in present], progress)
    failed = [record for record in records if record.status == "failed"]
    good, wanted = len(records) - len(failed), {spec.hash for spec in specs}
    page = write_report(options.out, wanted=wanted, log=io.StringIO()) if good or present else "none, for want of results"
    out.write(f"{good} cells run, {len(present)} there before, {len(failed)} failed; report: {page}\n")
    out.writelines(f"failed: {record.spec.dataset} {record.spec.method}: {record.error}\n" for record in failed)
    return 1 if failed else 0


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; return its exit status: 0, 1 where a cell failed, 2 on a user's mistake, 128 + a signal."""
    arguments = sys.argv[1:] if arguments is None else arguments
    try:
        if "--list" in arguments:
            sys.stdout.write(listing(METHODS.values(), DATASETS.values()) + "\n")
            return 0
        with data_warnings(lambda text: sys.stderr.write(f"run_all.py: warning: {text}\n")):
            options = parse(arguments)
            if options.report_only:
                sys.stdout.write(f"report: {write_report(options.out, log=sys.stderr)}\n")
                return 0
            return run(options, out=sys.stdout, progress=sys.stderr)
    except UsageError as error:
        sys.stderr.write(f"run_all.py: error: {error}\n")
        return 2
    except (KeyboardInterrupt, Interrupted) as error:
        number = error.number if isinstance(error, Interrupted) else signal.SIGINT
        name = signal.Signals(number).name
        sys.stderr.write(f"run_all.py: interrupted by {name}; the same command, without --force, goes on from there\n")
        return 128 + number


if __name__ == "__main__":
    sys.exit(main())
