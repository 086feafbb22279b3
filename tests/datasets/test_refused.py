"""Data that would have to be bent are refused, in one line that names the file, the value and what would be valid.

And what is no regular file is never opened.
"""

import os
import socket

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from scipy.io import savemat
from small_files import both, idx_bytes, png, write_cifar10, write_cifar100, write_hub, write_idx, write_svhn

from bench.errors import UsageError
from bench.types import Bundle
from datasets import find_source
from datasets.held_out import held_out
from datasets.reading import make_split


def refusal(name, root, file):
    """Return the message with which the set `name` below `root` is refused; it is one line and names `file`."""
    with pytest.raises(UsageError) as caught:
        find_source(name).load(root)
    message = str(caught.value)
    assert "\n" not in message
    assert str(file) in message
    return message


# ---- arrays, whatever they came from ----

IMAGES = np.zeros((4, 1, 2, 2), np.uint8)
LABELS = np.arange(4)


@pytest.mark.parametrize(
    ("images", "message"),
    [
        (np.full((4, 1, 2, 2), 0.5), "pixels are of type float64, such as 0.5; valid: whole numbers 0 to 255"),
        (np.full((4, 1, 2, 2), 1.0, np.float32), "pixels are of type float32, such as 1.0;"),
        (np.full((4, 1, 2, 2), 256), "a pixel has the value 256; valid: whole numbers 0 to 255"),
        (np.full((4, 1, 2, 2), -1), "a pixel has the value -1;"),
        (np.full((4, 1, 2, 2), 2**40), "a pixel has the value 1099511627776;"),
        (np.full((4, 1, 2, 2), True), "pixels are of type bool"),
        (np.full((4, 1, 2, 2), "1"), "pixels are of type <U1"),
        (np.zeros((4, 2, 2), np.uint8), "images of shape (4, 2, 2); valid: [images, channels, height, width]"),
        (np.zeros((0, 1, 2, 2), np.uint8), "holds no images"),
        (np.zeros((4, 1, 0, 2), np.uint8), "holds no images"),
        (np.zeros((3, 1, 2, 2), np.uint8), "3 images and 4 labels"),
    ],
)
def test_other_pixels_are_refused(tmp_path, images, message):
    with pytest.raises(UsageError) as caught:
        make_split(images, LABELS, (tmp_path / "images", tmp_path / "labels"))
    assert message in str(caught.value)
    assert str(tmp_path / "images") in str(caught.value)


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ([0, 1, 2, 0.7], "label 0.7; valid: whole numbers"),
        ([0, 1, 2, np.nan], "label nan;"),
        ([0, 1, 2, np.inf], "label inf;"),
        (["0", "1", "2", "3"], "labels are of type <U1, such as ['0']; valid: whole numbers"),
        ([0, 1, 2, None], "labels are of type object"),
        ([[0], [1], [2], [3]], "labels of shape (4, 1); valid: one number for each image"),
        (3, "labels of shape ()"),
    ],
)
def test_other_labels_are_refused(tmp_path, labels, message):
    with pytest.raises(UsageError) as caught:
        make_split(IMAGES, labels, (tmp_path / "images", tmp_path / "labels"))
    assert message in str(caught.value)
    assert str(tmp_path / "labels") in str(caught.value)


@pytest.mark.parametrize("dtype", ["int8", ">u2", "uint64", "float64", "bool"])
def test_whole_numbers_of_any_type_are_taken_as_they_are(tmp_path, dtype):
    labels = np.array([0, 1, 1, 0], dtype)
    pixels = IMAGES.astype("int64") + 255
    split = make_split(pixels, labels, (tmp_path,))
    assert split.labels.tolist() == [0, 1, 1, 0]
    assert split.images.unique().tolist() == [255]


# ---- each format ----


def write_arrays(root, images, labels):
    """Write MNIST's training images and labels anew, as they are."""
    raw = root / "MNIST" / "raw"
    write_idx(raw, both("mnist"))
    if images is not None:
        (raw / "train-images-idx3-ubyte").write_bytes(idx_bytes(images))
    if labels is not None:
        (raw / "train-labels-idx1-ubyte").write_bytes(idx_bytes(labels))
    return raw


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (np.arange(23, dtype=np.uint8) % 11, "label 10; valid for dataset 'mnist': 0 to 9"),
        (np.zeros((23, 1), np.uint8), "labels of shape (23, 1)"),
        (np.arange(46, dtype=np.uint8).reshape(23, 2) % 10, "labels of shape (23, 2)"),
        (np.arange(22, dtype=np.uint8) % 10, "23 images and 22 labels"),
    ],
)
def test_labels_in_idx_files(tmp_path, labels, message):
    raw = write_arrays(tmp_path, None, labels)
    assert message in refusal("mnist", tmp_path, raw / "train-labels-idx1-ubyte")


