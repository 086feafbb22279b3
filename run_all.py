"""The command line: distill, evaluate and report a grid of methods, datasets, IPCs and seeds.

`python run_all.py` runs everything on the embedded digits; `python run_all.py --help` names the options.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache, lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn, TextIO

from bench.errors import UsageError, unknown
from bench.options import parse_options
from bench.protocol import PROFILES, SEEDS, Protocol, resolve, sections
from bench.types import Bundle, Method, RunSpec
from datasets import DATASETS, find_source, held_out
from datasets.source import Source
from methods import METHODS, find_method

if TYPE_CHECKING:
    from bench.compute import Compute

Settings = dict[str, dict[str, str]]
"""The texts of `--set owner.name=value`, by owner."""


@dataclass(frozen=True)
class Options:
    """The command line, typed and checked."""

    methods: tuple[Method, ...]
    sources: tuple[Source, ...]
    ipcs: tuple[int, ...]
    seeds: tuple[int, ...]
    protocol: Protocol
    hyper: Settings
    data_root: Path
    out: Path
    device: str
    precision: str
    threads: int | None
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
    add("--force", action="store_true", help="run cells again that have a record")
    add("--report-only", action="store_true", help="make the report from the records that are there")
    add("--list", action="store_true", help="show methods, datasets, profiles and every option, and stop")
    add("--dry-run", action="store_true", help="show the cells and which have a record, and stop")
    return parser


def _numbers(option: str, text: str, *, low: int) -> tuple[int, ...]:
    found = []
    for part in text.split(","):
        if not part.strip().isdecimal() or int(part) < low:
            raise UsageError(f"{option} {text!r}: {part!r} is not valid; valid: whole numbers of at least {low}, with commas")
        found.append(int(part))
    return tuple(dict.fromkeys(found))


def _number(option: str, text: str, *, low: int) -> int:
    if not text.isdecimal() or int(text) < low:
        raise UsageError(f"{option} {text!r} is not valid; valid: a whole number of at least {low}")
    return int(text)


def _methods(text: str) -> tuple[Method, ...]:
    found: dict[str, tuple[str, Method]] = {}
    for part in text.split(","):
        method = find_method(part)
        if method.name in found and found[method.name][0] != part:
            raise UsageError(f"--methods {part!r}: {found[method.name][0]!r} has that name too; valid: a name of its own")
        found[method.name] = part, method
    return tuple(method for _, method in found.values())


def _settings(texts: Sequence[str], methods: Sequence[Method]) -> Settings:
    owners = {*METHODS, *sections(), *(method.name for method in methods)}
    found: Settings = {}
    for text in texts:
        name, equals, value = text.partition("=")
        owner, dot, field = name.partition(".")
        if not (equals and dot and field):
            raise UsageError(f"--set {text!r} is not valid; valid: NAME.FIELD=VALUE, for example kr.hidden=256")
        if owner not in owners:
            raise unknown("owner in --set", owner, owners)
        found.setdefault(owner, {})[field] = value
    for method in (*METHODS.values(), *methods):  # a misspelt option of a method that is not in the grid is a mistake too
        if method.name in found and method.name not in sections():
            parse_options(method.options(), found[method.name], owner=method.name)
    return found


def parse(arguments: Sequence[str]) -> Options:
    """Return the options that `arguments` mean; raise `UsageError` on a mistake."""
    parser = _parser()
    plain, rest = parser.parse_known_args(arguments)
    if rest:
        raise unknown("option", rest[0], [name for action in parser._actions for name in action.option_strings])
    texts = list(plain.set)
    if plain.iterations is not None:
        texts.append(f"match.iterations={_number('--iterations', plain.iterations, low=0)}")
    if plain.eval_nets is not None:
        nets = _number("--eval-nets", plain.eval_nets, low=1)
        texts += [f"eval.nets={nets}", f"whole.nets={nets}"]
    methods = _methods(plain.methods)
    if plain.iterations is not None:  # methods with a loop of their own count theirs
        loops = [method.name for method in methods if method.settings and "iterations" in method.options()]
        texts += [f"{name}.iterations={plain.iterations}" for name in loops]
    settings = _settings(texts, methods)
    protocol = resolve(plain.profile, {name: settings[name] for name in sections() if name in settings})
    out = Path(plain.out)
    if not next(place for place in (out, *out.absolute().parents) if place.exists()).is_dir():
        raise UsageError(f"--out {plain.out!r} is, or lies below, a file; valid: a folder, there or not")
    if plain.precision not in ("auto", "fp32", "bf16"):
        raise unknown("--precision", plain.precision, ("auto", "fp32", "bf16"))
    return Options(
        methods=methods,
        sources=tuple(find_source(name, size=protocol.data.size) for name in dict.fromkeys(plain.datasets.split(","))),
        ipcs=_numbers("--ipc", plain.ipc, low=1),
        seeds=_numbers("--seeds", plain.seeds, low=0) if plain.seeds is not None else SEEDS[plain.profile],
        protocol=protocol,
        hyper={owner: texts for owner, texts in settings.items() if owner not in sections()},
        data_root=Path(plain.data_root),
        out=out,
        device=plain.device,
        precision=plain.precision,
        threads=_number("--threads", plain.threads, low=1) if plain.threads is not None else None,
        force=plain.force,
        report_only=plain.report_only,
        dry_run=plain.dry_run,
    )


def listing() -> str:
    """Return methods, datasets, profiles and all options as text."""
    lines = ["Methods:"]
    for method in METHODS.values():
        lines.append(f"  {method.name:<12} {method.label} ({method.source})")
        for option in method.options().values():
            by_profile = any(option.name in values for values in method.defaults.values())
            default = "by profile" if by_profile else option.default
            lines.append(f"    --set {method.name}.{option.name}={default}  ({option.valid()})")
    lines += ["  path/to/file.py:function  a loss of your own", "Datasets:"]
    for source in DATASETS.values():
        channels, height, width = source.shape
        lines.append(f"  {source.name:<12} {source.label}: {len(source.classes)} classes, {channels}x{height}x{width}")
    lines += ["  folder:PATH  PATH/train/CLASS/* and PATH/test/CLASS/*", f"Profiles: {', '.join(PROFILES)}"]
    for name, options in sections().items():
        for option in options.values():
            values = ", ".join(f"{key} {getattr(getattr(p, name), option.name)}" for key, p in PROFILES.items())
            lines.append(f"    --set {name}.{option.name}=...  ({option.valid()}; {values})")
    return "\n".join(lines)


def _loader(options: Options) -> Callable[[str, Protocol, int], Bundle]:
    sources = {source.name: source for source in options.sources}

    @cache
    def whole(name: str) -> Bundle:
        return sources[name].load(options.data_root)

    @lru_cache(maxsize=1)
    def load(name: str, protocol: Protocol, seed: int) -> Bundle:
        bundle = whole(name)
        if protocol.data.split == "test":
            return bundle
        return held_out(bundle, fraction=protocol.data.holdout, seed=seed)

    return load


def specs_of(options: Options, compute_precision: str) -> list[RunSpec]:
    """Return the grid."""
    from bench.runner import make_specs

    return make_specs(
        methods=options.methods,
        sources=options.sources,
        ipcs=options.ipcs,
        seeds=options.seeds,
        protocol=options.protocol,
        hyper=options.hyper,
        precision="bf16" if compute_precision == "bf16" else "fp32",
    )


def run(options: Options, *, out: TextIO, progress: TextIO) -> int:
    """Run what is missing of the grid and write the report; return the exit status."""
    from bench.compute import Compute
    from bench.console import observer
    from bench.runner import Runner, check_ipc, finished
    from reports import write_report

    precision = options.precision
    if precision == "auto" and options.protocol.profile == "quick":
        precision = "fp32"  # too short to be compiled, and bfloat16 pays only where it is
    compute: Compute = Compute.choose(device=options.device, precision=precision, threads=options.threads)
    specs, folder = specs_of(options, compute.precision), options.out / "records"
    present = {spec.hash for spec in specs if finished(folder, spec)} if not options.force else set()
    missing = [spec for spec in specs if spec.hash not in present]
    if options.dry_run:
        for spec in specs:
            out.write(f"{spec.hash} {'there' if spec.hash in present else 'to run':<7} {spec.label}\n")
        return 0

    load = _loader(options)
    first = {spec.dataset: spec for spec in reversed(missing)}
    check_ipc(missing, {name: load(name, spec.protocol, spec.seed) for name, spec in first.items()})
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise UsageError(f"--out {str(options.out)!r} cannot be written to ({error}); valid: a folder of yours") from None
    methods = {method.name: method for method in options.methods}
    labels = {source.name: source.label for source in options.sources}
    with observer(progress, total=len(missing)) as shown:
        records = Runner(folder, compute, methods, load, shown, labels).run(missing)
    failed = [record for record in records if record.status == "failed"]
    good = len(records) - len(failed)
    page = write_report(options.out, wanted={spec.hash for spec in specs}) if good or present else "none, for want of results"
    out.write(f"{good} cells run, {len(present)} there before, {len(failed)} failed; report: {page}\n")
    for record in failed:
        out.write(f"failed: {record.spec['dataset']} {record.spec['method']}: {record.error}\n")
    return 1 if failed else 0


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; return its exit status: 0, 1 where a cell failed, 2 on a user's mistake, 130 when interrupted."""
    arguments = sys.argv[1:] if arguments is None else arguments
    try:
        if "--list" in arguments:
            sys.stdout.write(listing() + "\n")
            return 0
        options = parse(arguments)
        if options.report_only:
            from reports import write_report

            sys.stdout.write(f"report: {write_report(options.out)}\n")
            return 0
        return run(options, out=sys.stdout, progress=sys.stderr)
    except UsageError as error:
        sys.stderr.write(f"run_all.py: error: {error}\n")
        return 2
    except KeyboardInterrupt:
        sys.stderr.write("run_all.py: interrupted; the same command, without --force, goes on with what is missing\n")
        return 130


if __name__ == "__main__":
    sys.exit(main())
