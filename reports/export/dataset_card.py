"""The card of a distilled set on the Hugging Face Hub: `README.md` with a head of YAML."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import yaml

from bench.networks.names import network_label
from bench.records.record import RunRecord
from bench.sets import DistilledSet
from reports.statistics.variance import statistics
from reports.tables.table import environment, number

_SIZES = ((1_000, "n<1K"), (10_000, "1K<n<10K"), (100_000, "10K<n<100K"), (1_000_000, "100K<n<1M"))
"""The Hub's names for the number of rows."""

_TESTED_ON = {
    "test": "the test set",
    "validation": "a validation split, which was held out of the training set,",
}
"""What the networks of a set were tested on, by `data.split`."""


def write_card(path: Path, content: DistilledSet, *, title: str, records: Sequence[RunRecord]) -> None:
    """Write the card of a set.

    Args:
        path: the file.
        content: the set.
        title: its name for readers.
        records: of its seeds; they say how it was made.

    """
    head = yaml.safe_dump(front_matter(content, title), sort_keys=False, allow_unicode=True)
    first = records[0]
    card = (
        environment()
        .get_template("dataset_card.md")
        .render(
            head=head,
            title=title,
            content=content,
            record=first,
            accuracies=[_accuracy(network, records) for network in content.accuracies],
            tested_on=_TESTED_ON[first.spec.protocol.data.split],
            settings=yaml.safe_dump(content.details["settings"], sort_keys=False, allow_unicode=True),
        )
    )
    path.write_text(card, encoding="utf-8")


def _accuracy(network: str, records: Sequence[RunRecord]) -> dict[str, str]:
    """Return a row of the table of accuracies: mean and ± as in the report's tables, over seeds and networks of each.

    Args:
        network: the architecture.
        records: of all seeds; some may not have been evaluated by it.

    """
    evaluations = [(record.spec.seed, made) for record in records for made in record.evaluations if made.network == network]
    rows = [(seed, accuracy) for seed, made in evaluations for accuracy in made.accuracies]
    measured = statistics(pd.DataFrame(rows, columns=["seed", "accuracy"]))
    return {
        "network": network_label(network),
        "mean": number(measured.mean, 2),
        "spread": number(measured.spread, 2),
        "seeds": str(measured.seeds),
        "networks": str(measured.networks),
    }


def front_matter(content: DistilledSet, title: str) -> dict[str, Any]:
    """Return what the Hub reads from a card: licence, task, columns with the names of the classes, and files."""
    rows = sum(len(distillation.images) for distillation in content.distillations)
    return {
        "pretty_name": title,
        "license": "other",
        "license_name": "as-the-original-images",
        "task_categories": ["image-classification"],
        "tags": ["dataset-distillation", "dataset-condensation"],
        "size_categories": [next((size for most, size in _SIZES if rows < most), "n>1M")],
        "configs": [{"config_name": "default", "data_files": [{"split": "train", "path": "*.parquet"}]}],
        "dataset_info": {"features": _columns(content)},
    }


def _columns(content: DistilledSet) -> list[dict[str, Any]]:
    """Return the columns as a card describes them."""
    names = {str(label): name for label, name in enumerate(content.classes)}
    columns: list[dict[str, Any]] = [
        {"name": "image", "dtype": {"array3_d": {"shape": list(content.shape), "dtype": "float32"}}},
        {"name": "label", "dtype": {"class_label": {"names": names}} if names else "int64"},
        {"name": "seed", "dtype": "int64"},
    ]
    if content.distillations[0].soft:
        columns.append({"name": "soft_label", "sequence": "float32"})
    return columns
