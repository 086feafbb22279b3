"""Records: whole or not at all, and addressed by what they depend on."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
import torch
from safetensors.torch import load_file
from tiny import bundle, task

from bench.protocol import PROFILES
from bench.records import RunRecord, atomic, read_record, read_records, typical_iteration, write_images, write_record
from bench.types import SyntheticSet

RECORD = RunRecord(hash="0123456789abcdef", status="ok", spec={"dataset": "tiny"}, accuracies=(50.0, 60.0), loss=(1.0, 0.5))


def test_a_record_comes_back_as_it_was(tmp_path):
    write_record(tmp_path / "records", RECORD)
    assert read_record(tmp_path / "records" / "0123456789abcdef.json") == RECORD
    assert read_records(tmp_path / "records") == [RECORD]


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
        write_record(tmp_path, replace(RECORD, loss=(float("nan"),)))
    assert list(tmp_path.iterdir()) == []


def test_a_torn_or_foreign_file_is_no_record(tmp_path):
    (tmp_path / "torn.json").write_text(json.dumps({"hash": "x"})[:-3])
    (tmp_path / "foreign.json").write_text('{"a": 1}')
    assert read_records(tmp_path) == []


def test_images_are_kept_in_normalised_units_with_what_undoes_it(tmp_path):
    given = task()
    syn = SyntheticSet(torch.randn(6, 1, 8, 8), torch.tensor([0, 0, 1, 1, 2, 2]))
    write_images(tmp_path, given.spec, syn, bundle())
    path = tmp_path / f"{given.spec.hash}.safetensors"
    found = load_file(path)
    assert torch.equal(found["images"], syn.images)
    assert torch.equal(found["labels"], syn.labels)


def test_the_hash_names_what_numbers_depend_on_and_nothing_else():
    spec = task().spec
    same = replace(spec, protocol=replace(spec.protocol, profile="other name", whole=replace(spec.protocol.whole, epochs=99)))
    assert same.hash == spec.hash
    match = replace(spec.protocol, match=replace(spec.protocol.match, iterations=4))
    different = [
        replace(spec, seed=1),
        replace(spec, ipc=3),
        replace(spec, method="kr"),
        replace(spec, hyper={"hidden": 64}),
        replace(spec, precision="bf16"),
        replace(spec, code="abc"),
        replace(spec, numerics=spec.numerics + 1),
        replace(spec, protocol=match),
    ]
    assert len({spec.hash, *(other.hash for other in different)}) == 9
    # A selection does not depend on how matching is done.
    chosen = replace(spec, sections=("eval",))
    assert chosen.hash == replace(chosen, protocol=match).hash


def test_the_first_iterations_are_left_out_of_the_typical_one():
    assert typical_iteration((9.0,) * 5 + (1.0, 2.0, 3.0, 2.0, 2.0)) == 2.0
    assert typical_iteration((9.0, 1.0)) == 1.0
    assert typical_iteration(()) is None


def test_profiles_have_different_hashes():
    spec = task().spec
    assert len({replace(spec, protocol=protocol).hash for protocol in PROFILES.values()}) == 3
