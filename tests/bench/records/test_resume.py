"""Resume states: an interrupted cell goes on from where it was, and ends with the same bits as one that was not."""

from __future__ import annotations

import errno
import os
import signal
from dataclasses import replace

import pytest
import torch
from runners import runner, stored
from safetensors.torch import load_file
from tiny import cell, task

from bench.cells.task import ResumeKey
from bench.errors import UnwritableError
from bench.loops import recorder
from bench.loops.evaluation import evaluate
from bench.loops.matching import match
from bench.loops.recorder import Recorder
from bench.machine import signals
from bench.machine.signals import Interrupted
from bench.records import resume
from bench.records.resume import ResumeFile, ResumeState
from bench.running.runner import Runner
from methods import METHODS
from methods.outside.user import user_method

ITERATIONS = 5
ITERATIVE = ["dm", "kr", "sinkhorn", "emd", "dc", "dsa", "cafe"]
SMALL = {
    **{key: {"iterations": str(ITERATIONS), "real_batch": "4", "outer": "2", "inner": "2"} for key in ("dc", "dsa")},
    "cafe": {"iterations": str(ITERATIONS), "real_batch": "4", "query_batch": "2", "window": "2", "outer_limit": "3"},
    "kr": {"steps": "3"},
}


def cell_of(name: str, **match):
    method = METHODS[name]
    settings = method.resolve(SMALL.get(name, {}), profile="quick")
    return cell(method, settings, match={"iterations": ITERATIONS, "real_batch": 4, **match}, eval={"nets": 2, "epochs": 2})


def interrupt_at(monkeypatch, iteration: int) -> None:
    """Let a signal come while `iteration` is under way."""
    usual = Recorder.add

    def add(self, loss):
        usual(self, loss)
        if len(self.losses) == iteration + 1:
            signals.note(signal.SIGTERM)

    monkeypatch.setattr(recorder.Recorder, "add", add)


@pytest.fixture(autouse=True)
def _no_signal_is_left():
    yield
    signals.reset()


def run(spec, folder, **options):
    (record,) = runner(folder, **options).run([spec])
    return record


def images_of(record, folder, iteration=None) -> torch.Tensor:
    return load_file(folder / record.images_name_at(iteration))["images"]


@pytest.mark.parametrize(("name", "iteration"), [*((name, 2) for name in ITERATIVE), ("dm", 0), ("dm", ITERATIONS - 1)])
def test_an_interrupted_cell_ends_with_the_same_bits(name, iteration, tmp_path, monkeypatch):
    spec, whole, parts = cell_of(name), tmp_path / "whole", tmp_path / "parts"
    usual = run(spec, whole, checkpoints=(0, 1, 3))
    interrupt_at(monkeypatch, iteration)
    with pytest.raises(Interrupted):
        run(spec, parts, checkpoints=(0, 1, 3))
    assert [path.name for path in parts.glob("*.*") if path.is_file()] == [f"{spec.hash}.resume"]

    signals.reset()
    counted = []
    usual_add = Recorder.add
    monkeypatch.setattr(recorder.Recorder, "add", lambda self, loss: (counted.append(1), usual_add(self, loss)))
    resumed = run(spec, parts, checkpoints=(0, 1, 3))
    assert len(counted) == ITERATIONS - iteration - 1  # what was done is not done again
    assert resumed.status == "ok", resumed.error
    assert torch.equal(images_of(resumed, parts), images_of(usual, whole))
    for at, expected in zip(resumed.checkpoints, usual.checkpoints, strict=True):
        assert torch.equal(images_of(resumed, parts, at.iteration), images_of(usual, whole, at.iteration))
        assert (at.iteration, at.rms) == (expected.iteration, expected.rms)
        assert [made.values for made in at.evaluations] == [made.values for made in expected.evaluations]
    assert (resumed.loss, resumed.angle) == (usual.loss, usual.angle)
    assert (resumed.rms_start, resumed.rms_end) == (usual.rms_start, usual.rms_end)
    assert resumed.main_evaluation.values == usual.main_evaluation.values
    assert not (parts / f"{spec.hash}.resume").exists()


@pytest.mark.parametrize("optimizer", [{"optimizer": "sgd", "lr_images": 3.0, "schedule": "constant"}, {"momentum": 0.9}])
def test_the_momentum_is_part_of_the_state(optimizer, tmp_path, monkeypatch):
    spec = cell_of("dm", **optimizer)
    usual = run(spec, tmp_path / "whole")
    interrupt_at(monkeypatch, 2)
    with pytest.raises(Interrupted):
        run(spec, tmp_path / "parts")
    signals.reset()
    assert torch.equal(images_of(run(spec, tmp_path / "parts"), tmp_path / "parts"), images_of(usual, tmp_path / "whole"))


