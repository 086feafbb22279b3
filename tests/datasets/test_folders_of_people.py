"""Folders as people have them: hidden files, `val`, copies, other paths, many classes; and what reading them takes."""

import io
import shutil
import subprocess
import sys
import unicodedata
import warnings
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from bench import files
from bench.errors import UsageError, listed
from bench.files import DataWarning, announced, shown_progress
from datasets import Loader, find_source

CLASSES = ("left", "right")


def save(path, seed, side=4):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.random.default_rng(seed).integers(0, 256, (side, side, 3), dtype=np.uint8)).save(path)


def pets(root, *, test="test", classes=CLASSES):
    """Write a set with three training images and two test images a class; return its folder."""
    for split, count in (("train", 3), (test, 2)):
        for label, name in enumerate(classes):
            for number in range(count):
                save(root / split / name / f"{number}.png", (label, number, split == "train"))
    return root


def quiet(folder, **options):
    """Return the source of a folder of which nothing is to be said."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        return find_source(f"folder:{folder}", **options)


def refusal(folder):
    with pytest.raises(UsageError) as caught:
        find_source(f"folder:{folder}")
    return str(caught.value)


# ---- what systems and programs add ----


@pytest.mark.parametrize(
    "stray",
    [
        *(".ipynb_checkpoints/0-checkpoint.png", "__MACOSX/left/._0.png", ".git/x.png", "@eaDir/0.png", "$RECYCLE.BIN/0.png"),
        *("left/.ipynb_checkpoints/0-checkpoint.png", "left/._0.png", "left/.DS_Store", "left/Thumbs.db", "left/desktop.ini"),
        *("left/@eaDir/0.png/thumb.jpg", "left/deep/.thumbnails/0.png", "lost+found/0.png"),
    ],
)
@pytest.mark.parametrize("split", ["train", "test"])
def test_hidden_files_and_folders_are_no_images_and_no_classes(tmp_path, stray, split):
    folder = pets(tmp_path / "pets")
    first = quiet(folder)
    if Path(stray).suffix in (".png", ".jpg") and not Path(stray).name.startswith("._"):
        save(folder / split / stray, 99)
    else:
        (folder / split / stray).parent.mkdir(parents=True, exist_ok=True)
        (folder / split / stray).write_bytes(bytes(4096))
    again = quiet(folder)
    assert (again.name, again.classes, again.counts) == (first.name, CLASSES, (6, 4))


def test_a_folder_whose_own_path_is_hidden_is_read(tmp_path):
    assert quiet(pets(tmp_path / ".cache" / "pets")).counts == (6, 4)


# ---- the names of splits ----


@pytest.mark.parametrize("name", ["val", "valid", "validation", "dev", "Val"])
def test_a_validation_split_is_taken_for_the_test_split_and_said(tmp_path, name):
    with pytest.warns(DataWarning, match=f"{name} is taken for the test split") as caught:
        source = find_source(f"folder:{pets(tmp_path / 'pets', test=name)}")
    assert len(caught) == 1
    assert source.name == quiet(pets(tmp_path / "same")).name


def test_the_test_split_comes_first_unless_it_has_no_classes(tmp_path):
    folder = pets(tmp_path / "pets")
    name = quiet(folder).name
    save(folder / "val" / "left" / "0.png", 7)
    save(folder / "val" / "right" / "0.png", 8)
    assert quiet(folder).name == name
    shutil.rmtree(folder / "test")
    save(folder / "test" / "images" / "0.png", 9)  # without labels, as those of a challenge are
    with pytest.warns(DataWarning, match="val is taken for the test split"):
        assert find_source(f"folder:{folder}").counts == (6, 2)


@pytest.mark.parametrize("names", [("Train", "Test"), ("training", "testing")])
def test_other_spellings_of_the_splits(tmp_path, names):
    folder = pets(tmp_path / "pets")
    for split, name in zip(("train", "test"), names, strict=True):
        (folder / split).rename(folder / f"_{name}")
        (folder / f"_{name}").rename(folder / name)
    assert quiet(folder).name == quiet(pets(tmp_path / "same")).name


# ---- the same picture again ----


@pytest.mark.parametrize("split", ["train", "test"])
def test_a_picture_that_is_twice_in_a_class_is_said_each_time(tmp_path, split):
    folder = pets(tmp_path / "pets")
    first, copy = folder / split / "right" / "0.png", folder / split / "right" / "0 (copy).bmp"
    Image.open(first).save(copy)  # in another format: the pixels count
    for _ in range(2):  # read, and from the cache
        with pytest.warns(DataWarning, match="1 picture is in a class more than once") as caught:
            find_source(f"folder:{folder}")
        assert len(caught) == 1
        assert f"{first}, the same as {copy}" in str(caught[0].message)


def test_the_same_picture_in_two_classes_or_splits_is_no_copy(tmp_path):
    folder = pets(tmp_path / "pets")
    shutil.copy(folder / "train" / "left" / "0.png", folder / "train" / "right" / "9.png")
    shutil.copy(folder / "train" / "left" / "0.png", folder / "test" / "left" / "9.png")
    quiet(folder)


# ---- many classes ----


def test_twenty_names_are_listed_and_two_hundred_are_counted():
    names = [f"n{number:03}" for number in range(200)]
    assert listed(names[:20]) == ", ".join(names[:20])
    assert listed(names) == "n000, n001, n002, ... (200 in all)"
    assert listed([]) == ""


def test_many_classes_that_differ_are_counted_and_the_others_named(tmp_path):
    folder = tmp_path / "pets"
    for number in range(200):
        (folder / "train" / f"n{number:03}").mkdir(parents=True)
        (folder / "test" / f"n{number + 1:03}").mkdir(parents=True)
    message = refusal(folder)
    assert "train has classes n000, n001, n002, ... (200 in all)" in message
    assert "only in train: n000; only in test: n200" in message
    assert len(message) < 400


# ---- which set it is ----


def test_the_images_are_the_set_and_the_path_is_not(tmp_path, monkeypatch):
    folder = pets(tmp_path / "pets")
    source = quiet(folder)
    assert source.name == f"folder:{source.own.digest[:12]}"
    assert (source.label, source.spelling) == ("pets", f"folder:{folder}")
    shutil.copytree(folder, tmp_path / "copy of pets")
    (tmp_path / "link").symlink_to(folder)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(folder)
    spellings = {"../pets": "pets", ".": "pets", f"{folder}/": "pets", f"{tmp_path}/./link": "pets", "~/pets": "pets"}
    for path, label in (spellings | {"../copy of pets": "copy of pets"}).items():
        other = quiet(path)
        assert (other.name, other.label) == (source.name, label)
    save(folder / "test" / "left" / "0.png", 99)
    assert quiet(folder).name != source.name
    (tmp_path / "copy of pets" / "train" / "left").rename(tmp_path / "copy of pets" / "train" / "LEFT")
    (tmp_path / "copy of pets" / "test" / "left").rename(tmp_path / "copy of pets" / "test" / "LEFT")
    assert quiet(tmp_path / "copy of pets").name != source.name


def test_accents_may_be_spelled_as_macos_does(tmp_path):
    composed, decomposed = (unicodedata.normalize(form, "pêche") for form in ("NFC", "NFD"))
    first, second = pets(tmp_path / "one", classes=(composed, "poire")), pets(tmp_path / "two", classes=(decomposed, "poire"))
    (second / "test" / decomposed).rename(second / "test" / composed)
    assert quiet(first).name == quiet(second).name
    assert quiet(second).classes == ("poire", composed)


def test_a_worker_that_sees_other_images_says_so(tmp_path):
    planned = quiet(pets(tmp_path / "pets"))
    save(tmp_path / "pets" / "test" / "left" / "0.png", 99)
    now = quiet(tmp_path / "pets")
    load = Loader([now], tmp_path, {planned.name: planned.own})
    with pytest.raises(UsageError, match="its images are no longer those of the run; start the run again"):
        load.whole(planned.name)


# ---- mirroring ----


def test_mirroring_is_a_setting_of_folders(tmp_path):
    folder = pets(tmp_path / "pets")
    flips = {flip: quiet(folder, flip=flip).load(tmp_path).flip for flip in (None, True, False)}
    assert flips == {None: True, True: True, False: False}
    for flip in (True, False):
        with pytest.raises(UsageError, match=f"--set data.flip={str(flip).lower()}: 'digits' says itself"):
            find_source("digits", flip=flip)


# ---- what reading takes ----

_MEMORY = """
import sys, warnings
from datasets import find_source

