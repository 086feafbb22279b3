"""A folder of pictures is one set under any path, and `~` is the home folder in every option."""

import shutil

import numpy as np
import pytest
from outputs import cell_lines, read_csv, read_records, save_pictures

import run_all
from bench.command.command import parse
from reports.export.export import main as export


@pytest.fixture
def pets(tmp_path):
    save_pictures(tmp_path / "pets", size=8)
    return tmp_path / "pets"


def test_a_folder_is_one_cell_under_any_spelling_and_elsewhere(main, tiny, pets, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "link").symlink_to(pets)
    arguments = [*tiny, "--methods", "random", "--ipc", "1", "--out", tmp_path / "out"]
    status, stdout, stderr = main(*arguments, "--datasets", f"folder:{pets},folder:~/link", report="csv")
    assert status == 0, stderr
    assert stdout.startswith("1 cells run")
    (record,) = read_records(tmp_path / "out")
    name = record["spec"]["dataset"]
    assert name == f"folder:{record['spec']['data'][:12]}"
    assert f"dataset 'folder:{pets}' is {name}\n" in stderr
    assert (record["dataset_label"], record["details"]["dataset"]) == ("pets", f"folder:{pets}")
    assert {row["dataset"] for row in read_csv(tmp_path / "out" / "report" / "results.csv")} == {name}
    moved = shutil.copytree(pets, tmp_path / "elsewhere" / "moved")
    monkeypatch.chdir(moved.parent)
    status, stdout, _ = main(*arguments, "--datasets", "folder:moved", report="none")
    assert (status, stdout.partition(";")[0]) == (0, "0 cells run, 1 there before, 0 failed")


def test_an_export_fits_the_same_folder_elsewhere_and_no_other(main, tiny, pets, tmp_path):
    arguments = [*tiny, "--ipc", "1", "--out", tmp_path / "out"]
    assert main(*arguments, "--methods", "random", "--datasets", f"folder:{pets}", report="none")[0] == 0
    assert export(["--out", str(tmp_path / "out"), "--to", "npz", "--target", str(tmp_path / "sets")]) == 0
    (file,) = (tmp_path / "sets").iterdir()
    moved = pets.rename(tmp_path / "moved")
    arguments += ["--methods", f"set:{file}"]
    assert main(*arguments, "--datasets", f"folder:{moved}", report="none")[0] == 0
    (moved / "test" / "left" / "0.png").unlink()
    status, _, stderr = main(*arguments, "--datasets", f"folder:{moved}", report="none")
    assert status == 2
    assert "it was distilled from 'folder:" in stderr


def test_mirroring_is_a_setting_whose_default_changes_no_hash(main, tiny, pets):
    def cells(*settings):
        status, stdout, stderr = main(
            *tiny, "--methods", "random", "--ipc", "1", f"--datasets=folder:{pets}", *settings, "--dry-run"
        )
        assert status == 0, stderr
        return [line[:16] for line in cell_lines(stdout)]

    assert cells() == cells("--set", "data.flip=true") == cells("--set", "data.flip=none")
    assert cells() != cells("--set", "data.flip=false")
    status, _, stderr = main(*tiny, "--datasets", "digits", "--set", "data.flip=true")
    assert status == 2
    assert "data.flip is for folder:PATH alone" in stderr


def test_a_tilde_is_the_home_folder_in_every_option(pets, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    loss = "def far(real, syn, *, generator):\n    return (real.mean(1) - syn.mean(1)).square().sum(1)\n"
    (tmp_path / "my loss.py").write_text(loss)
    images, labels = np.zeros((2, 3, 8, 8), np.uint8), np.arange(2)
    np.savez(tmp_path / "x.npz", images=images, labels=labels)
    arguments = ["--data-root=~/d", "--out=~/o", "--datasets=folder:~/pets", "--methods=~/my loss.py:far,set:~/x.npz"]
    options = parse(run_all.SUITE, arguments)
    assert (options.data_root, options.out) == (tmp_path / "d", tmp_path / "o")
    assert [source.spelling for source in options.sources] == [f"folder:{pets}"]
    methods = [method for method, _ in options.methods]
    assert [method.name for method in methods] == ["far", "set:x"]
    assert [method.files[0] for method in methods] == [tmp_path / "my loss.py", tmp_path / "x.npz"]
    assert parse(run_all.SUITE, ["--data-root=~nobody-of-that-name/d"]).data_root.parts == ("~nobody-of-that-name", "d")
