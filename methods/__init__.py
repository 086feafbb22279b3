"""The registry of methods: one file a method, one line here.

Each file holds a `METHOD`: its settings, presets, label, citation, order and colour, and how it distills.
"""

from __future__ import annotations

from importlib import import_module

from bench.errors import UsageError, unknown
from bench.executors import OWNERS
from bench.method import Method
from bench.protocol import SECTIONS
from methods.released import PREFIX, released_method
from methods.user import user_method

_FILES = (
    "random",
    "herding",
    "kcenter",
    "kmeans",
    "dc",
    "dsa",
    "cafe",
    "dm",
    "kr",
    "sinkhorn",
    "emd",
    "whole",
)

METHODS: dict[str, Method] = {name: import_module(f"methods.{name}").METHOD for name in _FILES}


def find_method(text: str) -> Method:
    """Return the method that a name, `file.py:function` or `set:PATH` means; raise `UsageError` that names the valid ones."""
    if text.startswith(PREFIX):
        return released_method(text)
    if ":" not in text:
        if text not in METHODS:
            raise unknown("method", text, [*METHODS, "path/to/file.py:function", f"{PREFIX}PATH"])
        return METHODS[text]
    name = text.rpartition(":")[2]
    if name in (taken := {*METHODS, *SECTIONS, *OWNERS}):
        raise UsageError(f"--methods {text!r}: the name {name!r} is taken; valid: any but {', '.join(sorted(taken))}")
    return user_method(text)
