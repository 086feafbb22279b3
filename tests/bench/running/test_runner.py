"""The runner: images are distilled once, and every further evaluation is added to the record that is there."""

from __future__ import annotations

import errno
import re
import signal
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from runners import runner, stored
from safetensors.torch import load_file
from tiny import bundle, cell, task

from bench.cells.method import Method
from bench.cells.spec import RunSpec
from bench.errors import DistillationError, is_disk_error
from bench.loops.evaluation import evaluate, with_own_lr
from bench.loops.images import Batches, initial_images
from bench.loops.metrics import METRICS
from bench.machine import signals
from bench.machine.compute import Compute
from bench.records.locks import claimed
from bench.records.record import RunRecord
from bench.records.storage import distilled, finished, write_record
from bench.running import remote
from bench.running.observer import Done, Silent
from bench.types import SyntheticSet
from methods import METHODS
from methods.losses.dm import MeanMatching
from methods.procedures import cafe_loop


def dm_cell(*networks: str, **sections) -> RunSpec:
    return cell(METHODS["dm"], eval={"networks": networks or ("convnet",), "nets": 2, "epochs": 4, **sections})


def failing(message: str = "distilled again") -> dict[str, Method]:
    """Return the method `dm` as one that cannot distill."""

    def procedure(task):
        raise DistillationError(message)

    return {"dm": replace(METHODS["dm"], procedure=procedure)}


def run(spec: RunSpec, folder, **options) -> RunRecord:
    """Return the record that running one cell gives."""
    (record,) = runner(folder, **options).run([spec])
    return record


def accuracies(record: RunRecord) -> dict[str, tuple[float, ...]]:
    return {evaluation.network: evaluation.accuracies for evaluation in record.evaluations}


def failing_in(network: str):
    """Return an evaluation that fails for one network."""

    def evaluate_or_fail(task, syn, settings, name, **options):
        if name == network:
            raise DistillationError(f"{name} diverged")
        return evaluate(task, syn, settings, name, **options)

    return evaluate_or_fail


def distilled_by(name: str, spec: RunSpec) -> SyntheticSet:
    """Return the images that a method distills of a cell of the tiny dataset, without a runner."""
    return runner(Path()).workplace.procedure(spec.model_copy(update={"method": name}))(replace(task(), spec=spec))


def test_a_cell_leaves_a_record_and_its_images(tmp_path):
    spec = dm_cell("convnet", "mlp")
    record = run(spec, tmp_path)
    assert record.status == "ok", record.error
    assert stored(spec, tmp_path).model_dump() == record.model_dump()
    assert (record.method.label, record.dataset_label) == ("DM", "Tiny images")
    assert len(record.loss) == spec.protocol.match.iterations
    assert list(accuracies(record)) == ["convnet", "mlp"]
    assert record.main_evaluation.network == "convnet"
    distilling = sum(record.seconds[stage] for stage in ("features", "loss", "update"))
    assert record.seconds["total"] > distilling + sum(evaluation.seconds for evaluation in record.evaluations)
    assert load_file(tmp_path / record.images_name)["images"].shape == (6, 1, 8, 8)
    assert finished(tmp_path, spec) is not None


def test_the_evaluations_are_those_of_the_images_that_the_method_distills(tmp_path):
    spec = dm_cell("convnet", "mlp")
    record = run(spec, tmp_path)
    given, syn = replace(task(), spec=spec), distilled_by("dm", spec)
    assert torch.equal(load_file(tmp_path / record.images_name)["images"], syn.images)
    expected = {name: evaluate(given, syn, spec.protocol.eval, name).accuracies for name in ("convnet", "mlp")}
    assert accuracies(record) == expected


