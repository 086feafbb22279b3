"""The one feature-matching loop (Zhao and Bilen 2023, Algorithm 1): only the loss differs from method to method.

Each step draws a random extractor, a real batch of every class and one augmentation a class, from streams that know no method;
extracts features of the real images (no gradient) and of the synthetic ones; and moves the images along the gradient of

    sum_c loss(psi(A(T_c)), psi(A(S_c)))_c

as `bench.optimizers` says: by SGD, as published, or by the same angle for every loss.
"""

from __future__ import annotations

import inspect
import math
import time
from collections.abc import Callable

import torch
from torch import Tensor

from bench.augment import Augmentation, Draws
from bench.errors import DistillationError
from bench.networks.network import Network
from bench.networks.weights import Weights
from bench.optimizers import angles, image_optimizer
from bench.protocol import Start
from bench.task import Task
from bench.threads import Workers
from bench.timing import Stopwatch
from bench.types import Bundle, ContextObjective, LossContext, Objective, Progress, Snapshot, SyntheticSet, Trace

_REPORT_SECONDS = 0.5


def normalise(images: Tensor, bundle: Bundle) -> Tensor:
    """Return uint8 `images` `[..., channels, H, W]` in normalised units, float32."""
    shape = (-1, 1, 1)
    mean = torch.tensor(bundle.mean).view(shape).to(images.device)
    std = torch.tensor(bundle.std).view(shape).to(images.device)
    return (images.float() / 255 - mean) / std


def class_members(bundle: Bundle) -> list[Tensor]:
    """Return the indices of each class's training images, `[N_c]`, on the CPU."""
    labels = bundle.train.labels.cpu()
    return [(labels == index).nonzero().flatten() for index in range(len(bundle.classes))]


def draw_real(members: list[Tensor], count: int, generator: torch.Generator) -> Tensor:
    """Draw `count` different images of each class; return their indices `[C, count]`."""
    return torch.stack([index[torch.randperm(len(index), generator=generator)[:count]] for index in members])


def initial_images(task: Task) -> SyntheticSet:
    """Return `ipc` random real images of each class, class by class: the start of every method, and the method `random`."""
    bundle = task.bundle
    index = draw_real(class_members(bundle), task.ipc, task.streams.generator("start")).flatten()  # [C·ipc]
    images = normalise(bundle.train.images[index], bundle)
    return SyntheticSet(images.to(task.compute.device), bundle.train.labels[index].to(task.compute.device))


def starting_images(task: Task, start: Start) -> SyntheticSet:
    """Return where the images start: the real ones of `initial_images`, or Gaussian noise with their labels."""
    real = initial_images(task)
    if start == "real":
        return real
    noise = torch.randn(real.images.shape, generator=task.streams.generator("noise"))
    return SyntheticSet(noise.to(task.compute.device), real.labels)


def by_class(start: SyntheticSet, classes: int) -> Tensor:
    """Return a copy of the images `[C·m, channels, H, W]` as `[C, m, channels, H, W]`, ready for gradients."""
    images: Tensor = start.images.unflatten(0, (classes, -1)).clone()
    return images.requires_grad_()


