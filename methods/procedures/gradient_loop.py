"""Matching the gradients that real and synthetic images give a network (Zhao, Mopuri and Bilen 2021, Algorithm 1): `dc`, `dsa`.

Each iteration draws a network θ and takes `outer` steps on the images S, with `inner` epochs of training θ on S between them:

    S <- S - lr_images · v,   v <- momentum · v + grad_S sum_c D(grad_θ L(A(T_c); θ), grad_θ L(A(S_c); θ))

L is the mean cross-entropy, T_c a real batch of class c, A its augmentation: none in DC; in DSA the same for both (Zhao and
Bilen 2021). D is `gradient_distance`.

If several processes share a cell, each computes the gradients of its own classes. All train the same θ on all images, with the
same draws.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from bench.cells.task import Task
from bench.loops.images import Batches, by_class, starting_images
from bench.loops.optimizers import SGD
from bench.loops.recorder import Recorder
from bench.loops.training import Trainer, inner_training, sgd
from bench.machine.compute import Compute
from bench.machine.kernels import Kernel
from bench.networks.network import Network
from bench.networks.weights import Weights
from bench.types import SyntheticSet
from methods.procedures.gradient import GradientMatching

_EPSILON = 1e-6  # as in the authors' code


def gradient_distance(real: Sequence[Tensor], syn: Sequence[Tensor]) -> Tensor:
    """Return the sum over weights and their rows of 1 - <g, h> / (|g| |h| + 1e-6), a scalar.

    `real` and `syn` are gradients of weights, `[rows, ...]`: a row is an output channel of a convolution or an output of the
    linear layer. (The authors' code leaves biases and norms out.) A row of zeros is at distance 1 from any other.
    Zhao, Mopuri and Bilen 2021, "Gradient matching loss".
    """
    distances = []
    for g, h in zip(real, syn, strict=True):
        g, h = g.flatten(1), h.flatten(1)  # [rows, columns]
        cosine = (g * h).sum(1) / (g.norm(dim=1) * h.norm(dim=1) + _EPSILON)  # [rows]
        distances.append((1 - cosine).sum())
    return torch.stack(distances).sum()


def matched_weights(weights: Weights) -> list[Tensor]:
    """Return the parameters whose gradients are matched: the weights of the convolutions and of the linear layers."""
    return [parameter for parameter in weights.parameters if parameter.dim() > 1]


def real_gradients(
    compute: Compute, kernel: Kernel, images: Tensor, label: int, weights: Weights, *, chunk: int
) -> list[Tensor]:
    """Return the gradients of the mean cross-entropy of a class's real images.

    One class at a time, in compiled chunks that fit into the cache: all classes at once, with `vmap`, took three times as long
    on the CPU. (Not measured on a GPU, for which the 256 images of one class should be enough work.)

    Args:
        compute: the device and precision.
        kernel: of the training loss.
        images: `[n, channels, H, W]`.
        label: their class.
        weights: the network's.
        chunk: the number of images in a forward pass.

    Returns:
        A gradient for each of the `matched_weights`.

    """
    parameters = matched_weights(weights)
    total = [torch.zeros_like(parameter) for parameter in parameters]
    labels = torch.full((len(images),), label, device=images.device)
    for inputs in compute.weighted(images, labels, chunk):
        torch._foreach_add_(total, torch.autograd.grad(kernel(*inputs, *weights.all), parameters))
    return total


def class_loss(network: Network, real: Sequence[Tensor], images: Tensor, label: int, weights: Weights) -> Tensor:
    """Return the distance of the gradients that a class's synthetic images give from the real ones.

    Args:
        network: the architecture.
        real: the real images' gradients, one for each of the `matched_weights`.
        images: the synthetic images, `[m, channels, H, W]`.
        label: their class.
        weights: the network's.

    Returns:
        A scalar, differentiable in `images` through the gradients.

    """
    labels = torch.full((len(images),), label, device=images.device)
    entropy = F.cross_entropy(network.logits(images, weights.all, training=True), labels)
    return gradient_distance(real, torch.autograd.grad(entropy, matched_weights(weights), create_graph=True))


class GradientLoop:
    """The loop of DC and DSA for one cell."""

    def __init__(self, task: Task) -> None:
        """Initialise the images, the optimizer and the kernel."""
        settings: GradientMatching = task.settings
        self.task = task
        self.network = task.network(settings.network)
        networks, self.outer, self.inner = settings.loops(task.ipc)
        self.start = starting_images(task, settings.start)
        classes = len(task.bundle.classes)
        self.images = by_class(self.start, classes)  # [C, m, channels, H, W]
        self.optimizer = SGD([self.images], lr=settings.lr_images, momentum=settings.momentum)
        self.batches = Batches(task, self.network, real_batch=settings.real_batch, augment=settings.augment)
        self.chunk = task.compute.chunk(self.network, max(self.batches.sizes))
        work = 3.0 * networks * self.outer * self.network.flops * sum(self.batches.sizes)
        self.kernel = task.compute.kernel("loss", self.network, work)
        inner = inner_training(
            iterations=networks,
            epochs=max(1, (self.outer - 1) * self.inner),
            lr=settings.lr_network,
            augment=settings.augment,
        )
        self.trainer = Trainer(task, self.network, self.start.labels, inner)
        self.recorder = Recorder(task, networks, self.images)
        self.recorder.add_state("optimizer", self.optimizer)

    def iteration(self, number: int) -> None:
        """Take all outer steps under one network; the iteration's loss is their mean of the sum over the classes."""
        weights = self.batches.network(number).trainable()
        optimizer = sgd(weights, self.trainer.settings)
        generators = [self.task.streams.generator("inner", number)]
        losses = []
        for turn in range(self.outer):
            # Steps are numbered over all networks: with one outer step, the draws are those of feature matching.
            losses.append(self.step(number * self.outer + turn, weights))
            with self.recorder.stopwatch.stage("update"):
                for _ in range(self.inner if turn < self.outer - 1 else 0):
                    images = self.network.resize(self.images.detach().flatten(0, 1))
                    self.trainer.epoch(images, weights, optimizer, generators)
        self.recorder.add(torch.stack(losses).sum(0) / self.outer)

    def step(self, step: int, weights: Weights) -> Tensor:
        """Take one step on the images; return the loss of each class, `[C]`."""
        stopwatch, network, labels = self.recorder.stopwatch, self.network, range(len(self.images))[self.batches.share]
        draws = self.batches.draws(step)
        with stopwatch.stage("features"):
            targets = {
                row: self._real_gradients(network.resize(images), labels[row], weights)
                for group in self.batches.real_by_size(step, draws)
                for row, images in zip(group.rows, group.real, strict=True)
            }
        losses, slopes = [], []
        with stopwatch.stage("loss"):
            syn = self.batches.augmentation.apply(self.images[self.batches.share], draws)
            # Class by class, so that only one class's graph is in memory.
            for row, (label, images) in enumerate(zip(labels, syn.detach(), strict=True)):
                leaf = images.requires_grad_()
                loss = class_loss(network, targets[row], network.resize(leaf), label, weights)
                slopes.append(torch.autograd.grad(loss, leaf)[0])
                losses.append(loss.detach())
        with stopwatch.stage("update"):
            gradient = torch.autograd.grad(syn, self.images, torch.stack(slopes))[0]  # zero for the classes of other ranks
            of_all, self.images.grad = self.task.sum(self.batches.among_all(torch.stack(losses)), gradient)
            self.optimizer.step()
        return of_all

    def _real_gradients(self, images: Tensor, label: int, weights: Weights) -> list[Tensor]:
        """Return the gradients of a class's real images, `[n, channels, H, W]`."""
        size = len(images) if self.network.uses_batch else self.chunk  # batch norm must not see images of no weight
        return real_gradients(self.task.compute, self.kernel, images, label, weights, chunk=size)


def match_gradients(task: Task) -> SyntheticSet:
    """Distill by matching gradients; raise `DistillationError` if the loss is no finite number."""
    loop = GradientLoop(task)
    for number in loop.recorder.steps():
        loop.iteration(number)
    notes = {"real gradients": loop.kernel.note, "synthetic gradients": "eager: differentiated twice"}
    inner = {"inner epochs": loop.trainer.kernel.note} if loop.outer > 1 else {}
    return loop.recorder.finish(loop.start.labels, notes | inner)
