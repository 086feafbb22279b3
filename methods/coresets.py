"""Coresets: real images chosen by the features of a network that was trained on the full training set.

A *rule* `(features, count, *, generator) -> indices` chooses `count` different rows, `[count]`, of one class's features
`[n, d]`; `generator` is a CPU generator, for every draw of the rule. The network, its training, its augmentation and the
evaluation are the engine's; the rules alone differ, and all of them see the same network at a seed and IPC.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from bench.errors import DistillationError
from bench.options import Count, check_options
from bench.types import Progress, SyntheticSet, Trace

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from bench.compute import Kernel
    from bench.networks import Parameters
    from bench.types import Task

Rule = Callable[..., "Tensor"]
"""`(features [n, d], count, *, generator) -> indices [count]`, all different."""

_STAGE = "selection"
"""The random streams of the network (step 0) and of the rules (step: the class); no evaluation network draws from them."""


@dataclass(frozen=True, kw_only=True)
class FeatureNetwork:
    """How the network of the features is trained: as the protocol's `whole` says, but for `epochs` epochs.

    None means as many as `whole` has. The short profiles train less: the features need no last percent of accuracy.
    """

    epochs: Count | None = None

    def __post_init__(self) -> None:
        """Raise `UsageError` where a hyper-parameter is out of range."""
        check_options(self)


def herding(features: Tensor, count: int, *, generator: torch.Generator) -> Tensor:
    """Choose greedily so that the mean of the chosen stays near the mean mu of all (Welling 2009; Rebuffi et al. 2017, Alg. 4).

    The i-th choice, from 0, is argmin_x |(i+1) mu - sum of the chosen - x|, without repetition. It is deterministic; the first
    choices do not depend on `count`. (The argmax found in a known implementation chooses the farthest.)
    """
    import torch

    mean, chosen = features.mean(0), torch.zeros_like(features[0])  # [d], [d]
    free = torch.ones(len(features), dtype=torch.bool, device=features.device)
    found = []
    for step in range(count):
        distance = _distances(((step + 1) * mean - chosen)[None], features)[0]  # [n]
        index = distance.where(free, torch.inf).argmin()
        chosen = chosen + features[index]
        free[index] = False
        found.append(index)
    return torch.stack(found)


def kcenter(features: Tensor, count: int, *, generator: torch.Generator) -> Tensor:
    """Choose the row nearest to the mean, then each time the one farthest from its nearest chosen one (Gonzalez 1985).

    So the largest distance of a row to its nearest choice is at most twice the least possible with `count` choices (as a
    coreset: Sener and Savarese 2018). It is deterministic; the first choices do not depend on `count`.
    """
    import torch

    index = _distances(features.mean(0, keepdim=True), features)[0].argmin()
    nearest = torch.full_like(features[:, 0], torch.inf)  # [n], distance to the nearest chosen row
    found = [index]
    for _ in range(count - 1):
        nearest = nearest.minimum(_distances(features[index][None], features)[0])
        nearest[index] = -1  # below the 0 of a duplicate, so that no row is chosen twice
        index = nearest.argmax()
        found.append(index)
    return torch.stack(found)


def kmeans(features: Tensor, count: int, *, generator: torch.Generator) -> Tensor:
    """Choose the row nearest to each centroid of k-means, k = `count` (scikit-learn: Lloyd's algorithm, one k-means++ start).

    Where a centroid's nearest row has been chosen for an earlier one, the next nearest is taken.
    """
    import torch
    from sklearn.cluster import KMeans
    from threadpoolctl import threadpool_limits

    seed = int(torch.randint(2**31, (), generator=generator))
    # More threads add up in the order in which they end, and the same seed would not mean the same bits.
    with threadpool_limits(limits=1, user_api="openmp"):
        found = KMeans(n_clusters=count, n_init=1, random_state=seed).fit(features.cpu().numpy())
    return nearest_rows(torch.from_numpy(found.cluster_centers_).to(features), features)


def nearest_rows(centroids: Tensor, features: Tensor) -> Tensor:
    """Return for each of `centroids` `[k, d]`, in turn, the nearest of the rows of `features` `[n, d]` not yet taken: `[k]`."""
    import torch

    distances, found = _distances(centroids, features), []  # [k, n]
    for row in distances:
        found.append(row.argmin())
        distances[:, found[-1]] = torch.inf
    return torch.stack(found)


def _distances(points: Tensor, features: Tensor) -> Tensor:
    """Return Euclidean distances `[k, n]` of `points` `[k, d]` to `features` `[n, d]`, from differences: equals are at 0."""
    import torch

    return torch.cdist(points, features, compute_mode="donot_use_mm_for_euclid_dist")


def select(task: Task, rule: Rule) -> SyntheticSet:
    """Return the `ipc` images of each class that `rule` chooses; raise `DistillationError` where features are not finite.

    Each cell trains its own network, so that its seconds are what it costs alone: stage `features` is that training and all
    forward passes, stage `loss` the rule. Features are held one class at a time.
    """
    import torch

    from bench.matching import class_members
    from bench.timing import Stopwatch
    from methods.selection import whole_set

    assert task.spec.ipc is not None
    network, stopwatch = task.network, Stopwatch(task.compute.device)
    compute = task.compute.at(task.spec.protocol.whole.precision)
    train, members = whole_set(task), class_members(task.bundle)
    largest = max(len(index) for index in members)
    kernel = compute.features_kernel(network, network.flops * float(largest) * len(members))
    with stopwatch.stage("features"):
        parameters, training = _train(task, train)
    chosen = []
    for label, index in enumerate(members):
        with stopwatch.stage("features"):
            images = train.images[_filled(index, largest).to(compute.device)]
            features = compute.features(kernel, network, images, parameters)[: len(index)]  # [N_c, d]
        if not bool(features.isfinite().all()):
            raise DistillationError("the features of the network trained for the selection are no finite numbers")
        with stopwatch.stage("loss"):
            choice = rule(features, task.spec.ipc, generator=task.streams.generator(_STAGE, 1 + label)).cpu()
        chosen.append(index[choice])  # [ipc]
    picked = torch.cat(chosen).to(compute.device)  # [C·ipc]
    kernels = {"selection training": training.note, "selection features": kernel.note}
    return SyntheticSet(train.images[picked], train.labels[picked], Trace(seconds=stopwatch.read()[0], kernels=kernels))


def _train(task: Task, train: SyntheticSet) -> tuple[Parameters, Kernel]:
    """Return the parameters of the network of the features, trained on the full training set, and the kernel used."""
    from bench.evaluate import Trainer, epochs_of

    whole = task.spec.protocol.whole
    settings = replace(whole, nets=1, epochs=FeatureNetwork(**task.spec.hyper).epochs or whole.epochs)
    count = len(train.labels)

    def report(epoch: int, begin: int) -> None:
        done = epoch * count + begin
        task.report(Progress("distill", done, epochs_of(settings) * count, "training the network of the features"))

    trainer = Trainer(task, train, settings, stage=_STAGE)
    return trainer.train(0, report), trainer.kernel


def _filled(index: Tensor, size: int) -> Tensor:
    """Return `index` `[n]` filled up to `[size]`: classes of one size are chunks of one size, and one compiled graph."""
    filled = index.new_zeros(size)
    filled[: len(index)] = index
    return filled
