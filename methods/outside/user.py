"""A user's own loss: `path/to/file.py:name`, with no change to the suite.

`bench.cells.loss` says what a loss declares of itself; docs/adding.md has examples.
"""

from __future__ import annotations

import ast
import copy
import hashlib
import importlib.machinery
import importlib.util
import inspect
import sys
import types
import warnings
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, cast, get_type_hints

from pydantic import create_model
from pydantic.fields import FieldInfo

from bench.cells.loss import FeatureLoss, declared_state, is_stateless
from bench.cells.method import FeatureMatching
from bench.cells.settings import is_setting
from bench.errors import UsageError, unknown
from bench.files import DataWarning
from bench.lazy import torch
from bench.types import ContextObjective, LossContext, Objective

if TYPE_CHECKING:
    from torch import Generator, Tensor

_SUITE = ("bench", "methods", "datasets", "reports", "run_all")
"""Modules of these names are the suite's own, whatever is beside a user's file. Records name the suite's code separately."""


_UNDECLARED = (
    "the loss does not declare what it keeps from step to step, so its cells begin anew after an interruption; "
    "valid: the base class bench.StatefulLoss with add_state, or the decorator bench.by_class for a loss that keeps nothing"
)


class UserLoss(FeatureLoss):
    """The settings of a user's loss. `_function` is the user's callable; its options are fields of a subclass made for it."""

    _function: ClassVar[Callable[..., Any]]

    def for_cell(self) -> Objective | ContextObjective:
        """Return the user's loss with its options set: a new instance of a class, or the function."""
        options: dict[str, Any] = {name: value for name, value in self if name not in FeatureLoss.model_fields}
        function: Any = type(self)._function
        # An object may keep state, so each cell has a copy; copying a function gives the function itself.
        loss = function(**options) if inspect.isclass(function) else partial(copy.deepcopy(function), **options)
        return cast("Objective | ContextObjective", loss)

    def __call__(self, real: Tensor, syn: Tensor, *, generator: Generator) -> Tensor:
        """Return the loss of each class, `[C]`, as a new instance gives it; see `Objective`."""
        loss: Any = self.for_cell()
        value: Tensor = loss(real, syn, generator=generator, **_trial_context(loss, len(real)))
        return value


def user_method(spelling: str) -> FeatureMatching:
    """Return the method of a user's loss, `path/to/file.py:name`, the name of a function or class in the file.

    The loss is tried on small features at once, so that a wrong one fails before work starts. A loss with which interrupted
    cells cannot go on, because it does not declare its state, is a `DataWarning`.

    Raises:
        UsageError: if there is none, or it returns no differentiable loss for each class.

    """
    function, code = load_callable(spelling)
    path, _, name = spelling.rpartition(":")
    settings = loss_class(function, spelling)
    loss = try_loss(settings, spelling)
    if declared_state(loss) is None and not is_stateless(loss):
        warnings.warn(f"--methods {spelling!r}: {_UNDECLARED}", DataWarning, stacklevel=2)
    files = own_files(Path(path))
    return FeatureMatching(
        name=name, label=name, citation=spelling, spelling=spelling, settings=settings, code=code, files=files
    )


def load_callable(spelling: str) -> tuple[Callable[..., Any], str]:
    """Return the callable that `path/to/file.py:name` names, and a hash of its code; raise `UsageError` if there is none."""
    file, _, name = spelling.rpartition(":")
    path, owner = Path(file), f"--methods {spelling!r}"
    if not path.is_file():
        raise UsageError(f"{owner}: there is no file {file!r}; valid: path/to/file.py:function")
    code = code_of(path)
    module_name = f"user_{path.stem}_{code}"
    spec = importlib.util.spec_from_file_location(module_name, path)
    if spec is None or spec.loader is None:
        raise UsageError(f"{owner}: {file!r} is no Python file; valid: path/to/file.py:function")
    module = importlib.util.module_from_spec(spec)
    sys.modules[module_name] = module  # where dataclasses and type hints look for a module's names
    try:
        spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:  # `sys.exit()` in a user's file does not end the suite
        raise UsageError(f"{owner}: the file raises {type(error).__name__}: {error}") from error
    function = getattr(module, name, None)
    if not callable(function):
        names = [
            key for key, value in vars(module).items() if callable(value) and getattr(value, "__module__", "") == module_name
        ]
        raise unknown(f"function of {file}", name, names)
    return function, code


