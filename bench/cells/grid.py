"""From options to a grid: the descriptions of its cells, complete and checked before work starts."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Literal

from bench.cells.method import Method
from bench.cells.protocol import ConvNetSize
from bench.cells.protocol import Protocol as BenchProtocol
from bench.cells.settings import Settings
from bench.cells.spec import RunSpec
from bench.errors import UsageError
from bench.networks.fitting import fit
from bench.types import Bundle, Shaped

if TYPE_CHECKING:
    from bench.networks.network import Network


def make_specs(
    *,
    methods: Sequence[tuple[Method, Settings]],
    sources: Iterable[Shaped],
    ipcs: Sequence[int],
    seeds: Sequence[int],
    protocol: BenchProtocol,
    precision: Literal["fp32", "bf16"],
) -> list[RunSpec]:
    """Return the cells of a grid, dataset by dataset, IPC by IPC.

    Args:
        methods: each with its settings; one that takes the whole training set has one cell a seed, after all IPCs.
        sources: the datasets.
        ipcs: images per class.
        seeds: one distillation each.
        protocol: the same for all methods.
        precision: the run's, which every `auto` is resolved to.

    Raises:
        UsageError: if a network does not take a dataset's images, or a method cannot fill its cells.

    """
    return [
        RunSpec(
            dataset=source.name,
            ipc=ipc,
            method=method.name,
            seed=seed,
            settings=method.settings_on(source, settings).at_ipc(ipc or 1).at_precision(precision),
            protocol=cell_protocol(method, settings, protocol, source, precision=precision, ipc=ipc),
            precision=precision if method.has_passes else None,
            code=method.code,
        )
        for source, ipc, method, settings, seed in _cells(methods, protocol, tuple(sources), ipcs, seeds)
    ]


def _cells(
    methods: Sequence[tuple[Method, Settings]],
    protocol: BenchProtocol,
    sources: Sequence[Shaped],
    ipcs: Sequence[int],
    seeds: Sequence[int],
) -> Iterator[tuple[Shaped, int | None, Method, Settings, int]]:
    """Yield dataset, IPC, method, settings and seed of each cell; raise `UsageError` if a method cannot fill its cells."""
    for method, settings in methods:
        method.check(sources, ipcs, seeds, settings)
        _check_own_lr(method, protocol)
    for source, ipc, (method, settings) in itertools.product(sources, (*ipcs, None), methods):
        if method.has_cell(source, ipc, settings):
            yield from ((source, ipc, method, settings, seed) for seed in seeds)


def _check_own_lr(method: Method, protocol: BenchProtocol) -> None:
    """Raise `UsageError` if networks are to be trained with a learning rate that the images do not carry."""
    for name in method.sections:
        if getattr(getattr(protocol, name), "lr", None) == "own":
            if name == "whole":
                raise UsageError("--set whole.lr=own: real images carry no learning rate; valid: a number above 0")
            if not method.learns_lr:
                reason = f"the images of method {method.name!r} carry no learning rate"
                raise UsageError(f"--set {name}.lr=own: {reason}; valid: a number above 0, or methods that learn one")


def cell_protocol(
    method: Method,
    settings: Settings,
    protocol: BenchProtocol,
    source: Shaped,
    *,
    precision: Literal["fp32", "bf16"],
    ipc: int | None,
) -> BenchProtocol:
    """Return the sections that the method uses, completed by what follows from the dataset, the IPC and the run.

    Args:
        method: whose cell it is.
        settings: the method's.
        protocol: the run's, complete.
        source: the dataset, whose images decide the ConvNet's depth.
        precision: the run's.
        ipc: images per class, None for the whole training set.

    Raises:
        UsageError: if a network that the cell uses does not take the dataset's images.

    """
    protocol = protocol.at_ipc(ipc or 1)
    sections = {name: getattr(protocol, name) if name in method.sections else None for name in ("match", "eval", "whole")}
    if sections["match"] is not None:
        sections["match"] = method.match(sections["match"], settings)
    used = [*method.networks(settings)]
    for name, section in sections.items():
        if section is not None:
            used += [section.network] if name == "match" else section.networks
            sections[name] = section.at_precision(precision)
    size = protocol.network
    # The depth is that of a plain ConvNet for these images, whichever networks the cell uses.
    depth = _fit("convnet", source, size, cause=f"--set network.depth={size.depth} and dataset {source.name!r}").depth
    for name in dict.fromkeys(used):
        _fit(name, source, size, cause=f"network {name!r} and dataset {source.name!r}")
    return protocol.model_copy(update={**sections, "network": size.changed(depth=depth)})


def _fit(name: str, source: Shaped, size: ConvNetSize, *, cause: str) -> Network:
    """Return a network for a dataset's images; raise `UsageError`, with its `cause` in front, if it does not take them."""
    try:
        return fit(name, source.shape, classes=len(source.classes), width=size.width, depth=size.depth)
    except UsageError as error:
        raise UsageError(f"{cause}: {error}") from None


def check_ipc(specs: Iterable[RunSpec], bundles: Mapping[str, Bundle]) -> None:
    """Raise `UsageError` if an IPC is above the smallest class of its training set."""
    for spec in specs:
        bundle = bundles.get(spec.dataset)
        if spec.ipc is None or bundle is None:
            continue
        counts = bundle.train.labels.bincount(minlength=len(bundle.classes))
        smallest = int(counts.min())
        if spec.ipc > smallest:
            name = bundle.classes[int(counts.argmin())]
            raise UsageError(
                f"--ipc {spec.ipc}: the smallest class of {spec.dataset}, {name!r}, has {smallest} training images; "
                f"valid: 1 to {smallest}"
            )
