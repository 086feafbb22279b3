"""Typed settings: how typed values are read, what is valid, and what a mistake is answered with."""

from __future__ import annotations

from typing import Annotated, Literal

import pytest
from pydantic import Field, ValidationError

from bench.cells.protocol import PROFILES, SECTIONS, Match, Protocol, Training, resolve
from bench.cells.settings import Count, Positive, Settings, Valid, as_typed, is_setting, valid_values
from bench.errors import UsageError
from bench.types import Precision


class Example(Settings):
    count: Count = 3
    ratio: Annotated[float, Field(ge=0, lt=1)] = 0.5
    flag: bool = False
    kind: Literal["a", "b"] = "a"
    power: Literal[1, 2] = 1
    depth: int | None = None
    limit: Count | None = None
    names: Annotated[tuple[str, ...], Valid("names with commas between")] = ("one",)
    lr: Positive | Literal["own"] = Field(default=0.1, description="A description says what a field is, not what it takes.")
    mixed: Count | Literal["all", "half"] | None = "all"
    narrowed: Annotated[Annotated[str, Valid("a word")], Valid("a short word")] = "a"


@pytest.mark.parametrize(
    ("name", "typed", "value"),
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
        ("limit", "None", None),
        ("names", "one,two", ("one", "two")),
        ("lr", "own", "own"),
        ("lr", "0.02", 0.02),
        ("lr", "1", 1.0),
        ("mixed", "half", "half"),
        ("mixed", "4", 4),
        ("mixed", "none", None),
    ],
)
def test_what_is_typed_becomes_a_value_of_the_field_s_type(name, typed, value):
    settings = Example.from_texts({name: typed}, owner="example")
    assert getattr(settings, name) == value
    assert type(getattr(settings, name)) is type(value)
    assert Example.from_texts({name: as_typed(value)}, owner="example") == settings
    assert Example.model_validate_json(settings.model_dump_json()) == settings


MISTAKES = [
    ("count", "0"),
    ("count", "1.5"),
    ("ratio", "1"),
    ("ratio", "nan"),
    ("ratio", "inf"),
    ("flag", "maybe"),
    ("kind", "c"),
    ("power", "3"),
    ("depth", "x"),
    ("limit", "0"),
    ("lr", "x"),
    ("lr", "0"),
    ("lr", "nan"),
    ("mixed", "0"),
    ("mixed", "some"),
]


@pytest.mark.parametrize(("name", "typed"), MISTAKES)
def test_a_bad_value_names_the_option_the_value_and_what_is_valid(name, typed):
    with pytest.raises(UsageError) as caught:
        Example.from_texts({name: typed}, owner="example")
    message = str(caught.value)
    assert message.startswith(f"--set example.{name}: ")
    assert f"{name} takes {valid_values(Example.model_fields[name])}" in message
    assert typed in message
    assert "\n" not in message


@pytest.mark.parametrize(
    ("name", "valid"),
    [
        ("count", "a whole number at least 1"),
        ("ratio", "a number at least 0 and below 1"),
        ("flag", "true or false"),
        ("kind", "one of a, b"),
        ("power", "one of 1, 2"),
        ("depth", "a whole number, or none"),
        ("limit", "a whole number at least 1, or none"),
        ("names", "names with commas between"),
        ("lr", "a number above 0, or own"),
        ("mixed", "a whole number at least 1, or one of all, half, or none"),
        ("narrowed", "a short word"),
    ],
)
def test_what_is_valid_is_said_in_words(name, valid):
    assert valid_values(Example.model_fields[name]) == valid


def test_an_unknown_name_is_answered_with_the_nearest():
    with pytest.raises(UsageError, match=r"unknown parameter of example 'ration' \(did you mean 'ratio'\?\); valid: .*count"):
        Example.from_texts({"ration": "1"}, owner="example")
    with pytest.raises(UsageError, match="did you mean 'ratio'"):
        Example(ration=0.1)


def test_direct_use_is_checked_as_well():
    with pytest.raises(UsageError, match=r"Example\.count"):
        Example(count=0)
    with pytest.raises(UsageError, match=r"Example\.count"):
        Example(count=True)
    with pytest.raises(UsageError, match=r"Example\.count"):
        Example().changed(count=0)


def test_a_bad_default_is_found_when_settings_are_made():
    class Wrong(Settings):
        count: Count = 0

    with pytest.raises(UsageError, match=r"Wrong\.count"):
        Wrong()