@pytest.mark.parametrize(
    ("images", "message"),
    [
        (np.zeros((23, 28, 27), np.uint8), "images of shape (1, 28, 27); valid for dataset 'mnist': (1, 28, 28)"),
        (np.zeros((23, 784), np.uint8), "images of shape (23, 784); valid: [images, height, width]"),
        (np.zeros((23, 1, 28, 28), np.uint8), "images of shape (23, 1, 28, 28)"),
        (np.zeros((), np.uint8), "images of shape ()"),
        (np.zeros((0, 28, 28), np.uint8), "holds no images"),
    ],
)
def test_images_in_idx_files(tmp_path, images, message):
    raw = write_arrays(tmp_path, images, None)
    assert message in refusal("mnist", tmp_path, raw / "train-images-idx3-ubyte")


@pytest.mark.parametrize("part", ["train", "test"])
def test_a_class_without_images_is_refused(tmp_path, part):
    (images, labels), test = splits = both("mnist")
    if part == "train":
        splits = (images, np.where(labels == 3, 4, labels)), test
    else:
        splits = (images, labels), (test[0], np.where(test[1] == 3, 4, test[1]))
    write_idx(tmp_path / "MNIST" / "raw", splits)
    message = refusal("mnist", tmp_path, tmp_path / "MNIST" / "raw")
    assert f"class '3' has no images in the {part} split; valid: at least one of each class" in message


@pytest.mark.parametrize("label", [11, 20, 255, -1, 0.7])
def test_svhn_s_labels_are_not_taken_modulo_10(tmp_path, label):
    splits = both("svhn")
    write_svhn(tmp_path, splits)
    images, labels = splits[0]
    labels = labels.astype(float if isinstance(label, float) else int)
    labels[5] = label
    file = tmp_path / "train_32x32.mat"
    savemat(file, {"X": images.transpose(1, 2, 3, 0), "y": labels[:, None]})
    message = refusal("svhn", tmp_path, file)
    assert f"label {label}; valid: " in message


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"X": np.zeros((32, 32, 3), np.uint8)}, "X is of shape (32, 32, 3); valid: [32, 32, 3, images]"),
        ({"X": np.zeros((32, 32, 3, 23))}, "pixels are of type float64, such as 0.0"),
        ({"X": np.zeros((32, 32, 1, 23), np.uint8)}, "images of shape (1, 32, 32); valid for dataset 'svhn': (3, 32, 32)"),
        ({"X": np.zeros((32, 32, 3, 0), np.uint8)}, "holds no images"),
        ({"y": np.ones((2, 23))}, "y is of shape (2, 23); valid: [images, 1]"),
    ],
)
def test_other_arrays_in_svhn_s_files(tmp_path, change, message):
    splits = both("svhn")
    write_svhn(tmp_path, splits)
    images, labels = splits[0]
    file = tmp_path / "train_32x32.mat"
    savemat(file, {"X": images.transpose(1, 2, 3, 0), "y": labels[:, None], **change})
    assert message in refusal("svhn", tmp_path, file)


def test_labels_in_a_batch_of_cifar100_beyond_its_classes(tmp_path):
    (images, labels), test = both("cifar100", 230, 110)
    write_cifar100(tmp_path, ((images, labels + 1), test))
    file = tmp_path / "cifar-100-python" / "train"
    assert "label 100; valid for dataset 'cifar100': 0 to 99" in refusal("cifar100", tmp_path, file)


def test_the_batch_with_the_odd_label_is_named(tmp_path):
    (images, labels), test = both("cifar10", 53, 21)
    labels[25] = 77  # the third of five batches
    write_cifar10(tmp_path, ((images, labels), test))
    assert "label 77" in refusal("cifar10", tmp_path, "data_batch_3")


# ---- encoded images in parquet files ----


def write_table(file, cells, labels):
    struct = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    column = pa.array([{"bytes": cell, "path": "0.png"} for cell in cells], struct)
    pq.write_table(pa.table({"img": column, "label": labels}), file)


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (pa.array([0.0] * 22 + [0.7]), "label 0.7"),
        (pa.array([0] * 22 + [None], pa.int64()), "label nan"),
        (pa.array([0] * 22 + [10]), "label 10; valid for dataset 'cifar10': 0 to 9"),
        (pa.array([0] * 22 + [-1]), "label -1;"),
        (pa.array(["cat"] * 23), "labels are of type"),
        (pa.array([[0]] * 23), "labels are of type object"),
    ],
)
def test_labels_in_parquet_files(tmp_path, labels, message):
    splits = both("cifar10")
    write_hub(tmp_path / "cifar10", splits)
    file = tmp_path / "cifar10" / "train-00000-of-00001.parquet"
    write_table(file, [png(image) for image in splits[0][0]], labels)
    assert message in refusal("cifar10", tmp_path, file)