def test_another_network_is_evaluated_on_the_images_on_disk(tmp_path):
    first = run(dm_cell("convnet"), tmp_path)
    more = dm_cell("mlp", "convnet", "lenet")
    assert finished(tmp_path, more) is None
    evaluated = []

    def evaluate_and_note(task, syn, settings, name, **options):
        evaluated.append((name, syn))
        return evaluate(task, syn, settings, name, **options)

    record = run(more, tmp_path, evaluate=evaluate_and_note, **failing())
    assert record.status == "ok", record.error
    assert [name for name, _ in evaluated] == ["mlp", "lenet"]
    distilled_set = distilled_by("dm", more)
    for _, syn in evaluated:
        assert torch.equal(syn.images, distilled_set.images)
        assert torch.equal(syn.labels, distilled_set.labels)
    assert len(record.evaluations) == 3
    assert record.evaluation("convnet") == first.evaluations[0]
    assert list(accuracies(record)) == ["mlp", "convnet", "lenet"]  # in the order in which they are asked for
    assert record.spec.networks == ("mlp", "convnet", "lenet")
    assert (record.loss, record.hash) == (first.loss, first.hash)
    added = sum(evaluation.seconds for evaluation in record.evaluations if evaluation.network != "convnet")
    assert record.seconds["total"] == pytest.approx(first.seconds["total"] + added)
    assert stored(more, tmp_path).model_dump() == record.model_dump()
    # From the images on disk each network learns what it learns right after distilling.
    assert accuracies(record) == accuracies(run(more, tmp_path / "anew"))
    # Asked for less, the cell has all it needs.
    assert finished(tmp_path, dm_cell("mlp")) is not None
    assert finished(tmp_path, more) is not None


def test_the_whole_training_set_has_no_images_on_disk_and_is_evaluated_again_all_the_same(tmp_path):
    short = {"nets": 1, "epochs": 1}
    run(cell(METHODS["whole"], whole={"networks": ("convnet",), **short}), tmp_path)
    more = cell(METHODS["whole"], whole={"networks": ("convnet", "mlp"), **short})
    record = run(more, tmp_path)
    assert list(accuracies(record)) == ["convnet", "mlp"]
    assert not record.has_images
    assert list(tmp_path.glob("*.safetensors")) == []


def test_a_network_that_fails_leaves_the_evaluations_by_the_others(tmp_path):
    spec = dm_cell("convnet", "mlp", "lenet")
    record = run(spec, tmp_path, evaluate=failing_in("mlp"))
    assert (record.status, record.error) == ("failed", "DistillationError: mlp diverged")
    assert "fail" in record.details["traceback"]
    assert list(accuracies(stored(spec, tmp_path))) == ["convnet", "lenet"]
    assert stored(spec, tmp_path).status == "ok"
    assert stored(spec, tmp_path).failed_evaluations == {"mlp": "DistillationError: mlp diverged"}
    assert finished(tmp_path, spec) is None

    # The next run goes on from there.
    record = run(spec, tmp_path, **failing())
    assert list(accuracies(record)) == ["convnet", "mlp", "lenet"]
    assert stored(spec, tmp_path).failed_evaluations == {}


def test_a_cell_without_any_evaluation_is_a_failed_one_but_is_not_distilled_again(tmp_path):
    spec = dm_cell("convnet")
    run(spec, tmp_path, evaluate=failing_in("convnet"))
    assert (stored(spec, tmp_path).status, stored(spec, tmp_path).error) == ("failed", "DistillationError: convnet diverged")
    assert distilled(tmp_path, spec) is not None
    assert finished(tmp_path, spec) is None
    assert run(spec, tmp_path, **failing()).status == stored(spec, tmp_path).status == "ok"


def test_a_cell_that_is_interrupted_while_it_is_evaluated_is_not_distilled_again(tmp_path):
    spec = dm_cell("convnet")

    def interrupt(*arguments, **options):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(spec, tmp_path, evaluate=interrupt)
    assert run(spec, tmp_path, **failing()).status == "ok"


