"""Ranks: the processes of one `torchrun`, among which each cell is divided.

    torchrun --nproc-per-node 2 run_all.py ...

Rank 0 leads: it alone reads the command line, decides what is run, shows it, and writes. The other ranks follow: they wait for
a job, such as distilling a cell, do it together with the leader, and wait for the next one; see `bench.running.rank_jobs`.
Every rank makes the draws of one process, and keeps all images of a cell. It computes its own share of the classes, or of the
networks.

Before each collective, `all_reduce`, `all_gather` and `broadcast`, the ranks exchange whether one of them has failed; if so,
all of them leave the job. So no rank waits for one that will not come.
"""

from __future__ import annotations

import os
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import timedelta
from functools import partial
from importlib import import_module
from typing import TYPE_CHECKING, Any, TypeVar

from bench.errors import DistillationError, LostWorkersError, UsageError
from bench.lazy import torch
from bench.machine import signals
from bench.machine.cores import bind, usable_cores
from bench.machine.signals import Interrupted

if TYPE_CHECKING:
    from torch import Tensor


_T = TypeVar("_T")

_TIMEOUT = timedelta(days=365)
"""Ranks may wait for long, as while a method runs on rank 0 alone. One that has died is noticed at once."""

_LOST = "a rank died or cannot be reached; what is finished is kept, and the same command goes on from there"

_LOST_KEY = f"lost {os.environ.get('TORCHELASTIC_RESTART_COUNT')}"
"""Which rank notices first is counted in torchrun's store under this key."""


class RemoteRankError(BaseException):
    """Another rank has failed. Not an `Exception`, so that it is not mistaken for an error of this rank."""

    def __init__(self, error: BaseException) -> None:
        """Take the error of the other rank."""
        super().__init__(error)
        self.error = error


@dataclass(frozen=True)
class Ranks:
    """A process among the ranks. If there is only one, nothing is exchanged.

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
        """Return what torchrun says of this process; one rank if it was not started by torchrun."""
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

    def rounds(self, numbers: range, *, together: bool) -> Iterator[range]:
        """Yield which networks this rank trains in each round, after which all ranks call `all_gather`.

        Args:
            numbers: the networks that are left.
            together: whether a rank trains all of its networks at once, in a single round.

        """
        if together:
            yield numbers[self.share(len(numbers))]
            return
        for begin in range(0, len(numbers), self.count):
            yield numbers[begin + self.rank : begin + self.rank + 1]

    @contextmanager
    def joined(self) -> Iterator[None]:
        """Connect the ranks while the block runs; when the leader's ends, `follow` returns in the others."""
        if self.count == 1:
            yield
            return
        distributed: Any = torch.distributed
        backend = "cpu:gloo,cuda:nccl" if torch.cuda.is_available() and distributed.is_nccl_available() else "gloo"
        host, port = os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"])
        # Import before init: `nn.functional` binds the current process group as a default argument (torch's optimizers import
        # it). That reference would keep gloo threads alive until interpreter exit, where they abort.
        import_module("torch.distributed.nn.functional")
        self._call(distributed.init_process_group, backend, timeout=_TIMEOUT)
        self._stores.append(distributed.TCPStore(host, port, is_master=False))
        try:
            yield
        finally:
            if self.leads:
                with suppress(LostWorkersError):  # a rank that has died need not be sent anything
                    self._send(None)
            with suppress(RuntimeError):  # it may have lost a rank
                distributed.destroy_process_group()

    # ---- jobs ----

    def lead(self, job: object, function: Callable[[], _T]) -> _T:
        """Return what `function` does, while the other ranks do `job`.

        Args:
            job: what they are sent; it can be pickled.
            function: this rank's side of it, with as many collectives.

        Raises:
            LostWorkersError: if a rank has died.
            Exception: what any of the ranks has raised.

        """
        if self.count == 1:
            return function()
        self._send(job)
        return self._together(function)

    def follow(self, perform: Callable[[Any], object]) -> None:
        """Call `perform` with each job that the leader sends, until it ends. Errors are sent to the leader."""
        while (job := self._receive()) is not None:
            try:
                self._together(partial(perform, job))
            except LostWorkersError:
                raise
            except (Exception, SystemExit, Interrupted):  # noqa: BLE001 - the leader has it, and decides
                continue

    def _together(self, function: Callable[[], _T]) -> _T:
        """Return what `function` does, when it has ended well on all ranks."""
        try:
            result = function()
            self._synchronise()
        except RemoteRankError as remote:
            raise remote.error from None
        except LostWorkersError:
            raise
        except BaseException as error:
            signals.disarm()  # the others may come late
            self._synchronise(error)
            raise
        return result

    # ---- collectives ----

    def all_reduce(self, *tensors: Tensor) -> list[Tensor]:
        """Return the sums of float32 tensors over all ranks, the same bits on each."""
        if self.count == 1:
            return list(tensors)
        self._synchronise()
        total = torch.cat([tensor.detach().flatten() for tensor in tensors])
        self._call(torch.distributed.all_reduce, total)
        flat = total.split([tensor.numel() for tensor in tensors])
        return [values.view(tensor.shape) for values, tensor in zip(flat, tensors, strict=True)]

    def all_gather(self, value: _T) -> list[_T]:
        """Return the values of all ranks, in their order."""
        if self.count == 1:
            return [value]
        self._synchronise()
        return self._gathered(value)

    def broadcast(self, value: _T) -> _T:
        """Return the leader's value on every rank. Tensors in it are on the CPU."""
        if self.count == 1:
            return value
        self._synchronise()
        values = [value]
        self._call(torch.distributed.broadcast_object_list, values, src=0)
        return values[0]

    def _synchronise(self, error: BaseException | None = None) -> None:
        """Wait for all ranks. If one has an error, each that has none raises `RemoteRankError` of the first."""
        failures = torch.tensor(int(error is not None))
        self._call(torch.distributed.all_reduce, failures)
        if failures:
            errors = self._gathered(_portable(error))
            if error is None:
                raise RemoteRankError(next(other for other in errors if other is not None))

    def _gathered(self, value: Any) -> list[Any]:
        values = [None] * self.count
        self._call(torch.distributed.all_gather_object, values, value)
        return values

    def _send(self, job: object) -> None:
        self._call(torch.distributed.broadcast_object_list, [job], src=0)

    def _receive(self) -> Any:
        jobs = [None]
        self._call(torch.distributed.broadcast_object_list, jobs, src=0)
        return jobs[0]

    def _call(self, function: Callable[..., object], *arguments: Any, **options: Any) -> None:
        """Call a function of `torch.distributed`; raise `LostWorkersError` if a rank has died."""
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

    # ---- the cores of a machine ----

    def take_cores(self, threads: int | None) -> int | None:
        """Bind this rank to cores of its own; return its number of CPU threads, None for torch's own number.

        Args:
            threads: as after `--threads`; None deals the cores of this machine out among its ranks.

        Raises:
            UsageError: if the ranks of this machine have more threads than cores. Of one thread each there may be more.

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
