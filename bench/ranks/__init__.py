"""Ranks: the processes of one `torchrun`, among which each cell is divided.

    torchrun --nproc-per-node 2 run_all.py ...

Rank 0 leads: it alone reads the command line, decides what is run, shows it, and writes. The other ranks follow: they wait for
a part of a cell, work on it together with the leader, and wait for the next one; see `bench.ranks.parts`. Every rank makes the
draws of one process, and keeps all images of a cell. It computes what concerns its own classes, or its own networks.

Ranks meet in `sum`, `collect` and `same`. There each of them first learns whether another one has failed; if so, all leave the
part. So no rank waits for one that will not come.
"""

from __future__ import annotations

import os
import traceback
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import timedelta
from functools import partial
from importlib import import_module
from typing import TYPE_CHECKING, Any, TypeVar

from bench import interrupts
from bench.cores import bind, usable_cores
from bench.errors import DistillationError, LostWorkersError, UsageError
from bench.interrupts import Interrupted
from bench.lazy import parts, torch

if TYPE_CHECKING:
    from torch import Tensor

    from bench.grid import Shaped

_T = TypeVar("_T")

_TIMEOUT = timedelta(days=365)
"""Ranks may wait for long, as while a method runs on rank 0 alone. One that has died is noticed at once."""

_LOST = "a rank died or cannot be reached; what is finished is kept, and the same command goes on from there"

_LOST_KEY = f"lost {os.environ.get('TORCHELASTIC_RESTART_COUNT')}"
"""Which rank notices first is counted in torchrun's store under this key."""


class _ElsewhereError(BaseException):
    """Another rank has failed. It is no `Exception`, so that nothing takes it for an error of this rank's own."""

    def __init__(self, error: BaseException) -> None:
        super().__init__(error)
        self.error = error


