"""The command line: distill, evaluate and report a grid of methods, datasets, IPCs and seeds.

`python run_all.py` runs everything on the embedded digits; `python run_all.py --help` names the options.
"""

from __future__ import annotations

import signal

from bench.command.early import end_early

if __name__ == "__main__" and signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:
    signal.signal(signal.SIGINT, end_early)

import sys
from collections.abc import Sequence
from pathlib import Path

from bench.command import command
from bench.machine.hardware import Code
from bench.running.suite import Suite
from datasets import DATASETS, Loader, find_source, split_names
from methods import METHODS, find_method
from reports import write_report

SUITE = Suite(
    location="run_all:SUITE",
    description=__doc__ or "",
    methods=METHODS,
    find_method=find_method,
    datasets=DATASETS,
    find_source=find_source,
    split_names=split_names,
    loader=Loader,
    write_report=write_report,
    reference=Path(__file__).with_name("reports") / "reference",
    code=Code(numbers=("bench", "datasets", "methods"), copied=("bench", "datasets", "methods", "reports", "run_all.py")),
)
"""Where registries, engine and report meet. Workers in other processes find it here."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; return its exit status.

    It is 0, 1 if something failed or could not be written, 2 on a user's mistake, and 128 + a signal that ended it.
    """
    return command.main(SUITE, sys.argv[1:] if arguments is None else arguments)


if __name__ == "__main__":
    sys.exit(main())
