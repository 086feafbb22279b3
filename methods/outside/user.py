"""A user's own loss: `path/to/file.py:name`, with no change to the suite."""

from __future__ import annotations

import ast
import hashlib
import importlib.machinery
import importlib.util
import inspect
import sys
import types
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, cast, get_type_hints

from pydantic import create_model
from pydantic.fields import FieldInfo

from bench.cells.method import FeatureLoss, FeatureMatching
from bench.cells.settings import is_setting
from bench.errors import UsageError, unknown
from bench.lazy import torch
from bench.types import ContextObjective, LossContext, Objective

if TYPE_CHECKING:
    from torch import Generator, Tensor

_SUITE = ("bench", "methods", "datasets", "reports", "run_all")
"""What these names import is the suite's own, whatever lies beside a user's file. Records name the suite's code apart."""


class UserLoss(FeatureLoss):
    """The settings of a user's loss. `_function` is the user's callable; its options are fields of a subclass made for it."""

    _function: ClassVar[Callable[..., Any]]

    def for_cell(self) -> Objective | ContextObjective:
        """Return the user's loss with its options set: a new instance of a class, or the function."""
        options: dict[str, Any] = {name: value for name, value in self if name not in FeatureLoss.model_fields}
        function: Any = type(self)._function
        if inspect.isclass(function):
            return cast("Objective | ContextObjective", function(**options))
        return _with_options(function, options)

    def __call__(self, real: Tensor, syn: Tensor, *, generator: Generator) -> Tensor:
        """Return the loss of each class, `[C]`, as a new instance gives it; see `Objective`."""
        loss: Any = self.for_cell()
        value: Tensor = loss(real, syn, generator=generator, **_trial_context(loss, len(real)))
        return value


def user_method(text: str) -> FeatureMatching:
    """Return the method of a user's loss.

    It is tried on small features at once, so that a wrong one fails before work starts.

    Args:
        text: `path/to/file.py:name`, the name of a function or class in it.

    Raises:
        UsageError: where there is none, or it returns no differentiable loss for each class.

    """
    function, code = load_callable(text)
    path, _, name = text.rpartition(":")
    loss = loss_class(function, text)
    try_loss(loss, text)
    files = own_files(Path(path))
    return FeatureMatching(name=name, label=name, citation=text, spelling=text, settings=loss, code=code, files=files)


def load_callable(text: str) -> tuple[Callable[..., Any], str]:
    """Return the callable that `path/to/file.py:name` names, and a hash of its code; raise `UsageError` where there is none."""
    place, _, name = text.rpartition(":")
    path = Path(place)
    if not path.is_file():
        raise UsageError(f"--methods {text!r}: there is no file {place!r}; valid: path/to/file.py:function")
    code = code_of(path)
    module_name = f"user_{path.stem}_{code}"
    spec = importlib.util.spec_from_file_location(module_name, path)
    if spec is None or spec.loader is None:
        raise UsageError(f"--methods {text!r}: {place!r} is no Python file; valid: path/to/file.py:function")
    module = importlib.util.module_from_spec(spec)
    sys.modules[module_name] = module  # where dataclasses and type hints look for a module's names
    try:
        spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:  # `sys.exit()` in a user's file does not end the suite
        raise UsageError(f"--methods {text!r}: the file raises {type(error).__name__}: {error}") from error
    function = getattr(module, name, None)
    if not callable(function):
        names = [
            key for key, value in vars(module).items() if callable(value) and getattr(value, "__module__", "") == module_name
        ]
        raise unknown(f"function of {place}", name, names)
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
    """Return the files below `folder` that importing a module runs: its own, and those of the packages that it lies in."""
    if not parts or parts[0] in _SUITE:
        return set()
    stems = [folder.joinpath(*parts[:count]) for count in range(1, len(parts) + 1)]
    if parts[-1] == "*":  # which modules of a package that is, its `__init__.py` decides when it runs: so all count
        stems[-1:] = [entry.with_suffix("") for entry in sorted(folder.joinpath(*parts[:-1]).glob("*.py"))] if parts[1:] else []
    places = [place for stem in stems for place in (stem, stem / "__init__")]
    suffixes = importlib.machinery.all_suffixes()
    files = [place.with_name(place.name + suffix) for place in places for suffix in suffixes]
    return {file for file in files if file.is_file()}


