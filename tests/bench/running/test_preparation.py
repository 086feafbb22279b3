"""Prepared artefacts: made once, whichever cell or process needs them first, and resumed to the same bits."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from runners import runner, stored
from tiny import cell

from bench.cells.artefact import Preparation
from bench.cells.method import Method, NoSettings
from bench.errors import DistillationError
from bench.loops.images import initial_images, whole_set
from bench.loops.preparing import trained_networks
from bench.loops.recorder import restore_state, state_of
from bench.loops.training import Trainer, epochs_of, sgd
from bench.machine import signals
from bench.networks.weights import Weights
from bench.records.artefacts import ArtefactFiles
from bench.records.locks import claimed
from bench.running.preparation import prepare
from bench.seeding import Streams
from methods import METHODS

ROOT = Path(__file__).resolve().parents[3]
EPOCHS = 2


def interruptible(calls, kill_at):
    """Count a step of a maker, and note a signal, as if it had been received, at the step `kill_at`."""
    calls.append(len(calls))
    if len(calls) == kill_at:
        signals.note(signal.SIGTERM)


def pool(calls, kill_at=None):
    """Return the maker of a pool of networks: `trained_networks` with a count of its pieces."""

    def make(task, spec, done):
        for piece in trained_networks(task, spec, done):
            interruptible(calls, kill_at)
            yield piece

    return make


def trajectories(calls, kill_at=None):
    """Return the maker of trajectories: the parameters of each expert after every epoch."""

    def make(task, spec, done):
        train, network = whole_set(task), task.network(spec.network)
        trainer = Trainer(task, network, train.labels, spec.training, stage=spec.stage)
        for expert in range(spec.count):
            epochs = sum(name.startswith(f"expert {expert} epoch ") and name.endswith(" parameter 0") for name in done)
            generator = task.streams.generator(spec.stage, expert)
            weights = network.init(generator).trainable()
            optimizer = sgd(weights, spec.training)
            if 0 < epochs < epochs_of(spec.training):  # go on after the last epoch that was yielded
                last = Weights.unpacked(done, f"expert {expert} epoch {epochs}")
                with torch.no_grad():
                    for parameter, value in zip(weights.parameters, last.parameters, strict=True):
                        parameter.copy_(value)
                momentum = {name.removeprefix("state "): value for name, value in done.items() if name.startswith("state ")}
                generator.set_state(momentum.pop("generator"))
                restore_state(optimizer, momentum, state_of(optimizer)[1])
            for epoch in range(epochs, epochs_of(spec.training)):
                trainer.scheduled_epoch(epoch, train.images, weights, optimizer, [generator], lambda epoch, begin: None)
                interruptible(calls, kill_at)
                state = {f"state {name}": value for name, value in state_of(optimizer)[0].items()}
                state["state generator"] = generator.get_state()
                is_last = epoch + 1 == epochs_of(spec.training)
                yield weights.packed(f"expert {expert} epoch {epoch + 1}") | (dict.fromkeys(state) if is_last else state)

    return make


KINDS = {"pool": (pool, 3, 3 * EPOCHS), "trajectories": (trajectories, 2, 2 * EPOCHS)}
"""Of each toy its maker, its number of networks, and the number of pieces that it yields."""


def toy(kind, calls, kill_at=None, **fields):
    """Return a method whose cells share a toy artefact; it chooses images at random."""
    maker, count, _ = KINDS[kind]

    def settings(spec):
        training = METHODS["herding"].preparation.settings(cell(METHODS["herding"]))["training"]
        training = training.changed(epochs=EPOCHS, batch=12, momentum=0.9)
        return {"network": "convnet", "training": training, "count": count, **fields}

    return Method(
        name="toy",
        label="Toy",
        citation="",
        procedure=initial_images,
        settings=NoSettings,
        preparation=Preparation(kind, maker(calls, kill_at), settings),
    )


def artefact_of(folder, method, spec):
    """Return the files of a cell's one artefact."""
    [artefact] = method.artefacts(spec)
    return ArtefactFiles.beside(folder, artefact)


def made(folder, method, seed=0, **options):
    """Prepare a cell of a toy in a folder of records; return its artefact, and what its record says."""
    spec = cell(method, seed=seed)
    workplace = runner(folder, toy=method).workplace
    task, facts = prepare(workplace, workplace.task(spec), **options)
    [tensors], [fact] = task.prepared.values(), facts.values()
    return tensors, fact


def assert_equal(tensors, expected):
    assert tensors.keys() == expected.keys()
    for name, tensor in tensors.items():
        assert torch.equal(tensor, expected[name]), name


