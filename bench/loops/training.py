"""Training networks on a set of images: the evaluation's recipe, which inner loops and coreset selection share.

Recipe (DC, DSA, DM): SGD with momentum 0.9 and weight decay 5e-4, batches of 256, one augmentation operation a batch with
parameters of each image's own; `bench.cells.protocol.Training` has the numbers.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from bench.cells.protocol import Training
from bench.cells.task import Task
from bench.loops.augment import Augmentation
from bench.loops.optimizers import SGD
from bench.machine.threads import side_by_side
from bench.networks.network import Network
from bench.networks.weights import Weights
from bench.types import SyntheticSet

Generators = Sequence[torch.Generator]
"""What the draws of training are taken from: a generator for each network that is trained at once."""

Report = Callable[[int, int], None]
"""Called before each batch with the number of the epoch and of the image in it with which the batch begins."""


def learning_rate(settings: Training, epoch: int, fraction: float) -> float:
    """Return the learning rate of the schedule.

    Args:
        settings: the schedule and its numbers.
        epoch: the number of the epoch, from 0.
        fraction: how much of the epoch has passed, 0 to 1.

    """
    lr = _number(settings)
    if settings.schedule == "step":
        return lr * (0.1 if epoch > _named_epochs(settings) // 2 + 1 else 1.0)
    done = (epoch + fraction) / _named_epochs(settings)
    return lr * min(done / 0.2, (1 - done) / 0.8)


def epochs_of(settings: Training) -> int:
    """Return how many epochs are trained: one more than named under `step`, as in the reference code."""
    return _named_epochs(settings) + (settings.schedule == "step")


def _number(settings: Training) -> float:
    assert settings.lr != "own", "the images have not decided yet"
    return settings.lr


def _named_epochs(settings: Training) -> int:
    assert settings.epochs is not None, "the IPC has not decided yet"
    return settings.epochs


def sgd(weights: Weights, settings: Training) -> SGD:
    """Return a fresh optimiser of a network's parameters."""
    return SGD(
        weights.parameters,
        lr=_number(settings),
        momentum=settings.momentum,
        weight_decay=settings.weight_decay,
        nesterov=settings.schedule == "onecycle" and settings.momentum > 0,
        fused=weights.parameters[0].device.type in ("cpu", "cuda"),
    )


def inner_training(*, iterations: int, epochs: int, lr: float, augment: str) -> Training:
    """Return how the inner loops of bi-level methods train a network: plain SGD, without momentum or weight decay.

    Args:
        iterations: how many networks are trained.
        epochs: epochs of each; both numbers only decide whether compiling pays.
        lr: the learning rate.
        augment: the augmentation strategy.

    """
    return Training(nets=max(1, iterations), epochs=epochs, lr=lr, momentum=0.0, weight_decay=0.0, augment=augment)