def peak():
    with open("/proc/self/status") as lines:
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM"))

small, large = (f"folder:{path}" for path in sys.argv[1:])
find_source(small).load(None)
before = peak()
bundle = find_source(large).load(None)
print((peak() - before) / (bundle.train.images.nbytes + bundle.test.images.nbytes))
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="the peak of memory is read from Linux's /proc")
def test_reading_a_folder_takes_at_most_four_times_its_images(tmp_path):
    pets(tmp_path / "small")
    for split, count in (("train", 160), ("test", 4)):
        for label, name in enumerate(CLASSES):
            for number in range(count):
                path = tmp_path / "large" / split / name / f"{number}.bmp"
                path.parent.mkdir(parents=True, exist_ok=True)
                Image.new("RGB", (256, 256), (number, label, 7)).save(path)
    root = Path(__file__).resolve().parents[2]
    command = [sys.executable, "-c", _MEMORY, tmp_path / "small", tmp_path / "large"]
    process = subprocess.run(command, cwd=root, capture_output=True, text=True, check=True)
    assert 0.9 < float(process.stdout) < 4


def test_reading_many_files_is_announced_and_few_are_not(monkeypatch):
    now = [0.0]
    monkeypatch.setattr(files.time, "monotonic", lambda: now[0])
    stream = io.StringIO()
    with shown_progress("program", stream):
        for _ in announced(range(499), "few", total=499):
            now[0] += 1
        for number in announced(range(600), "pictures of folder:x read", total=600):
            now[0] += 0.01 + (number == 300) * 6
    assert [*announced(range(600), "nobody listens", total=600)] == [*range(600)]
    assert stream.getvalue().splitlines() == [
        "program: pictures of folder:x read: 0 of 600",
        "program: pictures of folder:x read: 301 of 600",
    ]


def test_a_folder_of_many_pictures_is_announced(tmp_path, monkeypatch):
    monkeypatch.setattr(files, "_MANY", 6)
    stream = io.StringIO()
    folder = pets(tmp_path / "pets")
    with shown_progress("program", stream):
        quiet(folder)
    assert f"program: pictures of folder:{folder} read: 0 of 6" in stream.getvalue()
