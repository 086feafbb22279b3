"""Well-known sets as people have them: folders of the Hub, other names, cut short, without pictures, from dead mirrors."""

import os
from urllib.error import HTTPError, URLError

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torchvision
from small_files import both, check_bundle, png, write_cifar10, write_hub, write_idx, write_parquet, write_svhn

from bench.errors import UsageError
from bench.files import DataWarning
from datasets import DATASETS, find_source

TRAIN, TEST = "train-00000-of-00001.parquet", "test-00000-of-00001.parquet"


def refusal(name, root):
    with pytest.raises(UsageError) as caught:
        find_source(name).load(root)
    assert "\n" not in str(caught.value)
    return str(caught.value)


# ---- where the Hub, and people, keep them ----


@pytest.mark.parametrize(
    ("name", "folder"),
    [
        *(("mnist", "mnist/mnist"), ("mnist", "mnist/data"), ("mnist", "ylecun/mnist/mnist"), ("mnist", "MNIST/default")),
        *(
            ("fashionmnist", "fashion_mnist/fashion_mnist"),
            ("fashionmnist", "Fashion-MNIST"),
            ("fashionmnist", "fashion mnist/d"),
        ),
        *(("cifar10", "cifar10/plain_text"), ("cifar10", "uoft-cs/cifar10/plain_text"), ("cifar10", "CIFAR-10/a/b/c")),
        ("mnist", "datasets--ylecun--mnist/snapshots/77f3/mnist"),
        ("fashionmnist", "hub/datasets--zalando-datasets--fashion_mnist/snapshots/1a/fashion_mnist"),
        ("svhn", "ufldl-stanford/svhn/cropped_digits"),
    ],
)
def test_a_set_of_the_hub_is_read_from_any_sub_folder(tmp_path, name, folder):
    write_hub(tmp_path / folder, both(name))
    check_bundle(find_source(name).load(tmp_path), name, both(name))


@pytest.mark.parametrize(
    ("train", "test"),
    [
        ("mnist/mnist/train/0000.parquet", "mnist/mnist/test/0000.parquet"),
        ("mnist/mnist-train.parquet", "mnist/mnist-test.parquet"),
        ("mnist/data/Train.parquet", "mnist/data/Test.parquet"),
        ("mnist/train/mnist-train.parquet", "mnist/test/mnist-test.parquet"),
    ],
)
def test_the_split_is_in_the_name_of_the_file_or_of_its_folder(tmp_path, train, test):
    splits = both("mnist")
    for file, split in zip((train, test), splits, strict=True):
        write_parquet(tmp_path / file, *split)
    check_bundle(find_source("mnist").load(tmp_path), "mnist", splits)


def test_links_into_the_hub_s_cache_are_followed_and_its_hidden_files_are_not_read(tmp_path):
    home = tmp_path / "datasets--ylecun--mnist"
    write_hub(home / "blobs", both("mnist"))
    snapshot = home / "snapshots" / "a1" / "mnist"
    snapshot.mkdir(parents=True)
    for number, name in enumerate((TRAIN, TEST)):
        (home / "blobs" / name).rename(home / "blobs" / str(number))
        (snapshot / name).symlink_to(os.path.relpath(home / "blobs" / str(number), snapshot))
        (snapshot / f"._{name}").write_bytes(bytes(4096))
    write_hub(home / ".cache" / "mnist", both("mnist", 40, 11))
    check_bundle(find_source("mnist").load(tmp_path), "mnist", both("mnist"))


def test_the_folder_of_the_set_comes_first_and_two_others_are_a_mistake(tmp_path):
    write_hub(tmp_path / "mnist" / "a", both("mnist", 40, 11))
    write_hub(tmp_path / "mnist" / "b", both("mnist", 50, 11))
    message = refusal("mnist", tmp_path)
    assert f"dataset 'mnist' is in {tmp_path}/mnist/a and in {tmp_path}/mnist/b; valid: one of them" in message
    write_hub(tmp_path / "mnist", both("mnist"))
    check_bundle(find_source("mnist").load(tmp_path), "mnist", both("mnist"))


