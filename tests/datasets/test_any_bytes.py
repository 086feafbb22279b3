"""Whatever bytes lie where a dataset's files should be, loading gives images of that set or a `UsageError`; by Hypothesis."""

from __future__ import annotations

import shutil
import warnings

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from small_files import both, write_cifar10, write_hub, write_idx, write_svhn

from bench.errors import UsageError
from datasets import DATASETS

WRITERS = {
    "mnist": lambda root: write_idx(root / "MNIST" / "raw", both("mnist")),
    "cifar10": lambda root: write_cifar10(root, both("cifar10", 53, 21)),
    "svhn": lambda root: write_svhn(root, both("svhn")),
    "fashionmnist": lambda root: write_hub(root / "fashionmnist", both("fashionmnist")),
}


@pytest.fixture(scope="module", params=WRITERS)
def whole(request, tmp_path_factory):
    """Return the name of a set, and a folder with its small files."""
    root = tmp_path_factory.mktemp(request.param)
    WRITERS[request.param](root)
    return request.param, root


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_damaged_files_are_refused_or_hold_images_of_the_set(whole, tmp_path_factory, data):
    name, root = whole
    copy = tmp_path_factory.mktemp("copy")
    shutil.copytree(root, copy, dirs_exist_ok=True)
    files = sorted(path for path in copy.rglob("*") if path.is_file())
    path = data.draw(st.sampled_from(files))
    content = path.read_bytes()
    begin = data.draw(st.integers(0, len(content)))
    end = data.draw(st.integers(begin, min(begin + 40, len(content))))
    path.write_bytes(content[:begin] + data.draw(st.binary(max_size=40)) + content[end:])
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            bundle = DATASETS[name].load(copy)
    except UsageError:
        return
    finally:
        shutil.rmtree(copy)
    for split in (bundle.train, bundle.test):
        assert tuple(split.images.shape[1:]) == DATASETS[name].shape
        assert len(split.images) == len(split.labels)
        assert 0 <= int(split.labels.min()) <= int(split.labels.max()) < len(DATASETS[name].classes)
