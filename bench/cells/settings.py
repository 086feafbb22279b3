"""Settings: what `--set` may change, as frozen pydantic models that check themselves.

A settings class lists its fields with a type, a range, a default and a description of one sentence:

    class Critic(Settings):
        hidden: Count = Field(default=128, description="Width of the hidden layer.")
        clip: Positive = Field(default=0.01, description="Parameters are clamped to [-clip, clip].")

`Critic.from_texts({"hidden": "256"}, owner="critic")` reads values as they are typed on the command line. Every mistake, there
and in `Critic(hidden=0)`, is a `UsageError` of one line that names the field, the value and what would be valid.

A field that is added to a class of which there are records is marked as `Later`:

        slope: Annotated[Fraction, Later()] = Field(default=0.0, description="Slope of the hidden units below zero.")
"""

from __future__ import annotations

import types
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal, NamedTuple, Self, Union, get_args, get_origin

import annotated_types as at
from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    ModelWrapValidatorHandler,
    SerializerFunctionWrapHandler,
    ValidationError,
    ValidationInfo,
    model_serializer,
    model_validator,
)
from pydantic.fields import FieldInfo

from bench.errors import UsageError, nearest, quoted, unknown

Count = Annotated[int, Field(ge=1)]
NonNegativeInt = Annotated[int, Field(ge=0)]
Positive = Annotated[float, Field(gt=0)]
NonNegative = Annotated[float, Field(ge=0)]
Fraction = Annotated[float, Field(ge=0, lt=1)]
_TYPES = {int: "a whole number", float: "a number", bool: "true or false", str: "text"}
_MOST_DIGITS = 12
"""Integers with more digits are rejected: a typing error, and beyond int64 arithmetic later on."""

_BOOLS = {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}


@dataclass(frozen=True)
class Later:
    """Marks a field that was added after records of its class were written.

    While it has the default of its class it is left out of JSON, and so of hashes and of the columns of reports: old records
    keep their hashes, and new cells with the default have the same ones.
    """


@dataclass(frozen=True)
class Valid:
    """Says which values a field takes, if its type and range do not say it: `Valid("names with commas between")`."""

    values: str


