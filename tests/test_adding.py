"""docs/adding.md: each of its files is written and used, each of its registry lines is registered, in one small grid."""

from __future__ import annotations

import importlib
import io
import math
import re
import signal
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import PIL.Image
import pytest
import torch
from runners import runner
from safetensors.torch import load_file
from tiny import cell

import bench
import run_all
from bench.loops import metrics
from bench.loops.recorder import Recorder
from bench.machine import signals
from bench.networks import names
from datasets import DATASETS
from methods import METHODS, find_method
from reports.figures import figures
from reports.figures.figure import write_figure
from reports.frames.results import Results
from reports.tables import Entry
from reports.tables.table import Table

PAGE = (Path(__file__).resolve().parents[1] / "docs" / "adding.md").read_text(encoding="utf-8")
BLOCKS = dict(re.findall(r"(?ms)^```python\n# (.+?)\n(.*?)^```", PAGE))
"""The code blocks by their first line: the path of a file, or `in REGISTRY, FILE`."""

OWN = {"my_loss.py": "my_loss", "ranged.py": "ranged", "smoothed.py": "Smoothed"}
"""The losses outside the suite, by file."""
FILES = [name for name in BLOCKS if "/" in name and not name.startswith("in ") and name != "bench/loops/metrics.py"]
SETTINGS = (
    *("match.network=tiny", "match.real_batch=4", "eval.networks=tiny", "eval.epochs=2", "whole.epochs=1"),
    *("unrolled.network=tiny", "unrolled.iterations=3", "unrolled.real_batch=4", "unrolled.networks=2", "unrolled.epochs=1"),
)


def lines_of(registry: str, **names: object) -> dict[str, object]:
    """Return the entries that the page adds to a registry that maps names to entries."""
    (content,) = (content for name, content in BLOCKS.items() if name.startswith(f"in {registry},"))
    return eval(f"{{{content}}}", names)


def every_line_of_methods() -> dict[str, str]:
    """Return the entries that the page adds to `METHODS`, which are in several blocks."""
    content = "".join(re.findall(r"(?ms)^```python\n# in METHODS, .+?\n(.*?)^```", PAGE))
    return eval(f"{{{content}}}")


@pytest.fixture(scope="module")
def added(tmp_path_factory):
    """Write every file of the page beside the suite's packages, and register every entry; return the folder."""
    folder, patch, before = tmp_path_factory.mktemp("added"), pytest.MonkeyPatch(), set(sys.modules)
    for name in (*OWN, *FILES):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(BLOCKS[name], encoding="utf-8")
    for package in {str(Path(name).parent) for name in FILES}:
        module = importlib.import_module(package.replace("/", "."))
        patch.setattr(module, "__path__", [*module.__path__, str(folder / package)])
    for name, location in every_line_of_methods().items():
        patch.setitem(METHODS.locations, name, location)
    for name, location in lines_of("DATASETS").items():
        patch.setitem(DATASETS.locations, name, location)
    for name, entry in lines_of("NETWORKS", Entry=names.Entry).items():
        patch.setitem(names.NETWORKS, name, entry)
    defined = vars(metrics).copy()
    exec(BLOCKS["bench/loops/metrics.py"], defined)
    for name, function in lines_of("METRICS", **defined).items():
        patch.setitem(metrics.METRICS, name, function)
    yield folder
    patch.undo()
    for name in set(sys.modules) - before:
        if getattr(sys.modules[name], "__file__", None) and str(folder) in str(sys.modules[name].__file__):
            del sys.modules[name]


def write_flowers(root: Path) -> None:
    """Write a training and a test file of 8 noise images a class, each class with another brightness."""
    generator = np.random.default_rng(0)
    (root / "flowers").mkdir(parents=True)
    for split in ("train", "test"):
        rows = []
        for label in (0, 1, 2) * 8:
            stream = io.BytesIO()
            pixels = generator.integers(0, 100, (32, 32, 3)) + 70 * label
            PIL.Image.fromarray(pixels.astype(np.uint8)).save(stream, "PNG")
            rows.append({"image": {"bytes": stream.getvalue(), "path": None}, "label": label})
        pd.DataFrame(rows).to_parquet(root / "flowers" / f"{split}-0.parquet")


@pytest.fixture(scope="module")
def grid(added):
    """Run everything that the page adds in one grid; return its folder and its records by method."""
    write_flowers(added / "data")
    out, own = added / "out", [f"{added / file}:{name}" for file, name in OWN.items()]
    arguments = [
        *("--datasets", "flowers", "--data-root", str(added / "data"), "--out", str(out), "--ipc", "1", "--device", "cpu"),
        *("--methods", ",".join(["power", "unrolled", *own]), "--iterations", "2", "--eval-nets", "1"),
        *(f"--set={setting}" for setting in (*SETTINGS, "my_loss.power=1.5", "Smoothed.decay=0.5", "power.power=1.5")),
    ]
    assert run_all.main(arguments) == 0
    records, problems = bench.read_folder(out / "records")
    assert problems == []
    drawn = pd.read_csv(out / "report" / "figures" / "angles.csv")
    by_method = {record.spec.method: record for record in records}
    return SimpleNamespace(out=out, arguments=arguments, records=by_method, drawn=drawn)


def test_every_block_of_the_page_is_used_here():
    blocks = re.findall(r"(?m)^```python\n(.*)", PAGE)
    assert PAGE.count("```") == 2 * len(blocks)  # no other kind
    assert all(block.startswith("# ") for block in blocks)
    registries = {name.split()[1].rstrip(",") for name in BLOCKS if name.startswith("in ")}
    assert registries == {"METHODS", "NETWORKS", "DATASETS", "TABLES", "METRICS"}
    assert {name for name in BLOCKS if not name.startswith("in ")} == {*OWN, *FILES, "bench/loops/metrics.py"}


