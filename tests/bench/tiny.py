"""A tiny dataset and task, for tests of the engine."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace

import torch

from bench.cells.grid import make_specs
from bench.cells.loss import FeatureLoss
from bench.cells.method import Method, NoSettings
from bench.cells.protocol import PROFILES, Protocol
from bench.cells.settings import Settings
from bench.cells.spec import RunSpec
from bench.cells.task import Task
from bench.machine.compute import Compute
from bench.seeding import Streams
from bench.types import Bundle, Split
from methods import METHODS


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
    assert base.match is not None
    assert base.eval is not None
    small = base.changed(
        match=base.match.changed(iterations=3, real_batch=5),
        eval=base.eval.changed(nets=2, epochs=4),
        network=base.network.changed(width=8),
    )
    return small.changed(**{name: getattr(small, name).changed(**fields) for name, fields in sections.items()})


def task(
    *,
    method: str = "dm",
    loss: Callable[..., torch.Tensor] | Settings | None = None,
    seed: int = 0,
    ipc: int = 2,
    data: Bundle | None = None,
    **sections: dict[str, object],
) -> Task:
    """Return what a method is given, with its published settings; or a loss of the matching loop in its place."""
    data, settings = data or bundle(), protocol(**sections)
    assert settings.match is not None
    if loss is None:
        loss = METHODS[method].settings() if method in METHODS else NoSettings()
    spec = RunSpec(
        dataset=data.name,
        ipc=ipc,
        method=method,
        seed=seed,
        settings=loss if isinstance(loss, Settings) else settings_of(loss),
        protocol=settings.changed(match=settings.match.with_step()),
        precision="fp32",
    )
    compute = Compute.choose(device="cpu", precision="fp32")
    return Task(data, spec, Streams(seed, data.name, ipc), compute, lambda progress: None)


def settings_of(loss: Callable[..., torch.Tensor]) -> FeatureLoss:
    """Return settings whose loss is any function, or any object that can be called."""

    class Given(FeatureLoss):
        """A loss without settings of its own."""

        def for_cell(self) -> Callable[..., torch.Tensor]:
            return loss

    return Given()


def source(data: Bundle) -> SimpleNamespace:
    """Return what a grid asks of a dataset before it is loaded."""
    return SimpleNamespace(name=data.name, classes=data.classes, shape=data.shape)


def cell(method: Method, settings: Settings | None = None, *, seed: int = 0, precision: str = "fp32", **sections) -> RunSpec:
    """Return the description of the method's one cell on the tiny dataset, as the command line would make it."""
    (spec,) = make_specs(
        methods=[(method, settings or method.resolve({}, profile="quick"))],
        sources=[source(bundle())],
        ipcs=[2],
        seeds=[seed],
        protocol=protocol(**sections),
        precision=precision,
    )
    return spec
