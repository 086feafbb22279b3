"""Distilled sets as files: every form gives back what was written, takes what others write, and runs nothing."""

from __future__ import annotations

import io
import json
import os
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import PIL.Image
import pytest
import safetensors.numpy
import torch

from bench.errors import UsageError
from bench.sets import (
    Distillation,
    DistilledSet,
    read_set,
    to_pixels,
    write_arrays,
    write_condensation,
    write_parquet,
    write_pictures,
)

CLASSES = ("T-shirt/top", "dress", "coat")
MEAN, STD = (0.4914, 0.4822, 0.4465), (0.2023, 0.1994, 0.2010)

WRITERS = {"set.pt": write_condensation, "set.npz": write_arrays, "set.parquet": write_parquet}


def distillation(seed=0, *, soft=False, ipc=2, channels=3, classes=3, lr=None) -> Distillation:
    generator = np.random.default_rng(seed)
    images = generator.normal(size=(classes * ipc, channels, 5, 5)).astype(np.float32)
    if soft:
        weights = generator.random((len(images), classes))
        return Distillation.of(seed, images, weights / weights.sum(1, keepdims=True), lr)
    return Distillation.of(seed, images, np.repeat(np.arange(classes), ipc), lr)


def made(*, soft=False, seeds=(3, 1), **changes) -> DistilledSet:
    content = DistilledSet(
        distillations=tuple(distillation(seed, soft=soft) for seed in seeds),
        classes=CLASSES,
        mean=MEAN,
        std=STD,
        dataset="clothes",
        accuracies={"convnet": (71.5, 70.25)},
        details={"ipc": 2},
    )
    return replace(content, **changes)


def assert_same(read: DistilledSet, other: DistilledSet) -> None:
    assert read.seeds == other.seeds
    assert read.lrs == other.lrs
    for first, second in zip(read.distillations, other.distillations, strict=True):
        assert (first.images.dtype, first.labels.dtype) == (second.images.dtype, second.labels.dtype)
        assert np.array_equal(first.images, second.images)
        assert np.array_equal(first.labels, second.labels)
    for name in ("classes", "mean", "std", "dataset"):
        assert getattr(read, name) == getattr(other, name), name
    assert read.digest == other.digest


# ---- what is written is read ----


@pytest.mark.parametrize("soft", [False, True])
@pytest.mark.parametrize("name", WRITERS)
def test_the_float_forms_give_back_every_bit(tmp_path, name, soft):
    content = made(soft=soft)
    WRITERS[name](tmp_path / name, content)
    assert [path.name for path in tmp_path.iterdir()] == [name]
    there = read_set(tmp_path / name)
    assert_same(there, content)
    assert (there.ipc, there.class_count, there.shape, there.in_pixels) == (2, 3, (3, 5, 5), False)


RATES = (1 / 3, 2e-4)


def with_rates() -> DistilledSet:
    return made(distillations=tuple(distillation(seed, lr=lr) for seed, lr in zip((3, 1), RATES, strict=True)))


@pytest.mark.parametrize("name", WRITERS)
def test_learning_rates_are_kept(tmp_path, name):
    WRITERS[name](tmp_path / name, with_rates())
    again = read_set(tmp_path / name)
    assert_same(again, with_rates())
    assert again.lrs == RATES
    assert made().lrs == ()


def test_pictures_keep_learning_rates_by_seed(tmp_path):
    write_pictures(tmp_path / "set", with_rates())
    again = read_set(tmp_path / "set")
    assert {each.seed: each.lr for each in again.distillations} == dict(zip((3, 1), RATES, strict=True))


@pytest.mark.parametrize("name", ["lr", "syn_lr"])
@pytest.mark.parametrize("lr", [torch.tensor(0.25, requires_grad=True), 0.25, [0.25, 0.25], torch.tensor([0.25, 0.25])])
def test_learning_rates_of_others_are_read(tmp_path, name, lr):
    data = [[torch.randn(3, 3, 5, 5), torch.arange(3)] for _ in range(2)]
    torch.save({"data": data, name: lr}, tmp_path / "set.pt")
    assert read_set(tmp_path / "set.pt").lrs == (0.25, 0.25)


def test_a_set_of_pixels_keeps_its_pixels(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (6, 3, 5, 5), dtype=np.uint8)
    content = made(distillations=(Distillation.of(0, pixels, np.repeat(np.arange(3), 2)),), mean=(), std=())
    for name, write in WRITERS.items():
        write(tmp_path / name, content)
        assert_same(read_set(tmp_path / name), content)
    write_pictures(tmp_path / "pictures", content)
    assert np.array_equal(read_set(tmp_path / "pictures").distillations[0].images, pixels)


