"""Records of versions 1 and 2, written by hand, become records that today's code finds."""

from __future__ import annotations

import copy
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from safetensors import safe_open
from safetensors.numpy import save_file

from bench import migrate, old_records
from bench.grid import make_specs
from bench.protocol import PROFILES
from bench.records import SCHEMA_VERSION
from bench.settings import Settings
from bench.spec import hash_of
from bench.storage import damaged_images, read_folder, read_record
from datasets import DATASETS
from methods import METHODS

EVAL = {
    "nets": 5,
    "epochs": 300,
    "lr": 0.01,
    "momentum": 0.9,
    "weight_decay": 0.0005,
    "batch": 256,
    "augment": "color_crop_cutout_flip_scale_rotate",
    "schedule": "step",
}
MATCH = {
    "iterations": 150,
    "real_batch": 64,
    "lr_images": 3.0,
    "momentum": 0.5,
    "augment": "color_crop_cutout_flip_scale_rotate",
    "extractor": "fresh",
    "start": "real",
}
WHOLE = EVAL | {
    **{"nets": 1, "epochs": 8, "lr": 0.1, "batch": 128, "augment": "crop_flip", "schedule": "onecycle", "precision": "auto"},
}
GRADIENTS = {
    **{"iterations": 300, "outer": 1, "inner": 1, "real_batch": 64, "lr_images": 1.0, "momentum": 0.5, "lr_network": 0.01},
    **{"start": "noise", "augment": "none"},
}
KR = {"hidden": 128, "clip": 0.01, "steps": 100, "critic_lr": 0.001, "critic_optimizer": "adam"}


def old_record(method="dm", *, ipc=1, precision="bf16", settings=None, sections=None, name="00112233aabbccdd") -> dict:
    """Return a record of version 1, as that version wrote it, of FashionMNIST under the `cpu` profile."""
    protocol = {"profile": "cpu", "match": MATCH, "eval": EVAL | {"precision": "auto"}} if sections is None else sections
    return {
        "hash": name,
        "status": "ok",
        "spec": {
            "dataset": "fashionmnist",
            "ipc": ipc,
            "method": method,
            "seed": 0,
            "hyper": settings or {},
            "protocol": copy.deepcopy(protocol)
            | {"data": {"split": "test", "holdout": 0.1, "size": None}, "network": {"width": 128, "depth": 3}},
            "precision": precision,
            "numerics": 1,
        },
        "labels": {"method": "The method", "dataset": "FashionMNIST"},
        "error": "",
        "accuracies": [70.5, 71.25],
        "loss": [2.0, 1.0],
        "seconds": {"features": 1.0, "loss": 2.0, "update": 3.0, "evaluation": 4.0, "total": 11.0},
        "seconds_per_iteration": 0.25,
        "peak_memory_mib": 512.5,
        "network": {"name": "ConvNet-3", "width": 128, "depth": 3, "features": 2048},
        "hardware": {"cpu": "a processor", "cores": 2},
        "versions": {"torch": "2.15.0"},
        "code": {"sources": "0011"},
        "details": {"train_images": 60000, "kernels": {"real features": "compiled", "evaluation": "eager"}},
        "finished": "2026-11-23T10:13:29+00:00",
    }


def place(folder: Path, record: dict, *, images: bool = True, images_hash: str | None = None) -> Path:
    """Write a record, and images beside it, as version 1 did."""
    records = folder / "records"
    records.mkdir(parents=True, exist_ok=True)
    path = records / f"{record['hash']}.json"
    path.write_text(json.dumps(record, indent=1) + "\n")
    if images:
        metadata = {"hash": json.dumps(images_hash or record["hash"]), "mean": "[0.25]", "classes": '["a", "b"]'}
        tensors = {"images": images_of(record["hash"]), "labels": np.arange(2)}
        save_file(tensors, path.with_suffix(".safetensors"), metadata=metadata)
    return path


def images_of(name: str) -> np.ndarray:
    return np.random.default_rng(int(name, 16)).standard_normal((2, 1, 5, 5)).astype(np.float32)


def todays_hash(method: str, *, precision="bf16", settings: Settings | None = None, ipc=1, lr_images=3.0) -> str:
    """Return the hash that today's command line gives the cell under SGD on the images, which all old records had."""
    chosen, cpu = METHODS[method], PROFILES["cpu"]
    (spec,) = make_specs(
        methods=[(chosen, settings or chosen.resolve({}, profile="cpu"))],
        sources=[DATASETS["fashionmnist"]],
        data={"fashionmnist": DATASETS["fashionmnist"].published.short},
        ipcs=[ipc],
        seeds=[0],
        protocol=cpu.changed(match=cpu.match.changed(optimizer="sgd", schedule="constant", lr_images=lr_images)),
        precision=precision,
    )
    return spec.hash


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted((folder / "records").iterdir())}