def test_a_cell_whose_images_were_not_kept_keeps_its_networks(tmp_path):
    spec = dm_cell("convnet", "mlp")
    record = run(spec, tmp_path)
    write_record(tmp_path, record.model_copy(update={"images": {}}))
    (tmp_path / record.images_name).unlink()
    again = run(dm_cell("lenet"), tmp_path)
    assert set(accuracies(again)) == {"convnet", "mlp", "lenet"}
    assert again.has_images


def test_an_evaluation_says_where_and_by_which_code_it_was_made(tmp_path):
    (evaluation,) = run(dm_cell("convnet"), tmp_path).evaluations
    assert evaluation.hardware["device"] == "cpu"
    assert evaluation.versions["torch"]
    assert evaluation.code["sources"]


def files(folder) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


def test_a_forced_run_that_fails_loses_nothing(tmp_path):
    spec = dm_cell("convnet", "mlp")
    run(spec, tmp_path)
    before = files(tmp_path)
    assert run(spec, tmp_path, force=True, **failing()).error == "DistillationError: distilled again"
    assert files(tmp_path) == before
    assert run(spec, tmp_path, force=True, evaluate=failing_in("convnet")).error == "DistillationError: convnet diverged"
    assert files(tmp_path) == before


def test_a_forced_run_distills_again(tmp_path):
    spec = dm_cell("convnet")
    first = run(spec, tmp_path)
    assert run(spec, tmp_path, force=True, **failing()).status == "failed"
    again = run(spec, tmp_path, force=True)
    assert accuracies(again) == accuracies(first)
    assert again.seconds != first.seconds


def test_a_forced_run_makes_all_evaluations_again(tmp_path):
    run(dm_cell("convnet", "mlp"), tmp_path)
    assert list(accuracies(run(dm_cell("mlp"), tmp_path, force=True))) == ["mlp", "convnet"]


@pytest.mark.parametrize("damage", [Path.unlink, lambda path: path.write_bytes(b"other")], ids=["gone", "damaged"])
def test_results_whose_images_are_gone_or_damaged_are_kept_until_there_are_new_ones(damage, tmp_path):
    record = run(dm_cell("convnet", "mlp"), tmp_path)
    before = stored(record.spec, tmp_path)
    damage(tmp_path / record.images_name)
    assert run(dm_cell("convnet"), tmp_path, **failing()).status == "failed"
    assert stored(record.spec, tmp_path) == before
    assert run(dm_cell("convnet"), tmp_path, evaluate=failing_in("convnet")).status == "failed"
    assert stored(record.spec, tmp_path) == before
    again = run(dm_cell("convnet"), tmp_path)
    assert accuracies(stored(record.spec, tmp_path)) == accuracies(again) == accuracies(record)
    assert (tmp_path / record.images_name).is_file()


@pytest.mark.parametrize("name", ["dm", "whole"])
def test_what_a_worker_without_the_folder_adds_is_kept_and_its_failure_replaces_nothing(name, tmp_path):
    training = {"nets": 1, "epochs": 1}
    first, more = (
        cell(METHODS[name], **{section: {"networks": networks, **training} for section in ("eval", "whole")})
        for networks in (("convnet",), ("convnet", "mlp"))
    )
    ours, theirs = tmp_path / "ours", tmp_path / "theirs"
    before = run(first, ours)
    theirs.mkdir()
    for file, content in remote.files_of(ours, more).items():
        (theirs / file).write_bytes(content)
    record = run(more, theirs)
    sent = remote.Outcome(Done(record=record).model_dump_json(), remote.written(theirs, more.hash))
    assert remote.store(ours, more, sent) == Done(record=record)
    assert list(accuracies(stored(more, ours))) == list(accuracies(record)) == ["convnet", "mlp"]

    lost = before.model_copy(update={"status": "failed", "error": "no such luck", "evaluations": ()})
    write_record(theirs, lost)
    sent = remote.Outcome(
        Done(record=lost).model_dump_json(), {f"{more.hash}.json": (theirs / f"{more.hash}.json").read_bytes()}
    )
    assert remote.store(ours, more, sent).record.status == "failed"
    assert list(accuracies(stored(more, ours))) == ["convnet", "mlp"]


