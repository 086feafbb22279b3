"""Sets that are not there: every place is named, or they are downloaded. And reading never writes."""

import os
from pathlib import Path
from urllib.error import URLError

import pytest
import torchvision
from small_files import both, check_bundle, tree, write_hub, write_idx, write_svhn

from bench.errors import UsageError
from datasets import DATASETS, find_source

PLACES = {
    "mnist": ("MNIST/raw", "mnist/train*.parquet"),
    "fashionmnist": ("FashionMNIST/raw", "fashionmnist/train*.parquet"),
    "svhn": ("train_32x32.mat", "test_32x32.mat", "svhn/train*.parquet"),
    "cifar10": ("cifar-10-batches-py/data_batch_1", "test_batch", "cifar10/train*.parquet"),
    "cifar100": ("cifar-100-python/train", "cifar100/train*.parquet"),
}


@pytest.mark.parametrize("name", PLACES)
def test_a_missing_set_lists_every_place_and_what_would_satisfy(tmp_path, name):
    with pytest.raises(UsageError) as caught:
        find_source(name).load(tmp_path)
    message = str(caught.value)
    assert "\n" not in message
    for place in PLACES[name]:
        assert str(tmp_path / place) in message or place in message
    for word in (repr(name), str(tmp_path), "--data-root", "DATA_ROOT"):
        assert word in message
    assert message.count(str(tmp_path)) >= 3  # the root itself, and at least two places below it


@pytest.mark.parametrize("name", PLACES)
def test_a_download_that_fails_is_explained(tmp_path, name, monkeypatch):
    def kind(*arguments, **options):
        raise URLError("the cable is out")

    monkeypatch.setattr(torchvision.datasets, DATASETS[name].download.class_name, kind)
    with pytest.raises(UsageError, match="the cable is out"):
        find_source(name).load(tmp_path)


def test_what_torchvision_downloads_is_then_read(tmp_path, monkeypatch):
    splits, asked = both("mnist"), []

    def kind(root, *, train=True, download=False):
        asked.append(download)
        write_idx(Path(root) / "MNIST" / "raw", splits)

    monkeypatch.setattr(torchvision.datasets, "MNIST", kind)
    check_bundle(find_source("mnist").load(tmp_path / "new"), "mnist", splits)
    assert asked
    assert all(asked)


def test_both_splits_of_svhn_are_downloaded(tmp_path, monkeypatch):
    splits = both("svhn")

    def kind(root, split="train", *, download=False):
        assert download
        source = tmp_path / "elsewhere"
        write_svhn(source, splits)
        Path(root).mkdir(exist_ok=True)
        (source / f"{split}_32x32.mat").rename(Path(root) / f"{split}_32x32.mat")

    monkeypatch.setattr(torchvision.datasets, "SVHN", kind)
    check_bundle(find_source("svhn").load(tmp_path / "root"), "svhn", splits)


def test_what_is_there_is_not_downloaded_again(tmp_path, monkeypatch):
    write_hub(tmp_path / "mnist", both("mnist"))
    monkeypatch.setattr(torchvision.datasets, "MNIST", lambda *arguments, **options: pytest.fail("downloads"))
    find_source("mnist").load(tmp_path)


@pytest.mark.parametrize("below", ["", "not/there/yet"])
def test_nothing_is_written_into_a_read_only_root(tmp_path, monkeypatch, below):
    # Tests may run as root, for whom every folder is writable: so the question is answered for it.
    asked = []

    def access(path, mode, **options):
        asked.append(Path(path))
        return mode & os.W_OK == 0

    monkeypatch.setattr(os, "access", access)
    monkeypatch.setattr(torchvision.datasets, "MNIST", lambda *arguments, **options: pytest.fail("writes into the root"))
    with pytest.raises(UsageError, match="read-only"):
        find_source("mnist").load(tmp_path / below)
    assert asked == [tmp_path]
    assert tree(tmp_path) == []


@pytest.mark.parametrize("layout", ["idx", "gz", "parquet"])
def test_reading_writes_nothing(tmp_path, layout):
    if layout == "parquet":
        write_hub(tmp_path / "mnist", both("mnist"))
    else:
        write_idx(tmp_path / "MNIST" / "raw", both("mnist"), gz=layout == "gz")
    before = tree(tmp_path)
    find_source("mnist").load(tmp_path)
    assert tree(tmp_path) == before
