"""Coresets: real images chosen by the features of a network that was trained on the full training set.

A *rule* chooses rows of one class's features. The network, its training, its augmentation and the evaluation are the engine's:
only the rules differ, and all rules use the same network at a seed and IPC.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, Protocol

from pydantic import Field

from bench.cells.artefact import Preparation
from bench.cells.method import Method
from bench.cells.protocol import NetworkName
from bench.cells.settings import Count, Settings
from bench.cells.spec import RunSpec
from bench.errors import DistillationError
from bench.lazy import torch
from bench.loops.images import class_members, whole_set
from bench.machine.timing import Stopwatch
from bench.networks.weights import Weights
from bench.types import SyntheticSet, Trace

if TYPE_CHECKING:
    from torch import Generator, Tensor

    from bench.cells.task import Task

STAGE = "selection"
"""The random streams of the network (step 0) and of the rules (step: the class); no evaluation network draws from them."""


class Rule(Protocol):
    """Chooses a coreset from the features of one class."""

    def __call__(self, features: Tensor, count: int, *, generator: Generator) -> Tensor:
        """Return the indices of the chosen rows.

        Args:
            features: of all images of a class, `[n, d]`.
            count: the number of rows to choose.
            generator: a CPU generator, for every draw of the rule.

        Returns:
            `[count]`, all different.

        """
        ...


class FeatureNetwork(Settings):
    """How the network of the features is trained: as the protocol's section `whole` says, but for its own number of epochs.

    The short profiles train less: the features need no last percent of accuracy.
    """

    epochs: Count | None = Field(
        default=None, description="Number of epochs of training the network of the features; none for whole.epochs."
    )
    network: NetworkName = Field(default="convnet", description="Network of the features.")


def coreset(*, rule: Rule, **facts: Any) -> Method:
    """Return a method that selects real images by a rule.

    The network of the features is prepared once for all selections of a dataset, IPC and seed. The stage `features` of a cell's
    seconds is the forward passes, `loss` the rule. Features are held one class at a time.

    Args:
        rule: chooses the images of each class.
        facts: the other fields of `Method`.

    """
    preparation = Preparation("networks", "bench.loops.preparing:trained_networks", _network_settings)
    return _Coreset(
        procedure=partial(select, rule), settings=FeatureNetwork, sections=("whole", "eval"), preparation=preparation, **facts
    )


class _Coreset(Method):
    """A method whose passes are those of all training images, once."""

    def passes(self, spec: RunSpec, *, classes: int, images: int) -> tuple[float, str]:
        """Return the passes of the training images through the trained network."""
        settings: Any = spec.settings
        return float(images), settings.network


def _network_settings(spec: RunSpec) -> dict[str, Any]:
    """Return how the network of a cell's features is trained."""
    settings: Any = spec.settings
    whole = spec.protocol.whole
    assert whole is not None
    training = whole.changed(nets=1, epochs=settings.epochs or whole.epochs, networks=(settings.network,))
    return {"network": settings.network, "training": training, "stage": STAGE}


def select(rule: Rule, task: Task) -> SyntheticSet:
    """Return the `ipc` images of each class that the rule chooses.

    Raises:
        DistillationError: if the features are no finite numbers.

    """
    network, stopwatch = task.network(task.settings.network), Stopwatch(task.compute.device)
    compute = task.compute.at(task.whole.precision)
    train, members = whole_set(task), class_members(task.bundle)
    largest = max(len(index) for index in members)
    kernel = compute.kernel("features", network, network.flops * float(largest) * len(members), training=False)
    weights = Weights.unpacked(task.prepared["networks"]).to(compute.device)
    chosen = []
    for label, index in enumerate(members):
        with stopwatch.stage("features"):
            images = network.resize(train.images[_filled_up(index, largest).to(compute.device)])
            features = compute.features(kernel, network, images, weights, training=False)[: len(index)]  # [N_c, d]
        if not bool(features.isfinite().all()):
            raise DistillationError("the features of the network trained for the selection are no finite numbers")
        with stopwatch.stage("loss"):
            choice = rule(features, task.ipc, generator=task.streams.generator(STAGE, 1 + label)).cpu()
        chosen.append(index[choice])  # [ipc]
    picked = torch.cat(chosen).to(compute.device)  # [C·ipc]
    kernels = {"selection features": kernel.note}
    return SyntheticSet(train.images[picked], train.labels[picked], Trace(seconds=stopwatch.read()[0], kernels=kernels))


def distances(points: Tensor, features: Tensor) -> Tensor:
    """Return Euclidean distances `[k, n]` of `points` `[k, d]` to `features` `[n, d]`, from differences: equals are at 0."""
    return torch.cdist(points, features, compute_mode="donot_use_mm_for_euclid_dist")


def _filled_up(index: Tensor, size: int) -> Tensor:
    """Return `index` `[n]` filled up to `[size]`: classes of one size are chunks of one size, and one compiled graph."""
    filled = index.new_zeros(size)
    filled[: len(index)] = index
    return filled
