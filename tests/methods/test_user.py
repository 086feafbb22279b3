"""A user's own loss, `path/to/file.py:name`: good ones work as any method does, bad ones fail at once, in one line."""

import hashlib
import re
import textwrap

import pytest
import torch
from clouds import clouds, generator

from bench.errors import UsageError
from bench.options import parse_options
from methods import METHODS, find_method

GOOD = """
import torch
from bench.options import Positive

def powered(real, syn, *, generator, power: Positive = 2.0, absolute: bool = True):
    difference = real.mean(1) - syn.mean(1)
    return (difference.abs() if absolute else difference).pow(power).sum(1)

def other_loss(real, syn, *, generator):
    return (real.mean(1) - syn.mean(1)).square().sum(1)

NOT_A_LOSS = 3
"""


@pytest.fixture
def write(tmp_path):
    """Return a function that writes a file of Python and returns the text that names `name` in it."""

    def make(source, name, file="my_loss.py"):
        path = tmp_path / file
        path.write_text(textwrap.dedent(source), encoding="utf-8")
        return f"{path}:{name}"

    return make


def refusal(text):
    """Return the message that `find_method` refuses `text` with, which must be one line."""
    with pytest.raises(UsageError) as caught:
        find_method(text)
    message = str(caught.value)
    assert "\n" not in message
    return message


def test_a_name_is_looked_up():
    assert find_method("emd") is METHODS["emd"]


@pytest.mark.parametrize(("text", "meant"), [("sinkhron", "sinkhorn"), ("emb", "emd"), ("rand", "random")])
def test_an_unknown_name_says_the_nearest_and_all_valid_ones(text, meant):
    message = refusal(text)
    assert f"did you mean {meant!r}?" in message
    assert all(name in message for name in METHODS)
    assert "path/to/file.py:function" in message


def test_a_function_becomes_a_method(write):
    text = write(GOOD, "powered")
    method = find_method(text)
    assert (method.name, method.label, method.source) == ("powered", "powered", text)
    assert method.sections == METHODS["dm"].sections
    real, syn = clouds()
    torch.testing.assert_close(
        method.objective()(real, syn, generator=generator()), METHODS["dm"].objective()(real, syn, generator=generator())
    )


def test_its_typed_keyword_parameters_are_options(write):
    method = find_method(write(GOOD, "powered"))
    options = method.options()
    assert set(options) == {"power", "absolute", "lr_images"}
    assert (options["power"].kind, options["power"].default) == (float, 2.0)
    values = parse_options(options, {"power": "1", "absolute": "true"}, owner="powered")
    real, syn = clouds()
    expected = (real.mean(1) - syn.mean(1)).abs().sum(1)
    torch.testing.assert_close(method.objective(**values)(real, syn, generator=generator()), expected)
    with pytest.raises(UsageError, match="power takes a number above 0"):
        parse_options(options, {"power": "-1"}, owner="powered")
    with pytest.raises(UsageError, match="did you mean 'power'"):
        parse_options(options, {"powr": "1"}, owner="powered")


def test_a_file_s_content_enters_the_record_s_hash(write):
    # Else an edited loss would be answered with the old one's record.
    first = find_method(write(GOOD, "powered")).code
    assert first == hashlib.sha256(textwrap.dedent(GOOD).encode()).hexdigest()[:16]
    assert find_method(write(GOOD + "# edited\n", "powered")).code != first
    assert METHODS["dm"].code == ""


def test_the_generator_is_handed_through(write):
    source = """
    import torch

    def noisy(real, syn, *, generator):
        return (real.mean(1) - syn.mean(1)).square().sum(1) + torch.rand(len(real), generator=generator)
    """
    objective = find_method(write(source, "noisy")).objective()
    real, syn = clouds(dtype=torch.float32)
    one, same, other = (objective(real, syn, generator=generator(seed)) for seed in (0, 0, 1))
    assert torch.equal(one, same)
    assert not torch.equal(one, other)


def test_a_class_is_a_factory(write):
    source = """
    class Scaled:
        def __init__(self, *, factor=3.0):
            self.factor = factor

        def __call__(self, real, syn, *, generator):
            return self.factor * (real.mean(1) - syn.mean(1)).square().sum(1)
    """
    method = find_method(write(source, "Scaled"))
    real, syn = clouds()
    expected = METHODS["dm"].objective()(real, syn, generator=generator())
    torch.testing.assert_close(method.objective()(real, syn, generator=generator()), 3 * expected)
    torch.testing.assert_close(method.objective(factor=5.0)(real, syn, generator=generator()), 5 * expected)


# Written as the suite's own losses are, which are what a user copies from.
DATACLASS = """
from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch
    from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class Mine:
    power: float = 2.0

    def __call__(self, real: Tensor, syn: Tensor, *, generator: torch.Generator) -> Tensor:
        return (real.mean(1) - syn.mean(1)).abs().pow(self.power).sum(1)
"""
FUNCTION = """
from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch
    from torch import Tensor


def mine(real: Tensor, syn: Tensor, *, generator: torch.Generator, power: float = 2.0) -> Tensor:
    return (real.mean(1) - syn.mean(1)).abs().pow(power).sum(1)
"""


