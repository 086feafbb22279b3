"""A folder takes the place of the old one in whole, or not at all."""

from __future__ import annotations

import errno
import os
import time
from pathlib import Path

import pytest

from bench.errors import UsageError
from reports.swap import swapped


def own(path):
    return path.name.startswith("own")


@pytest.fixture
def target(tmp_path):
    """Return a folder with two files of the report and two that are not."""
    for name in ("own.md", "notes.md", "figures/own.svg", "figures/theirs.svg"):
        path = tmp_path / "report" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("old")
    return tmp_path / "report"


def files(folder):
    return {str(path.relative_to(folder)): path.read_text() for path in sorted(folder.rglob("*")) if path.is_file()}


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_its_own_files_are_replaced_and_the_others_stay(target):
    with swapped(target, own) as new:
        assert new.parent == target.parent
        (new / "own.md").write_text("new")
        assert files(target)["own.md"] == "old"  # until the block ends
    assert files(target) == {"own.md": "new", "notes.md": "old", "figures/theirs.svg": "old"}
    assert names(target.parent) == ["report"]


def test_a_new_file_counts_before_an_old_one_of_the_same_name(target):
    with swapped(target, own) as new:
        (new / "notes.md").write_text("new")
    assert files(target)["notes.md"] == "new"


def test_a_folder_of_its_own_files_alone_goes_and_any_other_stays(target):
    (target / "cards").mkdir()
    (target / "cards" / "own.md").write_text("old")
    (target / "empty").mkdir()
    with swapped(target, own):
        pass
    assert names(target) == ["empty", "figures", "notes.md"]


@pytest.mark.parametrize("error", [OSError(errno.ENOSPC, "No space left on device"), ValueError("x"), KeyboardInterrupt()])
def test_a_failure_leaves_the_old_folder_whole(target, error):
    before = files(target)
    expected = UsageError if isinstance(error, OSError) else type(error)
    with pytest.raises(expected) as caught, swapped(target, own) as new:
        (new / "own.md").write_text("half")
        raise error
    if expected is UsageError:
        assert "No space left on device" in str(caught.value)
        assert "as it was" in str(caught.value)
    assert files(target) == before
    assert names(target.parent) == ["report"]


def test_a_renaming_that_fails_is_undone(target, monkeypatch):
    before, rename = files(target), Path.rename

    def failing(self, to):
        if ".new-" in self.name:
            raise PermissionError(errno.EACCES, "Permission denied")
        return rename(self, to)

    monkeypatch.setattr(Path, "rename", failing)
    with pytest.raises(UsageError, match="Permission denied"), swapped(target, own) as new:
        (new / "own.md").write_text("new")
    assert files(target) == before
    assert names(target.parent) == ["report"]


def test_what_a_killed_run_took_away_comes_back_and_its_leftovers_go(target):
    before = files(target)
    target.rename(target.with_name(".report.old-1"))  # killed between the two renamings
    hour, young = target.with_name(".report.new-1"), target.with_name(".report.new-2")
    for folder in (hour, young):
        folder.mkdir()
    os.utime(hour, (time.time() - 7200,) * 2)
    with pytest.raises(KeyError), swapped(target, own):
        raise KeyError
    assert files(target) == before
    assert not hour.exists()
    assert young.exists()  # it may be of a run that is still at work


def test_a_place_that_is_no_folder_is_refused(tmp_path):
    (tmp_path / "report").write_text("a file")
    with pytest.raises(UsageError, match="is no folder"), swapped(tmp_path / "report", own):
        pass
    assert (tmp_path / "report").read_text() == "a file"


def test_a_link_to_a_folder_stays_a_link(target, tmp_path):
    link = tmp_path / "link"
    link.symlink_to(target)
    with swapped(link, own) as new:
        (new / "own.md").write_text("new")
    assert link.is_symlink()
    assert files(target)["own.md"] == "new"
