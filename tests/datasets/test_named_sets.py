"""The field's sets, read from small files in their real formats.

Where torchvision can read the same files, it is the oracle: its loaders define the on-disk layout.
"""

import gzip
import io
import os
import pickle
import struct
from pathlib import Path
from typing import ClassVar
from urllib.error import URLError

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
import torchvision
from PIL import Image
from scipy.io import savemat

from bench.errors import UsageError
from datasets import DATASETS, find_source

IDX_FOLDERS = {"mnist": "MNIST", "fashionmnist": "FashionMNIST"}
CLASSES = {"mnist": 10, "fashionmnist": 10, "svhn": 10, "cifar10": 10, "cifar100": 100}
SHAPES = {"mnist": (28, 28), "fashionmnist": (28, 28), "svhn": (32, 32, 3), "cifar10": (32, 32, 3), "cifar100": (32, 32, 3)}


def draw(name, count, seed):
    """Return `count` noise images as people keep them, `[N, H, W]` or `[N, H, W, 3]`, and labels that hold every class."""
    generator = np.random.default_rng(seed)
    images = generator.integers(0, 256, (count, *SHAPES[name]), dtype=np.uint8)
    labels = generator.permutation(np.arange(count) % CLASSES[name])
    return images, labels


def both(name, train=23, test=11):
    # Unequal, odd numbers, so that swapped splits and transposed axes show.
    return draw(name, train, 1), draw(name, test, 2)


def check(split, images, labels):
    """Assert that the loader returned these very pixels and labels, as uint8 `[N, channels, H, W]` and int64."""
    expected = images[:, None] if images.ndim == 3 else images.transpose(0, 3, 1, 2)
    assert split.images.dtype == torch.uint8
    assert split.labels.dtype == torch.int64
    assert split.images.shape == expected.shape
    assert np.array_equal(split.images.numpy(), expected)
    assert split.labels.tolist() == labels.tolist()
    assert len(split) == len(labels)


def check_bundle(bundle, name, splits):
    check(bundle.train, *splits[0])
    check(bundle.test, *splits[1])
    assert bundle.name == name
    assert len(bundle.classes) == len(set(bundle.classes)) == CLASSES[name]
    channels = 1 if len(SHAPES[name]) == 2 else 3
    assert len(bundle.mean) == len(bundle.std) == channels
    assert bundle.shape == (channels, *SHAPES[name][:2]) == DATASETS[name].shape


def tree(root):
    return sorted((str(path), path.stat().st_size) for path in root.rglob("*"))


# ---- IDX ----


def idx_bytes(array):
    return struct.pack(">HBB", 0, 8, array.ndim) + struct.pack(f">{array.ndim}I", *array.shape) + array.tobytes()


def write_idx(raw, splits, *, gz=False):
    raw.mkdir(parents=True, exist_ok=True)
    for part, (images, labels) in zip(("train", "t10k"), splits, strict=True):
        for kind, array in (("images-idx3", images), ("labels-idx1", labels.astype(np.uint8))):
            data = idx_bytes(array)
            path = raw / f"{part}-{kind}-ubyte{'.gz' if gz else ''}"
            path.write_bytes(gzip.compress(data) if gz else data)


@pytest.mark.parametrize("name", IDX_FOLDERS)
@pytest.mark.parametrize("gz", [False, True], ids=["plain", "gz"])
def test_idx_files_are_read_pixel_by_pixel(tmp_path, name, gz):
    splits = both(name)
    write_idx(tmp_path / IDX_FOLDERS[name] / "raw", splits, gz=gz)
    check_bundle(find_source(name).load(tmp_path), name, splits)


@pytest.mark.parametrize("name", IDX_FOLDERS)
def test_idx_files_are_read_as_torchvision_reads_them(tmp_path, name):
    write_idx(tmp_path / IDX_FOLDERS[name] / "raw", both(name))
    bundle = find_source(name).load(tmp_path)
    for train, split in ((True, bundle.train), (False, bundle.test)):
        oracle = getattr(torchvision.datasets, IDX_FOLDERS[name])(str(tmp_path), train=train, download=False)
        assert torch.equal(split.images[:, 0], oracle.data)
        assert torch.equal(split.labels, oracle.targets)


