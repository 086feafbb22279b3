"""A report with something for every part of the page, and a browser that opens it; skipped where there is none."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from bench.records.storage import write_record
from reports import write_report

sys.path.insert(0, str(Path(__file__).parents[1] / "reports"))

from made_records import evaluation, record, with_checkpoints

CHROMIUM = shutil.which("chromium")
FLAGS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
)
CLASSES = ["$_$", "<b>bold</b>", "two\nlines", "x" * 400, "&amp;", 'a "quoted" one', "7", "8", "9", "10"]


def save_images(folder, name, *, ipc, seed):
    images = np.random.default_rng(seed).normal(size=(10 * ipc, 1, 8, 8)).astype(np.float32)
    about = {"classes": json.dumps(CLASSES), "mean": "[0.5]", "std": "[0.3]"}
    save_file({"images": images, "labels": np.repeat(np.arange(10), ipc)}, folder / name, metadata=about)


@pytest.fixture(scope="session")
def report(tmp_path_factory):
    """Return the page of a report that has several of everything: IPCs, variants, seeds, checkpoints; and a failed cell."""
    out = tmp_path_factory.mktemp("results <b> #1")
    folder = out / "records"
    networks = (evaluation("convnet", (70.0, 71.0)), evaluation("mlp", (50.0, 52.0)))
    records = [record("dm", dataset="<i>own</i>", seed=seed, evaluations=networks) for seed in (0, 1)]
    for ipc in (1, 10):
        for number, method in enumerate(("random", "dm", "kr", "emd")):
            for seed in (0, 1):
                made = record(method, ipc=ipc, seed=seed, accuracies=(61.0 + number + seed, 62.0 + number))
                records.append(with_checkpoints(made, {0: (30.0, 31.0), 5: (50.0, 51.0)}) if number else made)
    records += [record("kr", seed=seed, settings={"hidden": 3}, accuracies=(50.0, 51.0)) for seed in (0, 1)]
    for number, made in enumerate(records):
        write_record(folder, made)
        save_images(folder, made.images_name, ipc=made.spec.ipc, seed=number)
        if made.checkpoints:
            save_images(folder, made.images_name_at(0), ipc=made.spec.ipc, seed=1000 + made.spec.seed)
    failed = record("sinkhorn").model_copy(update={"status": "failed", "error": "<script>alert(1)</script>", "evaluations": ()})
    write_record(folder, failed)
    return write_report(out, log=sys.stderr)


@pytest.fixture(scope="session")
def browser():
    """Return Chromium."""
    playwright = pytest.importorskip("playwright.sync_api", reason="needs playwright: tox -e browser")
    if CHROMIUM is None:
        pytest.skip("needs the program chromium: tox -e browser")
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=list(FLAGS))
        yield browser
        browser.close()


class Opened:
    """A page that was opened from disk, without a network, with all that it asked for and said."""

    def __init__(self, browser, path, *, width=1280, height=900, theme="light", **options):
        self.context = browser.new_context(viewport={"width": width, "height": height}, color_scheme=theme, **options)
        self.context.set_offline(True)
        self.page = self.context.new_page()
        self.said, self.requests, self.path = [], [], path
        self.page.on("console", lambda message: self.said.append(message.text))
        self.page.on("pageerror", lambda error: self.said.append(str(error)))
        self.page.on("request", lambda request: self.requests.append(request.url))
        self.page.goto(path.as_uri())
        self.page.locator(".chart svg").first.wait_for()


@pytest.fixture
def opened(browser, report):
    """Return a function that opens the page of the report; each is closed at the end."""
    made = []

    def open_page(path=report, **options):
        made.append(Opened(browser, path, **options))
        return made[-1]

    yield open_page
    for one in made:
        one.context.close()
