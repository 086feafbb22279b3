"""Records: whole or not at all, and addressed by what they depend on."""

from __future__ import annotations

import json

import pytest
import torch
from pydantic import ValidationError
from safetensors import safe_open
from safetensors.torch import load_file
from tiny import bundle, task

from bench.cells.protocol import PROFILES
from bench.cells.spec import RecordedSettings
from bench.errors import DistillationError
from bench.files import atomic
from bench.records.record import SCHEMA_VERSION, RecordProblem, RunRecord, typical_iteration
from bench.records.sections import Checkpoint, Evaluation, MethodFacts, NetworkFacts
from bench.records.storage import read_folder, read_images, read_record, signed, write_images, write_record
from bench.sets import read_set
from bench.types import SyntheticSet

FACTS = NetworkFacts(label="ConvNet-1", width=8, depth=1, features=128)


def evaluation(network: str) -> Evaluation:
    return Evaluation(network=network, facts=FACTS, accuracies=(50.0, 60.0), seconds=1.5)


def with_settings(**settings):
    return task().spec.model_copy(update={"settings": RecordedSettings.model_validate(settings)})


SPEC = with_settings(hidden=64, clip=0.01, precision="fp32", outer=None)
RECORD = RunRecord(
    hash=SPEC.hash,
    status="ok",
    spec=SPEC,
    method=MethodFacts(label="KR", citation="somebody", order=90, color="#d55e00"),
    dataset_label="Tiny",
    evaluations=(evaluation("mlp"), evaluation("convnet")),
    loss=(1.0, 0.5),
    seconds={"loss": 1.0, "total": 4.0},
)


def test_a_record_comes_back_as_it_was(tmp_path):
    write_record(tmp_path / "records", RECORD)
    again = read_record(tmp_path / "records" / f"{RECORD.hash}.json")
    assert again == RECORD
    assert again.spec.hash == RECORD.hash
    assert read_folder(tmp_path / "records") == ([RECORD], [])
    assert read_record(tmp_path / "records" / "none.json") is None


def test_a_record_says_its_version_and_takes_no_unknown_field(tmp_path):
    write_record(tmp_path, RECORD)
    path = tmp_path / f"{RECORD.hash}.json"
    content = json.loads(path.read_text())
    del content["checksum"]
    assert content["schema_version"] == SCHEMA_VERSION
    for changed, reason in [
        ({"schema_version": 2}, "its form is version 2, not 4: it is of another version of this suite"),
        ({"accuracy": 1.0}, "accuracy: "),
        ({"status": "perhaps"}, "status: "),
    ]:
        path.write_text(json.dumps(signed(content | changed)))
        unreadable = read_record(path)
        assert isinstance(unreadable, RecordProblem)
        assert unreadable.reason.startswith(reason)
    with pytest.raises(ValidationError):
        RECORD.status = "failed"


def test_the_main_evaluation_is_the_convnets_or_else_the_first():
    assert RECORD.main_evaluation.network == "convnet"
    others = RECORD.model_copy(update={"evaluations": (evaluation("mlp"), evaluation("lenet"))})
    assert others.main_evaluation.network == "mlp"
    asked = SPEC.model_copy(update={"protocol": task(eval={"networks": ("mlp", "lenet", "convnet")}).spec.protocol})
    assert RECORD.missing_evaluations(asked) == ((None, "lenet"),)
    assert others.evaluation("convnet") is None


def test_the_peak_of_memory_is_that_of_all_evaluations():
    at = Checkpoint(iteration=1, seconds=1.0, rms=1.0)
    made = RECORD.model_copy(update={"checkpoints": (at,), "peak_memory_mib": 5.0})
    high = evaluation("lenet").model_copy(update={"peak_memory_mib": 7.0})
    assert made.with_evaluation(high, made.spec, 1).peak_memory_mib == 7
    assert made.with_evaluation(high.model_copy(update={"peak_memory_mib": 3.0}), made.spec, 1).peak_memory_mib == 5


def test_nothing_is_left_of_a_write_that_fails(tmp_path):
    target = tmp_path / "file"
    target.write_text("old")
    with pytest.raises(RuntimeError), atomic(target) as path:
        path.write_text("half")
        raise RuntimeError
    assert target.read_text() == "old"
    assert [entry.name for entry in tmp_path.iterdir()] == ["file"]


def test_numbers_that_are_none_are_not_written(tmp_path):
    with pytest.raises(ValueError, match="JSON compliant"):
        write_record(tmp_path, RECORD.model_copy(update={"loss": (float("nan"),)}))
    assert list(tmp_path.iterdir()) == []