def test_fashionmnist_is_not_mistaken_for_mnist(tmp_path):
    # Both sets have files of the same names; the folder alone tells them apart.
    write_idx(tmp_path / "MNIST" / "raw", both("mnist"))
    with pytest.raises(UsageError, match="fashionmnist"):
        find_source("fashionmnist").load(tmp_path)


CUTS = {
    "last byte missing": lambda data: data[:-1],
    "a byte too many": lambda data: data + b"\0",
    "half": lambda data: data[: len(data) // 2],
    "inside the header": lambda data: data[:6],
    "inside the first word": lambda data: data[:2],
    "empty": lambda data: b"",
    "another type of number": lambda data: data[:2] + b"\x0d" + data[3:],
    "no IDX file at all": lambda data: b"<html>404 Not Found</html>",
}


@pytest.mark.parametrize("cut", CUTS)
@pytest.mark.parametrize("kind", ["images-idx3", "labels-idx1"])
def test_a_damaged_idx_file_is_named(tmp_path, cut, kind):
    raw = tmp_path / "MNIST" / "raw"
    write_idx(raw, both("mnist"))
    file = raw / f"train-{kind}-ubyte"
    file.write_bytes(CUTS[cut](file.read_bytes()))
    with pytest.raises(UsageError) as caught:
        find_source("mnist").load(tmp_path)
    assert str(file) in str(caught.value)


@pytest.mark.parametrize("keep", [0, 5, 200])
def test_a_gzipped_idx_file_cut_short_is_named(tmp_path, keep):
    raw = tmp_path / "MNIST" / "raw"
    write_idx(raw, both("mnist"), gz=True)
    file = raw / "t10k-images-idx3-ubyte.gz"
    file.write_bytes(file.read_bytes()[:keep])
    with pytest.raises(UsageError) as caught:
        find_source("mnist").load(tmp_path)
    assert str(file) in str(caught.value)


# ---- CIFAR's pickles ----


class Python2Pickler(pickle._Pickler):
    """Writes what Python 2 wrote, as in the files of Krizhevsky's page: keys and pixels are byte strings of no encoding."""

    dispatch: ClassVar = dict(pickle._Pickler.dispatch)

    def save_text(self, text):
        raw = text.encode("latin1") if isinstance(text, str) else text
        self.write(pickle.BINSTRING + struct.pack("<i", len(raw)) + raw)
        self.memoize(text)

    dispatch[str] = save_text
    dispatch[bytes] = save_text


def write_pickle(path, content):
    stream = io.BytesIO()
    Python2Pickler(stream, 2).dump(content)
    # numpy's module of those days; today's name would not be in a real file
    path.write_bytes(stream.getvalue().replace(b"cnumpy._core.multiarray\n", b"cnumpy.core.multiarray\n"))


def batch(images, labels, **more):
    return {"data": images.transpose(0, 3, 1, 2).reshape(len(images), -1), **labels, **more}


def write_cifar10(root, splits):
    folder = root / "cifar-10-batches-py"
    folder.mkdir(parents=True)
    (images, labels), (test_images, test_labels) = splits
    parts = zip(np.array_split(images, 5), np.array_split(labels, 5), strict=True)
    for number, (part, part_labels) in enumerate(parts, start=1):
        about = f"training batch {number} of 5"
        write_pickle(folder / f"data_batch_{number}", batch(part, {"labels": part_labels.tolist()}, batch_label=about))
    write_pickle(
        folder / "test_batch", batch(test_images, {"labels": test_labels.tolist()}, batch_label="testing batch 1 of 1")
    )
    write_pickle(folder / "batches.meta", {"label_names": list(DATASETS["cifar10"].classes), "num_vis": 3072})


def write_cifar100(root, splits):
    folder = root / "cifar-100-python"
    folder.mkdir(parents=True)
    for part, (images, labels) in zip(("train", "test"), splits, strict=True):
        # The coarse labels differ from the fine ones, so that reading the wrong ones shows.
        both_labels = {"coarse_labels": ((labels + 7) % 20).tolist(), "fine_labels": labels.tolist()}
        write_pickle(folder / part, batch(images, both_labels, batch_label=part))
    names = {"fine_label_names": list(DATASETS["cifar100"].classes), "coarse_label_names": [str(n) for n in range(20)]}
    write_pickle(folder / "meta", names)


CIFAR = {"cifar10": (write_cifar10, 53, 21), "cifar100": (write_cifar100, 230, 110)}


@pytest.mark.parametrize("name", CIFAR)
def test_cifar_pickles_are_read_pixel_by_pixel(tmp_path, name):
    write, train, test = CIFAR[name]
    splits = both(name, train, test)
    write(tmp_path, splits)
    check_bundle(find_source(name).load(tmp_path), name, splits)


@pytest.mark.parametrize("name", CIFAR)
def test_cifar_pickles_are_read_as_torchvision_reads_them(tmp_path, name, monkeypatch):
    write, train, test = CIFAR[name]
    write(tmp_path, both(name, train, test))
    # These files are not the originals, so torchvision's check sums cannot match.
    monkeypatch.setattr("torchvision.datasets.cifar.check_integrity", lambda *arguments: True)
    bundle = find_source(name).load(tmp_path)
    for is_train, split in ((True, bundle.train), (False, bundle.test)):
        oracle = getattr(torchvision.datasets, name.upper())(str(tmp_path), train=is_train, download=False)
        assert np.array_equal(split.images.numpy().transpose(0, 2, 3, 1), oracle.data)
        assert split.labels.tolist() == oracle.targets


def test_cifar10_without_one_of_its_batches_is_not_there(tmp_path):
    write_cifar10(tmp_path, both("cifar10", 53, 21))
    (tmp_path / "cifar-10-batches-py" / "data_batch_3").unlink()
    with pytest.raises(UsageError, match="cifar-10-batches-py"):
        find_source("cifar10").load(tmp_path)


# ---- SVHN's MATLAB files ----


def write_svhn(folder, splits):
    folder.mkdir(parents=True, exist_ok=True)
    for part, (images, labels) in zip(("train", "test"), splits, strict=True):
        digits = np.where(labels == 0, 10, labels).astype(np.uint8)[:, None]
        savemat(folder / f"{part}_32x32.mat", {"X": images.transpose(1, 2, 3, 0), "y": digits})


@pytest.mark.parametrize("folder", [".", "svhn", "SVHN"])
def test_svhn_is_read_pixel_by_pixel_and_ten_means_zero(tmp_path, folder):
    splits = both("svhn")
    assert (splits[0][1] == 0).any()
    write_svhn(tmp_path / folder, splits)
    check_bundle(find_source("svhn").load(tmp_path), "svhn", splits)


def test_svhn_is_read_as_torchvision_reads_it(tmp_path, monkeypatch):
    write_svhn(tmp_path, both("svhn"))
    monkeypatch.setattr("torchvision.datasets.svhn.check_integrity", lambda *arguments: True)
    bundle = find_source("svhn").load(tmp_path)
    for name in ("train", "test"):
        split, oracle = getattr(bundle, name), torchvision.datasets.SVHN(str(tmp_path), split=name, download=False)
        assert np.array_equal(split.images.numpy(), oracle.data)
        assert split.labels.tolist() == oracle.labels.tolist()


# ---- the Hugging Face Hub's parquet files ----


def png(pixels):
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "PNG")
    return stream.getvalue()


