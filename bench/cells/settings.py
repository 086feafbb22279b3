"""Settings: what `--set` may change, as frozen pydantic models that check themselves.

A settings class lists its fields with a type, a range and a default:

    class Critic(Settings):
        hidden: Count = 128
        clip: Positive = 0.01

`Critic.from_texts({"hidden": "256"}, owner="critic")` reads texts as they are typed on the command line. Every mistake, there
and in `Critic(hidden=0)`, is a `UsageError` of one line that names the field, the value and what would be valid.
"""

from __future__ import annotations

import types
from collections.abc import Callable, Iterator, Mapping
from typing import Annotated, Any, Literal, Self, Union, get_args, get_origin

import annotated_types as at
from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    ModelWrapValidatorHandler,
    ValidationError,
    ValidationInfo,
    model_validator,
)
from pydantic.fields import FieldInfo

from bench.errors import UsageError, nearest, quoted, unknown

Count = Annotated[int, Field(ge=1)]
NonNegativeInt = Annotated[int, Field(ge=0)]
Positive = Annotated[float, Field(gt=0)]
NonNegative = Annotated[float, Field(ge=0)]
Fraction = Annotated[float, Field(ge=0, lt=1)]
_WORDS = {int: "a whole number", float: "a number", bool: "true or false", str: "text"}
_MOST_DIGITS = 12
"""A whole number of more digits is a slip of the hand, and overflows somewhere."""

_BOOLS = {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}


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
            raise UsageError(explain(error, cls, where=(info.context or {}).get("where", cls.__name__))) from None

    @classmethod
    def from_texts(cls, texts: Mapping[str, str], *, owner: str, base: Mapping[str, Any] | None = None) -> Self:
        """Return the settings that `texts` give, the other fields being those of `base` or else the defaults.

        Args:
            texts: field names and values as they were typed after `--set owner.field=`.
            owner: what the command line calls these settings, for messages.
            base: values of the fields that `texts` does not name.

        Raises:
            UsageError: where a field is unknown or a value is not valid.

        """
        for name in texts:
            if name not in cls.model_fields:
                raise unknown(f"parameter of {owner}", name, cls.model_fields)
        typed = {name: _from_text(cls.model_fields[name], text) for name, text in texts.items()}
        return cls.model_validate({**(base or {}), **typed}, context={"where": f"--set {owner}"})

    def changed(self, **values: Any) -> Self:
        """Return a checked copy with other values of some fields."""
        return type(self).model_validate({**dict(self), **values})

    def at_ipc(self, ipc: int) -> Self:
        """Return the settings with what follows from the number of images a class decided; most settings leave nothing open."""
        return self

    def at_precision(self, run: str) -> Self:
        """Return the settings with a field `precision` of `auto` replaced by the run's: one run has one description."""
        return self.model_copy(update={"precision": run}) if getattr(self, "precision", "") == "auto" else self


def valid_values(field: FieldInfo) -> str:
    """Return in words what values a field takes."""
    kind, optional = _kind(field.annotation)
    if field.description:
        words = field.description
    elif get_origin(kind) is Literal:
        words = "one of " + ", ".join(map(str, get_args(kind)))
    else:
        words = " ".join((_WORDS.get(kind, str(kind)), *_bounds(field)))
    return words + (", or none" if optional else "")


def is_setting(annotation: Any) -> bool:
    """Return whether `annotation` is a type that a setting can have: a number, text, a truth value or a choice."""
    return _kind(annotation)[0] in _WORDS or is_choice(annotation)


def is_choice(annotation: Any) -> bool:
    """Return whether `annotation` is a choice among a few values."""
    return get_origin(_kind(annotation)[0]) is Literal


def checked_by(check: Callable[[Any], Any]) -> AfterValidator:
    """Return a validator of a field: `check` returns the value to take, or raises `UsageError`."""

    def validate(value: Any) -> Any:
        try:
            return check(value)
        except UsageError as error:  # pydantic adds to a ValueError which field it was
            raise ValueError(str(error)) from None

    return AfterValidator(validate)


def _kind(annotation: Any) -> tuple[Any, bool]:
    """Return the type behind an annotation, and whether None is valid too."""
    while get_origin(annotation) is Annotated:
        annotation = get_args(annotation)[0]
    if get_origin(annotation) in (Union, types.UnionType):
        parts = [part for part in get_args(annotation) if part is not type(None)]
        if len(parts) == 1 and len(get_args(annotation)) == 2:
            return _kind(parts[0])[0], True
    return annotation, False


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


def _from_text(field: FieldInfo, text: str) -> Any:
    """Return the value that a text stands for; a text that stands for none is returned as it is, for the check that follows."""
    kind, optional = _kind(field.annotation)
    if optional and text.lower() == "none":
        return None
    if get_origin(kind) is Literal:
        return next((choice for choice in get_args(kind) if str(choice) == text), text)
    if get_origin(kind) is tuple:
        return tuple(text.split(","))
    if kind is bool:
        return _BOOLS.get(text.lower(), text)
    if kind is int and len(text) > _MOST_DIGITS:
        return text
    try:
        return kind(text)
    except ValueError:
        return text


def _text(value: Any) -> str:
    return ",".join(map(str, value)) if isinstance(value, tuple) else str(value)


def explain(error: ValidationError, kind: type[BaseModel], *, where: str) -> str:
    """Return pydantic's first error as one line: the field, the value, what would be valid, or the nearest known name.

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
        return f"{where}.{name}={_text(value)}: {first['ctx']['error']}"
    choices = [str(choice) for choice in get_args(_kind(field.annotation)[0])] if is_choice(field.annotation) else []
    return f"{where}.{name}: {quoted(value)} is not valid{nearest(str(value), choices)}; {name} takes {valid_values(field)}"
