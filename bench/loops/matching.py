"""The one feature-matching loop (Zhao and Bilen 2023, Algorithm 1): only the loss differs from method to method.

Each step draws a random extractor, a real batch of every class and one augmentation a class, from streams that know no method;
extracts features of the real images (no gradient) and of the synthetic ones; and moves the images along the gradient of

    sum_c loss(psi(A(T_c)), psi(A(S_c)))_c

as `bench.loops.optimizers` says: by SGD, as published, or by the same angle for every loss.

The loss is called once for all classes that give equally many real images, in most datasets for all classes together. A loss
that does not work class by class is called once, with as many real images of each class as the smallest one has.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable

import torch
from torch import Tensor

from bench.cells.loss import declared_state, is_stateless
from bench.cells.task import Task
from bench.errors import DistillationError
from bench.loops.images import Batches, Group, all_images, by_class, in_order, regrouped, starting_images
from bench.loops.optimizers import image_optimizer, set_step_size
from bench.loops.recorder import Recorder
from bench.types import ContextObjective, LossContext, Objective, SyntheticSet


class _Extractor:
    """Features of a step's real and synthetic images under that step's random network."""

    def __init__(self, task: Task, *, each_size: bool) -> None:
        self.task, self.match, self.each_size = task, task.match, each_size
        self.network = task.network(self.match.network)
        self.batches = Batches(task, self.network, real_batch=self.match.real_batch, augment=self.match.augment)
        sizes = self.batches.sizes[self.batches.share]
        real = sum(sizes) if each_size else self.batches.size * len(sizes)
        work = task.iterations * self.network.flops
        self.real_kernel = task.compute.kernel("features", self.network, work * real)
        self.syn_kernel = task.compute.kernel("features with gradient", self.network, 3 * work * len(sizes) * task.ipc)

    def __call__(self, step: int, images: Tensor) -> tuple[list[Group], Tensor]:
        """Return real features `[G, n, d]` of each group of the share's classes, and synthetic ones `[C, m, d]` of all of them.

        Args:
            step: its number.
            images: of all classes, `[classes, m, channels, H, W]`.

        """
        batches, compute, network = self.batches, self.task.compute, self.network
        weights = batches.network(step if self.match.extractor == "fresh" else 0)
        draws = batches.draws(step)
        groups = batches.real_by_size(step, draws) if self.each_size else [Group.of_all(batches.real(step, draws))]
        features = compute.features(self.real_kernel, network, network.resize(all_images(groups)), weights)

        own = images[batches.share]
        syn = network.resize(batches.augmentation.apply(own, draws).flatten(0, 1))
        syn_features = compute.features_with_gradient(self.syn_kernel, network, syn, weights)
        return regrouped(features, groups), syn_features.unflatten(0, own.shape[:2])

    @property
    def notes(self) -> dict[str, str]:
        """How the kernels were run."""
        return {"real features": self.real_kernel.note, "synthetic features": self.syn_kernel.note}


def match(task: Task, *, watch: Callable[[int, Tensor, Tensor], None] | None = None) -> SyntheticSet:
    """Distill by matching features under the loss of the cell, `task.settings.for_cell()`.

    Args:
        task: the cell.
        watch: called at each step with its number and the features of both sides, for each number of real images a class.

    Raises:
        DistillationError: if the loss is no finite number.

    """
    objective = task.settings.for_cell()
    start = starting_images(task, task.match.start)
    images = by_class(start, len(task.bundle.classes))  # [C, m, channels, H, W]
    optimizer, state = image_optimizer(images, task.match), declared_state(objective)
    recorder = Recorder(task, task.iterations, images, resumable=state is not None or is_stateless(objective))
    recorder.add_state("optimizer", optimizer)
    if state is not None:
        recorder.add_state("loss", state)
    extract = _Extractor(task, each_size=task.settings.works_by_class and state is None)
    loss_at, stopwatch = _with_context(task, objective), recorder.stopwatch

    for step in recorder.steps():
        with stopwatch.stage("features"):
            groups, syn = extract(step, images)
        if watch is not None:
            for group in groups:
                watch(step, group.real, group.among(syn.detach()))
        with stopwatch.stage("loss"):
            leaf = syn.detach().requires_grad_()
            losses = in_order(groups, [loss_at(step, group, group.among(leaf)) for group in groups])  # [C] of the share
            (slope,) = torch.autograd.grad(losses.sum(), leaf)
        with stopwatch.stage("update"):
            gradient = torch.autograd.grad(syn, images, slope)[0]  # zero for classes outside the share
            losses, images.grad = task.sum(extract.batches.among_all(losses), gradient)
            set_step_size(optimizer, task.match, step / task.iterations)
            optimizer.step()
        recorder.add(losses)
    return recorder.finish(start.labels, extract.notes)


def _with_context(task: Task, objective: Objective | ContextObjective) -> Callable[[int, Group, Tensor], Tensor]:
    """Return the loss as a function of the step, a group, and its synthetic features; with the context if the loss takes it.

    Each call has a fresh generator of the step.
    """
    wants_context = "context" in inspect.signature(objective).parameters
    classes = len(task.bundle.classes)
    labels = torch.arange(classes, device=task.compute.device)[task.share(classes)]

    def loss_at(step: int, group: Group, syn: Tensor) -> Tensor:
        own = group.among(labels)
        more = {"context": LossContext(step, task.iterations, own, task.bundle.classes)} if wants_context else {}
        try:
            loss: Tensor = objective(group.real, syn, generator=task.streams.generator("objective", step), **more)
        except DistillationError as error:
            raise DistillationError(f"{error}, at iteration {step} of seed {task.spec.seed}") from error
        return loss

    return loss_at
