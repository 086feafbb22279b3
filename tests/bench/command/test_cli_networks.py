"""Evaluation by several networks: images are distilled once, and each network's evaluation is stored beside them."""

import json
import shutil
from dataclasses import replace
from types import SimpleNamespace

import pytest
from outputs import MATCHING, cell_lines, read_csv, read_records, save_pictures
from PIL import Image
from safetensors.torch import load_file

from bench.files import file_digest
from bench.loops.evaluation import evaluate
from bench.loops.training import Trainer
from bench.networks.names import NETWORKS
from run_all import SUITE

METHODS = "random,herding,dm,whole"


@pytest.fixture(scope="module")
def finished(tiny_run):
    """Return a run of a method of each kind, evaluated by the ConvNet; tests work on copies."""
    out, status, _, stderr = tiny_run("a method of each kind", "--methods", METHODS, "--ipc", "1")
    assert status == 0, stderr
    return out


@pytest.fixture
def grid(finished, main, tiny, tmp_path, tree):
    """Return a copy of that run, and a function that gives the same command again with more options."""
    out = tmp_path / "out"
    shutil.copytree(finished, out)  # with the times of its files

    def call(*more, methods=METHODS, **options):
        return main(*tiny, "--methods", methods, "--ipc", "1", "--out", out, *more, **{"report": "none", **options})

    return SimpleNamespace(out=out, records=out / "records", before=tree(out / "records"), run=call)


def without_distilling(spelling):
    """Return a method that fails if it is asked to distill; `whole` copies the training set, and may."""

    def refuse(task):
        raise AssertionError(f"{spelling} distills again")

    method = SUITE.find_method(spelling)
    return method if method.whole_set else replace(method, procedure=refuse)


def by_method(out):
    return {record["spec"]["method"]: record for record in read_records(out)}


def names_of(record):
    return [evaluation["network"] for evaluation in record["evaluations"]]


def test_another_network_costs_its_evaluation_alone(grid, tree):
    earlier, suite = by_method(grid.out), replace(SUITE, find_method=without_distilling)
    networks = ["--set", "eval.networks=convnet,mlp", "--set", "whole.networks=convnet,mlp"]
    status, stdout, stderr = grid.run(*networks, suite=suite)
    assert status == 0, stderr
    assert "4 cells run" in stdout
    after = tree(grid.records)
    assert set(after) == set(grid.before)  # the same hashes
    images = [name for name in after if name.endswith(".safetensors")]
    assert len(images) == 3
    assert {name: after[name] for name in images} == {name: grid.before[name] for name in images}  # not written again
    for method, record in by_method(grid.out).items():
        assert names_of(record) == ["convnet", "mlp"]
        first, second = record["evaluations"]
        assert first == earlier[method]["evaluations"][0]
        assert second["seconds"] > 0
        seconds, before = dict(record["seconds"]), dict(earlier[method]["seconds"])
        assert seconds.pop("total") == pytest.approx(before.pop("total") + second["seconds"])
        assert seconds == before
        for name in ("hash", "loss", "seconds_per_iteration", "hardware", "versions", "code"):
            assert record[name] == earlier[method][name]


def test_a_network_that_is_there_is_not_evaluated_again(grid, tree):
    assert grid.run("--set", "eval.networks=convnet,mlp", methods="random,dm")[0] == 0
    before = tree(grid.records)
    asked = []

    def spy(task, syn, settings, name, **options):
        asked.append((task.spec.method, name))
        return evaluate(task, syn, settings, name, **options)

    suite = replace(SUITE, evaluate=spy)
    for networks in ("convnet,mlp", "mlp,convnet", "mlp", "convnet"):
        assert grid.run("--set", f"eval.networks={networks}", methods="random,dm", suite=suite)[0] == 0
    assert asked == []
    assert tree(grid.records) == before
    assert grid.run("--set", "eval.networks=lenet,mlp", methods="random,dm", suite=suite)[0] == 0
    assert asked == [("random", "lenet"), ("dm", "lenet")]
    for method in ("random", "dm"):
        assert sorted(names_of(by_method(grid.out)[method])) == ["convnet", "lenet", "mlp"]


def test_an_evaluation_does_not_depend_on_when_it_is_made(grid, main, tiny, tmp_path):
    """Neither the other networks nor the way of the images through their file change it."""
    networks = ["--set", "eval.networks=convnet,mlp"]
    assert grid.run(*networks, methods="random,dm")[0] == 0
    at_once = tmp_path / "at once"
    assert main(*tiny, "--methods", "random,dm", "--ipc", "1", "--out", at_once, *networks, report="none")[0] == 0
    for method, record in by_method(at_once).items():
        accuracies = {evaluation["network"]: evaluation["accuracies"] for evaluation in record["evaluations"]}
        later = by_method(grid.out)[method]
        assert record["hash"] == later["hash"]
        assert accuracies == {evaluation["network"]: evaluation["accuracies"] for evaluation in later["evaluations"]}


