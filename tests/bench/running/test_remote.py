"""Cells on other machines: what they are sent, what they send back, and which of them wait."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from runners import runner
from safetensors.torch import load_file
from tiny import bundle, cell

from bench.records.artefacts import ArtefactFiles
from bench.running import remote
from methods import METHODS


@dataclass(frozen=True)
class Setup:
    """What a worker needs of a `WorkerSetup`, if it is given its runner."""

    folder: Path


@pytest.fixture
def cells():
    """Return two cells that share a network, one with another network, and one that needs none."""
    short, long = {"whole": {"epochs": 1}}, {"whole": {"epochs": 1, "lr": 0.2}}
    specs = cell(METHODS["herding"], **short), cell(METHODS["kcenter"], **short), cell(METHODS["kmeans"], **long)
    return (*specs, cell(METHODS["random"]))


def artefacts_of(folder, specs, put=lambda files: files):
    return remote.Artefacts(folder, {spec.hash: METHODS[spec.method].artefacts(spec) for spec in specs}, put)


def test_a_cell_waits_while_another_makes_what_it_needs_and_others_go_ahead(cells, tmp_path):
    herding, kcenter, kmeans, random = (spec.hash for spec in cells)
    sent = []

    def put(files):
        sent.append(files)
        return f"reference {len(sent)}"

    artefacts = artefacts_of(tmp_path / "records", cells, put)
    assert artefacts.ready([herding, kcenter], []) == herding
    assert artefacts.ready([kcenter, kmeans, random], [herding]) == kmeans
    assert artefacts.ready([kcenter, random], [herding, kmeans]) == random
    assert artefacts.ready([kcenter], [herding, kmeans]) is None
    assert artefacts.ready([kcenter], [random]) == kcenter
    assert artefacts.references(herding) == artefacts.references(random) == sent == []
    runner(tmp_path / "records").run([cells[0]])
    assert artefacts.ready([kcenter], [herding, kmeans]) == kcenter
    assert artefacts.references(kcenter) == artefacts.references(herding) == ["reference 1"]
    assert artefacts.references(kmeans) == []
    assert len(sent) == 1  # once for all cells
    assert [name.partition(".")[2] for name in sent[0]] == ["safetensors", "json"]


def test_an_artefact_made_on_another_machine_is_sent_back_and_sent_along(cells, tmp_path, monkeypatch):
    """Workers of two machines, neither of which sees the driver's folder, nor the other's."""
    herding, kcenter, *_ = cells
    driver, artefacts = tmp_path / "driver" / "records", artefacts_of(tmp_path / "driver" / "records", cells)
    driver.mkdir(parents=True)
    records = []

    def create(setup, bundles):
        return runner(setup.folder, data=bundles["tiny"])

    for number, spec in enumerate((herding, kcenter)):
        machine = tmp_path / f"machine {number}"
        machine.mkdir()
        monkeypatch.chdir(machine)
        files = artefacts.references(spec.hash)
        assert len(files) == number
        sent = remote.Cell(Setup(driver), "no marker", spec.model_dump_json(), {}, files, fetch=lambda files: files)
        outcome = remote.run(sent, remote.packed(bundle()), runners={}, create=create)
        assert len(outcome.artefacts) == (2 if number == 0 else 0)  # what was sent along is not sent back
        artefacts.store(spec.hash, outcome)
        records.append(remote.store(driver, spec, outcome).record)
    assert [next(iter(record.preparation.values())).made for record in records] == [True, False]
    [spec] = METHODS["herding"].artefacts(herding)
    assert ArtefactFiles.beside(driver, spec).read_record() is not None
    here = runner(tmp_path / "here" / "records").run([herding, kcenter])
    for record, expected in zip(records, here, strict=True):
        paths = [folder / "records" / record.images_name for folder in (driver.parent, tmp_path / "here")]
        assert torch.equal(*(load_file(path)["images"] for path in paths))
        assert record.main_evaluation.accuracies == expected.main_evaluation.accuracies
