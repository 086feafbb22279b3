"""Coresets: real images chosen by the features of a network that was trained on the full training set.

A *rule* chooses rows of one class's features. The network, its training, its augmentation and the evaluation are the engine's;
the rules alone differ, and all of them see the same network at a seed and IPC.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from bench.errors import DistillationError
from bench.lazy import matching, timing, torch, training
from bench.method import Method
from bench.protocol import NetworkName
from bench.settings import Count, Settings
from bench.spec import RunSpec
from bench.types import Progress, SyntheticSet, Trace
from methods.whole import whole_set

if TYPE_CHECKING:
    from torch import Generator, Tensor

    from bench.kernels import Kernel
    from bench.networks.network import Network
    from bench.networks.weights import Weights
    from bench.task import Task

_STAGE = "selection"
"""The random streams of the network (step 0) and of the rules (step: the class); no evaluation network draws from them."""


class Rule(Protocol):
    """How a coreset is chosen from the features of one class."""

    def __call__(self, features: Tensor, count: int, *, generator: Generator) -> Tensor:
        """Return the indices of the chosen rows.

        Args:
            features: of all images of a class, `[n, d]`.
            count: how many to choose.
            generator: a CPU generator, for every draw of the rule.

        Returns:
            `[count]`, all different.

        """
        ...


class FeatureNetwork(Settings):
    """How the network of the features is trained: as the protocol's section `whole` says, but for `epochs` epochs.

    None means as many as `whole` has. The short profiles train less: the features need no last percent of accuracy. Its
    architecture is `network`.
    """

    epochs: Count | None = None
    network: NetworkName = "convnet"


@dataclass(frozen=True, kw_only=True)
class Coreset(Method):
    """A method that selects real images by a rule.

    Each cell trains its own network, so that its seconds are what it costs alone: stage `features` is that training and all
    forward passes, stage `loss` the rule. Features are held one class at a time.
    """

    rule: Rule
    settings: type[FeatureNetwork] = FeatureNetwork
    sections: tuple[str, ...] = ("whole", "eval")

    def passes(self, spec: RunSpec, *, classes: int, images: int) -> tuple[float, str]:
        """Return the passes of training the network, and of all images after it."""
        settings = self.settings.model_validate(dict(spec.settings))
        assert spec.protocol.whole is not None
        epochs = settings.epochs or spec.protocol.whole.epochs
        assert epochs is not None
        return float(images * (3 * epochs + 1)), settings.network

    def distill(self, task: Task, settings: FeatureNetwork) -> SyntheticSet:
        """Return the `ipc` images of each class that the rule chooses.

        Raises:
            DistillationError: where the features are no finite numbers.

        """
        network, stopwatch = task.network(settings.network), timing.Stopwatch(task.compute.device)
        compute = task.compute.at(task.whole.precision)
        train, members = whole_set(task, settings), matching.class_members(task.bundle)
        largest = max(len(index) for index in members)
        flops = network.flops * float(largest) * len(members)
        kernel = compute.kernel("features", network, flops, training=False)
        with stopwatch.stage("features"):
            weights, training_kernel = _trained(task, network, train, settings.epochs)
        chosen = []
        for label, index in enumerate(members):
            with stopwatch.stage("features"):
                images = network.resize(train.images[_filled_up(index, largest).to(compute.device)])
                features = compute.features(kernel, network, images, weights, training=False)[: len(index)]  # [N_c, d]
            if not bool(features.isfinite().all()):
                raise DistillationError("the features of the network trained for the selection are no finite numbers")
            with stopwatch.stage("loss"):
                choice = self.rule(features, task.ipc, generator=task.streams.generator(_STAGE, 1 + label)).cpu()
            chosen.append(index[choice])  # [ipc]
        picked = torch.cat(chosen).to(compute.device)  # [C·ipc]
        kernels = {"selection training": training_kernel.note, "selection features": kernel.note}
        return SyntheticSet(train.images[picked], train.labels[picked], Trace(seconds=stopwatch.read()[0], kernels=kernels))


def distances(points: Tensor, features: Tensor) -> Tensor:
    """Return Euclidean distances `[k, n]` of `points` `[k, d]` to `features` `[n, d]`, from differences: equals are at 0."""
    return torch.cdist(points, features, compute_mode="donot_use_mm_for_euclid_dist")


def _trained(task: Task, network: Network, train: SyntheticSet, epochs: int | None) -> tuple[Weights, Kernel]:
    """Return the weights of the network of the features, trained on the full training set, and the kernel used."""
    settings = task.whole.changed(nets=1, epochs=epochs or task.whole.epochs)
    count = len(train.labels)

    def report(epoch: int, begin: int) -> None:
        done, total = epoch * count + begin, training.epochs_of(settings) * count
        task.report(Progress("distill", done, total, "training the network of the features"))

    trainer = training.Trainer(task, network, train.labels, settings, stage=_STAGE)
    return trainer.train(network.resize(train.images), 0, report), trainer.kernel


def _filled_up(index: Tensor, size: int) -> Tensor:
    """Return `index` `[n]` filled up to `[size]`: classes of one size are chunks of one size, and one compiled graph."""
    filled = index.new_zeros(size)
    filled[: len(index)] = index
    return filled
