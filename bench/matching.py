"""The one feature-matching loop (Zhao and Bilen 2023, Algorithm 1): only the objective differs from method to method.

Each step draws a random extractor, a real batch of every class and one augmentation a class, from streams that know no method;
extracts features of the real images (no gradient) and of the synthetic ones; and takes one step of SGD on the images:

    S <- S - lr · v,   v <- momentum · v + grad_S sum_c objective(psi(A(T_c)), psi(A(S_c)))_c
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable

import torch
from torch import Tensor

from bench.augment import Augmentation
from bench.compute import Kernel
from bench.errors import DistillationError
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


class _Extractors:
    """Features of a step's real and synthetic images under that step's random network."""

    def __init__(self, task: Task, *, real_batch: int) -> None:
        self.task = task
        self.bundle, self.match = task.bundle, task.spec.protocol.match
        self.members = class_members(self.bundle)
        self.batch = min(real_batch, min(len(index) for index in self.members))
        self.augmentation = Augmentation.parse(self.match.augment, flip=self.bundle.flip)
        classes, ipc = len(self.bundle.classes), task.spec.ipc or 1
        work = self.match.iterations * task.network.flops * classes
        self.real_kernel = task.compute.features_kernel(task.network, work * self.batch)
        self.syn_kernel = task.compute.features_kernel(task.network, 3 * work * ipc)

    def __call__(self, step: int, images: Tensor) -> tuple[Tensor, Tensor]:
        """Return real features `[C, n, d]` and synthetic ones `[C, m, d]` of `images` `[C, m, channels, H, W]` at `step`."""
        task, streams, device = self.task, self.task.streams, self.task.compute.device
        network_step = step if self.match.extractor == "fresh" else 0
        parameters = task.compute.put(task.network.init(streams.generator("extractor", network_step)))
        draws = self.augmentation.draw(streams.generator("augment", step), len(images), shared=False)

        index = draw_real(self.members, self.batch, streams.generator("real", step))  # [C, n]
        real = normalise(self.bundle.train.images[index].to(device, non_blocking=True), self.bundle)
        real = self.augmentation.apply(real, draws).flatten(0, 1)  # [C·n, channels, H, W]
        real_features = task.compute.features(self.real_kernel, task.network, real, parameters)

        syn = self.augmentation.apply(images, draws).flatten(0, 1)
        syn_features = synthetic_features(self.syn_kernel, task, syn, parameters)
        return real_features.unflatten(0, index.shape), syn_features.unflatten(0, images.shape[:2])


def match(task: Task, objective: Objective, *, watch: Callable[[int, Tensor, Tensor], None] | None = None) -> SyntheticSet:
    """Distill by matching features under `objective`; `watch` is shown each step's number and both sides' features.

    Raise `DistillationError` where the loss is no finite number.
    """
    settings, device = task.spec.protocol.match, task.compute.device
    start = initial_images(task)
    images = start.images.unflatten(0, (len(task.bundle.classes), -1)).clone()  # [C, m, channels, H, W]
    if settings.start == "noise":
        images = torch.randn(images.shape, generator=task.streams.generator("noise")).to(device)
    images.requires_grad_()
    assert settings.lr_images is not None
    optimizer = torch.optim.SGD([images], lr=settings.lr_images, momentum=settings.momentum)
    extract, stopwatch, losses = _Extractors(task, real_batch=settings.real_batch), Stopwatch(device), []
    reported = time.monotonic()

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
        losses.append(loss.detach())
        stopwatch.next_step()
        # The loss is read, which waits for the device, only as often as a person looks.
        if time.monotonic() - reported > _REPORT_SECONDS:
            reported = time.monotonic()
            task.report(Progress("distill", step + 1, settings.iterations, f"loss {check_finite(float(losses[-1]), step):.4g}"))

    seconds, steps = stopwatch.read()
    values = [] if not losses else torch.stack(losses).tolist()
    for step, value in enumerate(values):
        check_finite(value, step)
    kernels = {"real features": extract.real_kernel.note, "synthetic features": extract.syn_kernel.note}
    return SyntheticSet(images.detach().flatten(0, 1), start.labels, Trace(tuple(values), seconds, steps, kernels))


def check_finite(loss: float, step: int) -> float:
    """Return `loss`; raise `DistillationError` where it is no finite number."""
    if not math.isfinite(loss):
        raise DistillationError(f"the loss is {loss} at iteration {step}; a smaller lr_images may help")
    return loss