def test_images_of_another_cell_are_not_evaluated_but_made_again(tmp_path):
    spec, other = dm_cell("convnet"), cell(METHODS["dm"], seed=1)
    run(spec, tmp_path)
    run(other, tmp_path)
    path = tmp_path / f"{spec.hash}.safetensors"
    before = load_file(path)["images"]
    (tmp_path / f"{other.hash}.safetensors").replace(path)
    assert not torch.equal(load_file(path)["images"], before)
    assert finished(tmp_path, spec) is None
    record = run(dm_cell("convnet", "mlp"), tmp_path)
    assert [evaluation.network for evaluation in record.evaluations] == ["convnet", "mlp"]
    assert torch.equal(load_file(path)["images"], before)


def test_a_cell_whose_images_are_gone_is_distilled_again(tmp_path):
    spec = dm_cell("convnet")
    record = run(spec, tmp_path)
    (tmp_path / record.images_name).unlink()
    assert finished(tmp_path, spec) is None
    assert run(spec, tmp_path).status == "ok"
    assert (tmp_path / record.images_name).is_file()


def test_the_grid_goes_on_after_a_failure(tmp_path):
    specs = [dm_cell("convnet"), cell(METHODS["random"])]
    cells = runner(tmp_path, **failing("no"))
    records = cells.run(specs)
    assert [record.status for record in records] == ["failed", "ok"]
    assert [record.hash for record in cells.observer.records] == [spec.hash for spec in specs]
    assert stored(specs[0], tmp_path).error == "DistillationError: no"


def test_a_loss_that_exits_fails_its_cell_and_no_other(tmp_path, monkeypatch):
    calls, usual = [], MeanMatching.__call__

    def exits(self, real, syn, **options):
        calls.append(len(calls))
        if len(calls) == 2:
            sys.exit(0)
        return usual(self, real, syn, **options)

    monkeypatch.setattr(MeanMatching, "__call__", exits)
    records = runner(tmp_path).run([dm_cell("convnet"), cell(METHODS["random"])])
    assert [(record.status, record.error) for record in records] == [("failed", "SystemExit: 0"), ("ok", "")]
    assert calls == [0, 1]


def test_an_evaluation_that_exits_leaves_the_others(tmp_path):
    def exits(task, syn, settings, name, **options):
        if name == "mlp":
            sys.exit(0)
        return evaluate(task, syn, settings, name, **options)

    record = run(dm_cell("mlp", "convnet"), tmp_path, evaluate=exits)
    assert (record.status, record.error) == ("failed", "SystemExit: 0")
    assert list(accuracies(record)) == ["convnet"]


def test_the_synthetic_set_may_be_of_any_size(tmp_path):
    def one_image_of_each_class(task):
        return SyntheticSet(torch.rand(3, 1, 8, 8), torch.arange(3))

    method = Method(name="own", label="Own", citation="none", procedure=one_image_of_each_class)
    record = run(cell(method), tmp_path, own=method)
    assert record.status == "ok", record.error
    assert record.loss == ()
    assert record.seconds_per_iteration is None


# ---- checkpoints ----


