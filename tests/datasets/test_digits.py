"""The digits that scikit-learn embeds."""

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits

from bench.types import Split
from datasets import DATASETS


@pytest.fixture(scope="module")
def digits(tmp_path_factory):
    return DATASETS["digits"].load(tmp_path_factory.mktemp("empty"))


def rows(split):
    """Return each image and its label as one row, sorted: two sets of images are equal where these are."""
    joined = np.column_stack([split.images.flatten(1).numpy(), split.labels.numpy()])
    return joined[np.lexsort(joined.T)]


def test_digits_have_ten_classes_of_8x8_grey_pixels(digits):
    assert digits.classes == tuple("0123456789")
    assert digits.shape == (1, 8, 8)
    for split in (digits.train, digits.test):
        assert split.images.dtype == torch.uint8
        assert split.labels.dtype == torch.int64
        assert split.images.shape == (len(split), 1, 8, 8)
        assert split.labels.unique().tolist() == list(range(10))
        assert (int(split.images.min()), int(split.images.max())) == (0, 255)


def test_digits_are_split_four_to_one_in_every_class(digits):
    train, test = (split.labels.bincount(minlength=10) for split in (digits.train, digits.test))
    total = train + test
    assert ((train - 0.8 * total).abs() <= 0.5).all()


def test_the_splits_of_digits_are_scikit_learns_digits_each_once(digits):
    original = load_digits()
    images = np.rint(original.images * (255 / 16)).astype(np.uint8)
    everything = Split(torch.from_numpy(images)[:, None], torch.from_numpy(original.target.astype(np.int64)))
    joined = Split(torch.cat([digits.train.images, digits.test.images]), torch.cat([digits.train.labels, digits.test.labels]))
    # Equal as multisets, and as many as there are: so nothing is in both splits, and nothing is left out.
    assert len(joined) == 1797
    assert np.array_equal(rows(joined), rows(everything))


def test_no_test_digit_is_a_copy_of_a_training_digit(digits):
    train = {image.tobytes() for image in digits.train.images.numpy()}
    assert not any(image.tobytes() in train for image in digits.test.images.numpy())


def test_the_recorded_mean_and_deviation_of_digits_are_the_data_s(digits):
    scaled = digits.train.images.double() / 255
    assert digits.mean == pytest.approx([float(scaled.mean())], abs=5e-5)  # four decimals
    assert digits.std == pytest.approx([float(scaled.std())], abs=5e-5)
