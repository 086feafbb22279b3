"""The one feature-matching loop (Zhao and Bilen 2023, Algorithm 1): only the objective differs from method to method.

Each step draws a random extractor, a real batch of every class and one augmentation a class, from streams that know no method;
extracts features of the real images (no gradient) and of the synthetic ones; and takes one step of SGD on the images:

    S <- S - lr · v,   v <- momentum · v + grad_S sum_c objective(psi(A(T_c)), psi(A(S_c)))_c
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor

from bench.augment import Augmentation, Draws
from bench.compute import Kernel
from bench.errors import DistillationError
from bench.networks import Parameters
from bench.timing import Stopwatch
from bench.types import Bundle, Objective, Progress, SyntheticSet, Task, Trace

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
    bundle, ipc = task.bundle, task.spec.ipc
    assert ipc is not None
    index = draw_real(class_members(bundle), ipc, task.streams.generator("start")).flatten()  # [C·ipc]
    images = normalise(bundle.train.images[index], bundle)
    return SyntheticSet(images.to(task.compute.device), bundle.train.labels[index].to(task.compute.device))


def synthetic_features(kernel: Kernel, task: Task, images: Tensor, parameters: tuple[Tensor, ...]) -> Tensor:
    """Return features `[N, d]` of `images` `[N, channels, H, W]`, with gradient."""
    images = images.contiguous(memory_format=torch.channels_last)
    chunk = task.compute.chunk(task.network, len(images))
    return torch.cat([kernel(part, *parameters) for part in images.split(chunk)])


def starting_images(task: Task, start: Literal["real", "noise"]) -> SyntheticSet:
    """Return where the images start: the real ones of `initial_images`, or Gaussian noise with their labels."""
    real = initial_images(task)
    if start == "real":
        return real
    noise = torch.randn(real.images.shape, generator=task.streams.generator("noise"))
    return SyntheticSet(noise.to(task.compute.device), real.labels)


class Batches:
    """What each step draws, whatever the method: a network, a real batch and one augmentation a class."""

    def __init__(self, task: Task, *, real_batch: int, augment: str) -> None:
        """Take `real_batch` images a class, or the smallest class's number where that is less."""
        self.task, self.members = task, class_members(task.bundle)
        self.smallest = min(len(index) for index in self.members)
        self.size = min(real_batch, self.smallest)
        self.augmentation = Augmentation.parse(augment, flip=task.bundle.flip)

    def network(self, step: int) -> Parameters:
        """Return the random network of `step`."""
        return self.task.compute.put(self.task.network.init(self.task.streams.generator("extractor", step)))

    def draws(self, step: int) -> Draws:
        """Return what augments each class at `step`, real and synthetic images alike."""
        return self.augmentation.draw(self.task.streams.generator("augment", step), len(self.members), shared=False)

    def real(self, step: int, draws: Draws) -> Tensor:
        """Return the real images of `step`, `[C, n, channels, H, W]`, augmented by `draws`."""
        return self.augmentation.apply(self.images("real", step, self.size), draws)

    def images(self, stream: str, step: int, count: int) -> Tensor:
        """Return `count` real images of each class (at most the smallest class's), `[C, count, channels, H, W]`."""
        bundle, device = self.task.bundle, self.task.compute.device
        generator = self.task.streams.generator(stream, step)
        index = draw_real(self.members, min(count, self.smallest), generator)  # [C, count]
        return normalise(bundle.train.images[index].to(device, non_blocking=True), bundle)


