"""A folder replaces the old one as a whole, or not at all."""

from __future__ import annotations

import errno
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
        assert target.parent in new.parents  # on the same disk
        (new / "own.md").write_text("new")
        assert files(target)["own.md"] == "old"  # until the block ends
    assert files(target) == {"own.md": "new", "notes.md": "old", "figures/theirs.svg": "old"}
    assert names(target.parent) == ["report"]


def test_a_new_file_counts_before_an_old_one_of_the_same_name(target):
    with swapped(target, own) as new:
        (new / "notes.md").write_text("new")
    assert files(target)["notes.md"] == "new"


def test_a_folder_of_its_own_files_alone_is_removed(target):
    (target / "cards").mkdir()
    (target / "cards" / "own.md").write_text("old")
    with swapped(target, own):
        pass
    assert names(target) == ["figures", "notes.md"]


def test_links_among_the_other_files_stay_links(target, tmp_path):
    (tmp_path / "elsewhere").mkdir()
    for name, to in (("folder", tmp_path / "elsewhere"), ("file", target / "notes.md"), ("broken", tmp_path / "none")):
        (target / name).symlink_to(to)
    with swapped(target, own):
        pass
    assert {name: (target / name).readlink().name for name in ("folder", "file", "broken")} == {
        "folder": "elsewhere",
        "file": "notes.md",
        "broken": "none",
    }


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
        if self.name == "new":
            raise PermissionError(errno.EACCES, "Permission denied")
        return rename(self, to)

    monkeypatch.setattr(Path, "rename", failing)
    with pytest.raises(UsageError, match="Permission denied"), swapped(target, own) as new:
        (new / "own.md").write_text("new")
    assert files(target) == before
    assert names(target.parent) == ["report"]


def test_a_target_that_is_no_folder_is_refused(tmp_path):
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


def test_what_a_killed_run_had_moved_aside_comes_back(target):
    aside = target.parent / ".report-killed"
    aside.mkdir()
    target.rename(aside / "old")  # killed between the two renames
    with swapped(target, own) as new:
        (new / "own.md").write_text("new")
    assert files(target) == {"own.md": "new", "notes.md": "old", "figures/theirs.svg": "old"}
