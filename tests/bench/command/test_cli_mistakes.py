"""A user's mistakes: exit status 2 before any work, one line, no traceback, and what would have been valid."""

import re
from pathlib import Path

import pytest
import torchvision
from PIL import Image

import run_all
from bench.cells.protocol import PROFILES
from bench.errors import quoted
from datasets import DATASETS
from methods import METHODS


@pytest.fixture
def mistake(main, tiny, tmp_path):
    """Return a function that runs a command line with a mistake and returns the one line that it answers."""

    def call(*arguments, tiny=tiny):
        out = tmp_path / "out"
        status, stdout, stderr = main(*tiny, "--out", out, *arguments)
        assert status == 2
        assert stderr.endswith("\n")
        assert stderr.count("\n") == 1, f"more than one line:\n{stderr}"
        assert stderr.startswith("run_all.py: error: ")
        assert "Traceback" not in stderr
        assert stdout == ""
        assert not out.exists(), "work was done"
        return stderr

    return call


UNKNOWN = {
    "method": (["--methods", "sinkhron"], ["method", "'sinkhron'", "did you mean 'sinkhorn'", *METHODS, "file.py:function"]),
    "second method": (["--methods", "dm,emdd"], ["'emdd'", "did you mean 'emd'", *METHODS]),
    "dataset": (["--datasets", "fashonmnist"], ["dataset", "'fashonmnist'", "did you mean 'fashionmnist'", *DATASETS]),
    "profile": (["--profile", "papr"], ["profile", "'papr'", "did you mean 'paper'", *PROFILES]),
    "parameter": (
        ["--methods", "kr", "--set", "kr.hiden=256"],
        ["parameter of kr", "'hiden'", "did you mean 'hidden'", "clip", "steps", "critic_lr", "critic_optimizer"],
    ),
    "field": (
        ["--set", "match.realbatch=4"],
        ["parameter of match", "'realbatch'", "did you mean 'real_batch'", "iterations", "lr_images", "momentum"],
    ),
    "section": (
        ["--set", "mtch.real_batch=4"],
        ["--set", "'mtch'", "did you mean 'match'", "eval", "whole", "data", "network", *METHODS],
    ),
    "precision": (["--precision", "fp8"], ["--precision", "'fp8'", "auto", "fp32", "bf16"]),
    "precision of a stage": (["--set", "eval.precision=fp8"], ["eval.precision", "'fp8'", "auto", "fp32", "bf16"]),
    "precision of critics": (["--methods", "kr", "--set", "kr.precision=fp8"], ["kr.precision", "'fp8'", "auto", "fp32"]),
    "network": (
        ["--set", "eval.networks=convnet,lennet"],
        ["network", "'lennet'", "did you mean 'lenet'", "convnet", "mlp", "alexnet", "vgg11", "resnet18"],
    ),
    "extractor": (["--set", "match.network=vgg12"], ["network", "'vgg12'", "did you mean 'vgg11'", "convnet", "mlp"]),
    "network of a coreset": (
        ["--methods", "herding", "--set", "herding.network=resnet"],
        ["network", "'resnet'", "did you mean 'resnet18'"],
    ),
    "variant of a network": (["--set", "eval.networks=convnet-d4-w0"], ["variant", "'w0'", "convnet", "d1..d6", "w1..w1024"]),
    "short form": (["--set", "match.lr_image=2"], ["parameter of match", "'lr_image'", "did you mean 'lr_images'"]),
    "option": (["--dataset", "digits"], ["option", "'--dataset'", "did you mean '--datasets'", "--methods", "--ipc"]),
    "option with equals": (["--method=dm"], ["option", "--method", "--methods"]),
    "no option": (["digits"], ["option", "'digits'", "--datasets"]),
}


@pytest.mark.parametrize("case", UNKNOWN)
def test_an_unknown_name_gets_the_valid_ones_and_the_nearest(mistake, case):
    arguments, words = UNKNOWN[case]
    line = mistake(*arguments)
    for word in words:
        assert word in line


