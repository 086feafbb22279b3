"""What makes a cell another question than the published one, beyond the fields of the protocol."""

from __future__ import annotations

import pytest
from made_records import record

from methods import METHODS
from reports.frames.published import HYPER
from reports.frames.results import Results
from reports.verdicts.cells import table2_cells
from reports.verdicts.verdict import departures

WITH_NETWORK = sorted(name for name, method in METHODS.items() if "network" in method.settings.model_fields)


@pytest.mark.parametrize("method", WITH_NETWORK)
def test_a_method_that_matches_or_selects_by_another_network_is_not_the_published_one(method):
    assert HYPER[method]["network"] == "convnet"
    assert departures(record(method, settings={"network": "convnet"})) == []
    assert departures(record(method, settings={"network": "vgg11"})) == [f"{method}.network=vgg11, not convnet"]


def test_the_methods_with_a_network_of_their_own_are_those_that_docs_name():
    assert {"dc", "dsa", "cafe", "herding"} <= set(WITH_NETWORK)


@pytest.mark.parametrize("method", ["dm", "random", "whole"])
def test_images_that_are_not_the_published_ones_are_another_question(method):
    made = record(method, ipc=None if method == "whole" else 1).model_copy(update={"published_images": False})
    assert "images that are not the published ones" in departures(made)
    cells = table2_cells(Results.of([made]))
    assert {cell.verdict.kind for cell in cells if cell.measured and cell.verdict} == {"not comparable"}
    for same in (True, None):
        warned = made.model_copy(update={"published_images": same, "warnings": ("the images are not the published ones",)})
        assert "images that are not the published ones" not in departures(warned)


def test_one_record_of_other_images_is_enough():
    for seed in (0, 1):
        records = [record("dm", seed=seed) for seed in (0, 1)]
        records[seed] = records[seed].model_copy(update={"published_images": False})
        (kind,) = {cell.verdict.kind for cell in table2_cells(Results.of(records)) if cell.measured}
        assert kind == "not comparable"
