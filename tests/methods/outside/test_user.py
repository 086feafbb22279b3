"""A user's own loss, `path/to/file.py:name`: good ones work as any method does, bad ones fail at once, in one line."""

import hashlib
import os
import re
import sys
import textwrap
import warnings
from dataclasses import replace

import pytest
import torch
from clouds import clouds, generator
from tiny_cells import distill, distilled, task_of, tiny_bundle, with_settings

from bench.cells.loss import FeatureLoss
from bench.cells.method import FeatureMatching
from bench.errors import UsageError
from bench.files import DataWarning
from bench.loops.matching import match
from methods import METHODS, find_method
from methods.outside.user import code_of

pytestmark = pytest.mark.filterwarnings("ignore::bench.files.DataWarning")

GOOD = """
import torch
from bench import Positive

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
    assert isinstance(method, FeatureMatching)
    assert (method.name, method.label, method.citation) == ("powered", "powered", text)
    assert method.sections == METHODS["dm"].sections
    real, syn = clouds()
    torch.testing.assert_close(
        method.objective()(real, syn, generator=generator()), METHODS["dm"].objective()(real, syn, generator=generator())
    )


def test_its_typed_keyword_parameters_are_settings(write):
    settings = find_method(write(GOOD, "powered")).settings
    assert issubclass(settings, FeatureLoss)
    assert settings().model_dump() == {"power": 2.0, "absolute": True}
    objective = settings.from_texts({"power": "1", "absolute": "true", "rate": "3"}, owner="powered")
    assert objective.model_dump() == {"power": 1.0, "absolute": True}
    assert objective.rate == 3.0
    real, syn = clouds()
    expected = (real.mean(1) - syn.mean(1)).abs().sum(1)
    torch.testing.assert_close(objective(real, syn, generator=generator()), expected)
    with pytest.raises(UsageError, match=r"--set powered\.power: .* power takes a number above 0"):
        settings.from_texts({"power": "-1"}, owner="powered")
    with pytest.raises(UsageError, match="did you mean 'power'"):
        settings.from_texts({"powr": "1"}, owner="powered")


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
    first, same, other = (objective(real, syn, generator=generator(seed)) for seed in (0, 0, 1))
    assert torch.equal(first, same)
    assert not torch.equal(first, other)


def test_a_class_is_a_factory(write):
    source = """
    class Scaled:
        def __init__(self, *, factor: float = 3.0, untyped=1.0):
            self.factor = factor * untyped

        def __call__(self, real, syn, *, generator):
            return self.factor * (real.mean(1) - syn.mean(1)).square().sum(1)
    """
    method = find_method(write(source, "Scaled"))
    assert set(method.settings.model_fields) == {"factor", "lr_images", "rate"}  # what has no type keeps its default
    real, syn = clouds()
    expected = METHODS["dm"].objective()(real, syn, generator=generator())
    torch.testing.assert_close(method.objective()(real, syn, generator=generator()), 3 * expected)
    torch.testing.assert_close(method.objective(factor=5.0)(real, syn, generator=generator()), 5 * expected)


# With annotations that a type checker alone resolves, as in the suite's own files, which are what a user copies from.
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
SETTINGS = """
from __future__ import annotations

from typing import TYPE_CHECKING

from bench import FeatureLoss, Positive

if TYPE_CHECKING:
    import torch
    from torch import Tensor


class Whole(FeatureLoss):
    power: Positive = 2.0

    def __call__(self, real: Tensor, syn: Tensor, *, generator: torch.Generator) -> Tensor:
        return (real.mean(1) - syn.mean(1)).abs().pow(self.power).sum(1)
"""


@pytest.mark.parametrize(
    ("source", "name"),
    [(DATACLASS, "Mine"), (FUNCTION, "mine"), (SETTINGS, "Whole")],
    ids=["dataclass", "function", "settings"],
)
def test_a_loss_in_the_suite_s_own_style_works_and_has_settings(write, source, name):
    method = find_method(write(source, name))
    assert method.settings.model_fields["power"].annotation is float
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
    assert set(method.settings.model_fields) == {"lr_images", "rate"}
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


# ---- the second form: context and state ----

CONTEXT = """
CALLS = []

def weighted(real, syn, *, generator, context, factor: float = 2.0):
    CALLS.append(context)
    weights = factor * (1 + context.labels + context.step)
    return weights * (real.mean(1) - syn.mean(1)).square().sum(1)
