"""The registry of methods: one file a method, one line here.

A file holds a `METHOD`, which describes it: its settings, presets, label, citation, order and colour, and its procedure. To add
one, write its file in `losses/`, `procedures/` or `selections/`, and add its line to `METHODS`. docs/adding.md has examples.
May import all of `bench` but `plan` and `command`; of `running` the names of the executors alone.
"""

from __future__ import annotations

from bench.cells.method import Method
from bench.cells.protocol import SECTIONS
from bench.errors import UsageError, unknown
from bench.lazy import Registry
from bench.running.executors import OWNERS
from methods.outside.released import PREFIX, released_method
from methods.outside.user import user_method

METHODS: Registry[Method] = Registry(
    {
        "random": "methods.selections.random:METHOD",
        "herding": "methods.selections.herding:METHOD",
        "kcenter": "methods.selections.kcenter:METHOD",
        "kmeans": "methods.selections.kmeans:METHOD",
        "dc": "methods.procedures.gradient:DC",
        "dsa": "methods.procedures.gradient:DSA",
        "cafe": "methods.procedures.cafe:METHOD",
        "dm": "methods.losses.dm:METHOD",
        "kr": "methods.losses.kr:METHOD",
        "sinkhorn": "methods.losses.sinkhorn:METHOD",
        "emd": "methods.losses.emd:METHOD",
        "whole": "methods.selections.whole:METHOD",
    }
)


def find_method(spelling: str) -> Method:
    """Return the method that a name, `file.py:function` or `set:PATH` means; raise `UsageError` that names the valid ones."""
    if spelling.startswith(PREFIX):
        return released_method(spelling)
    if ":" not in spelling:
        if spelling not in METHODS:
            raise unknown("method", spelling, [*METHODS, "path/to/file.py:function", f"{PREFIX}PATH"])
        return METHODS[spelling]
    name = spelling.rpartition(":")[2]
    if name in (taken := {*METHODS, *SECTIONS, *OWNERS}):
        raise UsageError(f"--methods {spelling!r}: the name {name!r} is taken; valid: any but {', '.join(sorted(taken))}")
    return user_method(spelling)
