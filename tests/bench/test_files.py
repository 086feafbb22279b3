"""Whole files take the place of others, also where a system refuses it for a moment."""

from __future__ import annotations

import pytest

from bench.errors import UnwritableError
from bench.files import atomic, move


class Busy:
    """A file that cannot be moved for the first few times, because somebody reads the one that it replaces."""

    def __init__(self, times):
        self.times = times

    def replace(self, target):
        self.times -= 1
        if self.times >= 0:
            raise PermissionError(13, "Permission denied", str(target))


def test_a_file_that_is_read_is_replaced_a_little_later(tmp_path):
    busy = Busy(2)
    move(busy, tmp_path / "target", tries=3)
    assert busy.times == -1
    with pytest.raises(PermissionError):
        move(Busy(3), tmp_path / "target", tries=3)


def test_what_cannot_be_written_is_named_and_nothing_is_left(tmp_path):
    (tmp_path / "folder" / "inside").mkdir(parents=True)
    with pytest.raises(UnwritableError) as error, atomic(tmp_path / "folder") as temporary:
        temporary.write_text("new")
    assert error.value.filename == str(tmp_path / "folder")
    assert [path.name for path in tmp_path.iterdir()] == ["folder"]