def test_of_svhn_s_versions_the_cropped_digits_are_taken(tmp_path):
    for version in ("cropped_digits", "full_numbers"):
        write_hub(tmp_path / "svhn" / version, both("svhn", 23 if version == "cropped_digits" else 40))
    write_parquet(tmp_path / "svhn" / "cropped_digits" / "extra-00000-of-00001.parquet", *both("svhn")[0])
    check_bundle(find_source("svhn").load(tmp_path), "svhn", both("svhn"))


def test_another_set_s_files_are_not_taken(tmp_path):
    write_hub(tmp_path / "fashion_mnist" / "mnist_like", both("mnist"))
    assert "is not below --data-root" in refusal("mnist", tmp_path)


@pytest.mark.parametrize("name", ["validation-00000-of-00001.parquet", "val.parquet", "dev-00000-of-00001.parquet"])
def test_a_validation_file_is_taken_for_the_test_split_and_said(tmp_path, name):
    write_hub(tmp_path / "mnist" / "data", both("mnist"))
    (tmp_path / "mnist" / "data" / TEST).rename(tmp_path / "mnist" / "data" / name)
    with pytest.warns(DataWarning, match=f"has no test split; {name} is taken for it"):
        check_bundle(find_source("mnist").load(tmp_path), "mnist", both("mnist"))


@pytest.mark.parametrize(
    ("name", "folder", "write"),
    [("cifar10", "cifar10", write_cifar10), ("cifar10", "people/CIFAR-10", write_cifar10), ("svhn", "Svhn", write_svhn)],
)
def test_other_layouts_may_be_in_a_folder_of_the_set_s_name(tmp_path, name, folder, write):
    (tmp_path / folder).mkdir(parents=True)
    write(tmp_path / folder, both(name, 53, 21))
    check_bundle(find_source(name).load(tmp_path), name, both(name, 53, 21))


# ---- the names of IDX files ----


@pytest.mark.parametrize("folder", ["MNIST/raw", "mnist", "MNIST", "mnist/data/mnist", "lecun/MNIST/files"])
@pytest.mark.parametrize("kind", ["dotted", "dotted gz", "a folder each", "gz"])
def test_idx_files_by_other_names(tmp_path, folder, kind):
    raw = tmp_path / folder
    write_idx(raw, both("mnist"), gz="gz" in kind)
    for file in [*raw.iterdir()]:
        if "dotted" in kind:
            file.rename(file.with_name(file.name.replace("-idx", ".idx")))
        elif kind == "a folder each":
            file.rename(raw / "moved")
            file.mkdir()
            (raw / "moved").rename(file / file.name)
    check_bundle(find_source("mnist").load(tmp_path), "mnist", both("mnist"))


# ---- cut short ----

FILES = {
    "idx": ("mnist", lambda root: write_idx(root / "MNIST/raw", both("mnist")), "MNIST/raw/t10k-labels-idx1-ubyte"),
    "gz": ("mnist", lambda root: write_idx(root / "MNIST/raw", both("mnist"), gz=True), "MNIST/raw/train-images-idx3-ubyte.gz"),
    "pickle": ("cifar10", lambda root: write_cifar10(root, both("cifar10", 53, 21)), "cifar-10-batches-py/data_batch_3"),
    "mat": ("svhn", lambda root: write_svhn(root, both("svhn")), "test_32x32.mat"),
    "parquet": ("mnist", lambda root: write_hub(root / "mnist", both("mnist")), f"mnist/{TRAIN}"),
}


@pytest.mark.parametrize("kind", FILES)
@pytest.mark.parametrize("keep", [0, 0.5, "page"])
def test_a_file_cut_short_is_named_with_what_to_do(tmp_path, kind, keep):
    name, write, file = FILES[kind]
    write(tmp_path)
    content = (tmp_path / file).read_bytes()
    (tmp_path / file).write_bytes(b"<html>503</html>" if keep == "page" else content[: int(keep * len(content))])
    assert f"if it was cut short, delete {tmp_path / file} and download or copy it again" in refusal(name, tmp_path)


def test_a_pointer_of_git_lfs_is_called_that(tmp_path):
    write_hub(tmp_path / "mnist", both("mnist"))
    (tmp_path / "mnist" / TRAIN).write_text("version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 15561616\n")
    assert f"{tmp_path / 'mnist' / TRAIN} is a pointer of Git LFS, not the file itself" in refusal("mnist", tmp_path)


# ---- downloads that fail ----


