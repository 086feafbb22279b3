"""The command line: its options, typed and checked, and the command that they ask for."""

from __future__ import annotations

import signal
import sys
from collections.abc import Mapping, Sequence
from functools import partial
from pkgutil import resolve_name
from typing import Any

from bench.cells.method import Method
from bench.cells.protocol import SECTIONS, SEEDS, Data, resolve
from bench.cells.settings import Settings
from bench.command.early import end_early
from bench.command.ending import status_of
from bench.command.listing import listing
from bench.command.options import Options, Texts, folder_path, number, numbers, option_parser, positive, typed_texts
from bench.errors import UsageError, unknown
from bench.files import data_warnings, shown_progress
from bench.machine.ranks import ALONE, Ranks
from bench.running.executors import OWNERS, choose
from bench.running.suite import Suite

_RUN = "bench.command.run"
"""The module of what a command runs: it imports torch, which a listing and the answer to a mistake do not wait for."""


def parse(suite: Suite, arguments: Sequence[str], ranks: Ranks = ALONE) -> Options:
    """Return the options that `arguments` mean, for this one of `ranks`; raise `UsageError` on a mistake."""
    parser = option_parser(suite.description, suite.methods)
    typed, rest = parser.parse_known_args(arguments)
    if rest:
        raise unknown("option", rest[0], [name for action in parser._actions for name in action.option_strings])
    methods = _methods(suite, typed.methods)
    texts = typed_texts(typed, methods, {*suite.methods, *SECTIONS, *OWNERS, *(method.name for method in methods)})
    protocol = resolve(typed.profile, {name: texts[name] for name in SECTIONS if name in texts})
    if typed.precision not in ("auto", "fp32", "bf16"):
        raise unknown("--precision", typed.precision, ("auto", "fp32", "bf16"))
    if typed.gpus is not None and not typed.dry_run:
        raise UsageError(f"--gpus {typed.gpus!r}: nothing is simulated; valid: with --dry-run")
    if typed.speedup is not None and typed.gpus is None:
        raise UsageError(f"--speedup {typed.speedup!r}: nothing is simulated; valid: with --dry-run --gpus")
    return Options(
        methods=_settings(suite, texts, methods, typed.profile),
        sources=_sources(suite, typed.datasets, protocol.data),
        ipcs=numbers("--ipc", typed.ipc, low=1),
        seeds=numbers("--seeds", typed.seeds, low=0) if typed.seeds is not None else SEEDS[typed.profile],
        protocol=protocol.changed(data=protocol.data.settled()),
        data_root=folder_path("--data-root", typed.data_root),
        out=folder_path("--out", typed.out),
        device=typed.device,
        precision=typed.precision,
        threads=number("--threads", typed.threads, low=1) if typed.threads is not None else None,
        jobs=number("--jobs", typed.jobs, low=1) if typed.jobs is not None else None,
        executor=choose(typed.executor, texts, address=typed.ray_address),
        checkpoints=tuple(sorted(numbers("--checkpoints", typed.checkpoints, low=0))) if typed.checkpoints is not None else (),
        force=typed.force,
        report_only=typed.report_only,
        list=typed.list,
        dry_run=typed.dry_run,
        gpus=numbers("--gpus", typed.gpus, low=1) if typed.gpus is not None else (),
        speedup=positive("--speedup", typed.speedup) if typed.speedup is not None else 1.0,
        ranks=ranks,
    )


def _methods(suite: Suite, spellings: str) -> tuple[Method, ...]:
    """Return the methods that `--methods` names, each once."""
    methods: dict[str, tuple[str, Method]] = {}
    for spelling in spellings.split(","):
        method = suite.find_method(spelling)
        if method.name in methods and methods[method.name][0] != spelling:
            first = methods[method.name][0]
            raise UsageError(f"--methods {spelling!r}: {first!r} has that name too; valid: a name of its own")
        methods[method.name] = spelling, method
    return tuple(method for _, method in methods.values())


def _sources(suite: Suite, names: str, data: Data) -> tuple[Any, ...]:
    """Return the datasets that `--datasets` names, each once; two spellings may mean one folder."""
    typed = dict.fromkeys(suite.split_names(names))
    sources = [suite.find_source(name, size=data.size, flip=data.flip) for name in typed]
    return tuple({source.name: source for source in reversed(sources)}.values())[::-1]


def _settings(suite: Suite, texts: Texts, methods: Sequence[Method], profile: str) -> tuple[tuple[Method, Settings], ...]:
    """Return each method with its settings; a misspelt setting of a method that is not in the grid is a mistake too."""
    own: Mapping[str, Mapping[str, str]] = {name: values for name, values in texts.items() if name not in SECTIONS}
    checked = {m.name: m.resolve(own.get(m.name, {}), profile=profile) for m in (*suite.methods.values(), *methods)}
    return tuple((method, checked[method.name]) for method in methods)


def main(suite: Suite, arguments: Sequence[str]) -> int:
    """Run the command line; return its exit status.

    It is 0, 1 if something failed or could not be written, 2 on a user's mistake, and 128 + a signal that ended it.
    """
    if signal.getsignal(signal.SIGINT) is end_early:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    ranks = Ranks.of_environment()
    command = partial(_command, suite, arguments, ranks)
    if ranks.count == 1:
        return status_of("run_all.py", command)
    return status_of("run_all.py", partial(resolve_name(f"{_RUN}:under_torchrun"), ranks, command))


def _command(suite: Suite, arguments: Sequence[str], ranks: Ranks) -> int:
    with (
        data_warnings(lambda message: sys.stderr.write(f"run_all.py: warning: {message}\n")),
        shown_progress("run_all.py", sys.stderr),
    ):
        options = parse(suite, arguments, ranks)
        if options.list is not None:
            if (options.device, options.threads, options.jobs) != ("auto", None, None):  # these are checked with torch
                resolve_name(f"{_RUN}:chosen_compute")(options)
            sys.stdout.write(listing(suite, options.list) + "\n")
            return 0
        if options.report_only:
            sys.stdout.write(f"report: {suite.write_report(options.out, log=sys.stderr)}\n")
            return 0
        status: int = resolve_name(f"{_RUN}:run")(suite, options, out=sys.stdout, progress=sys.stderr)
        return status
