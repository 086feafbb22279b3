"""Libraries and registry entries that are imported at their first use.

Importing torch takes seconds, but `run_all.py --list` and the answer to a typing error should come at once. Files that are
imported before any work starts therefore take the heavy libraries from here:

    from bench.lazy import numpy as np
    from bench.lazy import torch

Each name is a stand-in for a module, which is imported when one of its attributes is first asked for. Such a file uses
`torch.stack(...)` inside functions only, and names no attribute of torch while it is being imported. Type checkers see the real
modules. Files that are imported when work starts import torch as usual.

What is ours and heavy is named by a string, `"module:NAME"`, in a `Registry` or for `pkgutil.resolve_name`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import cache
from importlib import import_module
from pkgutil import resolve_name
from types import ModuleType
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    import geomloss as geomloss
    import numpy as numpy
    import ot as ot
    import pandas as pandas
    import PIL as PIL
    import PIL.Image
    import PIL.ImageOps
    import pyarrow as pyarrow
    import pyarrow.parquet
    import safetensors as safetensors
    import safetensors.torch
    import scipy as scipy
    import scipy.io
    import sklearn as sklearn
    import sklearn.cluster
    import sklearn.datasets
    import sklearn.linear_model
    import threadpoolctl as threadpoolctl
    import torch as torch
    import torchvision as torchvision

_LIBRARIES = (
    *("geomloss", "numpy", "ot", "pandas", "PIL", "pyarrow", "safetensors", "scipy", "sklearn", "threadpoolctl"),
    *("torch", "torchvision"),
)

Entry = TypeVar("Entry")


class _Lazy(ModuleType):
    """Stands for the module of its name."""

    def __getattr__(self, attribute: str) -> Any:
        """Import the module, and return its attribute or its submodule of that name."""
        module = import_module(self.__name__)
        submodule = f"{self.__name__}.{attribute}"
        if not hasattr(module, attribute) and not attribute.startswith("__"):
            try:
                import_module(submodule)
            except ModuleNotFoundError as error:
                if error.name != submodule:  # the submodule is there, but not something that it needs
                    raise
        return getattr(module, attribute)


_modules = {name: _Lazy(name) for name in _LIBRARIES}

if not TYPE_CHECKING:

    def __getattr__(name: str) -> ModuleType:
        """Return the stand-in for the library `name`."""
        try:
            return _modules[name]
        except KeyError:
            raise AttributeError(f"bench.lazy offers no module {name!r}") from None


class Registry(Mapping[str, Entry]):
    """Entries by name, each imported from its location `"module:NAME"` when it is first asked for:

    NETWORKS = Registry({"mlp": "bench.networks.mlp:MLP"})
    """

    def __init__(self, locations: Mapping[str, str]) -> None:
        """Take the location of each entry; nothing is imported."""
        self.locations = dict(locations)
        self._entries: dict[str, Entry] = {}

    def __getitem__(self, name: str) -> Entry:
        if name not in self._entries:
            self._entries[name] = resolve_name(self.locations[name])
        return self._entries[name]

    def __contains__(self, name: object) -> bool:
        return name in self.locations

    def __iter__(self) -> Iterator[str]:
        return iter(self.locations)

    def __len__(self) -> int:
        return len(self.locations)


def autograd_function(forward: Callable[..., Any], backward: Callable[..., Any]) -> Callable[..., Any]:
    """Return a differentiable function with a gradient of its own, for a file that imports torch lazily.

    Args:
        forward: `(ctx, *inputs) -> output`, as of `torch.autograd.Function`.
        backward: `(ctx, *gradients) -> gradients of the inputs`, likewise.

    """

    @cache
    def function() -> Any:
        torch = import_module("torch")
        methods = {"forward": staticmethod(forward), "backward": staticmethod(backward)}
        return type(forward.__name__, (torch.autograd.Function,), methods)

    return lambda *inputs: function().apply(*inputs)
