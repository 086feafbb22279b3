"""The cross-architecture table: how well images serve networks of other architectures. Methods stand down, networks across."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

import pandas as pd

from bench.records import RunRecord
from reports.captions import transfer_caption
from reports.formats import plus_minus, tex, tex_plus_minus
from reports.frames import Statistics, expanded, statistics
from reports.names import Names, column, dataset_rank, variants

REFERENCE_NETWORK = "convnet"
"""The network that the others are compared with."""

DROP = (
    "In brackets: the drop, which is the ConvNet's mean accuracy less this network's, in points; "
    "it is negative where this network is better."
)

Row = tuple[str, int, str, str]
"""Dataset, IPC, method and variant: a row of the table."""


@dataclass(frozen=True)
class TransferTable:
    """Statistics, and the mean of each seed, by row and network. Rows and networks stand in reading order."""

    rows: tuple[Row, ...]
    networks: tuple[str, ...]
    cells: Mapping[tuple[Row, str], Statistics]
    seeds: Mapping[tuple[Row, str], Mapping[int, float]]

    def drop(self, row: Row, network: str) -> float | None:
        """Return the ConvNet's mean less this network's over the seeds that both have, or None where there are none."""
        reference, means = self.seeds.get((row, REFERENCE_NETWORK), {}), self.seeds.get((row, network), {})
        drops = [reference[seed] - means[seed] for seed in means if seed in reference]
        return fmean(drops) if drops else None


def transfer_table(records: Sequence[RunRecord]) -> TransferTable:
    """Return the table of all evaluations, over seeds; the whole training set stands at each IPC of its dataset."""
    texts, names = variants(records), Names.of(records)
    columns = ["seed", "accuracy"]
    accuracies: dict[tuple[Row, str], list[tuple[int, float]]] = defaultdict(list)
    for record, ipc in expanded(records):
        row = record.spec.dataset, ipc, record.spec.method, texts[record.hash]
        for evaluation in record.evaluations:
            accuracies[row, evaluation.network] += [(record.spec.seed, accuracy) for accuracy in evaluation.accuracies]
    cells = {key: statistics(pd.DataFrame(values, columns=columns)) for key, values in accuracies.items()}

    def place(row: Row) -> tuple[Any, ...]:
        dataset, ipc, method, variant = row
        return dataset_rank(dataset), ipc, names.column_rank(column(method, variant))

    named = list(dict.fromkeys(evaluation.network for record in records for evaluation in record.evaluations))
    return TransferTable(
        rows=tuple(sorted({row for row, _ in cells}, key=place)),
        networks=tuple(sorted(named, key=lambda network: network != REFERENCE_NETWORK)),
        cells=cells,
        seeds={key: _seed_means(values) for key, values in accuracies.items()},
    )


def _seed_means(values: Sequence[tuple[int, float]]) -> dict[int, float]:
    """Return the mean accuracy of each seed, from pairs of seed and accuracy."""
    return {seed: fmean(accuracy for other, accuracy in values if other == seed) for seed in dict(values)}


def has_transfer(records: Sequence[RunRecord]) -> bool:
    """Return whether any row has been evaluated by more than one network."""
    table = transfer_table(records)
    return len(table.cells) > len(table.rows)


def transfer_frame(records: Sequence[RunRecord]) -> pd.DataFrame:
    """Return the table in long form: one row for each dataset, IPC, method, variant and network."""
    table = transfer_table(records)
    rows = []
    for row in table.rows:
        for network in table.networks:
            cell = table.cells.get((row, network))
            if cell:
                numbers = (cell.mean, cell.std_seeds, cell.std_networks, cell.seeds, table.drop(row, network))
                rows.append((*row, network, *numbers))
    names = ("dataset", "ipc", "method", "variant", "eval_network", "mean", "std_seeds", "std_networks", "seeds", "drop")
    return pd.DataFrame(rows, columns=list(names)).astype({"drop": float})


def network_labels(records: Sequence[RunRecord]) -> dict[str, str]:
    """Return what is printed for each network: its label, or its name where its label differs between datasets."""
    labels: dict[str, set[str]] = defaultdict(set)
    for record in records:
        for evaluation in record.evaluations:
            labels[evaluation.network].add(evaluation.facts.label)
    return {network: next(iter(texts)) if len(texts) == 1 else network for network, texts in labels.items()}


def transfer_markdown(records: Sequence[RunRecord]) -> str:
    """Return the table: mean ± deviation, and in brackets the drop against the ConvNet."""
    table, names, labels = transfer_table(records), Names.of(records), network_labels(records)
    lines = ["# Accuracy by evaluation network", "", transfer_caption(records), DROP, ""]
    lines.append("| Dataset | IPC | Method | " + " | ".join(labels[network] for network in table.networks) + " |")
    lines.append("| --- | ---: | --- |" + " ---: |" * len(table.networks))
    for row in table.rows:
        dataset, ipc, method, variant = row
        texts = [_text(table, row, network, latex=False) for network in table.networks]
        lines.append(f"| {names.dataset(dataset)} | {ipc} | {names.column(column(method, variant))} | {' | '.join(texts)} |")
    return "\n".join(lines) + "\n"


def transfer_tex(records: Sequence[RunRecord]) -> str:
    """Return the same table for LaTeX (package booktabs), with what belongs into the caption as comments before it."""
    table, names, labels = transfer_table(records), Names.of(records), network_labels(records)
    lines = [f"% {tex(transfer_caption(records))}", f"% {DROP}"]
    lines += [r"\begin{tabular}{lrl" + "r" * len(table.networks) + "}", r"\toprule"]
    lines.append("Dataset & IPC & Method & " + " & ".join(tex(labels[network]) for network in table.networks) + r" \\")
    previous: tuple[str, int] | None = None
    for row in table.rows:
        dataset, ipc, method, variant = row
        new = (dataset, ipc) != previous
        lines += [r"\midrule"] if new else []
        place = f"{tex(names.dataset(dataset))} & {ipc}" if new else " & "
        texts = [_text(table, row, network, latex=True) for network in table.networks]
        lines.append(f"{place} & {tex(names.column(column(method, variant)))} & {' & '.join(texts)}" + r" \\")
        previous = dataset, ipc
    lines += [r"\bottomrule", r"\end{tabular}"]
    return "\n".join(lines) + "\n"


def _text(table: TransferTable, row: Row, network: str, *, latex: bool) -> str:
    """Return a cell of the printed tables.

    Args:
        table: the numbers.
        row: the cell's row.
        network: the cell's column.
        latex: whether it is for LaTeX.

    """
    cell = table.cells.get((row, network))
    if cell is None:
        return ""
    text = (tex_plus_minus if latex else plus_minus)(cell.mean, cell.spread)
    drop = None if network == REFERENCE_NETWORK else table.drop(row, network)
    if drop is None:
        return text
    number = f"{drop:.1f}"
    return f"{text} ({f'${number}$' if latex else number})"


def panels(table: TransferTable) -> dict[tuple[str, int], pd.DataFrame]:
    """Return the means of each dataset and IPC as a frame: a row for each column name of a method, a column for each network.

    Networks that evaluated none of the rows are left out; other missing means are NaN.
    """
    means: dict[tuple[str, int], dict[str, list[float]]] = defaultdict(dict)
    for row in table.rows:
        dataset, ipc, method, variant = row
        cells = [table.cells.get((row, network)) for network in table.networks]
        means[dataset, ipc][column(method, variant)] = [cell.mean if cell else math.nan for cell in cells]
    frames = {key: pd.DataFrame(rows, index=list(table.networks)).T for key, rows in means.items()}
    return {key: frame.dropna(axis="columns", how="all") for key, frame in frames.items()}