def test_seconds_and_memory_are_those_of_all_parts(tmp_path, monkeypatch):
    spec = cell_of("dm")
    interrupt_at(monkeypatch, 2)
    with pytest.raises(Interrupted):
        run(spec, tmp_path)
    file = ResumeFile(runner(tmp_path).workplace.resume_key(spec))
    state = file.read(torch.device("cpu"))
    assert state.values["spent"]["seconds"] > sum(state.values["stages"].values())
    assert state.values["spent"]["peak_memory_mib"] > 1
    slow, large = 1000.0, 1e6  # so that they show
    file.write(ResumeState(state.tensors, {**state.values, "spent": {"seconds": slow, "peak_memory_mib": large}}))
    signals.reset()
    record = run(spec, tmp_path)
    assert slow < record.seconds["total"] - record.main_evaluation.seconds < slow + 600
    assert record.peak_memory_mib == large
    for stage in ("features", "loss", "update"):
        assert record.seconds[stage] > state.values["stages"][stage] > 0
    assert len(state.values["steps"]) == 3


def test_states_are_written_on_the_way(tmp_path, monkeypatch):
    monkeypatch.setattr(resume, "SECONDS", 0.0)
    written = []
    usual = ResumeFile.write
    monkeypatch.setattr(ResumeFile, "write", lambda self, state: (written.append(state), usual(self, state)))
    run(cell_of("dm"), tmp_path)
    assert [len(state.tensors["losses"]) for state in written] == [1, 2, 3, 4, 5]
    assert not list(tmp_path.glob("*.resume"))


