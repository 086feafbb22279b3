"""What a method is given to distill one cell."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bench.lazy import network as networks
from bench.protocol import Match, Training
from bench.ranks import ALONE, Ranks
from bench.seeding import Streams
from bench.spec import RunSpec
from bench.types import Bundle, Progress

if TYPE_CHECKING:
    from bench.compute import Compute
    from bench.networks.network import Network
    from bench.resume import ResumeFile


@dataclass(frozen=True)
class Task:
    """One cell to work on: its data, description and streams of random numbers, the device, and where to report progress.

    `checkpoints`: the iterations after which the images are kept too, for learning curves. `resume`: the file of the cell's
    resume state, if it is to have one. `ranks`: the processes among which the cell is divided.
    """

    bundle: Bundle
    spec: RunSpec
    streams: Streams
    compute: Compute
    report: Callable[[Progress], None]
    checkpoints: tuple[int, ...] = ()
    resume: ResumeFile | None = None
    ranks: Ranks = ALONE

    @property
    def ipc(self) -> int:
        """Images per class; the full training set has none."""
        assert self.spec.ipc is not None
        return self.spec.ipc

    @property
    def match(self) -> Match:
        """The settings of the matching loop."""
        assert self.spec.protocol.match is not None
        return self.spec.protocol.match

    @property
    def iterations(self) -> int:
        """Iterations of the matching loop."""
        assert self.match.iterations is not None
        return self.match.iterations

    @property
    def whole(self) -> Training:
        """The settings of training on the full training set."""
        assert self.spec.protocol.whole is not None
        return self.spec.protocol.whole

    def network(self, name: str) -> Network:
        """Return the network of that name for images of this dataset."""
        size = self.spec.protocol.network
        return networks.fit(name, self.bundle.shape, classes=len(self.bundle.classes), width=size.width, depth=size.depth)