def test_checkpoints_are_the_images_on_the_way_and_are_evaluated_like_the_last(tmp_path):
    spec = dm_cell("convnet", "mlp")
    record = run(spec, tmp_path, checkpoints=(0, 1, 2, 3, 99))  # of three iterations: the third is the last
    assert [at.iteration for at in record.checkpoints] == [0, 1, 2]
    assert stored(spec, tmp_path).model_dump() == record.model_dump()
    assert record.hash == spec.hash  # they are outside of it
    without = run(spec, tmp_path / "without")
    assert accuracies(record) == accuracies(without)
    assert without.checkpoints == ()

    given = replace(task(), spec=spec)
    start = distilled_by("random", spec).images
    for at in record.checkpoints:
        images = load_file(tmp_path / record.images_name_at(at.iteration))["images"]
        assert images.shape == (6, 1, 8, 8)
        assert torch.equal(images, start) == (at.iteration == 0)
        assert at.rms == pytest.approx(float(images.square().mean().sqrt()))
        syn = SyntheticSet(images, torch.tensor([0, 0, 1, 1, 2, 2]))
        for name, evaluation in zip(("convnet", "mlp"), at.evaluations, strict=True):
            assert evaluation.accuracies == evaluate(given, syn, spec.protocol.eval, name).accuracies
    seconds = [at.seconds for at in record.checkpoints]
    assert seconds[0] == 0
    assert seconds == sorted(seconds)
    assert seconds[-1] < sum(record.seconds[stage] for stage in ("features", "loss", "update"))


def test_under_a_constant_rate_a_shorter_cell_is_a_checkpoint_of_a_longer_one(tmp_path):
    constant = {"schedule": "constant", "iterations": 4}
    long = run(cell(METHODS["kr"], match=constant), tmp_path, checkpoints=(2,))
    short = run(cell(METHODS["kr"], match=constant | {"iterations": 2}), tmp_path)
    at, end = (load_file(tmp_path / name)["images"] for name in (long.images_name_at(2), short.images_name))
    assert torch.equal(at, end)
    assert long.checkpoints[0].evaluations[0].accuracies == short.main_evaluation.accuracies


def test_a_cell_without_the_checkpoints_that_are_asked_for_is_distilled_again_to_the_same_images(tmp_path):
    spec = dm_cell("convnet", "mlp")
    first = run(spec, tmp_path)
    assert finished(tmp_path, spec, (3, 99)) is not None  # it has no such iterations on its way
    assert finished(tmp_path, spec, (1,)) is None
    record = run(dm_cell("convnet"), tmp_path, checkpoints=(1,))
    assert accuracies(record) == accuracies(first)  # the network that was not asked for this time is kept
    assert finished(tmp_path, spec, (1,)) is not None
    assert finished(tmp_path, spec) is not None

    both = run(dm_cell("convnet"), tmp_path, checkpoints=(2,))  # the one that is there is not lost
    assert [at.iteration for at in both.checkpoints] == [1, 2]
    assert both.checkpoints[0].evaluations[0].accuracies == record.checkpoints[0].evaluations[0].accuracies

    more = run(dm_cell("lenet"), tmp_path, checkpoints=(1,), **failing())
    assert more.status == "ok", more.error
    assert {evaluation.network for evaluation in more.checkpoints[0].evaluations} == {"convnet", "mlp", "lenet"}


def test_methods_that_do_not_iterate_have_no_checkpoints(tmp_path):
    spec = cell(METHODS["random"], eval={"nets": 1, "epochs": 1})
    assert run(spec, tmp_path, checkpoints=(0, 1)).checkpoints == ()
    assert finished(tmp_path, spec, (0, 1)) is not None


@pytest.mark.parametrize("name", ["dc", "dsa", "cafe"])
def test_methods_with_a_loop_of_their_own_have_checkpoints_too(name, tmp_path):
    method = METHODS[name]
    short = {"iterations": "2", "real_batch": "4"} | ({"query_batch": "2", "outer_limit": "2"} if name == "cafe" else {})
    spec = cell(method, method.resolve(short, profile="quick"), eval={"nets": 1, "epochs": 1})
    record = run(spec, tmp_path, checkpoints=(0, 1))
    assert record.status == "ok", record.error
    assert [at.iteration for at in record.checkpoints] == [0, 1]
    assert record.rms_start > 0
    assert record.rms_end > 0
    assert record.angle > 0


