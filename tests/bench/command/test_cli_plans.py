"""What is shown before any work: the cells of a command line, which of them have a record, and the list of all options."""

import re
import time

import pytest
from outputs import SMALL, WHOLE, cell_lines

from bench.cells.protocol import PROFILES, SECTIONS, STEP_SIZES
from bench.networks.names import NETWORKS
from datasets import DATASETS
from methods import METHODS

# ---- dry run and list ----


def test_a_dry_run_writes_nothing(main, tiny, tmp_path):
    out = tmp_path / "out"
    status, stdout, _ = main(*tiny, "--methods", "random,dm", "--ipc", "1,2", "--seeds", "0,1", "--out", out, "--dry-run")
    assert status == 0
    assert len(re.findall(r"^[0-9a-f]{16} ", stdout, re.MULTILINE)) == 8
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("profile", "seeds"), [([], 1), (["--profile", "cpu"], 1), (["--profile", "paper"], 5)])
def test_a_bare_command_means_every_method_on_digits_at_ipc_1_and_10(main, tmp_path, profile, seeds):
    status, stdout, _ = main(*profile, "--out", tmp_path / "out", "--dry-run")
    assert status == 0
    cells = [line.split(maxsplit=1)[1] for line in cell_lines(stdout)]
    for name in SMALL:
        for ipc in (1, 10):
            assert sum(f"digits ipc {ipc} {name} " in cell for cell in cells) == seeds
    for name in WHOLE:
        assert sum(f" all {name} " in cell for cell in cells) == seeds
    assert len(cells) == (2 * len(SMALL) + len(WHOLE)) * seeds


def test_a_dry_run_shows_which_cells_have_a_record(grid, main, tiny, tree):
    before = tree(grid.out)
    arguments = [*tiny, "--eval-nets=2", "--ipc", "1", "--seeds", "1,2", "--set", "kr.steps=2", "--out", grid.out, "--dry-run"]
    _, stdout, _ = main(*arguments, "--methods", "kr,whole")
    there = {record["hash"] for record in grid.records}
    shown = {line.split()[0]: "there" in line for line in cell_lines(stdout)}
    assert len(shown) == 4
    assert shown == {name: name in there for name in shown}
    assert sum(shown.values()) == 2  # seed 1 of each; seed 2 was never run
    assert tree(grid.out) == before


def test_list_names_everything_and_does_not_import_torch(command):
    code = "import sys, run_all; status = run_all.main(['--list']); print('torch' in sys.modules, status)"
    status, stdout, stderr = command("-c", code)
    assert (status, stderr) == (0, "")
    assert stdout.endswith("\nFalse 0\n")
    for name in (*METHODS, *DATASETS, *NETWORKS, *PROFILES, "folder:PATH", "path/to/file.py:function"):
        assert re.search(rf"(?<![\w.]){re.escape(name)}(?!\w)", stdout)
    for owner, settings in (*SECTIONS.items(), *((name, method.settings) for name, method in METHODS.items())):
        for option in settings.model_fields:
            assert f"--set {owner}.{option}=" in stdout


@pytest.mark.parametrize("wrong", [["--device", "cudda"], ["--threads", "1000000"], ["--jobs", "4096"]])
def test_a_mistake_beside_list_is_answered_as_without_it(main, tiny, tmp_path, wrong):
    alone = main(*tiny, "--out", tmp_path / "out", *wrong)
    assert alone[0] == 2
    assert main("--list", *wrong) == alone
    assert main("--list", "--device", "cpu", "--threads", "1", "--jobs", "1")[0] == 0


def test_the_list_comes_at_once(command):
    def seconds():
        begin = time.perf_counter()
        assert command("run_all.py", "--list")[0] == 0
        return time.perf_counter() - begin

    assert min(seconds() for _ in range(3)) < 1.5  # of three, for other programs may run beside


# ---- what a hash depends on ----

HASHED = ("random", "herding", "dc", "dm", "kr", "whole")


@pytest.fixture
def hashes(main, tiny, tmp_path):
    """Return a function that gives the hash of each method's cell under a command line."""

    def call(*arguments):
        base = ["--methods", ",".join(HASHED), "--ipc", "1", "--out", tmp_path / "none", "--dry-run"]
        status, stdout, stderr = main(*tiny, *base, *arguments)
        assert status == 0, stderr
        names = {name: next(line.split()[0] for line in cell_lines(stdout) if f" {name} " in line) for name in HASHED}
        assert len(set(names.values())) == len(HASHED)
        return names

    return call


CHANGES = {
    "--set kr.hidden=64": {"kr"},
    "--set kr.rate=0.3": {"kr"},
    "--set dc.lr_images=3": {"dc"},
    "--set match.rate=0.3": {"dm", "kr"},
    f"--set match.rate=0.3 --set kr.rate={STEP_SIZES['rate']}": {"dm"},  # a method's own wins
    "--set match.optimizer=sgd --set match.lr_images=3": {"dm", "kr"},
    "--set match.schedule=constant": {"dm", "kr"},
    "--set match.network=mlp": {"dm", "kr"},
    "--set herding.network=mlp": {"herding"},
    "--set dc.network=mlp": {"dc"},
    "--set dc.outer=3": {"dc"},
    "--set match.real_batch=5": {"dm", "kr"},
    "--set herding.epochs=7": {"herding"},
    "--set eval.epochs=7": {"random", "herding", "dc", "dm", "kr"},
    "--set whole.lr=0.2": {"herding", "whole"},
    "--set network.width=16": set(HASHED),
    "--set data.split=validation": set(HASHED),
    "--seeds 1": set(HASHED),
    "--ipc 2": {"random", "herding", "dc", "dm", "kr"},
    "--eval-nets 2": set(HASHED),
    "--iterations 7": {"dc", "dm", "kr"},
    # What is already so, or does not bear on the numbers:
    "--set kr.hidden=128": set(),
    "--set herding.epochs=5": set(),
    "--seeds 0": set(),
    f"--set dm.rate={STEP_SIZES['rate']}": set(),
    "--checkpoints 1,30": set(),
    "--set network.depth=2": set(),
    "--set match.network=convnet": set(),
    "--precision fp32": set(),  # the profile quick has it anyhow
    "--precision fp32 --set eval.precision=fp32 --set whole.precision=fp32 --set kr.precision=fp32": set(),
    "--set eval.networks=mlp,convnet": set(),  # the distilled images are the same
    "--set whole.networks=mlp": set(),
    "--data-root elsewhere": set(),
    "--device cpu": set(),
}


def test_the_shared_rate_means_that_of_each_method(hashes):
    assert hashes("--set", "match.rate=0.3") == hashes("--set", "dm.rate=0.3", "--set", "kr.rate=0.3")


@pytest.mark.parametrize("change", CHANGES)
def test_a_change_gives_another_hash_to_the_cells_that_it_changes(hashes, change):
    before, after = hashes(), hashes(*change.split())
    assert {name for name in before if before[name] != after[name]} == CHANGES[change]
