"""The description of a method: its docstring is the contract, and says all of it."""

from __future__ import annotations

import dataclasses
import inspect
import re

import pytest

from bench.cells.method import Method
from bench.errors import DistillationError


def described(section: str) -> list[str]:
    """Return the fields that a section of the docstring names."""
    lines = inspect.getdoc(Method).partition(f"\n{section}:\n")[2].partition("\n\n")[0].splitlines()
    return [match[1] for line in lines if (match := re.match(r" {4}(\w+): \S", line))]


def test_the_docstring_says_which_parts_are_required_and_which_are_optional():
    fields = dataclasses.fields(Method)
    missing = dataclasses.MISSING
    required = [field.name for field in fields if field.default is missing and field.default_factory is missing]
    assert described("Required") == required
    assert described("Optional") == [field.name for field in fields if field.name not in required]


def test_the_docstring_names_every_method_that_may_be_overridden():
    sentence = inspect.getdoc(Method).partition("A subclass may override")[2]
    methods = {name for name, value in vars(Method).items() if inspect.isfunction(value) and not name.startswith("_")}
    assert {*re.findall(r"`(\w+)`", sentence)} == methods - {"resolve"}


def test_the_required_parts_are_enough():
    def procedure(task):
        raise DistillationError("never called")

    method = Method(name="mine", label="Mine", citation="Author 2026", procedure=procedure)
    assert method.resolve({}, profile="quick") == method.settings()
    with pytest.raises(TypeError, match="procedure"):
        Method(name="mine", label="Mine", citation="Author 2026")