class Batches:
    """What each step draws, whatever the method: a network, a real batch and one augmentation a class."""

    def __init__(self, task: Task, network: Network, *, real_batch: int, augment: str) -> None:
        """Take the sizes and the augmentation.

        Args:
            task: the cell.
            network: the extractor's architecture.
            real_batch: real images a class; where the smallest class has fewer, that many are drawn.
            augment: the augmentation strategy.

        """
        self.task, self.extractor, self.members = task, network, class_members(task.bundle)
        self.smallest = min(len(index) for index in self.members)
        self.size = min(real_batch, self.smallest)
        self.augmentation = Augmentation.parse(augment, flip=task.bundle.flip)

    def network(self, step: int) -> Weights:
        """Return the weights of the random network of `step`."""
        return self.extractor.init(self.task.streams.generator("extractor", step)).to(self.task.compute.device)

    def draws(self, step: int) -> Draws:
        """Return what augments each class at `step`, real and synthetic images alike."""
        return self.augmentation.draw(self.task.streams.generator("augment", step), len(self.members), shared=False)

    def real(self, step: int, draws: Draws) -> Tensor:
        """Return the real images of `step`, `[C, n, channels, H, W]`, augmented by `draws`."""
        return self.augmentation.apply(self.images("real", step, self.size), draws)

    def images(self, stream: str, step: int, count: int) -> Tensor:
        """Return real images of every class, drawn at random.

        Args:
            stream: the name of the stream of random numbers.
            step: where in it to begin.
            count: images of each class; at most as many as the smallest class has.

        Returns:
            `[C, count, channels, H, W]`, in normalised units.

        """
        bundle, device = self.task.bundle, self.task.compute.device
        generator = self.task.streams.generator(stream, step)
        index = draw_real(self.members, min(count, self.smallest), generator)  # [C, count]
        return normalise(bundle.train.images[index].to(device, non_blocking=True), bundle)


class Recorder:
    """What a loop over the images leaves behind, besides them: losses, seconds, angles, snapshots; and reports of progress."""

    def __init__(self, task: Task, iterations: int, images: Tensor) -> None:
        """Start with nothing recorded.

        Args:
            task: the cell.
            iterations: how many there will be.
            images: the images at their start, `[C, m, channels, H, W]`; the loop changes them in place.

        """
        self.task, self.iterations, self.images = task, iterations, images
        self.stopwatch, self.losses = Stopwatch(task.compute.device), list[Tensor]()
        self._angles, self._snapshots = list[Tensor](), list[Snapshot]()
        self._start = self._before = images.detach().clone()
        self._reported = time.monotonic()
        self._take_snapshot()

    def add(self, loss: Tensor) -> None:
        """End an iteration whose loss was `loss`."""
        images = self.images.detach()
        self.losses.append(loss.detach())
        self._angles.append(angles(self._before, images).mean())
        self._before = images.clone()
        self.stopwatch.next_step()
        self._take_snapshot()
        # Reading the loss waits for the device, so it is read only as often as a person looks.
        if time.monotonic() - self._reported > _REPORT_SECONDS:
            self._reported = time.monotonic()
            note = f"loss {check_finite(float(self.losses[-1]), len(self.losses) - 1):.4g}"
            self.task.report(Progress("distill", len(self.losses), self.iterations, note))

    def _take_snapshot(self) -> None:
        """Keep a copy of the images where the present iteration is a checkpoint; the last iteration's are kept anyway."""
        iteration = len(self.losses)
        if iteration in self.task.checkpoints and iteration < self.iterations:
            self._snapshots.append(Snapshot(iteration, self.images.detach().flatten(0, 1).clone()))

    def finish(self, labels: Tensor, kernels: dict[str, str]) -> SyntheticSet:
        """Return the finished set.

        Args:
            labels: `[C·m]`.
            kernels: how each kernel was run, for the record.

        Raises:
            DistillationError: where a loss was no finite number.

        """
        seconds, steps = self.stopwatch.read()
        values = [] if not self.losses else torch.stack(self.losses).tolist()
        for step, value in enumerate(values):
            check_finite(value, step)
        images = self.images.detach()
        trace = Trace(
            loss=tuple(values),
            seconds=seconds,
            iteration_seconds=steps,
            kernels=kernels,
            norms=(root_mean_square(self._start), root_mean_square(images)),
            angle=float(torch.stack(self._angles).mean()) if self._angles else None,
            snapshots=tuple(self._snapshots),
        )
        return SyntheticSet(images.flatten(0, 1), labels, trace)


def root_mean_square(images: Tensor) -> float:
    """Return the root of the mean of all squared values."""
    return float(images.square().mean().sqrt())


