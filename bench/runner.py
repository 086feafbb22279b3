"""The runner: from options to a grid of specs, and from each spec to its record."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol

from bench.errors import UsageError
from bench.options import parse_options
from bench.protocol import Protocol as BenchProtocol
from bench.records import RunRecord, code_version, library_versions, read_record, typical_iteration, write_images, write_record
from bench.seeding import Streams
from bench.types import Bundle, Method, Progress, RunSpec, Task

if TYPE_CHECKING:
    from bench.compute import Compute

Loader = Callable[[str, BenchProtocol, int], Bundle]
"""Loads the dataset of a name under a protocol and seed."""


class Shaped(Protocol):
    """What the runner asks of a source before it is loaded."""

    @property
    def name(self) -> str: ...  # noqa: D102
    @property
    def shape(self) -> tuple[int, int, int]: ...  # noqa: D102
    @property
    def code(self) -> str: ...  # noqa: D102


class Observer(Protocol):
    """Is told how a grid goes on."""

    def started(self, spec: RunSpec) -> None:
        """Say that a cell has begun."""

    def progress(self, progress: Progress) -> None:
        """Say how far it has come."""

    def finished(self, record: RunRecord) -> None:
        """Say that it has ended."""


def resolve_hyper(method: Method, texts: Mapping[str, str], protocol: BenchProtocol) -> tuple[dict[str, Any], BenchProtocol]:
    """Return the method's hyper-parameters, and the protocol with the learning rate on images that holds for it.

    A hyper-parameter is, first found: `--set method.name`, the method's default for the profile, its default. Between the first
    two, the learning rate on images of the matching methods is `--set match.lr_images`; it is 1 where none is named.
    """
    options = method.options()
    given = parse_options(options, texts, owner=method.name)
    usual = method.defaults.get(protocol.profile, {})
    hyper = {name: given.get(name, usual.get(name, option.default)) for name, option in options.items()}
    if method.settings is not None:
        method.settings(**hyper)  # refuses at once what one option's type and range do not show
    if "match" in method.sections:
        del hyper["lr_images"]  # it goes into the protocol's section
        chosen = given.get("lr_images") or protocol.match.lr_images or usual.get("lr_images", 1.0)
        protocol = replace(protocol, match=replace(protocol.match, lr_images=chosen))
    return hyper, protocol


def make_specs(
    *,
    methods: Iterable[Method],
    sources: Iterable[Shaped],
    ipcs: Iterable[int],
    seeds: Iterable[int],
    protocol: BenchProtocol,
    hyper: Mapping[str, Mapping[str, str]],
    precision: Literal["fp32", "bf16"],
) -> list[RunSpec]:
    """Return the grid, dataset by dataset, IPC by IPC; a method that takes the whole training set has one cell a seed.

    `hyper` are the texts of `--set method.name=value`, by method. Raise `UsageError` on a mistake.
    """
    specs = []
    methods = list(methods)
    resolved = {method.name: resolve_hyper(method, hyper.get(method.name, {}), protocol) for method in methods}
    for source in sources:
        for ipc in (*ipcs, None):
            for method in methods:
                if method.whole != (ipc is None):
                    continue
                values, own = resolved[method.name]
                own = replace(own, network=replace(own.network, depth=_depth(own, source.shape)))
                for seed in seeds:
                    code = "+".join(filter(None, (method.code, source.code)))
                    spec = RunSpec(source.name, ipc, method.name, seed, values, own, precision, method.sections, code)
                    specs.append(spec)
    return specs


def _depth(protocol: BenchProtocol, shape: tuple[int, int, int]) -> int:
    """Return the depth of the network for images of `shape`; raise `UsageError` where the one asked for does not fit."""
    from bench.networks import ConvNet

    settings = protocol.network
    try:
        return ConvNet.fit(shape, classes=1, width=settings.width, depth=settings.depth).depth
    except ValueError as error:
        raise UsageError(f"--set network.depth={settings.depth}: {error}") from None


def check_ipc(specs: Iterable[RunSpec], bundles: Mapping[str, Bundle]) -> None:
    """Raise `UsageError` where an IPC is above the smallest class of its training set."""
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


@dataclass(frozen=True)
class Runner:
    """Runs cells one after the other and writes their records into `folder`; `labels` are the datasets'."""

    folder: Path
    compute: Compute
    methods: Mapping[str, Method]
    load: Loader
    observer: Observer
    labels: Mapping[str, str]

    def run(self, specs: Iterable[RunSpec]) -> list[RunRecord]:
        """Run the cells; a failed one is recorded with its error, and the rest goes on."""
        records = []
        for spec in specs:
            self.observer.started(spec)
            record = self.cell(spec)
            if record.status == "ok" or finished(self.folder, spec) is None:  # a forced run that fails loses nothing
                write_record(self.folder, record)
            records.append(record)
            self.observer.finished(record)
        return records

    def cell(self, spec: RunSpec) -> RunRecord:
        """Return the record of one cell; its images are written, its record is not."""
        from bench.compute import hardware

        known: dict[str, Any] = {
            "hash": spec.hash,
            "spec": spec.to_json(),
            "labels": {"method": self.methods[spec.method].label, "dataset": self.labels.get(spec.dataset, spec.dataset)},
            "hardware": hardware(self.compute.device) | {"threads": self.compute.threads},
            "versions": library_versions(),
            "code": code_version(),
        }
        try:
            found = self._measure(spec)
        except Exception as error:  # noqa: BLE001  (whatever a cell fails with, the grid goes on)
            text = f"{type(error).__name__}: {error}"
            return RunRecord(
                status="failed", error=text, details={"traceback": traceback.format_exc()}, finished=_now(), **known
            )
        return RunRecord(status="ok", finished=_now(), **known, **found)

    def _measure(self, spec: RunSpec) -> dict[str, Any]:
        from bench.evaluate import evaluate
        from bench.networks import ConvNet
        from bench.timing import Stopwatch, peak_memory_mib, reset_peak_memory

        method, device = self.methods[spec.method], self.compute.device
        bundle = self.load(spec.dataset, spec.protocol, spec.seed)
        settings = spec.protocol.network
        network = ConvNet.fit(bundle.shape, classes=len(bundle.classes), width=settings.width, depth=settings.depth)
        streams = Streams(spec.seed, spec.dataset, spec.ipc)
        task = Task(bundle, spec, network, streams, self.compute, self.observer.progress)
        reset_peak_memory(device)
        stopwatch = Stopwatch(device)
        with stopwatch.stage("total"):
            syn = method.distill(task)
            outcome = evaluate(task, syn, spec.protocol.whole if method.whole else spec.protocol.eval)
        if not method.whole:  # the full training set is where it came from
            write_images(self.folder, spec, syn, bundle)
        return {
            "accuracies": outcome.accuracies,
            "loss": syn.trace.loss,
            "seconds": {**syn.trace.seconds, "evaluation": outcome.seconds, **stopwatch.read()[0]},
            "seconds_per_iteration": typical_iteration(syn.trace.iteration_seconds),
            "peak_memory_mib": peak_memory_mib(device),
            "network": {
                "name": f"ConvNet-{network.depth}",
                "width": network.width,
                "depth": network.depth,
                "features": network.features_dim,
            },
            "details": {
                "train_images": len(bundle.train),
                "test_images": len(bundle.test),
                "smallest_class": int(bundle.train.labels.bincount().min()),  # a real batch is never larger
                "kernels": {**syn.trace.kernels, "evaluation": outcome.kernel},
            },
        }


def finished(folder: Path, spec: RunSpec) -> RunRecord | None:
    """Return the good record of `spec` in `folder`, if it is there: then the cell need not run."""
    record = read_record(folder / f"{spec.hash}.json")
    return record if record is not None and record.status == "ok" else None


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