def test_a_checkpoint_whose_evaluation_fails_leaves_the_result(tmp_path):
    spec, calls = dm_cell("convnet"), []

    def fail_the_second(task, syn, settings, name, **options):
        calls.append(name)
        if len(calls) == 2:
            raise DistillationError("diverged")
        return evaluate(task, syn, settings, name, **options)

    record = run(spec, tmp_path, checkpoints=(1, 2), evaluate=fail_the_second)
    assert (record.status, record.error) == ("failed", "DistillationError: diverged")
    kept = stored(spec, tmp_path)
    assert kept.status == "ok"
    assert list(kept.failed_evaluations) == ["convnet at iteration 1"]
    assert [len(at.evaluations) for at in kept.checkpoints] == [0, 1]
    again = run(spec, tmp_path, checkpoints=(1, 2), **failing())
    assert again.status == "ok"
    assert again.failed_evaluations == {}


# ---- numbers that no result can have ----


def test_images_that_diverge_finitely_carry_a_warning(tmp_path):
    spec = cell(
        METHODS["dm"],
        match={"iterations": 20, "optimizer": "sgd", "schedule": "constant", "lr_images": 1e6, "rate": None},
        eval={"nets": 1, "epochs": 1},
    )
    record = run(spec, tmp_path)
    assert record.status == "ok"
    assert any(line.startswith("the images diverged: their root mean square grew from ") for line in record.warnings)
    assert stored(spec, tmp_path).warnings == record.warnings
    assert run(dm_cell("convnet"), tmp_path).warnings == ()


def test_a_loss_that_diverges_finitely_carries_a_warning(tmp_path, monkeypatch):
    calls, usual = [], MeanMatching.__call__

    def grows(self, real, syn, **options):
        calls.append(len(calls))
        return usual(self, real, syn, **options) * (1 if len(calls) <= 15 else 1e3)

    monkeypatch.setattr(MeanMatching, "__call__", grows)
    record = run(cell(METHODS["dm"], match={"iterations": 20}, eval={"nets": 1, "epochs": 1}), tmp_path)
    first, last = sum(record.loss[:2]) / 2, sum(record.loss[-2:]) / 2
    growth = f"it grew from {first:.3g} in the first tenth of the iterations to {last:.3g} in the last"
    assert record.warnings == (f"the loss diverged: {growth}",)


def test_a_record_says_where_the_images_are_not_the_published_ones(tmp_path):
    spec = dm_cell("convnet")
    for published, warned in ((None, 0), (True, 0), (False, 1)):
        record = run(spec, tmp_path / str(published), data=replace(bundle(), published=published))
        assert record.published_images is published
        warning = "the images are not the published ones of tiny; results cannot be compared with published numbers"
        assert record.warnings == (warning,) * warned


def test_an_image_that_is_no_number_ends_the_cell_at_that_step_and_names_its_class(tmp_path, monkeypatch):
    class Spoils(torch.autograd.Function):
        """Hands features on, and spoils the gradient of one class."""

        @staticmethod
        def forward(ctx, features):
            return features.clone()

        @staticmethod
        def backward(ctx, gradient):
            gradient = gradient.clone()
            gradient[1] = float("nan")
            return gradient

    calls, usual = [], MeanMatching.__call__

    def spoils_the_third(self, real, syn, **options):
        calls.append(len(calls))
        return usual(self, real, Spoils.apply(syn) if len(calls) == 3 else syn, **options)

    monkeypatch.setattr(MeanMatching, "__call__", spoils_the_third)
    record = run(cell(METHODS["dm"], match={"iterations": 9}), tmp_path)
    assert record.status == "failed"
    assert f"an image of class {bundle().classes[1]!r} is no finite number after iteration 2 of seed 0" in record.error
    assert calls == [0, 1, 2]


