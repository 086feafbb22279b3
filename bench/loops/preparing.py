"""Makers of prepared artefacts: networks trained on the full training set."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import torch
from torch import Tensor

from bench.cells.artefact import ArtefactSpec, Piece
from bench.cells.task import Task
from bench.loops.images import whole_set
from bench.loops.optimizers import SGD
from bench.loops.training import Trainer, epochs_of, sgd
from bench.networks.weights import Weights
from bench.types import Progress

_CURRENT = "current"
"""Prefix of what only the network in training needs: its weights, momentum, random numbers and the number of its epochs."""


def trained_networks(task: Task, spec: ArtefactSpec, done: Mapping[str, Tensor]) -> Iterator[Piece]:
    """Train `spec.count` networks on the full training set, each from its own stream of random numbers.

    After each epoch the state of the network in training is yielded, and its weights at the end: an interrupted process goes on
    with the next epoch, to the same bits.

    Args:
        task: the dataset, streams and device.
        spec: what to make.
        done: what an interrupted process had yielded.

    Yields:
        `Weights.packed(number)` of each network, from 0; see `Weights.unpacked`.

    """
    train, network = whole_set(task), task.network(spec.network)
    trainer = Trainer(task, network, train.labels, spec.training, stage=spec.stage)
    images, epochs = network.resize(train.images), epochs_of(spec.training)
    first = sum(1 for name in done if name.endswith(" parameter 0") and not name.startswith(_CURRENT))
    for number in range(first, spec.count):

        def report(epoch: int, begin: int, number: int = number) -> None:
            total = spec.count * epochs * len(train.labels)
            seen = (number * epochs + epoch) * len(train.labels) + begin
            task.report(Progress("prepare", seen, total, f"network {number + 1} of {spec.count}"))

        generator = task.streams.generator(spec.stage, number)
        weights = network.init(generator).to(task.compute.device).trainable()
        optimizer = sgd(weights, spec.training)
        begin = _restored(done, weights, optimizer, generator) if number == first else 0
        for epoch in range(begin, epochs):
            optimizer = trainer.scheduled_epoch(epoch, images, weights, optimizer, [generator], report)
            if epoch + 1 < epochs:
                yield _state(epoch + 1, weights, optimizer, generator)
        yield weights.packed(number) | dict.fromkeys(_state(epochs, weights, optimizer, generator))


def _state(epochs: int, weights: Weights, optimizer: SGD, generator: torch.Generator) -> dict[str, Tensor]:
    """Return all that the next epoch of a network depends on; `epochs` have been trained."""
    momentum = {f"{_CURRENT} momentum {name}": tensor for name, tensor in optimizer.state_dict().items()}
    tensors = weights.packed(_CURRENT) | momentum
    return tensors | {f"{_CURRENT} generator": generator.get_state(), f"{_CURRENT} epochs": torch.tensor(epochs)}


def _restored(done: Mapping[str, Tensor], weights: Weights, optimizer: SGD, generator: torch.Generator) -> int:
    """Bring a network back to what `_state` returned, if it is in `done`; return how many epochs it has been trained."""
    if f"{_CURRENT} epochs" not in done:
        return 0
    with torch.no_grad():
        for name, tensor in weights.packed(_CURRENT).items():
            tensor.copy_(done[name])
    prefix = f"{_CURRENT} momentum "
    optimizer.load_state_dict({name.removeprefix(prefix): done[name] for name in done if name.startswith(prefix)})
    generator.set_state(done[f"{_CURRENT} generator"].cpu())
    return int(done[f"{_CURRENT} epochs"])
