"""Parquet files as the Hugging Face Hub keeps them, and sets that are nothing but such files."""

import io

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from small_files import both, check, check_bundle, write_hub, write_parquet

from bench.errors import UsageError
from bench.files import DataWarning
from datasets import find_source
from datasets.hub import hub_set


@pytest.mark.parametrize("name", ["mnist", "fashionmnist", "svhn", "cifar10"])
@pytest.mark.parametrize("image", ["img", "image"])
def test_parquet_is_read_pixel_by_pixel(tmp_path, name, image):
    splits = both(name)
    write_hub(tmp_path / name, splits, image=image)
    check_bundle(find_source(name).load(tmp_path), name, splits)


def test_parquet_of_cifar100_gives_the_fine_labels(tmp_path):
    splits = both("cifar100", 230, 110)
    for part, (images, labels) in zip(("train", "test"), splits, strict=True):
        file = tmp_path / "cifar100" / f"{part}-00000-of-00001.parquet"
        write_parquet(file, images, labels, label="fine_label", coarse_label=(labels + 7) % 20)
    check_bundle(find_source("cifar100").load(tmp_path), "cifar100", splits)


def test_shards_of_parquet_are_joined_in_order_of_their_names(tmp_path):
    (images, labels), test = both("cifar10", 40, 11)
    cuts = [0, 7, 20, 40]
    for number in (2, 0, 1):  # written in another order than their names'
        part = slice(cuts[number], cuts[number + 1])
        write_parquet(tmp_path / "cifar10" / f"train-0000{number}-of-00003.parquet", images[part], labels[part])
    write_parquet(tmp_path / "cifar10" / "test.parquet", *test)
    check_bundle(find_source("cifar10").load(tmp_path), "cifar10", ((images, labels), test))


def write_shards(folder, names):
    """Write the training images once in files of these names, and a test split."""
    (images, labels), test = both("cifar10", 40, 11)
    parts = zip(np.array_split(images, len(names)), np.array_split(labels, len(names)), strict=True)
    for name, part in zip(names, parts, strict=True):
        write_parquet(folder / name, *part)
    write_parquet(folder / "test.parquet", *test)


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["train-00000-of-00002.parquet"], "lacks train-00001-of-00002: it has 1 of 2"),
        (["train-00001-of-00002.parquet"], "lacks train-00000-of-00002: it has 1 of 2"),
        (["train-00000-of-00003.parquet", "train-00002-of-00003.parquet"], "lacks train-00001-of-00003: it has 2 of 3"),
        (["train-00000-of-00002-0f3a.parquet"], "lacks train-00001-of-00002"),
        (["train-00000-of-99999999999.parquet"], "lacks train-00001-of-99999999999"),
        (["train-00000-of-00001-0a.parquet", "train-00000-of-00001-0b.parquet"], "holds a shard of train twice"),
        (["train-00000-of-00001.parquet", "train-00000-of-00002.parquet"], "holds more than one set of train files"),
        (["train.parquet", "train-00000-of-00001.parquet"], "holds more than one set of train files"),
        (["train-00000-of-00001.parquet", "train_more-00000-of-00001.parquet"], "holds more than one set of train files"),
    ],
)
def test_a_missing_shard_is_a_mistake_and_so_are_two_sets_of_them(tmp_path, names, message):
    # Half of the images would be taken for all, or some of them twice.
    write_shards(tmp_path / "cifar10", names)
    for ask in (find_source("cifar10").load, find_source("cifar10").fingerprint, find_source("cifar10").planned_fingerprint):
        with pytest.raises(UsageError) as caught:
            ask(tmp_path)
        assert message in str(caught.value)
        assert str(tmp_path / "cifar10") in str(caught.value)


@pytest.mark.parametrize(
    "names", [["train-00000-of-00001-0f3a.parquet"], ["train.parquet"], ["train_a.parquet", "train_b.parquet"]]
)
def test_files_of_other_names_are_read_whole(tmp_path, names):
    write_shards(tmp_path / "cifar10", names)
    check(find_source("cifar10").load(tmp_path).train, *both("cifar10", 40, 11)[0])


@pytest.mark.parametrize("columns", [{"image": "picture"}, {"label": "target"}], ids=["image", "label"])
def test_parquet_with_other_columns_says_which_are_valid(tmp_path, columns):
    write_hub(tmp_path / "cifar10", both("cifar10"), **columns)
    with pytest.raises(UsageError) as caught:
        find_source("cifar10").load(tmp_path)
    message = str(caught.value)
    for word in ("train-00000-of-00001.parquet", *columns.values(), "img", "image", "label", "fine_label"):
        assert word in message