def test_a_state_that_does_not_fit_is_passed_over(tmp_path, monkeypatch):
    spec = cell_of("dm")
    path = tmp_path / f"{spec.hash}.resume"
    interrupt_at(monkeypatch, 2)
    with pytest.raises(Interrupted):
        run(spec, tmp_path)
    written, cpu = path.read_bytes(), torch.device("cpu")
    key = runner(tmp_path).workplace.resume_key(spec)
    assert ResumeFile(key).read(cpu) is not None
    assert ResumeFile(replace(key, owner="another cell")).read(cpu) is None
    assert ResumeFile(replace(key, code="other code")).read(cpu) is None
    for damaged in (b"", b"x", written[:100], written[: len(written) // 2], b"\xff" * 50):
        path.write_bytes(damaged)
        assert ResumeFile(key).read(cpu) is None


@pytest.mark.parametrize(("make", "kind"), [(os.mkfifo, "a FIFO"), (os.mkdir, "a folder")])
def test_a_pipe_or_a_folder_in_the_place_of_a_state_fails_its_cell_and_no_other(make, kind, tmp_path):
    spec, other = cell_of("dm"), cell(METHODS["random"], eval={"nets": 1, "epochs": 1})
    path = tmp_path / f"{spec.hash}.resume"
    make(path)
    handle = os.open(path, os.O_RDWR) if kind == "a FIFO" else None  # whoever opens it need not wait for a writer
    failed, good = runner(tmp_path).run([spec, other])
    os.close(handle) if handle is not None else None
    assert (failed.status, good.status) == ("failed", "ok")
    assert failed.error == f"UsageError: {path} is {kind}, and is not opened; valid: a regular file"
    assert path.exists()


def test_checkpoints_that_were_passed_without_being_kept_are_made_from_the_start(tmp_path, monkeypatch):
    spec = cell_of("dm")
    interrupt_at(monkeypatch, 3)
    with pytest.raises(Interrupted):
        run(spec, tmp_path)
    signals.reset()
    monkeypatch.undo()
    record = run(spec, tmp_path, checkpoints=(1,))
    assert [at.iteration for at in record.checkpoints] == [1]


def test_a_failed_cell_leaves_no_state(tmp_path, monkeypatch):
    spec = cell_of("dm")
    interrupt_at(monkeypatch, 2)
    with pytest.raises(Interrupted):
        run(spec, tmp_path)
    signals.reset()

    def fail(self, loss):
        raise RuntimeError("broken")

    monkeypatch.setattr(recorder.Recorder, "add", fail)
    assert run(spec, tmp_path).status == "failed"
    assert not list(tmp_path.glob("*.resume"))


# ---- losses with state ----

LOSS = """
import torch
from bench import StatefulLoss, by_class

class Averaged({base}):
    def __init__(self):
        {declare}
    def __call__(self, real, syn, *, generator):
        self.mean = 0.9 * self.mean + 0.1 * real.mean(1)
        return (self.mean - syn.mean(1)).square().sum(1)
"""
STATE_DICT = """
    def state_dict(self):
        return {"mean": self.mean}
    def load_state_dict(self, state):
        self.mean = state["mean"]
"""
ASSIGNED, ADDED = "self.mean = torch.zeros(())", "self.add_state('mean', torch.zeros(()))"
LOSSES = {
    "a base class": (LOSS.format(base="StatefulLoss", declare=ADDED), True),
    "state_dict": (LOSS.format(base="", declare=ASSIGNED) + STATE_DICT, True),
    "a base class without add_state": (LOSS.format(base="StatefulLoss", declare=ASSIGNED), False),
    "nothing": (LOSS.format(base="", declare=ASSIGNED), None),
}
"""By what is declared: a user's file, and whether an interrupted cell ends with the same bits; None if it begins anew."""


@pytest.mark.filterwarnings("ignore::bench.files.DataWarning")
@pytest.mark.parametrize("declared", LOSSES)
def test_a_cell_goes_on_with_the_state_that_its_loss_declares(declared, tmp_path, monkeypatch):
    path, (source, same_bits) = tmp_path / "loss.py", LOSSES[declared]
    path.write_text(source)
    method = user_method(f"{path}:Averaged")
    spec = cell(method, match={"iterations": ITERATIONS}, eval={"nets": 1, "epochs": 1})
    usual = run(spec, tmp_path / "whole", Averaged=method)
    interrupt_at(monkeypatch, 2)
    with pytest.raises(Interrupted):
        run(spec, tmp_path / "parts", Averaged=method)
    assert (tmp_path / "parts" / f"{spec.hash}.resume").exists() == (same_bits is not None)
    signals.reset()
    monkeypatch.undo()
    images = images_of(run(spec, tmp_path / "parts", Averaged=method), tmp_path / "parts")
    assert torch.equal(images, images_of(usual, tmp_path / "whole")) == (same_bits is not False)


# ---- evaluation ----


def test_networks_that_were_tested_are_not_trained_again(tmp_path):
    spec = cell(METHODS["random"], eval={"nets": 3, "epochs": 2})
    usual = run(spec, tmp_path / "whole")

    def stop_after_two(*arguments, on_network_done, **options):
        def note_and_stop(measured):
            on_network_done(measured)
            if len(measured.accuracies) == 2:
                raise Interrupted(signal.SIGTERM)

        return evaluate(*arguments, on_network_done=note_and_stop, **options)

    with pytest.raises(Interrupted):
        run(spec, tmp_path / "parts", evaluate=stop_after_two)
    expected = usual.main_evaluation.values
    assert set(expected) > {"accuracy"}
    unfinished = stored(spec, tmp_path / "parts").unfinished["convnet"]
    assert {"accuracy": unfinished.accuracies, **unfinished.metrics} == {name: two[:2] for name, two in expected.items()}
    assert stored(spec, tmp_path / "parts").evaluations == ()

    tested = []

    def count(*arguments, on_network_done, **options):
        return evaluate(*arguments, on_network_done=lambda measured: tested.append(len(measured.accuracies)), **options)

    record = run(spec, tmp_path / "parts", evaluate=count)
    assert tested == [3]
    assert record.main_evaluation.values == expected
    assert record.unfinished == {}


# ---- the file ----


def test_the_state_is_read_without_running_code(tmp_path):
    file = ResumeFile(ResumeKey(tmp_path / "x.resume", owner="a", code="b"))
    file.write(ResumeState({"images": torch.ones(2)}, {"steps": [0.5]}))
    state = file.read(torch.device("cpu"))
    assert torch.equal(state.tensors["images"], torch.ones(2))
    assert state.values == {"steps": [0.5]}
    assert sorted(path.name for path in tmp_path.iterdir()) == ["x.resume"]
    file.remove()
    file.remove()
    assert list(tmp_path.iterdir()) == []


def test_a_state_that_cannot_be_removed_ends_the_run_with_a_clear_line(tmp_path, monkeypatch):
    file = ResumeFile(ResumeKey(tmp_path / "x.resume", owner="a", code="b"))
    file.write(ResumeState({"images": torch.ones(2)}, {}))

    def denied(*_, **__):
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr("pathlib.Path.unlink", denied)
    with pytest.raises(UnwritableError, match="Permission denied"):
        file.remove()


def test_without_a_file_the_loop_runs_all_the_same():
    assert task().resume is None
    assert len(match(task()).trace.loss) == 3
    assert Runner.__dataclass_fields__["checkpoints"].default == ()