class _Extractor:
    """Features of a step's real and synthetic images under that step's random network."""

    def __init__(self, task: Task) -> None:
        self.task, self.match = task, task.match
        self.network = task.network(self.match.network)
        self.batches = Batches(task, self.network, real_batch=self.match.real_batch, augment=self.match.augment)
        work = task.iterations * self.network.flops * len(task.bundle.classes)
        self.real_kernel = task.compute.kernel("features", self.network, work * self.batches.size)
        self.syn_kernel = task.compute.kernel("features with gradient", self.network, 3 * work * task.ipc)

    def __call__(self, step: int, images: Tensor) -> tuple[Tensor, Tensor]:
        """Return real features `[C, n, d]` and synthetic ones `[C, m, d]` of `images` `[C, m, channels, H, W]` at `step`."""
        batches, compute, network = self.batches, self.task.compute, self.network
        weights = batches.network(step if self.match.extractor == "fresh" else 0)
        draws = batches.draws(step)

        real = batches.real(step, draws)
        real_images = network.resize(real.flatten(0, 1))
        real_features = compute.features(self.real_kernel, network, real_images, weights)

        syn = network.resize(batches.augmentation.apply(images, draws).flatten(0, 1))
        syn_features = self._synthetic_features(syn, weights)
        return real_features.unflatten(0, real.shape[:2]), syn_features.unflatten(0, images.shape[:2])

    def _synthetic_features(self, images: Tensor, weights: Weights) -> Tensor:
        """Return features `[N, d]` of `images` `[N, channels, H, W]`, with gradient."""
        images = images.contiguous(memory_format=torch.channels_last)
        chunk = self.task.compute.chunk(self.network, len(images))
        return torch.cat([self.syn_kernel(part, *weights.all) for part in images.split(chunk)])

    @property
    def notes(self) -> dict[str, str]:
        """How the kernels were run."""
        return {"real features": self.real_kernel.note, "synthetic features": self.syn_kernel.note}


def match(
    task: Task,
    objective: Objective | ContextObjective,
    *,
    watch: Callable[[int, Tensor, Tensor], None] | None = None,
) -> SyntheticSet:
    """Distill by matching features.

    Args:
        task: the cell.
        objective: the loss.
        watch: called at each step with its number and the features of both sides.

    Raises:
        DistillationError: where the loss is no finite number.

    """
    start = starting_images(task, task.match.start)
    images = by_class(start, len(task.bundle.classes))  # [C, m, channels, H, W]
    optimizer, schedule = image_optimizer(images, task.match, task.iterations)
    extract, recorder = _Extractor(task), Recorder(task, task.iterations, images)
    stopwatch, loss_at = recorder.stopwatch, _with_context(task, objective)

    with Workers(task.compute.threads) as workers, workers.serving():
        for step in range(task.iterations):
            with stopwatch.stage("features"):
                real, syn = extract(step, images)
            if watch is not None:
                watch(step, real, syn.detach())
            with stopwatch.stage("loss"):
                leaf = syn.detach().requires_grad_()
                loss = loss_at(step, real, leaf).sum()
                (slope,) = torch.autograd.grad(loss, leaf)
            with stopwatch.stage("update"):
                images.grad = torch.autograd.grad(syn, images, slope)[0]
                optimizer.step()
                schedule.step()
            recorder.add(loss)
    return recorder.finish(start.labels, extract.notes)


def _with_context(task: Task, objective: Objective | ContextObjective) -> Callable[[int, Tensor, Tensor], Tensor]:
    """Return the loss as a function of the step and both sides' features; the context is made where the loss asks for it."""
    wants_context = "context" in inspect.signature(objective).parameters
    labels = torch.arange(len(task.bundle.classes), device=task.compute.device)

    def loss_at(step: int, real: Tensor, syn: Tensor) -> Tensor:
        more = {"context": LossContext(step, task.iterations, labels, task.bundle.classes)} if wants_context else {}
        loss: Tensor = objective(real, syn, generator=task.streams.generator("objective", step), **more)
        return loss

    return loss_at


def check_finite(loss: float, step: int) -> float:
    """Return `loss`; raise `DistillationError` where it is no finite number."""
    if not math.isfinite(loss):
        raise DistillationError(f"the loss is {loss} at iteration {step}; a smaller match.rate or lr_images may help")
    return loss