def test_settings_are_frozen_and_equal_by_value():
    settings = Example()
    with pytest.raises(ValidationError, match="frozen"):
        settings.count = 4
    changed = settings.changed(count=4)
    assert (settings.count, changed.count) == (3, 4)
    assert changed != settings
    assert changed.changed(count=3) == settings
    assert hash(changed.changed(count=3)) == hash(settings)


def test_texts_come_before_the_base_and_the_base_before_the_defaults():
    settings = Example.from_texts({"count": "7"}, owner="example", base={"count": 5, "ratio": 0.25})
    assert (settings.count, settings.ratio, settings.kind) == (7, 0.25, "a")


def test_the_run_s_precision_takes_the_place_of_auto_alone():
    class Passes(Settings):
        precision: Precision = "auto"

    auto, chosen, without = Passes(), Passes(precision="fp32"), Example()
    assert auto.at_precision("bf16") == Passes(precision="bf16")
    assert chosen.at_precision("bf16") is chosen
    assert without.at_precision("bf16") is without


@pytest.mark.parametrize(
    ("annotation", "expected"),
    [
        (int, True),
        (float, True),
        (bool, True),
        (str, True),
        (Count, True),
        (Count | None, True),
        (Literal["a"], True),
        (list[int], False),
        (object, False),
        (int | str, False),
        (Positive | Literal["own"], True),
        (Count | Literal["all"] | None, True),
        (Literal["a"] | None, True),
        (None, False),
        ("Tensor", False),
    ],
)
def test_a_setting_is_a_number_a_text_a_truth_value_or_a_choice(annotation, expected):
    assert is_setting(annotation) is expected


# ---- the protocol ----


def test_every_profile_resolves_and_overrides_one_field_alone():
    for name, profile in PROFILES.items():
        assert profile.profile == name
        assert resolve(name, {}) == profile
        changed = resolve(name, {"match": {"iterations": "7"}})
        assert changed.match.iterations == 7
        assert changed.eval == profile.eval
        assert changed.match.real_batch == profile.match.real_batch
    with pytest.raises(UsageError, match="did you mean 'quick'"):
        resolve("quik", {})


def test_the_paper_profile_is_the_published_protocol():
    paper = PROFILES["paper"]
    assert (paper.match.iterations, paper.match.real_batch, paper.match.momentum) == (20_000, 256, 0.5)
    assert (paper.eval.nets, paper.eval.epochs, paper.eval.lr, paper.eval.batch) == (5, 1000, 0.01, 256)
    assert (paper.eval.momentum, paper.eval.weight_decay) == (0.9, 5e-4)


def test_every_field_of_the_protocol_can_be_set():
    assert set(SECTIONS) == {"match", "eval", "whole", "data", "network"} == set(Protocol.model_fields) - {"profile"}
    for name, kind in SECTIONS.items():
        for profile in PROFILES.values():
            section = getattr(profile, name)
            assert type(section) is kind
            typed = {key: as_typed(value) for key, value in section}
            assert kind.from_texts(typed, owner=name) == section  # what a user types is what is stored


@pytest.mark.parametrize(
    ("section", "field", "typed", "complaint"),
    [
        ("match", "augment", "color_rotat", "did you mean 'rotate'"),
        ("match", "network", "convnett", "did you mean 'convnet'"),
        ("eval", "networks", "convnet,lenett", "did you mean 'lenet'"),
        ("eval", "networks", "", "unknown network ''"),
        ("eval", "networks", "convnet-d9", "unknown variant 'd9'"),
        ("data", "holdout", "1", "a number above 0 and below 1"),
        ("network", "depth", "7", "at least 1 and at most 6, or none"),
        ("eval", "lr", "x", "--set eval.lr: 'x' is not valid; lr takes a number above 0, or own"),
        ("eval", "lr", "owm", "did you mean 'own'"),
    ],
)
def test_a_mistake_in_the_protocol_is_one_line(section, field, typed, complaint):
    with pytest.raises(UsageError) as caught:
        resolve("quick", {section: {field: typed}})
    assert complaint in str(caught.value)


def test_networks_have_one_name_each_and_are_named_once():
    assert Training(networks=("mlp", "convnet-bn-d2", "convnet-d2-bn", "mlp")).networks == ("mlp", "convnet-d2-bn")
    assert Match(network="convnet-ap").network == "convnet"
    with pytest.raises(UsageError, match="networks"):
        Training(networks=())
