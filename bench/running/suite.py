"""What the engine is given by the packages beside it: methods, datasets, the report, and the folders of code."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from bench.cells.method import Method
from bench.cells.protocol import Protocol as BenchProtocol
from bench.machine.hardware import Code
from bench.records.sections import Evaluation
from bench.types import Bundle


class Loader(Protocol):
    """Loads datasets."""

    def __call__(self, name: str, protocol: BenchProtocol, seed: int) -> Bundle:
        """Return a dataset with the test split that a protocol asks for."""

    def whole(self, name: str) -> Bundle:
        """Return a dataset with its own test split."""


@dataclass(frozen=True)
class Suite:
    """The registries, and the functions that read datasets and write reports.

    Attributes:
        location: of this object, as `"module:NAME"`, from which workers in other processes load it.
        description: the head of the command line's help.
        methods: by name.
        find_method: returns the method of a name, of a user's file, or of a distilled set.
        datasets: the sources of datasets, by name.
        find_source: `(name, size=..., flip=...)` returns the source of a name or of a folder.
        split_names: splits what was typed after `--datasets`.
        loader: `(sources, data_root, fingerprints, bundles)` returns what loads datasets.
        write_report: `(out, wanted=..., log=...)` writes the report of a folder and returns its page.
        reference: the folder of committed records.
        code: the files that numbers depend on.
        evaluate: trains and tests networks on a cell's images; None for `bench.loops.evaluation.evaluate`.

    """

    location: str
    description: str
    methods: Mapping[str, Method]
    find_method: Callable[[str], Method]
    datasets: Mapping[str, Any]
    find_source: Callable[..., Any]
    split_names: Callable[[str], list[str]]
    loader: Callable[..., Loader]
    write_report: Callable[..., Path]
    reference: Path
    code: Code
    evaluate: Callable[..., Evaluation] | None = None
