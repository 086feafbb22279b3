"""A user's own loss, with no change to the suite: `--methods dm,path/to/file.py:function`."""

import re

import pytest
import torch
from outputs import accuracies_of, cell_lines, read_records
from safetensors.torch import load_file

LOSSES = """
def means(real, syn, *, generator):
    return (real.mean(1) - syn.mean(1)).square().sum(1)


def powers(real, syn, *, generator, power: float = 2.0):
    return (real.mean(1) - syn.mean(1)).abs().pow(power).sum(1)
"""

# Each a way in which people write a callable; each in a file of its own, so that one that fails does not hide the others.
STYLES = {
    "function": """
def mine(real, syn, *, generator):
    return (real.mean(1) - syn.mean(1)).square().sum(1)
""",
    "annotated as the suite is": """
from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch
    from torch import Tensor


def mine(real: Tensor, syn: Tensor, *, generator: torch.Generator, power: float = 2.0) -> Tensor:
    return (real.mean(1) - syn.mean(1)).abs().pow(power).sum(1)
""",
    "dataclass as the suite's": """
from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class mine:
    scale: float = 1.0

    def __call__(self, real, syn, *, generator):
        return self.scale * (real.mean(1) - syn.mean(1)).square().sum(1)
""",
    "class": """
class mine:
    def __call__(self, real, syn, *, generator):
        return (real.mean(1) - syn.mean(1)).square().sum(1)
""",
    "instance": """
class Means:
    def __call__(self, real, syn, *, generator):
        return (real.mean(1) - syn.mean(1)).square().sum(1)

mine = Means()
""",
    "module": """
import torch

class Means(torch.nn.Module):
    def forward(self, real, syn, *, generator):
        return (real.mean(1) - syn.mean(1)).square().sum(1)

mine = Means()
""",
    "partial": """
import functools

def powers(real, syn, *, generator, power):
    return (real.mean(1) - syn.mean(1)).abs().pow(power).sum(1)

mine = functools.partial(powers, power=2)
""",
    "lambda": """
mine = lambda real, syn, *, generator: (real.mean(1) - syn.mean(1)).square().sum(1)
""",
    "second form": """
def mine(real, syn, *, generator, context, power: float = 2.0):
    assert len(context.labels) == len(real) <= len(context.classes)
    return (real.mean(1) - syn.mean(1)).abs().pow(power).sum(1) * (context.step + 1)
""",
    "class that keeps state": """
class mine:
    def __init__(self, *, decay: float = 0.9):
        self.decay, self.mean = decay, 0.0

    def __call__(self, real, syn, *, generator):
        self.mean = self.decay * self.mean + (1 - self.decay) * real.mean(1)
        return (self.mean - syn.mean(1)).square().sum(1)
""",
    "objective of the suite": """
from methods import METHODS

mine = METHODS["dm"].objective()
""",
}


@pytest.fixture
def losses(tmp_path):
    file = tmp_path / "my losses" / "mine.py"  # a path with a space is as good
    file.parent.mkdir()
    file.write_text(LOSSES)
    return file


def records(out):
    return {record["spec"]["method"]: record for record in read_records(out)}


def test_it_runs_beside_dm_from_the_command_line(command, tiny, tmp_path, losses):
    out = tmp_path / "out"
    arguments = ["--methods", f"dm,{losses}:means", "--ipc", "1", "--out", out]
    status, _, stderr = command("run_all.py", *tiny, *arguments)
    assert status == 0, stderr
    both = records(out)
    assert set(both) == {"dm", "means"}
    # The same loss under another name sees the same draws: the same losses, images and accuracies, to the last bit.
    assert both["means"]["loss"] == both["dm"]["loss"]
    assert accuracies_of(both["means"]) == accuracies_of(both["dm"])
    images = [load_file(out / "records" / f"{both[name]['hash']}.safetensors")["images"] for name in ("means", "dm")]
    assert torch.equal(*images)
    assert both["means"]["hash"] != both["dm"]["hash"]
    assert "means" in (out / "report" / "table2.md").read_text()
    assert (out / "report" / "images" / "synthetic_digits_1_means.png").is_file()


UNDECLARED = {"dataclass as the suite's", "class", "instance", "class that keeps state"}
"""The styles that may keep something from step to step, and do not declare whether they do."""


