"""The distilled images: sheets pixel by pixel, names of files, and which sets stand beside one another."""

from __future__ import annotations

import io
import json
import re

import numpy as np
import pytest
from made_records import record, with_checkpoints
from PIL import Image
from safetensors.numpy import save_file

from reports.frames.results import Results
from reports.page.images import write_images
from reports.page.sheets import MOST, Pixels, file_name, png, read_pixels, sheet

CLASSES = ("$_$", "<b>", "two\nlines", "x" * 400)


def saved(path, images, labels, *, classes=CLASSES, mean=(0.5,), std=(0.25,)):
    about = {"classes": json.dumps(classes), "mean": json.dumps(mean), "std": json.dumps(std)}
    save_file({"images": np.asarray(images, np.float32), "labels": np.asarray(labels)}, path, metadata=about)
    return path


def a_set(path, *, ipc=1, size=6, channels=1, seed=0, classes=CLASSES):
    images = np.random.default_rng(seed).normal(size=(len(classes) * ipc, channels, size, size))
    mean, std = (0.5,) * channels, (0.25,) * channels
    return saved(path, images, np.repeat(np.arange(len(classes)), ipc), classes=classes, mean=mean, std=std)


# ---- sheets ----


@pytest.mark.parametrize("channels", [1, 3])
def test_a_sheet_has_every_pixel_in_its_place(channels):
    values = np.random.default_rng(0).integers(0, 256, (6, channels, 3, 2))
    labels = np.array([2, 0, 1, 0, 2, 0])
    picture = sheet(Pixels(values / 255, labels, ("a", "b", "c"), 1.0))
    assert picture.shape[:2] == (3 * 4 + 1, 3 * 3 + 1)
    rows = {0: [1, 3, 5], 1: [2], 2: [0, 4]}  # of each class its images, in the order of the file
    covered = np.zeros(picture.shape[:2], bool)
    for row, members in rows.items():
        for column, member in enumerate(members):
            tile = slice(1 + 4 * row, 4 + 4 * row), slice(1 + 3 * column, 3 + 3 * column)
            covered[tile] = True
            assert (picture[tile].reshape(3, 2, channels) == values[member].transpose(1, 2, 0)).all()
    assert (picture[~covered] == 128).all()
    with Image.open(io.BytesIO(png(picture))) as opened:
        assert (np.asarray(opened) == picture).all()


def test_a_sheet_shows_at_most_fifty_images_of_a_class():
    count = MOST + 10
    pixels = Pixels(np.zeros((count, 1, 2, 2)), np.zeros(count, int), ("a",), 1.0)
    assert sheet(pixels).shape == (4, 3 * MOST + 1)


def test_values_outside_are_clipped_and_counted_and_rounding_is_not(tmp_path):
    images = np.zeros((2, 1, 2, 2))  # pixel = image / 4 + 1 / 2
    images[0, 0] = [[-4, 4], [2 + 1e-6, -2 - 1e-6]]  # -0.5, 1.5, and 1 and 0 but for rounding
    pixels = read_pixels(saved(tmp_path / "a.safetensors", images, [0, 1], classes=("a", "b")))
    assert pixels.clipped == 25.0
    assert pixels.rms == pytest.approx(np.sqrt(np.mean(images**2)))
    assert sheet(pixels)[1:3, 1:3].tolist() == [[0, 255], [255, 0]]
    assert sheet(pixels)[4, 1] == 128  # 0 in normalised units is the mean, a half


def test_soft_labels_count_as_the_most_probable_class(tmp_path):
    soft = np.array([[0.1, 0.9], [0.8, 0.2]], np.float32)
    assert read_pixels(saved(tmp_path / "a.safetensors", np.zeros((2, 1, 4, 4)), soft, classes=("a", "b"))).labels.tolist() == [
        1,
        0,
    ]