def meaning(folder: Path) -> dict[str, object]:
    """Return what each file says; safetensors writes metadata in any order."""
    files: dict[str, object] = {}
    for path in (folder / "records").iterdir():
        if path.suffix == ".json":
            record = read_record(path)
            assert not damaged_images(path.parent, record)
            files[path.name] = record.model_copy(update={"images": sorted(record.images)})
        else:
            with safe_open(path, framework="np") as file:
                files[path.name] = (file.metadata(), file.get_tensor("images").tobytes(), file.get_tensor("labels").tolist())
    return files


WITH_WHOLE = {"profile": "cpu", "eval": EVAL | {"precision": "auto"}, "whole": WHOLE}
CASES = {
    "dm": old_record("dm"),
    "dm fp32, before evaluation had a precision": old_record("dm", precision="fp32", sections={"match": MATCH, "eval": EVAL}),
    "kr": old_record("kr", settings=KR | {"precision": "auto"}, sections={"match": MATCH | {"lr_images": 30.0}, "eval": EVAL}),
    "kr before its critics had a precision": old_record(
        "kr", settings=KR, sections={"match": MATCH | {"lr_images": 30.0}, "eval": EVAL}
    ),
    "dc": old_record("dc", settings=GRADIENTS, sections={"eval": EVAL}),
    "random": old_record("random", sections={"eval": EVAL}),
    "herding": old_record("herding", settings={"epochs": 2}, sections=WITH_WHOLE),
    "kcenter": old_record("kcenter", settings={"epochs": 2}, sections=WITH_WHOLE),
    "kmeans": old_record("kmeans", settings={"epochs": 2}, sections=WITH_WHOLE),
    "whole": old_record("whole", ipc=None, sections={"whole": WHOLE}),
}


@pytest.mark.parametrize("case", CASES)
def test_a_renewed_record_is_the_one_that_todays_code_looks_for(case, tmp_path):
    old = copy.deepcopy(CASES[case])
    old["spec"]["protocol"]["profile"] = "cpu"
    place(tmp_path, old)
    assert migrate.main([str(tmp_path)]) == 0
    ((record,), unreadable) = read_folder(tmp_path / "records")
    spec = old["spec"]
    assert unreadable == []
    lr_images = spec["protocol"].get("match", MATCH)["lr_images"]
    assert record.hash == record.spec.hash == todays_hash(spec["method"], precision=spec["precision"], lr_images=lr_images)
    assert (record.spec.dataset, record.spec.ipc, record.spec.method) == ("fashionmnist", spec["ipc"], spec["method"])


def test_everything_that_the_record_said_is_kept(tmp_path):
    place(tmp_path, old_record("kr", settings=KR, sections={"profile": "cpu", "match": MATCH, "eval": EVAL}))
    assert migrate.main([str(tmp_path)]) == 0
    ((record,), _) = read_folder(tmp_path / "records")
    assert record.schema_version == SCHEMA_VERSION
    assert record.spec.settings.model_dump() == {**KR, "precision": "bf16"}
    match = record.spec.protocol.match
    assert (match.optimizer, match.lr_images, match.rate, match.schedule) == ("sgd", 3.0, None, "constant")
    assert record.spec.precision == "bf16"
    assert record.spec.protocol.profile == "cpu"
    assert record.spec.protocol.match.network == "convnet"
    assert record.spec.protocol.eval.networks == ("convnet",)
    assert record.spec.protocol.eval.precision == "bf16"
    assert record.spec.protocol.whole is None
    (evaluation,) = record.evaluations
    assert (evaluation.network, evaluation.accuracies, evaluation.seconds) == ("convnet", (70.5, 71.25), 4.0)
    assert (evaluation.kernel, evaluation.finished) == ("eager", "2026-11-23T10:13:29+00:00")
    assert evaluation.facts.model_dump() == {
        "label": "ConvNet-3",
        "width": 128,
        "depth": 3,
        "features": 2048,
        "resized_to": None,
    }
    assert record.details == {"train_images": 60000, "kernels": {"real features": "compiled"}}
    assert record.seconds == {"features": 1.0, "loss": 2.0, "update": 3.0, "total": 11.0}
    assert (record.method.label, record.dataset_label) == ("The method", "FashionMNIST")
    assert (record.method.order, record.method.color) == (METHODS["kr"].order, METHODS["kr"].color)
    assert (record.loss, record.seconds_per_iteration, record.peak_memory_mib) == ((2.0, 1.0), 0.25, 512.5)
    assert (record.hardware, record.versions) == ({"cpu": "a processor", "cores": 2}, {"torch": "2.15.0"})
    assert (record.code, record.finished) == ({"sources": "0011"}, "2026-11-23T10:13:29+00:00")