def test_the_hash_is_that_of_the_content():
    content, first = made(), distillation(3)
    brighter = replace(first, images=first.images + np.float32(0.01))
    relabelled = replace(first, labels=first.labels[::-1].copy())
    others = [
        made(seeds=(3, 2)),
        made(seeds=(3,)),
        made(mean=(0.5,) * 3),
        with_rates(),
        made(distillations=(brighter, distillation(1))),
        made(distillations=(relabelled, distillation(1))),
    ]
    assert len({content.digest, *(other.digest for other in others)}) == 7
    assert made(details={}, dataset="", accuracies={}).digest == content.digest  # what changes no number


# ---- the DatasetCondensation family ----


def save_as_the_family_does(path: Path, count: int = 2) -> list[list[torch.Tensor]]:
    data = [[torch.randn(6, 3, 5, 5), torch.arange(3).repeat_interleave(2)] for _ in range(count)]
    accuracies = np.array([0.5123, 0.49])
    torch.save({"data": data, "accs_all_exps": {"ConvNet": list(accuracies)}}, path)  # NumPy's scalars, as there
    return data


def rename_scalars(path: Path) -> None:
    """Name NumPy's function in the file as NumPy 1 did."""
    content = io.BytesIO()
    with zipfile.ZipFile(path) as old, zipfile.ZipFile(content, "w") as new:
        for name in old.namelist():
            text = old.read(name)
            assert (b"numpy._core.multiarray\nscalar" in text) == name.endswith("data.pkl")
            new.writestr(name, text.replace(b"numpy._core.multiarray\nscalar", b"numpy.core.multiarray\nscalar"))
    path.write_bytes(content.getvalue())


@pytest.mark.parametrize("numpy1", [False, True])
def test_a_file_of_the_family_is_read(tmp_path, numpy1):
    path = tmp_path / "res_DM_CIFAR10_ConvNet_2ipc.pt"
    data = save_as_the_family_does(path)
    if numpy1:
        rename_scalars(path)
    content = read_set(path)
    assert content.family
    assert content.mean == ()
    assert content.seeds == (0, 1)
    for one, (images, labels) in zip(content.distillations, data, strict=True):
        assert np.array_equal(one.images, images.numpy())
        assert one.labels.tolist() == labels.tolist() == [0, 0, 1, 1, 2, 2]
    write_condensation(path, made())
    assert not read_set(path).family  # ours says its normalisation


