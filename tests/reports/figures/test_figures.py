"""The figures: each draws what the records have, whatever their names, and its numbers can be read from the CSV."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from made_records import ODD, odd, record, rich, with_checkpoints, with_protocol
from PIL import Image

from methods import METHODS
from reports.figures import figures
from reports.figures.accuracy import draw as accuracy_drawings
from reports.figures.figure import FORMATS, STYLE, WRITTEN, write_figure
from reports.figures.pareto import draw as pareto_drawings
from reports.figures.style import palette
from reports.frames.names import Column
from reports.frames.results import Results
from reports.statistics.curves import points


def written(records, folder, name=None, *, formats=WRITTEN):
    results = Results.of(records)
    shown = [figure for figure in figures() if name in (None, figure.name)]
    return [picture for figure in shown for picture in write_figure(figure, results, folder, formats)]


def test_every_figure_says_what_it_is():
    names = [figure.name for figure in figures()]
    assert len(names) == len(set(names)) >= 8
    assert names[0] == "answer"
    for figure in figures():
        assert figure.title
        assert figure.caption.endswith(".")


def test_every_figure_is_written_in_all_formats_with_its_numbers_whatever_the_names(tmp_path, monkeypatch):
    monkeypatch.setitem(STYLE, "svg.fonttype", "none")  # strings stay strings
    records = [odd(made) for made in rich()]
    pictures = written(records, tmp_path)
    assert {picture.figure.name for picture in pictures} == {figure.name for figure in figures()}
    stems = [picture.stem for picture in pictures]
    assert len(stems) == len(set(stems))
    assert {path.name for path in tmp_path.iterdir()} == {f"{stem}.{form}" for stem in stems for form in (*FORMATS, "csv")}
    strings = set()
    for stem, figure in ((picture.stem, picture.figure) for picture in pictures):
        assert len(pd.read_csv(tmp_path / f"{stem}.csv"))
        own = set(ElementTree.parse(tmp_path / f"{stem}.svg").getroot().itertext())
        assert figure.name == "timing" or any("test accuracy" in string for string in (*own, figure.caption)), stem
        strings |= own
        assert (tmp_path / f"{stem}.pdf").read_bytes().startswith(b"%PDF")
        with Image.open(tmp_path / f"{stem}.png") as picture:
            assert picture.width > 200
    assert plt.get_fignums() == []  # none is left open
    for name in ODD:
        assert any(name in string for string in strings), name
    # With mathtext off, tick labels of matplotlib's own logarithms would be shown as formulas.
    assert [string for string in strings if "mathdefault" in string] == []


SINGLE = {
    "loss": record(),
    "random": record("random", iterations=0),
    "whole": record("whole", ipc=None, accuracies=(91.0,), iterations=0),
    "one network": record(accuracies=(70.0,)),
    "digits": record(dataset="digits"),
    "checkpoints": with_checkpoints(record(), {2: (40.0, 41.0)}),
    "no seconds": record().model_copy(update={"seconds": {"total": 1.0}}),
    "loss of zero": record().model_copy(update={"loss": (0.0,) * 10}),
}


@pytest.mark.parametrize("name", SINGLE)
@pytest.mark.filterwarnings("error")
def test_no_figure_fails_on_a_single_record(tmp_path, name):
    made = SINGLE[name]
    names = {picture.figure.name for picture in written([odd(made)], tmp_path, formats=("svg",))}
    assert "accuracy" in names
    assert ("answer" in names) == (made.spec.protocol.match is not None)
    assert ("learning_curves" in names) == bool(made.checkpoints)
    assert not names & {"rates", "ranks", "transfer"}


def test_the_same_records_give_the_same_files(tmp_path):
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        written([record(), record("kr")], tmp_path / name)
    for path in (tmp_path / "a").iterdir():
        assert path.read_bytes() == (tmp_path / "b" / path.name).read_bytes(), path.name


def test_the_bars_have_published_values_where_there_are_any(tmp_path):
    written([record(), record("emd"), record(dataset="digits")], tmp_path, "accuracy", formats=("csv",))
    digits, fashion = pd.read_csv(tmp_path / "accuracy_1.csv"), pd.read_csv(tmp_path / "accuracy_2.csv")
    assert digits["published"].isna().all()
    here = fashion[fashion["ipc"] == 1].set_index("method")["published"].to_dict()
    assert here == {"dm": 70.7, "emd": pytest.approx(np.nan, nan_ok=True)}
    # Of the methods that were run, published values of IPCs that were not run are there too, without a bar.
    others = fashion[fashion["ipc"] != 1]
    assert others[["ipc", "method", "published"]].to_numpy().tolist() == [[10, "dm", 83.5], [50, "dm", 88.1]]
    assert others["mean"].isna().all()


def test_the_bar_of_another_protocol_is_hatched():
    short = with_protocol(record("random", accuracies=(60.0,)), eval={"epochs": 5})
    (picture,) = accuracy_drawings(Results.of([record(accuracies=(70.0,)), record("kr", accuracies=(71.0,)), short]))
    run = picture.data.dropna(subset="mean").set_index("method")
    assert run["compared"].to_dict() == {"random": False, "dm": True, "kr": True}
    (axes,) = picture.canvas.axes
    assert {bar.get_height(): bool(bar.get_hatch()) for bar in axes.patches} == {60.0: True, 70.0: False, 71.0: False}
    marks = [label.get_text() for label in picture.canvas.legends[0].get_texts()]
    assert marks[-2:] == ["published", "another protocol"]


def test_the_sensitivity_figure_appears_where_rates_differ_and_says_what_each_loss_loses(tmp_path):
    rates = {0.01: (60.0, 61.0), 0.05: (70.0, 71.0), 0.25: (65.0, 66.0)}
    records = [record("dm", rate=rate, seed=seed, accuracies=of) for rate, of in rates.items() for seed in (0, 1)]
    assert written(records[2:4], tmp_path, "rates", formats=("csv",)) == []
    assert len(written(records, tmp_path, "rates", formats=("csv",))) == 1
    frame = pd.read_csv(tmp_path / "rates.csv")
    assert list(frame["rate"]) == [0.01, 0.05, 0.25]
    assert list(frame["below_best"]) == [10.0, 0.0, 5.0]
    assert list(frame["std_seeds"]) == [0.0, 0.0, 0.0]


def test_the_learning_curves_are_the_checkpoints_and_the_end(tmp_path):
    made = with_checkpoints(record(accuracies=(70.0, 71.0)), {2: (40.0, 41.0), 5: (50.0, 51.0)})
    made = made.model_copy(update={"loss": tuple(float(10 - step) for step in range(10))})
    (picture,) = written([made, record("kr")], tmp_path, "learning_curves", formats=("csv",))
    frame = pd.read_csv(tmp_path / f"{picture.stem}.csv")
    accuracy = frame[frame["quantity"] == "accuracy"]
    assert list(zip(accuracy["iteration"], accuracy["seconds"], accuracy["value"], strict=True)) == [
        (2, 0.2, 40.5),
        (5, 0.5, 50.5),
        (10, 3.0, 70.5),
    ]
    loss = frame[frame["quantity"] == "loss"]
    assert list(loss["value"]) == pytest.approx([1.0 - step / 10 for step in range(10)])
    assert loss["seconds"].iloc[3] == pytest.approx(0.4)  # between the checkpoints
    assert set(frame["method"]) == {"dm"}


def test_the_pareto_plot_has_points_at_equal_seconds(tmp_path):
    slow = record("kr").model_copy(update={"seconds": {"features": 5.0, "total": 6.0}})
    records = [with_checkpoints(made, {2: (40.0, 41.0), 5: (50.0, 51.0)}) for made in (record("dm"), slow)]
    written(records, tmp_path, "pareto", formats=("csv",))
    frame = pd.read_csv(tmp_path / "pareto_1.csv")
    equal = frame[frame["at"] == "equal seconds"].set_index("method")
    assert equal["accuracy"].to_dict() == {"dm": 70.5, "kr": 50.5}  # within DM's three seconds
    assert (equal["seconds"] <= 3.0).all()
    elsewhere = records[1].model_copy(update={"hardware": {"cpu": "another", "threads": 2, "device": "cpu"}})
    assert set(points(Results.of([records[0], elsewhere]))["at"]) == {"all iterations"}
    other = with_protocol(records[1], match={"augment": "none"})
    assert set(points(Results.of([records[0], other]))["at"]) == {"all iterations"}


def test_the_best_up_to_there_leaves_out_what_has_another_protocol():
    usual = [record("dm", accuracies=(70.0,)), record("emd", accuracies=(71.0,))]
    better = with_protocol(record("kr", accuracies=(90.0,)), match={"augment": "none"})
    results = Results.of([*usual, better])
    frame = points(results).set_index("method")
    assert frame["compared"].to_dict() == {"dm": True, "emd": True, "kr": False}
    (drawing,) = pareto_drawings(results)
    (line,) = drawing.canvas.axes[0].get_lines()
    assert max(line.get_ydata()) == 71.0


def test_labels_of_points_lie_in_the_picture():
    records = [record(name, accuracies=(70.0 + 0.01 * number,)) for number, name in enumerate(("random", "dm", "kr", "emd"))]
    (drawing,) = pareto_drawings(Results.of(records))
    labels = [label for axes in drawing.canvas.axes for label in axes.texts]
    assert len(labels) == len(records)
    for label in labels:
        box = label.get_window_extent()
        assert all(drawing.canvas.bbox.contains(*corner) for corner in (box.min, box.max)), label.get_text()


@pytest.mark.parametrize("count", [3, 12, 25, 60])
def test_no_two_methods_have_one_color(count):
    columns = [*METHODS, *(f"own{i}" for i in range(60))][:count]
    records = [record(name) for name in METHODS]
    colors = palette(map(Column, columns), Results.of(records))
    assert len(colors) == len(set(colors.values())) == count
    for name in set(columns) & set(METHODS):
        assert colors[Column(name)] == METHODS[name].color


def test_variants_of_a_method_differ_in_color():
    records = [record("kr", settings={"hidden": 64}), record("kr", settings={"hidden": 256}), record("dm")]
    results = Results.of(records)
    colors = palette(results.columns, results)
    assert len(set(colors.values())) == 3
    assert METHODS["kr"].color in {colors[column] for column in results.columns if column.method == "kr"}


def test_a_column_has_one_color_in_all_figures_and_in_reports_of_other_methods():
    own, variant = Column("own"), Column("dm", "a=1")
    results, others = Results.of([record("dm"), record("kr")]), Results.of([record("kr"), record("dm"), record("emd")])
    every = palette([*map(Column, ("dm", "kr")), own, variant], results)
    for column in every:
        assert palette([column], results) == palette([column], others) == {column: every[column]}


def test_the_figure_of_the_documentation_is_one(tmp_path):
    document = (Path(__file__).parents[3] / "docs" / "report.md").read_text(encoding="utf-8")
    (block,) = re.findall(r"```python\n(.*?)```", document, flags=re.DOTALL)
    module = {}
    exec(block, module)
    made = with_checkpoints(record(), {2: (40.0, 41.0)})
    (picture,) = write_figure(module["FIGURE"], Results.of([made]), tmp_path)
    assert pd.read_csv(tmp_path / f"{picture.stem}.csv")["angle"].tolist() == [0.04]
    assert write_figure(module["FIGURE"], Results.of([record()]), tmp_path) == []
