"""The page as a file: what stands where, that it is one file, and what is interactive on it."""

from __future__ import annotations

import base64
import io
import json
import subprocess
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote

import numpy as np
import pandas as pd
import pytest
import vl_convert
from made_records import evaluation, record, with_checkpoints, with_spec

from bench.records.sections import MethodFacts
from bench.records.storage import write_record
from reports.frames.results import Results
from reports.page.charts import charts, label_heights, library, positive, thinned
from reports.page.page import with_pictures
from reports.report import write_report

REFERENCE = Path(__file__).parents[3] / "reports" / "reference"
ODD = """</script><b>"'&amp; $_$"""
VOID = {"meta", "link", "img", "input", "br", "hr"}


class Elements(HTMLParser):
    """The elements of a page as (tag, attributes, texts), in order; every tag that is opened has to be closed."""

    def __init__(self, text):
        super().__init__()
        self.all, self.open = [], []
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag, attributes):
        element = (tag, dict(attributes), [])
        self.all.append(element)
        if tag not in VOID:
            self.open.append(element)

    def handle_endtag(self, tag):
        if tag not in ("li", "p", "option"):
            assert self.open[-1][0] == tag
        self.open.pop()

    def handle_data(self, text):
        for _, _, texts in self.open:
            texts.append(text)

    def of(self, tag):
        return [(attributes, "".join(texts)) for name, attributes, texts in self.all if name == tag]

    def ids(self):
        return [attributes["id"] for _, attributes, _ in self.all if "id" in attributes]


def page_of(records, folder, **options):
    for made in records:
        write_record(folder / "records", made)
    return write_report([folder], **options)


def several():
    networks = (evaluation("convnet"), evaluation("mlp", (50.0, 52.0)))
    made = [record(method, evaluations=networks) for method in ("random", "dm", "kr")]
    made += [record("kr", ipc=10, settings={"hidden": hidden}) for hidden in (1, 2)]
    return [*(with_checkpoints(each, {0: (40.0, 41.0), 5: (50.0, 51.0)}) for each in made), record("whole", ipc=None)]


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    """Return the file of a page with something for most of its sections."""
    out = tmp_path_factory.mktemp("a b") / "out"
    failed = record("emd").model_copy(update={"status": "failed", "error": ODD, "evaluations": ()})
    return page_of([*several(), failed], out)


@pytest.fixture(scope="module")
def elements(page):
    return Elements(page.read_text(encoding="utf-8"))


def test_the_library_of_charts_is_bundled_once_and_again_if_the_cache_is_damaged(tmp_path, monkeypatch):
    bundles = []
    monkeypatch.setattr("reports.page.charts.platformdirs.user_cache_path", lambda application: tmp_path / application)
    monkeypatch.setattr("reports.page.charts.vl_convert.javascript_bundle", lambda *a, **b: bundles.append(a) or "bündle\n();")
    assert [library(), library()] == ["bündle\n();"] * 2
    assert len(bundles) == 1
    [cache] = tmp_path.rglob("*.js")
    cache.write_text(cache.read_text(encoding="utf-8").replace("();", ")"), encoding="utf-8")
    assert [library(), library()] == ["bündle\n();"] * 2
    assert len(bundles) == 2


def test_the_sections_are_in_the_order_in_which_a_reader_asks_for_them(elements):
    order = ["the-answer", "figure-answer", "filters", "answer", "table2", "table1", "transfer", "comparisons"]
    order += ["section-accuracy", "section-cost", "section-networks", "cells", "not-shown", "files"]
    ids = elements.ids()
    assert len(ids) == len(set(ids))
    assert [name for name in ids if name in order] == order


def test_the_contents_name_every_section_by_its_heading(elements):
    links = [attributes["href"][1:] for attributes, _ in elements.of("a") if attributes["href"].startswith("#")]
    sections = [attributes["id"] for attributes, _ in elements.of("section")]
    assert links[1 : 1 + len(sections)] == sections


def test_it_is_one_file_that_asks_for_nothing(page, elements):
    for tag, attributes, _ in elements.all:
        for name in ("src", "srcset", "action", "poster"):
            assert attributes.get(name, "data:").startswith("data:"), tag
        assert tag != "link" or attributes["href"] == "data:,"
    text = page.read_text(encoding="utf-8")
    own = text.replace(library(), "")
    assert len(own) < len(text)
    assert "url(" not in own
    assert "@import" not in own
    links = [attributes["href"] for attributes, _ in elements.of("a") if not attributes["href"].startswith("#")]
    assert len(links) > 40
    for link in links:
        assert (page.parent / unquote(link)).is_file(), link