@pytest.mark.parametrize("name", ["dm", "kr", "sinkhorn", "emd", "dsa"])
def test_a_loss_that_is_no_number_ends_the_cell_at_that_step_and_names_its_class(name, tmp_path, monkeypatch):
    usual, third = Batches.real_by_size, 2

    def spoils_the_third(self, step, draws):
        [group] = groups = usual(self, step, draws)
        if step == third:
            group.real[1, 0] = float("nan")
        return groups

    monkeypatch.setattr(Batches, "real_by_size", spoils_the_third)
    settings = METHODS[name].resolve({"iterations": "9"} if name == "dsa" else {}, profile="quick")
    record = run(cell(METHODS[name], settings), tmp_path)
    assert record.status == "failed"
    assert f"the loss of class {bundle().classes[1]!r} is nan at iteration {third} of seed 0" in record.error


def test_a_loss_of_all_classes_together_that_is_no_number_names_its_step(tmp_path, monkeypatch):
    monkeypatch.setattr(cafe_loop, "alignment", lambda real, syn, weights: syn[0].sum() * float("inf"))
    record = run(cell(METHODS["cafe"]), tmp_path)
    assert record.status == "failed"
    assert re.search("the loss of all classes together is (nan|-?inf) at iteration 0 of seed 0", record.error)


def test_what_a_loss_reports_says_at_which_step(tmp_path):
    settings = METHODS["emd"].resolve({"max_iterations": "1"}, profile="quick")
    record = run(cell(METHODS["emd"], settings, match={"real_batch": 6}), tmp_path)
    assert record.status == "failed"
    assert "did not converge" in record.error
    assert "at iteration 0 of seed 0" in record.error


def test_where_nothing_can_be_written_the_grid_ends_and_nothing_is_half_written(tmp_path, monkeypatch):
    def full(path, content):
        path.touch()
        raise OSError(errno.ENOSPC, "No space left on device", str(path))

    finished_before = dm_cell("convnet", lr=0.5)
    run(finished_before, tmp_path)
    before = sorted(path.name for path in tmp_path.iterdir())
    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(OSError, match="No space left"):
        runner(tmp_path).run([dm_cell("convnet"), cell(METHODS["random"])])
    assert sorted(path.name for path in tmp_path.iterdir()) == before
    monkeypatch.undo()
    assert [record.status for record in runner(tmp_path).run([dm_cell("convnet"), cell(METHODS["random"])])] == ["ok", "ok"]


@pytest.mark.parametrize("number", [errno.EACCES, errno.EPERM, errno.EIO, errno.ESTALE])
def test_a_folder_that_can_no_longer_be_written_to_ends_the_grid_as_a_full_disk_does(number, tmp_path, monkeypatch):
    def refuse(**options):
        raise OSError(number, "no", str(options["dir"]))

    monkeypatch.setattr(tempfile, "mkstemp", refuse)
    with pytest.raises(OSError, match="no") as error:
        runner(tmp_path).run([dm_cell("convnet"), cell(METHODS["random"])])
    assert is_disk_error(error.value)
    assert error.value.filename == str(tmp_path / f"{dm_cell('convnet').hash}.safetensors")


def test_what_a_loss_may_not_read_ends_its_cell_only(tmp_path, monkeypatch):
    def refuse(self, real, syn, **options):
        raise PermissionError(errno.EACCES, "Permission denied", "its own file")

    monkeypatch.setattr(MeanMatching, "__call__", refuse)
    records = runner(tmp_path).run([dm_cell("convnet"), cell(METHODS["random"])])
    assert [record.status for record in records] == ["failed", "ok"]


