"""A tiny dataset and task, for tests of the engine."""

from __future__ import annotations

from dataclasses import replace

import torch

from bench.compute import Compute
from bench.networks import ConvNet
from bench.protocol import PROFILES, Protocol
from bench.seeding import Streams
from bench.types import Bundle, RunSpec, Split, Task


def bundle(*, classes: int = 3, each: int = 12, size: int = 8, channels: int = 1) -> Bundle:
    """Return grey images whose brightness tells their class, with noise."""
    generator = torch.Generator().manual_seed(5)

    def split(count: int) -> Split:
        labels = torch.arange(classes).repeat_interleave(count)
        noise = torch.randint(0, 60, (classes * count, channels, size, size), generator=generator)
        images = noise + (labels * (190 // classes))[:, None, None, None]
        # A bright corner as well: instance norm takes the mean brightness away.
        for label in range(classes):
            images[labels == label, :, label : label + 3, :3] = 250
        return Split(images.to(torch.uint8), labels)

    return Bundle("tiny", split(each), split(20), tuple("abcdefghij"[:classes]), (0.5,) * channels, (0.25,) * channels)


def protocol(**sections: dict[str, object]) -> Protocol:
    """Return a protocol of a few steps; keyword arguments change fields of its sections."""
    base = PROFILES["quick"]
    small = replace(
        base,
        match=replace(base.match, iterations=3, real_batch=5, lr_images=1.0),
        eval=replace(base.eval, nets=2, epochs=4),
        network=replace(base.network, width=8),
    )
    changed = {name: replace(getattr(small, name), **fields) for name, fields in sections.items()}
    return replace(small, **changed)


def task(*, method: str = "dm", seed: int = 0, ipc: int = 2, data: Bundle | None = None, **sections: dict[str, object]) -> Task:
    """Return what a method would be given."""
    data = data or bundle()
    how = protocol(**sections)
    spec = RunSpec(data.name, ipc, method, seed, {}, how, "fp32", ("match", "eval"))
    network = ConvNet.fit(data.shape, classes=len(data.classes), width=how.network.width, depth=None)
    compute = Compute.choose(device="cpu", precision="fp32")
    return Task(data, spec, network, Streams(seed, data.name, ipc), compute, lambda progress: None)