def code_of(path: Path) -> str:
    """Return a hash of a user's file and of what it imports from beside it, 16 hexadecimal digits.

    Nothing is run: a module that is imported by a computed name is not seen.
    """
    digest = hashlib.sha256(path.read_bytes())
    for file in _imported_files(path):
        content = file.read_bytes()
        digest.update(f"\0{file.relative_to(path.parent).as_posix()}\0{len(content)}\0".encode() + content)
    return digest.hexdigest()[:16]


def own_files(path: Path) -> tuple[Path, ...]:
    """Return a user's file, and those that it imports from beside it."""
    return (path, *_imported_files(path))


def _imported_files(path: Path) -> list[Path]:
    """Return the files in the folder of `path`, and in packages there, that it imports, itself or through others."""
    files, waiting = {path}, [path]
    while waiting:
        for parts in _imports(waiting.pop(), path.parent):
            new = _files_of(parts, path.parent) - files
            files |= new
            waiting += [file for file in new if file.suffix == ".py"]
    return sorted(files - {path})


def _imports(file: Path, folder: Path) -> Iterator[tuple[str, ...]]:
    """Yield the parts of each module name that a file may import. Of `from a import b`, `b` may be a module too."""
    try:
        nodes = list(ast.walk(ast.parse(file.read_bytes())))
    except (SyntaxError, ValueError, RecursionError):  # importing it will say so
        return
    package = file.relative_to(folder).parent.parts
    for node in nodes:
        if isinstance(node, ast.Import):
            yield from (tuple(alias.name.split(".")) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = package[: len(package) + 1 - node.level] if node.level else ()
            parts = (*above, *(node.module or "").split(".")) if node.module else above
            yield from ((*parts, alias.name) for alias in node.names)


def _files_of(parts: tuple[str, ...], folder: Path) -> set[Path]:
    """Return the files below `folder` that importing a module runs: its own, and those of the packages that contain it."""
    if not parts or parts[0] in _SUITE:
        return set()
    stems = [folder.joinpath(*parts[:count]) for count in range(1, len(parts) + 1)]
    if parts[-1] == "*":  # which modules of a package that is, its `__init__.py` decides when it runs: so all count
        stems[-1:] = [entry.with_suffix("") for entry in sorted(folder.joinpath(*parts[:-1]).glob("*.py"))] if parts[1:] else []
    paths = [path for stem in stems for path in (stem, stem / "__init__")]
    suffixes = importlib.machinery.all_suffixes()
    files = [path.with_name(path.name + suffix) for path in paths for suffix in suffixes]
    return {file for file in files if file.is_file()}


def loss_class(function: Callable[..., Any], spelling: str) -> type[FeatureLoss]:
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


def try_loss(settings: type[FeatureLoss], spelling: str) -> Objective | ContextObjective:
    """Try a loss, with its default options, on small features; return it.

    Raises:
        UsageError: if it raises, or returns no differentiable loss for each class.

    """
    generator = torch.Generator().manual_seed(0)
    real = torch.rand(2, 5, 8, generator=generator)
    syn = torch.rand(2, 3, 8, generator=generator, requires_grad=True)
    try:
        loss: Any = settings().for_cell()
        value = loss(real, syn, generator=generator, **_trial_context(loss, len(real)))
    except (Exception, SystemExit) as error:
        raise UsageError(f"--methods {spelling!r}: the loss raises {type(error).__name__}: {error}") from error
    shape = tuple(value.shape) if isinstance(value, torch.Tensor) else type(value).__name__
    if shape != (2,) or not value.requires_grad:
        what = shape if shape != (2,) else "a loss that does not depend on syn differentiably"
        raise UsageError(f"--methods {spelling!r}: the loss returns {what}; valid: one differentiable loss a class, [C]")
    return cast("Objective | ContextObjective", loss)
