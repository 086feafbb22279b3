"""`folder:PATH`: ImageFolder's layout, written image by image."""

import os

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.datasets import ImageFolder

from bench.errors import UsageError
from bench.files import DataWarning
from datasets import find_source

CLASSES = ("apple", "pear", "quince")


def pixels(seed, side=8, *, channels=3, width=None):
    shape = (side, width or side) + ((channels,) if channels > 1 else ())
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def save(path, array):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(array).save(path)


def fruit(root, *, channels=3, side=8, counts=(("train", 4), ("test", 2))):
    """Write a set of three classes; return the arrays and labels of each split in the order of ImageFolder."""
    written = {}
    for split, count in counts:
        arrays, labels = [], []
        for label, name in enumerate(CLASSES):
            for number in range(count + label):  # classes of unequal size
                array = pixels((split == "train", label, number), side, channels=channels)
                save(root / split / name / f"{number}.png", array)
                arrays.append(array)
                labels.append(label)
        written[split] = (np.stack(arrays), labels)
    return written


def load(root, *, size=None):
    # A folder is its own root: the data root plays no part.
    return find_source(f"folder:{root}", size=size).load(root / "no such data root")


@pytest.mark.parametrize("channels", [1, 3], ids=["grey", "rgb"])
def test_images_come_back_pixel_by_pixel(tmp_path, channels):
    written = fruit(tmp_path, channels=channels)
    bundle = load(tmp_path)
    assert bundle.classes == CLASSES
    assert bundle.shape == (channels, 8, 8)
    for name, split in (("train", bundle.train), ("test", bundle.test)):
        arrays, labels = written[name]
        assert split.images.dtype == torch.uint8
        assert split.labels.dtype == torch.int64
        assert np.array_equal(split.images.numpy(), arrays.reshape(-1, 8, 8, channels).transpose(0, 3, 1, 2))
        assert split.labels.tolist() == labels


def test_it_is_read_as_torchvision_reads_it(tmp_path):
    fruit(tmp_path)
    save(tmp_path / "train" / "pear" / "more" / "deep.png", pixels(5))  # ImageFolder looks into sub-folders too
    (tmp_path / "train" / "pear" / "notes.txt").write_text("no image")
    bundle = load(tmp_path)
    for name, split in (("train", bundle.train), ("test", bundle.test)):
        oracle = ImageFolder(str(tmp_path / name))
        assert list(bundle.classes) == oracle.classes
        assert split.labels.tolist() == oracle.targets
        expected = np.stack([np.asarray(image) for image, _ in oracle]).transpose(0, 3, 1, 2)
        assert np.array_equal(split.images.numpy(), expected)


def test_mean_and_deviation_are_those_of_the_training_images(tmp_path):
    arrays, _ = fruit(tmp_path)["train"]
    bundle = load(tmp_path)
    scaled = arrays.astype(np.float64) / 255
    assert bundle.mean == pytest.approx(scaled.mean((0, 1, 2)), abs=1e-4)  # fields have four decimals
    assert bundle.std == pytest.approx(scaled.std((0, 1, 2), ddof=1), abs=1e-4)


def test_images_of_one_colour_do_not_divide_by_zero(tmp_path):
    for split in ("train", "test"):
        for name in CLASSES:
            save(tmp_path / split / name / "0.png", np.full((8, 8, 3), 77, np.uint8))
    bundle = load(tmp_path)
    assert min(bundle.std) > 0


def test_unequal_sizes_are_refused_and_data_size_is_named(tmp_path):
    fruit(tmp_path)
    odd = tmp_path / "train" / "pear" / "odd.png"
    save(odd, pixels(5, 12))
    with pytest.raises(UsageError) as caught:
        load(tmp_path)
    for word in (str(odd), "12x12", "data.size"):
        assert word in str(caught.value)


def test_test_images_of_another_size_are_refused(tmp_path):
    fruit(tmp_path, counts=(("train", 3),))
    fruit(tmp_path, side=12, counts=(("test", 2),))
    with pytest.raises(UsageError, match=r"data\.size"):
        load(tmp_path)


def test_images_that_are_not_square_are_refused(tmp_path):
    for split in ("train", "test"):
        for name in CLASSES:
            save(tmp_path / split / name / "0.png", pixels(1, 8, width=10))
    with pytest.raises(UsageError, match=r"data\.size"):
        load(tmp_path)