def write_parquet(path, images, labels, *, image="img", label="label", **more):
    path.parent.mkdir(parents=True, exist_ok=True)
    cells = [{"bytes": png(pixels), "path": f"{number}.png"} for number, pixels in enumerate(images)]
    struct_type = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    columns = {image: pa.array(cells, struct_type), label: pa.array(labels.tolist(), pa.int64())}
    pq.write_table(pa.table(columns | {name: pa.array(values.tolist()) for name, values in more.items()}), path)


def write_hub(folder, splits, **columns):
    for part, (images, labels) in zip(("train", "test"), splits, strict=True):
        write_parquet(folder / f"{part}-00000-of-00001.parquet", images, labels, **columns)


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


# ---- damaged files of the other formats: what an interrupted copy leaves ----


DAMAGED = {
    "cifar pickle": ("cifar10", lambda root: write_cifar10(root, both("cifar10", 53, 21)), "cifar-10-batches-py/data_batch_2"),
    "svhn": ("svhn", lambda root: write_svhn(root, both("svhn")), "train_32x32.mat"),
    "parquet": ("cifar10", lambda root: write_hub(root / "cifar10", both("cifar10")), "cifar10/test-00000-of-00001.parquet"),
}


@pytest.mark.parametrize("kind", DAMAGED)
def test_a_file_cut_short_is_named(tmp_path, kind):
    name, write, place = DAMAGED[kind]
    write(tmp_path)
    file = tmp_path / place
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    with pytest.raises(UsageError) as caught:
        find_source(name).load(tmp_path)
    assert file.name in str(caught.value)


