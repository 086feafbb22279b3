"""Real images and starting images: what every loop over images begins with and draws, whatever the method."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bench.lazy import torch
from bench.loops.augment import Augmentation, Draws
from bench.types import SyntheticSet

if TYPE_CHECKING:
    from torch import Tensor

    from bench.cells.protocol import Start
    from bench.cells.task import Task
    from bench.networks.network import Network
    from bench.networks.weights import Weights
    from bench.types import Bundle


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
    return torch.stack(draw_up_to(members, count, generator))


def draw_up_to(members: list[Tensor], count: int, generator: torch.Generator) -> list[Tensor]:
    """Draw `count` different images of each class, or all that it has; return their indices, a tensor a class."""
    return [index[torch.randperm(len(index), generator=generator)[:count]] for index in members]


def initial_images(task: Task) -> SyntheticSet:
    """Return `ipc` random real images of each class, class by class: the start of every method, and the method `random`."""
    bundle = task.bundle
    index = draw_real(class_members(bundle), task.ipc, task.streams.generator("start")).flatten()  # [C·ipc]
    images = normalise(bundle.train.images[index], bundle)
    return SyntheticSet(images.to(task.compute.device), bundle.train.labels[index].to(task.compute.device))


def whole_set(task: Task) -> SyntheticSet:
    """Return the full training set: the method `whole`, and what networks of coreset selections are trained on."""
    train, device = task.bundle.train, task.compute.device
    return SyntheticSet(normalise(train.images.to(device), task.bundle), train.labels.to(device))


def starting_images(task: Task, start: Start) -> SyntheticSet:
    """Return the images at the start: the real ones of `initial_images`, or Gaussian noise with their labels."""
    real = initial_images(task)
    if start == "real":
        return real
    noise = torch.randn(real.images.shape, generator=task.streams.generator("noise"))
    return SyntheticSet(noise.to(task.compute.device), real.labels)


def by_class(start: SyntheticSet, classes: int) -> Tensor:
    """Return a copy of the images `[C·m, channels, H, W]` as `[C, m, channels, H, W]`, ready for gradients."""
    images: Tensor = start.images.unflatten(0, (classes, -1)).clone()
    return images.requires_grad_()


@dataclass(frozen=True)
class Group:
    """Classes that give equally many real images: G `rows` of the share's classes.

    `real`: their images `[G, n, channels, H, W]`, or what was computed of these, `[G, n, ...]`.
    """

    rows: tuple[int, ...]
    real: Tensor

    @classmethod
    def of_all(cls, real: Tensor) -> Group:
        """Return all classes as one group."""
        return cls(tuple(range(len(real))), real)

    def among(self, values: Tensor) -> Tensor:
        """Return the group's part `[G, ...]` of what is of all classes, `[C, ...]`; the same tensor if these are all."""
        return values if len(self.rows) == len(values) else values[list(self.rows)]


def all_images(groups: Sequence[Group]) -> Tensor:
    """Return the images of all groups, one group after the other, `[N, channels, H, W]`."""
    images = [group.real.flatten(0, 1) for group in groups]
    return images[0] if len(images) == 1 else torch.cat(images)


def regrouped(values: Tensor, groups: Sequence[Group]) -> list[Group]:
    """Return groups of what was computed of `all_images`, `[N, ...]`."""
    shapes = [group.real.shape[:2] for group in groups]
    each = values.split([shape.numel() for shape in shapes])
    return [Group(group.rows, own.unflatten(0, shape)) for group, own, shape in zip(groups, each, shapes, strict=True)]


def in_order(groups: Sequence[Group], values: Sequence[Tensor]) -> Tensor:
    """Return what was computed of each group, `[G, ...]`, in the order of the share's classes, `[C, ...]`; differentiable."""
    if len(values) == 1:
        return values[0]
    order = torch.tensor([row for group in groups for row in group.rows]).argsort()
    return torch.cat(list(values))[order.to(values[0].device)]


class Batches:
    """What each step draws, whatever the method: a network, a real batch and one augmentation a class.

    If several processes share the cell, each draws for all classes, as one process does, and takes those of its `share`.
    """

    def __init__(self, task: Task, network: Network, *, real_batch: int, augment: str) -> None:
        """Take the sizes and the augmentation.

        Args:
            task: the cell.
            network: the extractor's architecture.
            real_batch: real images a class, if it has as many.
            augment: the augmentation strategy.

        """
        self.task, self.extractor, self.members = task, network, class_members(task.bundle)
        self.smallest = min(len(index) for index in self.members)
        self.size = min(real_batch, self.smallest)
        self.sizes = [min(real_batch, len(index)) for index in self.members]
        self.share = task.share(len(self.members))
        self.augmentation = Augmentation.parse(augment, flip=task.bundle.flip)

    def network(self, step: int) -> Weights:
        """Return the weights of the random network of `step`."""
        return self.extractor.init(self.task.streams.generator("extractor", step)).to(self.task.compute.device)

    def draws(self, step: int) -> Draws:
        """Return what augments each class of the share at `step`, real and synthetic images alike."""
        draws = self.augmentation.draw(self.task.streams.generator("augment", step), len(self.members), shared=False)
        return Draws(draws.operations[self.share], draws.uniforms[self.share])

    def real(self, step: int, draws: Draws) -> Tensor:
        """Return equally many real images of each class, as many as the smallest one has: see `real_by_size`.

        Args:
            step: its number.
            draws: by which they are augmented.

        Returns:
            `[C, size, channels, H, W]` of the share's C classes.

        """
        return self.augmentation.apply(self.images("real", step, self.size), draws)

    def real_by_size(self, step: int, draws: Draws) -> list[Group]:
        """Return the real images of `step`, augmented by `draws`; each class gives as many as it has, up to `real_batch`.

        If all classes have `real_batch` images, they are one group, with the images of `real`.
        """
        groups = self.by_size("real", step, max(self.sizes))
        return [Group(group.rows, self.augmentation.apply(group.real, draws.of_groups(group.rows))) for group in groups]

    def by_size(self, stream: str, step: int, count: int) -> list[Group]:
        """Return `count` real images of every class of the share, or all that it has, drawn at random.

        Args:
            stream: the name of the stream of random numbers.
            step: the number of the step, which names the draws.
            count: images of each class, in normalised units.

        """
        drawn = draw_up_to(self.members, count, self.task.streams.generator(stream, step))[self.share]
        rows: dict[int, list[int]] = {}
        for row, index in enumerate(drawn):
            rows.setdefault(len(index), []).append(row)
        return [Group(tuple(group), self._normalised(torch.stack([drawn[row] for row in group]))) for group in rows.values()]

    def images(self, stream: str, step: int, count: int) -> Tensor:
        """Return real images of every class of the share, drawn at random.

        Args:
            stream: the name of the stream of random numbers.
            step: the number of the step, which names the draws.
            count: images of each class; at most as many as the smallest class has.

        Returns:
            `[C, count, channels, H, W]`, in normalised units.

        """
        generator = self.task.streams.generator(stream, step)
        return self._normalised(draw_real(self.members, min(count, self.smallest), generator)[self.share])

    def _normalised(self, index: Tensor) -> Tensor:
        """Return training images, `[..., channels, H, W]` of their indices `[...]`, in normalised units on the device."""
        bundle, device = self.task.bundle, self.task.compute.device
        return normalise(bundle.train.images[index].to(device, non_blocking=True), bundle)

    def among_all(self, losses: Tensor) -> Tensor:
        """Return the losses of the share's classes among those of all classes, `[classes]`, with zero for the others."""
        among = losses.new_zeros(len(self.members))
        among[self.share] = losses.detach()
        return among
