"""What a run writes of each cell: its record and its images, as scripts read them."""

import re

import numpy as np
import pytest
import torch
from outputs import MATCHING, OWN_LOOP, SELECTION, SMALL, WHOLE, read_csv
from safetensors.torch import load_file

from bench.cells.protocol import STEP_SIZES
from bench.loops.metrics import METRICS
from bench.records.record import SCHEMA_VERSION
from datasets import DATASETS
from methods import METHODS


def test_a_run_ends_with_status_0_and_says_where_the_report_is(grid):
    assert grid.status == 0, grid.stderr
    assert str(grid.report / "index.html") in grid.stdout


def test_progress_is_plain_lines_where_there_is_no_terminal(grid):
    assert "\x1b" not in grid.stderr
    assert "\r" not in grid.stderr
    assert "Traceback" not in grid.stderr
    for name in METHODS:
        assert any(name in line for line in grid.stderr.splitlines())


def test_there_is_one_good_record_a_cell(grid):
    cells = {(r["spec"]["method"], r["spec"]["ipc"], r["spec"]["seed"]) for r in grid.records}
    expected = {(name, ipc, seed) for name in SMALL for ipc in (1, 2) for seed in (0, 1)}
    # The whole training set has no IPC: one cell a seed.
    assert cells == expected | {(name, None, seed) for name in WHOLE for seed in (0, 1)}
    assert len(grid.records) == len(cells)
    assert {record["status"] for record in grid.records} == {"ok"}


def test_a_record_is_named_by_its_hash_and_its_images_lie_beside_it(grid):
    names = {path.name for path in (grid.out / "records").iterdir() if path.name != ".locks"}
    expected = set()
    for record in grid.records:
        assert re.fullmatch(r"[0-9a-f]{16,}", record["hash"])
        expected.add(f"{record['hash']}.json")
        assert bool(record["images"]) == (record["spec"]["method"] not in WHOLE)  # whose images are the training set's
        if record["images"]:
            expected.add(f"{record['hash']}.safetensors")
    assert names == expected


def test_images_are_ipc_a_class_with_their_labels(grid):
    for record in grid.records:
        ipc = record["spec"]["ipc"]
        if ipc is None:
            continue
        tensors = load_file(grid.out / "records" / f"{record['hash']}.safetensors")
        assert tensors["images"].shape == (10 * ipc, 1, 8, 8)
        assert tensors["images"].dtype == torch.float32
        assert tensors["images"].isfinite().all()
        assert tensors["labels"].bincount().tolist() == [ipc] * 10


def test_selected_images_are_real_ones_of_their_class(grid):
    train = DATASETS["digits"].load(grid.out).train
    real = {(image.tobytes(), label) for image, label in zip(train.images.numpy(), train.labels.tolist(), strict=True)}
    source = DATASETS["digits"]
    for record in grid.records:
        if record["spec"]["method"] in SELECTION:
            tensors = load_file(grid.out / "records" / f"{record['hash']}.safetensors")
            pixels = ((tensors["images"] * source.std[0] + source.mean[0]) * 255).round().to(torch.uint8).numpy()
            assert all(pair in real for pair in zip(map(np.ndarray.tobytes, pixels), tensors["labels"].tolist(), strict=True))


