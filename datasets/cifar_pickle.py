"""CIFAR's pickled batches, as on Krizhevsky's page: dictionaries written by Python 2."""

from __future__ import annotations

import pickle
from functools import partial
from pathlib import Path

from bench.lazy import numpy as np
from bench.types import Split
from datasets.source import Layout, Splits, make_split, reading


def pickle_files(folder: str, *, train: tuple[str, ...], test: str, label_key: str, files: str) -> Layout:
    """Return the layout of CIFAR's batches in `<data root>/<folder>`.

    Args:
        folder: the name of the folder.
        train: the names of the training batches, in order.
        test: the name of the test batch.
        label_key: the entry of a batch that holds the labels.
        files: the names of all batches in words, for messages.

    """
    read = partial(_read_splits, folder=folder, train=train, test=test, label_key=label_key)
    return Layout(f"{folder}/{files}", read)


def _read_splits(root: Path, *, folder: str, train: tuple[str, ...], test: str, label_key: str) -> Splits | None:
    train_files, test_file = [root / folder / name for name in train], root / folder / test
    if not all(file.is_file() for file in (*train_files, test_file)):
        return None
    return _read_split(train_files, label_key), _read_split([test_file], label_key)


def _read_split(files: list[Path], label_key: str) -> Split:
    images, labels = [], []
    for file in files:
        with reading(file):
            batch = pickle.loads(file.read_bytes(), encoding="latin1")
            images.append(batch["data"].reshape(-1, 3, 32, 32))
            labels.append(batch[label_key])
    return make_split(np.concatenate(images), np.concatenate(labels))
