"""Make reports again from what is on disk.

`python -m reports --out results`: the report, from the records in a folder.
`python -m reports --benchmarks benchmarks.json`: speed and memory, from what `tox -e bench` measured.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from bench.errors import UsageError
from reports import write_report


def main() -> int:
    """Return the exit status: 0, or 2 on a user's mistake."""
    form = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(prog="python -m reports", description=__doc__, formatter_class=form)
    parser.add_argument("--out", default="results", type=Path, help="the folder that holds records/; report/ goes there too")
    parser.add_argument("--benchmarks", type=Path, metavar="FILE", help="write report/benchmarks.md from this file instead")
    options = parser.parse_args()
    try:
        if options.benchmarks is None:
            page = write_report(options.out)
        else:
            from reports.benchmarks import write_benchmarks

            page = write_benchmarks(options.benchmarks, options.out)
        sys.stdout.write(f"report: {page}\n")
    except UsageError as error:
        sys.stderr.write(f"reports: error: {error}\n")
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
