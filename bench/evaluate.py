"""The one evaluation loop: train fresh ConvNets on a small set, and test each once, after its last epoch.

Recipe (DC, DSA, DM): SGD with momentum 0.9 and weight decay 5e-4, batches of 256, one DSA operation a batch with parameters of
each image's own; `bench.protocol.Training` holds the numbers. The test set is touched once a network, at the end.
"""

from __future__ import annotations

import time
from collections.abc import Callable
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
        self.chunk = task.compute.chunk(task.network, self.batch)
        self.augmentation = Augmentation.parse(settings.augment, flip=task.bundle.flip)
        work = 3.0 * task.network.flops * len(syn.labels) * epochs_of(settings) * settings.nets
        self.kernel = task.compute.loss_kernel(task.network, work)

    def train(self, number: int, report: Callable[[int, int], None]) -> Parameters:
        """Return the parameters of network `number` after its last epoch."""
        draw = self.streams.generator(self.stage, number)
        parameters = tuple(p.requires_grad_() for p in self.compute.put(self.network.init(draw)))
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
        return parameters

    def epoch(
        self,
        parameters: Parameters,
        optimizer: torch.optim.Optimizer,
        draw: torch.Generator,
        before: Callable[[int], None] = lambda begin: None,
    ) -> None:
        """Pass over the set once, in random order, batch by batch; `before` each is told where the batch begins."""
        total = len(self.labels)
        order = torch.randperm(total, generator=draw)
        for begin in range(0, total, self.batch):
            before(begin)
            self.step(order[begin : begin + self.batch], parameters, optimizer, draw)

    def step(self, index: Tensor, parameters: Parameters, optimizer: torch.optim.Optimizer, draw: torch.Generator) -> None:
        """Take one step of SGD on the images that `index` names, summing gradients over chunks that stay in cache."""
        index = index.to(self.images.device, non_blocking=True)
        draws = self.augmentation.draw(draw, len(index), shared=True)
        images = self.augmentation.apply(self.images[index].unsqueeze(1), draws).squeeze(1)
        for part in self.compute.weighted(images, self.labels[index], self.chunk):
            self.kernel(*part, *parameters).backward()
        optimizer.step()
        optimizer.zero_grad()


class Tester:
    """The test set, normalised once, kept in one tensor on the device."""

    def __init__(self, bundle: Bundle, network: ConvNet, compute: Compute, *, nets: int) -> None:
        """Take the test split of `bundle`."""
        test: Split = bundle.test
        self.network, self.compute = network, compute
        self.images = normalise(test.images.to(compute.device), bundle)
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
    accuracies = []
    epochs = epochs_of(settings)
    with stopwatch.stage("evaluation"):
        trainer = Trainer(task, syn, settings)
        tester = Tester(task.bundle, task.network, trainer.compute, nets=settings.nets)
        reported = time.monotonic()
        for number in range(settings.nets):

            def report(epoch: int, begin: int, number: int = number) -> None:
                nonlocal reported
                if time.monotonic() - reported > _REPORT_SECONDS:
                    reported = time.monotonic()
                    done = (number * epochs + epoch) * len(syn.labels) + begin
                    note = f"network {number + 1} of {settings.nets}"
                    task.report(Progress("evaluate", done, settings.nets * epochs * len(syn.labels), note))

            accuracies.append(tester.accuracy(trainer.train(number, report)))
    seconds, _ = stopwatch.read()
    return Evaluation(tuple(accuracies), seconds["evaluation"], trainer.kernel.note)
