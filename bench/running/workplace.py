"""What every process that runs cells has: datasets, methods, device, the folder of records, and the evaluation."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from pkgutil import resolve_name
from typing import Any

from bench.cells.method import Method, Procedure
from bench.cells.protocol import Protocol
from bench.cells.spec import RunSpec
from bench.cells.task import ResumeKey, Task
from bench.errors import UsageError
from bench.loops.evaluation import evaluate
from bench.machine.compute import Compute
from bench.machine.hardware import Code, hardware, library_versions
from bench.machine.ranks import ALONE, Ranks
from bench.records.sections import Evaluation, MethodFacts
from bench.seeding import Streams
from bench.types import Bundle, Progress

Loader = Callable[[str, Protocol, int], Bundle]
"""Loads the dataset of a name under a protocol and seed."""


@dataclass(frozen=True, kw_only=True)
class Workplace:
    """Everything that running a cell needs besides its description.

    Attributes:
        folder: of the records.
        compute: device, precision and threads.
        methods: by name.
        load: loads datasets.
        report: called with the progress of a cell.
        code: the files that numbers depend on.
        ranks: this process among those that share cells.
        evaluate: trains and tests networks on a cell's images; see `bench.loops.evaluation.evaluate`.

    """

    folder: Path
    compute: Compute
    methods: Mapping[str, Method]
    load: Loader
    report: Callable[[Progress], None]
    code: Code
    ranks: Ranks = ALONE
    evaluate: Callable[..., Evaluation] = evaluate

    def task(self, spec: RunSpec, checkpoints: tuple[int, ...] = (), *, resumable: bool = False) -> Task:
        """Return a cell with its data, ready to be run.

        Args:
            spec: the cell.
            checkpoints: the iterations after which images are kept.
            resumable: whether resume states are written and read.

        """
        bundle, streams = self.load(spec.dataset, spec.protocol, spec.seed), Streams(spec.seed, spec.dataset, spec.ipc)
        resume = self.resume_key(spec) if resumable else None
        return Task(bundle, spec, streams, self.compute, self.report, checkpoints, resume, ranks=self.ranks)

    def resume_key(self, spec: RunSpec) -> ResumeKey:
        """Return the path of a cell's resume state, and what it has to fit."""
        return ResumeKey(self.folder / f"{spec.hash}.resume", owner=spec.hash, code=self.code.sources)

    def procedure(self, spec: RunSpec) -> Procedure:
        """Return the function that distills a cell."""
        procedure = self.methods[spec.method].procedure
        return resolve_name(procedure) if isinstance(procedure, str) else procedure

    def described(self, spec_json: str) -> RunSpec:
        """Return a cell from its description as JSON, with settings of its method's own class.

        Raises:
            UsageError: if the user's file of its method is no longer the one that it was described with.

        """
        spec = RunSpec.model_validate_json(spec_json)
        method = self.methods[spec.method]
        if method.code != spec.code:
            raise UsageError(f"--methods {method.spelling!r} was changed while the grid ran; start the run again")
        return spec.model_copy(update={"settings": method.settings.model_validate(dict(spec.settings))})

    def facts(self, method: Method) -> MethodFacts:
        """Return what records say of a method."""
        return MethodFacts(
            label=method.label, citation=method.citation, order=method.order, color=method.color, spelling=method.spelling
        )

    def provenance(self, ranks: Ranks | None = None) -> dict[str, Any]:
        """Return on what machine, with what libraries and by which code a result of `ranks`, or of all, is made."""
        ranks = ranks or self.ranks
        machine = hardware(self.compute.device) | {"threads": self.compute.threads}
        machine |= {"ranks": ranks.count} if ranks.count > 1 else {}
        return {"hardware": machine, "versions": library_versions(), "code": self.code.version}
