"""`python -m reports --out results`: make the report again from the records in a folder."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from bench.errors import UsageError
from reports import write_report


def main() -> int:
    """Return the exit status: 0, or 2 on a user's mistake."""
    parser = argparse.ArgumentParser(prog="python -m reports", description=__doc__)
    parser.add_argument("--out", default="results", type=Path, help="the folder that holds records/; report/ goes there too")
    try:
        sys.stdout.write(f"report: {write_report(parser.parse_args().out)}\n")
    except UsageError as error:
        sys.stderr.write(f"reports: error: {error}\n")
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