def test_a_dry_run_shows_that_an_evaluation_is_missing(grid, tree):
    def shown(*options):
        status, stdout, _ = grid.run("--dry-run", *options, methods="random,dm")
        assert status == 0
        return ["there" in line for line in cell_lines(stdout)]

    assert shown() == [True, True]
    assert shown("--set", "eval.networks=convnet,mlp") == [False, False]
    assert tree(grid.records) == grid.before
    assert grid.run("--set", "eval.networks=convnet,mlp", methods="random")[0] == 0
    assert shown("--set", "eval.networks=convnet,mlp") == [True, False]
    assert shown() == [True, True]


def test_force_distills_and_evaluates_again(grid, tree):
    assert grid.run("--set", "eval.networks=convnet,mlp", methods="random")[0] == 0
    assert grid.run("--force", methods="random")[0] == 0
    # The images are other ones now, so what was known of the old ones is made anew too.
    assert names_of(by_method(grid.out)["random"]) == ["convnet", "mlp"]
    name = f"{by_method(grid.out)['random']['hash']}.safetensors"
    assert tree(grid.records)[name][0] != grid.before[name][0]


def test_a_network_that_fails_leaves_the_other_evaluations(grid, tree):
    def evaluate_or_fail(task, syn, settings, name, **options):
        if name == "lenet":
            raise RuntimeError("no lenet today")
        return evaluate(task, syn, settings, name, **options)

    suite = replace(SUITE, evaluate=evaluate_or_fail)
    status, stdout, _ = grid.run("--set", "eval.networks=convnet,mlp,lenet", methods="random,dm", suite=suite)
    assert status == 1
    assert "no lenet today" in stdout
    for method in ("random", "dm"):
        record = by_method(grid.out)[method]
        assert (record["status"], names_of(record)) == ("ok", ["convnet", "mlp"])
    after = tree(grid.records)
    assert {name: after[name] for name in after if name.endswith("s")} == {n: grid.before[n] for n in after if n.endswith("s")}


def test_images_of_another_cell_are_not_evaluated_but_made_again(grid):
    hashes = {method: record["hash"] for method, record in by_method(grid.out).items()}
    shutil.copy(grid.records / f"{hashes['random']}.safetensors", grid.records / f"{hashes['dm']}.safetensors")
    status, _, stderr = grid.run("--set", "eval.networks=convnet,mlp", methods="dm")
    assert status == 0
    assert f"the images in {hashes['dm']}.safetensors are not those that it was written with" in stderr
    record = by_method(grid.out)["dm"]
    assert names_of(record) == ["convnet", "mlp"]
    assert record["images"] == {file: file_digest(grid.records / file) for file in (f"{hashes['dm']}.safetensors",)}


# ---- what the networks are given ----


def test_small_images_are_resized_for_networks_that_need_it_and_the_record_says_so(grid, monkeypatch):
    seen = {}
    train = Trainer.train

    def spy(trainer, images, number, report):
        seen[trainer.network.name] = images.shape[-1]
        return train(trainer, images, number, report)

    monkeypatch.setattr(Trainer, "train", spy)
    networks = "convnet,convnet-bn,mlp,lenet"
    assert grid.run("--set", f"eval.networks={networks}", methods="random")[0] == 0
    record = by_method(grid.out)["random"]
    resized = {evaluation["network"]: evaluation["facts"]["resized_to"] for evaluation in record["evaluations"]}
    assert resized == {"convnet": None, "convnet-bn": None, "mlp": 28, "lenet": 28}
    assert seen == {"convnet-bn": 8, "mlp": 28, "lenet": 28}
    assert load_file(grid.records / f"{record['hash']}.safetensors")["images"].shape[-1] == 8  # they are stored as they are


def test_every_network_of_the_registry_evaluates(main, tiny, tmp_path):
    out = tmp_path / "out"
    save_pictures(tmp_path / "pets", size=8)  # few: a ResNet takes long for each
    arguments = ["--methods", "random", "--ipc", "1", "--datasets", f"folder:{tmp_path / 'pets'}", "--out", out]
    status, _, stderr = main(*tiny, *arguments, "--set", f"eval.networks={','.join(NETWORKS)}", report="none")
    assert status == 0, stderr
    (record,) = read_records(out)
    assert names_of(record) == list(NETWORKS)
    labels = [evaluation["facts"]["label"] for evaluation in record["evaluations"]]
    assert labels == ["ConvNet-2", "MLP", "LeNet", "AlexNet", "VGG-11", "ResNet-18"]
    assert [evaluation["facts"]["features"] for evaluation in record["evaluations"]][1:3] == [128, 84]
    errors = {evaluation["metrics"]["expected_calibration_error"][0] for evaluation in record["evaluations"]}
    assert len(errors) == len(NETWORKS)  # each is a network of its own


def test_a_variant_has_one_name(grid, tree):
    assert grid.run("--set", "eval.networks=convnet-bn-d2", methods="random")[0] == 0
    record = by_method(grid.out)["random"]
    assert sorted(names_of(record)) == ["convnet", "convnet-d2-bn"]
    assert record["evaluations"][1]["facts"]["depth"] == 2
    before = tree(grid.records)
    assert grid.run("--set", "eval.networks=convnet-d2-ap-bn,convnet-bn-d2", methods="random")[0] == 0
    assert tree(grid.records) == before