@pytest.mark.parametrize("kind", KINDS)
def test_an_artefact_is_made_once_and_each_record_says_whether_its_cell_made_it(kind, tmp_path):
    calls = []
    method = toy(kind, calls)
    first, second = cell(method), cell(method, eval={"epochs": 5})  # another cell, of the same images
    runner(tmp_path / "records", toy=method).run([first, second])
    assert len(calls) == KINDS[kind][2]
    facts = [stored(spec, tmp_path / "records").preparation for spec in (first, second)]
    [digest] = facts[0]
    assert facts[0].keys() == facts[1].keys()
    maker, other = facts[0][digest], facts[1][digest]
    assert (maker.made, other.made) == (True, False)
    assert maker.seconds == other.seconds > 0
    assert (maker.kind, maker.label) == (kind, method.artefacts(first)[0].label)
    files = sorted(path.name for path in (tmp_path / "artefacts").iterdir() if path.is_file())
    assert files == [f"{digest}.json", f"{digest}.safetensors"]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("fraction", [0.2, 0.5, 0.8, 1.0])
def test_an_interrupted_making_is_resumed_to_the_same_bits(kind, fraction, tmp_path):
    calls, again, total = [], [], KINDS[kind][2]
    expected, _ = made(tmp_path / "whole" / "records", toy(kind, []))
    folder, kill_at = tmp_path / "cut" / "records", max(1, round(fraction * total))
    with pytest.raises(signals.Interrupted):
        made(folder, toy(kind, calls, kill_at))
    signals.reset()
    assert len(calls) == kill_at
    [state] = (tmp_path / "cut" / "artefacts").glob("*.resume")
    tensors, fact = made(folder, toy(kind, again))
    assert len(again) == total - kill_at  # no step is taken twice
    assert fact.made
    assert_equal(tensors, expected)
    assert not state.exists()


def test_trajectories_hold_each_epoch_of_each_expert_and_no_momentum(tmp_path):
    tensors, _ = made(tmp_path / "records", toy("trajectories", []))
    names = {name.rpartition(" parameter ")[0] for name in tensors}
    assert names == {f"expert {expert} epoch {epoch}" for expert in range(2) for epoch in range(1, EPOCHS + 1)}
    first, second = (tensors[f"expert 0 epoch {epoch} parameter 0"] for epoch in (1, 2))
    assert not torch.equal(first, second)


def test_a_pool_has_the_networks_that_training_each_alone_gives(tmp_path):
    method = toy("pool", [])
    tensors, _ = made(tmp_path / "records", method)
    [spec] = method.artefacts(cell(method))
    task = runner(tmp_path, toy=method).workplace.task(cell(method))
    train, network = whole_set(task), task.network("convnet")
    trainer = Trainer(task, network, train.labels, spec.training, stage=spec.stage)
    for number in range(3):
        alone = trainer.train(train.images, number, lambda epoch, begin: None)
        assert_equal({name: tensors[name] for name in alone.packed(number)}, alone.packed(number))
    assert len({name.split()[0] for name in tensors}) == 3


KILLED = """
import os, signal, sys
from pathlib import Path

from bench.records import resume
from test_preparation import made, pool, toy
import test_preparation

resume.SECONDS = 0.0  # a state after each piece
calls = []

def kill(calls, kill_at):
    calls.append(0)
    if len(calls) == kill_at:
        os.kill(os.getpid(), signal.SIGKILL)

test_preparation.interruptible = kill
made(Path(sys.argv[1]), toy("pool", calls, 5))
"""


def test_a_killed_process_s_artefact_is_gone_on_with_from_its_last_state(tmp_path):
    folder, again = tmp_path / "cut" / "records", []
    paths = os.pathsep.join(str(ROOT / name) for name in ("", "tests/bench", "tests/bench/running"))
    environment = os.environ | {"PYTHONPATH": paths}
    done = subprocess.run([sys.executable, "-c", KILLED, folder], cwd=ROOT, env=environment, capture_output=True, check=False)
    assert done.returncode == -signal.SIGKILL, done.stderr
    expected, _ = made(tmp_path / "whole" / "records", toy("pool", []))
    tensors, _ = made(folder, toy("pool", again))
    assert len(again) == 3 * EPOCHS - 4
    assert_equal(tensors, expected)


def test_force_leaves_an_artefact_alone(tmp_path):
    calls = []
    method = toy("pool", calls)
    spec = cell(method)
    runner(tmp_path / "records", toy=method).run([spec])
    files = artefact_of(tmp_path / "records", method, spec)
    before = [(path.stat().st_mtime_ns, path.read_bytes()) for path in files.paths]
    runner(tmp_path / "records", toy=method, force=True).run([spec])
    assert [(path.stat().st_mtime_ns, path.read_bytes()) for path in files.paths] == before
    assert len(calls) == 3 * EPOCHS
    assert next(iter(stored(spec, tmp_path / "records").preparation.values())).made, "the cell that made it still did"