@pytest.mark.parametrize("channels", [1, 3], ids=["grey", "rgb"])
def test_data_size_resizes(tmp_path, channels):
    fruit(tmp_path, channels=channels)
    save(tmp_path / "train" / "pear" / "wide.png", pixels(5, 9, channels=channels, width=14))
    flat = np.full((20, 30, 3), (10, 120, 250), np.uint8)[..., 0 if channels == 1 else slice(None)]
    save(tmp_path / "train" / "pear" / "zz flat.png", flat)
    bundle = load(tmp_path, size=16)
    assert bundle.shape == (channels, 16, 16)
    assert bundle.test.images.shape[1:] == (channels, 16, 16)
    last_pear = (bundle.train.labels == 1).nonzero()[-1]
    # Resizing leaves an image of one colour as it is: the right image was resized, and its channels are in order.
    assert bundle.train.images[last_pear].flatten(2).unique(dim=2).flatten().tolist() == [10, 120, 250][:channels]


def test_data_size_that_is_the_size_changes_no_pixel(tmp_path):
    fruit(tmp_path)
    assert torch.equal(load(tmp_path, size=8).train.images, load(tmp_path).train.images)


def test_a_missing_split_is_named(tmp_path):
    fruit(tmp_path, counts=(("train", 3),))
    with pytest.raises(UsageError) as caught:
        load(tmp_path)
    for word in (str(tmp_path / "test"), "PATH/train/CLASS", "PATH/test/CLASS"):
        assert word in str(caught.value)


def test_a_path_that_is_not_there_is_named(tmp_path):
    with pytest.raises(UsageError, match="nowhere"):
        find_source(f"folder:{tmp_path / 'nowhere'}")


def test_splits_that_disagree_on_classes_are_refused(tmp_path):
    fruit(tmp_path)
    save(tmp_path / "test" / "medlar" / "0.png", pixels(9))
    with pytest.raises(UsageError) as caught:
        load(tmp_path)
    for word in ("medlar", *CLASSES, "train", "test"):
        assert word in str(caught.value)


def test_a_folder_without_classes_is_refused(tmp_path):
    for split in ("train", "test"):
        (tmp_path / split).mkdir()
    with pytest.raises(UsageError, match="class"):
        load(tmp_path)


def test_a_class_without_images_is_named(tmp_path):
    fruit(tmp_path)
    for file in (tmp_path / "test" / "quince").iterdir():
        file.unlink()
    with pytest.raises(UsageError, match="quince"):
        load(tmp_path)


@pytest.mark.parametrize("place", ["train/apple/0.png", "train/pear/1.png", "test/quince/0.png"])
def test_a_damaged_image_is_named(tmp_path, place):
    fruit(tmp_path)
    (tmp_path / place).write_bytes((tmp_path / place).read_bytes()[:40])
    with pytest.raises(UsageError) as caught:
        load(tmp_path)
    assert str(tmp_path / place) in str(caught.value)


def test_its_name_and_the_hash_of_its_images_tell_folders_apart(tmp_path):
    # A path is no identity: the same path may have other images tomorrow, and their record must not be reused.
    fruit(tmp_path)
    first = find_source(f"folder:{tmp_path}")
    assert first.name == f"folder:{first.own.digest[:12]}"
    assert first.own == find_source(f"folder:{tmp_path}").own is not None
    save(tmp_path / "test" / "pear" / "0.png", pixels(99))
    assert find_source(f"folder:{tmp_path}").own.digest != first.own.digest


# ---- images that would be bent ----


