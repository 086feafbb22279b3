"""The loop over the images of one cell: what it records, and the state from which it can be resumed."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict
from typing import Any

import torch
from torch import Tensor

from bench.cells.task import Task
from bench.errors import DistillationError
from bench.loops.optimizers import angles
from bench.loops.state import State, restore_state, state_of
from bench.machine import signals
from bench.machine.timing import Stopwatch, peak_memory_mib
from bench.records.resume import ResumeFile, ResumeState
from bench.types import Progress, Snapshot, Spent, SyntheticSet, Trace

REPORT_SECONDS = 0.5
_SNAPSHOT, _LABELS = "snapshot ", "labels of snapshot "
_MOST_GROWTH = 10.0
"""A warning is recorded if the images' root mean square, or the loss, grows by more than this factor; in converged runs images
grew at most 5 times."""


Learned = Callable[[], tuple[Tensor | None, float | None]]
"""Returns the labels and the learning rate that a loop learns with the images, as they are now; None if it learns none."""


def _nothing() -> tuple[None, None]:
    return None, None


class Recorder:
    """Counts the iterations over the images, and keeps losses, seconds, angles and snapshots; reports progress.

        recorder = Recorder(task, iterations, images)
        recorder.add_state("optimizer", optimizer)
        for step in recorder.steps():
            ...  # change the images in place
            recorder.add(losses)
        syn = recorder.finish(labels, kernels)

    Between two iterations it writes a resume state now and then, and when a signal ends the run. An interrupted cell begins
    with the iteration after its last state. The images belong to the state; everything else that an iteration depends on is
    declared with `add_state` before the first step: a learned label or learning rate, a second optimizer, counted numbers.
    """

    def __init__(
        self, task: Task, iterations: int, images: Tensor, *, resumable: bool = True, learned: Learned = _nothing
    ) -> None:
        """Start with nothing recorded.

        Args:
            task: the cell.
            iterations: how many there will be.
            images: the images at their start, `[C, m, channels, H, W]`; the loop changes them in place.
            resumable: whether all that the loop depends on can be declared.
            learned: returns the labels and the learning rate that are learned with the images, as they are at present; each
                checkpoint is evaluated with its own.

        """
        self.task, self.iterations, self.images, self._learned = task, iterations, images, learned
        self.stopwatch, self.losses = Stopwatch(task.compute.device), list[Tensor]()
        self._states: dict[str, State] = {"images": images}
        self._angles, self._snapshots = list[Tensor](), list[Snapshot]()
        self._checked, self._begun, self._earlier = 0, time.monotonic(), Spent()
        never = torch.full((len(images),), iterations, device=images.device)
        self._bad_images = self._bad_losses = never  # [C]: the first iteration at which a class's were no finite numbers
        self._rms_start = _root_mean_square(images.detach())
        self._resume = ResumeFile(task.resume) if task.resume and resumable else None
        self._reported = time.monotonic()
        self._take_snapshot()
        self._before = images.detach().clone()

    def add_state(self, name: str, state: State) -> None:
        """Declare something that the next iterations depend on: it is written into resume states, and restored from them.

        Args:
            name: its name, another one for each.
            state: a tensor of any type, which the loop changes in place; an optimizer, with its groups' numbers; a dictionary
                of whole numbers, changed in place; or an object with `state_dict` and `load_state_dict`.

        """
        if name in self._states:
            raise ValueError(f"the state {name!r} is declared twice")
        self._states[name] = state

    def _restore(self) -> None:
        """Go on from the cell's resume state, if there is one that fits."""
        state = self.task.broadcast(self._resume.read(torch.device("cpu")) if self._resume else None)
        if state is None or not self._fits(state):
            return
        state = state.to(self.task.compute.device)
        for name, target in self._states.items():
            restore_state(target, _named(state.tensors, _prefix(name)), state.values["states"].get(name))
        self.losses, self._angles = list(state.tensors["losses"]), list(state.tensors["angles"])
        self._snapshots = [at for at in _snapshots_of(state) if at.iteration in self.task.checkpoints]
        self._earlier = Spent(**state.values["spent"])
        self.stopwatch.restore(state.values["stages"], state.values["steps"])
        self._before = self.images.detach().clone()

    def steps(self) -> Iterator[int]:
        """Yield the number of each iteration that is left; it has to end with `add`."""
        self._restore()
        while len(self.losses) < self.iterations:
            yield len(self.losses)
            if self._resume and (self._resume.due() or signals.received()):
                self._resume.write(self._state())
            if self.task.leads:  # other processes go on until it ends: the state is written by this one
                signals.check()

    def add(self, losses: Tensor) -> None:
        """End an iteration.

        Args:
            losses: of each class, `[C]`, of which the sum is recorded; or one loss of all classes together, a scalar.

        """
        images, losses, step = self.images.detach(), losses.detach(), len(self.losses)
        self.losses.append(losses.sum())
        self._angles.append(angles(self._before, images).mean())
        self._before = images.clone()
        self.stopwatch.next_step()
        self._take_snapshot()
        if self._resume and step == 0:
            for state in self._states.values():
                state_of(state)  # an optimizer whose state cannot be kept is refused now, not when the cell is interrupted
        self._bad_images = _first_bad(self._bad_images, images.flatten(1), step)
        if losses.dim():
            self._bad_losses = _first_bad(self._bad_losses, losses[:, None], step)
        due = time.monotonic() - self._reported > REPORT_SECONDS
        # Reading a number waits for an accelerator, so there it is read only when progress is reported.
        if due or images.device.type == "cpu":
            self._check_finite()
        if due:
            self._reported = time.monotonic()
            self.task.report(Progress("distill", step + 1, self.iterations, f"loss {float(self.losses[-1]):.4g}"))

    def _check_finite(self) -> None:
        """Raise `DistillationError` if a loss since the last check, or an image at any iteration, was no finite number."""
        recent = torch.stack(self.losses[self._checked :]).tolist() if self.losses[self._checked :] else []
        bad_loss = next((step for step, loss in enumerate(recent, self._checked) if not math.isfinite(loss)), self.iterations)
        bad_image, whose_image = self._first_class(self._bad_images)
        seed, advice = f"seed {self.task.spec.seed}", "a smaller match.rate or lr_images may help"
        if bad_loss < self.iterations and bad_loss <= bad_image:
            loss, (first, whose_loss) = recent[bad_loss - self._checked], self._first_class(self._bad_losses)
            of = f"of class {whose_loss!r}" if first == bad_loss else "of all classes together"
            advice = advice if bad_loss else "no step has been taken yet, so the loss has no value for these images"
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
        """Keep a copy of the images if the present iteration is a checkpoint; the last iteration's are kept anyway."""
        iteration = len(self.losses)
        if iteration in self.task.checkpoints and iteration < self.iterations:
            labels, lr = self._learned()
            labels = labels.detach().clone() if labels is not None else None
            self._snapshots.append(Snapshot(iteration, self.images.detach().flatten(0, 1).clone(), labels, lr))

    def _state(self) -> ResumeState:
        """Return all that the next iterations depend on, and all that has been recorded."""
        tensors = {"losses": _stacked(self.losses), "angles": _stacked(self._angles)}
        tensors |= {f"{_SNAPSHOT}{at.iteration}": at.images for at in self._snapshots}
        tensors |= {f"{_LABELS}{at.iteration}": at.labels for at in self._snapshots if at.labels is not None}
        rates = {str(at.iteration): at.lr for at in self._snapshots}
        numbers = {}
        for name, state in self._states.items():
            named, numbers[name] = state_of(state)
            tensors |= {f"{_prefix(name)}{key}": tensor for key, tensor in named.items()}
        stages, steps = self.stopwatch.read()
        return ResumeState(
            tensors, {"states": numbers, "rates": rates, "stages": stages, "steps": steps, "spent": asdict(self._spent())}
        )

    def _spent(self) -> Spent:
        """Return what the cell has taken so far, with what interrupted processes spent on it."""
        peak = max(self._earlier.peak_memory_mib, peak_memory_mib(self.images.device) or 0.0)
        return Spent(self._earlier.seconds + time.monotonic() - self._begun, peak)

    def _fits(self, state: ResumeState) -> bool:
        """Return whether the state is of this loop, with the snapshots that are asked for."""
        done = len(state.tensors["losses"])
        asked = {iteration for iteration in self.task.checkpoints if iteration <= done and iteration < self.iterations}
        declared = set(state.values["states"]) == set(self._states)
        return declared and done <= self.iterations and asked <= {at.iteration for at in _snapshots_of(state)}

    def finish(self, labels: Tensor, kernels: dict[str, str], *, lr: float | None = None) -> SyntheticSet:
        """Return the finished set.

        Args:
            labels: `[C·m]`, or probabilities `[C·m, classes]`.
            kernels: how each kernel was run, for the record.
            lr: the learning rate of training on the images, if it was learned with them.

        Raises:
            DistillationError: if a loss or an image was no finite number.

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
        return SyntheticSet(images.flatten(0, 1), labels, trace, lr)


def _stacked(values: list[Tensor]) -> Tensor:
    return torch.stack(values) if values else torch.empty(0)


def _first_bad(first: Tensor, values: Tensor, iteration: int) -> Tensor:
    """Return `first`, in which each class whose values are no finite numbers, for the first time, has this iteration.

    Args:
        first: the iteration of each class, `[C]`; a later one than the present for a class whose values were finite so far.
        values: `[C, k]`.
        iteration: the present one.

    """
    sound = torch.isfinite(values).all(dim=1)
    return torch.where(sound | (first < iteration), first, iteration)


def _prefix(name: str) -> str:
    """Return the prefix of the names of a state's tensors; no prefix begins another."""
    return f"state {name!r} "


def _named(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Any]:
    """Return the tensors whose name begins with `prefix`, by the rest of it."""
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}


def _snapshots_of(state: ResumeState) -> list[Snapshot]:
    """Return the snapshots in a state, in the order of iterations."""
    images = {int(iteration): tensor for iteration, tensor in _named(state.tensors, _SNAPSHOT).items()}
    labels, rates = _named(state.tensors, _LABELS), state.values["rates"]
    return [Snapshot(at, images[at], labels.get(str(at)), rates[str(at)]) for at in sorted(images)]


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
        first, last = (sum(map(abs, losses)) / tenth for losses in (trace.loss[:tenth], trace.loss[-tenth:]))
        if last > _MOST_GROWTH * first:
            yield f"the loss diverged: it grew from {first:.3g} in the first tenth of the iterations to {last:.3g} in the last"
