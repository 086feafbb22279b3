"""What the tests of the command line share: the kinds of methods, the files of a report, and readers of what a run leaves."""

from __future__ import annotations

import csv
import json
import re

import numpy as np
from PIL import Image

from bench.cells.method import FeatureMatching
from methods import METHODS

MATCHING = tuple(name for name, method in METHODS.items() if isinstance(method, FeatureMatching))
OWN_LOOP = tuple(name for name, method in METHODS.items() if method.has_passes and name not in MATCHING)
CORESETS = tuple(name for name, method in METHODS.items() if method.preparation)
WHOLE = tuple(name for name, method in METHODS.items() if method.whole_set)
SMALL = tuple(name for name in METHODS if name not in WHOLE)
SELECTION = tuple(name for name in SMALL if name not in (*MATCHING, *OWN_LOOP))
"""Methods that choose real images: the coresets, and `random`."""

PREPARED = {method.preparation.kind for method in METHODS.values() if method.preparation}

FIGURES = ("answer", "accuracy_1", "pareto_1", "timing_1")
TABLES = ("table2.md", "table2.csv", "table2.tex", "transfer.md", "transfer.csv", "transfer.tex", "timing.md", "timing.csv")
REPORT = (*TABLES, "timing.tex", "accuracy.csv", "results.csv", "results.parquet", "index.html", "figures", "images")


def cell_lines(stdout):
    """Return the lines of a dry run that are of cells, as opposed to those of what they share and of the plan below them."""
    lines = [line for line in stdout.splitlines() if re.match("[0-9a-f]{16} ", line)]
    return [line for line in lines if not re.search(f" ({'|'.join(PREPARED)}) of ", line)]


def read_csv(path):
    with path.open(newline="") as lines:
        return list(csv.DictReader(lines))


def read_records(out):
    """Return the records of a run as scripts read them, in the order of their names."""
    return [json.loads(path.read_text()) for path in sorted((out / "records").glob("*.json"))]


def accuracies_of(record):
    """Return the accuracies of the networks of the record's first evaluation."""
    return record["evaluations"][0]["accuracies"]


def save_pictures(folder, mode="RGB", size=20):
    """Write a set of two classes, six images each."""
    generator = np.random.default_rng(0)
    for split in ("train", "test"):
        for name in ("left", "right"):
            (folder / split / name).mkdir(parents=True)
            for number in range(6):
                pixels = generator.integers(0, 256, (size, size, len(mode)), dtype=np.uint8)
                Image.fromarray(pixels).save(folder / split / name / f"{number}.png")