def image_of(kind):
    """Return an image of 8x8 pixels of a kind, and how it is saved."""
    grey = np.arange(64).reshape(8, 8)
    kinds = {
        "int32 TIFF": (grey.astype(np.int32) * 1000, {"format": "TIFF"}),
        "float TIFF": (grey.astype(np.float32) / 64, {"format": "TIFF"}),
        "16-bit TIFF": (grey.astype(np.uint16) * 1000, {"format": "TIFF"}),
        "16-bit PNG": (grey.astype(np.uint16) * 1000, {"format": "PNG"}),
        "16-bit PGM": (grey.astype(np.uint16) * 1000, {"format": "PPM"}),
    }
    return kinds[kind]


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("int32 TIFF", "pixels are whole numbers of 32 bits, 0 to 63000; valid: whole numbers of 8 or 16 bits"),
        ("float TIFF", "pixels are floats, 0.0 to 0.984375; valid: whole numbers of 8 or 16 bits"),
    ],
)
@pytest.mark.parametrize("channels", [1, 3], ids=["grey", "rgb"])
@pytest.mark.parametrize("split", ["train", "test"])
def test_images_whose_range_nobody_knows_are_refused(tmp_path, kind, message, channels, split):
    fruit(tmp_path, channels=channels)
    array, options = image_of(kind)
    file = tmp_path / split / "pear" / "odd.tif"
    Image.fromarray(array).save(file, **options)
    with pytest.raises(UsageError) as caught:
        load(tmp_path)
    assert f"{file}: {message}" in str(caught.value)


@pytest.mark.parametrize("kind", ["16-bit TIFF", "16-bit PNG", "16-bit PGM"])
def test_sixteen_bits_of_grey_are_scaled_to_eight(tmp_path, kind):
    fruit(tmp_path, channels=1)
    array, options = image_of(kind)
    Image.fromarray(array).save(tmp_path / "train" / "quince" / "zz.tif", **options)
    assert np.array_equal(load(tmp_path).train.images[-1, 0].numpy(), array // 257)


def test_a_test_image_with_colours_among_grey_ones_is_refused(tmp_path):
    # It would be turned to grey, since all training images are grey.
    fruit(tmp_path, channels=1)
    save(tmp_path / "test" / "pear" / "odd.png", pixels(3))
    with pytest.raises(UsageError, match="valid: grey images") as caught:
        load(tmp_path)
    assert str(tmp_path / "test" / "pear" / "odd.png") in str(caught.value)


@pytest.mark.parametrize("mode", ["RGBA", "P"])
def test_alpha_channels_are_dropped_and_said_each_time(tmp_path, mode):
    written = fruit(tmp_path)
    file = tmp_path / "test" / "pear" / "0.png"
    with Image.open(file) as image:
        clear = image.convert("RGBA") if mode == "RGBA" else image.convert("P")
    if mode == "RGBA":
        clear.putalpha(100)
        clear.save(file)
    else:
        clear.save(file, transparency=0)
    for _ in range(2):  # read, and from the cache
        with pytest.warns(DataWarning, match="1 images have an alpha channel, which is dropped, first") as caught:
            bundle = load(tmp_path)
        assert str(file) in str(caught[0].message)
        assert len(caught) == 1
    if mode == "RGBA":
        assert np.array_equal(bundle.test.images.numpy(), written["test"][0].transpose(0, 3, 1, 2))


def test_another_format_under_the_name_of_one_is_not_opened(tmp_path, monkeypatch):
    # Pillow hands PostScript to another program, whatever the file is called.
    monkeypatch.setattr("PIL.EpsImagePlugin.Ghostscript", lambda *arguments, **options: pytest.fail("starts a program"))
    fruit(tmp_path)
    file = tmp_path / "train" / "pear" / "0.png"
    Image.new("RGB", (8, 8)).save(file, format="EPS")
    with pytest.raises(UsageError, match="cannot be read") as caught:
        load(tmp_path)
    assert str(file) in str(caught.value)


@pytest.mark.parametrize("kind", ["FIFO", "device"])
def test_what_is_no_regular_file_is_not_opened(tmp_path, kind):
    fruit(tmp_path)
    file = tmp_path / "train" / "pear" / "more.png"
    if kind == "FIFO":
        os.mkfifo(file)
    else:
        file.symlink_to("/dev/zero")
    with pytest.raises(UsageError, match=f"is a {kind}, and is not opened; valid: a regular file") as caught:
        load(tmp_path)
    assert str(file) in str(caught.value)


def test_folders_called_as_images_are_looked_into_and_fifos_called_otherwise_are_let_be(tmp_path):
    fruit(tmp_path)
    save(tmp_path / "train" / "pear" / "more.png" / "0.png", pixels(3))
    os.mkfifo(tmp_path / "train" / "pear" / "pipe")
    assert len(load(tmp_path).train) == 4 + 5 + 6 + 1
