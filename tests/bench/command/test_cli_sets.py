"""Distilled sets on the command line: exported, imported again under every form, and evaluated to the same accuracies."""

import os
import threading

import numpy as np
import pytest
import torch
from outputs import read_records

from reports import __main__ as reports

LONGER = ("--eval-nets=2", "--set=eval.epochs=20")
"""Long enough for networks to show what they were trained on."""

FORMS = ("dc-pt", "npz", "parquet", "png")


def accuracies(out, method):
    """Return the accuracies of the networks of each cell of a method, by IPC and seed."""
    records = [record for record in read_records(out) if record["spec"]["method"] == method]
    assert all(record["status"] == "ok" for record in records)
    return {(record["spec"]["ipc"], record["spec"]["seed"]): record["evaluations"][0]["accuracies"] for record in records}


@pytest.fixture(scope="module")
def exported(grid, tmp_path_factory):
    """Export the grid of all methods, two IPCs and two seeds, in every form; return the folder."""
    folder = tmp_path_factory.mktemp("exported")
    for form in FORMS:
        assert reports.main(["export", "--out", str(grid.out), "--to", form, "--target", str(folder)]) == 0
    return folder


@pytest.fixture(scope="module")
def imported(exported, command, tiny, tmp_path_factory):
    """Evaluate sets of every form as the grid was evaluated; return the folder of the results and what was told."""
    out = tmp_path_factory.mktemp("imported")
    arrays = out / "arrays.npz"  # a name of its own beside the other file's
    arrays.write_bytes((exported / "digits_ipc2_dm.npz").read_bytes())
    names = ("digits_ipc2_dm.pt", "digits_ipc2_dm-parquet", "digits_ipc2_dm-png", "digits_ipc2_random-png")
    methods = ",".join(f"set:{path}" for path in (arrays, *(exported / name for name in names)))
    arguments = [*tiny, "--eval-nets=2", "--ipc", "1,2", "--seeds", "0,1", "--methods", methods, "--out", out]
    status, _, stderr = command("run_all.py", *arguments)
    assert status == 0, stderr
    return out, stderr


@pytest.mark.parametrize("name", ["set:digits_ipc2_dm", "set:digits_ipc2_dm-parquet", "set:arrays"])
def test_the_float_forms_score_exactly_as_what_was_exported(name, grid, imported):
    out, stderr = imported
    expected = {cell: values for cell, values in accuracies(grid.out, "dm").items() if cell[0] == 2}
    assert len({tuple(values) for values in expected.values()}) == 2  # the seeds differ, so a swapped one would show
    assert accuracies(out, name) == expected  # at IPC 2 alone
    for file in ("table2.md", "index.html"):
        assert name in (out / "report" / file).read_text()
    assert "warning" not in stderr


def test_pictures_score_exactly_where_images_have_eight_bits_and_nearly_elsewhere(grid, imported):
    out, _ = imported
    both = {method: accuracies(out, f"set:digits_ipc2_{method}-png") for method in ("random", "dm")}
    assert set(both["random"]) == set(both["dm"]) == {(2, 0), (2, 1)}
    for cell, values in both["random"].items():  # real images: no rounding, nothing outside [0, 1]
        assert values == accuracies(grid.out, "random")[cell]
    for cell, values in both["dm"].items():
        assert np.mean(values) == pytest.approx(np.mean(accuracies(grid.out, "dm")[cell]), abs=5)


@pytest.fixture
def evaluate(main, tiny, tmp_path):
    """Return a function that evaluates sets at IPC 2 and returns the folder of the results, standard output and error."""

    def run(*paths, options=("--ipc", "2")):
        out = tmp_path / "evaluated"
        methods = ",".join(f"set:{path}" for path in paths)
        status, stdout, stderr = main(*tiny, "--methods", methods, "--out", out, *LONGER, *options)
        assert status == 0, stderr
        return out, stdout, stderr

    return run


def test_the_suites_own_images_are_a_set(grid, evaluate):
    specs = {record["hash"]: record["spec"] for record in grid.records}
    (name,) = [name for name, spec in specs.items() if (spec["method"], spec["ipc"], spec["seed"]) == ("dm", 1, 0)]
    out, _, _ = evaluate(grid.out / "records" / f"{name}.safetensors", options=["--ipc", "1", "--set=eval.epochs=1"])
    assert accuracies(out, f"set:{name}") == {(1, 0): accuracies(grid.out, "dm")[1, 0]}


def test_a_set_stands_beside_our_methods_and_is_not_evaluated_twice(exported, main, tiny, tmp_path):
    arguments = [
        *tiny,
        "--methods",
        f"random,set:{exported / 'digits_ipc1_dm.npz'}",
        "--ipc",
        "1",
        "--out",
        tmp_path,
    ]
    assert main(*arguments)[1].startswith("2 cells run, 0 there before")
    assert main(*arguments)[1].startswith("0 cells run, 2 there before")
    head = (tmp_path / "report" / "table2.csv").read_text()
    assert "set:digits_ipc1_dm" in head
    assert "random" in head


