"""A user's own loss: `path/to/file.py:name`, with no change to the suite."""

from __future__ import annotations

import functools
import hashlib
import importlib.util
import inspect
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

from bench.errors import UsageError, unknown
from bench.types import Objective


def load_callable(text: str) -> tuple[Callable[..., Any], str]:
    """Return the callable that `path/to/file.py:name` names, and a hash of its file; raise `UsageError` where there is none."""
    place, _, name = text.rpartition(":")
    path = Path(place)
    if not path.is_file():
        raise UsageError(f"--methods {text!r}: there is no file {place!r}; valid: path/to/file.py:function")
    code = hashlib.sha256(path.read_bytes()).hexdigest()[:16]
    module_name = f"user_{path.stem}_{code}"
    spec = importlib.util.spec_from_file_location(module_name, path)
    if spec is None or spec.loader is None:
        raise UsageError(f"--methods {text!r}: {place!r} is no Python file; valid: path/to/file.py:function")
    module = importlib.util.module_from_spec(spec)
    sys.modules[module_name] = module  # where dataclasses and type hints look for a module's names
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        raise UsageError(f"--methods {text!r}: the file raises {type(error).__name__}: {error}") from error
    found = getattr(module, name, None)
    if not callable(found):
        own = [
            key for key, value in vars(module).items() if callable(value) and getattr(value, "__module__", None) == module_name
        ]
        raise unknown(f"function of {place}", name, own)
    return found, code


def objective_factory(found: Callable[..., Any]) -> Callable[..., Objective]:
    """Return the factory of an objective.

    A class is one; of a function, keyword parameters with defaults are its options; any other callable has none.
    """
    if inspect.isclass(found):
        return cast("Callable[..., Objective]", found)
    if not inspect.isfunction(found):
        return lambda: cast("Objective", found)

    @functools.wraps(found)
    def factory(**hyper: Any) -> Objective:
        return functools.partial(found, **hyper)

    return factory


def check_objective(factory: Callable[..., Objective], text: str) -> None:
    """Try the objective, with its defaults, on small features.

    Raise `UsageError` where it raises, or returns no differentiable loss a class.
    """
    import torch

    generator = torch.Generator().manual_seed(0)
    real = torch.rand(2, 5, 8, generator=generator)
    syn = torch.rand(2, 3, 8, generator=generator, requires_grad=True)
    try:
        loss = factory()(real, syn, generator=generator)
    except Exception as error:
        raise UsageError(f"--methods {text!r}: the loss raises {type(error).__name__}: {error}") from error
    shape = tuple(loss.shape) if isinstance(loss, torch.Tensor) else type(loss).__name__
    if shape != (2,) or not loss.requires_grad:
        what = shape if shape != (2,) else "a loss that does not depend on syn differentiably"
        raise UsageError(f"--methods {text!r}: the loss returns {what}; valid: one differentiable loss a class, [C]")
