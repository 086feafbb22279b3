"""A user's own loss: `path/to/file.py:name`, with no change to the suite.

`bench.cells.loss` says what a loss declares of itself; docs/adding.md has examples.
"""

from __future__ import annotations

import copy
import inspect
import sys
import types
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from importlib.machinery import all_suffixes
from pkgutil import resolve_name
from typing import TYPE_CHECKING, Any, ClassVar, cast, get_type_hints

from pydantic import create_model
from pydantic.fields import FieldInfo

from bench.cells.loss import FeatureLoss, declared_state, is_stateless
from bench.cells.method import FeatureMatching, smallest_class
from bench.cells.settings import is_setting
from bench.errors import UsageError, unknown
from bench.files import DataWarning, user_path
from bench.lazy import torch
from bench.types import Bundle, ContextObjective, LossContext, Objective, Shaped
from methods.outside.beside import UserFile

if TYPE_CHECKING:
    from torch import Generator, Tensor

    from bench.cells.spec import RunSpec
    from bench.cells.task import Task
    from bench.types import SyntheticSet

_UNDECLARED = (
    "the loss does not declare what it keeps from step to step, so its cells begin anew after an interruption; "
    "valid: the base class bench.StatefulLoss with add_state, or the decorator bench.by_class for a loss that keeps nothing"
)

_OTHER_IPCS = (2, 10)
"""IPCs that a refusal may propose."""


class UserLoss(FeatureLoss):
    """The settings of a user's loss: its options are fields of a subclass made for it. `_file` defines `_function`."""

    _function: ClassVar[Callable[..., Any]]
    _file: ClassVar[UserFile]

    def for_cell(self) -> Objective | ContextObjective:
        """Return the user's loss with its options set: a new instance of a class, or the function."""
        options: dict[str, Any] = {name: value for name, value in self if name not in FeatureLoss.model_fields}
        function: Any = type(self)._function
        # An object may keep state, so each cell has a copy; copying a function gives the function itself.
        with self._file.first():
            loss = function(**options) if inspect.isclass(function) else partial(copy.deepcopy(function), **options)
        return cast("Objective | ContextObjective", loss)

    def __call__(self, real: Tensor, syn: Tensor, *, generator: Generator) -> Tensor:
        """Return the loss of each class, `[C]`, as a new instance gives it; see `Objective`."""
        loss: Any = self.for_cell()
        value: Tensor = loss(real, syn, generator=generator, **_trial_context(loss, len(real)))
        return value


@dataclass(frozen=True, kw_only=True)
class UserMatching(FeatureMatching):
    """The method of a user's loss; `file` is the one that has it."""

    file: UserFile

    def check(self, sources: Sequence[Shaped], ipcs: Sequence[int], seeds: Sequence[int], settings: Any) -> None:
        """Raise `UsageError` if the loss is no number with as many synthetic images a class as an IPC of the grid."""
        with self.file.first():
            problems = {ipc: problem_of(settings, real=ipc + 2, syn=ipc) for ipc in (*ipcs, *_OTHER_IPCS)}
        wrong = next((ipc for ipc in ipcs if problems[ipc]), None)
        if wrong is not None:
            good = ",".join(str(ipc) for ipc in ipcs if not problems[ipc])
            good = good or next((str(ipc) for ipc in _OTHER_IPCS if not problems[ipc]), "")
            valid = f"--ipc {good}" if good else "a loss that is a finite number"
            images = "with one synthetic image a class" if wrong == 1 else f"with {wrong} synthetic images a class"
            raise UsageError(f"--ipc {wrong}: {problems[wrong]} {images}, in {self.spelling!r}; valid: {valid}")

    def check_data(self, spec: RunSpec, bundle: Bundle) -> None:
        """Raise `UsageError` if the loss is no number with as few real images as the smallest class has."""
        smallest, name = smallest_class(bundle)
        classes = 1 if self.reason_of_one_size(spec) is None else 2  # a class may be the only one of its size
        if smallest >= self.real_batch(spec):
            return
        with self.file.first():
            problem = problem_of(spec.settings, real=smallest, syn=spec.ipc or 1, classes=classes)
        if problem:
            images = f"{smallest} real and {spec.ipc} synthetic images a class, in {self.spelling!r}"
            raise UsageError(
                f"--ipc {spec.ipc}: {problem} with {images}; class {name!r} of {spec.dataset} has no more; valid: more"
            )