def save_as_the_family_does(path, *, soft=False):
    labels = torch.arange(10).repeat_interleave(2)
    if soft:
        labels = torch.nn.functional.one_hot(labels, 10).float() * 0.6 + 0.04
    images = torch.randn(20, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    torch.save({"data": [[images, labels]], "accs_all_exps": {"ConvNet": [np.float64(0.5)]}}, path)


def test_a_file_of_others_is_evaluated_and_its_normalisation_told(evaluate, tmp_path):
    save_as_the_family_does(tmp_path / "res_DM.pt")
    out, _, stderr = evaluate(tmp_path / "res_DM.pt")
    assert stderr.count("run_all.py: warning: 'set:") == 1
    assert "says no mean and deviation; those of the dataset are taken" in stderr
    for record in read_records(out):  # and so does every table that has its accuracy
        [text] = record["warnings"]
        assert text.startswith("the file says no mean and deviation; those of the dataset are taken")
    own = accuracies(out, "set:res_DM")
    out, _, stderr = evaluate(
        tmp_path / "res_DM.pt", options=["--ipc", "2", "--set=set:res_DM.mean=0.9", "--set=set:res_DM.std=0.1", "--force"]
    )
    assert "warning" not in stderr
    (record,) = [record for record in read_records(out) if record["spec"]["settings"]["mean"]]
    assert record["spec"]["settings"] == {"mean": [0.9], "std": [0.1]}
    assert record["evaluations"][0]["accuracies"] != own[2, 0]


def test_soft_labels_are_trained_on_and_kept(evaluate, tmp_path):
    for name in ("soft", "hard"):
        save_as_the_family_does(tmp_path / f"{name}.pt", soft=name == "soft")
    out, _, _ = evaluate(tmp_path / "soft.pt", tmp_path / "hard.pt")
    soft, hard = (accuracies(out, f"set:{name}")[2, 0] for name in ("soft", "hard"))
    assert soft != hard
    labels = {record["spec"]["method"]: record["details"]["labels"] for record in read_records(out)}
    assert (labels["set:soft"], labels["set:hard"]) == ("soft", "hard")
    assert list((out / "report").rglob("*set-soft*"))  # its images are drawn
    # Another network is evaluated on the images and soft labels that the first run kept.
    out, stdout, _ = evaluate(tmp_path / "soft.pt", options=["--ipc", "2", "--set=eval.networks=convnet,mlp"])
    assert stdout.startswith("1 cells run")
    (record,) = [record for record in read_records(out) if record["spec"]["method"] == "set:soft"]
    assert [made["network"] for made in record["evaluations"]] == ["convnet", "mlp"]
    assert record["evaluations"][0]["accuracies"] == soft
    assert record["details"]["labels"] == "soft"
    assert reports.main(["export", "--out", str(out), "--to", "dc-pt"]) == 0
    images, labels = torch.load(out / "export" / "digits_ipc2_set-soft.pt", weights_only=True)["data"][0]
    original = torch.load(tmp_path / "soft.pt", weights_only=False)["data"][0]
    assert torch.equal(labels, original[1])
    assert torch.equal(images, original[0])


def test_a_learning_rate_is_used_recorded_and_exported(evaluate, tmp_path):
    save_as_the_family_does(tmp_path / "learned.pt")
    payload = torch.load(tmp_path / "learned.pt", weights_only=False)
    torch.save(payload | {"syn_lr": torch.tensor(0.25), "accs_all_exps": {}}, tmp_path / "learned.pt")
    values = {}
    for lr in ("own", "0.25", "0.01"):
        out, _, _ = evaluate(tmp_path / "learned.pt", options=["--ipc", "2", f"--set=eval.lr={lr}"])
        [record] = [made for made in read_records(out) if str(made["spec"]["protocol"]["eval"]["lr"]) == lr]
        assert record["lr"] == 0.25
        values[lr] = record["evaluations"][0]["accuracies"], record["evaluations"][0]["metrics"]
    assert values["own"] == values["0.25"] != values["0.01"]
    assert reports.main(["export", "--out", str(out), "--to", "npz"]) == 0
    exported = list((out / "export").glob("*.npz"))
    assert exported
    assert all(np.load(path)["lr"].tolist() == [0.25] for path in exported)


MISTAKES = {
    "no file": ("set:none.pt", [], "--methods 'set:none.pt': there is no file or folder 'none.pt'; valid: a file .pt,"),
    "no path": ("set:", [], "--methods 'set:': "),
    "no such ipc": ("set:{pt}", ["--ipc", "1,10"], "--ipc 1,10: 'set:{pt}' has 2 images a class; valid: --ipc 2"),
    "no such seed": ("set:{pt}", ["--ipc", "2", "--seeds", "0,7"], "has no distillation of seed 7; valid: --seeds 0,1"),
    "another dataset": ("set:{pt}", ["--ipc", "2", "--datasets", "mnist"], "it was distilled from 'digits', not 'mnist'"),
    "another setting": ("set:{pt}", ["--ipc", "2", "--set", "set:digits_ipc2_dm.maen=0"], "did you mean 'mean'?"),
    "no own rate": ("set:{pt}", ["--ipc", "2", "--set", "eval.lr=own"], "--set eval.lr=own: the images of method 'set:digits_"),
    "one name twice": ("set:{pt},set:{npz}", ["--ipc", "2"], "'set:{pt}' has that name too; valid: a name of its own"),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_is_answered_before_work_starts(name, exported, main, tiny, tmp_path):
    methods, options, message = MISTAKES[name]
    paths = {form: exported / f"digits_ipc2_dm.{form}" for form in ("pt", "npz")}
    out = tmp_path / "out"
    status, stdout, stderr = main(*tiny, "--methods", methods.format(**paths), "--out", out, *options)
    assert status == 2
    assert stdout == ""
    assert stderr.startswith("run_all.py: error: ")
    assert message.format(**paths) in stderr
    assert stderr.count("\n") == 1
    assert not out.exists()


def test_a_fifo_is_not_waited_for(main, tiny, tmp_path):
    os.mkfifo(tmp_path / "set.npz")
    answers = []
    thread = threading.Thread(
        target=lambda: answers.append(main(*tiny, "--methods", f"set:{tmp_path / 'set.npz'}")), daemon=True
    )
    thread.start()
    thread.join(30)
    ((status, _, stderr),) = answers
    assert status == 2
    assert "is a FIFO, and is not opened" in stderr
