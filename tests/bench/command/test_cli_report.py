"""The report of a run, as readers and scripts find it; and the report that is made of records alone."""

import shutil
from html.parser import HTMLParser

import numpy as np
import pytest
from outputs import FIGURES, REPORT, SMALL, TABLES, accuracies_of, read_csv
from PIL import Image

from methods import METHODS

COLUMNS = sorted(METHODS.values(), key=lambda method: method.order)


def test_the_report_has_the_files_of_the_issue(grid):
    assert set(REPORT) <= {path.name for path in grid.report.iterdir()}
    assert {path.name for path in (grid.report / "images").iterdir()} == {
        f"synthetic_digits_{ipc}_{name}.png" for ipc in (1, 2) for name in SMALL
    }
    for name in FIGURES:
        for form in ("svg", "png", "pdf", "csv"):
            assert (grid.report / "figures" / f"{name}.{form}").is_file()
    assert all(path.stat().st_size > 0 for path in grid.report.rglob("*"))


def test_accuracy_csv_has_one_row_a_network_in_percent(grid):
    with (grid.report / "accuracy.csv").open() as lines:
        assert lines.readline() == "dataset,ipc,method,seed,network,accuracy\n"
    shown = {}
    for row in read_csv(grid.report / "accuracy.csv"):
        key = row["dataset"], int(row["ipc"]), row["method"], int(row["seed"]), int(row["network"])
        assert key not in shown
        shown[key] = float(row["accuracy"])
    expected = {}
    for record in grid.records:
        spec = record["spec"]
        for ipc in (1, 2) if spec["ipc"] is None else (spec["ipc"],):  # the whole set stands at each IPC, as in the paper
            for network, accuracy in enumerate(accuracies_of(record)):
                expected["digits", ipc, spec["method"], spec["seed"], network] = accuracy
    assert shown == pytest.approx(expected, abs=5e-5)  # four decimals
    # In percent, not as fractions: the whole training set gives an accuracy far above 1.
    assert max(shown.values()) > 20


def test_table2_gives_mean_and_deviation_of_the_networks(grid):
    rows = {(int(row["ipc"]), row["method"]): row for row in read_csv(grid.report / "table2.csv")}
    assert set(rows) == {(ipc, name) for ipc in (1, 2) for name in METHODS}
    for (ipc, name), row in rows.items():
        seeds = [accuracies_of(r) for r in grid.records if r["spec"]["method"] == name and r["spec"]["ipc"] in (ipc, None)]
        means = np.array([np.mean(accuracies) for accuracies in seeds])
        assert float(row["mean"]) == pytest.approx(means.mean(), abs=5e-5)
        assert float(row["plus_minus"]) == pytest.approx(means.std(ddof=1), abs=5e-5)
        assert float(row["std_networks"]) == pytest.approx(np.var(seeds, axis=1, ddof=1).mean() ** 0.5, abs=5e-5)
        assert (int(row["seeds"]), int(row["networks"])) == (2, 4)
        assert row["published"] == ""  # the paper has no digits


def test_table2_has_methods_across_and_ipcs_down(grid):
    lines = [line for line in (grid.report / "table2.md").read_text().splitlines() if line.startswith("|")]
    head, rows = [cell.strip() for cell in lines[0].strip("|").split("|")], lines[2:]
    assert head == ["Dataset", "IPC", *(method.label for method in COLUMNS)]
    assert [[cell.strip() for cell in row.strip("|").split("|")][:2] for row in rows] == [["Digits", "1"], ["Digits", "2"]]
    assert all(row.count("±") == len(METHODS) for row in rows)


@pytest.mark.parametrize("name", ["table2.md", "table2.tex", "transfer.md", "transfer.tex", "timing.md", "index.html"])
def test_every_table_says_how_it_was_made(grid, name):
    text = (grid.report / name).read_text().replace(r"$\pm$", "±")
    cpu = grid.records[0]["hardware"]["cpu"].split("@")[0].strip()
    for word in ("quick", "seeds 0, 1", "2 evaluation networks", cpu, "±", "deviation"):
        assert word in text


