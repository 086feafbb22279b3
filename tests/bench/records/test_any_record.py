"""Whatever lies in a record's file, reading it gives that record or says in a line what is wrong; by Hypothesis."""

from __future__ import annotations

import json

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from test_records import RECORD

from bench.records.record import RecordProblem, RunRecord
from bench.records.storage import parse_record, read_record, signed

CONTENT = RECORD.model_dump(mode="json")
KEYS = st.text() | st.sampled_from(sorted(CONTENT))
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text() | st.sampled_from(sorted(CONTENT)), inner, max_size=6)
    ),
    max_leaves=12,
)


def parsed(document: str) -> RunRecord | None:
    """Return the record in a document, or None if it is refused; nothing but a `ValueError` or a `RecursionError` may come."""
    try:
        return parse_record(document)
    except (ValueError, RecursionError):
        return None


@given(JSON)
def test_any_json_is_refused(content):
    assert parsed(json.dumps(content)) is None


@given(st.text())
def test_any_text_is_refused(text):
    assert parsed(text) is None


@st.composite
def changed_contents(draw):
    """Return the content of a record with one value, at any depth, replaced; signed as if it had been written so."""
    content = json.loads(json.dumps(CONTENT))
    place = content
    while True:
        keys = sorted(place) if isinstance(place, dict) else list(range(len(place)))
        key = draw(st.sampled_from(keys))
        if not (isinstance(place[key], dict | list) and place[key]) or draw(st.booleans()):
            break
        place = place[key]
    place[key] = draw(JSON)
    return content


@given(changed_contents())
@example({**CONTENT, "spec": {**CONTENT["spec"], "protocol": None}})
def test_a_signed_record_with_any_value_changed_is_refused_or_says_exactly_that(content):
    record = parsed(json.dumps(signed(content)))
    if record is not None:
        assert RunRecord.model_validate(record.model_dump()) == record
        assert record.hash == record.spec.hash
        for evaluation in record.evaluations:
            assert all(0 <= accuracy <= 100 for accuracy in evaluation.accuracies)


@pytest.mark.filterwarnings("error")
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.binary(max_size=400))
def test_any_bytes_in_a_file_are_a_problem_of_one_line(tmp_path, content):
    path = tmp_path / "a.json"
    path.write_bytes(content)
    problem = read_record(path)
    assert isinstance(problem, RecordProblem)
    assert problem.reason
    assert "\n" not in problem.reason
