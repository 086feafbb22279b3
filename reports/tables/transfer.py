"""The cross-architecture table: how well images serve networks of other architectures. Methods stand down, networks across."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Hashable, Mapping
from functools import lru_cache
from typing import Any, cast

import pandas as pd

from reports.frames.results import Results
from reports.statistics.variance import statistics
from reports.tables.captions import transfer_caption
from reports.tables.table import Table, TableCell, rows_across

REFERENCE_NETWORK = "convnet"
"""The network that the others are compared with."""

DROP = (
    "In brackets: the drop, which is the ConvNet's mean accuracy less this network's, in points; "
    "it is negative where this network is better."
)

_PLACE = ["dataset", "ipc", "method", "variant"]
_COLUMNS = [*_PLACE, "eval_network", "mean", "std_seeds", "std_networks", "seeds", "drop"]


def evaluations(results: Results) -> pd.DataFrame:
    """Return all evaluations of the records that tables take; the whole training set stands at each IPC of its dataset."""
    frame = results.networks[results.networks["hash"].isin(results.shown)]
    return results.at_every_ipc(frame)


def has_transfer(results: Results) -> bool:
    """Return whether any row has been evaluated by more than one network."""
    return bool((evaluations(results).groupby(_PLACE)["eval_network"].nunique() > 1).any())


@lru_cache(maxsize=8)
def transfer_frame(results: Results) -> pd.DataFrame:
    """Return the table in long form: one row for each dataset, IPC, method, variant and network, the ConvNet first.

    `drop` is over the seeds that both networks have.
    """
    frame, rows = evaluations(results), []
    for place, part in frame.groupby(_PLACE, sort=False):
        means = part.groupby(["eval_network", "seed"], sort=False)["accuracy"].mean()
        reference = means.get(REFERENCE_NETWORK)
        for network in sorted(part["eval_network"].unique(), key=lambda name: name != REFERENCE_NETWORK):
            cell = statistics(part[part["eval_network"] == network])
            drop = math.nan if reference is None else float((reference - means[network]).mean())
            rows.append((*cast("tuple", place), network, cell.mean, cell.std_seeds, cell.std_networks, cell.seeds, drop))
    return pd.DataFrame(rows, columns=_COLUMNS)


def network_labels(results: Results) -> dict[str, str]:
    """Return what is printed for each network: its label, or its name where its label differs between datasets.

    The ConvNet stands first, the others as the records name them.
    """
    labels: dict[str, set[str]] = defaultdict(set)
    for record in results.records:
        for evaluation in record.evaluations:
            labels[evaluation.network].add(evaluation.facts.label)
    texts = {network: next(iter(names)) if len(names) == 1 else network for network, names in labels.items()}
    return dict(sorted(texts.items(), key=lambda item: item[0] != REFERENCE_NETWORK))


def transfer_table(results: Results) -> Table:
    """Return the table: mean ± deviation, and in brackets the drop against the ConvNet."""
    frame, labels = transfer_frame(results), network_labels(results)
    return Table(
        name="transfer",
        title="Accuracy by evaluation network",
        label_heads=("Dataset", "IPC", "Method"),
        heads=tuple(labels.values()),
        rows=rows_across(frame, results.names, by="eval_network", heads=labels, cell=_cell),
        caption=(transfer_caption(results), DROP),
    )


def _cell(row: Mapping[Hashable, Any]) -> TableCell:
    spread = row["std_seeds"] if row["seeds"] > 1 else row["std_networks"]
    has_drop = row["eval_network"] != REFERENCE_NETWORK and not math.isnan(row["drop"])
    return TableCell(value=row["mean"], spread=spread, bracket=row["drop"] if has_drop else None)
