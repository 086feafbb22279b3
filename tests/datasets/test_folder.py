"""`folder:PATH`: ImageFolder's layout, written image by image."""

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.datasets import ImageFolder

from bench.errors import UsageError
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
    # The path alone is no identity: the same path may hold other images tomorrow, and their record must not be reused.
    fruit(tmp_path)
    first = find_source(f"folder:{tmp_path}")
    assert first.name == f"folder:{tmp_path}"
    assert first.code == find_source(f"folder:{tmp_path}").code != ""
    save(tmp_path / "test" / "pear" / "0.png", pixels(99))
    assert find_source(f"folder:{tmp_path}").code != first.code
