"""Typed options: parsing, ranges, and what a mistake is told."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

import pytest

from bench.errors import UsageError
from bench.options import Count, Range, check_options, options_of, parse_options
from bench.protocol import PROFILES, resolve, sections


@dataclass(frozen=True)
class Example:
    count: Count = 3
    ratio: Annotated[float, Range(low=0, below=1)] = 0.5
    flag: bool = False
    kind: Literal["a", "b"] = "a"
    power: Literal[1, 2] = 1
    depth: int | None = None

    def __post_init__(self):
        check_options(self)


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("count", "7", 7),
        ("ratio", "0", 0.0),
        ("ratio", "1e-3", 1e-3),
        ("flag", "true", True),
        ("flag", "0", False),
        ("kind", "b", "b"),
        ("power", "2", 2),
        ("depth", "none", None),
        ("depth", "4", 4),
    ],
)
def test_a_text_becomes_a_typed_value(name, text, value):
    parsed = parse_options(options_of(Example), {name: text}, owner="example")[name]
    assert parsed == value
    assert type(parsed) is type(value)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("count", "0"),
        ("count", "1.5"),
        ("ratio", "1"),
        ("ratio", "nan"),
        ("ratio", "inf"),
        ("flag", "maybe"),
        ("kind", "c"),
        ("power", "3"),
        ("depth", "x"),
    ],
)
def test_a_bad_value_names_the_option_the_value_and_what_is_valid(name, text):
    with pytest.raises(UsageError) as caught:
        parse_options(options_of(Example), {name: text}, owner="example")
    message = str(caught.value)
    assert f"example.{name}" in message
    assert options_of(Example)[name].valid() in message
    assert text in message


def test_an_unknown_name_is_told_the_nearest():
    with pytest.raises(UsageError, match="did you mean 'ratio'"):
        parse_options(options_of(Example), {"ration": "1"}, owner="example")


def test_direct_use_is_checked_as_well():
    with pytest.raises(UsageError, match=r"Example\.count"):
        Example(count=0)
    with pytest.raises(UsageError, match=r"Example\.count"):
        Example(count=True)


def test_every_profile_resolves_and_overrides_one_field_alone():
    for name, profile in PROFILES.items():
        assert resolve(name, {}) == profile
        changed = resolve(name, {"match": {"iterations": "7"}})
        assert changed.match.iterations == 7
        assert changed.eval == profile.eval
        assert changed.match.real_batch == profile.match.real_batch


def test_the_paper_profile_is_the_published_protocol():
    paper = PROFILES["paper"]
    assert (paper.match.iterations, paper.match.real_batch, paper.match.momentum) == (20_000, 256, 0.5)
    assert (paper.eval.nets, paper.eval.epochs, paper.eval.lr, paper.eval.batch) == (5, 1000, 0.01, 256)
    assert (paper.eval.momentum, paper.eval.weight_decay) == (0.9, 5e-4)


def test_every_field_of_the_protocol_can_be_set():
    assert set(sections()) == {"match", "eval", "whole", "data", "network"}
    for name, options in sections().items():
        for option in options.values():
            option.check(getattr(getattr(PROFILES["cpu"], name), option.name), where="cpu")