def test_filters_offer_what_is_on_the_page(elements):
    text = "".join(str((attributes, texts)) for tag, attributes, texts in elements.all if tag == "form")
    names = [attributes["name"] for attributes, _ in elements.of("select")]
    assert names[:3] == ["ipc", "method", "variant"]  # one dataset is no choice
    values = [attributes["value"] for attributes, _ in elements.of("option") if "value" in attributes]
    assert {"1", "10", "all", "kr", "random", "whole", "", "kr.hidden=1", "kr.hidden=2"} <= set(values)
    assert "fashionmnist" not in text


def test_names_end_no_script_and_no_element(tmp_path):
    facts = MethodFacts(label=ODD, order=80)
    made = with_checkpoints(record("dm"), {2: (40.0, 41.0)}).model_copy(update={"dataset_label": ODD, "method": facts})
    other = record("kr").model_copy(update={"dataset_label": ODD, "method": facts.model_copy(update={"citation": ODD})})
    elements = Elements(page_of([made, other], tmp_path, formats=("html",)).read_text(encoding="utf-8"))
    assert [text for _, text in elements.of("b") if text.startswith('"')] == []
    specifications = [text for attributes, text in elements.of("script") if attributes.get("type") == "application/json"]
    assert len(specifications) == 3
    assert all(ODD in json.dumps(json.loads(text)).replace('\\"', '"') for text in specifications)


def test_what_was_left_out_is_told_and_nothing_is_where_nothing_was(elements, tmp_path):
    (text,) = [text for attributes, text in elements.of("ul") if attributes.get("class") == "left-out"]
    assert "failed: fashionmnist ipc 1 emd seed 0" in text
    assert ODD in text
    whole = Elements(page_of([record("whole", ipc=None)], tmp_path, drawn=()).read_text(encoding="utf-8"))
    assert not {"not-shown", "images", "viewer"} & set(whole.ids())
    assert max(len(text) for _, text in whole.of("script")) < 20_000  # without charts it has no library of charts


def test_a_misnamed_record_counts_and_is_named_with_the_command_that_repairs_it(tmp_path):
    made = record("dm")
    write_record(tmp_path / "records", made)
    right = tmp_path / "records" / f"{made.hash}.json"
    misnamed = right.rename(right.with_name("a copy.json"))
    page = Elements(write_report([tmp_path], drawn=()).read_text(encoding="utf-8"))
    assert "counted-once" in page.ids()
    assert "not-shown" not in page.ids()
    (line,) = (line for _, line in page.of("li") if "misnamed" in line)
    assert made.spec.label in line
    subprocess.run(["sh", "-c", line[line.index("mv ") :]], check=True)
    assert right.is_file()
    assert not misnamed.exists()
    assert "counted-once" not in Elements(write_report([tmp_path], drawn=()).read_text(encoding="utf-8")).ids()


def test_pictures_are_embedded_in_the_order_of_the_page_while_there_is_room_and_are_links_then(tmp_path):
    pictures = {"figures/a.svg": b"<svg/>" * 100, "images/b.png": b"\x89PNG" * 300, "figures/c.svg": b"<svg/>" * 90}
    for folder in ("new/figures", "new/images", "old/figures"):
        (tmp_path / folder).mkdir(parents=True)
    for name, content in pictures.items():
        (tmp_path / ("old" if name == "figures/c.svg" else "new") / name).write_bytes(content)  # of an earlier report
    html = "".join(f'<p><img src="{name}" alt=""></p>' for name in pictures)
    folders = tmp_path / "new", tmp_path / "old"

    def sources(largest):
        page = with_pictures(html, folders, largest=largest)
        assert len(page) <= largest
        return [attributes["src"] for attributes, _ in Elements(page).of("img")]

    whole = sources(5_000_000)
    assert [source.partition(";")[0] for source in whole] == [f"data:image/{form}" for form in ("svg+xml", "png", "svg+xml")]
    assert [base64.b64decode(source.partition(",")[2]) for source in whole] == list(pictures.values())
    size = len(with_pictures(html, folders))
    assert sources(size) == whole
    assert sources(size - 1) == [*whole[:2], "figures/c.svg"]
    smaller = size - len(whole[1]) + len("images/b.png")  # a smaller picture after it still fits
    assert sources(smaller) == [whole[0], "images/b.png", whole[2]]


