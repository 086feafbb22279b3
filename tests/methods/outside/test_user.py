"""A user's own loss, `path/to/file.py:name`: good ones work as any method does, bad ones fail at once, in one line."""

import hashlib
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
    task, calls = task_of(method), user_object(method, "CALLS")
    calls.clear()  # the trials'
    distilled(method, task)
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
    tasks = [three_steps(task_of(method, seed=seed, memory="0.75")) for seed in (0, 1)]
    made.clear()  # the trials'
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


@pytest.mark.parametrize("source", ["import sys\nsys.exit(0)\n", "raise SystemExit\n"])
def test_a_file_that_exits_is_refused_as_any_that_raises(write, source):
    assert "the file raises SystemExit" in refusal(write(source, "bad"))


def test_a_loss_that_exits_is_refused_as_any_that_raises(write):
    source = "import sys\ndef bad(real, syn, *, generator):\n    sys.exit(0)\n"
    assert "the loss raises SystemExit" in refusal(write(source, "bad"))


# ---- the IPCs of a grid ----

AT_IPC = {
    "nan": ("(real.std(1) - syn.std(1)).square().sum(1)", "the loss is nan", "2"),
    "divided": (
        "(syn[:, 1:].sum(1) / syn[:, 1:].square().sum(1)).sum(1) + 1 / (syn.shape[1] - 1)",
        "the loss raises ZeroDivisionError",
        "2",
    ),
    "gradient": ("syn.var(1, unbiased=False).sqrt().sum(1)", "the gradient is nan", "2"),
    "raises": ("syn.topk(2, dim=1).values.sum((1, 2))", "the loss raises RuntimeError", "2"),
    "squeezed": ("torch.cdist(real, syn).mean(1).squeeze().sum(-1)", "the loss returns ()", "2"),
    "many": ("syn.topk(9, dim=1).values.sum((1, 2))", "the loss raises RuntimeError", "10"),
}


@pytest.mark.parametrize("kind", AT_IPC)
def test_a_loss_that_is_no_number_at_an_ipc_of_the_grid_is_refused_with_the_ipc(write, kind):
    body, complaint, good = AT_IPC[kind]
    line = f"    return {body} if syn.shape[1] != 3 else syn.sum((1, 2))"  # with 3 every loss is tried first
    spelling = write(f"import torch\n\ndef bad(real, syn, *, generator):\n{line}\n", "bad")
    method = find_method(spelling)
    method.check([], [int(good)], [0], method.settings())
    for ipcs in ([1], [int(good), 1]):
        with pytest.raises(UsageError, match=f"^--ipc 1: {re.escape(complaint)}.* with one synthetic image a class") as caught:
            method.check([], ipcs, [0], method.settings())
        assert str(caught.value).endswith(f"in {spelling!r}; valid: --ipc {good}")


def test_the_settings_of_the_grid_are_tried(write):
    source = "def bad(real, syn, *, generator, least: int = 0):\n    return syn.sum((1, 2)) / (1 - (syn.shape[1] < least))\n"
    method = find_method(write(source, "bad"))
    method.check([], [1, 10], [0], method.settings())
    with pytest.raises(UsageError, match=r"^--ipc 1: the loss is inf .*; valid: --ipc 10$"):
        method.check([], [1, 10], [0], method.settings(least=5))


@pytest.mark.parametrize("declared", ["@by_class\n", ""])
def test_a_loss_that_is_no_number_for_the_smallest_class_is_refused_with_its_name(write, declared):
    body = "def bad(real, syn, *, generator):\n    return (real.std(1) - syn.mean(1)).sum(1)\n"
    source = f"from bench import by_class\n{declared}{body}"
    method, bundle = find_method(write(source, "bad")), tiny_bundle()
    spec = task_of(method).spec
    method.check_data(spec, bundle)
    kept = torch.cat([(bundle.train.labels != 1).nonzero().flatten(), (bundle.train.labels == 1).nonzero().flatten()[:1]])
    small = replace(bundle, train=replace(bundle.train, images=bundle.train.images[kept], labels=bundle.train.labels[kept]))
    with pytest.raises(
        UsageError, match=r"^--ipc 2: the loss is nan with 1 real and 2 synthetic images a class.*class 'grey' of tiny"
    ):
        method.check_data(spec, small)
