"""Make reports again from what is on disk.

`python -m reports --out results`: the report, from the records in a folder.
`python -m reports --check`: compare the records' verdicts with the committed ones' instead.
`python -m reports --benchmarks benchmarks.json`: speed and memory, from what `tox -e bench` measured.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from bench.errors import UsageError
from bench.lazy import lazy_module
from reports import write_report

if TYPE_CHECKING:
    from reports import benchmarks, check
else:
    benchmarks, check = lazy_module("reports.benchmarks"), lazy_module("reports.check")


def _parser() -> argparse.ArgumentParser:
    form = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(prog="python -m reports", description=__doc__, formatter_class=form)
    add = parser.add_argument
    add("--out", default="results", type=Path, help="the folder that holds records/; report/ goes there too")
    add("--against", type=Path, help="with --check: the folder to compare with (default: all of reports/reference)")
    mode = parser.add_mutually_exclusive_group()
    mode.add_argument("--check", action="store_true", help="only compare: exit 1 where a reproduced cell is now below")
    mode.add_argument("--benchmarks", type=Path, metavar="FILE", help="write report/benchmarks.md from this file instead")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Return the exit status: 0; with `--check` 1 where a cell fell; 2 on a user's mistake."""
    parser = _parser()
    options = parser.parse_args(argv)
    if options.against and not options.check:
        parser.error("--against goes with --check")
    try:
        if options.check:
            outcome = check.check_report(options.out, options.against)
            sys.stdout.write(outcome.text)
            return 1 if outcome.fell else 0
        if options.benchmarks is not None:
            page = benchmarks.write_benchmarks(options.benchmarks, options.out)
        else:
            page = write_report(options.out)
        sys.stdout.write(f"report: {page}\n")
    except UsageError as error:
        sys.stderr.write(f"reports: error: {error}\n")
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