@pytest.mark.parametrize(("source", "name"), [(DATACLASS, "Mine"), (FUNCTION, "mine")], ids=["dataclass", "function"])
def test_a_loss_in_the_suite_s_own_style_works_and_has_options(write, source, name):
    method = find_method(write(source, name))
    assert method.options()["power"].kind is float
    real, syn = clouds()
    value = method.objective(power=1.0)(real, syn, generator=generator())
    torch.testing.assert_close(value, (real.mean(1) - syn.mean(1)).abs().sum(1))


CALLABLES = """
import functools

def base(real, syn, *, generator, power):
    return (real.mean(1) - syn.mean(1)).abs().pow(power).sum(1)

class Kind:
    def __call__(self, real, syn, *, generator):
        return base(real, syn, generator=generator, power=2)

bound = functools.partial(base, power=2)
instance = Kind()
shortest = lambda real, syn, *, generator: base(real, syn, generator=generator, power=2)
"""


@pytest.mark.parametrize("name", ["bound", "instance", "shortest"])
def test_any_callable_with_the_signature_works(write, name):
    method = find_method(write(CALLABLES, name))
    assert set(method.options()) == {"lr_images"}
    real, syn = clouds()
    expected = METHODS["dm"].objective()(real, syn, generator=generator())
    torch.testing.assert_close(method.objective()(real, syn, generator=generator()), expected)


def test_a_file_that_is_not_there(tmp_path):
    place = tmp_path / "nowhere.py"
    message = refusal(f"{place}:loss")
    assert f"there is no file '{place}'" in message
    assert "path/to/file.py:function" in message


def test_a_folder_is_no_file(tmp_path):
    assert "there is no file" in refusal(f"{tmp_path}:loss")


def test_a_file_that_is_not_python(write):
    assert "no Python file" in refusal(write(GOOD, "powered", file="my_loss.txt"))


@pytest.mark.parametrize(("name", "hint"), [("powerd", "powered"), ("other_los", "other_loss")])
def test_a_function_that_is_not_there_says_the_nearest(write, name, hint):
    message = refusal(write(GOOD, name))
    assert f"did you mean {hint!r}?" in message
    assert "valid: other_loss, powered" in message  # the file's own, not what it imports


@pytest.mark.parametrize("name", ["NOT_A_LOSS", ""])
def test_what_is_not_a_function_is_refused(write, name):
    assert "valid: other_loss, powered" in refusal(write(GOOD, name))


@pytest.mark.parametrize("name", ["dm", "emd", "whole", "match", "eval", "network"])
def test_a_name_that_is_taken_is_refused(write, name):
    # `--set NAME.field=value` must mean one thing.
    message = refusal(write(f"def {name}(real, syn, *, generator):\n    return (real.mean(1) - syn.mean(1)).sum(1)\n", name))
    assert f"the name {name!r} is taken" in message


@pytest.mark.parametrize(
    ("body", "complaint"),
    [
        ("return (real.mean(1) - syn.mean(1)).square().sum()", r"returns \(\);"),
        ("return (real.mean(1) - syn.mean(1)).square()", r"returns \(2, 8\);"),
        ("return (real.mean(1) - syn.mean(1)).square().sum(1, keepdim=True)", r"returns \(2, 1\);"),
        ("return syn.square().sum(2)", r"returns \(2, 3\);"),
        ("return (real.mean(1) - syn.mean(1)).square().sum().item()", "returns float;"),
        ("return None", "returns NoneType;"),
        ("return list((real.mean(1) - syn.mean(1)).square().sum(1))", "returns list;"),
        ("return (real.mean(1) - syn.mean(1)).square().sum(1).detach()", "does not depend on syn differentiably"),
        ("return real.square().sum((1, 2))", "does not depend on syn differentiably"),
        ("return (real - syn).square().sum((1, 2))", "raises RuntimeError: "),
        ("raise KeyError('ipc')", "raises KeyError: 'ipc'"),
        ("raise ValueError('first\\nsecond')", "raises ValueError: first"),
    ],
)
def test_a_loss_that_is_none_is_refused_before_work_starts(write, body, complaint):
    message = refusal(write(f"def bad(real, syn, *, generator):\n    {body}\n", "bad"))
    assert message.startswith("--methods ")
    assert re.search(complaint, message)
    if "raises" not in complaint:
        assert "valid: one differentiable loss a class, [C]" in message


@pytest.mark.parametrize(
    "signature", ["real, syn", "real, syn, *, generator, factor", "real, *, generator", ""], ids=lambda s: s or "nothing"
)
def test_another_signature_is_refused(write, signature):
    assert "raises TypeError" in refusal(write(f"def bad({signature}):\n    return syn.sum((1, 2))\n", "bad"))


@pytest.mark.parametrize(
    ("source", "complaint"),
    [
        ("def bad(:\n", "SyntaxError"),
        ("import no_such_library_at_all\n", "ModuleNotFoundError"),
        ("1 / 0\n", "ZeroDivisionError"),
    ],
)
def test_a_file_that_raises_is_refused(write, source, complaint):
    assert f"the file raises {complaint}" in refusal(write(source, "bad"))


def test_trying_a_loss_consumes_no_global_random_numbers(write):
    before = torch.get_rng_state()
    find_method(write(GOOD, "powered"))
    assert torch.equal(torch.get_rng_state(), before)
