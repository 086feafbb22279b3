"""The registry of datasets."""

import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest
from small_files import CLASSES

from bench.errors import UsageError
from datasets import DATASETS, find_source


def test_the_named_sets_are_registered():
    assert set(DATASETS) == {"digits", *CLASSES}
    for name, classes in CLASSES.items():
        assert len(DATASETS[name].classes) == classes


def test_an_unknown_set_names_the_valid_ones_and_the_nearest():
    with pytest.raises(UsageError) as caught:
        find_source("fashonmnist")
    for word in ("'fashonmnist'", "did you mean 'fashionmnist'", "folder:PATH", *DATASETS):
        assert word in str(caught.value)


def test_a_named_set_has_a_size_of_its_own():
    with pytest.raises(UsageError, match=r"data\.size"):
        find_source("mnist", size=16)


def test_mirroring_is_for_sets_whose_classes_survive_it():
    assert {name for name, source in DATASETS.items() if not source.flip} == {"digits", "mnist", "svhn"}


def test_each_set_has_a_file_of_its_name():
    for name, source in DATASETS.items():
        assert source is import_module(f"datasets.{name}").SOURCE
        assert source.name == name


def test_the_registry_imports_no_heavy_library():
    heavy = {"torch", "torchvision", "numpy", "pandas", "pyarrow", "PIL", "scipy", "sklearn"}
    code = f"import sys, datasets; print(*sorted({heavy} & set(sys.modules)))"
    root = Path(__file__).resolve().parents[2]
    answer = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True)
    assert answer.stdout.split() == []