def test_parquet_without_a_test_split_is_not_there(tmp_path):
    write_hub(tmp_path / "cifar10", both("cifar10"))
    (tmp_path / "cifar10" / "test-00000-of-00001.parquet").unlink()
    with pytest.raises(UsageError, match="test"):
        find_source("cifar10").load(tmp_path)


def test_a_file_cut_short_is_named(tmp_path):
    # What an interrupted copy leaves.
    write_hub(tmp_path / "cifar10", both("cifar10"))
    file = tmp_path / "cifar10/test-00000-of-00001.parquet"
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    with pytest.raises(UsageError) as caught:
        find_source("cifar10").load(tmp_path)
    assert file.name in str(caught.value)


# ---- a set of the Hub, as data ----


def flowers(**columns):
    return hub_set(
        name="flowers", label="Flowers", classes=tuple("abcdefghij"), mean=(0.5, 0.4, 0.3), std=(0.2, 0.2, 0.2), size=32,
        flip=True, **columns,
    )  # fmt: skip


def test_a_new_set_of_the_hub_is_read_from_its_description(tmp_path):
    splits = both("cifar10")
    write_hub(tmp_path / "flowers", splits)
    bundle = flowers().load(tmp_path)
    check(bundle.train, *splits[0])
    check(bundle.test, *splits[1])
    assert (bundle.name, bundle.shape, bundle.mean) == ("flowers", (3, 32, 32), (0.5, 0.4, 0.3))


def test_a_new_set_may_name_its_columns(tmp_path):
    (images, labels), test = splits = both("cifar10")
    source = flowers(image_column="picture", label_column="species")
    write_parquet(tmp_path / "flowers" / "train.parquet", images, labels, image="picture", label="species")
    # A column of a usual name is there too, and is not read.
    write_parquet(tmp_path / "flowers" / "test.parquet", *test, image="picture", label="species", fine_label=(test[1] + 1) % 10)
    bundle = source.load(tmp_path)
    check(bundle.train, *splits[0])
    check(bundle.test, *splits[1])


def test_a_new_set_without_its_columns_says_which_are_valid(tmp_path):
    write_hub(tmp_path / "flowers", both("cifar10"))
    with pytest.raises(UsageError, match="an image column picture and a label column species"):
        flowers(image_column="picture", label_column="species").load(tmp_path)


def test_a_new_set_that_is_not_there_cannot_be_downloaded(tmp_path):
    with pytest.raises(UsageError, match=r"flowers/train\*\.parquet .* there is nothing to download"):
        flowers().load(tmp_path)


# ---- images of other kinds than the set's ----


def rewritten(tmp_path, name, make):
    """Write a set whose eighth training image is what `make` makes of it; return its file and the splits."""
    splits = both(name)
    write_hub(tmp_path / name, splits)
    file = tmp_path / name / "train-00000-of-00001.parquet"
    table = pd.read_parquet(file)
    stream = io.BytesIO()
    image, options = make(Image.fromarray(splits[0][0][7]))
    image.save(stream, **options)
    table.at[7, "img"] = {"bytes": stream.getvalue(), "path": "7"}
    table.to_parquet(file)
    return file, splits


def with_alpha(image):
    image.putalpha(100)
    return image


def test_an_alpha_channel_is_dropped_and_said(tmp_path):
    file, splits = rewritten(tmp_path, "cifar10", lambda image: (with_alpha(image), {"format": "PNG"}))
    with pytest.warns(DataWarning, match=r"1 images have an alpha channel, which is dropped") as caught:
        check_bundle(find_source("cifar10").load(tmp_path), "cifar10", splits)
    assert str(file) in str(caught[0].message)


def test_a_grey_image_that_is_stored_in_colours_is_read_and_one_with_colours_is_refused(tmp_path):
    _, splits = rewritten(tmp_path, "mnist", lambda image: (image.convert("RGB"), {"format": "PNG"}))
    check_bundle(find_source("mnist").load(tmp_path), "mnist", splits)
    red = Image.new("RGB", (28, 28), (200, 0, 0))
    file, _ = rewritten(tmp_path, "mnist", lambda image: (red, {"format": "PNG"}))
    with pytest.raises(UsageError, match="row 7 has colours; valid: grey images") as caught:
        find_source("mnist").load(tmp_path)
    assert str(file) in str(caught.value)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda image: (image.convert("F"), {"format": "TIFF"}), "pixels are floats"),
        (lambda image: (image.convert("I"), {"format": "TIFF"}), "pixels are whole numbers of 32 bits"),
        (lambda image: (image.convert("RGB"), {"format": "EPS"}), "cannot be read"),
    ],
)
def test_images_whose_range_nobody_knows_are_refused(tmp_path, make, message):
    file, _ = rewritten(tmp_path, "mnist", make)
    with pytest.raises(UsageError) as caught:
        find_source("mnist").load(tmp_path)
    assert message in str(caught.value)
    assert str(file) in str(caught.value)
