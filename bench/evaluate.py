"""The one evaluation loop: train fresh ConvNets on a small set, and test each once, after its last epoch.

Recipe (DC, DSA, DM): SGD with momentum 0.9 and weight decay 5e-4, batches of 256, one DSA operation a batch with parameters of
each image's own; `bench.protocol.Training` holds the numbers. The test set is touched once a network, at the end.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from bench.augment import Augmentation
from bench.compute import Compute
from bench.errors import DistillationError
from bench.matching import normalise
from bench.networks import ConvNet, Parameters
from bench.protocol import Training
from bench.timing import Stopwatch
from bench.types import Bundle, Progress, Split, SyntheticSet, Task

_REPORT_SECONDS = 0.5

Draw = Sequence[torch.Generator]
"""What the draws of training are taken from: a generator for each network that is trained at once."""


@dataclass(frozen=True)
class Evaluation:
    """Test accuracy of each network, in percent, and how long training and testing took."""

    accuracies: tuple[float, ...]
    seconds: float
    kernel: str


def learning_rate(settings: Training, epoch: int, fraction: float) -> float:
    """Return the learning rate at `fraction` (0 to 1) of `epoch`; the schedules are those of `Training`."""
    if settings.schedule == "step":
        return settings.lr * (0.1 if epoch > settings.epochs // 2 + 1 else 1.0)
    done = (epoch + fraction) / settings.epochs
    return settings.lr * min(done / 0.2, (1 - done) / 0.8)


def epochs_of(settings: Training) -> int:
    """Return how many epochs are trained: one more than named under `step`, as in the reference code."""
    return settings.epochs + (settings.schedule == "step")


def sgd(parameters: Parameters, settings: Training) -> torch.optim.SGD:
    """Return a fresh optimiser of a network's parameters."""
    device = parameters[0].device.type
    return torch.optim.SGD(
        parameters,
        lr=settings.lr,
        momentum=settings.momentum,
        weight_decay=settings.weight_decay,
        nesterov=settings.schedule == "onecycle" and settings.momentum > 0,
        fused=device in ("cpu", "cuda"),
    )


class Trainer:
    """Trains one network after another on one set of images; every draw is from the streams of `stage`.

    The set is not copied: where its images change between epochs, as in a bi-level loop, each epoch takes them as they are.
    """

    def __init__(self, task: Task, syn: SyntheticSet, settings: Training, *, stage: str = "evaluate") -> None:
        """Take the set, and compile the loss where there is work enough."""
        self.settings, self.network, self.compute = settings, task.network, task.compute.at(settings.precision)
        self.streams, self.stage = task.streams, stage
        self.images, self.labels = syn.images, syn.labels
        self.batch = min(settings.batch, len(syn.labels))
        self.chunk = self.compute.chunk(task.network, self.batch)
        self.augmentation = Augmentation.parse(settings.augment, flip=task.bundle.flip)
        self.work = 3.0 * task.network.flops * len(syn.labels) * epochs_of(settings) * settings.nets
        self.kernel = self.compute.loss_kernel(task.network, self.work)

    def train(self, number: int, report: Callable[[int, int], None]) -> Parameters:
        """Return the parameters of network `number` after its last epoch."""
        draw = [self.streams.generator(self.stage, number)]
        parameters = tuple(p.requires_grad_() for p in self.compute.put(self.network.init(*draw)))
        self.follow_schedule(parameters, draw, report)
        return parameters

    def follow_schedule(self, parameters: Parameters, draw: Draw, report: Callable[[int, int], None]) -> None:
        """Train for all epochs, in place; `report` is told each epoch and where in it each batch begins."""
        optimizer = sgd(parameters, self.settings)
        epochs, total = epochs_of(self.settings), len(self.labels)
        for epoch in range(epochs):
            if self.settings.schedule == "step" and epoch == self.settings.epochs // 2 + 2:
                optimizer = sgd(parameters, self.settings)  # a fresh one: its momentum starts at zero

            def before(begin: int, epoch: int = epoch, optimizer: torch.optim.SGD = optimizer) -> None:
                for group in optimizer.param_groups:
                    group["lr"] = learning_rate(self.settings, epoch, begin / total)
                report(epoch, begin)

            self.epoch(parameters, optimizer, draw, before)

    def epoch(
        self,
        parameters: Parameters,
        optimizer: torch.optim.Optimizer,
        draw: Draw,
        before: Callable[[int], None] = lambda begin: None,
    ) -> None:
        """Pass over the set once, in random order, batch by batch; `before` each is told where the batch begins."""
        total = len(self.labels)
        order = torch.stack([torch.randperm(total, generator=one) for one in draw])  # [networks, total]
        for begin in range(0, total, self.batch):
            before(begin)
            self.step(order[:, begin : begin + self.batch], parameters, optimizer, draw)

    def batch_of(self, index: Tensor, draw: torch.Generator) -> tuple[Tensor, Tensor]:
        """Return the images that `index` `[n]` names, augmented, and their labels."""
        index = index.to(self.images.device, non_blocking=True)
        draws = self.augmentation.draw(draw, len(index), shared=True)
        return self.augmentation.apply(self.images[index].unsqueeze(1), draws).squeeze(1), self.labels[index]

    def step(self, index: Tensor, parameters: Parameters, optimizer: torch.optim.Optimizer, draw: Draw) -> None:
        """Take one step of SGD on the images that `index` `[1, n]` names, summing gradients over chunks that stay in cache."""
        for part in self.compute.weighted(*self.batch_of(index[0], draw[0]), self.chunk):
            self.kernel(*part, *parameters).backward()
        optimizer.step()
        optimizer.zero_grad()


