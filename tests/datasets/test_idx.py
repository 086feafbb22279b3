"""IDX files. torchvision reads them too: its loaders define the layout, so they are the oracle."""

import pytest
import torch
import torchvision
from small_files import IDX_FOLDERS, both, check_bundle, write_idx

from bench.errors import UsageError
from datasets import find_source


@pytest.mark.parametrize("name", IDX_FOLDERS)
@pytest.mark.parametrize("gz", [False, True], ids=["bytes", "gz"])
def test_idx_files_are_read_pixel_by_pixel(tmp_path, name, gz):
    splits = both(name)
    write_idx(tmp_path / IDX_FOLDERS[name] / "raw", splits, gz=gz)
    check_bundle(find_source(name).load(tmp_path), name, splits)


@pytest.mark.parametrize("name", IDX_FOLDERS)
def test_idx_files_are_read_as_torchvision_reads_them(tmp_path, name):
    write_idx(tmp_path / IDX_FOLDERS[name] / "raw", both(name))
    bundle = find_source(name).load(tmp_path)
    for train, split in ((True, bundle.train), (False, bundle.test)):
        oracle = getattr(torchvision.datasets, IDX_FOLDERS[name])(str(tmp_path), train=train, download=False)
        assert torch.equal(split.images[:, 0], oracle.data)
        assert torch.equal(split.labels, oracle.targets)


def test_fashionmnist_is_not_mistaken_for_mnist(tmp_path):
    # Both sets have files of the same names; the folder alone tells them apart.
    write_idx(tmp_path / "MNIST" / "raw", both("mnist"))
    with pytest.raises(UsageError, match="fashionmnist"):
        find_source("fashionmnist").load(tmp_path)


CUTS = {
    "last byte missing": lambda data: data[:-1],
    "a byte too many": lambda data: data + b"\0",
    "half": lambda data: data[: len(data) // 2],
    "inside the header": lambda data: data[:6],
    "inside the first word": lambda data: data[:2],
    "empty": lambda data: b"",
    "another type of number": lambda data: data[:2] + b"\x0d" + data[3:],
    "no IDX file at all": lambda data: b"<html>404 Not Found</html>",
}


@pytest.mark.parametrize("cut", CUTS)
@pytest.mark.parametrize("kind", ["images-idx3", "labels-idx1"])
def test_a_damaged_idx_file_is_named(tmp_path, cut, kind):
    raw = tmp_path / "MNIST" / "raw"
    write_idx(raw, both("mnist"))
    file = raw / f"train-{kind}-ubyte"
    file.write_bytes(CUTS[cut](file.read_bytes()))
    with pytest.raises(UsageError) as caught:
        find_source("mnist").load(tmp_path)
    assert str(file) in str(caught.value)


@pytest.mark.parametrize("keep", [0, 5, 200])
def test_a_gzipped_idx_file_cut_short_is_named(tmp_path, keep):
    raw = tmp_path / "MNIST" / "raw"
    write_idx(raw, both("mnist"), gz=True)
    file = raw / "t10k-images-idx3-ubyte.gz"
    file.write_bytes(file.read_bytes()[:keep])
    with pytest.raises(UsageError) as caught:
        find_source("mnist").load(tmp_path)
    assert str(file) in str(caught.value)