def test_one_image_of_another_size_in_a_parquet_file_is_named_by_its_row(tmp_path):
    splits = both("cifar10")
    write_hub(tmp_path / "cifar10", splits)
    file = tmp_path / "cifar10" / "train-00000-of-00001.parquet"
    cells = [png(image) for image in splits[0][0]]
    cells[7] = png(splits[0][0][7][:31])
    write_table(file, cells, pa.array(splits[0][1].tolist()))
    assert "row 7: an image of shape (3, 31, 32); valid: (3, 32, 32)" in refusal("cifar10", tmp_path, file)


def test_a_parquet_file_without_rows_is_refused(tmp_path):
    write_hub(tmp_path / "cifar10", both("cifar10"))
    file = tmp_path / "cifar10" / "train-00000-of-00001.parquet"
    write_table(file, [], pa.array([], pa.int64()))
    assert "holds no images" in refusal("cifar10", tmp_path, file)


# ---- what is no regular file ----

FILES = {
    "mnist": (lambda root: write_idx(root / "MNIST/raw", both("mnist")), "MNIST/raw/train-labels-idx1-ubyte"),
    "svhn": (lambda root: write_svhn(root, both("svhn")), "test_32x32.mat"),
    "cifar10": (lambda root: write_cifar10(root, both("cifar10", 53, 21)), "cifar-10-batches-py/data_batch_3"),
    "cifar100": (lambda root: write_cifar100(root, both("cifar100", 230, 110)), "cifar-100-python/test"),
    "fashionmnist": (lambda root: write_hub(root / "fashionmnist", both("mnist")), "fashionmnist/test-00000-of-00001.parquet"),
}


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("kind", ["FIFO", "socket", "folder", "device", "link to a device"])
def test_what_is_no_regular_file_is_not_opened(tmp_path, name, kind, monkeypatch):
    write, place = FILES[name]
    write(tmp_path)
    file = tmp_path / place
    file.unlink()
    if kind == "FIFO":
        os.mkfifo(file)  # opening it would wait for a writer, for ever
    elif kind == "socket":
        monkeypatch.chdir(file.parent)  # a socket's path may have 107 bytes
        with socket.socket(socket.AF_UNIX) as opened:
            opened.bind(file.name)
    elif kind == "folder":
        file.mkdir()
    elif kind == "device":
        try:
            os.mknod(file, 0o600 | 0o020000, os.makedev(1, 5))  # /dev/zero, which never ends
        except PermissionError:
            pytest.skip("only root makes devices")
    else:
        file.symlink_to("/dev/zero")
    word = kind.split()[-1]
    assert f"is a {word}, and is not opened; valid: a regular file" in refusal(name, tmp_path, file)


def test_a_link_to_a_file_is_a_file_and_one_to_nothing_is_not_there(tmp_path):
    raw = write_arrays(tmp_path, None, None)
    file = raw / "train-images-idx3-ubyte"
    file.rename(tmp_path / "elsewhere")
    file.symlink_to(tmp_path / "elsewhere")
    assert len(find_source("mnist").load(tmp_path).train) == 23
    (tmp_path / "elsewhere").unlink()
    assert "none of these is there" in refusal("mnist", tmp_path, tmp_path)


def test_a_link_to_itself_is_named(tmp_path):
    raw = write_arrays(tmp_path, None, None)
    file = raw / "train-images-idx3-ubyte"
    file.unlink()
    file.symlink_to(file)
    assert "cannot be read" in refusal("mnist", tmp_path, file)


# ---- the validation split ----


def test_a_class_of_one_image_cannot_be_parted(tmp_path):
    split = make_split(IMAGES, [0, 0, 0, 1], (tmp_path,))
    bundle = Bundle("tiny", split, split, ("many", "one"), (0.5,), (0.5,))
    with pytest.raises(UsageError, match=r"--set data\.split=validation: class 'one' of tiny has 1 training images"):
        held_out(bundle, fraction=0.5, seed=0)


def test_some_images_of_each_class_stay(tmp_path):
    split = make_split(IMAGES, [0, 0, 1, 1], (tmp_path,))
    bundle = Bundle("tiny", split, split, ("a", "b"), (0.5,), (0.5,))
    parted = held_out(bundle, fraction=0.99, seed=0)
    assert sorted(parted.train.labels.tolist()) == sorted(parted.test.labels.tolist()) == [0, 1]