def test_a_torn_or_foreign_file_is_no_record(tmp_path):
    (tmp_path / "torn.json").write_text(json.dumps({"hash": "x"})[:-3])
    (tmp_path / "foreign.json").write_text('{"a": 1}')
    (tmp_path / "list.json").write_text("[1]")
    (tmp_path / "bytes.json").write_bytes(b"\xff\xfe")
    write_record(tmp_path, RECORD)
    records, unreadable = read_folder(tmp_path)
    assert records == [RECORD]
    assert [file.path.name for file in unreadable] == ["bytes.json", "foreign.json", "list.json", "torn.json"]
    assert [file.reason for file in unreadable[1:3]] == ["it is no record of this suite"] * 2
    assert all(file.reason and "\n" not in file.reason for file in unreadable)


def test_images_are_kept_in_normalised_units_with_what_undoes_it(tmp_path):
    given = task()
    syn = SyntheticSet(torch.randn(6, 1, 8, 8), torch.tensor([0, 0, 1, 1, 2, 2]))
    path = tmp_path / "records" / "images.safetensors"
    write_images(path, given.spec, syn, bundle())
    tensors = load_file(path)
    assert torch.equal(tensors["images"], syn.images)
    assert torch.equal(tensors["labels"], syn.labels)
    with safe_open(path, framework="pt") as file:
        metadata = {key: json.loads(value) for key, value in file.metadata().items()}
    data = bundle()
    assert metadata == {
        "dataset": "tiny",
        "classes": list(data.classes),
        "mean": list(data.mean),
        "std": list(data.std),
        "hash": given.spec.hash,
    }
    again = read_images(path, given.spec.hash, torch.device("cpu"))
    assert torch.equal(again.images, syn.images)
    assert (again.labels.tolist(), again.lr) == (syn.labels.tolist(), None)


@pytest.mark.parametrize("lr", [0.1, 1 / 3, 1e-30])
def test_images_keep_the_learning_rate_that_they_carry(tmp_path, lr):
    given, path = task(), tmp_path / "images.safetensors"
    write_images(path, given.spec, SyntheticSet(torch.zeros(3, 1, 8, 8), torch.arange(3), lr=lr), bundle())
    assert read_images(path, given.spec.hash, torch.device("cpu")).lr == lr
    assert read_set(path).lrs == (lr,)


def test_images_of_another_cell_are_refused(tmp_path):
    path = tmp_path / "images.safetensors"
    write_images(path, task().spec, SyntheticSet(torch.zeros(3, 1, 8, 8), torch.arange(3)), bundle())
    with pytest.raises(DistillationError, match="images of another cell"):
        read_images(path, "another", torch.device("cpu"))
    path.write_bytes(path.read_bytes()[:50])
    with pytest.raises(DistillationError, match="cannot be read"):
        read_images(path, task().spec.hash, torch.device("cpu"))


def test_the_hash_names_what_numbers_depend_on_and_nothing_else():
    spec = task().spec

    def changed(**fields):
        return spec.model_copy(update=fields)

    def section(name, **fields):
        return changed(protocol=spec.protocol.changed(**{name: getattr(spec.protocol, name).changed(**fields)}))

    # Neither a profile's name nor other evaluation networks change the images.
    assert changed(protocol=spec.protocol.changed(profile="other name")).hash == spec.hash
    assert section("eval", networks=("mlp", "convnet")).hash == spec.hash
    different = [
        changed(seed=1),
        changed(ipc=3),
        changed(method="kr"),
        with_settings(hidden=64),
        changed(precision="bf16"),
        changed(precision=None),
        changed(code="abc"),
        changed(numerics=spec.numerics + 1),
        section("match", iterations=4),
        section("match", network="mlp"),
        section("eval", precision="fp32"),
        section("eval", epochs=5),
        changed(protocol=spec.protocol.model_copy(update={"whole": None})),
    ]
    assert len({spec.hash, *(other.hash for other in different)}) == len(different) + 1


def test_the_first_iterations_are_left_out_of_the_typical_one():
    assert typical_iteration((9.0,) * 5 + (1.0, 2.0, 3.0, 2.0, 2.0)) == 2.0
    assert typical_iteration((9.0, 1.0)) == 1.0
    assert typical_iteration(()) is None


def test_profiles_have_different_hashes():
    spec = task().spec
    assert len({spec.model_copy(update={"protocol": protocol}).hash for protocol in PROFILES.values()}) == 3