class Recorder:
    """The losses and seconds of a loop over the images, and its reports of progress."""

    def __init__(self, task: Task, iterations: int) -> None:
        """Start with nothing recorded."""
        self.task, self.iterations = task, iterations
        self.stopwatch, self.losses = Stopwatch(task.compute.device), list[Tensor]()
        self._reported = time.monotonic()

    def add(self, loss: Tensor) -> None:
        """End an iteration whose loss was `loss`."""
        self.losses.append(loss.detach())
        self.stopwatch.next_step()
        # The loss is read, which waits for the device, only as often as a person looks.
        if time.monotonic() - self._reported > _REPORT_SECONDS:
            self._reported = time.monotonic()
            note = f"loss {check_finite(float(self.losses[-1]), len(self.losses) - 1):.4g}"
            self.task.report(Progress("distill", len(self.losses), self.iterations, note))

    def finish(self, images: Tensor, labels: Tensor, kernels: dict[str, str]) -> SyntheticSet:
        """Return the set of `images` `[C, m, channels, H, W]`; raise `DistillationError` where a loss was no finite number."""
        seconds, steps = self.stopwatch.read()
        values = [] if not self.losses else torch.stack(self.losses).tolist()
        for step, value in enumerate(values):
            check_finite(value, step)
        return SyntheticSet(images.detach().flatten(0, 1), labels, Trace(tuple(values), seconds, steps, kernels))


class _Extractors:
    """Features of a step's real and synthetic images under that step's random network."""

    def __init__(self, task: Task) -> None:
        self.task, self.match = task, task.spec.protocol.match
        self.batches = Batches(task, real_batch=self.match.real_batch, augment=self.match.augment)
        classes, ipc = len(task.bundle.classes), task.spec.ipc or 1
        work = self.match.iterations * task.network.flops * classes
        self.real_kernel = task.compute.features_kernel(task.network, work * self.batches.size)
        self.syn_kernel = task.compute.features_kernel(task.network, 3 * work * ipc)

    def __call__(self, step: int, images: Tensor) -> tuple[Tensor, Tensor]:
        """Return real features `[C, n, d]` and synthetic ones `[C, m, d]` of `images` `[C, m, channels, H, W]` at `step`."""
        task, batches = self.task, self.batches
        parameters = batches.network(step if self.match.extractor == "fresh" else 0)
        draws = batches.draws(step)

        real = batches.real(step, draws)
        real_features = task.compute.features(self.real_kernel, task.network, real.flatten(0, 1), parameters)

        syn = batches.augmentation.apply(images, draws).flatten(0, 1)
        syn_features = synthetic_features(self.syn_kernel, task, syn, parameters)
        return real_features.unflatten(0, real.shape[:2]), syn_features.unflatten(0, images.shape[:2])


def match(task: Task, objective: Objective, *, watch: Callable[[int, Tensor, Tensor], None] | None = None) -> SyntheticSet:
    """Distill by matching features under `objective`; `watch` is shown each step's number and both sides' features.

    Raise `DistillationError` where the loss is no finite number.
    """
    settings = task.spec.protocol.match
    start = starting_images(task, settings.start)
    images = start.images.unflatten(0, (len(task.bundle.classes), -1)).clone().requires_grad_()  # [C, m, channels, H, W]
    assert settings.lr_images is not None
    optimizer = torch.optim.SGD([images], lr=settings.lr_images, momentum=settings.momentum)
    extract, recorder = _Extractors(task), Recorder(task, settings.iterations)
    stopwatch = recorder.stopwatch

    for step in range(settings.iterations):
        with stopwatch.stage("features"):
            real, syn = extract(step, images)
        if watch is not None:
            watch(step, real, syn.detach())
        with stopwatch.stage("loss"):
            leaf = syn.detach().requires_grad_()
            loss = objective(real, leaf, generator=task.streams.generator("objective", step)).sum()
            (slope,) = torch.autograd.grad(loss, leaf)
        with stopwatch.stage("update"):
            images.grad = torch.autograd.grad(syn, images, slope)[0]
            optimizer.step()
        recorder.add(loss)

    kernels = {"real features": extract.real_kernel.note, "synthetic features": extract.syn_kernel.note}
    return recorder.finish(images, start.labels, kernels)


def check_finite(loss: float, step: int) -> float:
    """Return `loss`; raise `DistillationError` where it is no finite number."""
    if not math.isfinite(loss):
        raise DistillationError(f"the loss is {loss} at iteration {step}; a smaller lr_images may help")
    return loss