def user_method(spelling: str) -> UserMatching:
    """Return the method of a user's loss, `path/to/file.py:name`, the name of a function or class in the file.

    The loss is tried on small features at once, so that a wrong one fails before work starts. A loss with which interrupted
    cells cannot go on, because it does not declare its state, is a `DataWarning`.

    Raises:
        UsageError: if there is none, or it returns no differentiable loss for each class.

    """
    name, file = spelling.rpartition(":")[2], user_file(spelling)
    with file.first(), file.watched():
        settings = loss_class(load_callable(file, name, spelling), file, spelling)
        try:
            try_loss(settings(), real=5, syn=3)
        except UsageError as error:
            raise UsageError(f"--methods {spelling!r}: {error}") from error
        loss = settings().for_cell()
    if declared_state(loss) is None and not is_stateless(loss):
        warnings.warn(f"--methods {spelling!r}: {_UNDECLARED}", DataWarning, stacklevel=2)
    return UserMatching(
        name=name,
        label=name,
        citation=spelling,
        spelling=spelling,
        settings=settings,
        code=file.identity,
        files=file.files,
        file=file,
        procedure=partial(_distill, file),
    )


def _distill(file: UserFile, task: Task) -> SyntheticSet:
    """Distill a cell by the matching loop; what the loss imports only when it is called is beside its file, too."""
    with file.first():
        syn: SyntheticSet = resolve_name(str(FeatureMatching.procedure))(task)
    return syn


def user_file(spelling: str) -> UserFile:
    """Return the file that `path/to/file.py:name` names; raise `UsageError` if it is no Python file."""
    path = user_path(spelling.rpartition(":")[0])
    if not path.is_file():
        raise UsageError(f"--methods {spelling!r}: there is no file {str(path)!r}; valid: path/to/file.py:function")
    if not path.name.endswith(tuple(all_suffixes())):
        raise UsageError(f"--methods {spelling!r}: {str(path)!r} is no Python file; valid: path/to/file.py:function")
    return UserFile.at(path)


def load_callable(file: UserFile, name: str, spelling: str) -> Callable[..., Any]:
    """Return what a user's file calls `name`; raise `UsageError` if the file raises, or that is no callable."""
    try:
        module = file.load()
    except (Exception, SystemExit) as error:  # `sys.exit()` in a user's file does not end the suite
        message = f"the file raises {type(error).__name__}: {error}{_advice(error, file)}"
        raise UsageError(f"--methods {spelling!r}: {message}") from error
    function = getattr(module, name, None)
    if not callable(function):
        names = [
            key for key, value in vars(module).items() if callable(value) and getattr(value, "__module__", "") == file.name
        ]
        raise unknown(f"function of {file.path}", name, names)
    return cast("Callable[..., Any]", function)


def _advice(error: BaseException, file: UserFile) -> str:
    """Return what to write instead of a path that is relative to the working directory; mostly nothing."""
    name = getattr(error, "filename", None)
    if not isinstance(error, FileNotFoundError) or not isinstance(name, str) or not (file.path.parent / name).exists():
        return ""
    return f"; it is beside the file, not in the working directory; valid: pathlib.Path(__file__).parent / {name!r}"