BROKEN = {
    "no images": (np.zeros((0, 1, 4, 4)), np.zeros(0, int), "shape"),
    "two channels": (np.zeros((1, 2, 4, 4)), [0], "shape"),
    "not finite": (np.full((1, 1, 4, 4), np.nan), [0], "finite"),
    "labels of others": (np.zeros((1, 1, 4, 4)), [0, 1], "labels"),
    "an unknown class": (np.zeros((1, 1, 4, 4)), [4], "labels"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_file_that_holds_no_set_is_named_and_the_others_are_drawn(tmp_path, name):
    images, labels, reason = BROKEN[name]
    good, bad = record("dm"), record("kr")
    a_set(tmp_path / good.images_name)
    path = saved(tmp_path / bad.images_name, images, labels)
    with pytest.raises(ValueError, match=reason):
        read_pixels(path)
    (gallery,), left_out = drawn([good, bad], tmp_path)
    assert [member.title for member in gallery.sheets] == ["DM"]
    assert len(left_out) == 1
    assert str(path) in left_out[0]


# ---- names of files ----

PARTS = [
    ("a", 1, "b"),
    ("a", 1, "B"),
    ("a-1", "b"),
    ("a", "1-b"),
    ("a_1", "b"),
    ("a", "1_b"),
    ("a/1", "b"),
    ("a 1", "b"),
    ("$_$", "b"),
    ("<b>", "b"),
    ("", "b"),
    ("..", "b"),
    ("two\nlines", "b"),
    ("ü" * 400, "b"),
    ("x" * 400, "b"),
    ("x" * 400, "c"),
    ("x" * 399 + "y", "b"),
    ("\udcff", "b"),
    ("con", "b"),
]


def test_different_names_have_different_files_and_all_file_systems_take_them(tmp_path):
    names = [file_name(*parts) for parts in PARTS]
    assert len({name.lower() for name in names}) == len(PARTS)
    for name in names:
        assert re.fullmatch(r"synthetic_[a-z0-9_.=-]+\.png", name)
        assert len(name.encode()) < 255
        (tmp_path / name).touch()
    assert file_name("digits", 10, "kr", "kr.hidden=64") == "synthetic_digits_10_kr_kr.hidden=64.png"


# ---- galleries ----


def drawn(records, folder):
    """Return the galleries of records whose images lie in a folder, and what was left out."""
    target, left_out = folder / "images", []
    target.mkdir(exist_ok=True)
    galleries = write_images(Results.of(records), {made.hash: folder for made in records}, target, left_out)
    return galleries, left_out


def test_methods_stand_beside_one_another_in_their_order_with_the_seed_that_most_have(tmp_path):
    seeds = {"kr": (0, 1), "random": (1, 2), "dm": (1,), "emd": (2,)}
    records = [record(method, seed=seed) for method, own in seeds.items() for seed in own]
    records += [record("dm", ipc=10), record("whole", ipc=None)]
    for number, made in enumerate(records):
        a_set(tmp_path / made.images_name, ipc=made.spec.ipc or 3, seed=number)
    (first, second), left_out = drawn(records, tmp_path)
    assert left_out == []
    assert (first.ipc, second.ipc) == (1, 10)
    assert [member.title for member in first.sheets] == ["RANDOM", "DM", "KR", "EMD, seed 2"]
    assert first.title == "fashionmnist, IPC 1, seed 1"
    assert first.classes == CLASSES
    assert (first.width, first.height) == (1 * 7 + 1, 4 * 7 + 1)
    assert second.width == 10 * 7 + 1
    for gallery in (first, second):
        for member in gallery.sheets:
            with Image.open(tmp_path / member.file) as picture:
                assert picture.size == (gallery.width, gallery.height)


def test_starts_are_shown_once_where_they_were_kept(tmp_path):
    records = [with_checkpoints(record(method), {0: (1.0,), 5: (2.0,)}) for method in ("dm", "kr", "emd")]
    for number, made in enumerate(records):
        a_set(tmp_path / made.images_name, seed=number)
        a_set(tmp_path / made.images_name_at(0), seed=100 + (made.spec.method == "emd"))
    a_set(tmp_path / records[0].images_name_at(5), seed=7)  # on the way: neither start nor end
    (gallery,), _ = drawn(records, tmp_path)
    assert [member.title for member in gallery.sheets] == ["Start of DM, KR", "Start of EMD", "DM", "KR", "EMD"]
    assert [member.column is None for member in gallery.sheets] == [True, True, False, False, False]
    assert len({member.file for member in gallery.sheets}) == 5


def test_sets_of_other_classes_or_sizes_have_a_gallery_of_their_own(tmp_path):
    records = [record(method) for method in ("dm", "kr", "emd")]
    a_set(tmp_path / records[0].images_name)
    a_set(tmp_path / records[1].images_name, size=8)
    a_set(tmp_path / records[2].images_name, classes=("a", "b"))
    galleries, _ = drawn(records, tmp_path)
    assert [[member.title for member in gallery.sheets] for gallery in galleries] == [["DM"], ["KR"], ["EMD"]]
