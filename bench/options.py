"""Typed options: what `--set` may change, read off annotations, parsed and checked against type and range.

An option is a keyword parameter with a default of a dataclass or a function. Its annotation gives its type (`int`, `float`,
`bool`, `str`, `Literal[...]`, or one of these `| None`) and, by `Annotated[..., Range(...)]`, its range.
"""

from __future__ import annotations

import inspect
import math
import sys
import types
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

from bench.errors import UsageError, unknown


@dataclass(frozen=True)
class Range:
    """The numbers from `low` to `high`; `above` instead of `low` leaves the bound itself out, `below` likewise."""

    low: float | None = None
    high: float | None = None
    above: float | None = None
    below: float | None = None

    def holds(self, value: float) -> bool:
        """Return whether `value` is in the range."""
        return (
            (self.low is None or value >= self.low)
            and (self.high is None or value <= self.high)
            and (self.above is None or value > self.above)
            and (self.below is None or value < self.below)
        )

    def __str__(self) -> str:
        words = (("at least", self.low), ("above", self.above), ("at most", self.high), ("below", self.below))
        return " and ".join(f"{word} {bound:g}" for word, bound in words if bound is not None)


Count = Annotated[int, Range(low=1)]
Positive = Annotated[float, Range(above=0)]


@dataclass(frozen=True)
class Option:
    """One typed option: `name`, its `kind` (`int`, `float`, `bool`, `str`), `choices`, `range`, and its `default`."""

    name: str
    kind: type
    default: Any
    choices: tuple[Any, ...] = ()
    range: Range | None = None
    optional: bool = False

    def valid(self) -> str:
        """Return in words what values the option takes."""
        if self.choices:
            words = "one of " + ", ".join(map(str, self.choices))
        else:
            words = {int: "a whole number", float: "a number", bool: "true or false", str: "text"}[self.kind]
        if self.range is not None:
            words += f" {self.range}"
        return words + (", or none" if self.optional else "")

    def parse(self, text: str, *, where: str) -> Any:
        """Return the value that `text` means; raise `UsageError` naming `where` and what would be valid."""
        value: Any
        if self.optional and text.lower() == "none":
            return None
        try:
            if self.kind is bool:
                value = {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}[text.lower()]
            else:
                value = self.kind(text)
        except (ValueError, KeyError):
            raise UsageError(f"{where}: {text!r} is not valid; {self.name} takes {self.valid()}") from None
        self.check(value, where=where)
        return value

    def check(self, value: Any, *, where: str) -> None:
        """Raise `UsageError` where `value` is of the wrong type, no finite number, out of range, or none of the choices."""
        if value is None and self.optional:
            return
        accepted: tuple[type, ...] = (int, float) if self.kind is float else (self.kind,)
        fits = isinstance(value, accepted) and (self.kind is bool or not isinstance(value, bool))
        if fits and self.kind in (int, float):
            fits = math.isfinite(value) and (self.range is None or self.range.holds(value))
        if fits and self.choices:
            fits = value in self.choices
        if not fits:
            raise UsageError(f"{where}: {value!r} is not valid; {self.name} takes {self.valid()}")


def _option(name: str, annotation: Any, default: Any) -> Option | None:
    """Return the option that an annotated default describes; None where the annotation is no option's."""
    bounds: Range | None = None
    optional = False
    while True:
        origin = get_origin(annotation)
        if origin is Annotated:
            annotation, *extra = get_args(annotation)
            bounds = next((item for item in extra if isinstance(item, Range)), bounds)
        elif origin in (Union, types.UnionType) and type(None) in get_args(annotation) and len(get_args(annotation)) == 2:
            optional = True
            (annotation,) = [part for part in get_args(annotation) if part is not type(None)]
        else:
            break
    if get_origin(annotation) is Literal:
        choices = get_args(annotation)
        return Option(name, type(choices[0]), default, choices, None, optional)
    if annotation in (int, float, bool, str):
        return Option(name, annotation, default, (), bounds, optional)
    return None


def options_of(factory: Callable[..., Any]) -> dict[str, Option]:
    """Return the typed keyword options of a dataclass or a function, by name, in the order of its signature."""
    found = {}
    for name, parameter in inspect.signature(factory).parameters.items():
        if parameter.default is not inspect.Parameter.empty:
            option = _option(name, _resolved(parameter.annotation, inspect.unwrap(factory)), parameter.default)
            if option is not None:
                found[name] = option
    return found


def _resolved(annotation: Any, owner: Callable[..., Any]) -> Any:
    """Return what an annotation of `owner` means; one that only a type checker can resolve is no option's, and stays text."""
    holder = types.SimpleNamespace(__annotations__={"option": annotation})
    try:
        return get_type_hints(holder, vars(sys.modules[owner.__module__]), include_extras=True)["option"]
    except (NameError, AttributeError, SyntaxError, TypeError):
        return annotation


def check_options(instance: object) -> None:
    """Raise `UsageError` where a field of a dataclass holds what its annotation forbids; for `__post_init__`."""
    kind = type(instance)
    for name, option in options_of(kind).items():
        option.check(getattr(instance, name), where=f"{kind.__name__}.{name}")


def parse_options(known: Mapping[str, Option], texts: Mapping[str, str], *, owner: str) -> dict[str, Any]:
    """Return the values that `texts` give to the `known` options; raise `UsageError` on an unknown name or a bad value."""
    values = {}
    for name, text in texts.items():
        if name not in known:
            raise unknown(f"parameter of {owner}", name, known)
        values[name] = known[name].parse(text, where=f"--set {owner}.{name}")
    return values
