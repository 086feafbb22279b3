"""The validation split."""

import pytest
import torch

from bench.types import Bundle, Split
from datasets.held_out import held_out

COUNTS = (30, 17, 5, 1200)


@pytest.fixture
def numbered():
    """Return a bundle in which each training image spells its own number, in shuffled order of classes."""
    labels = torch.repeat_interleave(torch.arange(len(COUNTS)), torch.tensor(COUNTS))
    labels = labels[torch.randperm(len(labels), generator=torch.Generator().manual_seed(3))]
    number = torch.arange(len(labels))
    images = torch.stack([number // 256, number % 256], 1).to(torch.uint8).view(-1, 1, 1, 2)
    test = Split(torch.zeros(4, 1, 1, 2, dtype=torch.uint8), torch.arange(4))
    return Bundle("numbered", Split(images, labels), test, ("a", "b", "c", "d"), (0.5,), (0.5,))


def numbers(split):
    pairs = split.images.flatten(1).long()
    return (pairs[:, 0] * 256 + pairs[:, 1]).tolist()


def test_held_out_parts_the_training_set(numbered):
    parted = held_out(numbered, fraction=0.2, seed=0)
    train, test = numbers(parted.train), numbers(parted.test)
    assert sorted(train + test) == list(range(len(numbered.train)))  # the union, each image once: so they are disjoint
    for split, indices in ((parted.train, train), (parted.test, test)):
        assert torch.equal(split.labels, numbered.train.labels[indices])  # labels stay with their images


@pytest.mark.parametrize("fraction", [0.1, 0.2, 0.5])
def test_held_out_takes_the_fraction_of_each_class(numbered, fraction):
    counts = held_out(numbered, fraction=fraction, seed=0).test.labels.bincount(minlength=4).tolist()
    assert counts == [max(1, round(fraction * count)) for count in COUNTS]


def test_held_out_is_the_same_for_a_seed_and_another_for_another(numbered):
    first, again, other = (held_out(numbered, fraction=0.2, seed=seed) for seed in (0, 0, 1))
    assert numbers(first.test) == numbers(again.test)
    assert numbers(first.train) == numbers(again.train)
    assert set(numbers(first.test)) != set(numbers(other.test))


def test_held_out_is_a_random_part(numbered):
    # Neither the first images of a class nor the last: the chance of that among 1200 is nil.
    chosen = set(numbers(held_out(numbered, fraction=0.1, seed=0).test))
    members = (numbered.train.labels == 3).nonzero().flatten().tolist()
    assert not set(members[:120]) <= chosen
    assert not set(members[-120:]) <= chosen


def test_held_out_never_looks_at_the_test_set(numbered):
    blind = Bundle(numbered.name, numbered.train, None, numbered.classes, numbered.mean, numbered.std)
    assert numbers(held_out(blind, fraction=0.2, seed=0).test) == numbers(held_out(numbered, fraction=0.2, seed=0).test)


def test_held_out_keeps_everything_else(numbered):
    parted = held_out(numbered, fraction=0.2, seed=0)
    for name in ("name", "classes", "mean", "std", "flip"):
        assert getattr(parted, name) == getattr(numbered, name)


def test_held_out_of_another_set_is_drawn_apart(numbered):
    # The stream is the dataset's: two sets of the same shape are not parted alike.
    other = Bundle("other", numbered.train, numbered.test, numbered.classes, numbered.mean, numbered.std)
    first, second = (held_out(bundle, fraction=0.2, seed=0) for bundle in (numbered, other))
    assert set(numbers(first.test)) != set(numbers(second.test))