@pytest.mark.parametrize("style", STYLES)
def test_any_callable_with_the_signature_of_an_objective_will_do(main, tiny, tmp_path, style):
    file = tmp_path / "loss.py"
    file.write_text(STYLES[style])
    out = tmp_path / "out"
    status, stdout, stderr = main(*tiny, "--methods", f"{file}:mine", "--ipc", "1", "--out", out, "--dry-run")
    assert status == 0
    assert stderr.count("\n") == (style in UNDECLARED)
    assert ("so its cells begin anew after an interruption" in stderr) == (style in UNDECLARED)
    assert "mine" in stdout


@pytest.mark.parametrize("style", ["second form", "class that keeps state"])
def test_a_loss_that_asks_for_more_runs_and_starts_each_cell_afresh(main, tiny, tmp_path, style):
    file, out = tmp_path / "loss.py", tmp_path / "out"
    file.write_text(STYLES[style])
    arguments = [*tiny, "--methods", f"{file}:mine", "--ipc", "1", "--seeds", "0,1", "--out", out]
    status, _, stderr = main(*arguments)
    assert status == 0, stderr
    both = {record["spec"]["seed"]: record["loss"] for record in read_records(out)}
    (path,) = (path for path in (out / "records").glob("*.json") if '"seed": 1,' in path.read_text())
    path.unlink()
    assert main(*arguments)[0] == 0  # alone now, without another cell before it
    assert {record["spec"]["seed"]: record["loss"] for record in read_records(out)} == both


def test_its_options_are_set_like_any_other_s(main, tiny, tmp_path, losses):
    out = tmp_path / "out"
    own = f"{losses}:powers"
    status, _, stderr = main(*tiny, "--methods", f"dm,{own}", "--ipc", "1", "--set", "powers.power=1.5", "--out", out)
    assert status == 0, stderr
    assert records(out)["powers"]["spec"]["settings"] == {"power": 1.5}
    assert records(out)["powers"]["loss"] != records(out)["dm"]["loss"]


def test_the_options_of_a_class_are_its_own(main, tiny, tmp_path):
    file = tmp_path / "scaled.py"
    file.write_text(
        "class Scaled:\n"
        "    def __init__(self, *, scale: float = 1.0):\n"
        "        self.scale = scale\n"
        "    def __call__(self, real, syn, *, generator):\n"
        "        return self.scale * (real.mean(1) - syn.mean(1)).square().sum(1)\n"
    )
    arguments = ["--methods", f"{file}:Scaled", "--ipc", "1", "--out", tmp_path / "out", "--dry-run"]
    hashes = []
    for setting in ([], ["--set", "Scaled.scale=1.0"], ["--set", "Scaled.scale=2"]):
        status, stdout, stderr = main(*tiny, *arguments, *setting)
        assert status == 0, stderr
        hashes.append(re.match("[0-9a-f]{16}", stdout)[0])
    assert hashes[0] == hashes[1] != hashes[2]


def test_an_edited_file_is_another_method(main, tiny, tmp_path, losses):
    # Else the record of the first version would be shown as the second's.
    arguments = [*tiny, "--methods", f"dm,{losses}:means", "--ipc", "1", "--out", tmp_path / "out", "--dry-run"]
    before = main(*arguments)[1].split("\n")
    losses.write_text(LOSSES.replace("square()", "abs()"))
    assert losses.read_text() != LOSSES
    after = main(*arguments)[1].split("\n")
    assert before[0] == after[0]
    assert "dm" in before[0]
    assert before[1].split()[0] != after[1].split()[0]


def test_two_losses_of_one_name_are_both_run_or_refused(main, tiny, tmp_path):
    for name, power in (("a", 1), ("b", 2)):
        body = f"def mine(real, syn, *, generator):\n    return (real.mean(1) - syn.mean(1)).abs().pow({power}).sum(1)\n"
        (tmp_path / f"{name}.py").write_text(body)
    methods = f"{tmp_path / 'a.py'}:mine,{tmp_path / 'b.py'}:mine"
    status, stdout, stderr = main(*tiny, "--methods", methods, "--ipc", "1", "--out", tmp_path / "out", "--dry-run")
    # Dropping one of them without a word is not among the choices.
    assert (status == 0 and len(cell_lines(stdout)) == 2) or (status == 2 and "mine" in stderr)


def test_a_name_of_the_suite_s_own_is_refused(main, tiny, tmp_path):
    (tmp_path / "own.py").write_text(
        "def dm(real, syn, *, generator):\n    return (real.mean(1) - syn.mean(1)).square().sum(1)\n"
    )
    status, _, stderr = main(*tiny, "--methods", f"{tmp_path / 'own.py'}:dm", "--out", tmp_path / "out")
    assert status == 2
    assert "'dm'" in stderr
    assert not (tmp_path / "out").exists()