def http(status, reason):
    return lambda *arguments, **options: (_ for _ in ()).throw(HTTPError("", status, reason, {}, None))


@pytest.mark.parametrize("name", ["mnist", "fashionmnist", "svhn", "cifar10", "cifar100"])
@pytest.mark.parametrize(
    ("opened", "reason"),
    [
        (http(403, "Forbidden"), "HTTP Error 403: Forbidden"),
        (http(503, "Service Unavailable"), "HTTP Error 503: Service Unavailable"),
        (URLError(OSError(-2, "Name or service not known")), "Name or service not known"),
        (ConnectionRefusedError(111, "Connection refused"), "Connection refused"),
        (TimeoutError("timed out"), "timed out"),
    ],
)
def test_a_download_that_fails_gives_address_and_reason(tmp_path, monkeypatch, name, opened, reason):
    def refuse(*arguments, **options):
        if isinstance(opened, Exception):
            raise opened
        return opened()

    monkeypatch.setattr("urllib.request.urlopen", refuse)
    message = refusal(name, tmp_path)
    assert reason in message
    assert all(address in message for address in DATASETS[name].download.addresses[:1])
    assert DATASETS[name].download.addresses[0].startswith("http")


def test_every_mirror_is_named(tmp_path, monkeypatch):
    mirrors = ["http://127.0.0.1:1/", "http://nowhere.invalid/"]
    monkeypatch.setattr(torchvision.datasets.MNIST, "mirrors", mirrors)
    message = refusal("mnist", tmp_path)
    assert all(f"Tried {mirror}, got: <urlopen error no network in tests>" in message for mirror in mirrors)


# ---- Parquet without pictures ----


def rewritten(root, cells, kind, labels=None):
    """Write MNIST with other cells in its training file; return the file."""
    (images, numbers), _ = splits = both("mnist")
    write_hub(root / "mnist", splits)
    made = [cells(number, png(image)) for number, image in enumerate(images)]
    column = pa.array(numbers.tolist() if labels is None else labels)
    pq.write_table(pa.table({"image": pa.array(made, kind), "label": column}), root / "mnist" / TRAIN)
    return root / "mnist" / TRAIN


STRUCT = pa.struct([("bytes", pa.binary()), ("path", pa.string())])


@pytest.mark.parametrize(
    ("cells", "kind", "message"),
    [
        (lambda n, b: {"bytes": None, "path": f"a/{n}.png"}, STRUCT, "row 0 has only the path 'a/0.png' of its picture"),
        (lambda n, b: f"a/{n}.png", pa.string(), "row 0 has only the path 'a/0.png' of its picture"),
        (lambda n, b: {"path": f"a/{n}.png"}, pa.struct([("path", pa.string())]), "row 0 has only the path 'a/0.png'"),
        (lambda n, b: None if n == 7 else {"bytes": b, "path": None}, STRUCT, "row 7 has no picture"),
        (lambda n, b: {"bytes": None if n == 7 else b, "path": None}, STRUCT, "row 7 has no picture"),
        (lambda n, b: None if n == 7 else b, pa.binary(), "row 7 has no picture"),
        (lambda n, b: [[0, 1]], pa.list_(pa.list_(pa.uint8())), "row 0 has ndarray in place of a picture"),
        (lambda n, b: {"bytes": b"GIF" if n == 7 else b, "path": None}, STRUCT, "row 7, cannot be read: it is damaged"),
    ],
)
def test_rows_without_a_picture_are_named(tmp_path, cells, kind, message):
    file = rewritten(tmp_path, cells, kind)
    assert f"{file}, {message}" in (said := refusal("mnist", tmp_path))
    assert "damaged" in said or "valid: a file that holds the encoded pictures themselves" in said


def test_bytes_without_a_path_are_pictures(tmp_path):
    rewritten(tmp_path, lambda number, encoded: encoded, pa.binary())
    check_bundle(find_source("mnist").load(tmp_path), "mnist", both("mnist"))


def test_a_row_without_a_label_is_named(tmp_path):
    labels = [None if number == 9 else number % 10 for number in range(23)]
    file = rewritten(tmp_path, lambda number, encoded: {"bytes": encoded, "path": None}, STRUCT, labels)
    assert f"{file}, row 9: label nan, for the file has none there; valid: whole numbers" in refusal("mnist", tmp_path)