def test_a_failure_is_the_cell_s_and_leaves_no_state_to_fail_from_again(tmp_path):
    def failing(task, spec, done):
        signals.note(signal.SIGTERM)  # a state is written
        try:
            yield {"0 parameter 0": torch.zeros(1)}
        finally:
            signals.reset()

    def broken(task, spec, done):
        yield {"0 parameter 0": torch.zeros(1)}
        raise DistillationError("no such luck")

    method = toy("pool", [])
    method = replace(method, preparation=replace(method.preparation, make=failing))
    with pytest.raises(signals.Interrupted):
        made(tmp_path / "records", method)
    assert list((tmp_path / "artefacts").glob("*.resume"))
    method = replace(method, preparation=replace(method.preparation, make=broken))
    [record] = runner(tmp_path / "records", toy=method).run([cell(method)])
    assert (record.status, "no such luck" in record.error) == ("failed", True)
    assert not [path for path in (tmp_path / "artefacts").iterdir() if path.is_file()]


def test_what_is_shared_by_several_ipcs_draws_from_streams_of_its_own(tmp_path):
    method = toy("pool", [], ipc=None)
    tensors, _ = made(tmp_path / "records", method)
    workplace = runner(tmp_path, toy=method).workplace
    [spec] = method.artefacts(cell(method))
    task = replace(workplace.task(cell(method)), streams=Streams(0, "tiny", None))
    trainer = Trainer(task, task.network("convnet"), whole_set(task).labels, spec.training, stage=spec.stage)
    alone = trainer.train(whole_set(task).images, 0, lambda epoch, begin: None)
    assert_equal({name: tensors[name] for name in alone.packed(0)}, alone.packed(0))


def test_a_process_waits_for_the_one_that_makes_an_artefact(tmp_path):
    calls, waits = [], []
    method = toy("pool", calls)
    files = artefact_of(tmp_path / "records", method, cell(method))
    made(tmp_path / "elsewhere" / "records", toy("pool", []))
    contents = artefact_of(tmp_path / "elsewhere" / "records", method, cell(method)).contents()

    def other_process(seconds):
        """Finish what another process makes, when this one has waited twice."""
        waits.append(seconds)
        if len(waits) == 2:
            for path in files.paths:
                path.write_bytes(contents[path.name])

    with claimed(files.folder, files.spec.hash):
        _, fact = made(tmp_path / "records", method, wait=other_process)
    assert (len(waits), calls, fact.made) == (2, [], True), "made by another process, for this cell"


# ---- the coresets ----


@pytest.mark.parametrize("name", ["herding", "kcenter", "kmeans"])
def test_a_coreset_s_network_is_that_of_training_on_the_streams_of_selection(name, tmp_path):
    method, sections = METHODS[name], {"whole": {"epochs": 2, "batch": 16}}
    spec = cell(method, **sections)
    workplace = runner(tmp_path / "records").workplace
    task, facts = prepare(workplace, workplace.task(spec))
    network = task.network("convnet")
    train, [artefact] = whole_set(task), method.artefacts(spec)
    trainer = Trainer(task, network, train.labels, artefact.training, stage="selection")
    weights = trainer.train(network.resize(train.images), 0, lambda epoch, begin: None)
    assert_equal(task.prepared["networks"], weights.packed(0))
    trained_alone = replace(task, prepared={"networks": weights.packed(0)})
    chosen, expected = (workplace.procedure(spec)(each) for each in (task, trained_alone))
    assert torch.equal(chosen.images, expected.images)
    assert [fact.made for fact in facts.values()] == [True]


def test_the_coresets_share_a_network_and_a_change_to_it_makes_another(tmp_path):
    names = ("herding", "kcenter", "kmeans")
    specs = [cell(METHODS[name], whole={"epochs": 2}) for name in names]
    digests = {artefact.hash for name, spec in zip(names, specs, strict=True) for artefact in METHODS[name].artefacts(spec)}
    assert len(digests) == 1
    records = runner(tmp_path / "records").run(specs)
    assert [next(iter(record.preparation.values())).made for record in records] == [True, False, False]
    others = [
        cell(METHODS["herding"], whole={"epochs": 3}),
        cell(METHODS["herding"], whole={"epochs": 2, "lr": 0.2}),
        cell(METHODS["herding"], whole={"epochs": 2}, network={"width": 16}),
        cell(METHODS["herding"], whole={"epochs": 2}, seed=1),
    ]
    digests |= {artefact.hash for spec in others for artefact in METHODS["herding"].artefacts(spec)}
    assert len(digests) == 5 - 1  # herding's own number of epochs counts before that of `whole`
    [same] = METHODS["herding"].artefacts(cell(METHODS["herding"], whole={"epochs": 2}, eval={"epochs": 9}))
    assert same.hash in digests


def test_two_artefacts_of_a_kind_are_refused(tmp_path):
    class Twice(Method):
        def artefacts(self, spec):
            return (*super().artefacts(spec), *super().artefacts(spec))

    method = Twice(
        **{name: getattr(toy("pool", []), name) for name in ("name", "label", "citation", "procedure", "preparation")}
    )
    with pytest.raises(ValueError, match="two artefacts of the kind 'pool'"):
        made(tmp_path / "records", method)