class Settings(BaseModel):
    """A group of settings: frozen, complete, without unknown fields, every value checked when it is made."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False, validate_default=True)

    @model_validator(mode="wrap")
    @classmethod
    def _explained(cls, values: Any, handler: ModelWrapValidatorHandler[Self], info: ValidationInfo) -> Self:
        """Turn pydantic's errors into a `UsageError` of one line."""
        if isinstance(values, Mapping):  # JSON has lists where settings have tuples
            values = {name: tuple(value) if isinstance(value, list) else value for name, value in values.items()}
        try:
            return handler(values)
        except ValidationError as error:
            raise UsageError(_explain(error, cls, where=(info.context or {}).get("where", cls.__name__))) from None

    @model_serializer(mode="wrap")
    def _without_later_defaults(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Leave out the fields that are marked as `Later` and have their default."""
        content: dict[str, Any] = handler(self)
        for name, field in type(self).model_fields.items():
            if any(isinstance(item, Later) for item in field.metadata) and getattr(self, name) == field.get_default():
                content.pop(name, None)
        return content

    @classmethod
    def from_texts(cls, typed: Mapping[str, str], *, owner: str, base: Mapping[str, Any] | None = None) -> Self:
        """Return the settings that were typed; the other fields are those of `base` or else the defaults.

        Args:
            typed: values by field, as they were typed after `--set owner.field=`.
            owner: what the command line calls these settings, for messages.
            base: values of the fields that were not typed.

        Raises:
            UsageError: if a field is unknown or a value is not valid.

        """
        for name in typed:
            if name not in cls.model_fields:
                raise unknown(f"parameter of {owner}", name, cls.model_fields)
        values = {name: _read(cls.model_fields[name], value) for name, value in typed.items()}
        return cls.model_validate({**(base or {}), **values}, context={"where": f"--set {owner}"})

    def changed(self, **values: Any) -> Self:
        """Return a checked copy with other values of some fields."""
        return type(self).model_validate({**dict(self), **values})

    def at_ipc(self, ipc: int) -> Self:
        """Return the settings with the values filled in that follow from the number of images per class; most have none."""
        return self

    def at_precision(self, run: str) -> Self:
        """Return the settings with a field `precision` of `auto` replaced by the run's: one run has one description."""
        return self.model_copy(update={"precision": run}) if getattr(self, "precision", "") == "auto" else self


def valid_values(field: FieldInfo) -> str:
    """Return what values a field takes, for messages: `a whole number at least 1, or none`."""
    kind = _kind(field.annotation)
    valid = [item.values for item in _metadata(field) if isinstance(item, Valid)][-1:]  # the last is the field's own
    if not valid:
        valid = [" ".join((_TYPES.get(member, str(member)), *_bounds(field))) for member in kind.types]
        if kind.choices:
            valid.append(("one of " if len(kind.choices) > 1 else "") + ", ".join(map(str, kind.choices)))
    return ", or ".join([*valid, "none"] if kind.optional else valid)


def is_setting(annotation: Any) -> bool:
    """Return whether a setting can have this type: a number, text, a truth value, choices, or one of the first with choices."""
    kind = _kind(annotation)
    return bool(kind.types + kind.choices) and len(kind.types) <= 1 and all(member in _TYPES for member in kind.types)


def checked_by(check: Callable[[Any], Any]) -> AfterValidator:
    """Return a validator of a field: `check` returns the value to take, or raises `UsageError`."""

    def validate(value: Any) -> Any:
        try:
            return check(value)
        except UsageError as error:  # pydantic adds to a ValueError which field it was
            raise ValueError(str(error)) from None

    return AfterValidator(validate)


class _Kind(NamedTuple):
    """What an annotation admits: all values of some types, the choices of its literals, and None if it is optional."""

    types: tuple[Any, ...]
    choices: tuple[Any, ...]
    optional: bool


def _kind(annotation: Any) -> _Kind:
    members = list(_members(annotation))
    literals = [member for member in members if get_origin(member) is Literal]
    open_types = tuple(member for member in members if member not in literals and member is not type(None))
    return _Kind(open_types, tuple(choice for literal in literals for choice in get_args(literal)), type(None) in members)


def _members(annotation: Any) -> Iterator[Any]:
    """Yield the types of which an annotation is a union, without what `Annotated` adds to them."""
    if get_origin(annotation) is Annotated:
        yield from _members(get_args(annotation)[0])
    elif get_origin(annotation) in (Union, types.UnionType):
        for member in get_args(annotation):
            yield from _members(member)
    else:
        yield annotation


def _bounds(field: FieldInfo) -> Iterator[str]:
    """Yield a field's limits in words: `at least 1`."""
    kinds = ((at.Ge, "ge", "at least"), (at.Gt, "gt", "above"), (at.Le, "le", "at most"), (at.Lt, "lt", "below"))
    limits = [
        f"{word} {getattr(item, name):g}" for item in _metadata(field) for kind, name, word in kinds if isinstance(item, kind)
    ]
    if limits:
        yield " and ".join(limits)


def _metadata(field: FieldInfo) -> Iterator[Any]:
    """Yield the constraints of a field, those inside `Annotated[...] | None` too."""
    waiting = [*field.metadata, field.annotation]
    while waiting:
        item = waiting.pop(0)
        if get_origin(item) in (Union, types.UnionType, Annotated):
            waiting += get_args(item)
        elif isinstance(item, FieldInfo):
            waiting += item.metadata
        else:
            yield item


def _read(field: FieldInfo, typed: str) -> Any:
    """Return the value that was typed; if it is none of the field's type it stays a string, for the check that follows."""
    kind = _kind(field.annotation)
    if kind.optional and typed.lower() == "none":
        return None
    for choice in kind.choices:
        if str(choice) == typed:
            return choice
    open_type = kind.types[0] if kind.types else str
    if get_origin(open_type) is tuple:
        return tuple(typed.split(","))
    if open_type is bool:
        return _BOOLS.get(typed.lower(), typed)
    if open_type is int and len(typed) > _MOST_DIGITS:
        return typed
    try:
        return open_type(typed)
    except ValueError:
        return typed


def as_typed(value: Any) -> str:
    """Return a value as it is typed after `--set NAME.FIELD=`."""
    return ",".join(map(str, value)) if isinstance(value, tuple) else "none" if value is None else str(value)


def _explain(error: ValidationError, kind: type[BaseModel], *, where: str) -> str:
    """Return pydantic's first error as one line: the field, the value, what would be valid, or the nearest valid name.

    Args:
        error: what pydantic raised.
        kind: the class that was to be made.
        where: what the user calls it.

    """
    first = error.errors(include_url=False)[0]
    name, value = str(first["loc"][0]) if first["loc"] else "", first["input"]
    if name not in kind.model_fields:
        return str(unknown(f"parameter of {where}", name, kind.model_fields)) if name else f"{where}: {first['msg']}"
    field = kind.model_fields[name]
    if first["type"] == "value_error":  # a check of our own, which says what is valid
        return f"{where}.{name}={as_typed(value)}: {first['ctx']['error']}"
    choices = [str(choice) for choice in _kind(field.annotation).choices]
    return f"{where}.{name}: {quoted(value)} is not valid{nearest(str(value), choices)}; {name} takes {valid_values(field)}"