BAD = {
    "ipc 0": (["--ipc", "0"], ["--ipc", "'0'", "at least 1"]),
    "ipc x": (["--ipc", "x"], ["--ipc", "'x'", "whole numbers"]),
    "ipc 1.5": (["--ipc", "1,1.5"], ["--ipc", "'1.5'", "whole numbers"]),
    "ipc empty": (["--ipc", ""], ["--ipc", "''", "whole numbers"]),
    "ipc trailing comma": (["--ipc", "1,"], ["--ipc", "'1,'", "whole numbers"]),
    "ipc without value": (["--ipc"], ["--ipc"]),
    "seeds -1": (["--seeds", "-1"], ["--seeds", "'-1'", "at least 0"]),
    "seeds x": (["--seeds", "0,x"], ["--seeds", "'x'", "whole numbers"]),
    "threads 0": (["--threads", "0"], ["--threads", "'0'", "at least 1"]),
    "two numbers of threads": (["--threads", "2,3"], ["--threads", "'2,3'"]),
    "threads x": (["--threads", "two"], ["--threads", "'two'"]),
    "threads above the cores": (["--threads", "1000000"], ["--threads", "1000000", "may use", "cores"]),
    "threads of many digits": (["--threads", "9" * 400], ["--threads", "99", "whole number"]),
    "seeds of many digits": (["--seeds", "9" * 5000], ["--seeds", "99", "(5002 characters)", "whole numbers"]),
    "iterations of many digits": (["--set", "match.iterations=" + "9" * 400], ["match.iterations", "99", "whole number"]),
    "rate of many digits": (["--set", "match.rate=" + "9" * 400], ["match.rate", "inf", "above 0"]),
    "a path that is too long": (["--data-root", "d" * 300], ["--data-root", "dd", "File name too long"]),
    "a list beside a mistake": (["--list", "--ipc", "x"], ["--ipc", "'x'", "whole numbers"]),
    "device": (["--device", "cudda"], ["--device", "'cudda'", "auto", "cpu", "cuda"]),
    "device cuda:99": (["--device", "cuda:99"], ["--device", "'cuda:99'", "auto", "cpu", "cuda"]),
    "iterations x": (["--iterations", "x"], ["iterations", "'x'", "whole number", "at least 0"]),
    "iterations -1": (["--iterations=-1"], ["iterations", "-1", "at least 0"]),
    "eval-nets 0": (["--eval-nets", "0"], ["eval", "nets", "0", "at least 1"]),
    "int": (["--methods", "kr", "--set", "kr.hidden=abc"], ["--set", "kr.hidden", "'abc'", "whole number", "at least 1"]),
    "int as float": (["--methods", "kr", "--set", "kr.hidden=2.5"], ["kr.hidden", "'2.5'", "whole number"]),
    "out of range": (["--methods", "kr", "--set", "kr.clip=-1"], ["kr.clip", "-1", "above 0"]),
    "nan": (["--methods", "kr", "--set", "kr.clip=nan"], ["kr.clip", "nan", "above 0"]),
    "infinite": (["--set", "match.lr_images=inf"], ["match.lr_images", "inf", "above 0"]),
    "choice": (
        ["--methods", "kr", "--set", "kr.critic_optimizer=adamw"],
        ["kr.critic_optimizer", "'adamw'", "adam, sgd, rmsprop"],
    ),
    "bool": (["--methods", "sinkhorn", "--set", "sinkhorn.debias=maybe"], ["sinkhorn.debias", "'maybe'", "true or false"]),
    "schedule": (["--set", "eval.schedule=cosine"], ["eval.schedule", "'cosine'", "step", "onecycle"]),
    "momentum": (["--set", "eval.momentum=1"], ["eval.momentum", "1", "below 1"]),
    "size of a named set": (["--set", "data.size=16"], ["data.size", "16", "folder:PATH"]),
    "depth": (["--set", "network.depth=6"], ["--set", "network.depth=6", "'digits'", "at most"]),
    "depth of a variant": (
        ["--set", "eval.networks=mlp,convnet-d6"],
        ["'convnet-d6'", "'digits'", "depth 6", "8x8", "at most"],
    ),
    "norm and width": (["--set", "eval.networks=convnet-w6-gn"], ["'convnet-w6-gn'", "width 6", "multiples of 4"]),
    "no network": (["--set", "eval.networks="], ["network", "''", "convnet", "mlp"]),
    "step of no length": (["--set", "match.rate=0"], ["match.rate", "0", "above 0"]),
    "step of the other optimizer": (["--set", "match.lr_images=3"], ["match.lr_images=3", "optimizer=angular", "match.rate"]),
    "step of the other optimizer for one loss": (
        ["--methods", "dm,kr", "--set", "match.optimizer=sgd", "--set", "kr.rate=0.1"],
        ["kr.rate=0.1", "optimizer=sgd", "kr.lr_images"],
    ),
    "checkpoints x": (["--checkpoints", "10,x"], ["--checkpoints", "'x'", "whole numbers"]),
    "checkpoints empty": (["--checkpoints", ""], ["--checkpoints", "''", "whole numbers"]),
    "checkpoints -1": (["--checkpoints=-1"], ["--checkpoints", "'-1'", "at least 0"]),
    "no equals sign": (["--set", "kr.hidden"], ["--set", "'kr.hidden'", "NAME.FIELD=VALUE"]),
    "no dot": (["--set", "hidden=3"], ["--set", "'hidden=3'", "NAME.FIELD=VALUE"]),
    "augmentation": (
        ["--methods", "dm", "--set", "match.augment=color_cropp"],
        ["augment", "'cropp'", "did you mean 'crop'", "cutout", "none"],
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_a_bad_value_is_named_with_what_is_valid(mistake, case):
    arguments, words = BAD[case]
    line = mistake(*arguments)
    for word in words:
        assert word in line


@pytest.mark.parametrize(("option", "value"), [("--iterations", "x"), ("--eval-nets", "x")])
def test_a_short_form_is_named_as_it_was_typed(mistake, option, value):
    # The user wrote no --set, and should not be told of one alone.
    assert option in mistake(option, value)


def test_an_unknown_parameter_of_a_method_outside_the_grid_is_refused_too(mistake):
    line = mistake("--methods", "dm", "--set", "kr.hiden=256")
    assert "did you mean 'hidden'" in line


def test_an_ipc_above_the_smallest_class_is_refused_before_the_others_run(mistake):
    line = mistake("--methods", "random", "--ipc", "1,2000")
    for word in (
        "--ipc",
        "2000",
        "digits",
        "valid: 1 to 139",
    ):  # a class has 174 images at least, four fifths of them to train on
        assert word in line


def test_an_ipc_as_large_as_the_smallest_class_is_valid(main, tiny, tmp_path):
    status, _, _ = main(*tiny, "--methods", "random", "--ipc", "139", "--out", tmp_path, report="none")
    assert status == 0


def test_a_missing_dataset_stops_the_grid_before_the_first_cell(mistake, monkeypatch, tmp_path):
    def refuse(*arguments, **options):
        raise OSError("no network in tests")

    monkeypatch.setattr(torchvision.datasets, "MNIST", refuse)
    root = tmp_path / "nothing here"
    line = mistake("--methods", "random", "--datasets", "digits,mnist", "--data-root", root)
    for word in ("mnist", str(root), "MNIST/raw", "train*.parquet", "--data-root", "DATA_ROOT"):
        assert word in line


@pytest.mark.parametrize("setting", ["eval.networks=convnet,mlp", "match.network=lenet", "herding.network=resnet18"])
def test_a_network_that_does_not_take_the_images_is_refused_before_work(mistake, tmp_path, setting):
    for split in ("train", "test"):
        for name in ("left", "right"):
            folder = tmp_path / "pets" / split / name
            folder.mkdir(parents=True)
            Image.new("RGB", (48, 48), "red").save(folder / "0.png")
    network = re.split("[=,]", setting)[-1]
    line = mistake("--methods", "random,dm,herding", "--datasets", f"folder:{tmp_path / 'pets'}", "--set", setting)
    for word in (network, "48", "32"):
        assert word in line


def test_a_folder_that_is_not_there_is_refused(mistake, tmp_path):
    assert "valid: PATH/train/CLASS" in mistake("--datasets", f"folder:{tmp_path / 'nowhere'}")


def test_an_output_that_is_a_file_is_refused(main, tiny, tmp_path):
    file = tmp_path / "notes.txt"
    file.write_text("keep me")
    status, _, stderr = main(*tiny, "--methods", "random", "--ipc", "1", "--out", file)
    assert status == 2
    assert f"--out {quoted(str(file))}" in stderr
    assert "Traceback" not in stderr
    assert file.read_text() == "keep me"


# ---- a user's own loss ----


OWN = """
def fine(real, syn, *, generator, power: float = 2.0):
    return (real.mean(1) - syn.mean(1)).abs().pow(power).sum(1)

def scalar(real, syn, *, generator):
    return (real.mean(1) - syn.mean(1)).square().sum()

def detached(real, syn, *, generator):
    return fine(real, syn.detach(), generator=generator)

def raising(real, syn, *, generator):
    raise ValueError("first line\\nsecond line")

def fewer(real, syn):
    return fine(real, syn, generator=None)

number = 3
"""

OWN_CASES = {
    "no such file": ("missing.py:fine", ["missing.py", "path/to/file.py:function"]),
    "no such function": ("own.py:fin", ["'fin'", "did you mean 'fine'", "scalar", "detached"]),
    "no function": ("own.py:number", ["'number'", "fine"]),
    "one loss for all classes": ("own.py:scalar", ["one differentiable loss a class"]),
    "no gradient": ("own.py:detached", ["one differentiable loss a class"]),
    "raises": ("own.py:raising", ["ValueError", "first line"]),
    "another signature": ("own.py:fewer", ["TypeError", "generator"]),
    "no Python": ("notes.txt:fine", ["notes.txt"]),
    "broken Python": ("broken.py:fine", ["broken.py", "SyntaxError"]),
    "raising Python": ("failing.py:fine", ["failing.py", "ZeroDivisionError"]),
}


@pytest.fixture
def own(tmp_path):
    (tmp_path / "own.py").write_text(OWN)
    (tmp_path / "notes.txt").write_text("fine")
    (tmp_path / "broken.py").write_text("def fine(:\n")
    (tmp_path / "failing.py").write_text("1 / 0\n")
    return tmp_path


@pytest.mark.parametrize("case", OWN_CASES)
def test_a_wrong_loss_of_ones_own_is_refused_before_work(mistake, own, case):
    place, words = OWN_CASES[case]
    line = mistake("--methods", f"dm,{own / place}")
    for word in ("--methods", *words) if case != "no such function" and case != "no function" else words:
        assert word in line


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        ("fine.power=x", ["fine.power", "'x'", "a number"]),
        ("fine.powr=1", ["'powr'", "did you mean 'power'"]),
        ("fin.power=1", ["'fin'", "did you mean 'fine'"]),
    ],
)
def test_options_of_ones_own_loss_are_checked(mistake, own, setting, words):
    line = mistake("--methods", f"dm,{own / 'own.py'}:fine", "--set", setting)
    for word in words:
        assert word in line


