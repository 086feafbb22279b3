"""The one evaluation: train fresh networks on a small set, and test each once, after its last epoch.

The test set is touched once a network, at the end.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import torch

from bench.cells.protocol import Training
from bench.cells.task import Task
from bench.errors import DistillationError
from bench.loops.images import normalise
from bench.loops.metrics import METRICS
from bench.loops.training import Ensemble, Trainer, epochs_of
from bench.machine import signals
from bench.machine.compute import Compute
from bench.machine.timing import Stopwatch, peak_memory_mib, reset_peak_memory
from bench.networks.network import Network
from bench.networks.weights import Weights
from bench.records.sections import Evaluation, NetworkFacts, Unfinished
from bench.types import Bundle, Progress, SyntheticSet

REPORT_SECONDS = 0.5
"""How much time there is between two reports of progress, at least."""

_NOTHING = Unfinished()

OnNetworkDone = Callable[[Unfinished], None]
"""Called after each network, or each round of networks, with what has been measured so far and its seconds."""


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

    def test(self, weights: Weights) -> dict[str, float]:
        """Return the percentage of test images that the network gets right, `accuracy`, and the other `METRICS`."""
        with torch.no_grad():
            features = self.compute.features(self.kernel, self.network, self.images, weights, training=False)
            scores = self.network.scores(features, weights.all)  # [N, classes]
            if not bool(scores.isfinite().all()):
                raise DistillationError("an evaluation network's scores are no finite numbers")
            accuracy = 100 * float((scores.argmax(1) == self.labels).double().mean())
            return {"accuracy": accuracy} | {name: metric(scores, self.labels) for name, metric in METRICS.items()}


class _Reporter:
    """Reports how far the evaluation by one architecture has come, now and then."""

    def __init__(self, task: Task, network: Network, settings: Training, images: int, *, together: bool) -> None:
        self.task, self.label, self.images, self.together = task, network.label, images, together
        self.nets, self.epochs, self.done = settings.nets, epochs_of(settings), 0
        self._reported = time.monotonic()

    def __call__(self, epoch: int, begin: int) -> None:
        """Report the batch that begins at image `begin` of `epoch`; end here if a signal was received."""
        signals.check()
        if time.monotonic() - self._reported < REPORT_SECONDS:
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
    on_network_done: OnNetworkDone = lambda measured: None,
) -> Evaluation:
    """Train and test networks of one architecture.

    Args:
        task: the cell.
        syn: what to train on.
        settings: how; `settings.nets` networks are trained.
        name: the architecture, a name in `bench.networks`.
        earlier: what an interrupted evaluation had measured; it goes on with the next network.
        on_network_done: called after each network.

    Returns:
        The metrics of each network, and what they took.

    Raises:
        DistillationError: if training diverged, or `settings.lr` is `own` and the set carries no learning rate.

    """
    network, device = task.network(name), task.compute.device
    reset_peak_memory(device)
    stopwatch = Stopwatch(device)
    with stopwatch.stage("evaluation"):
        measured, kernel = _train_and_test(task, network, syn, with_own_lr(settings, syn), earlier, on_network_done)
    return Evaluation(
        network=name,
        facts=NetworkFacts.of(network),
        accuracies=measured.accuracies,
        metrics=measured.metrics,
        seconds=earlier.seconds + stopwatch.read()[0]["evaluation"],
        peak_memory_mib=peak_memory_mib(device),
        kernel=kernel,
    )


def with_own_lr(settings: Training, syn: SyntheticSet) -> Training:
    """Return the settings with the learning rate that a set carries, if they ask for it."""
    if settings.lr != "own":
        return settings
    if syn.lr is None:
        raise DistillationError("eval.lr=own: the images carry no learning rate; valid: a number")
    return settings.changed(lr=syn.lr)


def _train_and_test(
    task: Task, network: Network, syn: SyntheticSet, settings: Training, earlier: Unfinished, on_network_done: OnNetworkDone
) -> tuple[Unfinished, str]:
    """Return what was measured of each network, and how the training loss was run; the arguments are those of `evaluate`."""
    begin = time.perf_counter()
    together = Ensemble.pays(task, network, syn, settings)
    trainer = (Ensemble if together else Trainer)(task, network, syn.labels, settings)
    tester = Tester(task.bundle, network, trainer.compute, nets=settings.nets)
    report = _Reporter(task, network, settings, len(syn.labels), together=together)
    images = network.resize(syn.images)
    measured = earlier.model_copy(update={"accuracies": (), "metrics": {}}) if together else earlier
    for numbers in task.rounds(range(len(measured.accuracies), settings.nets), together=together):
        report.done = len(measured.accuracies)
        if isinstance(trainer, Ensemble):
            networks = trainer.train_all(images, report, numbers) if numbers else []
        else:
            networks = [trainer.train(images, number, report) for number in numbers]
        tested = task.gather([tester.test(weights) for weights in networks])
        seconds = earlier.seconds + time.perf_counter() - begin
        measured = measured.with_networks([values for of_process in tested for values in of_process], seconds)
        on_network_done(measured)
    return measured, trainer.kernel.note
