"""The registry of datasets."""

import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest
from small_files import CLASSES, SHAPES

from bench.errors import UsageError
from datasets import DATASETS, find_source, split_names

every_set = pytest.mark.parametrize("name", DATASETS)


@every_set
def test_an_entry_says_what_it_is(name):
    source = DATASETS[name]
    assert source is import_module(f"datasets.{name}").SOURCE  # each set has a file of its name
    assert source.name == name
    assert source.label.strip()
    assert source.label not in {other.label for key, other in DATASETS.items() if key != name}
    assert not {":", ","} & set(name)  # `--datasets` has commas between names, and `folder:PATH`
    assert len(source.classes) == len(set(source.classes)) >= 2
    assert len(source.mean) == len(source.std) in (1, 3)
    assert all(0 < mean < 1 for mean in source.mean)
    assert all(std > 0 for std in source.std)
    assert source.size >= 1
    assert min(source.counts) >= len(source.classes)
    assert source.layouts
    assert source.own is None
    assert find_source(name) is source


@pytest.mark.parametrize("name", CLASSES)
def test_a_well_known_set_has_the_classes_and_the_shape_that_everybody_knows(name):
    source = DATASETS[name]
    assert len(source.classes) == CLASSES[name]
    assert source.shape[1:] == SHAPES[name][:2]
    assert source.flip == (name in ("fashionmnist", "cifar10", "cifar100"))  # a mirrored digit is another one, or none


def test_an_unknown_set_names_the_valid_ones_and_the_nearest():
    with pytest.raises(UsageError) as caught:
        find_source("fashonmnist")
    for word in ("'fashonmnist'", "did you mean 'fashionmnist'", "folder:PATH", *DATASETS):
        assert word in str(caught.value)


def test_a_named_set_has_a_size_of_its_own():
    with pytest.raises(UsageError, match=r"data\.size"):
        find_source("mnist", size=16)


def test_the_registry_imports_no_heavy_library():
    heavy = {"torch", "torchvision", "numpy", "pandas", "pyarrow", "PIL", "scipy", "sklearn"}
    code = f"import sys, datasets; list(datasets.DATASETS.values()); print(*sorted({heavy} & set(sys.modules)))"
    root = Path(__file__).resolve().parents[2]
    answer = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True)
    assert answer.stdout.split() == []


# ---- names with commas between, and folders with commas in their paths ----


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("digits", ["digits"]),
        ("digits,mnist", ["digits", "mnist"]),
        ("digits,,mnist", ["digits", "", "mnist"]),
        ("folder:R/a", ["folder:R/a"]),
        ("folder:R/x,y", ["folder:R/x,y"]),
        ("folder:R/x,y/z", ["folder:R/x,y/z"]),
        ("digits,folder:R/x,y,mnist", ["digits", "folder:R/x,y", "mnist"]),
        ("folder:R/x,y,folder:R/a,digits", ["folder:R/x,y", "folder:R/a", "digits"]),
        ("folder:R/a,mnist", ["folder:R/a", "mnist"]),
        ("folder:R/p,mnist", ["folder:R/p,mnist"]),
        ("folder:R/a,fashonmnist", ["folder:R/a", "fashonmnist"]),
        ("folder:R/nowhere,at all", ["folder:R/nowhere,at all"]),
        ("folder:R/nowhere,at all,mnist,digits", ["folder:R/nowhere,at all", "mnist", "digits"]),
        ("folder:R/x,y,", ["folder:R/x,y", ""]),
        ("folder:R/,", ["folder:R/,"]),
        ("folder:R/b,digits/", ["folder:R/b,digits/"]),
        ("folder:", ["folder:"]),
    ],
)
def test_commas_part_datasets_and_may_stand_in_paths(tmp_path, text, names):
    for folder in ("a", "x,y/z", "p,mnist", ",", "b", "b,digits"):
        (tmp_path / folder).mkdir(parents=True)
    assert split_names(text.replace("R/", f"{tmp_path}/")) == [name.replace("R/", f"{tmp_path}/") for name in names]


def test_two_folders_that_may_be_meant_are_both_named(tmp_path):
    for folder in ("b", "b,digits"):
        (tmp_path / folder).mkdir()
    with pytest.raises(UsageError) as caught:
        split_names(f"folder:{tmp_path}/b,digits")
    for word in (f"{str(tmp_path / 'b')!r}", f"{str(tmp_path / 'b,digits')!r}", f"'folder:{tmp_path / 'b,digits'}/'"):
        assert word in str(caught.value)
    assert split_names(f"digits,folder:{tmp_path}/b") == ["digits", f"folder:{tmp_path}/b"]
