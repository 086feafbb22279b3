"""What is sent to a worker: to another process, or to another machine.

All cells of a grid share one `WorkerSetup`. A cell itself is sent as the JSON of its description, and comes back as the JSON of
its record: the settings of a user's own loss have a class that other processes do not know.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from bench.cells.method import Method
from bench.machine.hardware import Code
from bench.running.progress import Channel


@dataclass(frozen=True, kw_only=True)
class WorkerSetup:
    """What the workers of a grid need besides the descriptions of its cells; it can be pickled.

    Attributes:
        suite: the location of the `Suite`, as `"module:NAME"`.
        methods: by the spelling that `Suite.find_method` is given in the worker, what the user typed. The two differ if a
            user's file was copied.
        datasets: as `--datasets` names them.
        size: as `--set data.size` says.
        flip: as `--set data.flip` says.
        data_root: the folder of the datasets.
        fingerprints: by dataset, which images the cells are described with.
        labels: by dataset, what tables print.
        folder: of the records.
        device: `auto`, `cpu`, `cuda` or `cuda:N`; see `Compute.choose`.
        precision: of the passes through networks.
        threads: CPU threads of each worker.
        force: whether cells with a record run again.
        checkpoints: the iterations that are asked for.
        working_directory: the folder that relative paths are relative to.
        code: the files that numbers depend on.
        progress: where workers report how far they are; None for nowhere.

    """

    suite: str
    methods: Mapping[str, str]
    datasets: tuple[str, ...]
    size: int | None
    flip: bool | None = None
    data_root: Path
    fingerprints: Mapping[str, Any]
    labels: Mapping[str, str]
    folder: Path
    device: str
    precision: str
    threads: int
    force: bool
    checkpoints: tuple[int, ...]
    working_directory: Path
    code: Code
    progress: Channel | None = None

    def as_typed(self, method: Method, spelling: str) -> Method:
        """Return the method of a spelling in this process, as the user spelled it."""
        typed = self.methods[spelling]
        return method if typed == spelling else replace(method, citation=typed, spelling=typed)
