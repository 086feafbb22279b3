"""A simulation of a grid on so many GPUs.

    python -m bench.plan --profile paper --gpus 1,8,64

It takes the options of `run_all.py`; without `--datasets` and `--ipc` the grid is that of the paper's Table 2. Nothing is run.
"""

from __future__ import annotations

import argparse
import math
import pkgutil
import sys
from collections.abc import Sequence

from bench.errors import UsageError
from bench.options import numbers
from bench.plan.lines import simulation

TABLE_2 = ("--datasets", "mnist,fashionmnist,svhn,cifar10,cifar100", "--ipc", "1,10,50")
"""The grid where none is named."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; return its exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m bench.plan",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--gpus", default="1,8,64", help="how many, with commas between")
    parser.add_argument("--speedup", default="1", help="how many times faster a GPU is than the machine of the records")
    own, rest = parser.parse_known_args(arguments)
    try:
        workers, speedup = numbers("--gpus", own.gpus, low=1), _speedup(own.speedup)
        # The grid is the command line's own, which this package does not know: it is asked for by name, as workers are started.
        specs, estimates, folders = pkgutil.resolve_name("run_all:planned")([*TABLE_2, *rest, "--dry-run"])
    except UsageError as error:
        sys.stderr.write(f"plan: error: {error}\n")
        return 2
    for line in simulation(specs, estimates, workers, speedup=speedup, folders=folders):
        sys.stdout.write(f"{line}\n")
    return 0


def _speedup(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 < value < math.inf:
        raise UsageError(f"--speedup {text!r} is not valid; valid: a number above 0")
    return value


if __name__ == "__main__":
    sys.exit(main())
