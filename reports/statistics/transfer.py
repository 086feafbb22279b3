"""How well images serve networks of other architectures than the one that they were distilled with."""

from __future__ import annotations

import math
from collections import defaultdict
from functools import lru_cache

import pandas as pd

from reports.frames.names import CELL, by_cell
from reports.frames.results import Results
from reports.statistics.variance import statistics

REFERENCE_NETWORK = "convnet"
"""The network that the others are compared with."""


def evaluations(results: Results) -> pd.DataFrame:
    """Return all evaluations of the records that tables take; the whole training set is in the rows of each IPC."""
    frame = results.networks[results.networks["hash"].isin(results.shown)]
    return results.at_every_ipc(frame)


def has_transfer(results: Results) -> bool:
    """Return whether any row has been evaluated by more than one network."""
    return bool((evaluations(results).groupby(CELL)["eval_network"].nunique() > 1).any())


@lru_cache(maxsize=8)
def transfer_frame(results: Results) -> pd.DataFrame:
    """Return accuracies in long form: a row for each dataset, IPC, method, variant and network, the ConvNet first.

    `drop` is the mean accuracy of the ConvNet less that of the network, in points, over the seeds that both have.
    """
    rows = []
    for key, group in by_cell(evaluations(results)):
        means = group.groupby(["eval_network", "seed"], sort=False)["accuracy"].mean()
        reference = means.get(REFERENCE_NETWORK)
        for network in sorted(group["eval_network"].unique(), key=lambda name: name != REFERENCE_NETWORK):
            cell = statistics(group[group["eval_network"] == network])
            drop = math.nan if reference is None else float((reference - means[network]).mean())
            rows.append((*key, network, cell.mean, cell.std_seeds, cell.std_networks, cell.seeds, drop))
    columns = [*CELL, "eval_network", "mean", "std_seeds", "std_networks", "seeds", "drop"]
    return pd.DataFrame(rows, columns=columns)


def network_labels(results: Results) -> dict[str, str]:
    """Return what is printed for each network: its label, or its name if its label differs between datasets.

    The ConvNet is first, the others have the order of the records.
    """
    labels: dict[str, set[str]] = defaultdict(set)
    for record in results.records:
        for evaluation in record.evaluations:
            labels[evaluation.network].add(evaluation.facts.label)
    printed = {network: next(iter(names)) if len(names) == 1 else network for network, names in labels.items()}
    return dict(sorted(printed.items(), key=lambda item: item[0] != REFERENCE_NETWORK))