@dataclass(frozen=True)
class Ranks:
    """Where this process stands among the ranks. Where there is one, nothing is exchanged.

    Attributes:
        rank: its number, from 0.
        count: of all ranks.
        local_rank: its number among those of this machine.
        local_count: of those.

    """

    rank: int = 0
    count: int = 1
    local_rank: int = 0
    local_count: int = 1
    _stores: list[Any] = field(default_factory=list)  # torchrun's own, which outlives every rank

    @classmethod
    def of_environment(cls) -> Ranks:
        """Return what torchrun says of this process; one rank where it was not started by torchrun."""
        if "TORCHELASTIC_RUN_ID" not in os.environ:
            return ALONE
        rank, count, local_rank, local_count = (
            int(os.environ[name]) for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE")
        )
        return cls(rank, count, local_rank, local_count)

    @property
    def leads(self) -> bool:
        """Whether this is rank 0."""
        return self.rank == 0

    def share(self, total: int) -> slice:
        """Return which of `total` classes are this rank's; ranks' numbers of them differ by one at most."""
        return slice(self.rank * total // self.count, (self.rank + 1) * total // self.count)

    @contextmanager
    def joined(self) -> Iterator[None]:
        """Connect the ranks while the block runs; when the leader's ends, `follow` returns in the others."""
        if self.count == 1:
            yield
            return
        distributed: Any = torch.distributed
        backend = "cpu:gloo,cuda:nccl" if torch.cuda.is_available() and distributed.is_nccl_available() else "gloo"
        host, port = os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"])
        # The functions of this module keep the group that exists when it is imported, as a default argument. Torch's optimizers
        # import it. If they did so inside the block, the group's threads would outlive the block, and a thread that still lets
        # go of a tensor while Python ends aborts the process. Imported here, it finds no group.
        import_module("torch.distributed.nn.functional")
        self._call(distributed.init_process_group, backend, timeout=_TIMEOUT)
        self._stores.append(distributed.TCPStore(host, port, is_master=False))
        try:
            yield
        finally:
            if self.leads:
                with suppress(LostWorkersError):  # one that has died needs no farewell
                    self._send(None)
            with suppress(RuntimeError):  # it may have lost a rank
                distributed.destroy_process_group()

    def run(self, command: Callable[[], int]) -> int:
        """Return the exit status of the command, which the leader runs; the other ranks work on its parts until it ends."""
        with self.joined():
            return command() if self.leads else parts.follow(self)

    # ---- parts ----

    def lead(self, part: object, function: Callable[[], _T]) -> _T:
        """Return what `function` does, while the other ranks work on `part`.

        Args:
            part: what they are given; it can be pickled.
            function: this rank's side of it; it meets the others as often as they do.

        Raises:
            LostWorkersError: where a rank has died.
            Exception: what any of the ranks has raised.

        """
        if self.count == 1:
            return function()
        self._send(part)
        return self._together(function)

    def follow(self, work_on: Callable[[Any], object]) -> None:
        """Call `work_on` with each part that the leader gives, until it ends. What fails, the leader hears of."""
        while (part := self._receive()) is not None:
            try:
                self._together(partial(work_on, part))
            except LostWorkersError:
                raise
            except (Exception, SystemExit, Interrupted):  # noqa: BLE001 - the leader has heard of it, and decides
                continue

    def _together(self, function: Callable[[], _T]) -> _T:
        """Return what `function` does, when it has ended well on all ranks."""
        try:
            result = function()
            self._meet()
        except _ElsewhereError as elsewhere:
            raise elsewhere.error from None
        except LostWorkersError:
            raise
        except BaseException as error:
            interrupts.disarm()  # the others may come late
            self._meet(error)
            raise
        return result

    # ---- where they meet ----

    def sum(self, *tensors: Tensor) -> list[Tensor]:
        """Return the sums of float32 tensors over all ranks, the same bits on each."""
        if self.count == 1:
            return list(tensors)
        self._meet()
        total = torch.cat([tensor.detach().flatten() for tensor in tensors])
        self._call(torch.distributed.all_reduce, total)
        parts = total.split([tensor.numel() for tensor in tensors])
        return [part.view(tensor.shape) for part, tensor in zip(parts, tensors, strict=True)]

    def collect(self, value: _T) -> list[_T]:
        """Return the values of all ranks, in their order."""
        if self.count == 1:
            return [value]
        self._meet()
        return self._gathered(value)

    def same(self, value: _T) -> _T:
        """Return the leader's value on every rank. Tensors in it lie on the CPU."""
        if self.count == 1:
            return value
        self._meet()
        values = [value]
        self._call(torch.distributed.broadcast_object_list, values, src=0)
        return values[0]

    def _meet(self, error: BaseException | None = None) -> None:
        """Wait for all ranks. Where one comes with an error, each that comes without raises `_ElsewhereError` of the first."""
        failures = torch.tensor(int(error is not None))
        self._call(torch.distributed.all_reduce, failures)
        if failures:
            errors = self._gathered(_portable(error))
            if error is None:
                raise _ElsewhereError(next(other for other in errors if other is not None))

    def _gathered(self, value: Any) -> list[Any]:
        values = [None] * self.count
        self._call(torch.distributed.all_gather_object, values, value)
        return values

    def _send(self, part: object) -> None:
        self._call(torch.distributed.broadcast_object_list, [part], src=0)

    def _receive(self) -> Any:
        parts = [None]
        self._call(torch.distributed.broadcast_object_list, parts, src=0)
        return parts[0]

    def _call(self, function: Callable[..., object], *arguments: Any, **options: Any) -> None:
        """Call a function of `torch.distributed`; raise `LostWorkersError` where a rank has died."""
        try:
            function(*arguments, **options)
        except RuntimeError:
            raise LostWorkersError(_LOST if self._is_first_to_notice() else "") from None

    def _is_first_to_notice(self) -> bool:
        """Return whether no other rank has said that one is lost."""
        try:
            return all(store.add(_LOST_KEY, 1) == 1 for store in self._stores)
        except RuntimeError:  # torchrun itself is gone
            return self.leads

    # ---- what they may use of a machine ----

    def take_cores(self, threads: int | None) -> int | None:
        """Bind this rank to cores of its own; return its number of CPU threads, None for torch's own number.

        Args:
            threads: as after `--threads`; None deals the cores of this machine out among its ranks.

        Raises:
            UsageError: where the ranks of this machine have more threads than cores. Of one thread each there may be more.

        """
        if self.count == 1:
            return threads
        cores = usable_cores()
        most = max(1, cores // self.local_count)
        if threads is not None and threads > most:
            ranks = f"{self.local_count} ranks on this machine may use {cores} cores"
            raise UsageError(f"--threads {threads}: {ranks}; valid: 1 to {most} threads a rank")
        bind(self.local_rank, threads or most)
        return threads or most

    def check(self, executor: str, jobs: int | None, device: str, datasets: Iterable[Shaped]) -> None:
        """Raise `UsageError` where the options, or the datasets, do not go with these ranks.

        Args:
            executor: as after `--executor`.
            jobs: as after `--jobs`.
            device: as after `--device`.
            datasets: of the grid.

        """
        if self.count == 1:
            return
        if executor != "local":
            raise UsageError(f"--executor {executor} under torchrun, which starts the processes itself; valid: local")
        if (jobs or 1) > 1:
            raise UsageError(f"--jobs {jobs} under torchrun: all {self.count} ranks work on one cell; valid: 1")
        if device not in ("auto", "cpu", "cuda"):
            raise UsageError(f"--device {device!r} under torchrun: ranks take a GPU each; valid: auto, cpu, cuda")
        gpus = torch.cuda.device_count()
        if device != "cpu" and 0 < gpus < self.local_count:
            raise UsageError(f"{self.local_count} ranks on this machine of {gpus} GPUs; valid: {gpus} ranks, or --device cpu")
        for dataset in datasets:
            if len(dataset.classes) < self.count:
                few = f"dataset {dataset.name!r} has {len(dataset.classes)} classes"
                raise UsageError(f"{self.count} ranks under torchrun: {few}; valid: at most as many ranks")


ALONE = Ranks()
"""One process."""


def _portable(error: BaseException | None) -> BaseException | None:
    """Return an error that every rank can read, with the traceback as a note."""
    if error is None:
        return None
    if isinstance(error, Interrupted | DistillationError | UsageError | torch.OutOfMemoryError):
        portable: BaseException = type(error)(*error.args)
    else:
        portable = DistillationError(f"{type(error).__name__}: {error}")
    portable.add_note("On another rank:\n" + "".join(traceback.format_exception(error)))
    return portable
