"""The one evaluation: train fresh networks on a small set, and test each once, after its last epoch.

The test set is touched once a network, at the end.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

import torch

from bench import interrupts
from bench.compute import Compute
from bench.errors import DistillationError
from bench.matching import normalise
from bench.networks.network import Network
from bench.networks.weights import Weights
from bench.protocol import Training
from bench.ranks import Ranks
from bench.records import Evaluation, NetworkFacts, Unfinished
from bench.task import Task
from bench.timing import Stopwatch, peak_memory_mib, reset_peak_memory
from bench.training import Ensemble, Trainer, epochs_of
from bench.types import Bundle, Progress, SyntheticSet

_REPORT_SECONDS = 0.5
_NOTHING = Unfinished()

Keep = Callable[[tuple[float, ...], float], None]
"""Called after each network with the accuracies so far and their seconds."""


class Tester:
    """The test set, normalised once, kept in one tensor on the device."""

    def __init__(self, bundle: Bundle, network: Network, compute: Compute, *, nets: int) -> None:
        """Take the test split.

        Args:
            bundle: the dataset.
            network: the architecture to test.
            compute: device and precision.
            nets: how many networks will be tested, which decides whether compiling pays.

        """
        test = bundle.test
        self.network, self.compute = network, compute
        self.images = compute.cast(network.resize(normalise(test.images.to(compute.device), bundle)))
        self.labels = test.labels.to(compute.device)
        self.kernel = compute.kernel("features", network, network.flops * float(len(test)) * nets, training=False)

    def accuracy(self, weights: Weights) -> float:
        """Return the percentage of test images that the network gets right."""
        with torch.no_grad():
            features = self.compute.features(self.kernel, self.network, self.images, weights, training=False)
            scores = self.network.scores(features, weights.all)  # [N, classes]
            if not bool(scores.isfinite().all()):
                raise DistillationError("an evaluation network's scores are no finite numbers")
            return 100 * float((scores.argmax(1) == self.labels).double().mean())


class _Reporter:
    """Reports how far the evaluation by one architecture has come, now and then."""

    def __init__(self, task: Task, network: Network, settings: Training, images: int, *, together: bool) -> None:
        self.task, self.label, self.images, self.together = task, network.label, images, together
        self.nets, self.epochs, self.done = settings.nets, epochs_of(settings), 0
        self._reported = time.monotonic()

    def __call__(self, epoch: int, begin: int) -> None:
        """Report the batch that begins at image `begin` of `epoch`; end here where a signal has come."""
        interrupts.check()
        if time.monotonic() - self._reported < _REPORT_SECONDS:
            return
        self._reported = time.monotonic()
        done = (self.done * self.epochs + epoch) * self.images + begin
        total = (1 if self.together else self.nets) * self.epochs * self.images
        note = "all networks" if self.together else f"network {self.done + 1} of {self.nets}"
        self.task.report(Progress("evaluate", done, total, f"{self.label}, {note}"))


def evaluate(
    task: Task,
    syn: SyntheticSet,
    settings: Training,
    name: str,
    *,
    earlier: Unfinished = _NOTHING,
    keep: Keep = lambda accuracies, seconds: None,
) -> Evaluation:
    """Train and test networks of one architecture.

    Args:
        task: the cell.
        syn: what to train on.
        settings: how; `settings.nets` networks are trained.
        name: the architecture, a name in `bench.networks`.
        earlier: what an interrupted evaluation had; it goes on with the next network.
        keep: called after each network.

    Returns:
        The test accuracy of each network, and what they took.

    Raises:
        DistillationError: where training diverged.

    """
    network, device = task.network(name), task.compute.device
    reset_peak_memory(device)
    stopwatch = Stopwatch(device)
    with stopwatch.stage("evaluation"):
        accuracies, kernel = _train_and_test(task, network, syn, settings, earlier, keep)
    return Evaluation(
        network=name,
        facts=NetworkFacts.of(network),
        accuracies=tuple(accuracies),
        seconds=earlier.seconds + stopwatch.read()[0]["evaluation"],
        peak_memory_mib=peak_memory_mib(device),
        kernel=kernel,
    )


def _train_and_test(
    task: Task, network: Network, syn: SyntheticSet, settings: Training, earlier: Unfinished, keep: Keep
) -> tuple[list[float], str]:
    """Return the accuracy of each network, and how the training loss was run; the arguments are those of `evaluate`."""
    begin = time.perf_counter()
    together = Ensemble.pays(task, network, syn, settings)
    trainer = (Ensemble if together else Trainer)(task, network, syn.labels, settings)
    tester = Tester(task.bundle, network, trainer.compute, nets=settings.nets)
    report = _Reporter(task, network, settings, len(syn.labels), together=together)
    images = network.resize(syn.images)
    accuracies = [] if isinstance(trainer, Ensemble) else list(earlier.accuracies)
    for numbers in rounds(range(len(accuracies), settings.nets), task.ranks, together=together):
        report.done = len(accuracies)
        if isinstance(trainer, Ensemble):
            networks = trainer.train_all(images, report, numbers) if numbers else []
        else:
            networks = [trainer.train(images, number, report) for number in numbers]
        tested = task.ranks.collect([tester.accuracy(weights) for weights in networks])
        accuracies += [accuracy for of_rank in tested for accuracy in of_rank]
        keep(tuple(accuracies), earlier.seconds + time.perf_counter() - begin)
    return accuracies, trainer.kernel.note


def rounds(numbers: range, ranks: Ranks, *, together: bool) -> Iterator[range]:
    """Yield which networks this rank trains in each round, after which the ranks meet.

    Args:
        numbers: those that are left.
        ranks: the processes that share them.
        together: whether a rank trains all of its networks at once.

    """
    if together:
        yield numbers[ranks.share(len(numbers))]
        return
    for begin in range(0, len(numbers), ranks.count):
        yield numbers[begin + ranks.rank : begin + ranks.rank + 1]
