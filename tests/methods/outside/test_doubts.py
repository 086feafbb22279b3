"""What looks wrong of a set is said before work: a normalisation that cannot be right, and permuted labels."""

from __future__ import annotations

import itertools
import os
import re
from collections import defaultdict
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch
from released_sets import content, specs, warnings_of

from bench.errors import UsageError
from bench.files import DataWarning
from bench.loops.images import normalise
from bench.sets import Distillation, DistilledSet, read_tensors, write_arrays
from bench.types import Bundle, Split
from datasets import find_source
from methods import find_method
from methods.outside.doubts import normalisation_doubt, permutation

ROOT = Path(__file__).resolve().parents[3]
COMMITTED = sorted((ROOT / "reports" / "reference").glob("*/records/*.safetensors"))


# ---- normalisation ----


def set_of(images: np.ndarray, **said) -> DistilledSet:
    return DistilledSet(distillations=(Distillation.of(0, images, np.arange(len(images))),), **said)


REAL = np.random.default_rng(0).random((3, 1, 8, 8)).astype(np.float32)  # from 0 to 1, with values near both ends
CIFAR10, CIFAR100 = (0.4914, 0.2023), (0.5071, 0.2673)
NORMALISED = (REAL - CIFAR10[0]) / CIFAR10[1]
WHITENED = np.random.default_rng(0).normal(size=(3, 1, 8, 8)).astype(np.float32)