def _module_of(value: object) -> str:
    return str(getattr(value, "__module__", ""))


def loss_class(function: Callable[..., Any], text: str) -> type[FeatureLoss]:
    """Return the settings of a user's loss: those of `FeatureLoss`, and its typed keyword parameters with defaults.

    Raise `UsageError` where one of these is called like one of those, or a default is not valid.
    """
    if inspect.isclass(function) and issubclass(function, FeatureLoss):
        return function
    options: dict[str, Any] = dict(_options(function)) if inspect.isroutine(function) or inspect.isclass(function) else {}
    for option in options:
        if option in dir(UserLoss) or option in UserLoss.model_fields or option.startswith("_"):
            taken = f"the parameter {option!r} has a name of the suite's own"
            raise UsageError(f"--methods {text!r}: {taken}; valid: any other name")
    name = getattr(function, "__name__", type(function).__name__)
    made = create_model(str(name), __base__=UserLoss, **options)
    made._function = staticmethod(function) if inspect.isfunction(function) else function
    made.model_validate({}, context={"where": f"--methods {text!r}: the default of {name}"})
    return made


def _options(function: Callable[..., Any]) -> Iterator[tuple[str, tuple[Any, Any]]]:
    """Yield the name, annotation and default of each parameter whose type a setting can have."""
    for name, parameter in inspect.signature(function).parameters.items():
        annotation = _resolved(parameter.annotation, inspect.unwrap(function))
        if parameter.default is not inspect.Parameter.empty and is_setting(annotation):
            default = parameter.default
            yield name, (annotation, default.default if isinstance(default, FieldInfo) else default)


def _resolved(annotation: Any, owner: Callable[..., Any]) -> Any:
    """Return what an annotation means; one that only a type checker can resolve stays text, and is no setting's."""
    holder = types.SimpleNamespace(__annotations__={"option": annotation})
    try:
        return get_type_hints(holder, vars(sys.modules[owner.__module__]), include_extras=True)["option"]
    except (NameError, AttributeError, SyntaxError, TypeError, KeyError):
        return annotation


def _with_options(function: Callable[..., Any], options: dict[str, Any]) -> Objective | ContextObjective:
    """Return the function with its options set; whether it asks for the context stays visible."""
    if "context" in inspect.signature(function).parameters:

        def with_context(real: Tensor, syn: Tensor, *, generator: Generator, context: LossContext) -> Tensor:
            value: Tensor = function(real, syn, generator=generator, context=context, **options)
            return value

        return with_context

    def without_context(real: Tensor, syn: Tensor, *, generator: Generator) -> Tensor:
        value: Tensor = function(real, syn, generator=generator, **options)
        return value

    return without_context


def _trial_context(loss: Callable[..., Any], classes: int) -> dict[str, LossContext]:
    """Return the keyword argument `context` for a loss that asks for it, as at the first step of a cell."""
    if "context" not in inspect.signature(loss).parameters:
        return {}
    names = tuple(f"class {label}" for label in range(classes))
    return {"context": LossContext(0, 1, torch.arange(classes), names)}


def try_loss(loss: type[FeatureLoss], text: str) -> None:
    """Try a loss, with its default options, on small features.

    Raise `UsageError` where it raises, or returns no differentiable loss for each class.
    """
    generator = torch.Generator().manual_seed(0)
    real = torch.rand(2, 5, 8, generator=generator)
    syn = torch.rand(2, 3, 8, generator=generator, requires_grad=True)
    try:
        function: Any = loss().for_cell()
        value = function(real, syn, generator=generator, **_trial_context(function, len(real)))
    except (Exception, SystemExit) as error:
        raise UsageError(f"--methods {text!r}: the loss raises {type(error).__name__}: {error}") from error
    shape = tuple(value.shape) if isinstance(value, torch.Tensor) else type(value).__name__
    if shape != (2,) or not value.requires_grad:
        what = shape if shape != (2,) else "a loss that does not depend on syn differentiably"
        raise UsageError(f"--methods {text!r}: the loss returns {what}; valid: one differentiable loss a class, [C]")
