"""Real images and starting images: what every loop over images begins with and draws, whatever the method."""

from __future__ import annotations

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
    return torch.stack([index[torch.randperm(len(index), generator=generator)[:count]] for index in members])


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


class Batches:
    """What each step draws, whatever the method: a network, a real batch and one augmentation a class.

    If several processes share the cell, each draws for all classes, as one process does, and takes those of its `share`.
    """

    def __init__(self, task: Task, network: Network, *, real_batch: int, augment: str) -> None:
        """Take the sizes and the augmentation.

        Args:
            task: the cell.
            network: the extractor's architecture.
            real_batch: real images a class; if the smallest class has fewer, that many are drawn.
            augment: the augmentation strategy.

        """
        self.task, self.extractor, self.members = task, network, class_members(task.bundle)
        self.smallest = min(len(index) for index in self.members)
        self.size = min(real_batch, self.smallest)
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
        """Return the real images of `step`, `[C, n, channels, H, W]` of the share's C classes, augmented by `draws`."""
        return self.augmentation.apply(self.images("real", step, self.size), draws)

    def images(self, stream: str, step: int, count: int) -> Tensor:
        """Return real images of every class of the share, drawn at random.

        Args:
            stream: the name of the stream of random numbers.
            step: the number of the step, which names the draws.
            count: images of each class; at most as many as the smallest class has.

        Returns:
            `[C, count, channels, H, W]`, in normalised units.

        """
        bundle, device = self.task.bundle, self.task.compute.device
        generator = self.task.streams.generator(stream, step)
        index = draw_real(self.members, min(count, self.smallest), generator)[self.share]  # [C, count]
        return normalise(bundle.train.images[index].to(device, non_blocking=True), bundle)

    def among_all(self, losses: Tensor) -> Tensor:
        """Return the losses of the share's classes among those of all classes, `[classes]`, with zero for the others."""
        among = losses.new_zeros(len(self.members))
        among[self.share] = losses.detach()
        return among
