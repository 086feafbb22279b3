"""What travels to a worker: to another process, or to another machine.

All cells of a grid share one `Work`. A cell itself travels as the JSON text of its description, and comes back as the JSON text
of its record: the settings of a user's own loss have a class that other processes do not know.
"""

from __future__ import annotations

import pkgutil
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.errors import UsageError
from bench.lazy import runner
from bench.method import Method
from bench.spec import RunSpec

if TYPE_CHECKING:
    from bench.compute import Compute
    from bench.records import RunRecord
    from bench.runner import Loader, Observer, Runner
    from bench.types import Bundle


@dataclass(frozen=True, kw_only=True)
class Work:
    """What the workers of a grid need besides the descriptions of its cells; it can be pickled.

    Attributes:
        start: the function that makes a runner of this in a worker, as `module:name`; see `open`.
        methods: by what `methods.find_method` is given in the worker, what the user typed. The two differ where a user's file
            was copied.
        datasets: as `--datasets` names them.
        size: as `--set data.size` says.
        data_root: where the datasets lie.
        fingerprints: by dataset, which images the cells are described with.
        labels: by dataset, what tables print.
        folder: of the records.
        device: `auto`, `cpu`, `cuda` or `cuda:N`; see `Compute.choose`.
        precision: of the passes through networks.
        threads: CPU threads of each worker.
        force: whether cells with a record run again.
        checkpoints: the iterations that are asked for.
        place: the folder that relative paths are relative to.

    """

    start: str
    methods: Mapping[str, str]
    datasets: tuple[str, ...]
    size: int | None
    data_root: Path
    fingerprints: Mapping[str, Any]
    labels: Mapping[str, str]
    folder: Path
    device: str
    precision: str
    threads: int
    force: bool
    checkpoints: tuple[int, ...]
    place: Path

    def as_typed(self, method: Method, text: str) -> Method:
        """Return the method that `text` named in this process, with the citation of what the user typed."""
        typed = self.methods[text]
        return method if typed == text else replace(method, citation=typed)

    def runner(self, compute: Compute, methods: Iterable[Method], load: Loader, observer: Observer) -> Runner:
        """Return what runs cells in this process; see `bench.runner.Runner`."""
        by_name = {method.name: method for method in methods}
        return runner.Runner(self.folder, compute, by_name, load, observer, self.labels, self.force, self.checkpoints)

    def open(self, number: int = 0, bundles: Mapping[str, Bundle] | None = None) -> Runner:
        """Return what runs cells in this process.

        Args:
            number: the worker's, from 0: GPUs of one machine are dealt out by it.
            bundles: datasets that came along; None where they are to be read below `data_root`.

        """
        for text, typed in self.methods.items():
            if text != typed and not text.startswith("set:"):  # what a user's file imports from beside it was copied too
                sys.path.append(str(Path(text.rpartition(":")[0]).parent.absolute()))
        opened: Runner = pkgutil.resolve_name(self.start)(self, number, bundles)
        return opened


def run_cell(cells: Runner, text: str) -> RunRecord:
    """Return the record of a cell, run here; `described` says what the arguments are."""
    [record] = cells.run([described(cells, text)])
    return record


def described(cells: Runner, text: str) -> RunSpec:
    """Return a cell from its description, with settings of its method's own class.

    Args:
        cells: what runs it.
        text: its description as JSON.

    Raises:
        UsageError: where the user's file of its method is no longer the one that it was described with.

    """
    spec = RunSpec.model_validate_json(text)
    method = cells.methods[spec.method]
    if method.code != spec.code:
        raise UsageError(f"--methods {method.citation!r} was changed while the grid ran; start the run again")
    settings = method.settings.model_validate(dict(spec.settings))
    return spec.model_copy(update={"settings": settings})