def test_where_memory_is_too_small_the_cell_goes_on_with_smaller_chunks_and_the_record_says_so(tmp_path, monkeypatch):
    usual, sizes = Compute.features, []

    def features_in_little_memory(self, *arguments, **options):
        sizes.append(self.chunk_bytes)
        if self.chunk_bytes is None or self.chunk_bytes > 2**21:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return usual(self, *arguments, **options)

    expected = run(dm_cell("convnet"), tmp_path / "usual")
    monkeypatch.setattr(Compute, "features", features_in_little_memory)
    record = run(dm_cell("convnet"), tmp_path)
    assert record.status == "ok", record.error
    assert sizes[:3] == [None, 2**22, 2**21]
    assert record.details["chunk_bytes"] == 2**21
    assert record.loss == pytest.approx(expected.loss, rel=1e-5)
    monkeypatch.setattr(Compute, "with_smaller_chunks", lambda self: None)
    assert run(dm_cell("mlp"), tmp_path, force=True).error == "OutOfMemoryError: CUDA out of memory"


# ---- metrics, and the learning rate of a set ----


def test_an_evaluation_that_is_interrupted_and_goes_on_has_all_metrics(tmp_path):
    spec = dm_cell("convnet", nets=3)
    whole = run(spec, tmp_path / "whole").main_evaluation

    def interrupted(task, syn, settings, name, *, on_network_done, **options):
        def stop_after_the_first(measured):
            on_network_done(measured)
            signals.note(signal.SIGTERM)

        return evaluate(task, syn, settings, name, on_network_done=stop_after_the_first, **options)

    with pytest.raises(signals.Interrupted):
        run(spec, tmp_path, evaluate=interrupted)
    signals.reset()
    assert {len(values) for values in stored(spec, tmp_path).unfinished["convnet"].metrics.values()} == {1}
    earlier = []

    def noting(*arguments, **options):
        earlier.append(options["earlier"])
        return evaluate(*arguments, **options)

    record = run(spec, tmp_path, evaluate=noting, **failing())
    assert [len(measured.accuracies) for measured in earlier] == [1]  # the first network is not trained again
    assert record.main_evaluation.values == whole.values
    assert {name: len(values) for name, values in whole.values.items()} == dict.fromkeys(("accuracy", *METRICS), 3)
    assert stored(spec, tmp_path).unfinished == {}


def test_the_learning_rate_that_images_carry_is_recorded_and_used_if_it_is_asked_for_also_later(tmp_path):
    def with_rate(task):
        return replace(initial_images(task), lr=0.5)

    own = {"own": Method(name="own", label="Own", citation="none", procedure=with_rate, learns_lr=True)}
    rates = []

    def noting(task, syn, settings, name, **options):
        rates.append(with_own_lr(settings, syn).lr)
        return evaluate(task, syn, settings, name, **options)

    first, more = (cell(own["own"], eval={"lr": "own", "networks": names}) for names in (("mlp",), ("mlp", "convnet")))
    assert run(first, tmp_path, evaluate=noting, **own).lr == 0.5
    record = run(more, tmp_path, evaluate=noting, **own)  # from the images on disk
    assert record.status == "ok", record.error
    assert rates == [0.5, 0.5]
    fixed = run(cell(own["own"], eval={"lr": 0.5, "networks": ("mlp", "convnet")}), tmp_path, evaluate=noting, **own)
    assert accuracies(fixed) == accuracies(record)


# ---- several processes ----


def test_a_cell_that_another_process_has_comes_last_and_what_it_finished_is_not_run_again(tmp_path):
    first, second = dm_cell("convnet"), cell(METHODS["random"])
    asked, lock = [], claimed(tmp_path, first.hash)
    assert lock.__enter__()

    class OtherProcess(Silent):
        """Finishes its cell while the runner waits."""

        def waiting(self, specs):
            asked.append([spec.hash for spec in specs])
            run(first, tmp_path / "other")
            for path in (tmp_path / "other").glob(f"{first.hash}*"):
                path.replace(tmp_path / path.name)
            lock.__exit__(None, None, None)

    records = runner(tmp_path, observer=OtherProcess(), **failing()).run([first, second])
    assert [record.spec.method for record in records] == ["random", "dm"]
    assert [record.status for record in records] == ["ok", "ok"]
    assert asked == [[first.hash]]
