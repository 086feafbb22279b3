"""Named streams of random numbers.

Every draw of the suite comes from the stream `seed -> (dataset, ipc, stage, step)`. No method's name enters it, so all
methods of one seed see the same draws and their differences are paired; no clock enters it, so a seed means one run.
Streams are drawn on the CPU, whatever the device: the same seed then means the same draws on every machine.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from bench.lazy import torch


@dataclass(frozen=True)
class Streams:
    """The random streams of one cell; `ipc` is None if a cell takes the whole training set."""

    seed: int
    dataset: str
    ipc: int | None

    def number(self, stage: str, step: int = 0) -> int:
        """Return the 63-bit number that starts the stream of `stage` at `step`."""
        key = f"{self.seed}|{self.dataset}|{self.ipc}|{stage}|{step}".encode()
        return int.from_bytes(hashlib.blake2b(key, digest_size=8).digest(), "big") >> 1

    def generator(self, stage: str, step: int = 0) -> torch.Generator:
        """Return a CPU generator at the start of the stream of `stage` at `step`."""
        return torch.Generator().manual_seed(self.number(stage, step))