def test_another_extractor_is_another_cell_that_the_convnet_evaluates(main, tiny, tmp_path):
    out = tmp_path / "out"
    arguments = ["--methods", "dm", "--ipc", "1", "--out", out]
    assert main(*tiny, *arguments, report="none")[0] == 0
    assert main(*tiny, *arguments, "--set", "match.network=mlp", report="none")[0] == 0
    records = {record["spec"]["protocol"]["match"]["network"]: record for record in read_records(out)}
    assert set(records) == {"convnet", "mlp"}
    assert records["convnet"]["loss"] != records["mlp"]["loss"]
    assert [names_of(record) for record in records.values()] == [["convnet"], ["convnet"]]
    for record in records.values():  # images keep the size of the dataset whatever the extractor takes
        assert load_file(out / "records" / f"{record['hash']}.safetensors")["images"].shape == (10, 1, 8, 8)


def test_the_shared_rate_is_of_methods_that_match_features_and_a_method_s_own_wins(main, tiny, tmp_path):
    out = tmp_path / "out"
    arguments = ["--methods", "dm,kr,dc,cafe", "--ipc", "1", "--set", "kr.steps=2", "--out", out]
    settings = ["--set", "match.rate=0.2", "--set", "kr.rate=0.3"]
    for order in (settings, settings[2:] + settings[:2]):
        status, _, stderr = main(*tiny, *arguments, *order, report="none")
        assert status == 0, stderr
    assert {"dm", "kr"} <= set(MATCHING)
    assert len(read_records(out)) == 4
    cells = {method: record["spec"] for method, record in by_method(out).items()}
    assert [cells[name]["protocol"]["match"]["rate"] for name in ("dm", "kr")] == [0.2, 0.3]
    for name in ("dm", "kr"):  # the rate does not belong to the loss
        assert not cells[name]["settings"].keys() & {"rate", "lr_images"}
    for name in ("dc", "cafe"):
        assert cells[name]["protocol"]["match"] is None


# ---- the report ----


def test_the_cross_architecture_table_has_methods_down_and_networks_across(grid):
    assert grid.run("--set", "eval.networks=convnet,mlp,lenet", "--set", "whole.networks=convnet,mlp", report="all")[0] == 0
    report = grid.out / "report"
    rows = {(row["method"], row["eval_network"]): row for row in read_csv(report / "transfer.csv")}
    columns = ["dataset", "ipc", "method", "variant", "eval_network", "mean", "std_seeds", "std_networks", "seeds", "drop"]
    assert (report / "transfer.csv").read_text().splitlines()[0] == ",".join(columns)
    records = by_method(grid.out)
    assert set(rows) == {(method, name) for method, record in records.items() for name in names_of(record)}
    for (method, network), row in rows.items():
        means = {evaluation["network"]: evaluation["accuracies"][0] for evaluation in records[method]["evaluations"]}
        assert float(row["mean"]) == pytest.approx(means[network], abs=5e-5)
        assert float(row["drop"]) == pytest.approx(means["convnet"] - means[network], abs=1e-4)
        assert (row["dataset"], row["ipc"], row["seeds"]) == ("digits", "1", "1")
    table = [line for line in (report / "transfer.md").read_text().splitlines() if line.startswith("|")]
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in table]
    assert cells[0][-3:] == ["ConvNet-2", "MLP", "LeNet"]
    assert [row[-4] for row in cells[2:]] == ["Random", "Herding", "DM", "Whole"]
    with Image.open(report / "figures" / "transfer.png") as image:
        assert image.convert("L").getextrema()[0] < 100
    page = (report / "index.html").read_text()
    assert "figures/transfer.svg" in page
    assert "LeNet" in page


def test_table_2_is_the_convnet_s_whatever_the_other_networks(grid):
    assert grid.run(methods="random,dm", report="tables")[0] == 0
    before = {name: (grid.out / "report" / name).read_bytes() for name in ("table2.csv", "table2.md", "accuracy.csv")}
    assert grid.run("--set", "eval.networks=mlp,convnet", methods="random,dm", report="tables")[0] == 0
    assert {name: (grid.out / "report" / name).read_bytes() for name in before} == before


def test_without_the_convnet_the_first_network_feeds_table_2_and_there_is_no_drop(main, tiny, tmp_path):
    out = tmp_path / "out"
    arguments = ["--methods", "random", "--ipc", "1", "--set", "eval.networks=lenet,mlp", "--out", out]
    status, _, stderr = main(*tiny, *arguments, report="tables")
    assert status == 0, stderr
    (record,) = read_records(out)
    assert names_of(record) == ["lenet", "mlp"]
    (row,) = read_csv(out / "report" / "table2.csv")
    assert float(row["mean"]) == pytest.approx(record["evaluations"][0]["accuracies"][0], abs=5e-5)
    assert "LeNet" in (out / "report" / "table2.md").read_text()  # its heading says so
    assert [row["drop"] for row in read_csv(out / "report" / "transfer.csv")] == ["", ""]
    assert json.dumps(record["spec"]["protocol"]["eval"]["networks"]) == '["lenet", "mlp"]'
