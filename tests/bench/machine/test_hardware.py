"""What a record says of the machine."""

from __future__ import annotations

import subprocess

import pytest
import torch

from bench.machine.hardware import COMMIT_FILE, code_version, hardware, processor

BLOCK = "processor\t: 0\ncpu family\t: {family}\nmodel\t\t: 1\nmodel name\t: AMD EPYC\n\nprocessor\t: 1\ncpu family\t: 99\n"


def test_processors_of_one_name_differ_by_their_generation():
    assert processor(BLOCK.format(family=25)) == "AMD EPYC (family 25, model 1)"
    assert processor(BLOCK.format(family=26)) == "AMD EPYC (family 26, model 1)"


@pytest.mark.parametrize(
    ("cpuinfo", "name"), [("model name : Some\n", "Some"), ("Hardware : board\nmodel : 3\n", ""), ("", "")]
)
def test_what_is_not_said_is_left_out(cpuinfo, name):
    assert processor(cpuinfo) == name


@pytest.fixture
def repository(tmp_path):
    """Return a folder with a commit of one source file, and that commit."""

    def git(*arguments):
        command = ["git", "-c", "user.name=T", "-c", "user.email=t@example.org", "-c", "commit.gpgsign=false", *arguments]
        return subprocess.run(command, cwd=tmp_path, check=True, capture_output=True, text=True).stdout.strip()

    (tmp_path / "code").mkdir()
    (tmp_path / "code" / "loss.py").write_text("factor = 1\n")
    git("init", "--quiet")
    git("add", ".")
    git("commit", "--quiet", "--message", "first")
    return tmp_path, git("rev-parse", "--short=12", "HEAD")


@pytest.mark.parametrize(("file", "changes"), [("code/loss.py", " with changes"), ("notes.py", ""), (None, "")])
def test_a_commit_says_whether_its_sources_were_changed(repository, file, changes):
    root, commit = repository
    if file:
        (root / file).write_text("factor = 2\n")
    assert code_version(("code",), root)["commit"] == commit + changes


def test_the_hash_of_the_code_is_that_of_its_files_and_their_names(tmp_path):
    hashes = set()
    for name, content in (("a.py", "1"), ("a.py", "2"), ("b.py", "1"), ("sub/a.py", "1")):
        root = tmp_path / str(len(hashes))
        (root / "code" / name).parent.mkdir(parents=True)
        (root / "code" / name).write_text(content)
        (root / "code" / "notes.txt").write_text(name)
        hashes.add(code_version(("code",), root)["sources"])
    assert len(hashes) == 4


def test_a_copy_of_the_code_says_what_it_is_a_copy_of(tmp_path):
    (tmp_path / COMMIT_FILE).write_text("abc with changes")
    assert code_version((), tmp_path)["commit"] == "abc with changes"


def test_a_machine_always_has_a_name():
    assert hardware(torch.device("cpu"))["cpu"]