class Ensemble(Trainer):
    """Trains all networks at once, for a device that the batch of one does not fill: the same draws, and the same networks."""

    def __init__(self, task: Task, syn: SyntheticSet, settings: Training) -> None:
        """Take the set, and a loss with a dimension of networks in front."""
        super().__init__(task, syn, settings)
        self.kernel = self.compute.losses_kernel(task.network, self.work)

    @staticmethod
    def pays(task: Task, syn: SyntheticSet, settings: Training) -> bool:
        """Return whether the batches of all networks together are no more than the device takes at once; never so on a CPU."""
        images = settings.nets * min(settings.batch, len(syn.labels))
        return task.compute.device.type != "cpu" and task.compute.at(settings.precision).chunk(task.network, images) == images

    def train_all(self, report: Callable[[int, int], None]) -> list[Parameters]:
        """Return the parameters of every network after its last epoch."""
        draw = [self.streams.generator(self.stage, number) for number in range(self.settings.nets)]
        each = [self.compute.put(self.network.init(one)) for one in draw]
        parameters = tuple(torch.stack(some).requires_grad_() for some in zip(*each, strict=True))  # each [networks, ...]
        self.follow_schedule(parameters, draw, report)
        return [tuple(p[number] for p in parameters) for number in range(self.settings.nets)]

    def step(self, index: Tensor, parameters: Parameters, optimizer: torch.optim.Optimizer, draw: Draw) -> None:
        """Take one step of SGD with each network, on the images that its row of `index` `[networks, n]` names."""
        images, labels = zip(*map(self.batch_of, index, draw), strict=True)
        weights = torch.full(index.shape, 1 / index.shape[1], device=self.images.device)
        # The sum's gradient is, for each network, that of its own loss.
        self.kernel(self.compute.cast(torch.stack(images)), torch.stack(labels), weights, *parameters).sum().backward()
        optimizer.step()
        optimizer.zero_grad()


class Tester:
    """The test set, normalised once, kept in one tensor on the device."""

    def __init__(self, bundle: Bundle, network: ConvNet, compute: Compute, *, nets: int) -> None:
        """Take the test split of `bundle`."""
        test: Split = bundle.test
        self.network, self.compute = network, compute
        self.images = compute.cast(normalise(test.images.to(compute.device), bundle))
        self.labels = test.labels.to(compute.device)
        self.kernel = compute.features_kernel(network, network.flops * float(len(test)) * nets)

    def accuracy(self, parameters: Parameters) -> float:
        """Return the percentage of test images that the network gets right."""
        with torch.no_grad():
            features = self.compute.features(self.kernel, self.network, self.images, parameters)
            scores = F.linear(features, parameters[-2], parameters[-1])  # [N, classes]
            if not bool(scores.isfinite().all()):
                raise DistillationError("an evaluation network's scores are no finite numbers")
            return 100 * float((scores.argmax(1) == self.labels).double().mean())


def evaluate(task: Task, syn: SyntheticSet, settings: Training) -> Evaluation:
    """Train `settings.nets` networks on `syn` and return the test accuracy of each; raise `DistillationError` on divergence."""
    stopwatch = Stopwatch(task.compute.device)
    accuracies: list[float] = []
    epochs = epochs_of(settings)
    with stopwatch.stage("evaluation"):
        together = Ensemble.pays(task, syn, settings)
        trainer = (Ensemble if together else Trainer)(task, syn, settings)
        tester = Tester(task.bundle, task.network, trainer.compute, nets=settings.nets)
        reported = time.monotonic()

        def report(epoch: int, begin: int) -> None:
            nonlocal reported
            if time.monotonic() - reported > _REPORT_SECONDS:
                reported = time.monotonic()
                done = (len(accuracies) * epochs + epoch) * len(syn.labels) + begin
                total = (1 if together else settings.nets) * epochs * len(syn.labels)
                note = "all networks" if together else f"network {len(accuracies) + 1} of {settings.nets}"
                task.report(Progress("evaluate", done, total, note))

        if isinstance(trainer, Ensemble):
            accuracies += [tester.accuracy(parameters) for parameters in trainer.train_all(report)]
        else:
            for number in range(settings.nets):
                accuracies.append(tester.accuracy(trainer.train(number, report)))
    seconds, _ = stopwatch.read()
    return Evaluation(tuple(accuracies), seconds["evaluation"], trainer.kernel.note)
