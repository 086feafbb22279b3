"""The real sets, where they lie below the environment variable DATA_ROOT."""

import os
from pathlib import Path

import numpy as np
import pytest
import torch

from datasets import DATASETS
from datasets.fingerprint import fingerprint_of

FIRST_LABELS = {"mnist": [5, 0, 4, 1, 9, 2, 1, 3, 1, 4], "fashionmnist": [9, 0, 0, 3, 0, 2, 7, 2, 5, 5]}
"""The first ten labels of the original order, as everybody has seen them."""

MNIST_COUNTS = [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949]

_LOADED = {}


def real(name, *places):
    """Return the set `name`, loaded once; skip where none of its `places` is below DATA_ROOT."""
    root = os.environ.get("DATA_ROOT")
    if not root:
        pytest.skip(f"DATA_ROOT is not set: {name} is not tested on its real images")
    if not any((Path(root) / place).exists() for place in places):
        pytest.skip(f"DATA_ROOT={root} holds none of {', '.join(places)}: {name} is not tested on its real images")
    if name not in _LOADED:
        _LOADED[name] = DATASETS[name].load(Path(root))
    return _LOADED[name]


@pytest.fixture
def mnist():
    return real("mnist", "MNIST", "mnist")


@pytest.fixture
def fashionmnist():
    return real("fashionmnist", "FashionMNIST", "fashionmnist")


@pytest.fixture(scope="module")
def cifar10():
    yield real("cifar10", "cifar-10-batches-py", "cifar10")
    _LOADED.pop("cifar10", None)  # 180 MB


def moments(images):
    """Return mean and deviation of each channel, scaled to [0, 1]: exactly, from counts of the 256 values."""
    means, stds = [], []
    value = np.arange(256) / 255
    for channel in range(images.shape[1]):
        # In parts: counting widens bytes to eight.
        parts = (np.bincount(part[:, channel].numpy().ravel(), minlength=256) for part in images.split(5000))
        share = sum(parts) / images[:, channel].numel()
        mean = float(share @ value)
        means.append(mean)
        stds.append(float(share @ (value - mean) ** 2) ** 0.5)
    return means, stds


def check_sizes(bundle, train, test, shape):
    assert bundle.train.images.shape == (train, *shape)
    assert bundle.test.images.shape == (test, *shape)
    assert bundle.train.images.dtype == bundle.test.images.dtype == torch.uint8
    assert (len(bundle.train.labels), len(bundle.test.labels)) == (train, test)


def counts(split):
    return split.labels.bincount(minlength=10).tolist()


def test_mnist_is_all_there_in_its_original_order(mnist):
    check_sizes(mnist, 60_000, 10_000, (1, 28, 28))
    assert counts(mnist.train) == MNIST_COUNTS
    assert mnist.train.labels[:10].tolist() == FIRST_LABELS["mnist"]


def test_fashionmnist_is_all_there_in_its_original_order(fashionmnist):
    check_sizes(fashionmnist, 60_000, 10_000, (1, 28, 28))
    assert counts(fashionmnist.train) == [6000] * 10
    assert counts(fashionmnist.test) == [1000] * 10
    assert fashionmnist.train.labels[:10].tolist() == FIRST_LABELS["fashionmnist"]


def test_cifar10_is_all_there(cifar10):
    check_sizes(cifar10, 50_000, 10_000, (3, 32, 32))
    assert counts(cifar10.train) == [5000] * 10
    assert counts(cifar10.test) == [1000] * 10


@pytest.mark.parametrize("name", ["mnist", "fashionmnist"])
def test_the_declared_mean_and_deviation_are_the_data_s(name, request):
    bundle = request.getfixturevalue(name)
    mean, std = moments(bundle.train.images)
    # Four decimals; the field writes FashionMNIST's 0.28604 as 0.2861.
    assert bundle.mean == pytest.approx(mean, abs=1e-4)
    assert bundle.std == pytest.approx(std, abs=1e-4)


def test_cifar10_has_the_mean_of_its_data_and_the_field_s_deviation(cifar10):
    mean, std = moments(cifar10.train.images)
    assert cifar10.mean == pytest.approx(mean, abs=1e-4)
    # The field's numbers are the mean of each image's own deviation. They are kept, so that results compare.
    assert cifar10.std == (0.2023, 0.1994, 0.2010)
    assert std == pytest.approx([0.2470, 0.2435, 0.2616], abs=1e-4)


def test_a_tee_shirt_is_darker_at_its_border_than_in_its_middle(fashionmnist):
    # Rows and columns in order: garments stand upright in the middle, on black.
    shirts = fashionmnist.train.images[fashionmnist.train.labels == 0][:, 0].double().mean(0)
    assert shirts[:, 0].mean() < 5 < 100 < shirts[:, 12:16].mean()
    assert shirts[4:, 13].min() > 100


@pytest.mark.parametrize("name", ["mnist", "fashionmnist", "cifar10"])
def test_the_real_images_have_the_published_fingerprint(name, request):
    # Not by way of the cache. MNIST's and FashionMNIST's files had the published checksums when these were computed.
    bundle = request.getfixturevalue(name)
    fingerprint = fingerprint_of(bundle.train, bundle.test)
    assert fingerprint.content == DATASETS[name].published.content
    if name != "cifar10":  # whose copies differ in their order
        assert fingerprint == DATASETS[name].published
