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

from bench.errors import UsageError
from reports import write_report


def main(argv: Sequence[str] | None = None) -> int:
    """Return the exit status: 0; with `--check` 1 where a cell fell; 2 on a user's mistake."""
    form = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(prog="python -m reports", description=__doc__, formatter_class=form)
    parser.add_argument("--out", default="results", type=Path, help="the folder that holds records/; report/ goes there too")
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--check", action="store_true", help="only compare: exit 1 where a reproduced cell is now below")
    what.add_argument("--benchmarks", type=Path, metavar="FILE", help="write report/benchmarks.md from this file instead")
    parser.add_argument(
        "--against", type=Path, help="with --check: the folder to compare with (default: all of results/reference)"
    )
    options = parser.parse_args(argv)
    if options.against and not options.check:
        parser.error("--against goes with --check")
    try:
        if options.check:
            from reports.check import check_report

            found = check_report(options.out, options.against)
            sys.stdout.write(found.text)
            return 1 if found.fell else 0
        if options.benchmarks is not None:
            from reports.benchmarks import write_benchmarks

            page = write_benchmarks(options.benchmarks, options.out)
        else:
            page = write_report(options.out)
        sys.stdout.write(f"report: {page}\n")
    except UsageError as error:
        sys.stderr.write(f"reports: error: {error}\n")
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