def test_the_figures_of_benchmarks_are_on_the_page_and_stay(tmp_path):
    figures = tmp_path / "report" / "figures"
    figures.mkdir(parents=True)
    for form in ("svg", "csv"):
        (figures / f"benchmarks_time.{form}").write_text("<svg/>")
    for _ in range(2):
        page = page_of([record()], tmp_path, formats=("html",), drawn=())
        elements = Elements(page.read_text(encoding="utf-8"))
        assert elements.ids().count("figure-benchmarks_time") == 1
        links = [attributes["href"] for attributes, _ in elements.of("a") if "benchmarks_time" in attributes["href"]]
        assert links == ["figures/benchmarks_time.svg", "figures/benchmarks_time.csv"]
        assert all((page.parent / link).is_file() for link in links)


WITH_FIGURES = ("cpu", "rates_seeds")


@pytest.mark.parametrize("name", sorted(path.name for path in REFERENCE.iterdir() if any(path.glob("records/*.json"))))
def test_the_reference_records_make_a_page_of_less_than_five_megabytes(name, tmp_path):
    """Two of them with all figures; of the others, tables, cards and images are what takes bytes: pictures fill the rest."""
    drawn = None if name in WITH_FIGURES else ()
    page = write_report([REFERENCE / name], target=tmp_path / "report", formats=("html",), log=io.StringIO(), drawn=drawn)
    assert (20_000 if drawn == () else 100_000) < page.stat().st_size < 5_000_000
    assert ("data:image/svg+xml" in page.read_text(encoding="utf-8")) == (drawn is None)


# ---- charts ----


def test_vega_draws_each_chart_and_every_method_is_in_it():
    made = charts(Results.of(several()))
    assert [(chart.name, chart.title) for chart in made] == [
        ("pareto", "Accuracy against seconds"),
        ("learning_curves", "Test accuracy at checkpoints"),
        ("learning_curves", "Loss over its value at the start"),
    ]
    for chart in made:
        specification = json.loads(chart.specification)
        picture = vl_convert.vegalite_to_svg({**specification, "width": 500})
        assert "NaN" not in picture
        assert all(f">{name}<" in picture for name in ("DM", "KR"))
        (options,) = [choice["bind"]["options"] for choice in specification["params"] if choice["name"] == "cell"]
        assert options == ["fashionmnist, IPC 1", "fashionmnist, IPC 10"]
    assert charts(Results.of([record("whole", ipc=None)])) == []


def test_what_takes_no_time_stands_left_of_all_else():
    frame = pd.DataFrame({"cell": ["a", "a", "a", "b"], "seconds": [0.0, 3.0, 6.0, 0.0]})
    assert list(positive(frame, "seconds", ["cell"])) == pytest.approx([1.0, 3.0, 6.0, 1 / 3])


def test_labels_of_points_that_lie_together_are_moved_apart():
    points = pd.DataFrame({"shown_at": [10.0, 10.1, 10.2, 1000.0], "accuracy": [50.0, 50.0, 50.01, 50.0]}, index=[7, 3, 5, 9])
    points.loc[11] = [1.0, 0.0]
    heights = label_heights(points)
    assert set(heights.index) == set(points.index)
    close = sorted(heights[[7, 3, 5]])
    assert np.diff(close).min() > 0.05 * 50
    assert heights[9] == 50.0


def test_long_curves_keep_their_ends_and_short_ones_all_points():
    frame = pd.DataFrame({"name": ["a"] * 1000 + ["b"] * 10, "value": range(1010)})
    values = {name: list(curve["value"]) for name, curve in thinned(frame, ["name"], most=100).groupby("name")}
    assert values["b"] == list(range(1000, 1010))
    assert 40 <= len(values["a"]) <= 60
    assert (values["a"][0], values["a"][-1]) == (0, 999)


def test_a_card_is_on_the_page_for_every_record_that_has_results(tmp_path):
    records = [with_spec(record("dm", seed=seed), data="1") for seed in (0, 1)] + [
        record("kr", rate=rate) for rate in (0.05, 0.1)
    ]
    elements = Elements(page_of(records, tmp_path, formats=("html",), drawn=()).read_text(encoding="utf-8"))
    ids = {attributes["id"] for attributes, _ in elements.of("details") if attributes.get("class") == "card"}
    assert ids == {f"cell-{made.hash}" for made in records}
