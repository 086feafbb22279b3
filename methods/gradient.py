"""DC and DSA: matching the gradients that real and synthetic images give a network (Zhao, Mopuri and Bilen 2021, Algorithm 1).

Each iteration draws a network θ and takes `outer` steps on the images S, with `inner` epochs of training θ on S between them:

    S <- S - lr_images · v,   v <- momentum · v + grad_S sum_c D(grad_θ L(A(T_c); θ), grad_θ L(A(S_c); θ))

L is the mean cross-entropy, T_c a real batch of class c, A its augmentation: none in DC, one drawn for both in DSA (Zhao and
Bilen 2021). D is `gradient_distance`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Annotated, Literal

from bench.options import Count, Positive, Range, check_options
from bench.protocol import DSA, Fraction, operations_of

if TYPE_CHECKING:
    from torch import Tensor

    from bench.compute import Compute, Kernel
    from bench.networks import ConvNet, Parameters
    from bench.types import SyntheticSet, Task

_EPSILON = 1e-6  # the field's
_EPOCHS = 500  # outer · inner, as published from IPC 10 on
_MOST_OUTER = 50  # that of the largest IPC published


@dataclass(frozen=True, kw_only=True)
class GradientMatching:
    """The hyper-parameters of DC, as published.

    `iterations` networks; `outer` steps on the images under each and `inner` epochs of training between them, None being the
    published numbers (`loops`); `real_batch` images a class; `lr_images` and `momentum` of SGD on the images, `lr_network` of
    plain SGD on the network; `start` and `augment` as in the protocol's section `match`.
    """

    iterations: Annotated[int, Range(low=0)] = 1000
    outer: Count | None = None
    inner: Count | None = None
    real_batch: Count = 256
    lr_images: Positive = 0.1
    momentum: Fraction = 0.5
    lr_network: Positive = 0.01
    start: Literal["real", "noise"] = "noise"
    augment: str = "none"

    def __post_init__(self) -> None:
        """Raise `UsageError` where a hyper-parameter is out of range."""
        check_options(self)
        operations_of(self.augment)

    def loops(self, ipc: int) -> tuple[int, int]:
        """Return the numbers of outer steps and inner epochs: those set, else (1, 1), (10, 50), (50, 10) at IPC 1, 10, 50.

        At other IPCs there are as many outer steps as images a class, at most 50, and the product stays 500.
        """
        outer = min(ipc, _MOST_OUTER)
        inner = 1 if outer == 1 else _EPOCHS // outer
        return self.outer or outer, self.inner or inner


@dataclass(frozen=True, kw_only=True)
class SiameseGradientMatching(GradientMatching):
    """The hyper-parameters of DSA, as published: DC's, but for real images as the start, and augmentation.

    The augmentation serves the inner epochs too, where its parameters are drawn for each image, as in evaluation.
    """

    start: Literal["real", "noise"] = "real"
    augment: str = DSA


def gradient_distance(real: Sequence[Tensor], syn: Sequence[Tensor]) -> Tensor:
    """Return the sum over weights and their rows of 1 - <g, h> / (|g| |h| + 1e-6), a scalar.

    `real` and `syn` are gradients of weights, `[rows, ...]`: a row is an output channel of a convolution or an output of the
    linear layer. (Biases and norms count nothing in the authors' code.) A row of zeros is at distance 1 of any other.
    Zhao, Mopuri and Bilen 2021, "Gradient matching loss".
    """
    import torch

    parts = []
    for g, h in zip(real, syn, strict=True):
        g, h = g.flatten(1), h.flatten(1)  # [rows, columns]
        cosine = (g * h).sum(1) / (g.norm(dim=1) * h.norm(dim=1) + _EPSILON)  # [rows]
        parts.append((1 - cosine).sum())
    return torch.stack(parts).sum()


def weights_of(parameters: Parameters) -> list[Tensor]:
    """Return the parameters whose gradients are matched: the weights of the convolutions and of the linear layer."""
    return [p for p in parameters if p.dim() > 1]


def real_gradients(
    compute: Compute, kernel: Kernel, images: Tensor, label: int, parameters: Parameters, *, chunk: int
) -> list[Tensor]:
    """Return the gradients of the mean cross-entropy of a class's real `images` `[n, channels, H, W]`, one for each weight.

    Classes are taken one by one, in compiled chunks that stay in cache: all at once, by `vmap`, the same arithmetic took three
    times as long on the CPU. (On a GPU, unmeasured, the 256 images of one class should be work enough.)
    """
    import torch

    weights = weights_of(parameters)
    total = [torch.zeros_like(weight) for weight in weights]
    labels = torch.full((len(images),), label, device=images.device)
    for part in compute.weighted(images, labels, chunk):
        torch._foreach_add_(total, torch.autograd.grad(kernel(*part, *parameters), weights))
    return total


def class_loss(network: ConvNet, real: Sequence[Tensor], images: Tensor, label: int, parameters: Parameters) -> Tensor:
    """Return the distance of the gradients that a class's synthetic `images` `[m, channels, H, W]` give from the `real` ones.

    A scalar, differentiable in `images` through the gradients.
    """
    import torch
    import torch.nn.functional as F

    labels = torch.full((len(images),), label, device=images.device)
    entropy = F.cross_entropy(network.logits(images, parameters), labels)
    return gradient_distance(real, torch.autograd.grad(entropy, weights_of(parameters), create_graph=True))


def match_gradients(task: Task, settings: GradientMatching) -> SyntheticSet:
    """Distill by matching gradients; raise `DistillationError` where the loss is no finite number.

    The loss of an iteration is the mean over its outer steps of the sum over the classes.
    """
    import torch

    from bench.evaluate import Trainer, sgd
    from bench.matching import Batches, Recorder, starting_images
    from bench.protocol import Training
    from bench.types import SyntheticSet

    outer, inner = settings.loops(task.spec.ipc or 1)
    start = starting_images(task, settings.start)
    images = start.images.unflatten(0, (len(task.bundle.classes), -1)).clone().requires_grad_()  # [C, m, channels, H, W]
    optimizer = torch.optim.SGD([images], lr=settings.lr_images, momentum=settings.momentum)
    training = Training(
        nets=max(1, settings.iterations),
        epochs=max(1, (outer - 1) * inner),
        lr=settings.lr_network,
        momentum=0.0,
        weight_decay=0.0,
        augment=settings.augment,
    )
    trainer = Trainer(task, SyntheticSet(images.detach().flatten(0, 1), start.labels), training)  # a view of the images
    batches = Batches(task, real_batch=settings.real_batch, augment=settings.augment)
    chunk = task.compute.chunk(task.network, batches.size)
    work = 3.0 * settings.iterations * outer * task.network.flops * len(images) * batches.size
    kernel = task.compute.loss_kernel(task.network, work)
    targets_of = partial(real_gradients, task.compute, kernel, chunk=chunk)
    recorder = Recorder(task, settings.iterations)
    stopwatch = recorder.stopwatch

    for iteration in range(settings.iterations):
        parameters = tuple(p.requires_grad_() for p in batches.network(iteration))
        network_optimizer = sgd(parameters, training)
        inner_draws = [task.streams.generator("inner", iteration)]
        losses = []
        for turn in range(outer):
            # It counts the steps on the images, so that with one outer step the draws are the engine's.
            step = iteration * outer + turn
            draws = batches.draws(step)
            with stopwatch.stage("features"):
                real = batches.real(step, draws)
                targets = [targets_of(part, c, parameters) for c, part in enumerate(real)]
            with stopwatch.stage("loss"):
                syn = batches.augmentation.apply(images, draws)
                slopes = []
                for c, part in enumerate(syn.detach()):  # class by class, so that one class's graph is held at a time
                    leaf = part.requires_grad_()
                    loss = class_loss(task.network, targets[c], leaf, c, parameters)
                    slopes.append(torch.autograd.grad(loss, leaf)[0])
                    losses.append(loss.detach())
            with stopwatch.stage("update"):
                images.grad = torch.autograd.grad(syn, images, torch.stack(slopes))[0]
                optimizer.step()
                for _ in range(inner if turn < outer - 1 else 0):
                    trainer.epoch(parameters, network_optimizer, inner_draws)
        recorder.add(torch.stack(losses).sum() / outer)

    kernels = {"real gradients": kernel.note, "synthetic gradients": "eager: differentiated twice"}
    return recorder.finish(images, start.labels, kernels | ({"inner epochs": trainer.kernel.note} if outer > 1 else {}))