"""
STATE = """
class Averaged:
    made = []

    def __init__(self, *, memory: float = 0.5):
        self.memory, self.mean, self.calls = memory, None, 0
        self.made.append(self)

    def __call__(self, real, syn, *, generator):
        mean = real.mean(1)
        self.mean = mean if self.mean is None else self.memory * self.mean + (1 - self.memory) * mean
        self.calls += 1
        return (self.mean - syn.mean(1)).square().sum(1)
"""
BOTH = """
class Both:
    def __init__(self):
        self.steps = []

    def __call__(self, real, syn, *, generator, context):
        assert len(self.steps) == context.step
        self.steps.append(context.step)
        return (real.mean(1) - syn.mean(1)).square().sum(1)
"""


def user_object(method, name):
    """Return what the user's file calls `name`."""
    return getattr(sys.modules[method.settings._function.__module__], name)


def test_a_function_with_a_parameter_context_is_told_step_and_classes(write):
    method = find_method(write(CONTEXT, "weighted"))
    assert set(method.settings.model_fields) == {"factor", "lr_images", "rate"}  # `context` is no setting
    calls = user_object(method, "CALLS")
    calls.clear()
    distill(method)
    assert [(context.step, context.iterations) for context in calls] == [(0, 2), (1, 2)]
    assert all(context.labels.tolist() == [0, 1, 2] for context in calls)
    assert {context.classes for context in calls} == {("dark", "grey", "bright")}


def test_the_context_enters_the_loss_and_its_settings_do_too(write):
    method = find_method(write(CONTEXT, "weighted"))
    values = []

    def watch(step, real, syn):
        distances = (real.mean(1) - syn.mean(1)).square().sum(1)
        values.append(float((5 * torch.tensor([1 + step, 2 + step, 3 + step]) * distances).sum()))

    syn = match(with_settings(task_of(method), method.settings(factor=5.0)), watch=watch)
    assert syn.trace.loss == pytest.approx(values, rel=1e-5)


def three_steps(task):
    """Return the task with three iterations."""
    protocol = task.spec.protocol.changed(match=task.match.changed(iterations=3))
    return replace(task, spec=task.spec.model_copy(update={"protocol": protocol}))


def test_a_class_is_made_once_a_cell_and_keeps_its_state_across_the_steps(write):
    method = find_method(write(STATE, "Averaged"))
    made = method.settings._function.made
    made.clear()  # the trial's
    tasks = [three_steps(task_of(method, seed=seed, memory="0.75")) for seed in (0, 1)]
    images = [distilled(method, task).images for task in tasks]
    assert [(loss.calls, loss.memory) for loss in made] == [(3, 0.75), (3, 0.75)]
    assert made[0] is not made[1]

    # The second cell is what it is alone: nothing of the first one is left.
    again = distilled(method, tasks[1])
    assert torch.equal(again.images, images[1])
    # The state counts: without memory the same loss leads elsewhere.
    forgetful = with_settings(tasks[1], tasks[1].settings.changed(memory=0.0))
    assert not torch.equal(distilled(method, forgetful).images, images[1])


def test_the_average_that_a_class_keeps_is_the_one_over_the_steps(write):
    method = find_method(write(STATE, "Averaged"))
    task, means, values = three_steps(task_of(method)), [], []

    def watch(step, real, syn):
        mean = real.mean(1)
        means.append(mean if not means else 0.5 * means[-1] + 0.5 * mean)
        values.append(float((means[-1] - syn.mean(1)).square().sum()))

    assert match(task, watch=watch).trace.loss == pytest.approx(values)
    assert len(values) == 3


def test_a_class_may_keep_state_and_ask_for_the_context(write):
    method = find_method(write(BOTH, "Both"))
    task = three_steps(task_of(method))
    for _ in range(2):  # a second cell with the steps of the first would fail its assertion
        assert len(distilled(method, task).trace.loss) == 3


def test_a_loss_of_the_second_form_is_tried_before_work_starts(write):
    source = "def bad(real, syn, *, generator, context):\n    return syn.sum((1, 2)) * context.no_such_thing\n"
    assert "raises AttributeError" in refusal(write(source, "bad"))


