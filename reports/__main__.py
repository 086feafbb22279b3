"""Make reports again from what is on disk.

`python -m reports --out results`: the report, from the records in a folder. Several `--out` make a single report.
`python -m reports --out before --out after --compare`: what changed between two folders, in report/changes.html.
`python -m reports --check`: compare the records' verdicts with those of the committed records instead.
`python -m reports export --to dc-pt`: the distilled images in a form of other tools; `export --help` says more.
`python -m reports --benchmarks benchmarks.json`: speed and memory, from what `tox -e bench` measured.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from pkgutil import resolve_name

from bench.errors import UsageError
from bench.files import user_path
from reports import write_report


def _parser() -> argparse.ArgumentParser:
    form = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(prog="python -m reports", description=__doc__, formatter_class=form)
    add = parser.add_argument
    add("--out", action="append", type=user_path, help="a folder with records/ (default: results); several make one report")
    add("--target", type=user_path, metavar="DIR", help="the folder of the report (default: report/ in the first --out)")
    add("--format", default="", metavar="LIST", help="what is written, of html,md,tex,csv,parquet,png,svg,pdf (default: all)")
    add("--against", type=user_path, help="with --check: the folder to compare with (default: all of reports/reference)")
    mode = parser.add_mutually_exclusive_group()
    mode.add_argument("--check", action="store_true", help="only compare: exit 1 if a reproduced cell is now below")
    mode.add_argument("--compare", action="store_true", help="write what changed from the first --out to the second instead")
    mode.add_argument("--benchmarks", type=user_path, metavar="FILE", help="write report/benchmarks.md from this file instead")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Return the exit status: 0; with `--check` 1 if a cell fell; 2 on a user's mistake."""
    arguments = sys.argv[1:] if argv is None else argv
    if arguments[:1] == ["export"]:
        status: int = resolve_name("reports.export.export:main")(arguments[1:])
        return status
    parser = _parser()
    options = parser.parse_args(arguments)
    if options.against and not options.check:
        parser.error("--against goes with --check")
    if (options.check or options.benchmarks) and options.format:
        parser.error("--format goes with a report or a comparison")
    if options.check and options.target:
        parser.error("--target goes with what is written; --check writes nothing")
    outs = options.out or [Path("results")]
    formats = [name.strip() for name in options.format.split(",") if name.strip()]
    try:
        if options.check:
            if len(outs) > 1:
                raise UsageError("--check takes one folder; valid: a single --out")
            outcome = resolve_name("reports.verdicts.check:check_report")(outs[0], options.against)
            sys.stdout.write(outcome.report)
            return 1 if outcome.fell else 0
        if options.benchmarks is not None:
            page = resolve_name("reports.speed.benchmarks:write_benchmarks")(options.benchmarks, *outs, target=options.target)
        elif options.compare:
            page = resolve_name("reports.compare:write_changes")(outs, target=options.target, formats=formats)
        else:
            page = write_report(*outs, target=options.target, formats=formats)
        sys.stdout.write(f"report: {page}\n")
    except UsageError as error:
        sys.stderr.write(f"reports: error: {error}\n")
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
