"""The loop over the images of one cell: what it leaves behind, and the state from which it can be resumed."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from typing import Any, Protocol

import torch
from torch import Tensor

from bench import interrupts
from bench.errors import DistillationError
from bench.optimizers import angles
from bench.resume import State
from bench.task import Task
from bench.timing import Stopwatch, peak_memory_mib
from bench.types import Progress, Snapshot, Spent, SyntheticSet, Trace

_REPORT_SECONDS = 0.5
_SNAPSHOT = "snapshot "
_MOST_GROWTH = 10.0
"""Of the images' root mean square, and of the loss: a cell beyond it carries a warning. Sound images grow fivefold at most."""


class Stateful(Protocol):
    """A loss that keeps something from step to step, as tensors by name."""

    def state_dict(self) -> Mapping[str, Tensor]:
        """Return what is kept."""

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Go on from there."""


class Recorder:
    """Counts the iterations over the images, and keeps losses, seconds, angles and snapshots; reports progress.

        recorder = Recorder(task, iterations, images, optimizer)
        for step in recorder.steps():
            ...  # change the images in place
            recorder.add(losses)
        syn = recorder.finish(labels, kernels)

    Between two iterations it writes a resume state now and then, and where a signal ends the run. A cell that has one begins
    with the iteration after it. `counters` are further numbers that the loop counts; they belong to the state.
    """

    def __init__(
        self,
        task: Task,
        iterations: int,
        images: Tensor,
        optimizer: torch.optim.Optimizer,
        *,
        counters: dict[str, int] | None = None,
        loss: Stateful | None = None,
        resumable: bool = True,
    ) -> None:
        """Start with nothing recorded, or with the cell's resume state.

        Args:
            task: the cell.
            iterations: how many there will be.
            images: the images at their start, `[C, m, channels, H, W]`; the loop changes them in place.
            optimizer: of the images.
            counters: numbers that the loop counts, changed in place.
            loss: the loss, where it keeps something from step to step.
            resumable: whether all that the loop depends on is in the state.

        """
        self.task, self.iterations, self.images, self.optimizer = task, iterations, images, optimizer
        self.counters, self.loss = counters if counters is not None else {}, loss
        self.stopwatch, self.losses = Stopwatch(task.compute.device), list[Tensor]()
        self._angles, self._snapshots = list[Tensor](), list[Snapshot]()
        self._checked, self._begun, self._earlier = 0, time.monotonic(), Spent()
        never = torch.full((len(images),), iterations, device=images.device)
        self._bad_images = self._bad_losses = never  # [C]: the first iteration at which a class's were no finite numbers
        self._rms_start = _root_mean_square(images.detach())
        self._resume = task.resume if resumable else None
        self._reported = time.monotonic()
        self._take_snapshot()
        # Where ranks share a cell, the leader alone has the file.
        state = task.ranks.same(self._resume.read(torch.device("cpu")) if self._resume else None)
        if state is not None and self._fits(state):
            self._restore(state.to(task.compute.device))
        self._before = images.detach().clone()

    def steps(self) -> Iterator[int]:
        """Yield the number of each iteration that is left; it has to end with `add`."""
        while len(self.losses) < self.iterations:
            yield len(self.losses)
            if self._resume and (self._resume.due() or interrupts.received()):
                self._resume.write(self._state())
            if self.task.ranks.leads:  # the others go on until it ends: a state is the leader's
                interrupts.check()

    def add(self, losses: Tensor) -> None:
        """End an iteration.

        Args:
            losses: of each class, `[C]`, of which the sum is recorded; or the loss itself, a scalar, where it is of all classes
                together.

        """
        images, losses, step = self.images.detach(), losses.detach(), len(self.losses)
        self.losses.append(losses.sum())
        self._angles.append(angles(self._before, images).mean())
        self._before = images.clone()
        self.stopwatch.next_step()
        self._take_snapshot()
        self._bad_images = _first_bad(self._bad_images, images.flatten(1), step)
        if losses.dim():
            self._bad_losses = _first_bad(self._bad_losses, losses[:, None], step)
        looked = time.monotonic() - self._reported > _REPORT_SECONDS
        # Reading a number waits for an accelerator, so there it is read only as often as a person looks.
        if looked or images.device.type == "cpu":
            self._check_finite()
        if looked:
            self._reported = time.monotonic()
            self.task.report(Progress("distill", step + 1, self.iterations, f"loss {float(self.losses[-1]):.4g}"))

    def _check_finite(self) -> None:
        """Raise `DistillationError` where a loss since the last check, or an image at any iteration, was no finite number."""
        recent = torch.stack(self.losses[self._checked :]).tolist() if self.losses[self._checked :] else []
        bad_loss = next((step for step, loss in enumerate(recent, self._checked) if not math.isfinite(loss)), self.iterations)
        bad_image, whose_image = self._first_class(self._bad_images)
        seed, advice = f"seed {self.task.spec.seed}", "a smaller match.rate or lr_images may help"
        if bad_loss < self.iterations and bad_loss <= bad_image:
            loss, (first, whose_loss) = recent[bad_loss - self._checked], self._first_class(self._bad_losses)
            of = f"of class {whose_loss!r}" if first == bad_loss else "of all classes together"
            raise DistillationError(f"the loss {of} is {loss} at iteration {bad_loss} of {seed}; {advice}")
        if bad_image < self.iterations:
            where = f"after iteration {bad_image} of {seed}"
            raise DistillationError(f"an image of class {whose_image!r} is no finite number {where}; {advice}")
        self._checked = len(self.losses)

    def _first_class(self, bad: Tensor) -> tuple[int, str]:
        """Return the earliest of `[C]` iterations, and the first class that had it."""
        iteration, label = (int(value) for value in bad.min(dim=0))
        return iteration, self.task.bundle.classes[label]

    def _take_snapshot(self) -> None:
        """Keep a copy of the images where the present iteration is a checkpoint; the last iteration's are kept anyway."""
        iteration = len(self.losses)
        if iteration in self.task.checkpoints and iteration < self.iterations:
            self._snapshots.append(Snapshot(iteration, self.images.detach().flatten(0, 1).clone()))

    def _state(self) -> State:
        """Return all that the next iterations depend on, and all that has been recorded."""
        tensors = {"images": self.images, "losses": torch.stack(self.losses), "angles": torch.stack(self._angles)}
        kept = self.optimizer.state[self.images]
        tensors |= {f"optimizer {name}": value for name, value in kept.items() if isinstance(value, Tensor)}
        tensors |= {f"loss {name}": value for name, value in (self.loss.state_dict() if self.loss else {}).items()}
        tensors |= {f"{_SNAPSHOT}{at.iteration}": at.images for at in self._snapshots}
        stages, steps = self.stopwatch.read()
        return State(tensors, {"counters": self.counters, "stages": stages, "steps": steps, "spent": asdict(self._spent())})

    def _spent(self) -> Spent:
        """Return what the cell has taken so far, with what interrupted processes spent on it."""
        peak = max(self._earlier.peak_memory_mib, peak_memory_mib(self.images.device))
        return Spent(self._earlier.seconds + time.monotonic() - self._begun, peak)

    def _fits(self, state: State) -> bool:
        """Return whether the snapshots that are asked for were taken on the way to the state."""
        done = len(state.tensors["losses"])
        asked = {iteration for iteration in self.task.checkpoints if iteration <= done and iteration < self.iterations}
        return done <= self.iterations and asked <= {at.iteration for at in _snapshots_of(state)}

    def _restore(self, state: State) -> None:
        """Go on from a state."""
        tensors, values = state.tensors, state.values
        with torch.no_grad():
            self.images.copy_(tensors["images"])
        self.losses, self._angles = list(tensors["losses"]), list(tensors["angles"])
        self.optimizer.state[self.images].update(_named(tensors, "optimizer "))
        if self.loss:
            self.loss.load_state_dict(_named(tensors, "loss "))
        self._snapshots = [at for at in _snapshots_of(state) if at.iteration in self.task.checkpoints]
        self.counters.update(values["counters"])
        self._earlier = Spent(**values["spent"])
        self.stopwatch.restore(values["stages"], values["steps"])

    def finish(self, labels: Tensor, kernels: dict[str, str]) -> SyntheticSet:
        """Return the finished set.

        Args:
            labels: `[C·m]`.
            kernels: how each kernel was run, for the record.

        Raises:
            DistillationError: where a loss or an image was no finite number.

        """
        seconds, steps = self.stopwatch.read()
        self._check_finite()
        values = [] if not self.losses else torch.stack(self.losses).tolist()
        images = self.images.detach()
        trace = Trace(
            loss=tuple(values),
            seconds=seconds,
            iteration_seconds=steps,
            kernels=kernels,
            norms=(float(self._rms_start), root_mean_square(images)),
            angle=float(torch.stack(self._angles).mean()) if self._angles else None,
            snapshots=tuple(self._snapshots),
            earlier=self._earlier,
        )
        return SyntheticSet(images.flatten(0, 1), labels, trace)


