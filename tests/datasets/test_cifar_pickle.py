"""CIFAR's pickled batches. torchvision reads them too, so it is the oracle."""

import numpy as np
import pytest
import torchvision
from small_files import both, check_bundle, write_cifar10, write_cifar100

from bench.errors import UsageError
from datasets import find_source

CIFAR = {"cifar10": (write_cifar10, 53, 21), "cifar100": (write_cifar100, 230, 110)}


@pytest.mark.parametrize("name", CIFAR)
def test_cifar_pickles_are_read_pixel_by_pixel(tmp_path, name):
    write, train, test = CIFAR[name]
    splits = both(name, train, test)
    write(tmp_path, splits)
    check_bundle(find_source(name).load(tmp_path), name, splits)


@pytest.mark.parametrize("name", CIFAR)
def test_cifar_pickles_are_read_as_torchvision_reads_them(tmp_path, name, monkeypatch):
    write, train, test = CIFAR[name]
    write(tmp_path, both(name, train, test))
    # These files are not the originals, so torchvision's check sums cannot match.
    monkeypatch.setattr("torchvision.datasets.cifar.check_integrity", lambda *arguments: True)
    bundle = find_source(name).load(tmp_path)
    for is_train, split in ((True, bundle.train), (False, bundle.test)):
        oracle = getattr(torchvision.datasets, name.upper())(str(tmp_path), train=is_train, download=False)
        assert np.array_equal(split.images.numpy().transpose(0, 2, 3, 1), oracle.data)
        assert split.labels.tolist() == oracle.targets


def test_cifar10_without_one_of_its_batches_is_not_there(tmp_path):
    write_cifar10(tmp_path, both("cifar10", 53, 21))
    (tmp_path / "cifar-10-batches-py" / "data_batch_3").unlink()
    with pytest.raises(UsageError, match="cifar-10-batches-py"):
        find_source("cifar10").load(tmp_path)


def test_a_file_cut_short_is_named(tmp_path):
    # What an interrupted copy leaves.
    write_cifar10(tmp_path, both("cifar10", 53, 21))
    file = tmp_path / "cifar-10-batches-py/data_batch_2"
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    with pytest.raises(UsageError) as caught:
        find_source("cifar10").load(tmp_path)
    assert file.name in str(caught.value)
