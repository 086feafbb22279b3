"""Labels of distilled sets follow names of classes wherever both sides have names."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import PIL.Image
import pytest
import torch
from released_sets import content, source, specs, warnings_of

from bench.cells.task import Task
from bench.errors import UsageError
from bench.machine.compute import Compute
from bench.seeding import Streams
from bench.sets import write_arrays
from bench.types import Bundle, Split
from datasets import DATASETS
from methods import find_method
from methods.outside.labels import matching

TORCHVISION = {
    "fashionmnist": (
        *("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat"),
        *("Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot"),
    ),
    "cifar10": ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"),
    "mnist": (
        *("0 - zero", "1 - one", "2 - two", "3 - three", "4 - four"),
        *("5 - five", "6 - six", "7 - seven", "8 - eight", "9 - nine"),
    ),
}
OTHERS = {
    "cifar10": ("plane", "car", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"),  # of a tutorial of PyTorch
    "fashionmnist": tuple(name.replace("/", "-").replace(" ", "_") for name in TORCHVISION["fashionmnist"]),  # of folders
    "cifar100": tuple(f"{label:02}-{name.upper()}" for label, name in enumerate(DATASETS["cifar100"].classes)),
    "svhn": tuple(f"00{digit}" for digit in range(10)),
}


@pytest.mark.parametrize(("dataset", "names"), [*TORCHVISION.items(), *OTHERS.items()])
def test_the_names_that_others_give_are_classes_in_any_order(dataset, names):
    registered = DATASETS[dataset]
    order = np.random.default_rng(0).permutation(len(names))
    shuffled = [names[label] for label in order]
    match = matching(shuffled, registered.classes, dict(registered.aliases), numbered=False)
    assert match.order == tuple(order)
    assert (match.by_number, match.unmatched) == ((), ())


def test_cifar100_has_the_names_of_its_fine_labels():
    classes = DATASETS["cifar100"].classes
    assert len(set(classes)) == 100
    assert (classes[0], classes[26], classes[99]) == ("apple", "crab", "worm")
    assert classes == tuple(sorted(classes))  # as Krizhevsky numbers them


# ---- folders of pictures: own names, the dataset's, the class of each in the order of the set's labels ----

FOLDERS = {
    "numbers as text": ([str(n) for n in range(12)], sorted(map(str, range(12))), [0, 1, 4, 5, 6, 7, 8, 9, 10, 11, 2, 3]),
    "numbers not from 0": (["3", "7"], ["3", "7"], [0, 1]),
    "zeros in front": (["003", "007"], ["3", "7"], [0, 1]),
    "numbers before names": (["001.b", "002.a"], ["001.b", "002.a"], [0, 1]),
    "numbers before names, of the dataset alone": (["a", "b"], ["001.b", "002.a"], [1, 0]),
    "numbers of the dataset's names": (["1", "2"], ["001.b", "002.a"], [0, 1]),
    "numbers that contradict names": (["0-b", "1-a"], ["a", "b"], [1, 0]),
    "an export of a set of numbers": (["0-3", "1-7"], ["3", "7"], [0, 1]),
    "case and punctuation": (["Hot_Dog", "ice cream"], ["ice-cream", "hot dog"], [1, 0]),
    "accents": (["été", "hiver"], ["hiver", "ete"], [1, 0]),
    "another script": (["犬", "猫"], ["猫", "犬"], [1, 0]),
    "signs alone": (["+", "-"], ["-", "+"], [1, 0]),
}


def pictures(folder: Path, names) -> None:
    for value, name in enumerate(names):
        (folder / name).mkdir(parents=True)
        PIL.Image.new("L", (8, 8), value).save(folder / name / "a.png")


def values_by_class(folder: Path, classes) -> dict[str, int]:
    """Return by class of a dataset the grey level of the image that networks are trained on for it."""
    split = Split(torch.zeros(len(classes), 1, 8, 8, dtype=torch.uint8), torch.arange(len(classes)))
    bundle = Bundle("tiny", split, split, tuple(classes), (0.4,), (0.2,))
    method = find_method(f"set:{folder}")
    (spec,) = specs(method, source(classes=tuple(classes), shape=(1, 8, 8)), ipcs=(1,))
    syn = method.procedure(
        Task(bundle, spec, Streams(0, "tiny", 1), Compute(torch.device("cpu"), "fp32", 1), lambda progress: None)
    )
    levels = [round(float(image.mean() * 0.2 + 0.4) * 255) for image in syn.images]
    return {classes[label]: level for label, level in zip(syn.labels.tolist(), levels, strict=True)}


@pytest.mark.parametrize("name", FOLDERS)
@pytest.mark.filterwarnings("ignore:.*within")  # the images are almost black
def test_class_folders_that_are_the_datasets_names_mean_these_classes(tmp_path, name):
    own, classes, order = FOLDERS[name]
    pictures(tmp_path / "set", own)
    assert values_by_class(tmp_path / "set", classes) == {classes[target]: value for value, target in enumerate(order)}


UNKNOWN = {
    "some folders numbered": ["0-coat", "dress"],
    "a number left out": ["0", "2"],
    "numbers from 1": ["1", "2"],
    "a number twice": ["0", "0-coat"],
    "another name": ["dark", "light"],
}


@pytest.mark.parametrize("name", UNKNOWN)
def test_class_folders_that_are_no_names_are_refused_before_work(tmp_path, name):
    pictures(tmp_path / "set", UNKNOWN[name])
    with pytest.raises(UsageError, match=r"its class folders .* are neither numbered, as in 00-name, nor classes of 'tiny'"):
        specs(find_method(f"set:{tmp_path / 'set'}"), source(classes=("dark", "bright"), shape=(1, 8, 8)), ipcs=(1,))


def test_numbers_from_0_that_are_half_of_the_names_are_refused(tmp_path):
    classes = tuple(str(number) for number in range(1, 11))
    pictures(tmp_path / "set", map(str, range(10)))
    with pytest.raises(UsageError, match="its classes 0 are none of 'tiny', and the names of others take"):
        specs(find_method(f"set:{tmp_path / 'set'}"), source(classes=classes, shape=(1, 8, 8)), ipcs=(1,))


# ---- what is taken by number ----


@pytest.fixture
def method_of(tmp_path):
    """Return a function that writes a set with names of classes and returns its method."""

    def make(*names):
        write_arrays(tmp_path / "made.npz", content(classes=names))
        return find_method(f"set:{tmp_path / 'made.npz'}")

    return make


def test_what_matches_no_name_is_taken_by_number_and_said(method_of):
    (warning,) = warnings_of(method_of("x", "y", "z"))
    assert "it calls a class 'x' that 'tiny' calls 'dark'" in warning
    assert warning.endswith("labels are taken by number: x is dark, y is grey, z is bright")


def test_a_name_that_is_left_is_the_class_that_is_left(method_of):
    (warning,) = warnings_of(method := method_of("gray", "dark", "bright"))
    assert warning.endswith("labels are taken by number: gray is grey")
    assert specs(method)[0].settings.labels == (1, 0, 2)


def test_two_hundred_names_are_counted():
    names, classes = [f"x{label}" for label in range(200)], [f"c {label} y" for label in range(200)]
    match = matching(names, classes, {}, numbered=True)
    assert match.order == match.by_number == tuple(range(200))


def test_the_hash_says_which_classes_labels_are_unless_that_is_their_number(method_of):
    in_order, shuffled = method_of("dark", "grey", "bright"), method_of("grey", "bright", "dark")
    assert in_order.code == shuffled.code
    (first,), (second,) = specs(in_order), specs(shuffled)
    assert first.hash != second.hash
    assert "labels" not in first.model_dump(mode="json")["settings"]
    assert second.model_dump(mode="json")["settings"]["labels"] == [1, 2, 0]
    typed = specs(in_order, labels="1,2,0")[0]
    assert typed.settings.labels == (1, 2, 0)
    assert warnings_of(in_order, labels="1,2,0") == []


@pytest.mark.parametrize("labels", ["0,1,1", "1,2,3", "a,b,c", "0,1", "-1,0,1"])
def test_labels_that_are_no_permutation_are_refused(method_of, labels):
    with pytest.raises(UsageError, match=r"--set set:made\.labels.*; valid|--set set:made\.labels.*: valid"):
        specs(method_of(), labels=labels)