def test_images_move_along_bit_for_bit_and_carry_the_new_hash(tmp_path):
    old = old_record()
    path = place(tmp_path, old)
    assert migrate.main([str(tmp_path)]) == 0
    ((record,), _) = read_folder(tmp_path / "records")
    assert record.has_images
    assert sorted(contents(tmp_path)) == [f"{record.hash}.json", record.images_name]
    assert record.hash != path.stem
    with safe_open(tmp_path / "records" / record.images_name, framework="np") as file:
        assert file.get_tensor("images").tobytes() == images_of(old["hash"]).tobytes()
        assert file.get_tensor("labels").tolist() == [0, 1]
        assert file.metadata() == {"hash": json.dumps(record.hash), "mean": "[0.25]", "classes": '["a", "b"]'}


def test_a_record_without_images_says_so(tmp_path):
    place(tmp_path, old_record(), images=False)
    assert migrate.main([str(tmp_path)]) == 0
    ((record,), _) = read_folder(tmp_path / "records")
    assert not record.has_images


def test_a_failed_cell_stays_one(tmp_path):
    failed = {"status": "failed", "error": "ValueError: x", "accuracies": [], "loss": [], "seconds": {}, "network": {}}
    place(tmp_path, old_record() | failed | {"details": {"traceback": "..."}, "seconds_per_iteration": None}, images=False)
    assert migrate.main([str(tmp_path)]) == 0
    ((record,), _) = read_folder(tmp_path / "records")
    assert (record.status, record.error, record.evaluations) == ("failed", "ValueError: x", ())
    assert record.details == {"traceback": "..."}


def test_a_users_own_loss_is_renewed_too(tmp_path):
    own = old_record("mine", settings={"bandwidth": 2.0})
    own["spec"]["code"] = "abcd"
    place(tmp_path, own)
    assert migrate.main([str(tmp_path)]) == 0
    ((record,), _) = read_folder(tmp_path / "records")
    assert record.spec.settings.model_dump() == {"bandwidth": 2.0}
    assert (record.spec.code, record.spec.precision) == ("abcd", "bf16")
    assert (record.method.order, record.method.color) == (500, "")


def test_it_can_be_repeated(tmp_path, capsys):
    place(tmp_path, old_record())
    place(tmp_path, old_record("random", sections={"profile": "cpu", "eval": EVAL}, name="1111111111111111"))
    assert migrate.main([str(tmp_path)]) == 0
    before = contents(tmp_path)
    assert migrate.main([str(tmp_path / "records")]) == 0  # the folder itself is taken too
    assert contents(tmp_path) == before
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == f"{tmp_path}: 2 renewed, 0 as they are, 0 left"
    assert lines[1] == f"{tmp_path / 'records'}: 0 renewed, 2 as they are, 0 left"


@pytest.mark.parametrize("stage", ["images copied", "record written", "old images gone"])
def test_an_interrupted_run_can_be_repeated(stage, tmp_path):
    path = place(tmp_path / "done", old_record())
    shutil.copytree(tmp_path / "done", tmp_path / "old")
    assert migrate.main([str(tmp_path / "done")]) == 0
    done = meaning(tmp_path / "done")
    (name,) = (name for name in done if name.endswith(".json"))
    copied = [name.replace(".json", ".safetensors")] + ([] if stage == "images copied" else [name])
    for file in copied:
        shutil.copy(tmp_path / "done" / "records" / file, tmp_path / "old" / "records" / file)
    if stage == "old images gone":
        (tmp_path / "old" / "records" / f"{path.stem}.safetensors").unlink()
    assert migrate.main([str(tmp_path / "old")]) == 0
    assert meaning(tmp_path / "old") == done


FOREIGN = {
    "foreign": ('{"a": 1}', "it is no record of this suite"),
    "list": ("[1]", "it is no record of this suite"),
    "torn": ('{"hash": "x"', "it cannot be read: JSONDecodeError"),
    "newer": ('{"schema_version": 99, "hash": "x", "spec": {}}', "its form is version 99"),
    "broken": ('{"schema_version": 2, "hash": "x", "spec": {}}', "it is no complete record of version 2: "),
    "incomplete": ('{"hash": "x", "spec": {"method": "dm"}}', "it is no complete record of version 1: KeyError"),
    "unknown field": (
        json.dumps(old_record(sections={"profile": "cpu", "match": MATCH | {"speed": 1}, "eval": EVAL})),
        "unknown parameter of Match 'speed'",
    ),
    "wrong value": (json.dumps(old_record() | {"status": "perhaps"}), "it is no complete record of version 1: status"),
}


