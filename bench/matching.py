"""The one feature-matching loop (Zhao and Bilen 2023, Algorithm 1): only the loss differs from method to method.

Each step draws a random extractor, a real batch of every class and one augmentation a class, from streams that know no method;
extracts features of the real images (no gradient) and of the synthetic ones; and moves the images along the gradient of

    sum_c loss(psi(A(T_c)), psi(A(S_c)))_c

as `bench.optimizers` says: by SGD, as published, or by the same angle for every loss.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from bench.augment import Augmentation, Draws
from bench.errors import DistillationError
from bench.networks.network import Network
from bench.networks.weights import Weights
from bench.optimizers import image_optimizer, set_step_size
from bench.protocol import Start
from bench.recorder import Recorder, Stateful
from bench.settings import Settings
from bench.task import Task
from bench.threads import Workers
from bench.types import Bundle, ContextObjective, LossContext, Objective, SyntheticSet

_TRIAL_CLASSES = 3
_TRIAL_TOLERANCE = 1e-4
"""Relative. What a loss gives for a class alone and beside others differs by rounding, and where an iteration ends."""


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
    """What each step draws, whatever the method: a network, a real batch and one augmentation a class.

    Where ranks share the cell, each draws for all classes, as one process does, and takes the part of its own: `share`.
    """

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
        self.share = task.ranks.share(len(self.members))
        self.augmentation = Augmentation.parse(augment, flip=task.bundle.flip)

    def network(self, step: int) -> Weights:
        """Return the weights of the random network of `step`."""
        return self.extractor.init(self.task.streams.generator("extractor", step)).to(self.task.compute.device)

    def draws(self, step: int) -> Draws:
        """Return what augments each class of the share at `step`, real and synthetic images alike."""
        draws = self.augmentation.draw(self.task.streams.generator("augment", step), len(self.members), shared=False)
        return Draws(draws.operations[self.share], draws.uniforms[self.share])

    def real(self, step: int, draws: Draws) -> Tensor:
        """Return the real images of `step`, `[C, n, channels, H, W]` of the share's C classes, augmented by `draws`."""
        return self.augmentation.apply(self.images("real", step, self.size), draws)

    def images(self, stream: str, step: int, count: int) -> Tensor:
        """Return real images of every class of the share, drawn at random.

        Args:
            stream: the name of the stream of random numbers.
            step: where in it to begin.
            count: images of each class; at most as many as the smallest class has.

        Returns:
            `[C, count, channels, H, W]`, in normalised units.

        """
        bundle, device = self.task.bundle, self.task.compute.device
        generator = self.task.streams.generator(stream, step)
        index = draw_real(self.members, min(count, self.smallest), generator)[self.share]  # [C, count]
        return normalise(bundle.train.images[index].to(device, non_blocking=True), bundle)

    def among_all(self, losses: Tensor) -> Tensor:
        """Return the losses of the share's classes among those of all classes, `[classes]`, where the others' are zero."""
        among = losses.new_zeros(len(self.members))
        among[self.share] = losses.detach()
        return among


