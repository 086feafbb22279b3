"""The options of the command line, and how their values are read: numbers, lists of numbers, and what follows `--set`."""

from __future__ import annotations

import argparse
import math
import os
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from bench.cells.method import Method
from bench.cells.protocol import PROFILES, Protocol
from bench.cells.settings import Settings
from bench.errors import UsageError, quoted, unknown
from bench.files import user_path
from bench.machine.ranks import Ranks
from bench.running.executors import EXECUTORS, Choice

Texts = dict[str, dict[str, str]]
"""What was typed after `--set`, by owner and field."""

_LARGEST = 10**12


@dataclass(frozen=True)
class Options:
    """The command line, typed and checked: each method with its settings, and the protocol."""

    methods: tuple[tuple[Method, Settings], ...]
    sources: tuple[Any, ...]
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
    list: str | None
    dry_run: bool
    gpus: tuple[int, ...]
    speedup: float
    ranks: Ranks


class _Parser(argparse.ArgumentParser):
    """Reports a mistake in one line, with the nearest option."""

    def error(self, message: str) -> NoReturn:
        raise UsageError(message)


def option_parser(description: str, methods: Iterable[str]) -> argparse.ArgumentParser:
    """Return the parser of the command line; `methods` are those of a command line without `--methods`."""
    parser = _Parser(prog="run_all.py", description=description, allow_abbrev=False)
    add = parser.add_argument
    add("--methods", default=",".join(methods), help="names, path/to/file.py:function, or set:PATH, with commas between")
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
    add("--threads", help="CPU threads of each process; default all cores, dealt out; with ray and slurm 1")
    add("--jobs", help="cells side by side; default 1, with ray and slurm as many as there is room for")
    add("--executor", default="local", help=f"where cells run: {', '.join(EXECUTORS)}")
    add("--ray-address", help="a Ray cluster; auto is the one that runs here already; default a new one on this machine")
    add("--checkpoints", help="iterations after which the images are kept and evaluated too, with commas between")
    add("--force", action="store_true", help="run cells again that have a record, with all evaluation networks that it has")
    add("--report-only", action="store_true", help="make the report from the records that are there")
    add("--list", nargs="?", const="", metavar="NAME", help="show methods, datasets, profiles and options, or one NAME in full")
    add("--dry-run", action="store_true", help="show the cells, which have a record, and what the others take")
    add("--gpus", help="with --dry-run: simulate the grid on these numbers of GPUs, with commas between")
    add("--speedup", help="with --gpus: how many times faster a GPU is than the machine of the records; default 1")
    return parser


def typed_texts(arguments: argparse.Namespace, methods: Iterable[Method], owners: Collection[str]) -> Texts:
    """Return the values of all `--set`, with the short forms written out; raise `UsageError` if one is malformed.

    Args:
        arguments: the command line.
        methods: those of the grid, and those of the suite.
        owners: the names that may follow `--set`.

    """
    pairs: list[str] = []  # the short forms first: what is set by its own name counts
    if arguments.iterations is not None:
        iterations = number("--iterations", arguments.iterations, low=0)
        counting = [method.name for method in methods if "iterations" in method.settings.model_fields]
        pairs += [f"{owner}.iterations={iterations}" for owner in ("match", *counting)]
    if arguments.eval_nets is not None:
        nets = number("--eval-nets", arguments.eval_nets, low=1)
        pairs += [f"eval.nets={nets}", f"whole.nets={nets}"]
    pairs += [f"whole.networks={pair.partition('=')[2]}" for pair in arguments.set if pair.startswith("eval.networks=")]
    return setting_texts((*pairs, *arguments.set), owners)


def number(option: str, value: str, *, low: int) -> int:
    """Return the whole number that was typed; raise `UsageError` if it is none of at least `low`."""
    if not _is_number(value, low):
        raise UsageError(f"{option} {quoted(value)} is not valid; valid: a whole number of at least {low}")
    return int(value)


def numbers(option: str, value: str, *, low: int) -> tuple[int, ...]:
    """Return the whole numbers that were typed with commas between, each once; raise `UsageError` as `number` does."""
    for item in value.split(","):
        if not _is_number(item.strip(), low):
            raise UsageError(
                f"{option} {quoted(value)}: {quoted(item)} is not valid; valid: whole numbers of at least {low}, with commas"
            )
    return tuple(dict.fromkeys(map(int, value.split(","))))


def positive(option: str, value: str) -> float:
    """Return the number that was typed; raise `UsageError` if it is none above 0."""
    try:
        result = float(value)
    except ValueError:
        result = math.nan
    if not 0 < result < math.inf:
        raise UsageError(f"{option} {quoted(value)} is not valid; valid: a number above 0")
    return result


def _is_number(value: str, low: int) -> bool:
    return value.isdecimal() and len(value) <= len(str(_LARGEST)) and low <= int(value) <= _LARGEST


def setting_texts(pairs: Iterable[str], owners: Collection[str]) -> Texts:
    """Return what `--set NAME.FIELD=VALUE` says, by owner and field; raise `UsageError` if a pair is malformed.

    Args:
        pairs: as they were typed; of two for one field the last counts.
        owners: the names that may precede the dot.

    """
    texts: Texts = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        owner, dot, field = name.partition(".")
        if not (equals and dot and field):
            raise UsageError(f"--set {quoted(pair)} is not valid; valid: NAME.FIELD=VALUE, for example kr.hidden=256")
        if owner not in owners:
            raise unknown("owner in --set", owner, owners)
        texts.setdefault(owner, {})[field] = value
    return texts


def folder_path(option: str, value: str) -> Path:
    """Return the path of a folder, whether it exists or not; raise `UsageError` if no folder can have it."""
    path = user_path(value)
    try:
        nearest = next(folder for folder in (path, *path.absolute().parents) if folder.exists())
        if nearest.is_dir():
            return path
        reason = "is, or lies below, a file"
    except (OSError, ValueError) as error:
        reason = f"can be no path ({error.strerror if isinstance(error, OSError) else error})"
    raise UsageError(f"{option} {quoted(value)} {reason}; valid: a folder, there or not")
