"""Which images a set holds: the same for the same images in whatever files, another for any other image, label or order."""

import hashlib
import json
import os
import shutil
import subprocess
import sys
import time
import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
import torch
import torchvision
from small_files import both, png, tree, write_cifar10, write_cifar100, write_hub, write_idx, write_svhn

from bench.errors import UsageError
from bench.files import DataWarning
from bench.types import Split
from datasets import DATASETS, find_source
from datasets.fingerprint import Fingerprint, fingerprint_of


@pytest.fixture
def own_cifar10(monkeypatch):
    """Return CIFAR-10's source, for which the small files of these tests are the published ones."""
    train, test = (Split(torch.from_numpy(i.transpose(0, 3, 1, 2)), torch.from_numpy(n)) for i, n in both("cifar10", 53, 21))
    return replace(DATASETS["cifar10"], published=fingerprint_of(train, test))


def quiet(source, root):
    """Return the fingerprint below `root`; a warning is a failure."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        return source.fingerprint(root)


def warned(source, root):
    """Return the fingerprint below `root`, which must be said to be of another set than the published one."""
    with pytest.warns(DataWarning, match=f"dataset '{source.name}' in .* is not the published one") as caught:
        fingerprint = source.fingerprint(root)
    assert len(caught) == 1
    assert str(root) in str(caught[0].message)
    assert fingerprint.digest[:16] in str(caught[0].message)
    return fingerprint


# ---- what it depends on ----


def splits_of(seed=0):
    generator = torch.Generator().manual_seed(seed)
    images = torch.randint(0, 256, (9, 3, 4, 4), generator=generator, dtype=torch.uint8)
    return Split(images, torch.arange(9) % 3), Split(images[:6].flip(0), torch.arange(6) % 3)


def test_a_fingerprint_is_a_hash_of_hashes_of_images_with_their_labels():
    # Written out once more, so that nobody changes it by accident: it is stored in records.
    train, test = splits_of()
    digest, content = hashlib.sha256(b"[]"), hashlib.sha256(b"[]")
    for name, split in (("train", train), ("test", test)):
        hashes = []
        for image, label in zip(split.images, split.labels.tolist(), strict=True):
            pixels = bytes(image.flatten().tolist())
            hashes.append(hashlib.sha256(pixels + label.to_bytes(8, "little")).digest())
        header = f"{name} ({len(split)}, 3, 4, 4)".encode()
        digest.update(header + b"".join(hashes))
        content.update(header + b"".join(sorted(hashes)))
    assert fingerprint_of(train, test) == Fingerprint(digest=digest.hexdigest(), content=content.hexdigest())


def changed(split, *, image=None, label=None, order=None):
    images, labels = split.images.clone(), split.labels.clone()
    if image is not None:
        images[image, 0, 0, 0] ^= 1
    if label is not None:
        labels[label] = (labels[label] + 1) % 3
    if order is not None:
        images, labels = images[order], labels[order]
    return Split(images, labels)


@pytest.mark.parametrize("split", ["train", "test"])
@pytest.mark.parametrize("change", [{"image": 5}, {"label": 5}, {"order": list(range(5))}], ids=["pixel", "label", "fewer"])
def test_one_pixel_one_label_and_one_image_less_change_it(split, change):
    train, test = splits_of()
    first = fingerprint_of(train, test)
    other = (
        fingerprint_of(changed(train, **change), test) if split == "train" else fingerprint_of(train, changed(test, **change))
    )
    assert other.digest != first.digest
    assert other.content != first.content


def test_the_order_changes_the_digest_and_not_the_content():
    train, test = splits_of()
    first = fingerprint_of(train, test)
    shuffled = fingerprint_of(changed(train, order=[3, 1, 2, 0, 4, 5, 6, 7, 8]), test)
    assert shuffled.digest != first.digest
    assert shuffled.content == first.content


def test_an_image_that_changes_its_split_changes_the_content():
    train, test = splits_of()
    assert fingerprint_of(train, test).content != fingerprint_of(test, train).content


def test_the_names_of_classes_and_the_layout_in_memory():
    train, test = splits_of()
    first = fingerprint_of(train, test)
    assert fingerprint_of(train, test, ("a", "b", "c")).digest != first.digest
    last = Split(train.images.contiguous(memory_format=torch.channels_last), train.labels)
    assert fingerprint_of(last, test) == first


@pytest.mark.parametrize("name", ["mnist", "svhn", "cifar10", "cifar100"])
def test_it_is_the_same_in_every_layout(tmp_path, name):
    splits = both(name, 230, 110)
    writers = {
        "mnist": [
            lambda root: write_idx(root / "MNIST/raw", splits),
            lambda root: write_idx(root / "MNIST/raw", splits, gz=True),
        ],
        "svhn": [lambda root: write_svhn(root, splits), lambda root: write_svhn(root / "SVHN", splits)],
        "cifar10": [lambda root: write_cifar10(root, splits)],
        "cifar100": [lambda root: write_cifar100(root, splits)],
    }[name]
    writers.append(lambda root: write_hub(root / name, splits, label="fine_label" if name == "cifar100" else "label"))
    fingerprints = set()
    for number, write in enumerate(writers):
        root = tmp_path / str(number)
        root.mkdir()
        write(root)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            fingerprints.add(DATASETS[name].fingerprint(root).digest)
    assert len(fingerprints) == 1


# ---- published sets ----


def test_the_published_set_is_published_and_nothing_is_said(tmp_path, own_cifar10):
    write_cifar10(tmp_path, both("cifar10", 53, 21))
    fingerprint = quiet(own_cifar10, tmp_path)
    assert fingerprint.published is True
    assert own_cifar10.load(tmp_path, expected=fingerprint).published is True
    assert own_cifar10.load(tmp_path).published is None


def test_the_published_images_in_another_order_are_published_too(tmp_path, own_cifar10):
    order = np.random.default_rng(0).permutation(53)
    (images, labels), test = both("cifar10", 53, 21)
    write_hub(tmp_path / "cifar10", ((images[order], labels[order]), test))
    fingerprint = quiet(own_cifar10, tmp_path)
    assert fingerprint.published is True
    assert fingerprint.digest != own_cifar10.published.digest


def test_another_set_under_the_name_is_said_and_works_on(tmp_path, own_cifar10):
    (images, labels), test = both("cifar10", 53, 21)
    images[7, 3, 3, 0] ^= 1
    write_cifar10(tmp_path, ((images, labels), test))
    assert warned(own_cifar10, tmp_path).published is False
    assert warned(own_cifar10, tmp_path).published is False  # from the cache too
    assert len(own_cifar10.load(tmp_path).train) == 53
    assert own_cifar10.load(tmp_path, expected=warned(own_cifar10, tmp_path)).published is False


@pytest.mark.parametrize("name", ["cifar100", "svhn"])
def test_sets_whose_images_we_do_not_have_are_compared_by_torchvision_s_checksums(tmp_path, name, monkeypatch):
    if name == "svhn":
        write_svhn(tmp_path, both(name))
        files = {"train_32x32.mat": tmp_path / "train_32x32.mat", "test_32x32.mat": tmp_path / "test_32x32.mat"}
    else:
        write_cifar100(tmp_path, both(name, 230, 110))
        files = {part: tmp_path / "cifar-100-python" / part for part in ("train", "test")}
    source = DATASETS[name]
    assert warned(source, tmp_path).published is False

    (tmp_path / f".fingerprint-{name}.json").unlink()
    sums = [[part, hashlib.md5(file.read_bytes()).hexdigest()] for part, file in files.items()]
    if name == "svhn":
        monkeypatch.setattr(torchvision.datasets.SVHN, "split_list", {part: ["url", part, md5] for part, md5 in sums})
    else:
        monkeypatch.setattr(torchvision.datasets.CIFAR100, "train_list", sums[:1])
        monkeypatch.setattr(torchvision.datasets.CIFAR100, "test_list", sums[1:])
    assert quiet(source, tmp_path).published is True


def test_where_nothing_is_published_nothing_is_claimed(tmp_path):
    write_hub(tmp_path / "cifar100", both("cifar100", 230, 110), label="fine_label")
    assert quiet(DATASETS["cifar100"], tmp_path).published is None


def test_embedded_digits_are_the_published_ones_whatever_the_root(tmp_path):
    digits = DATASETS["digits"]
    for root in (tmp_path, tmp_path / "nowhere"):
        assert quiet(digits, root) == digits.published.model_copy(update={"published": True})


# ---- plans without the data ----


def test_a_plan_assumes_the_published_set_where_the_files_are_not_there(tmp_path):
    for source in DATASETS.values():
        planned = source.planned_fingerprint(tmp_path / "nowhere")
        if source.files(tmp_path / "nowhere") is not None:  # as of digits, which scikit-learn brings along
            assert not planned.assumed
            continue
        assert planned.assumed
        assert planned.digest == (source.published.digest if source.published else "")
    assert not (tmp_path / "nowhere").exists()


def test_a_plan_reads_the_files_where_they_are_there(tmp_path, own_cifar10):
    write_cifar10(tmp_path, both("cifar10", 53, 21))
    assert own_cifar10.planned_fingerprint(tmp_path) == own_cifar10.fingerprint(tmp_path)


def test_what_is_not_there_is_downloaded_for_its_fingerprint(tmp_path, monkeypatch):
    def kind(root, *, train=True, download=False):
        write_idx(Path(root) / "MNIST" / "raw", both("mnist"))

    monkeypatch.setattr(torchvision.datasets, "MNIST", type("MNIST", (), {"__new__": lambda cls, *a, **k: kind(*a, **k)}))
    assert warned(DATASETS["mnist"], tmp_path / "new").published is False
    with pytest.raises(UsageError, match="none of these is there"):
        find_source("cifar10").fingerprint(tmp_path)


def test_other_images_than_those_of_the_plan_are_not_loaded(tmp_path, own_cifar10):
    splits = both("cifar10", 53, 21)
    write_cifar10(tmp_path, splits)
    planned = own_cifar10.fingerprint(tmp_path)
    assert len(own_cifar10.load(tmp_path, expected=planned).train) == 53
    assumed = own_cifar10.published.model_copy(update={"assumed": True})
    assert len(own_cifar10.load(tmp_path, expected=assumed).train) == 53
    assert len(own_cifar10.load(tmp_path, expected=Fingerprint(digest="", content="", assumed=True)).train) == 53
    shutil.rmtree(tmp_path / "cifar-10-batches-py")
    write_hub(tmp_path / "cifar10", (splits[1], splits[0]))
    with pytest.raises(UsageError, match="not the ones that were there when the run was planned; start the run again"):
        own_cifar10.load(tmp_path, expected=planned)
    with pytest.raises(UsageError, match="not the published ones"):
        own_cifar10.load(tmp_path, expected=assumed)


# ---- the cache ----


def watched(source):
    """Return a source that reads the same files, and a list of the splits that it has read."""
    splits = []

    def watching(layout):
        return replace(layout, read=lambda group, split: splits.append(split) or layout.read(group, split))

    return replace(source, layouts=tuple(watching(layout) for layout in source.layouts)), splits


@pytest.fixture
def mnist(tmp_path):
    """Return a source of MNIST for which nothing is published, and the data root with its files."""
    root = tmp_path / "root"
    write_idx(root / "MNIST" / "raw", both("mnist"))
    return replace(DATASETS["mnist"], published=None), root


def test_it_is_computed_once_and_kept_beside_the_data(mnist, user_cache):
    source, root = mnist
    source, splits = watched(source)
    first = source.fingerprint(root)
    assert source.fingerprint(root) == first
    assert splits == ["train", "test"]
    assert json.loads((root / ".fingerprint-mnist.json").read_text())["value"]["digest"] == first.digest
    assert list(user_cache.rglob("*.json")) == []
    source.load(root)  # the cache file is not taken for data


@pytest.mark.parametrize("how", ["mode", "access"])
def test_a_read_only_root_is_left_alone_and_the_user_s_cache_is_used(mnist, user_cache, monkeypatch, how):
    source, root = mnist
    (source, splits), before = watched(source), tree(root)
    if how == "mode":
        root.chmod(0o555)  # which root, who runs tests, could write to all the same
    else:
        monkeypatch.setattr(os, "access", lambda path, mode, **options: Path(path) != root)
    first = source.fingerprint(root)
    assert source.fingerprint(root) == first
    root.chmod(0o755)
    assert splits == ["train", "test"]
    assert tree(root) == before
    (file,) = user_cache.rglob("*.json")
    assert file.name.endswith("-mnist.json")


def test_where_no_cache_can_be_written_it_is_computed_again(mnist, user_cache):
    source, root = mnist
    root.chmod(0o555)
    (user_cache / "which-loss-at-what-cost").write_text("a file where the folder should be")
    source, splits = watched(source)
    assert source.fingerprint(root) == source.fingerprint(root)
    assert splits == ["train", "test"] * 2
    root.chmod(0o755)


def change_pixel(file):
    content = bytearray(file.read_bytes())
    content[20] ^= 1
    file.write_bytes(content)


def test_a_changed_file_of_the_same_size_is_read_again(mnist):
    source, root = mnist
    first = source.fingerprint(root)
    change_pixel(root / "MNIST/raw/train-images-idx3-ubyte")
    assert source.fingerprint(root).digest != first.digest


def test_a_file_that_is_given_its_old_time_is_read_again(mnist):
    # As `cp -p` and `rsync -t` do.
    source, root = mnist
    file = root / "MNIST/raw/train-images-idx3-ubyte"
    first, state = source.fingerprint(root), file.stat()
    time.sleep(0.02)  # a tick of the file system's clock
    change_pixel(file)
    os.utime(file, ns=(state.st_atime_ns, state.st_mtime_ns))
    assert source.fingerprint(root).digest != first.digest


def test_a_file_that_changes_while_it_is_read_is_not_kept(mnist):
    source, root = mnist
    idx, *others = source.layouts

    def slow(group, split):
        images = idx.read(group, split)
        change_pixel(root / "MNIST/raw/train-images-idx3-ubyte")
        return images

    replace(source, layouts=(replace(idx, read=slow), *others)).fingerprint(root)
    assert not (root / ".fingerprint-mnist.json").exists()


def test_another_layout_is_another_set_of_files(mnist):
    source, root = mnist
    first = source.fingerprint(root)
    write_hub(root / "mnist", both("mnist", 31, 11))
    assert source.fingerprint(root) == first  # IDX files come first
    shutil.rmtree(root / "MNIST")
    assert source.fingerprint(root).digest != first.digest


@pytest.mark.parametrize(
    "content",
    ["", "{", "[]", "null", '{"key": 1}', '{"key": KEY, "value": {}}', '{"key": KEY, "value": 3}', "\udcff", "[" * 9999],
)
def test_a_damaged_cache_is_written_anew(mnist, content):
    source, root = mnist
    first = source.fingerprint(root)
    file = root / ".fingerprint-mnist.json"
    key = json.dumps(json.loads(file.read_text())["key"])
    file.write_bytes(content.replace("KEY", key).encode("utf-8", "surrogateescape"))
    assert source.fingerprint(root) == first
    assert json.loads(file.read_text())["value"]["digest"] == first.digest


def test_a_fifo_in_the_place_of_the_cache_is_not_opened(mnist):
    source, root = mnist
    os.mkfifo(root / ".fingerprint-mnist.json")
    assert source.fingerprint(root) == source.fingerprint(root)


def test_a_forged_cache_does_not_get_other_images_into_a_run(mnist):
    source, root = mnist
    source.fingerprint(root)
    file = root / ".fingerprint-mnist.json"
    content = json.loads(file.read_text())
    content["value"]["digest"] = "0" * 64
    file.write_text(json.dumps(content))
    with pytest.raises(UsageError, match="start the run again"):
        source.load(root, expected=source.fingerprint(root))


def test_a_cached_fingerprint_needs_no_heavy_library(mnist):
    source, root = mnist
    source.fingerprint(root)
    heavy = ["torch", "numpy", "pandas", "PIL", "sklearn"]
    code = (
        "import sys, warnings; from pathlib import Path; from datasets import DATASETS; warnings.simplefilter('ignore'); "
        f"DATASETS['mnist'].fingerprint(Path({str(root)!r})); print([name for name in {heavy} if name in sys.modules])"
    )
    here = Path(__file__).resolve().parents[2]
    process = subprocess.run([sys.executable, "-c", code], cwd=here, capture_output=True, text=True, check=True)
    assert process.stdout.strip() == "[]"


# ---- folders ----


def write_folder(root):
    for split, count in (("train", 4), ("test", 2)):
        for label, name in enumerate(("apple", "pear")):
            (root / split / name).mkdir(parents=True)
            for number in range(count):
                image = np.random.default_rng((label, number, count)).integers(0, 256, (8, 8, 3), dtype=np.uint8)
                (root / split / name / f"{number}.png").write_bytes(png(image))
    return root


def test_the_fingerprint_of_a_folder_is_that_of_its_images_and_class_names(tmp_path):
    folder = write_folder(tmp_path / "fruit")
    source = find_source(f"folder:{folder}")
    first = source.fingerprint(tmp_path)
    bundle = source.load(tmp_path, expected=first)
    assert first == fingerprint_of(bundle.train, bundle.test, ("apple", "pear")) == source.planned_fingerprint(tmp_path)
    assert first.short == first.digest[:16]
    for split in ("train", "test"):
        (folder / split / "pear").rename(folder / split / "quince")
    assert find_source(f"folder:{folder}").fingerprint(tmp_path).digest != first.digest


def test_a_folder_is_read_once_and_again_where_a_file_changes(tmp_path, monkeypatch):
    folder = write_folder(tmp_path / "fruit")
    opened, open_image = [], PIL.Image.open
    monkeypatch.setattr(PIL.Image, "open", lambda *a, **k: opened.append(1) or open_image(*a, **k))
    first = find_source(f"folder:{folder}")
    once = 2 * 12  # of each image first the mode and then the pixels
    assert len(opened) == once
    again = find_source(f"folder:{folder}")
    assert (again.own, again.mean, again.std, again.size) == (first.own, first.mean, first.std, first.size)
    assert len(opened) == once
    assert torch.equal(again.load(tmp_path).train.images, first.load(tmp_path).train.images)
    assert len(opened) == 2 * once  # `again` has read its images now; `first` had them
    assert find_source(f"folder:{folder}", size=8).own == first.own  # read, for it might have been another size
    assert len(opened) == 3 * once
    (folder / "train/pear/0.png").write_bytes((folder / "train/pear/1.png").read_bytes())
    assert find_source(f"folder:{folder}").own != first.own


def test_a_file_that_torchvision_does_not_list_is_compared_with_nothing(tmp_path):
    (tmp_path / "elsewhere").write_bytes(b"")
    assert DATASETS["cifar10"].download.are_published([tmp_path / "elsewhere"]) is None