class _Extractor:
    """Features of a step's real and synthetic images under that step's random network."""

    def __init__(self, task: Task) -> None:
        self.task, self.match = task, task.match
        self.network = task.network(self.match.network)
        self.batches = Batches(task, self.network, real_batch=self.match.real_batch, augment=self.match.augment)
        classes = len(range(len(task.bundle.classes))[self.batches.share])
        work = task.iterations * self.network.flops * classes
        self.real_kernel = task.compute.kernel("features", self.network, work * self.batches.size)
        self.syn_kernel = task.compute.kernel("features with gradient", self.network, 3 * work * task.ipc)

    def __call__(self, step: int, images: Tensor) -> tuple[Tensor, Tensor]:
        """Return real features `[C, n, d]` and synthetic ones `[C, m, d]` of the share's classes at `step`.

        Args:
            step: its number.
            images: of all classes, `[classes, m, channels, H, W]`.

        """
        batches, compute, network = self.batches, self.task.compute, self.network
        weights = batches.network(step if self.match.extractor == "fresh" else 0)
        draws = batches.draws(step)

        real = batches.real(step, draws)
        real_images = network.resize(real.flatten(0, 1))
        real_features = compute.features(self.real_kernel, network, real_images, weights)

        syn = network.resize(batches.augmentation.apply(images[batches.share], draws).flatten(0, 1))
        syn_features = compute.features_with_gradient(self.syn_kernel, network, syn, weights)
        return real_features.unflatten(0, real.shape[:2]), syn_features.unflatten(0, (len(real), -1))

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
    optimizer, kept = image_optimizer(images, task.match), _kept_by(objective)
    resumable = kept is not None or _keeps_nothing(objective)
    recorder = Recorder(task, task.iterations, images, optimizer, loss=kept, resumable=resumable)
    extract, loss_at, stopwatch = _Extractor(task), _with_context(task, objective), recorder.stopwatch

    with Workers(task.compute.threads) as workers, workers.serving():
        for step in recorder.steps():
            with stopwatch.stage("features"):
                real, syn = extract(step, images)
            if watch is not None:
                watch(step, real, syn.detach())
            with stopwatch.stage("loss"):
                losses = loss_at(step, real, leaf := syn.detach().requires_grad_())  # one for each class of the share
                (slope,) = torch.autograd.grad(losses.sum(), leaf)
            with stopwatch.stage("update"):
                gradient = torch.autograd.grad(syn, images, slope)[0]  # zero for the classes of other ranks
                losses, images.grad = task.ranks.sum(extract.batches.among_all(losses), gradient)
                set_step_size(optimizer, task.match, step / task.iterations)
                optimizer.step()
            recorder.add(losses)
    return recorder.finish(start.labels, extract.notes)


def undivided(objective: Objective | ContextObjective, network: Network) -> str:
    """Return why classes cannot be matched on different ranks; empty where they can.

    Args:
        objective: the loss. It is tried on small features: a class alone has to give what it gives beside others.
        network: the extractor.

    """
    if network.uses_batch:
        return f"the batch norm of {network.label} couples the classes"
    if not _keeps_nothing(objective):
        return "its loss may keep something from step to step"
    wants_context = "context" in inspect.signature(objective).parameters
    source, names = torch.Generator().manual_seed(0), tuple(f"class {label}" for label in range(_TRIAL_CLASSES))
    real, syn = (torch.rand(_TRIAL_CLASSES, count, 16, generator=source) for count in (5, 3))

    def loss_of(labels: Tensor) -> Tensor:
        more = {"context": LossContext(0, 1, labels, names)} if wants_context else {}
        loss: Tensor = objective(real[labels], syn[labels], generator=torch.Generator().manual_seed(0), **more)
        return loss

    labels = torch.arange(_TRIAL_CLASSES)
    try:
        with torch.no_grad():
            alone = torch.cat([loss_of(label) for label in labels.split(1)])
            if torch.allclose(alone, loss_of(labels), rtol=_TRIAL_TOLERANCE):
                return ""
    except (Exception, SystemExit) as error:  # noqa: BLE001 - a user's loss may raise anything
        return f"its loss of a class alone raises {type(error).__name__}"
    return "its loss of a class depends on other classes, or on how many there are"


def _keeps_nothing(objective: Objective | ContextObjective) -> bool:
    """Return whether a loss is the same at every step: settings, or a function."""
    return isinstance(objective, Settings) or inspect.isfunction(objective)


def _kept_by(objective: Any) -> Stateful | None:
    """Return the loss, where it says what it keeps from step to step."""
    return objective if hasattr(objective, "state_dict") and hasattr(objective, "load_state_dict") else None


def _with_context(task: Task, objective: Objective | ContextObjective) -> Callable[[int, Tensor, Tensor], Tensor]:
    """Return the loss as a function of the step and both sides' features; the context is made where the loss asks for it."""
    wants_context = "context" in inspect.signature(objective).parameters
    classes = len(task.bundle.classes)
    labels = torch.arange(classes, device=task.compute.device)[task.ranks.share(classes)]

    def loss_at(step: int, real: Tensor, syn: Tensor) -> Tensor:
        more = {"context": LossContext(step, task.iterations, labels, task.bundle.classes)} if wants_context else {}
        try:
            loss: Tensor = objective(real, syn, generator=task.streams.generator("objective", step), **more)
        except DistillationError as error:
            raise DistillationError(f"{error}, at iteration {step} of seed {task.spec.seed}") from error
        return loss

    return loss_at
