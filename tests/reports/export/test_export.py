"""Exports: what plain torch, pandas, NumPy and torchvision read is what was distilled."""

from __future__ import annotations

import io
import json
import os
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
import yaml
from made_records import evaluation, record, with_protocol, with_spec
from torchvision.datasets import ImageFolder

from bench.cells.protocol import PROFILES
from bench.errors import UsageError
from bench.records.record import RunRecord
from bench.records.storage import write_images, write_record
from bench.sets import read_set
from bench.types import Bundle, Split, SyntheticSet
from reports import __main__ as command
from reports.export.export import FORMS, export

CLASSES = ("zebra", "T-shirt/top", "ant")  # neither in alphabetical order nor all names of folders
MEAN, STD = (0.4914, 0.4822, 0.4465), (0.2023, 0.1994, 0.2010)
EMPTY = Split(torch.zeros(0, 3, 6, 6, dtype=torch.uint8), torch.zeros(0, dtype=torch.int64))


def images_of(seed: int, *, ipc: int = 2) -> torch.Tensor:
    return torch.randn(3 * ipc, 3, 6, 6, generator=torch.Generator().manual_seed(seed))


def store(
    out: Path, made: RunRecord, images: torch.Tensor, *, hash_of: RunRecord | None = None, lr: float | None = None
) -> RunRecord:
    """Write a record with its images, as the runner does."""
    labels = torch.arange(3).repeat_interleave(len(images) // 3)
    bundle = Bundle(made.spec.dataset, EMPTY, EMPTY, CLASSES, MEAN, STD)
    spec = (hash_of or made).spec
    digest = write_images(out / "records" / made.images_name, spec, SyntheticSet(images, labels, lr=lr), bundle)
    made = made.model_copy(update={"images": {made.images_name: digest}, "lr": lr})
    write_record(out / "records", made)
    return made


@pytest.fixture
def out(tmp_path):
    """Return a results folder: DM at two seeds, one of which was evaluated by another network too, and KR at one."""
    folder = tmp_path / "results"
    both = (evaluation(accuracies=(50.0, 51.5)), evaluation("mlp", accuracies=(30.0,)))
    store(folder, record("dm", dataset="clothes", ipc=2, seed=1, evaluations=both), images_of(1))
    store(folder, record("dm", dataset="clothes", ipc=2, seed=0, accuracies=(60.0, 61.0)), images_of(0))
    store(folder, record("kr", dataset="clothes", ipc=1), images_of(5, ipc=1))
    write_record(folder / "records", record("whole", dataset="clothes", ipc=None))
    return folder


LABELS = [0, 0, 1, 1, 2, 2]


def test_plain_torch_reads_the_layout_of_dataset_condensation(out):
    paths = export(out, "dc-pt")
    assert [path.relative_to(out).as_posix() for path in paths] == ["export/clothes_ipc1_kr.pt", "export/clothes_ipc2_dm.pt"]
    payload = torch.load(paths[1], weights_only=True)
    assert len(payload["data"]) == 2
    for seed, (images, labels) in enumerate(payload["data"]):
        assert torch.equal(images, images_of(seed))
        assert images.dtype == torch.float32
        assert labels.dtype == torch.int64
        assert labels.tolist() == LABELS
    # The family's names of networks, and fractions; networks of all distillations in one list.
    assert payload["accs_all_exps"] == {"ConvNet": pytest.approx([0.6, 0.61, 0.5, 0.515]), "MLP": pytest.approx([0.3])}
    assert (tuple(payload["mean"]), tuple(payload["std"]), tuple(payload["classes"])) == (MEAN, STD, CLASSES)
    assert payload["seeds"] == [0, 1]


def test_plain_numpy_reads_arrays(out):
    with np.load(export(out, "npz")[1], allow_pickle=False) as file:
        arrays = {name: file[name] for name in file.files}
    assert np.array_equal(arrays["images"], np.stack([images_of(0).numpy(), images_of(1).numpy()]))
    assert arrays["labels"].tolist() == [LABELS, LABELS]
    assert arrays["classes"].tolist() == list(CLASSES)
    assert json.loads(str(arrays["details"]))["accuracies"]["convnet"] == [60.0, 61.0, 50.0, 51.5]


def test_plain_pandas_reads_parquet(out):
    folder = export(out, "parquet")[1]
    assert folder.name == "clothes_ipc2_dm-parquet"
    assert sorted(path.name for path in folder.iterdir()) == ["README.md", "train-00000-of-00001.parquet"]
    frame = pd.read_parquet(folder / "train-00000-of-00001.parquet")
    for seed, rows in frame.groupby("seed"):
        images = np.array([[list(channel) for channel in image] for image in rows["image"]], dtype=np.float32)
        assert np.array_equal(images, images_of(seed).numpy())
        assert rows["label"].tolist() == LABELS


def test_the_card_says_what_the_hub_and_a_reader_ask(out):
    text = (export(out, "parquet")[1] / "README.md").read_text()
    empty, head, body = re.split(r"^---\n", text, maxsplit=2, flags=re.MULTILINE)
    assert empty == ""
    card = yaml.safe_load(head)
    columns = {column["name"]: column.get("dtype") for column in card["dataset_info"]["features"]}
    assert columns["image"] == {"array3_d": {"shape": [3, 6, 6], "dtype": "float32"}}
    assert list(columns["label"]["class_label"]["names"].values()) == list(CLASSES)
    assert card["license"] == "other"
    assert card["configs"][0]["data_files"] == [{"split": "train", "path": "*.parquet"}]
    assert "mean of each channel: 0.4914, 0.4822, 0.4465" in body
    assert "| ConvNet | 55.62 | 6.89 | 2 | 4 |" in body  # between 60.5 and 50.75, the means of the seeds
    assert "| MLP | 30.00 |  | 1 | 1 |" in body  # one network has no deviation
    assert "tested on the test set of clothes, percent" in body
    settings = yaml.safe_load(re.search(r"```yaml\n(.*?)```", body, re.DOTALL)[1])
    assert settings["match.iterations"] == 10
    code = re.search(r"```python\n(.*?)```", body, re.DOTALL)[1]  # the example in the card runs
    names: dict[str, object] = {}
    exec(code.replace('"train-', f'"{out / "export" / "clothes_ipc2_dm-parquet"}/train-'), names)
    assert np.array_equal(names["images"], images_of(0).numpy())


def test_a_card_of_one_seed_has_the_deviation_between_its_networks_and_names_the_split(out):
    made = with_protocol(record("emd", dataset="clothes", ipc=1, accuracies=(60.0, 62.0)), data={"split": "validation"})
    store(out, made, images_of(6, ipc=1))
    (folder,) = [path for path in export(out, "parquet") if "emd" in path.name]
    text = (folder / "README.md").read_text()
    assert "| ConvNet | 61.00 | 1.41 | 1 | 2 |" in text
    assert "tested on a validation split, which was held out of the training set, of clothes" in text
    assert "test set" not in text


def test_settings_are_numbers_and_names_where_they_follow_from_the_ipc_or_the_run(out):
    usual = PROFILES["cpu"].match.at_ipc(1).iterations
    store(out, with_spec(record("emd", dataset="clothes", ipc=1, iterations=usual), data="0123"), images_of(6, ipc=1))
    (folder,) = [path for path in export(out, "parquet") if "emd" in path.name]
    text = (folder / "README.md").read_text()
    settings = yaml.safe_load(re.search(r"```yaml\n(.*?)```", text, re.DOTALL)[1])
    assert settings["match.iterations"] == usual
    assert settings["eval.epochs"] == PROFILES["cpu"].eval.at_ipc(1).epochs
    assert (settings["eval.precision"], settings["precision"]) == ("fp32", "fp32")
    assert settings["data"] == "0123"
    assert "auto" not in text


def test_torchvision_reads_pictures_in_the_order_of_classes(out):
    log = io.StringIO()
    folder = export(out, "png", log=log)[1]
    assert sorted(path.name for path in folder.iterdir()) == ["distilled_set.json", "seed-0", "seed-1"]
    for seed in (0, 1):
        pictures = ImageFolder(str(folder / f"seed-{seed}"))
        assert pictures.classes == ["0-zebra", "1-T-shirt-top", "2-ant"]
        assert pictures.targets == LABELS
        pixels = np.stack([np.asarray(picture) for picture, _ in pictures]).transpose(0, 3, 1, 2) / 255
        exact = images_of(seed).numpy() * np.reshape(STD, (1, 3, 1, 1)) + np.reshape(MEAN, (1, 3, 1, 1))
        assert abs(pixels - exact.clip(0, 1)).max() <= 0.5 / 255 + 1e-6  # 8 bits; what lies outside is clipped
    assert re.search(r"clothes_ipc2_dm: 1\.\d % of the values lie outside \[0, 1\], and are clipped", log.getvalue())


@pytest.mark.parametrize("form", FORMS)
def test_every_form_keeps_a_learned_learning_rate_of_each_seed(tmp_path, form):
    rates = {0: 0.0123, 1: 0.2}
    for seed, lr in rates.items():
        store(tmp_path, record("dm", dataset="clothes", ipc=2, seed=seed), images_of(seed), lr=lr)
    (path,) = export(tmp_path, form, log=io.StringIO())
    assert {each.seed: each.lr for each in read_set(path).distillations} == rates
    if form == "parquet":
        assert "- learning rate of training on each seed: 0.0123, 0.2" in (path / "README.md").read_text()


def test_a_set_without_a_learning_rate_has_no_field_for_it(out):
    assert "lr" not in torch.load(export(out, "dc-pt")[1], weights_only=True)
    with np.load(export(out, "npz")[1]) as file:
        assert "lr" not in file.files
    assert "learning rate" not in (export(out, "parquet")[1] / "README.md").read_text()


@pytest.mark.parametrize("form", FORMS)
def test_a_second_export_takes_the_place_of_the_first(out, form):
    assert export(out, form) == (paths := export(out, form))
    (out / "records" / f"{record('dm', dataset='clothes', ipc=2, seed=1).hash}.json").unlink()
    assert export(out, form, log=io.StringIO()) == paths
    names = {path.name for path in (out / "export").rglob("*")}
    assert "seed-1" not in names
    assert not [name for name in names if name.startswith(".")]


def test_variants_are_sets_of_their_own(out):
    made = record("dm", dataset="clothes", ipc=2, iterations=20)
    store(out, made, images_of(7))
    names = [path.name for path in export(out, "npz")]
    assert names == [
        "clothes_ipc1_kr.npz",
        "clothes_ipc2_dm_match.iterations=10.npz",
        "clothes_ipc2_dm_match.iterations=20.npz",
    ]
    with np.load(out / "export" / names[2]) as file:
        assert np.array_equal(file["images"][0], images_of(7).numpy())


def test_what_is_left_out_is_named(out):
    other_rate = store(out, record("dm", dataset="clothes", ipc=2, rate=0.3), images_of(8))
    missing = store(out, record("kr", dataset="clothes", ipc=1, seed=1), images_of(9, ipc=1))
    (out / "records" / missing.images_name).unlink()
    wrong = store(out, record("kr", dataset="clothes", ipc=1, seed=2), images_of(9, ipc=1), hash_of=missing)
    log = io.StringIO()
    paths = export(out, "dc-pt", log=log)
    assert torch.load(paths[0], weights_only=True)["seeds"] == [0]
    assert torch.equal(torch.load(paths[1], weights_only=True)["data"][0][0], images_of(0))
    lines = log.getvalue().splitlines()
    for reason in (
        f"({other_rate.hash}) at another rate of the step",
        f"({missing.hash}): {out / 'records' / missing.images_name} is not there",
        f"({wrong.hash}): {out / 'records' / wrong.images_name} holds the images of another cell",
    ):
        assert sum(reason in line for line in lines) == 1, lines
    assert len(lines) == 3


def test_names_that_are_no_file_names(out, tmp_path):
    for name in ("folder:/data/my set", "folder:/data/my-set", f"folder:/{'long' * 90}"):
        store(out, with_spec(record("dm", ipc=2), dataset=name), images_of(3))
    paths = export(out, "npz", target=tmp_path / "deep" / "folder")
    assert all(path.parent == tmp_path / "deep" / "folder" and path.is_file() for path in paths)
    assert len(set(paths)) == 5
    assert "folder-data-my-set_ipc2_dm.npz" in {path.name for path in paths}


def test_the_command_line(out, tmp_path, capsys):
    assert command.main(["export", "--out", str(out), "--to", "npz", "--target", str(tmp_path / "there")]) == 0
    assert capsys.readouterr().out.splitlines() == [
        f"exported: {tmp_path / 'there' / name}.npz" for name in ("clothes_ipc1_kr", "clothes_ipc2_dm")
    ]


def test_mistakes(out, tmp_path, capsys):
    (tmp_path / "file").write_text("")
    empty = tmp_path / "empty"
    write_record(empty / "records", record("whole", dataset="clothes", ipc=None))
    for arguments, message in {
        ("--out", str(out), "--to", "dcpt"): "unknown --to 'dcpt' (did you mean 'dc-pt'?); valid: dc-pt, npz, parquet, png",
        ("--out", str(tmp_path / "none"), "--to", "npz"): "there is no finished record",
        ("--out", str(empty), "--to", "npz"): f"--out '{empty}' holds no distilled images",
        ("--out", str(out), "--to", "npz", "--target", str(tmp_path / "file" / "x")): "cannot be written to",
    }.items():
        assert command.main(["export", *arguments]) == 2
        stdout, stderr = capsys.readouterr()
        assert stdout == ""
        assert stderr.startswith("reports: error: ")
        assert message in stderr
        assert stderr.count("\n") == 1


def test_an_export_that_fails_leaves_the_earlier_one(out):
    folder = export(out, "png", log=io.StringIO())[0]
    before = {path: path.read_bytes() for path in folder.rglob("*.png")}
    os.mkfifo(folder / "pipe")  # not of an export, so it is to be kept, but it cannot be copied
    with pytest.raises(UsageError, match="cannot be written"):
        export(out, "png", log=io.StringIO())
    assert {path: path.read_bytes() for path in folder.rglob("*.png")} == before
    assert len(before) == 3