def test_the_page_lists_the_names_that_bench_offers():
    section = PAGE.partition("these names stay:")[2].partition("## ")[0]
    assert sorted(re.findall(r"`(\w+)`", section)) == sorted(bench.__all__)


def test_every_loss_and_method_of_the_page_runs(grid):
    assert set(grid.records) == {"power", "unrolled", "my_loss", "ranged", "Smoothed"}
    for record in grid.records.values():
        assert record.status == "ok"
        assert record.dataset_label == "Flowers"
        assert [evaluation.network for evaluation in record.evaluations] == ["tiny"]
        assert record.main_evaluation.facts.label == "Tiny"
    losses = {name: record.loss for name, record in grid.records.items()}
    assert losses["my_loss"] == losses["power"] != losses["ranged"]  # one formula, at the powers 1.5, 1.5 and 2


def test_the_losses_of_the_page_declare_what_it_says(added, grid):
    flowers = DATASETS["flowers"]
    for file, name in OWN.items():
        method = find_method(f"{added / file}:{name}")  # without a warning
        spec = grid.records[name].spec.model_copy(update={"settings": method.settings()})
        assert (method.reason_not_divisible(spec, flowers) is None) == (name == "my_loss")


def test_the_method_of_the_page_prepares_its_pool_once_and_learns_a_rate(grid):
    record = grid.records["unrolled"]
    [prepared] = record.preparation.values()
    assert (prepared.kind, prepared.made) == ("pool", True)
    files = sorted((grid.out / "artefacts").glob("*.json"))
    assert len(files) == 1
    assert record.lr is not None
    assert record.lr != math.exp(-4)
    assert len(record.loss) == 3
    times = files[0].stat().st_mtime_ns
    rest = [argument for argument in grid.arguments if not argument.startswith(("--set=my_loss.", "--set=Smoothed."))]
    assert run_all.main([*rest, "--methods", "unrolled", "--set", "eval.lr=own"]) == 0
    assert files[0].stat().st_mtime_ns == times
    records, _ = bench.read_folder(grid.out / "records")
    [own] = [other for other in records if other.spec.method == "unrolled" and other.hash != record.hash]
    assert (own.lr, own.spec.protocol.eval.lr) == (record.lr, "own")
    assert not next(iter(own.preparation.values())).made


def test_the_pool_of_the_page_goes_on_with_what_is_done(added):
    method = METHODS["unrolled"]
    spec = cell(method, method.settings(networks=2, epochs=1, network="mlp"))
    task = runner(added / "pool", unrolled=method).workplace.task(spec)
    (artefact,) = method.artefacts(spec)
    make = importlib.import_module("methods.procedures.unrolled_loop").train_pool
    first, second = make(task, artefact, {})
    [again] = make(task, artefact, first)
    assert again.keys() == second.keys()
    assert all(torch.equal(again[name], second[name]) for name in second)


def test_the_loop_of_the_page_ends_with_the_same_bits_if_it_is_interrupted(added, monkeypatch):
    method = METHODS["unrolled"]
    spec = cell(method, method.settings(iterations=4, real_batch=4, networks=2, epochs=1, network="mlp"), eval={"nets": 1})
    (whole,) = runner(added / "whole", unrolled=method).run([spec])
    usual = Recorder.add

    def add(self, losses):
        usual(self, losses)
        if len(self.losses) == 2:
            signals.note(signal.SIGTERM)

    monkeypatch.setattr(Recorder, "add", add)
    with pytest.raises(signals.Interrupted):
        runner(added / "parts", unrolled=method).run([spec])
    signals.reset()
    monkeypatch.undo()
    (resumed,) = runner(added / "parts", unrolled=method).run([spec])
    assert (resumed.status, resumed.lr, resumed.loss) == ("ok", whole.lr, whole.loss)
    name = whole.images_name
    images = [load_file(added / folder / name)["images"] for folder in ("whole", "parts")]
    assert torch.equal(*images)


def test_the_metric_of_the_page_is_recorded(grid):
    for record in grid.records.values():
        values = record.main_evaluation.values
        assert 100 >= values["top_two_accuracy"][0] >= values["accuracy"][0]


def test_the_figure_of_the_page_is_in_the_report(added, grid):
    assert "angles" in [figure.name for figure in figures()]
    assert sorted(grid.drawn["method"]) == sorted(grid.records)
    [figure] = [figure for figure in figures() if figure.name == "angles"]
    without = [record.model_copy(update={"angle": None}) for record in grid.records.values()]
    assert write_figure(figure, Results.of(without), added) == []


def test_the_table_of_the_page_has_a_row_for_each_cell(grid):
    function = importlib.import_module("reports.tables.growth").growth_table
    (content,) = (content for name, content in BLOCKS.items() if name.startswith("in TABLES,"))
    [entry] = eval(f"[{content}]", {"Entry": Entry, "growth_table": function})
    table = entry.make(Results.of(grid.records.values()))
    assert isinstance(table, Table)
    assert (table.name, len(table.rows)) == (entry.name, len(grid.records))
    assert all(row.cells[0].value > 0 for row in table.rows)
    assert "end / start" in table.render("md")
    without = [record.model_copy(update={"rms_start": None}) for record in grid.records.values()]
    assert entry.make(Results.of(without)) is None


def test_settings_that_the_page_adds_have_descriptions(added):
    for name in every_line_of_methods():
        for field in METHODS[name].settings.model_fields.values():
            assert field.description.endswith(".")
