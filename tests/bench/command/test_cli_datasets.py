"""Datasets of the user's own, and the terminal, through the command line."""

import io
import re
import struct
from dataclasses import replace

import numpy as np
from outputs import read_csv, read_records, save_pictures
from PIL import Image

import run_all
from bench.command.command import parse
from bench.command.run import run
from datasets import find_source


def write_idx(root, *, count=30):
    raw = root / "MNIST" / "raw"
    raw.mkdir(parents=True)
    generator = np.random.default_rng(0)
    for split in ("train", "t10k"):
        images = generator.integers(0, 256, (count, 28, 28), dtype=np.uint8)
        labels = (np.arange(count) % 10).astype(np.uint8)
        (raw / f"{split}-images-idx3-ubyte").write_bytes(struct.pack(">IIII", 0x803, count, 28, 28) + images.tobytes())
        (raw / f"{split}-labels-idx1-ubyte").write_bytes(struct.pack(">II", 0x801, count) + labels.tobytes())


def test_data_root_is_taken_from_the_environment(main, tiny, tmp_path, monkeypatch):
    write_idx(tmp_path / "data")
    monkeypatch.setenv("DATA_ROOT", str(tmp_path / "data"))
    arguments = ["--methods", "random", "--datasets", "mnist", "--ipc", "1", "--out", tmp_path / "out"]
    status, _, stderr = main(*tiny, *arguments, report="tables")
    assert status == 0, stderr
    (record,) = read_records(tmp_path / "out")
    assert record["evaluations"][0]["facts"]["label"] == "ConvNet-3"
    assert record["details"]["train_images"] == 30
    # The published value stands beside the measured one where there is one: 64.9 ± 3.5 in the paper.
    assert re.search(
        r"\|\s*MNIST\s*\|\s*1\s*\|[^|]*\(64\.9 ± 3\.5\*?\)", (tmp_path / "out" / "report" / "table2.md").read_text()
    )


def test_the_option_overrides_the_environment(main, tiny, tmp_path, monkeypatch):
    write_idx(tmp_path / "data")
    monkeypatch.setenv("DATA_ROOT", str(tmp_path / "wrong"))
    arguments = ["--methods", "random", "--datasets", "mnist", "--ipc", "1", "--out", tmp_path / "out"]
    assert main(*tiny, *arguments, "--data-root", tmp_path / "data", report="none")[0] == 0


def test_a_folder_of_images_is_run_and_several_datasets_share_a_report(main, tiny, tmp_path):
    generator = np.random.default_rng(0)
    for split in ("train", "test"):
        for name in ("left", "right"):
            folder = tmp_path / "pets" / split / name
            folder.mkdir(parents=True)
            for number in range(6):
                Image.fromarray(generator.integers(0, 256, (20, 24, 3), dtype=np.uint8)).save(folder / f"{number}.png")
    datasets = f"digits,folder:{tmp_path / 'pets'}"
    arguments = ["--methods", "random,dm", "--datasets", datasets, "--ipc", "1", "--out", tmp_path / "out"]
    status, _, stderr = main(*tiny, *arguments)
    assert status == 2  # the images are not square, and nothing says what to do about it
    assert "data.size" in stderr
    status, _, stderr = main(
        *tiny, *arguments[:2], "--datasets", f"folder:{tmp_path / 'pets'}", "--set", "data.size=16", *arguments[4:]
    )
    assert status == 0, stderr
    rows = read_csv(tmp_path / "out" / "report" / "accuracy.csv")
    name = find_source(f"folder:{tmp_path / 'pets'}", size=16).name  # the images are what it is, not the path
    assert {(row["dataset"], row["method"]) for row in rows} == {(name, m) for m in ("random", "dm")}
    assert len(list((tmp_path / "out" / "report" / "images").glob("synthetic_*_1_*.png"))) == 2


# ---- a terminal ----


def test_a_terminal_gets_a_bar_for_the_grid_and_one_for_the_cell(tiny, tmp_path, monkeypatch):
    class Terminal(io.StringIO):
        def isatty(self):
            return True

    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "160")
    for name in ("NO_COLOR", "TTY_COMPATIBLE", "TTY_INTERACTIVE"):
        monkeypatch.delenv(name, raising=False)
    suite = replace(run_all.SUITE, write_report=lambda out, **options: out)
    options = parse(suite, [*tiny, "--methods", "random,dm", "--ipc", "1", "--out", str(tmp_path)])
    screen = Terminal()
    assert run(suite, options, out=io.StringIO(), progress=screen) == 0
    shown = screen.getvalue()
    assert "\x1b[" in shown  # drawn over, not line after line
    assert "grid" in shown
    assert "2/2" in shown
    assert "dm" in shown


def test_the_path_of_a_folder_may_hold_commas(main, tiny, tmp_path):
    save_pictures(tmp_path / "cats, dogs")
    arguments = ["--methods", "random", "--datasets", f"digits,folder:{tmp_path / 'cats, dogs'}", "--ipc", "1"]
    status, _, stderr = main(*tiny, *arguments, "--out", tmp_path / "out", report="none")
    assert status == 0, stderr
    assert len(read_records(tmp_path / "out")) == 2


def test_what_a_user_should_hear_of_the_data_is_one_line_on_the_standard_error(main, tiny, tmp_path):
    save_pictures(tmp_path / "pets", mode="RGBA")
    arguments = ["--methods", "random", "--datasets", f"folder:{tmp_path / 'pets'}", "--ipc", "1", "--out", tmp_path / "out"]
    status, _, stderr = main(*tiny, *arguments, report="none")
    assert status == 0, stderr
    lines = [line for line in stderr.splitlines() if line.startswith("run_all.py: warning: ")]
    assert lines
    assert any("alpha" in line for line in lines)
    assert "Warning:" not in stderr
