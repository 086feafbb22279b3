"""CAFE: aligning the features of all layers, under networks trained on the synthetic set (Wang et al. 2022).

Each iteration draws a network θ and alternates a step of SGD on the images S with epochs of training θ on S. The loss is

    sum over layers l of w_l |mean psi_l(T_c) - mean psi_l(S_c)|²  +  w_d · cross-entropy(psi(T) · (mean psi(S_c))ᵀ),

both summed over classes c (`alignment`, `discrimination`). The accuracy of θ on real images ("queries") decides how long each
loop runs: training θ ends if the range of the last `window` accuracies is above `inner_range`, and the iteration ends if the
range of the accuracies after the last `window` steps on S is below `outer_range`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from torch import Tensor

from bench.cells.task import Task
from bench.loops.images import Batches, all_images, by_class, in_order, regrouped, starting_images
from bench.loops.optimizers import SGD
from bench.loops.recorder import Recorder
from bench.loops.training import Generators, Trainer, inner_training, sgd
from bench.networks.weights import Weights
from bench.types import SyntheticSet
from methods.procedures.cafe import LayerAlignment


def alignment(real: Sequence[Tensor], syn: Sequence[Tensor], weights: Sequence[float]) -> Tensor:
    """Return the sum over layers of weight · |real - syn|², a scalar; class means `[C, ...]`, one tensor a layer.

    Wang et al. 2022, layer-wise feature alignment: summed over classes and units, not averaged.
    """
    return torch.stack([weight * (x - y).square().sum() for x, y, weight in zip(real, syn, weights, strict=True)]).sum()


def discrimination(real: Tensor, centres: Tensor, labels: Sequence[int] | None = None) -> Tensor:
    """Return the cross-entropy, summed, of classifying `real` `[G, n, d]` by inner products with `centres` `[C, d]`, a scalar.

    `centres` are the class means of synthetic features: a real image's score for class c is its inner product with centre c.
    `labels` are the G classes; None for all C. Wang et al. 2022, discrimination loss.
    """
    scores = real.flatten(0, 1) @ centres.T  # [G·n, C]
    classes = torch.tensor(range(len(centres)) if labels is None else labels, device=real.device)
    return F.cross_entropy(scores, classes.repeat_interleave(real.shape[1]), reduction="sum")


@dataclass
class AccuracyWindow:
    """The last `size` accuracies, as fractions."""

    size: int
    values: list[float] = field(default_factory=list)

    def add(self, accuracy: float) -> None:
        """Add an accuracy, and drop the oldest if there are now more than `size`."""
        self.values = [*self.values, accuracy][-self.size :]

    @property
    def range(self) -> float | None:
        """The highest minus the lowest of the last `size` accuracies; None if there are fewer."""
        return max(self.values) - min(self.values) if len(self.values) == self.size else None


class Aligner:
    """The loop of CAFE for one cell."""

    def __init__(self, task: Task) -> None:
        """Initialise the images, the optimizer and the kernels."""
        settings: LayerAlignment = task.settings
        self.task, self.settings, self.network = task, settings, task.network(settings.network)
        self.start = starting_images(task, settings.start)
        classes = len(task.bundle.classes)
        self.images = by_class(self.start, classes)  # [C, m, channels, H, W]
        self.optimizer = SGD([self.images], lr=settings.lr_images, momentum=settings.momentum)
        self.batches = Batches(task, self.network, real_batch=settings.real_batch, augment=settings.augment)
        self.weights = settings.layer_weights(self.network.depth)
        self.counters = {"steps": 0, "queries": 0}  # steps on the images, and accuracies measured

        fewest = settings.iterations * settings.window  # steps on the images
        flops = self.network.flops * float(classes) * fewest
        self.layers_kernel = task.compute.kernel("layer sums", self.network, flops * max(self.batches.sizes))
        self.eager_layers_kernel = task.compute.kernel("layer sums", self.network, 0.0)
        self.query_kernel = task.compute.kernel("features", self.network, flops * settings.window * settings.query_batch)
        inner = inner_training(
            iterations=settings.iterations, epochs=settings.window**2, lr=settings.lr_network, augment=settings.augment
        )
        self.trainer = Trainer(task, self.network, self.start.labels, inner)

    def real_layers(self, images: Tensor, weights: Weights) -> tuple[list[Tensor], Tensor]:
        """Return each layer's class means `[C, ...]` of `images` `[C, n, channels, H, W]`, and all features `[C, n, d]`."""
        count = images.shape[1]
        chunk = self.task.compute.chunk(self.network, count)
        # The classes that have fewer images than asked for are not compiled: each of their sizes would be a graph.
        kernel = self.layers_kernel if count == max(self.batches.sizes) else self.eager_layers_kernel
        sums: list[list[Tensor]] = []
        features = []
        with torch.no_grad():
            for class_images in images:
                nhwc = self.task.compute.cast(class_images).contiguous(memory_format=torch.channels_last)
                chunks = [kernel(piece, *weights.all) for piece in nhwc.split(chunk)]
                sums.append([torch.stack(maps).sum(0) for maps in list(zip(*chunks, strict=True))[:-1]])
                features.append(torch.cat([outputs[-1] for outputs in chunks]))
        means = [torch.stack(maps) / count for maps in zip(*sums, strict=True)]
        stacked = torch.stack(features)  # [C, n, d]
        return [*means, stacked.mean(1)], stacked

    def step(self, weights: Weights, recorder: Recorder) -> Tensor:
        """Take one step of SGD on the images; return the loss."""
        frozen = weights.detached()
        draws = self.batches.draws(self.counters["steps"])
        with recorder.stopwatch.stage("features"):
            groups = self.batches.real_by_size(self.counters["steps"], draws)
            real = [self.real_layers(group.real, frozen) for group in groups]  # the means and the features of each
            real_means = [in_order(groups, layer) for layer in zip(*(of_group for of_group, _ in real), strict=True)]
            syn = self.batches.augmentation.apply(self.images, draws).flatten(0, 1)
            layers = self.network.layers(syn, frozen.all, training=True)
            means = [layer.unflatten(0, self.images.shape[:2]).mean(1) for layer in layers]  # each [C, ...]
        with recorder.stopwatch.stage("loss"):
            loss = alignment(real_means, means, self.weights)
            each = [discrimination(x, means[-1], group.rows) for group, (_, x) in zip(groups, real, strict=True)]
            loss = loss + self.settings.discrimination_weight * torch.stack(each).sum()
        with recorder.stopwatch.stage("update"):
            self.images.grad = torch.autograd.grad(loss, self.images)[0]
            self.optimizer.step()
        self.counters["steps"] += 1
        return loss.detach()

    def accuracy(self, weights: Weights) -> float:
        """Return the fraction of correctly classified images in a new real batch, which has up to `query_batch` of a class."""
        groups = self.batches.by_size("query", self.counters["queries"], self.settings.query_batch)
        self.counters["queries"] += 1
        frozen = weights.detached()
        features = self.task.compute.features(self.query_kernel, self.network, all_images(groups), frozen)
        predicted = regrouped(self.network.scores(features, frozen.all).argmax(1), groups)  # each [G, n]
        right = [group.real == torch.tensor(group.rows, device=features.device)[:, None] for group in predicted]
        return float(torch.cat([each.flatten() for each in right]).float().mean())

    def train(self, weights: Weights, optimizer: SGD, generators: Generators) -> None:
        """Train the network on the images until its accuracy has changed, or for `inner_limit` epochs.

        Args:
            weights: the network's; they are changed in place.
            optimizer: of these weights.
            generators: the order of the images is drawn from them.

        """
        window = AccuracyWindow(self.settings.window)
        for _ in range(self.settings.inner_limit):
            self.trainer.epoch(self.images.detach().flatten(0, 1), weights, optimizer, generators)
            window.add(self.accuracy(weights))
            if window.range is not None and window.range > self.settings.inner_range:
                break

    def iteration(self, number: int, recorder: Recorder) -> None:
        """Match under one network until its accuracy no longer changes, or for `outer_limit` steps."""
        weights = self.batches.network(number).trainable()
        optimizer = sgd(weights, self.trainer.settings)
        generators = [self.task.streams.generator("inner", number)]
        self.optimizer.lr = self.settings.rate(number)
        window, losses = AccuracyWindow(self.settings.window), []
        for turn in range(self.settings.outer_limit):
            losses.append(self.step(weights, recorder))
            with recorder.stopwatch.stage("update"):
                window.add(self.accuracy(weights))
                if window.range is not None and window.range < self.settings.outer_range:
                    break
                if turn < self.settings.outer_limit - 1:
                    self.train(weights, optimizer, generators)
        recorder.add(torch.stack(losses).mean())


def align_features(task: Task) -> SyntheticSet:
    """Distill by aligning features of all layers; raise `DistillationError` if the loss is no finite number.

    The loss of an iteration is the mean over its steps on the images.
    """
    aligner = Aligner(task)
    recorder = Recorder(task, aligner.settings.iterations, aligner.images)
    recorder.add_state("optimizer", aligner.optimizer)
    recorder.add_state("counters", aligner.counters)
    for number in recorder.steps():
        aligner.iteration(number, recorder)
    notes = {
        "real layers": aligner.layers_kernel.note,
        "queries": aligner.query_kernel.note,
        "inner epochs": aligner.trainer.kernel.note,
    }
    return recorder.finish(aligner.start.labels, notes)