class Attack:
    """Makes a folder where it is unpickled by a reader that runs code."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __reduce__(self):
        return os.mkdir, (str(self.folder),)


def test_no_code_in_a_file_is_run(tmp_path):
    mark = tmp_path / "attacked"
    torch.save({"data": [], "accs_all_exps": Attack(mark)}, tmp_path / "set.pt")
    np.savez(tmp_path / "set.npz", images=np.array([Attack(mark)], dtype=object), labels=np.zeros(1, int))
    for name in ("set.pt", "set.npz"):
        with pytest.raises(UsageError, match="cannot be read"):
            read_set(tmp_path / name)
    assert not mark.exists()
    torch.load(tmp_path / "set.pt", weights_only=False)
    assert mark.exists()  # it would have run


# ---- what others write ----


def test_arrays_of_one_distillation_need_no_more_than_images_and_labels(tmp_path):
    one = distillation(ipc=1)
    np.savez(tmp_path / "set.npz", images=one.images.astype(np.float64), labels=one.labels.astype(np.uint8))
    content = read_set(tmp_path / "set.npz")
    assert (content.seeds, content.mean, content.classes, content.family) == ((0,), (), (), False)
    assert content.distillations[0].images.dtype == np.float32
    assert np.array_equal(content.distillations[0].images, one.images)


def test_parquet_of_encoded_images_is_pixels(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (3, 5, 5, 3), dtype=np.uint8)
    cells = []
    for picture in pixels:
        stream = io.BytesIO()
        PIL.Image.fromarray(picture).save(stream, "PNG")
        cells.append({"bytes": stream.getvalue(), "path": None})
    (tmp_path / "hub" / "data").mkdir(parents=True)
    pd.DataFrame({"img": cells, "label": [0, 1, 2]}).to_parquet(tmp_path / "hub" / "data" / "train-00000-of-00001.parquet")
    content = read_set(tmp_path / "hub")
    assert content.in_pixels
    assert np.array_equal(content.distillations[0].images, pixels.transpose(0, 3, 1, 2))


def test_safetensors_without_metadata_are_read(tmp_path):
    one = distillation()
    safetensors.numpy.save_file({"images": one.images, "labels": one.labels}, tmp_path / "set.safetensors", {"by": "hand"})
    content = read_set(tmp_path / "set.safetensors")
    assert np.array_equal(content.distillations[0].images, one.images)
    assert (content.mean, content.details) == ((), {"by": "hand"})


# ---- pictures ----


def picture(path: Path, value: int = 0, *, mode: str = "L", size: int = 5) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    PIL.Image.new(mode, (size, size), value if mode == "L" else (value,) * len(mode)).save(path)


def test_numbers_of_class_folders_are_labels(tmp_path):
    for label in range(11):
        picture(tmp_path / str(label) / "a.png", label)  # unpadded: by its text, 10 comes before 2
    content = read_set(tmp_path)
    assert content.distillations[0].images[:, 0, 0, 0].tolist() == content.distillations[0].labels.tolist() == [*range(11)]
    assert (content.by_name, content.classes) == (False, ())


def test_names_of_class_folders_are_classes(tmp_path):
    for name in ("dress", "coat"):
        picture(tmp_path / name / "a.png")
    content = read_set(tmp_path)
    assert (content.by_name, content.classes) == (True, ("coat", "dress"))


def test_pictures_hold_images_to_half_a_level_and_say_how_much_they_clip(tmp_path):
    images = np.array([[0.0, 0.5], [1.001, -0.1], [0.3, 2.0]], np.float32).reshape(3, 1, 1, 2)
    content = DistilledSet(
        distillations=(Distillation.of(4, (images - 0.5) / 0.25, [0, 1, 2]),), classes=CLASSES, mean=(0.5,), std=(0.25,)
    )
    clipped = write_pictures(tmp_path / "set", content)
    assert clipped == pytest.approx(2 / 6)  # -0.1 and 2; 1.001 is nearer to 1 than half a level
    there = read_set(tmp_path / "set")
    assert there.seeds == (4,)
    assert abs(there.distillations[0].images / 255 - images.clip(0, 1)).max() <= 0.5 / 255 + 1e-7
    assert sorted(entry.name for entry in (tmp_path / "set" / "seed-4").iterdir()) == ["0-T-shirt-top", "1-dress", "2-coat"]
    assert json.loads((tmp_path / "set" / "distilled_set.json").read_text())["clipped"] == clipped
    assert there.classes == CLASSES  # the names as they are, from the file beside the pictures


def test_values_of_normalised_pixels_come_back_exactly():
    pixels = np.arange(256, dtype=np.uint8).reshape(1, 1, 16, 16)
    normalised = ((torch.from_numpy(pixels).float() / 255 - 0.2861) / 0.3530).numpy()
    levels, clipped = to_pixels(normalised, (0.2861,), (0.3530,))
    assert (levels == pixels).all()
    assert clipped == 0


def test_a_set_has_a_learning_rate_of_each_distillation_or_of_none():
    with pytest.raises(UsageError, match="a learning rate of some distillations only; valid: one of each, or none"):
        made(distillations=(distillation(3, lr=0.1), distillation(1)))


# ---- what is refused ----


def numbered(*names):
    def write(folder: Path) -> Path:
        for name in names:
            picture(folder / name / "a.png")
        return folder

    return write


def arrays(**changes):
    def write(folder: Path) -> Path:
        one = distillation()
        given = {"images": one.images, "labels": one.labels} | changes
        np.savez(folder / "set.npz", **{name: value for name, value in given.items() if value is not None})
        return folder / "set.npz"

    return write


def text(name, content="?"):
    def write(folder: Path) -> Path:
        (folder / name).write_text(content)
        return folder / name

    return write


def fifo(name):
    def write(folder: Path) -> Path:
        (folder / name).parent.mkdir(exist_ok=True)
        os.mkfifo(folder / name)
        return folder / name if name.count("/") == 0 else folder

    return write


def saved(payload):
    def write(folder: Path) -> Path:
        torch.save(payload, folder / "set.pt")
        return folder / "set.pt"

    return write


def framed(**columns):
    def write(folder: Path) -> Path:
        pd.DataFrame(columns).to_parquet(folder / "set.parquet")
        return folder / "set.parquet"

    return write


def mixed_pictures(folder: Path) -> Path:
    picture(folder / "0" / "a.png")
    picture(folder / "1" / "a.png", size=4)
    return folder


def see_through(folder: Path) -> Path:
    picture(folder / "0" / "a.png", mode="RGBA")
    return folder


def unlike_seeds(folder: Path) -> Path:
    picture(folder / "seed-0" / "0" / "a.png")
    picture(folder / "seed-1" / "0-coat" / "a.png")
    return folder


NAN = np.full((6, 3, 5, 5), np.nan, np.float32)
HALF = np.full((6, 3), 0.5, np.float32)
REFUSED = {
    "three rates of a distillation": (arrays(lr=np.array([0.1, 0.2, 0.3])), "3 learning rates of 1 distillations; valid: one"),
    "a rate of zero": (arrays(lr=np.array(0.0)), "a learning rate of 0; valid: a finite number above 0"),
    "a rate that is no number": (arrays(lr=np.array(np.nan)), "a learning rate of nan; valid: a finite number above 0"),
    "nothing there": (lambda folder: folder / "none.pt", "there is no file or folder"),
    "another suffix": (text("set.csv"), "a file .csv; valid: a file .pt"),
    "no pickle": (text("set.pt"), "cannot be read"),
    "no zip": (text("set.npz"), "cannot be read"),
    "no parquet": (text("set.parquet"), "cannot be read"),
    "no safetensors": (text("set.safetensors"), "cannot be read"),
    "an empty folder": (lambda folder: folder, "class folders none"),
    "a fifo": (fifo("set.pt"), "is a FIFO, and is not opened"),
    "a fifo among pictures": (fifo("0/a.png"), "is a FIFO, and is not opened"),
    "a list": (saved([torch.zeros(2)]), r"another layout \(list\)"),
    "a stack of images": (saved({"data": torch.zeros(2, 3, 5, 5)}), r"another layout \(dict\)"),
    "single tensors": (saved({"data": [torch.zeros(2, 3, 5, 5)]}), r"another layout \(dict\)"),
    "pairs of other things": (saved({"data": [[torch.zeros(2, 3, 5, 5), 1]]}), r"another layout \(dict\)"),
    "no distillation": (saved({"data": []}), "holds no distilled set"),
    "no labels": (arrays(labels=None), "arrays images; valid: images and labels"),
    "flat images": (arrays(images=np.zeros((6, 25), np.float32)), "images of shape"),
    "whole numbers": (arrays(images=np.zeros((6, 3, 5, 5), int)), "images of type int64"),
    "no numbers": (arrays(images=NAN), "no finite numbers"),
    "too few labels": (arrays(labels=np.zeros(5, int)), "6 images and 5 labels"),
    "negative labels": (arrays(labels=np.arange(6) - 1), "label -1; valid"),
    "labels between classes": (arrays(labels=np.arange(6) / 2), "labels of shape"),
    "logits": (arrays(labels=HALF * 9 - 3), "apply a softmax to logits"),
    "no probabilities": (arrays(labels=HALF), "with sums of 1.5 to 1.5"),
    "unbalanced classes": (arrays(labels=np.array([0, 0, 0, 1, 1, 2])), "classes of 1 to 3 images"),
    "a class without images": (arrays(labels=np.array([0, 0, 0, 2, 2, 2])), "classes of 0 to 3 images"),
    "soft labels and an odd count": (arrays(labels=np.full((6, 4), 0.25)), "a multiple of 4"),
    "too many class names": (arrays(classes=np.array(list("abcd"))), "4 class names for labels of 3 classes"),
    "a mean for another shape": (arrays(mean=[0.5], std=[0.5]), "1 values of mean for 3 channels"),
    "a mean without std": (arrays(mean=[0.5] * 3), "valid: both"),
    "a deviation of nothing": (arrays(mean=[0.5] * 3, std=[0.0] * 3), "std above 0"),
    "no column": (framed(picture=[1], label=[0]), "columns picture, label; valid: a column image or img"),
    "ragged images": (framed(image=[[[[1.0]]], [[[1.0, 2.0]]]], label=[0, 1]), "lists of lengths"),
    "an empty label": (framed(image=[[[[1.0]]], [[[1.0]]]], label=pd.array([0, None], "Int64")), "empty cells"),
    "pictures of two sizes": (mixed_pictures, "pictures of shapes"),
    "alpha": (see_through, "mode RGBA; valid"),
    "other classes in other seeds": (unlike_seeds, "class folders differ between seeds"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_no_distilled_set_is_refused(tmp_path, name):
    write, message = REFUSED[name]
    with pytest.raises(UsageError, match=message):
        read_set(write(tmp_path))


def test_distillations_of_one_file_are_alike():
    with pytest.raises(UsageError, match="distillations differ"):
        DistilledSet(distillations=(distillation(0), distillation(1, ipc=3)))
    with pytest.raises(UsageError, match="two distillations of one seed"):
        DistilledSet(distillations=(distillation(0), distillation(0)))
