"""Descriptions as JSON: what was recorded stays as it is, and a field that is added later leaves it alone."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import pytest
from pydantic import Field

import run_all
from bench.cells.protocol import SECTIONS, Match, Protocol
from bench.cells.settings import Count, Later, Settings
from bench.cells.spec import RunSpec, hash_of
from bench.running.executors import EXECUTORS
from methods import METHODS

RECORDS = sorted((Path(run_all.__file__).with_name("reports") / "reference").glob("*/records/*.json"))


def test_committed_descriptions_are_written_as_they_were_read_and_keep_their_hashes():
    assert len(RECORDS) > 100
    for path in RECORDS:
        record = json.loads(path.read_text(encoding="utf-8"))
        spec = RunSpec.model_validate_json(json.dumps(record["spec"]))
        assert json.dumps(spec.model_dump(mode="json")) == json.dumps(record["spec"]), path
        assert spec.hash == hash_of(record["spec"]) == record["hash"] == path.stem


class Loss(Settings):
    hidden: Count = 3


class LossWithLater(Loss):
    slope: Annotated[float, Later()] = 0.5


class MatchWithLater(Match):
    every: Annotated[Count, Later(), Field(description="Steps between two networks.")] = 1


class Extra(Settings):
    size: Count = 5


class ProtocolWithLater(Protocol):
    match: MatchWithLater | None = MatchWithLater()
    extra: Annotated[Extra, Later()] = Extra()


class SpecWithLater(RunSpec):
    protocol: ProtocolWithLater


def spec_before(settings: Settings) -> RunSpec:
    return RunSpec(
        dataset="digits", ipc=1, method="m", seed=0, settings=settings, protocol=Protocol(profile="quick"), precision="fp32"
    )


def spec_after(settings: Settings, **fields: object) -> SpecWithLater:
    protocol = ProtocolWithLater(profile="quick", **fields)
    return SpecWithLater(**{**dict(spec_before(settings)), "protocol": protocol})


def test_a_field_added_later_leaves_json_and_hash_alone_while_it_has_its_default():
    before, after = spec_before(Loss()), spec_after(LossWithLater())
    assert after.model_dump_json() == before.model_dump_json()
    assert after.model_dump() == before.model_dump()
    assert after.hash == before.hash


@pytest.mark.parametrize(
    ("settings", "fields", "path"),
    [
        (LossWithLater(slope=0.25), {}, ("settings", "slope")),
        (LossWithLater(), {"match": MatchWithLater(every=2)}, ("protocol", "match", "every")),
        (LossWithLater(), {"extra": Extra(size=6)}, ("protocol", "extra", "size")),
    ],
)
def test_another_value_of_a_field_added_later_is_recorded_and_another_cell(settings, fields, path):
    spec = spec_after(settings, **fields)
    content = json.loads(spec.model_dump_json())
    for key in path:
        content = content[key]
    assert content in (0.25, 2, 6)
    assert spec.hash != spec_before(Loss()).hash
    again = SpecWithLater.model_validate_json(spec.model_dump_json())
    assert (again.hash, again.protocol) == (spec.hash, spec.protocol)


def test_a_record_without_a_field_added_later_has_its_default():
    old = spec_before(Loss()).model_dump_json()
    spec = SpecWithLater.model_validate_json(old)
    assert (spec.protocol.match.every, spec.protocol.extra) == (1, Extra())
    assert LossWithLater.model_validate(dict(spec.settings)).slope == 0.5
    assert spec.model_dump_json() == old


# ---- every setting is described ----


def described() -> list:
    """Return the settings of all registries, by what the command line calls them."""
    owners = [(name, method.settings) for name, method in METHODS.items()]
    owners += [*SECTIONS.items(), *((name, kind.settings) for name, kind in EXECUTORS.items())]
    return [pytest.param(settings, id=f"{settings.__name__} of {name}") for name, settings in owners]


@pytest.mark.parametrize("settings", described())
def test_every_setting_has_a_description_of_one_sentence(settings):
    for name, field in settings.model_fields.items():
        description = field.description or ""
        assert description[:1].isupper(), name
        assert description.endswith("."), name
        assert ". " not in description, name
        assert "\n" not in description, name
