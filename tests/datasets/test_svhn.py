"""SVHN's MATLAB files. torchvision reads them too, so it is the oracle."""

import numpy as np
import pytest
import torchvision
from small_files import both, check_bundle, write_svhn

from bench.errors import UsageError
from datasets import find_source


@pytest.mark.parametrize("folder", [".", "svhn", "SVHN"])
def test_svhn_is_read_pixel_by_pixel_and_ten_means_zero(tmp_path, folder):
    splits = both("svhn")
    assert (splits[0][1] == 0).any()
    write_svhn(tmp_path / folder, splits)
    check_bundle(find_source("svhn").load(tmp_path), "svhn", splits)


def test_svhn_is_read_as_torchvision_reads_it(tmp_path, monkeypatch):
    write_svhn(tmp_path, both("svhn"))
    monkeypatch.setattr("torchvision.datasets.svhn.check_integrity", lambda *arguments: True)
    bundle = find_source("svhn").load(tmp_path)
    for name in ("train", "test"):
        split, oracle = getattr(bundle, name), torchvision.datasets.SVHN(str(tmp_path), split=name, download=False)
        assert np.array_equal(split.images.numpy(), oracle.data)
        assert split.labels.tolist() == oracle.labels.tolist()


def test_a_file_cut_short_is_named(tmp_path):
    # What an interrupted copy leaves.
    write_svhn(tmp_path, both("svhn"))
    file = tmp_path / "train_32x32.mat"
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    with pytest.raises(UsageError) as caught:
        find_source("svhn").load(tmp_path)
    assert file.name in str(caught.value)