@pytest.mark.parametrize(
    ("source", "complaint"),
    [
        (
            "def bad(real, syn, *, generator, lr_images: float = 1.0):\n    return syn.sum((1, 2))\n",
            "'lr_images' has a name of the suite's own",
        ),
        (
            "from bench.cells.settings import Positive\n"
            "def bad(real, syn, *, generator, power: Positive = -1.0):\n    return syn.sum((1, 2))\n",
            "the default of bad.power: -1.0 is not valid; power takes a number above 0",
        ),
    ],
)
def test_a_setting_that_cannot_be_is_refused(write, source, complaint):
    assert complaint in refusal(write(source, "bad"))


# ---- what a loss declares: whether it works class by class, and its state ----

DECLARED = """
import functools
import torch
from bench import FeatureLoss, StatefulLoss, by_class

def undeclared(real, syn, *, generator, power: float = 2.0):
    return (real.mean(1) - syn.mean(1)).abs().pow(power).sum(1)

@by_class
def function(real, syn, *, generator, context, power: float = 2.0):
    return undeclared(real, syn, generator=generator, power=power)

class Undeclared:
    def __init__(self, power: float = 2.0):
        self.power = power
    def __call__(self, real, syn, *, generator):
        return undeclared(real, syn, generator=generator, power=self.power)

@by_class
class Kind(Undeclared):
    pass

class Stateful(StatefulLoss):
    def __init__(self, power: float = 2.0):
        self.add_state("mean", torch.zeros(()))
        self.power = power
    def __call__(self, real, syn, *, generator):
        self.mean = (self.mean + real.mean(1)) / 2
        return (self.mean - syn.mean(1)).abs().pow(self.power).sum(1)

@by_class
class Both(Stateful):
    pass

class WithStateDict(Undeclared):
    def state_dict(self):
        return {}
    def load_state_dict(self, state):
        pass

@by_class
class Settings(FeatureLoss):
    power: float = 2.0
    def __call__(self, real, syn, *, generator):
        return undeclared(real, syn, generator=generator, power=self.power)

bound = functools.partial(undeclared, power=3.0)
bound_by_class = by_class(functools.partial(undeclared, power=3.0))
instance = Undeclared()
module = torch.nn.Identity()
module.forward = undeclared
"""
WORKS_BY_CLASS = ("function", "Kind", "Settings", "bound_by_class")
ONE_RANK = ("undeclared", "Stateful", "Both", "WithStateDict", "bound", "module")
BEGINS_ANEW = ("Undeclared", "instance")


@pytest.mark.parametrize("name", [*WORKS_BY_CLASS, *ONE_RANK, *BEGINS_ANEW])
def test_a_loss_is_divided_and_resumed_as_it_declares(write, name):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        text = write(DECLARED, name)
        method = find_method(text)
    reason = method.reason_not_divisible(task_of(method).spec, tiny_bundle())
    assert (reason is None) == (name in WORKS_BY_CLASS), reason
    stateful = name in ("Stateful", "Both", "WithStateDict", "module")
    assert reason is None or ("keeps state" if stateful else "with the decorator bench.by_class") in reason
    lines = [str(warning.message) for warning in caught if warning.category is DataWarning]
    assert len(lines) == (name in BEGINS_ANEW), lines
    if lines:
        assert lines[0].startswith(f"--methods {text!r}: the loss does not declare what it keeps from step to step")
        assert "its cells begin anew after an interruption" in lines[0]
        assert "valid: the base class bench.StatefulLoss with add_state, or the decorator bench.by_class" in lines[0]


@pytest.mark.parametrize("name", ["function", "Kind", "Stateful", "Settings"])
def test_a_loss_that_declares_something_keeps_its_settings(write, name):
    method = find_method(write(DECLARED, name))
    first, other = (distill(method, power=power).images for power in ("2", "1.5"))
    assert not torch.equal(first, other)


# ---- the hash of a loss: its file, and what it imports from beside it ----

BESIDE = {
    "helper.py": "import deeper\nFACTOR = 2\n",
    "deeper.py": "VALUE = 1\n",
    "pack/__init__.py": "from .inner import VALUE\n",
    "pack/inner.py": "VALUE = 1\n",
    "pack/other.py": "VALUE = 1\n",
    "space/part.py": "VALUE = 1\n",
    "unused.py": "VALUE = 1\n",
    "notes.txt": "no code",
}
"""The files beside a user's loss. `space` is a package without `__init__.py`."""


@pytest.fixture
def folder(tmp_path):
    for name, content in BESIDE.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(content)
    return tmp_path


