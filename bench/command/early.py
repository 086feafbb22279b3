"""Ctrl-C while modules are still being imported. This file imports nothing slow, so that it can be handled before they are."""

from __future__ import annotations

import os
from types import FrameType


def end_early(number: int, frame: FrameType | None) -> None:
    """End the process: nothing has begun yet that has to end in order."""
    if os.environ.get("RANK", "0") == "0":  # under torchrun, one process reports it for all
        os.write(2, b"run_all.py: interrupted by SIGINT before work started\n")
    os._exit(128 + number)
