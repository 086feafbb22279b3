"""What a procedure is given to distill one cell."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from bench.cells.protocol import Match, Training
from bench.cells.spec import RunSpec
from bench.machine.ranks import ALONE, Ranks
from bench.networks.fitting import fit
from bench.seeding import Streams
from bench.types import Bundle, Progress

if TYPE_CHECKING:
    from torch import Tensor

    from bench.machine.compute import Compute
    from bench.networks.network import Network

_T = TypeVar("_T")


@dataclass(frozen=True)
class ResumeKey:
    """Where the resume state of a cell is kept, and what it has to fit: the hash of the cell, and a hash of the suite's
    code.
    """

    path: Path
    owner: str
    code: str


@dataclass(frozen=True)
class Task:
    """One cell to distill: its data, description and streams of random numbers, the device, and where to report progress.

    Attributes:
        bundle: the dataset.
        spec: the description of the cell.
        streams: its random numbers.
        compute: device and precision.
        report: called with the progress.
        checkpoints: the iterations after which the images are kept too, for learning curves.
        resume: for the recorder, where the cell's resume state is kept; None if there is to be none.
        prepared: the tensors of each artefact that the method asked for, by its kind.
        ranks: the processes among which the cell is divided.

    """

    bundle: Bundle
    spec: RunSpec
    streams: Streams
    compute: Compute
    report: Callable[[Progress], None]
    checkpoints: tuple[int, ...] = ()
    resume: ResumeKey | None = None
    prepared: Mapping[str, Mapping[str, Tensor]] = field(default_factory=dict)
    ranks: Ranks = ALONE

    @property
    def settings(self) -> Any:
        """The settings of the method, of its own class."""
        return self.spec.settings

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
        return fit(name, self.bundle.shape, classes=len(self.bundle.classes), width=size.width, depth=size.depth)

    # ---- a loop that works class by class may run in several processes at once ----

    def share(self, total: int) -> slice:
        """Return which of `total` classes this process works on: all of them, unless the cell is divided."""
        return self.ranks.share(total)

    def sum(self, *tensors: Tensor) -> list[Tensor]:
        """Return the sums of float32 tensors over all processes that share the cell, the same bits in each."""
        return self.ranks.all_reduce(*tensors)

    def rounds(self, numbers: range, *, together: bool) -> Iterator[range]:
        """Yield which of several networks this process trains in each round; after each it calls `gather`.

        Args:
            numbers: the networks that are left.
            together: whether a process trains all of its networks at once, in a single round.

        """
        return self.ranks.rounds(numbers, together=together)

    def gather(self, value: _T) -> list[_T]:
        """Return the values of all processes that share the cell, in the order of their shares."""
        return self.ranks.all_gather(value)

    def broadcast(self, value: _T) -> _T:
        """Return the first process's value in each process that shares the cell. Tensors in it are on the CPU."""
        return self.ranks.broadcast(value)

    @property
    def leads(self) -> bool:
        """Whether this process decides when the cell is interrupted, and writes its files."""
        return self.ranks.leads