@pytest.mark.parametrize(
    ("source", "imported"),
    [
        ("import helper", {"helper.py", "deeper.py"}),
        ("from helper import FACTOR", {"helper.py", "deeper.py"}),
        ("import deeper as d, math", {"deeper.py"}),
        ("def f():\n    import deeper", {"deeper.py"}),
        ("import pack", {"pack/__init__.py", "pack/inner.py"}),
        ("import pack.other", {"pack/__init__.py", "pack/inner.py", "pack/other.py"}),
        ("from pack import other", {"pack/__init__.py", "pack/inner.py", "pack/other.py"}),
        ("from pack import *", {"pack/__init__.py", "pack/inner.py", "pack/other.py"}),
        ("from space import part", {"space/part.py"}),
        ("from space.part import VALUE", {"space/part.py"}),
        ("import torch, math", set()),
    ],
)
def test_the_hash_follows_what_a_loss_imports_from_beside_it_and_nothing_else(folder, source, imported):
    path = folder / "my_loss.py"
    path.write_text(source + "\n")
    first = code_of(path)
    changed = set()
    for name, content in BESIDE.items():
        (folder / name).write_text(content + "# edited\n")
        if code_of(path) != first:
            changed.add(name)
        (folder / name).write_text(content)
    assert changed == imported
    assert code_of(path) == first


def test_a_relative_import_inside_a_package_is_followed_upwards(folder):
    (folder / "pack/deep").mkdir()
    (folder / "pack/deep/__init__.py").write_text("from ..other import VALUE\nfrom .. import inner\n")
    path = folder / "my_loss.py"
    path.write_text("import pack.deep\n")
    first = code_of(path)
    (folder / "pack/other.py").write_text("VALUE = 2\n")
    assert code_of(path) != first


def test_files_that_import_one_another_and_files_that_are_no_python_are_hashed(folder):
    (folder / "deeper.py").write_text("import helper\n")
    (folder / "pack/inner.py").write_text("def (:\n")
    path = folder / "my_loss.py"
    path.write_text("import helper, pack, my_loss\n")
    first = code_of(path)
    (folder / "pack/inner.py").write_text("def ((:\n")
    assert code_of(path) != first


def test_hashing_runs_nothing(folder, tmp_path):
    (folder / "helper.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w').close()\n")
    (folder / "my_loss.py").write_text("import helper\n")
    code_of(folder / "my_loss.py")
    assert not (tmp_path / "ran").exists()


def test_a_folder_named_as_a_part_of_the_suite_is_not_hashed(folder):
    # `import bench` is the suite's, whatever lies beside the file; its code is recorded apart.
    path = folder / "my_loss.py"
    path.write_text("from bench.cells.settings import Positive\n")
    first = code_of(path)
    (folder / "bench/cells").mkdir(parents=True)
    (folder / "bench/cells/settings.py").write_text("Positive = 1\n")
    assert code_of(path) == first


def test_a_fifo_beside_a_loss_is_not_opened(folder):
    (folder / "helper.py").unlink()
    os.mkfifo(folder / "helper.py")
    (folder / "my_loss.py").write_text("import helper\n")
    assert code_of(folder / "my_loss.py") == hashlib.sha256(b"import helper\n").hexdigest()[:16]


def test_the_code_of_a_method_is_that_of_all_its_files(folder, monkeypatch):
    monkeypatch.syspath_prepend(folder)
    path = folder / "my_loss.py"
    path.write_text("import helper\ndef mine(real, syn, *, generator):\n"
                    "    return helper.FACTOR * (real.mean(1) - syn.mean(1)).square().sum(1)\n")  # fmt: skip
    monkeypatch.delitem(sys.modules, "helper", raising=False)
    first = find_method(f"{path}:mine").code
    (folder / "deeper.py").write_text("VALUE = 3\n")
    assert find_method(f"{path}:mine").code != first


@pytest.mark.parametrize("source", ["import sys\nsys.exit(0)\n", "raise SystemExit\n"])
def test_a_file_that_exits_is_refused_as_any_that_raises(write, source):
    assert "the file raises SystemExit" in refusal(write(source, "bad"))


def test_a_loss_that_exits_is_refused_as_any_that_raises(write):
    source = "import sys\ndef bad(real, syn, *, generator):\n    sys.exit(0)\n"
    assert "the loss raises SystemExit" in refusal(write(source, "bad"))
