"""Libraries that load at their first use.

Importing torch takes seconds, but `run_all.py --list` and the answer to a typing error should come at once. Files that are
imported before any work starts therefore take the heavy libraries, and the engine's own heavy modules, from here:

    from bench.lazy import matching, torch

Each name is a stand-in for a module; the module is imported when one of its attributes is first asked for, so such a file uses
`torch.stack(...)` inside functions and names no attribute of torch while it is being imported. Type checkers see the real
modules. No import stands inside a function, and files that are imported when work starts import torch as usual.
"""

from __future__ import annotations

from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Any

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
    import threadpoolctl as threadpoolctl
    import torch as torch
    import torchvision as torchvision

    from bench import compute as compute
    from bench import console as console
    from bench import distances as distances
    from bench import evaluate as evaluate
    from bench import hardware as hardware
    from bench import matching as matching
    from bench import recorder as recorder
    from bench import runner as runner
    from bench import threads as threads
    from bench import timing as timing
    from bench import training as training
    from bench.networks import network as network
    from bench.ranks import parts as parts

_LIBRARIES = (
    *("geomloss", "numpy", "ot", "pandas", "PIL", "pyarrow", "safetensors", "scipy", "sklearn", "threadpoolctl"),
    *("torch", "torchvision"),
)
_ENGINE = (
    *(
        "compute",
        "console",
        "distances",
        "evaluate",
        "hardware",
        "matching",
        "networks.network",
        "ranks.parts",
        "recorder",
        "runner",
        "threads",
    ),
    *("timing", "training"),
)


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


def lazy_module(name: str) -> ModuleType:
    """Return a stand-in for the module of that name, for packages beside the engine, which it does not know.

    Type checkers are told the real module in the place where this is called:

        if TYPE_CHECKING:
            from reports import report
        else:
            report = lazy_module("reports.report")
    """
    return _Lazy(name)


_modules = {name: _Lazy(name) for name in _LIBRARIES} | {name.rpartition(".")[2]: _Lazy(f"bench.{name}") for name in _ENGINE}

if not TYPE_CHECKING:

    def __getattr__(name: str) -> ModuleType:
        """Return the stand-in for the library or module `name`."""
        try:
            return _modules[name]
        except KeyError:
            raise AttributeError(f"bench.lazy offers no module {name!r}") from None