def test_a_record_has_what_the_issue_lists(grid):
    for record in grid.records:
        spec, method = record["spec"], record["spec"]["method"]
        assert spec["dataset"] == "digits"
        assert spec["protocol"]["profile"] == "quick"
        assert record["schema_version"] == SCHEMA_VERSION
        assert record["dataset_label"] == "Digits"
        about = METHODS[method]
        facts = {"label": about.label, "citation": about.citation, "order": about.order, "color": about.color}
        assert record["method"] == facts | {"spelling": about.spelling}
        (evaluation,) = record["evaluations"]
        assert evaluation["network"] == "convnet"
        assert len(evaluation["accuracies"]) == 2
        assert all(0 <= accuracy <= 100 for accuracy in evaluation["accuracies"])
        assert list(evaluation["metrics"]) == list(METRICS)
        assert all(len(values) == 2 for values in evaluation["metrics"].values())
        assert 0 < evaluation["seconds"] < record["seconds"]["total"]
        assert record["peak_memory_mib"] >= evaluation["peak_memory_mib"] > 10  # torch alone takes that much
        assert spec["protocol"]["network"]["depth"] == 2  # a shallower one for 8x8 images
        facts = evaluation["facts"]
        assert (facts["label"], facts["width"], facts["depth"], facts["resized_to"]) == ("ConvNet-2", 8, 2, None)
        assert {"python", "torch", "numpy", "geomloss", "pot"} <= set(record["versions"])
        assert record["versions"]["torch"].split("+")[0] == torch.__version__.split("+")[0]
        assert {"cpu", "cores", "device", "threads"} <= set(record["hardware"])
        assert record["code"]["sources"]
        assert record["error"] == ""
        if method in (*MATCHING, *OWN_LOOP):
            settings = spec["protocol"]["match"] if method in MATCHING else spec["settings"]
            assert settings["iterations"] == len(record["loss"]) == 2
            assert settings["real_batch"] == (4 if method in MATCHING else about.presets["quick"]["real_batch"])
            assert all(record["seconds"][stage] >= 0 for stage in ("features", "loss", "update"))
            assert record["seconds_per_iteration"] > 0
        else:
            assert record["loss"] == []
            assert record["seconds_per_iteration"] is None
        if method == "kr":
            kr = {"hidden": 128, "clip": 0.01, "steps": 2, "critic_lr": 1e-3, "critic_optimizer": "adam"}
            assert {name: spec["settings"][name] for name in kr} == kr
        if method in MATCHING:
            step = {"optimizer": "angular", "rate": STEP_SIZES["rate"], "lr_images": None, "schedule": "cosine"}
            assert {name: spec["protocol"]["match"][name] for name in step} == step
            assert record["rms_start"] == pytest.approx(record["rms_end"], rel=1e-5)
            assert record["angle"] > 0


def test_seeds_give_other_images_and_methods_of_a_seed_start_alike(grid):
    images, from_real = {}, set()
    for record in grid.records:
        spec = record["spec"]
        if spec["ipc"] == 1:
            tensors = load_file(grid.out / "records" / f"{record['hash']}.safetensors")
            images[spec["method"], spec["seed"]] = tensors["images"]
            loop = spec["protocol"]["match"] or spec["settings"]
            if loop.get("start") == "real":
                from_real.add(spec["method"])
    assert from_real >= {*MATCHING, "dsa"}  # dc and cafe start from noise
    for name in SMALL:
        assert not torch.equal(images[name, 0], images[name, 1])
    for name in from_real:
        moved = (images[name, 0] - images["random", 0]).abs().max()
        assert moved > 0  # two steps were taken
        away = (images[name, 0] - images["random", 1]).abs().mean()
        assert (images[name, 0] - images["random", 0]).abs().mean() < away  # and they started from this seed's images


def test_a_run_that_cannot_remove_a_file_does_the_rest_and_ends_with_status_1(main, tiny, tmp_path):
    arguments = [*tiny, "--ipc=1", "--out", tmp_path / "out", "--methods"]
    assert main(*arguments, "random", report="none")[0] == 0
    # A name that only a cut-off write has, and that no file has here.
    (tmp_path / "out" / "records" / ".0123456789abcdef.json.x.part").mkdir()
    for run in (1, 0):
        status, stdout, stderr = main(*arguments, "random,dm", report="none")
        assert status == 1
        assert f"{run} cells run, {2 - run} there before, 0 failed" in stdout
        [line] = [line.removeprefix("not repaired: ") for line in stdout.splitlines() if line.startswith("not repaired: ")]
        assert line in stderr
    assert main(*arguments, "random,dm", "--dry-run")[0] == 0  # it repairs nothing


def test_a_record_under_another_name_is_named_and_counts_once_for_what_it_is(main, tiny, tmp_path):
    out = tmp_path / "out"
    arguments = [*tiny, "--ipc=1", "--out", out, "--methods"]
    assert main(*arguments, "random", report="none")[0] == 0
    [path] = (out / "records").glob("*.json")
    copy = path.rename(path.with_name("copy.json"))
    content = copy.read_bytes()
    status, _, stderr = main("--report-only", "--out", out, report="csv")
    assert status == 0
    assert [str(copy) in line for line in stderr.splitlines()] == [True]
    assert [row["method"] for row in read_csv(out / "report" / "accuracy.csv")] == ["random"]

    status, stdout, stderr = main(*arguments, "random,dm", report="csv")
    assert status == 0
    assert "0 failed" in stdout
    assert "not repaired" not in stdout
    assert str(copy) in stderr
    assert copy.read_bytes() == content  # it is left as it is
    assert sorted(row["method"] for row in read_csv(out / "report" / "accuracy.csv")) == ["dm", "random"]