# ---- the process ----


def test_the_process_exits_with_2_and_one_line(command, tmp_path):
    status, out, err = command("run_all.py", "--methods", "dm,sinkhron", "--out", tmp_path / "out")
    assert status == 2
    assert out == ""
    assert err.count("\n") == 1
    assert "did you mean 'sinkhorn'" in err
    assert not (tmp_path / "out").exists()


def test_a_mistake_is_found_before_torch_is_imported(command, tmp_path):
    # The answer to a typing error comes at once.
    code = "import sys, run_all; run_all.main(sys.argv[1:]); print('torch' in sys.modules)"
    status, out, err = command("-c", code, "--datasets", "digit", "--out", tmp_path / "out")
    assert (status, out) == (0, "False\n")
    assert "did you mean 'digits'" in err


def test_help_names_every_option(capsys):
    with pytest.raises(SystemExit) as caught:
        run_all.main(["--help"])
    assert caught.value.code == 0
    text = capsys.readouterr().out
    options = "methods datasets ipc seeds profile eval-nets iterations set data-root out device precision threads force"
    for name in (*options.split(), "report-only", "list", "dry-run"):
        assert f"--{name}" in text


def test_an_output_folder_whose_name_is_too_long_is_a_mistake(main, tiny):
    status, _, stderr = main(*tiny, "--out", "o" * 300)
    assert status == 2
    assert stderr.startswith("run_all.py: error: --out 'ooo")
    assert "File name too long" in stderr


@pytest.mark.parametrize(("name", "library"), [("ray", "ray"), ("slurm", "submitit")])
def test_an_executor_that_is_not_installed_says_what_installs_it(mistake, monkeypatch, name, library):
    monkeypatch.setattr("bench.running.executors.find_spec", lambda _: None)
    line = mistake("--executor", name)
    assert f"{library!r}, which is not installed; to install it: pip install -r requirements-{name}.txt" in line
    assert Path(run_all.__file__).with_name(f"requirements-{name}.txt").is_file()