@pytest.mark.parametrize("kind", FOREIGN)
def test_other_files_are_named_in_a_line_and_left(kind, tmp_path, capsys):
    text, reason = FOREIGN[kind]
    place(tmp_path, old_record())
    other = tmp_path / "records" / "other.json"
    other.write_text(text)
    assert migrate.main([str(tmp_path)]) == 1
    output = capsys.readouterr()
    (line,) = output.err.splitlines()
    assert line.startswith(f"left: {other}: ")
    assert reason in line
    assert output.out == f"{tmp_path}: 1 renewed, 0 as they are, 1 left\n"
    assert other.read_text() == text


def test_images_of_another_cell_are_left(tmp_path, capsys):
    place(tmp_path, old_record(), images_hash="ffffffffffffffff")
    before = contents(tmp_path)
    assert migrate.main([str(tmp_path)]) == 1
    assert "those of another cell" in capsys.readouterr().err
    assert contents(tmp_path) == before


def test_damaged_images_are_left(tmp_path, capsys):
    path = place(tmp_path, old_record())
    path.with_suffix(".safetensors").write_bytes(b"\x00" * 16)
    before = contents(tmp_path)
    assert migrate.main([str(tmp_path)]) == 1
    assert "cannot be read" in capsys.readouterr().err
    assert contents(tmp_path) == before


def test_of_two_records_of_one_cell_the_second_is_left(tmp_path, capsys):
    """Version 1 took a run in float32 and the same with `--set eval.precision=fp32` for two cells."""
    sections = {"profile": "cpu", "match": MATCH, "eval": EVAL | {"precision": "fp32"}}
    first = place(tmp_path, old_record(precision="fp32"))
    second = place(tmp_path, old_record(precision="fp32", sections=sections, name="eeeeeeeeeeeeeeee") | {"loss": [5.0]})
    assert migrate.main([str(tmp_path)]) == 1
    assert not first.exists()
    assert second.is_file()
    assert second.with_suffix(".safetensors").is_file()
    new = tmp_path / "records" / f"{todays_hash('dm', precision='fp32')}.json"
    assert f"left: {second}: {new.name} is another record of the same cell" in capsys.readouterr().err
    assert read_record(new).loss == (2.0, 1.0)


def test_a_folder_without_records_is_a_mistake(tmp_path, capsys):
    place(tmp_path / "good", old_record())
    assert migrate.main([str(tmp_path / "none"), str(tmp_path / "good")]) == 2
    output = capsys.readouterr()
    assert output.err.startswith(f"migrate: error: {tmp_path / 'none'} holds no records; valid: ")
    assert "1 renewed" in output.out  # the others are renewed all the same
    with pytest.raises(SystemExit, match="2"):
        migrate.main([])


def test_version_3_comes_to_say_which_images_its_dataset_held_and_its_checkpoints_move_along(tmp_path):
    place(tmp_path, old_record())
    assert migrate.main([str(tmp_path)]) == 0
    ((today,), _) = read_folder(tmp_path / "records")
    path = tmp_path / "records" / f"{today.hash}.json"
    content = json.loads(path.read_text())
    for name in ("checksum", "images", "warnings"):
        del content[name]
    del content["spec"]["data"]
    old = content | {"schema_version": 3, "has_images": True, "hash": hash_of(content["spec"])}
    assert old["hash"] != today.hash
    folder = tmp_path / "old" / "records"
    folder.mkdir(parents=True)
    (folder / f"{old['hash']}.json").write_text(json.dumps(old))
    for name in ("", "-30"):
        tensors = {"images": images_of(old["hash"]), "labels": np.arange(2)}
        save_file(tensors, folder / f"{old['hash']}{name}.safetensors", metadata={"hash": json.dumps(old["hash"])})
    assert migrate.main([str(folder)]) == 0
    ((record,), problems) = read_folder(folder)
    assert problems == []
    assert record.spec.data == DATASETS["fashionmnist"].published.short
    assert record.model_copy(update={"images": {}}) == today.model_copy(update={"images": {}})
    assert sorted(record.images) == [f"{record.hash}-30.safetensors", f"{record.hash}.safetensors"]
    assert {file.name for file in folder.iterdir()} == {f"{record.hash}.json", *record.images}
    with safe_open(folder / f"{record.hash}-30.safetensors", framework="np") as file:
        assert file.metadata() == {"hash": json.dumps(record.hash)}


def test_old_records_are_taken_to_be_of_the_published_sets():
    published = {name: source.published.short for name, source in DATASETS.items() if source.published}
    assert published == old_records._DATA