def test_timing_csv_has_one_row_a_cell(grid):
    rows = read_csv(grid.report / "timing.csv")
    assert len(rows) == len(grid.records)
    seconds = {(r["spec"]["method"], str(r["spec"]["ipc"] or "all"), r["spec"]["seed"]): r for r in grid.records}
    for row in rows:
        record = seconds[row["method"], row["ipc"], int(row["seed"])]
        seconds_of = record["seconds"] | {"evaluation": record["evaluations"][0]["seconds"]}
        for stage in ("features", "loss", "update", "evaluation"):
            value = seconds_of.get(stage)
            assert row[f"{stage}_s"] == ("" if value is None else f"{value:.4f}")


def test_every_picture_opens_and_is_not_blank(grid):
    figures, sheets = (sorted((grid.report / folder).glob("*.png")) for folder in ("figures", "images"))
    assert {f"{name}.png" for name in FIGURES} <= {path.name for path in figures}
    assert sheets
    for path in (*figures, *sheets):  # a sheet has the images' own pixels, of 8x8 each
        with Image.open(path) as image:
            image.load()
            assert image.format == "PNG"
            assert min(image.size) >= (8 if path in sheets else 50)
            low, high = image.convert("L").getextrema()
        assert low < 100 < 200 < high


def test_the_page_shows_everything(grid):
    class Links(HTMLParser):
        def __init__(self):
            super().__init__()
            self.links = set()

        def handle_starttag(self, tag, attributes):
            self.links |= {value for name, value in attributes if name in ("src", "href")}

    page = (grid.report / "index.html").read_text()
    links = Links()
    links.feed(page)
    files = {path.relative_to(grid.report).as_posix() for path in grid.report.rglob("*") if path.is_file()}
    linked = {link for link in links.links if not link.startswith(("#", "data:"))}
    assert [link for link in linked if not (grid.report / link).is_file()] == []
    assert files - {"index.html"} <= linked
    assert {f"../records/{record['hash']}.json" for record in grid.records} <= linked
    for method in METHODS.values():
        assert method.label in page


def test_a_report_of_a_single_method_has_all_files_too(main, tiny, tmp_path):
    for name, out in (("random", tmp_path / "a"), ("whole", tmp_path / "b")):  # neither iterates; one has no images, one no IPC
        status, _, stderr = main(*tiny, "--methods", name, "--ipc", "1", "--out", out)
        assert status == 0, stderr
        assert set(REPORT) <= {path.name for path in (out / "report").iterdir()}


# ---- report only ----


NO_TORCH = """
import sys

class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in ("torch", "torchvision", "geomloss"):
            raise ImportError(f"{name} is blocked: a report is made from records alone")

sys.meta_path.insert(0, Refuse())
import run_all
sys.exit(run_all.main(sys.argv[1:]))
"""


def test_a_report_needs_no_torch_and_runs_nothing(grid, command, tree, tmp_path):
    out = tmp_path / "copy"
    shutil.copytree(grid.out / "records", out / "records")
    gone = grid.records[0]["hash"]
    for path in (out / "records").glob(f"{gone}.*"):
        path.unlink()  # a cell that a run would find missing
    before = tree(out / "records")
    status, stdout, stderr = command("-c", NO_TORCH, "--report-only", "--out", out)
    assert status == 0, stderr
    assert str(out / "report" / "index.html") in stdout
    assert tree(out / "records") == before
    assert set(REPORT) <= {path.name for path in (out / "report").iterdir()}
    lines = (out / "report" / "accuracy.csv").read_text().splitlines()
    assert 0 < len(lines) < len((grid.report / "accuracy.csv").read_text().splitlines())


def test_the_report_is_the_same_from_records_alone(grid, main, tree, tmp_path):
    # Merged by copying: the JSON files suffice; pictures of the images need the images.
    (tmp_path / "records").mkdir()
    for path in (grid.out / "records").glob("*.json"):
        shutil.copy2(path, tmp_path / "records")
    status, _, stderr = main("--report-only", "--out", tmp_path)
    assert status == 0, stderr
    assert set(REPORT) <= {path.name for path in (tmp_path / "report").iterdir()}
    assert not list((tmp_path / "report" / "images").iterdir())
    for name in ("accuracy.csv", "results.csv", *TABLES):
        assert (tmp_path / "report" / name).read_bytes() == (grid.report / name).read_bytes()


def test_a_report_of_nothing_is_a_mistake(main, tmp_path):
    status, _, stderr = main("--report-only", "--out", tmp_path / "out")
    assert status == 2
    assert stderr.count("\n") == 1
    assert str(tmp_path / "out") in stderr
    assert not (tmp_path / "out").exists()
