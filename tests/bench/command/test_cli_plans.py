"""What is shown before any work: the cells of a command line, which of them have a record, and the list of all options."""

import re
import time

import pytest
from outputs import SMALL, WHOLE, cell_lines

from bench.cells.protocol import PROFILES, SECTIONS, STEP_SIZES
from bench.cells.settings import as_typed, valid_values
from bench.networks.names import NETWORKS
from bench.running.executors import EXECUTORS
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


def settings_by_profile():
    """Return for each owner of settings its settings in each profile."""
    methods = {name: {p: method.resolve({}, profile=p) for p in PROFILES} for name, method in METHODS.items()}
    sections = {f"section {name}": {p: getattr(PROFILES[p], name) for p in PROFILES} for name in SECTIONS}
    executors = {name: {p: kind.settings() for p in PROFILES} for name, kind in EXECUTORS.items()}
    return methods | sections | executors


def test_list_names_everything_and_imports_no_large_library(command):
    large = {"torch", "sklearn", "pandas", "matplotlib"}
    code = f"import sys, run_all; status = run_all.main(['--list']); print(sorted({large} & set(sys.modules)), status)"
    status, stdout, stderr = command("-c", code)
    assert (status, stderr) == (0, "")
    assert stdout.endswith("\n[] 0\n")
    for name in (*METHODS, *DATASETS, *NETWORKS, *PROFILES, *EXECUTORS, "folder:PATH", "path/to/file.py:function"):
        assert re.search(rf"(?<![\w.]){re.escape(name)}(?!\w)", stdout)


def test_list_says_a_value_once_if_all_profiles_share_it_and_else_for_each(main):
    _, stdout, _ = main("--list")
    lines = [line.strip() for line in stdout.splitlines() if line.lstrip().startswith("--set ")]
    expected = 0
    for owner, by_profile in settings_by_profile().items():
        for name, field in type(by_profile["paper"]).model_fields.items():
            values = {profile: as_typed(getattr(settings, name)) for profile, settings in by_profile.items()}
            option, valid = f"--set {owner.removeprefix('section ')}.{name}", valid_values(field)
            each = ", ".join(f"{profile} {value}" for profile, value in values.items())
            shared = len(set(values.values())) == 1
            assert (f"{option}={values['paper']}  ({valid})" if shared else f"{option}=...  ({valid}; {each})") in lines
            expected += 1
    assert len(lines) == expected > 50


@pytest.mark.parametrize("owner", settings_by_profile())
def test_list_with_a_name_shows_each_of_its_settings_in_full(main, owner):
    name, by_profile = owner.removeprefix("section "), settings_by_profile()[owner]
    status, stdout, stderr = main("--list", name)
    assert (status, stderr) == (0, "")
    for key, field in type(by_profile["paper"]).model_fields.items():
        block = stdout.partition(f"  --set {name}.{key}=...\n")[2].splitlines()[:3]
        assert block[0].strip() == field.description
        assert block[2].strip() == f"valid: {valid_values(field)}"
        for profile, settings in by_profile.items():
            value = as_typed(getattr(settings, key))
            assert block[1] == f"      default: {value}" or f"{profile} {value}" in block[1]


def test_list_with_a_name_shows_a_method_s_citation_a_dataset_s_classes_and_a_network_s_variants(main):
    for name, method in METHODS.items():
        assert f"Method {name}: {method.label} ({method.citation})\n" in main("--list", name)[1]
    for name, source in DATASETS.items():
        assert ", ".join(source.classes) in main("--list", name)[1]
    for name, entry in NETWORKS.items():
        stdout = main("--list", name)[1]
        assert all(f"  {variant}, after a hyphen: " in stdout for variant in entry.variants)
    assert "Network convnet-bn-d4: ConvNet-4 (bn)\n" in main("--list", "convnet-bn-d4")[1]


@pytest.mark.parametrize(
    ("name", "complaint"),
    [("krr", "'krr' (did you mean 'kr'?)"), ("slrum", "did you mean 'slurm'"), ("mlp-bn", "variant 'bn'")],
)
def test_list_with_an_unknown_name_is_a_mistake_that_names_the_nearest(main, name, complaint):
    status, stdout, stderr = main("--list", name)
    assert (status, stdout) == (2, "")
    assert complaint in stderr
    assert stderr.count("\n") == 1


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