# ---- sets that are not there ----


PLACES = {
    "mnist": ("MNIST/raw", "mnist/train*.parquet"),
    "fashionmnist": ("FashionMNIST/raw", "fashionmnist/train*.parquet"),
    "svhn": ("train_32x32.mat", "test_32x32.mat", "svhn/train*.parquet"),
    "cifar10": ("cifar-10-batches-py/data_batch_1", "test_batch", "cifar10/train*.parquet"),
    "cifar100": ("cifar-100-python/train", "cifar100/train*.parquet"),
}


@pytest.mark.parametrize("name", PLACES)
def test_a_missing_set_lists_every_place_and_what_would_satisfy(tmp_path, name):
    with pytest.raises(UsageError) as caught:
        find_source(name).load(tmp_path)
    message = str(caught.value)
    assert "\n" not in message
    for place in PLACES[name]:
        assert str(tmp_path / place) in message or place in message
    for word in (repr(name), str(tmp_path), "--data-root", "DATA_ROOT"):
        assert word in message
    assert message.count(str(tmp_path)) >= 3  # the root itself, and at least two places below it


@pytest.mark.parametrize("name", PLACES)
def test_a_download_that_fails_is_explained(tmp_path, name, monkeypatch):
    def kind(*arguments, **options):
        raise URLError("the cable is out")

    monkeypatch.setattr(torchvision.datasets, DATASETS[name].download, kind)
    with pytest.raises(UsageError, match="the cable is out"):
        find_source(name).load(tmp_path)


def test_what_torchvision_downloads_is_then_read(tmp_path, monkeypatch):
    splits, asked = both("mnist"), []

    def kind(root, *, train=True, download=False):
        asked.append(download)
        write_idx(Path(root) / "MNIST" / "raw", splits)

    monkeypatch.setattr(torchvision.datasets, "MNIST", kind)
    check_bundle(find_source("mnist").load(tmp_path / "new"), "mnist", splits)
    assert asked
    assert all(asked)


def test_both_splits_of_svhn_are_downloaded(tmp_path, monkeypatch):
    splits = both("svhn")

    def kind(root, split="train", *, download=False):
        assert download
        source = tmp_path / "elsewhere"
        write_svhn(source, splits)
        Path(root).mkdir(exist_ok=True)
        (source / f"{split}_32x32.mat").rename(Path(root) / f"{split}_32x32.mat")

    monkeypatch.setattr(torchvision.datasets, "SVHN", kind)
    check_bundle(find_source("svhn").load(tmp_path / "root"), "svhn", splits)


def test_what_is_there_is_not_downloaded_again(tmp_path, monkeypatch):
    write_hub(tmp_path / "mnist", both("mnist"))
    monkeypatch.setattr(torchvision.datasets, "MNIST", lambda *arguments, **options: pytest.fail("downloads"))
    find_source("mnist").load(tmp_path)


@pytest.mark.parametrize("below", ["", "not/there/yet"])
def test_nothing_is_written_into_a_read_only_root(tmp_path, monkeypatch, below):
    # Tests may run as root, for whom every folder is writable: so the question is answered for it.
    asked = []

    def access(path, mode, **options):
        asked.append(Path(path))
        return mode & os.W_OK == 0

    monkeypatch.setattr(os, "access", access)
    monkeypatch.setattr(torchvision.datasets, "MNIST", lambda *arguments, **options: pytest.fail("writes into the root"))
    with pytest.raises(UsageError, match="read-only"):
        find_source("mnist").load(tmp_path / below)
    assert asked == [tmp_path]
    assert tree(tmp_path) == []


@pytest.mark.parametrize("layout", ["idx", "gz", "parquet"])
def test_reading_writes_nothing(tmp_path, layout):
    if layout == "parquet":
        write_hub(tmp_path / "mnist", both("mnist"))
    else:
        write_idx(tmp_path / "MNIST" / "raw", both("mnist"), gz=layout == "gz")
    before = tree(tmp_path)
    find_source("mnist").load(tmp_path)
    assert tree(tmp_path) == before


# ---- the registry ----


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
