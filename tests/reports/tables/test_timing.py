"""Peak memory of a CPU's process and of a GPU are different things: captions say so, and no mean is taken of them."""

from __future__ import annotations

import matplotlib.pyplot as plt
import pytest
from made_records import record

from bench.records.sections import PreparedFor
from reports.figures import figures
from reports.frames.results import Results
from reports.frames.rows import memory_kind
from reports.tables.timing import timing_frame, timing_table

CUDA = {"gpu": "G", "cores": 4, "device": "cuda:0"}


def on_gpu(made, memory):
    return made.model_copy(update={"hardware": CUDA, "peak_memory_mib": memory})


def memory_of(*records):
    table = timing_table(Results.of(records))
    place = table.heads.index("peak MiB")
    return [row.cells[place].value for row in table.rows]


def test_memory_of_one_kind_is_averaged_and_that_of_two_is_left_blank():
    cpu, gpu = record("dm", seed=0), on_gpu(record("dm", seed=1), 900.0)
    assert memory_of(cpu, record("dm", seed=1)) == [100.0]
    assert memory_of(gpu, on_gpu(record("dm", seed=2), 1100.0)) == [1000.0]
    assert memory_of(cpu, gpu, record("kr"), on_gpu(record("kr", ipc=10), 500.0)) == [None, 100.0, 500.0]


def test_a_cell_that_was_distilled_and_evaluated_on_different_devices_has_none():
    made = record()
    elsewhere = made.evaluations[0].model_copy(update={"hardware": CUDA})
    made = made.model_copy(update={"evaluations": (elsewhere,)})
    assert (memory_kind(made), memory_kind(record()), memory_kind(on_gpu(record(), 1.0))) == ("both", "process", "device")
    assert memory_of(made) == [None]


def test_the_figure_and_both_captions_say_which_memory_it_is():
    words = "the peak of what the process held on a CPU, and of what was allocated on the device on a GPU"
    assert words in " ".join(timing_table(Results.of([record()])).caption)
    (figure,) = [figure for figure in figures() if figure.name == "timing"]
    assert words in figure.caption
    (drawing,) = figure.draw(Results.of([record("dm", seed=0), on_gpu(record("dm", seed=1), 900.0), record("kr")]))
    plt.close(drawing.canvas)
    memory = drawing.data.set_index("method")["peak_memory_mib"].to_dict()
    assert memory == {"dm": pytest.approx(float("nan"), nan_ok=True), "kr": 100.0}


def test_seconds_of_several_machines_are_named():
    here, there = record("dm", seed=0), record("dm", seed=1).model_copy(update={"hardware": CUDA})
    (sentence,) = (text for text in timing_table(Results.of([here, there, record("kr")])).caption if "several machines" in text)
    words = "G, 4 threads on cuda:0; a processor, 2 threads on cpu"
    assert sentence == f"Means over seconds of several machines: DM on fashionmnist, IPC 1 ({words})."
    alone = timing_table(Results.of([here, record("dm", seed=1), record("kr").model_copy(update={"hardware": CUDA})]))
    assert not any("several machines" in text for text in alone.caption)


def prepared(made, *seconds):
    """Return a record of a cell that was made with artefacts which took these seconds; the first cell made them."""
    artefacts = {
        str(number): PreparedFor(kind="networks", label="a network", seconds=took, made=made.spec.seed == 0)
        for number, took in enumerate(seconds)
    }
    return made.model_copy(update={"preparation": artefacts})


def test_the_seconds_of_preparation_are_a_column_if_a_record_has_any():
    without = Results.of([record("dm"), record("herding")])
    assert "preparation" not in timing_table(without).heads
    assert "preparation_s" not in timing_frame(without)
    results = Results.of([record("dm"), *(prepared(record("herding", seed=seed), 4.0, 1.5) for seed in (0, 1))])
    table = timing_table(results)
    index = table.heads.index("preparation")
    assert {row.column.method: row.cells[index].value for row in table.rows} == {"dm": None, "herding": 5.5}
    assert any(line.startswith("Preparation: ") for line in table.caption)
    frame = timing_frame(results)
    assert list(frame.loc[frame["method"] == "herding", "preparation_s"]) == [5.5, 5.5]  # each in full, whoever made it
    assert list(frame["total_s"]) == list(timing_frame(without)["total_s"].iloc[[0, 1, 1]])
