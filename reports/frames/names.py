"""What the rows, columns and cells of tables are of, what they are called, and their order: all as the records say."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import NamedTuple, cast

import pandas as pd

from bench.records.record import RunRecord
from bench.records.sections import MethodFacts
from reports.frames.published import COLUMNS

DATASET_ORDER = ("digits", "mnist", "fashionmnist", "svhn", "cifar10", "cifar100")
"""The order of rows, the paper's; other datasets follow by name."""


_FOLDER = "folder:"
"""With what the name of a user's folder begins; digits of the fingerprint of its images follow."""


def dataset_rank(name: str) -> tuple[int, str]:
    """Return the sort key of a dataset."""
    return (DATASET_ORDER.index(name) if name in DATASET_ORDER else len(DATASET_ORDER), name)


ROW = ["dataset", "ipc"]
"""The columns of a frame that say which row of Table 2 its rows belong to."""

COLUMN = ["method", "variant"]
"""The columns of a frame that say which column of Table 2 its rows belong to."""

CELL = [*ROW, *COLUMN]
"""The columns of a frame that say which cell of Table 2 its rows belong to: all but the seed."""


class Column(NamedTuple):
    """A column of tables: a method, and the settings that distinguish it from others of that method, if there are any."""

    method: str
    variant: str = ""

    @property
    def name(self) -> str:
        """The two as one name for a file: `kr`, or `kr (kr.hidden=64)`."""
        return f"{self.method} ({self.variant})" if self.variant else self.method


class CellKey(NamedTuple):
    """Which cell of a table: its means are over the seeds and networks of one method, variant, dataset and IPC."""

    dataset: str
    ipc: int
    method: str
    variant: str

    @property
    def row(self) -> tuple[str, int]:
        """Dataset and IPC."""
        return self.dataset, self.ipc

    @property
    def column(self) -> Column:
        """Method and variant."""
        return Column(self.method, self.variant)


def by_row(frame: pd.DataFrame) -> Iterator[tuple[tuple[str, int], pd.DataFrame]]:
    """Yield dataset and IPC with their rows of a frame, in the order of the frame; rows without an IPC are left out."""
    for key, group in frame.groupby(ROW, sort=False):
        dataset, ipc = cast("tuple[str, int]", key)
        yield (dataset, int(ipc)), group


def by_cell(frame: pd.DataFrame) -> Iterator[tuple[CellKey, pd.DataFrame]]:
    """Yield each cell of a table with its rows of a frame, in the order of the frame; rows without an IPC are left out."""
    for key, group in frame.groupby(CELL, sort=False):
        dataset, ipc, method, variant = cast("tuple[str, int, str, str]", key)
        yield CellKey(dataset, int(ipc), method, variant), group


def columns_of(frame: pd.DataFrame) -> list[Column]:
    """Return the column of tables that each row of a frame belongs to."""
    return [Column(*pair) for pair in zip(frame["method"], frame["variant"], strict=True)]


@dataclass(frozen=True)
class Names:
    """What tables print for methods and datasets."""

    methods: Mapping[str, MethodFacts]
    datasets: Mapping[str, str]

    @classmethod
    def of(cls, records: Iterable[RunRecord]) -> Names:
        """Return the names that `records` carry, of several names the newest record's; published columns have names too.

        A folder of pictures has the name of the oldest record, for it may have been copied since, and moved. If two datasets
        share a name, folders have the digits of their fingerprint too.
        """
        ordered = sorted(records, key=lambda record: record.finished)
        datasets = {record.spec.dataset: record.dataset_label for record in ordered}
        datasets |= {
            record.spec.dataset: record.dataset_label for record in reversed(ordered) if record.spec.dataset.startswith(_FOLDER)
        }
        shared = Counter(datasets.values())
        return cls(
            COLUMNS | {record.spec.method: record.method for record in ordered},
            {
                name: f"{label} ({name.removeprefix(_FOLDER)})" if shared[label] > 1 and name.startswith(_FOLDER) else label
                for name, label in datasets.items()
            },
        )

    def facts(self, method: str) -> MethodFacts:
        """Return the facts of a method."""
        return self.methods.get(method, MethodFacts(label=method))

    def column(self, column: Column) -> str:
        """Return what is printed for a column: `KR`, or `KR (kr.hidden=64)`."""
        label = self.facts(column.method).label
        return f"{label} ({column.variant})" if column.variant else label

    def column_rank(self, column: Column) -> tuple[int, str, str]:
        """Return the sort key of a column: the number in its method's file, then its name."""
        return self.facts(column.method).order, *column

    def dataset(self, name: str) -> str:
        """Return what is printed for a dataset."""
        return self.datasets.get(name, name)