def _first_bad(first: Tensor, values: Tensor, iteration: int) -> Tensor:
    """Return `first`, in which each class whose values are no finite numbers, for the first time, has this iteration.

    Args:
        first: the iteration of each class, `[C]`; that of one which was sound so far is a later one.
        values: `[C, k]`.
        iteration: the present one.

    """
    sound = torch.isfinite(values).all(dim=1)
    return torch.where(sound | (first < iteration), first, iteration)


def _named(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Any]:
    """Return the tensors whose name begins with `prefix`, by the rest of it."""
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}


def _snapshots_of(state: State) -> list[Snapshot]:
    """Return the snapshots in a state, in the order of iterations."""
    images = {int(iteration): tensor for iteration, tensor in _named(state.tensors, _SNAPSHOT).items()}
    return [Snapshot(iteration, images[iteration]) for iteration in sorted(images)]


def root_mean_square(images: Tensor) -> float:
    """Return the root of the mean of all squared values."""
    return float(_root_mean_square(images))


def _root_mean_square(images: Tensor) -> Tensor:
    return images.square().mean().sqrt()


def divergence(trace: Trace) -> Iterator[str]:
    """Yield in what way a distillation left the range of all sound ones: finite, but far from where it began."""
    if trace.norms is not None and trace.norms[1] > _MOST_GROWTH * trace.norms[0]:
        start, end = trace.norms
        yield f"the images diverged: their root mean square grew from {start:.3g} to {end:.3g} in normalised units"
    tenth = len(trace.loss) // 10
    if tenth:
        first, last = (sum(abs(loss) for loss in part) / tenth for part in (trace.loss[:tenth], trace.loss[-tenth:]))
        if last > _MOST_GROWTH * first:
            yield f"the loss diverged: it grew from {first:.3g} in the first tenth of the iterations to {last:.3g} in the last"
