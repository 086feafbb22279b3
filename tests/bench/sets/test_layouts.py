"""Layouts of distilled sets that have one meaning are read, whoever wrote them."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pandas as pd
import PIL.Image
import pytest
import torch

from bench.errors import UsageError
from bench.sets import read_set
from methods import find_method

IMAGES = torch.randn(6, 3, 5, 5, generator=torch.Generator().manual_seed(0))
LABELS = torch.arange(3).repeat_interleave(2)
ARRAYS = [IMAGES.numpy(), LABELS.numpy()]
ONE_HOT = torch.eye(3, dtype=torch.int64)[LABELS]


# ---- .pt ----

PAYLOADS = {
    "a pair": [IMAGES, LABELS],
    "a tuple": (IMAGES, LABELS),
    "a pair in data": {"data": [IMAGES, LABELS]},
    "a tuple in data": {"data": (IMAGES, LABELS)},
    "pairs without a dictionary": [(IMAGES, LABELS)],
    "two names": {"images": IMAGES, "labels": LABELS},
    "other names": {"x": IMAGES, "y": LABELS},
    "a stack in data": {"data": IMAGES, "targets": LABELS},
    "whole-number floats": {"data": [[IMAGES, LABELS.float()]]},
    "half precision": {"data": [[IMAGES, LABELS.half()]]},
    "int32": {"data": [[IMAGES, LABELS.int()]]},
    "uint8": {"data": [[IMAGES, LABELS.byte()]]},
    "a column of labels": {"data": [[IMAGES, LABELS[:, None]]]},
    "one class a row": {"data": [[IMAGES, ONE_HOT]]},
    "a list of labels": [IMAGES, LABELS.tolist()],
    "arrays": ARRAYS,
    "arrays in data": {"data": [ARRAYS]},
    "arrays of Fortran's order": [np.asfortranarray(ARRAYS[0]), ARRAYS[1]],
    "learned images": [torch.nn.Parameter(IMAGES), LABELS],
    "channels last": [IMAGES.permute(0, 2, 3, 1).contiguous(), LABELS],
    "a data set of torch": torch.utils.data.TensorDataset(IMAGES, LABELS),
}


@pytest.mark.parametrize("name", PAYLOADS)
def test_layouts_with_one_meaning_are_read(tmp_path, name):
    torch.save(PAYLOADS[name], tmp_path / "set.pt")
    content = read_set(tmp_path / "set.pt")
    (one,) = content.distillations
    assert np.array_equal(one.images, IMAGES.numpy())
    assert one.labels.dtype == np.int64
    assert one.labels.tolist() == LABELS.tolist()
    assert (content.family, content.names_seeds, content.mean) == (True, True, ())


@pytest.mark.parametrize("rate", ["lr", "syn_lr"])
def test_labels_and_rate_beside_images_as_mtt_saves_them(tmp_path, rate):
    for name, value in (("images", IMAGES), ("labels", LABELS), (rate, torch.tensor(0.25))):
        torch.save(value, tmp_path / f"{name}_best.pt")
    content = read_set(tmp_path / "images_best.pt")
    assert np.array_equal(content.distillations[0].images, IMAGES.numpy())
    assert (content.distillations[0].labels.tolist(), content.lrs) == (LABELS.tolist(), (0.25,))
    method = find_method(f"set:{tmp_path / 'images_best.pt'}")
    assert [file.name for file in method.files] == ["images_best.pt", "labels_best.pt", f"{rate}_best.pt"]


def test_numbers_of_numpy_in_a_file_are_read(tmp_path):
    torch.save({"data": [ARRAYS], "lr": np.float32(0.25), "mean": np.full(3, 0.5), "std": [0.5] * 3}, tmp_path / "set.pt")
    content = read_set(tmp_path / "set.pt")
    assert (content.lrs, content.mean, content.family) == ((0.25,), (0.5,) * 3, False)


def test_half_precision_without_a_type_of_numpy_is_read(tmp_path):
    torch.save([IMAGES.bfloat16(), LABELS], tmp_path / "set.pt")
    assert np.array_equal(read_set(tmp_path / "set.pt").distillations[0].images, IMAGES.bfloat16().float().numpy())


def test_a_file_that_names_no_seeds_says_so_if_it_has_several_entries(tmp_path):
    torch.save({"data": [[IMAGES, LABELS]] * 2}, tmp_path / "set.pt")
    np.savez(tmp_path / "set.npz", images=np.stack([ARRAYS[0]] * 2), labels=np.stack([ARRAYS[1]] * 2))
    for name in ("set.pt", "set.npz"):
        content = read_set(tmp_path / name)
        assert (content.names_seeds, content.seeds) == (False, (0, 1))
    torch.save({"data": [[IMAGES, LABELS]] * 2, "seeds": [3, 5]}, tmp_path / "set.pt")
    assert read_set(tmp_path / "set.pt").names_seeds


AMBIGUOUS = {
    "images alone": (IMAGES, r"another layout \(images alone\); valid: .*\[images, labels\]"),
    "two stacks of images": ([IMAGES, IMAGES], r"another layout \(list\)"),
    "three of a set": ([IMAGES, LABELS, LABELS], r"another layout \(list\)"),
    "other numbers": ([IMAGES, LABELS[:3]], r"another layout \(list\)"),
    "a data set by iteration": ({100: [IMAGES, LABELS]}, r"another layout \(dict\)"),
    "labels between classes": ([IMAGES, LABELS + 0.5], "valid: whole numbers"),
    "labels from 1": ([IMAGES, LABELS + 1], "classes of 0 to 2 images, the fewest of label 0; valid: .* labels from 0"),
    "text in an array": ([np.array(["a"] * 6), LABELS], "cannot be read"),
}


@pytest.mark.parametrize("name", AMBIGUOUS)
def test_layouts_without_one_meaning_are_refused(tmp_path, name):
    payload, message = AMBIGUOUS[name]
    torch.save(payload, tmp_path / "set.pt")
    with pytest.raises(UsageError, match=message):
        read_set(tmp_path / "set.pt")


def test_what_would_run_code_is_named_in_one_line(tmp_path):
    torch.save({"data": torch.nn.Linear(1, 1)}, tmp_path / "set.pt")
    with pytest.raises(UsageError) as caught:
        read_set(tmp_path / "set.pt")
    message = str(caught.value)
    assert "it asks for torch.nn.modules.linear.Linear, which would run code, and was not loaded; valid: {'data'" in message
    assert "\n" not in message


# ---- .npz and Parquet ----


@pytest.mark.parametrize("names", [("images", "labels"), ("x", "y"), ("arr_0", "arr_1")])
def test_arrays_by_other_names(tmp_path, names):
    np.savez(tmp_path / "set.npz", **dict(zip(names, ARRAYS, strict=True)))
    assert np.array_equal(read_set(tmp_path / "set.npz").distillations[0].images, ARRAYS[0])


def test_grey_images_without_a_channel_and_labels_that_are_names(tmp_path):
    np.savez(tmp_path / "set.npz", images=ARRAYS[0][:, 0], labels=np.array(["cat", "ant", "dog"]).repeat(2))
    content = read_set(tmp_path / "set.npz")
    assert content.shape == (1, 5, 5)
    assert (content.classes, content.by_name) == (("ant", "cat", "dog"), True)
    assert content.distillations[0].labels.tolist() == [1, 1, 0, 0, 2, 2]


def cells(count: int = 3) -> list[dict[str, object]]:
    return [{"bytes": encoded(np.full((5, 5, 3), 9 * value, np.uint8)), "path": None} for value in range(count)]


def encoded(pixels: np.ndarray, form: str = "PNG") -> bytes:
    stream = io.BytesIO()
    PIL.Image.fromarray(pixels).save(stream, form)
    return stream.getvalue()


def test_parquet_of_raw_bytes_and_labels_that_are_names(tmp_path):
    frame = {"image": [cell["bytes"] for cell in cells()], "label": ["cat", "ant", "dog"]}
    pd.DataFrame(frame).to_parquet(tmp_path / "set.parquet")
    content = read_set(tmp_path / "set.parquet")
    assert content.distillations[0].images[:, 0, 0, 0].tolist() == [0, 9, 18]
    assert [content.classes[label] for label in content.distillations[0].labels] == ["cat", "ant", "dog"]


def test_parquet_with_paths_or_nothing_for_images_is_refused(tmp_path):
    for cell, message in (
        ({"bytes": None, "path": "0.png"}, "row 2 has the path '0.png' and no image"),
        (None, "row 2 has no"),
    ):
        pd.DataFrame({"image": [*cells(2), cell], "label": [0, 1, 2]}).to_parquet(tmp_path / "set.parquet")
        with pytest.raises(UsageError, match=message):
            read_set(tmp_path / "set.parquet")


# ---- training and test shards ----


def shard(path: Path, value: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pd.DataFrame({"image": [[[[float(value)]]]], "label": [0]}).to_parquet(path)


SHARDS = {
    "two of one set": ({"train-00000-of-00002.parquet": 1, "train-00001-of-00002.parquet": 2}, [1, 2], ""),
    "training and test": ({"train-00000-of-00001.parquet": 1, "test-00000-of-00001.parquet": 2}, [1], "test-00000-of-00001"),
    "in data": ({"data/train.parquet": 1, "data/val.parquet": 2}, [1], "data/val.parquet beside them are left out"),
    "folders of splits": ({"default/train/0.parquet": 1, "default/test/0.parquet": 2}, [1], "default/test/0.parquet"),
    "in a folder of its own": ({"plain_text/train-00000-of-00001.parquet": 1}, [1], ""),
    "numbered": ({"0000.parquet": 1, "0001.parquet": 2}, [1, 2], ""),
    "hidden": ({"a.parquet": 1, ".a.parquet": 2, "__MACOSX/a.parquet": 3}, [1], ""),
}


@pytest.mark.parametrize("name", SHARDS)
def test_the_shards_of_one_set_are_read(tmp_path, name):
    files, values, left_out = SHARDS[name]
    for file, value in files.items():
        shard(tmp_path / file, value)
    content = read_set(tmp_path)
    assert content.distillations[0].images.reshape(-1).tolist() == values
    assert any(left_out in remark for remark in content.remarks) == bool(left_out)


SEVERAL = {
    "no training split": (("test-00000-of-00001.parquet", "validation-00000-of-00001.parquet"), "holds several sets: test-0"),
    "two sets": (("dm.parquet", "mtt.parquet"), "holds several sets: dm.parquet, mtt.parquet; valid: the path of one"),
    "two folders": (("a/train.parquet", "b/train.parquet"), "holds several sets"),
    "a shard is missing": (("train-00000-of-00002.parquet",), "has 1 of 2 shards of train; valid: each once"),
}


@pytest.mark.parametrize("name", SEVERAL)
def test_files_of_several_sets_are_refused(tmp_path, name):
    files, message = SEVERAL[name]
    for file in files:
        shard(tmp_path / file, 1)
    with pytest.raises(UsageError, match=message):
        read_set(tmp_path)


def test_rows_of_several_splits_in_one_file(tmp_path):
    rows = {"image": [[[[1.0]]], [[[2.0]]]], "label": [0, 0], "split": ["train", "test"]}
    pd.DataFrame(rows).to_parquet(tmp_path / "set.parquet")
    content = read_set(tmp_path / "set.parquet")
    assert content.distillations[0].images.reshape(-1).tolist() == [1]
    assert content.remarks == ("its rows of the split 'train' are read, 1 of 2",)
    pd.DataFrame(rows | {"split": ["validation", "test"]}).to_parquet(tmp_path / "set.parquet")
    with pytest.raises(UsageError, match="a column split"):
        read_set(tmp_path / "set.parquet")


# ---- pictures ----


def picture(path: Path, value: int = 9, *, mode: str = "L", form: str = "") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    PIL.Image.fromarray(np.full((5, 5), value, np.uint8)).convert(mode).save(path, form or None)


@pytest.mark.parametrize("mode", ["L", "RGB", "P", "LA", "RGBA"])
def test_pictures_of_every_mode_without_transparency_are_read(tmp_path, mode):
    picture(tmp_path / "0" / "a.png", mode=mode)
    content = read_set(tmp_path)
    assert set(content.distillations[0].images.reshape(-1).tolist()) == {9}
    assert content.shape[0] == (1 if mode in ("L", "LA") else 3)
    assert content.is_grey == (content.shape[0] == 3)
    assert content.remarks == ()


def test_black_and_white_pictures_are_levels(tmp_path):
    picture(tmp_path / "0" / "a.png", 255, mode="1")
    assert set(read_set(tmp_path).distillations[0].images.reshape(-1).tolist()) == {255}


@pytest.mark.parametrize(("suffix", "form"), [("jpg", "JPEG"), ("JPEG", "JPEG"), ("webp", "WEBP")])
def test_lossy_pictures_are_read_with_a_word(tmp_path, suffix, form):
    picture(tmp_path / "0" / f"a.{suffix}", mode="RGB", form=form)
    content = read_set(tmp_path)
    assert abs(content.distillations[0].images.astype(int) - 9).max() <= 2
    assert content.remarks == (f"its pictures are {form}, which is lossy: they are not quite the images that were distilled",)


def test_grey_pictures_among_colours_get_three_channels(tmp_path):
    picture(tmp_path / "0" / "a.png", mode="L")
    picture(tmp_path / "1" / "a.png", mode="RGB")
    assert read_set(tmp_path).shape == (3, 5, 5)


@pytest.mark.parametrize("mode", ["LA", "RGBA", "P"])
def test_transparent_pictures_are_refused(tmp_path, mode):
    (tmp_path / "0").mkdir()
    see_through = PIL.Image.new("LA" if mode == "LA" else "RGBA", (5, 5), (9, 128) if mode == "LA" else (9, 9, 9, 128))
    see_through.convert(mode).save(tmp_path / "0" / "a.png", **({"transparency": 0} if mode == "P" else {}))
    with pytest.raises(UsageError, match=f"mode {mode}; valid: .*none transparent"):
        read_set(tmp_path)


def test_pictures_of_16_bits_are_refused(tmp_path):
    (tmp_path / "0").mkdir()
    PIL.Image.fromarray(np.full((5, 5), 999, np.uint16)).save(tmp_path / "0" / "a.png")
    with pytest.raises(UsageError, match="8 bits a channel"):
        read_set(tmp_path)


def test_the_training_folder_of_several_splits_is_read_with_a_word(tmp_path):
    picture(tmp_path / "train" / "0" / "a.png", 1)
    picture(tmp_path / "test" / "0" / "a.png", 2)
    content = read_set(tmp_path)
    assert set(content.distillations[0].images.reshape(-1).tolist()) == {1}
    assert content.remarks == ("its training images are read; test beside them are left out",)
    (tmp_path / "train").rename(tmp_path / "val")
    with pytest.raises(UsageError, match="holds test, val, which are splits; valid: the path of the one"):
        read_set(tmp_path)


def test_stray_files_and_folders_are_passed_over(tmp_path):
    picture(tmp_path / "0" / "a.png")
    for stray in ("0/._a.png", "0/.ipynb_checkpoints/a-checkpoint.png", ".ipynb_checkpoints/a.png", "__MACOSX/0/a.png"):
        picture(tmp_path / stray)
    (tmp_path / "0" / "Thumbs.db").touch()
    assert len(read_set(tmp_path).distillations[0].images) == 1


def test_numbers_after_one_prefix_are_labels(tmp_path):
    for label in range(11):
        picture(tmp_path / f"new{label:03}" / "a.jpg", label)  # as SRe2L names them
    content = read_set(tmp_path)
    assert (content.by_name, content.folders[10]) == (False, "new010")
    picture(tmp_path / "more" / "a.jpg")
    assert read_set(tmp_path).by_name


def test_folders_of_snapshots_are_refused(tmp_path):
    picture(tmp_path / "iteration-100" / "0" / "a.png")
    with pytest.raises(UsageError, match="iteration-100 holds folders and no picture"):
        read_set(tmp_path)