class Trainer:
    """Trains one network after another on images with fixed labels; every draw is from the streams of `stage`."""

    def __init__(
        self,
        task: Task,
        network: Network,
        labels: Tensor,
        settings: Training,
        *,
        stage: str = "evaluate",
        together: bool = False,
    ) -> None:
        """Prepare training, and compile the loss if there is work enough.

        Args:
            task: the cell, for its streams, device and data.
            network: the architecture to train.
            labels: the labels of the images, `[N]`, or probabilities `[N, classes]`.
            settings: how to train.
            stage: the name of the streams.
            together: whether all networks are trained at once, with a dimension of networks in front of all tensors.

        """
        self.settings, self.network, self.compute = settings, network, task.compute.at(settings.precision)
        self.streams, self.stage, self.labels = task.streams, stage, labels
        self.batch = min(settings.batch, len(labels))
        self.chunk = self.compute.chunk(network, self.batch)
        self.augmentation = Augmentation.parse(settings.augment, flip=task.bundle.flip)
        work = 3.0 * network.flops * len(labels) * epochs_of(settings) * settings.nets
        self.kernel = self.compute.kernel("losses" if together else "loss", network, work)

    def train(self, images: Tensor, number: int, report: Report) -> Weights:
        """Return the weights of a network after its last epoch.

        Args:
            images: what to train on, `[N, channels, H, W]`.
            number: which network, from 0; it names the stream.
            report: called before each batch.

        """
        generators = [self.streams.generator(self.stage, number)]
        weights = self.network.init(*generators).to(self.compute.device).trainable()
        self.follow_schedule(images, weights, generators, report)
        return weights

    def follow_schedule(self, images: Tensor, weights: Weights, generators: Generators, report: Report) -> None:
        """Train for all epochs, in place.

        Args:
            images: what to train on, `[N, channels, H, W]`.
            weights: the weights to train.
            generators: a generator for each network.
            report: called before each batch.

        """
        optimizer = sgd(weights, self.settings)
        for epoch in range(epochs_of(self.settings)):
            optimizer = self.scheduled_epoch(epoch, images, weights, optimizer, generators, report)

    def scheduled_epoch(
        self,
        epoch: int,
        images: Tensor,
        weights: Weights,
        optimizer: SGD,
        generators: Generators,
        report: Report,
    ) -> SGD:
        """Train for one epoch of the schedule, in place; return the optimizer, which may be a fresh one.

        Args:
            epoch: its number, from 0.
            images: what to train on, `[N, channels, H, W]`.
            weights: the weights to train.
            optimizer: of the epoch before.
            generators: a generator for each network.
            report: called before each batch.

        """
        if self.settings.schedule == "step" and epoch == _named_epochs(self.settings) // 2 + 2:
            optimizer = sgd(weights, self.settings)  # a fresh one: its momentum starts at zero

        def before(begin: int) -> None:
            optimizer.lr = learning_rate(self.settings, epoch, begin / len(self.labels))
            report(epoch, begin)

        self.epoch(images, weights, optimizer, generators, before)
        return optimizer

    def epoch(
        self,
        images: Tensor,
        weights: Weights,
        optimizer: SGD,
        generators: Generators,
        before: Callable[[int], None] = lambda begin: None,
    ) -> None:
        """Pass over the images once, in random order, batch by batch.

        Args:
            images: what to train on, `[N, channels, H, W]`.
            weights: the weights to train, in place.
            optimizer: their optimiser.
            generators: a generator for each network.
            before: called before each batch with the number of its first image.

        """
        total = len(self.labels)
        order = torch.stack([torch.randperm(total, generator=generator) for generator in generators])  # [networks, total]
        for begin in range(0, total, self.batch):
            before(begin)
            self.step(images, order[:, begin : begin + self.batch], weights, generators)
            optimizer.step()
            optimizer.zero_grad()

    def batch_of(self, images: Tensor, index: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Return the images that `index` `[n]` names, augmented, and their labels."""
        index = index.to(images.device, non_blocking=True)
        draws = self.augmentation.draw(generator, len(index), shared=True)
        return self.augmentation.apply(images[index].unsqueeze(1), draws).squeeze(1), self.labels[index]

    def step(self, images: Tensor, index: Tensor, weights: Weights, generators: Generators) -> None:
        """Add up the gradients of a batch over chunks that stay in cache.

        Args:
            images: the whole set, `[N, channels, H, W]`.
            index: the indices of the batch's images, `[1, n]`.
            weights: the network's; gradients are left in them.
            generators: the network's generator.

        """
        batch, labels = self.batch_of(images, index[0], generators[0])
        size = len(labels) if self.network.uses_batch else self.chunk  # batch norm must not see images of no weight

        def gradients(chunk: Sequence[Tensor]) -> Sequence[Tensor | None]:
            loss = self.kernel(*chunk, *weights.all)
            return torch.autograd.grad(loss, weights.parameters, allow_unused=True)  # a bias before a norm is not used

        chunks = side_by_side(gradients, self.compute.weighted(batch, labels, size))
        for parameter, first, *others in zip(weights.parameters, *chunks, strict=True):
            for other in others if first is not None else ():
                first += other
            parameter.grad = first


class Ensemble(Trainer):
    """Trains all networks at once, for a device that the batch of one does not fill: the same draws, and the same networks."""

    def __init__(self, task: Task, network: Network, labels: Tensor, settings: Training) -> None:
        """Prepare training with a dimension of networks in front of all tensors; see `Trainer`."""
        super().__init__(task, network, labels, settings, together=True)

    @staticmethod
    def pays(task: Task, network: Network, syn: SyntheticSet, settings: Training) -> bool:
        """Return whether the batches of all networks together are no more than the device takes at once; never so on a CPU.

        Args:
            task: the cell.
            network: the architecture to train.
            syn: what to train on.
            settings: how to train.

        """
        images = settings.nets * min(settings.batch, len(syn.labels))
        fits = task.compute.at(settings.precision).chunk(network, images, training=False) == images
        return task.compute.device.type != "cpu" and not network.uses_batch and fits

    def train_all(self, images: Tensor, report: Report, numbers: Sequence[int] | None = None) -> list[Weights]:
        """Return the weights of networks after their last epoch.

        Args:
            images: what to train on, `[N, channels, H, W]`.
            report: called before each batch.
            numbers: which networks, from 0; None for all.

        """
        numbers = range(self.settings.nets) if numbers is None else numbers
        generators = [self.streams.generator(self.stage, number) for number in numbers]
        weights = Weights.stack([self.network.init(generator) for generator in generators])  # each tensor [networks, ...]
        weights = weights.to(self.compute.device).trainable()
        self.follow_schedule(images, weights, generators, report)
        return [weights.select(index) for index in range(len(numbers))]

    def step(self, images: Tensor, index: Tensor, weights: Weights, generators: Generators) -> None:
        """Leave the gradients of a batch in the weights of each network; `index` `[networks, n]` names each one's images."""
        batches, labels = zip(
            *(self.batch_of(images, row, generator) for row, generator in zip(index, generators, strict=True)), strict=True
        )
        shares = torch.full(index.shape, 1 / index.shape[1], device=images.device)
        # The sum's gradient is, for each network, that of its own loss.
        self.kernel(self.compute.cast(torch.stack(batches)), torch.stack(labels), shares, *weights.all).sum().backward()