WRONG = {
    "0 to 255 called 0 to 1": (REAL * 255, (0.0, 1.0), "its values reach 254.* once the normalisation is undone.*0 to 255"),
    "a mean of 0 to 255": (NORMALISED, (125.3, 63.0), "its values reach .* a mean and deviation of such"),
    "0 to 255 called normalised": (REAL * 255, CIFAR10, "its values reach"),
    "0 to 1 called normalised": (REAL, CIFAR10, "none of its values is below 0, though a mean of 0.4914 is said: .* 0 to 1,"),
    "0 to 5 called normalised": (REAL * 5, CIFAR10, "none of its values is below 0.* 0 to 255,"),
    "normalised called 0 to 1": (NORMALISED, (0.0, 1.0), r"its values go down to -2\.4, though mean 0 .* normalised already"),
    "whitened called 0 to 1": (WHITENED, (0.0, 1.0), "or whitened by ZCA"),
    "divided twice": (REAL / 255, (0.0, 1.0), "its values lie within 0.0039 of each other: divided by 255 twice"),
    "divided twice, and normalised": (REAL / 255 - 0.5, (0.5, 1.0), "its values lie within"),
    "one colour": (np.zeros_like(REAL), CIFAR10, "of one colour"),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_normalisation_that_cannot_be_right_is_warned_of(name):
    images, (mean, std), message = WRONG[name]
    assert re.search(message, normalisation_doubt(set_of(images.astype(np.float32)), (mean,), (std,), said=True))


RIGHT = {
    "normalised": (NORMALISED, CIFAR10),
    "0 to 1": (REAL, (0.0, 1.0)),
    "optimised, and a little below 0": (REAL * 1.2 - 0.09, (0.0, 1.0)),
    "steps of SGD": (NORMALISED * 9, CIFAR10),
    "another set's numbers": (NORMALISED, CIFAR100),
    "whitened": (WHITENED, (0.0, 1.5)),
}


@pytest.mark.parametrize("name", RIGHT)
def test_a_normalisation_that_may_be_right_is_not(name):
    images, (mean, std) = RIGHT[name]
    assert normalisation_doubt(set_of(images.astype(np.float32)), (mean,), (std,), said=True) == ""


def test_pixels_are_warned_of_if_they_are_all_alike():
    pixels = np.random.default_rng(0).integers(0, 2, (3, 1, 8, 8), dtype=np.uint8)
    assert "divided by 255 twice" in normalisation_doubt(set_of(pixels), (0.4,), (0.2,), said=False)
    assert normalisation_doubt(set_of(pixels * 255), (0.4,), (0.2,), said=False) == ""


def test_the_command_line_hears_of_it_with_the_setting(tmp_path):
    write_arrays(tmp_path / "made.npz", content(mean=(), std=()))
    (warning,) = warnings_of(find_method(f"set:{tmp_path / 'made.npz'}"), mean="0,0", std="1,1")
    assert warning.endswith("; --set set:made.mean=... and .std=... name others")
    assert "its values go down to" in warning


# ---- permuted labels ----

CYCLE = (1, 2, 3, 4, 5, 6, 7, 8, 9, 0)


@cache
def digits() -> Bundle:
    return find_source("digits").load(ROOT)


def real(ipc: int, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """Return real digits, as the method `random` may draw them."""
    train, draws = digits().train, np.random.default_rng(seed)
    chosen = np.concatenate([draws.choice(np.flatnonzero(train.labels == label), ipc, replace=False) for label in range(10)])
    return normalise(train.images[chosen], digits()), train.labels[chosen]


@pytest.mark.parametrize("order", [CYCLE, (9, 8, 7, 6, 5, 4, 3, 2, 1, 0)])
def test_permuted_labels_are_seen_and_the_classes_are_named(order):
    images, labels = real(10)
    right = tuple(order.index(label) for label in range(10))
    assert permutation(images, torch.tensor(order)[labels], digits()) == right
    images, labels = real(1)  # some of ten digits are nearest to a wrong mean
    best = permutation(images, torch.tensor(order)[labels], digits())
    assert best is not None
    assert np.equal(best, right).sum() >= 6


def test_two_labels_that_are_swapped_are_seen_in_ten_images_a_class():
    images, labels = real(10)
    order = torch.tensor([0, 7, 2, 3, 4, 5, 6, 1, 8, 9])
    assert permutation(images, order[labels], digits()) == tuple(order.tolist())
    soft = torch.eye(10)[order[labels]] * 0.7 + 0.03
    assert permutation(images, soft, digits()) == tuple(order.tolist())


def test_right_labels_noise_and_parts_of_images_are_not_warned_of():
    noise = torch.Generator().manual_seed(0)
    for seed in range(20):
        for ipc in (1, 5):
            images, labels = real(ipc, seed)
            assert permutation(images, labels, digits()) is None
            assert permutation(torch.rand(images.shape, generator=noise), labels, digits()) is None
            parts = torch.nn.functional.interpolate(images[:, :, :4, 4:], size=(8, 8), mode="bilinear")
            assert permutation(parts, labels, digits()) is None


def test_the_best_assignment_is_the_most_likely_of_all():
    """Classes of one pixel, whose images are nearest to other means as often one way as the other is rare."""
    levels = {0: [0] * 60, 1: [100] * 30 + [20] * 30, 2: [200] * 45 + [120] * 15}
    pixels = torch.tensor([level for of_class in levels.values() for level in of_class], dtype=torch.uint8).view(-1, 1, 1, 1)
    split = Split(pixels, torch.arange(3).repeat_interleave(60))
    bundle = Bundle("tiny", split, split, ("a", "b", "c"), (0.5,), (0.3,))
    means = [np.mean(levels[label]) for label in range(3)]
    nearest = {level: int(np.argmin([abs(level - mean) for mean in means])) for level in (0, 20, 100, 120, 200)}
    chance = {
        (label, near): (sum(nearest[level] == near for level in levels[label]) + 1) / 63
        for label in range(3)
        for near in range(3)
    }
    given = [100, 20] * 5 + [0] * 2 + [200] * 5  # classes 1, 0 and 2, called 0, 1 and 2
    called = [0] * 10 + [1] * 2 + [2] * 5

    def likelihood(order) -> float:
        return sum(np.log(chance[order[label], nearest[level]]) for level, label in zip(given, called, strict=True))

    best = max(itertools.permutations(range(3)), key=likelihood)
    images = normalise(torch.tensor(given, dtype=torch.uint8).view(-1, 1, 1, 1), bundle)
    assert permutation(images, torch.tensor(called), bundle) == best == (1, 0, 2)


def test_small_datasets_prove_nothing():
    """Two images a class say little of how images of a class look."""
    images = torch.randint(0, 255, (6, 1, 8, 8), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    split = Split(images, torch.arange(3).repeat_interleave(2))
    bundle = Bundle("tiny", split, split, ("a", "b", "c"), (0.5,), (0.3,))
    assert permutation(normalise(images[::2], bundle), torch.tensor([1, 2, 0]), bundle) is None


def test_the_warning_before_work_names_the_setting_that_mends_it(tmp_path):
    images, labels = real(10)
    given = {"images": images.numpy(), "labels": torch.tensor(CYCLE)[labels].numpy()}
    np.savez(tmp_path / "set.npz", **given, mean=digits().mean, std=digits().std)
    method = find_method(f"set:{tmp_path / 'set.npz'}")
    with pytest.warns(DataWarning, match="its labels look permuted: by the nearest class mean of real images, 0 is 9, 1 is 0"):
        method.check_data(specs(method, find_source("digits"), ipcs=(10,))[0], digits())
    (said,) = method.assumptions(digits(), method.settings())
    assert said.endswith("; if so, --set set:set.labels=9,0,1,2,3,4,5,6,7,8")
    mended = method.resolve({"labels": "9,0,1,2,3,4,5,6,7,8"}, profile="quick")
    assert list(method.assumptions(digits(), mended)) == []
    with pytest.raises(UsageError):
        method.resolve({"labels": "9,0"}, profile="quick").changed(labels=(0, 0))


# ---- what the suite makes and commits ----


@cache
def committed() -> dict[str, list[DistilledSet]]:
    """Return the committed sets by dataset, those of SGD among them, most of whose pixels are outside [0, 1]."""
    assert len(COMMITTED) > 100
    sets = defaultdict(list)
    for path in COMMITTED:
        there = read_tensors(path)
        sets[there.dataset].append(there)
    return sets


def test_no_normalisation_of_a_committed_set_is_warned_of():
    for there in itertools.chain.from_iterable(committed().values()):
        assert normalisation_doubt(there, there.mean, there.std, said=True) == "", there.details


@pytest.mark.parametrize("name", ["digits", "mnist", "fashionmnist", "cifar10"])
def test_no_labels_of_a_committed_set_are_warned_of(name):
    source, root = find_source(name), Path(os.environ.get("DATA_ROOT", ROOT / "tests"))
    files = source.files(root)
    if files is None:
        pytest.skip(f"{name} is not below DATA_ROOT={root}: its committed sets are not compared with its real images")
    test = files.layout.read(files.test[0], "test")  # means of these are as good, and are there sooner
    bundle = Bundle(name, test, test, source.classes, source.mean, source.std)
    for there in committed()[name]:
        (each,) = there.distillations
        assert permutation(torch.from_numpy(each.images), torch.from_numpy(each.labels), bundle) is None, there.details