def loss_class(function: Callable[..., Any], file: UserFile, spelling: str) -> type[FeatureLoss]:
    """Return the settings of a user's loss: those of `FeatureLoss`, and its typed keyword parameters with defaults.

    It works class by class if the user's function or class declares so, and no state: that belongs to one process.

    Raises:
        UsageError: if a parameter has a name of the suite's own, or a default is not valid.

    """
    if inspect.isclass(function) and issubclass(function, FeatureLoss):
        return function
    options: dict[str, Any] = dict(_options(function)) if inspect.isroutine(function) or inspect.isclass(function) else {}
    for option in options:
        if option in dir(UserLoss) or option in UserLoss.model_fields or option.startswith("_"):
            taken = f"the parameter {option!r} has a name of the suite's own"
            raise UsageError(f"--methods {spelling!r}: {taken}; valid: any other name")
    name = getattr(function, "__name__", type(function).__name__)
    made = create_model(str(name), __base__=UserLoss, **options)
    made._file = file
    made._function = staticmethod(function) if inspect.isfunction(function) else function
    made.works_by_class = bool(getattr(function, "works_by_class", False)) and declared_state(function) is None
    made.model_validate({}, context={"where": f"--methods {spelling!r}: the default of {name}"})
    return made


def _options(function: Callable[..., Any]) -> Iterator[tuple[str, tuple[Any, Any]]]:
    """Yield the name, annotation and default of each parameter whose type a setting can have."""
    for name, parameter in inspect.signature(function).parameters.items():
        annotation = _resolved(parameter.annotation, inspect.unwrap(function))
        if parameter.default is not inspect.Parameter.empty and is_setting(annotation):
            default = parameter.default
            yield name, (annotation, default.default if isinstance(default, FieldInfo) else default)


def _resolved(annotation: Any, owner: Callable[..., Any]) -> Any:
    """Return what an annotation means; one that only a type checker can resolve is returned as it is, and no setting has it."""
    holder = types.SimpleNamespace(__annotations__={"option": annotation})
    try:
        return get_type_hints(holder, vars(sys.modules[owner.__module__]), include_extras=True)["option"]
    except (NameError, AttributeError, SyntaxError, TypeError, KeyError):
        return annotation


def _trial_context(loss: Callable[..., Any], classes: int) -> dict[str, LossContext]:
    """Return the keyword argument `context` if the loss takes it, as at the first step of a cell."""
    if "context" not in inspect.signature(loss).parameters:
        return {}
    names = tuple(f"class {label}" for label in range(classes))
    return {"context": LossContext(0, 1, torch.arange(classes), names)}


def try_loss(settings: Any, *, real: int, syn: int, classes: int = 2) -> tuple[Tensor, Tensor]:
    """Return a loss and its gradient on small features.

    Args:
        settings: of the loss.
        real: the number of real images of a class.
        syn: the number of synthetic images of a class.
        classes: the number of classes.

    Raises:
        UsageError: if it raises, or returns no differentiable loss for each class.

    """
    generator = torch.Generator().manual_seed(0)
    features = torch.rand(classes, real, 8, generator=generator)
    leaf = torch.rand(classes, syn, 8, generator=generator, requires_grad=True)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch warns of some values that are no numbers
            loss: Any = settings.for_cell()
            value = loss(features, leaf, generator=generator, **_trial_context(loss, classes))
            shape = tuple(value.shape) if isinstance(value, torch.Tensor) else type(value).__name__
            right = shape == (classes,) and value.requires_grad
            slope = torch.autograd.grad(value.sum(), leaf, allow_unused=True)[0] if right else None
    except (Exception, SystemExit) as error:
        raise UsageError(f"the loss raises {type(error).__name__}: {error}") from error
    if slope is None:
        what = shape if shape != (classes,) else "a loss that does not depend on syn differentiably"
        raise UsageError(f"the loss returns {what}; valid: one differentiable loss a class, [C]")
    return value.detach(), slope


def problem_of(settings: Any, **sizes: int) -> str:
    """Return what is wrong with a loss on features of these sizes, those of `try_loss`; an empty string if nothing is."""
    try:
        tried = zip(("loss", "gradient"), try_loss(settings, **sizes), strict=True)
    except UsageError as error:
        return str(error).partition("; valid")[0]
    return next((f"the {what} is {float(values.sum())}" for what, values in tried if not values.isfinite().all()), "")
