"""What a record says of the machine."""

from __future__ import annotations

import pytest
import torch

from bench.machine import hardware as module
from bench.machine.hardware import hardware, processor

BLOCK = "processor\t: 0\ncpu family\t: {family}\nmodel\t\t: 1\nmodel name\t: AMD EPYC\n\nprocessor\t: 1\ncpu family\t: 99\n"


def test_processors_of_one_name_are_told_apart():
    assert processor(BLOCK.format(family=25)) == "AMD EPYC (family 25, model 1)"
    assert processor(BLOCK.format(family=26)) == "AMD EPYC (family 26, model 1)"


@pytest.mark.parametrize(("text", "name"), [("model name : Some\n", "Some"), ("Hardware : board\nmodel : 3\n", ""), ("", "")])
def test_what_is_not_said_is_left_out(text, name):
    assert processor(text) == name


@pytest.mark.parametrize(("status", "commit"), [("", "abc"), (" M methods/losses/dm.py", "abc with changes")])
def test_a_commit_says_whether_its_sources_were_changed(status, commit, monkeypatch):
    monkeypatch.setattr(module, "_git", lambda root, command, *rest: "abc" if command == "rev-parse" else status)
    assert module.code_version.__wrapped__()["commit"] == commit


def test_a_machine_always_has_a_name():
    assert hardware(torch.device("cpu"))["cpu"]
