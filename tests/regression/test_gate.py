"""What the gate lets pass and what it does not, on accuracies whose noise is given; and the committed baselines."""

from __future__ import annotations

import numpy as np
import pytest
from gate import BASELINE_SEEDS, BASELINES, DIGITS, FALSE_ALARMS, GRIDS, Baselines, Gate, Result, available, judge, main

KEYS = [grid.key(method) for grid in GRIDS for method in grid.methods]


def made(generator: np.random.Generator, seeds: int, *, shift: float = 0.0, shared: float = 0.0) -> dict[str, Result]:
    """Return results of all cells: a deviation of 1.5 between seeds, and of 1 between five networks.

    `shared` of the deviation between seeds, from 0 to 1, is the same in all cells.
    """
    common, own = shared * generator.standard_normal(seeds), (1 - shared**2) ** 0.5
    return {
        key: Result(
            tuple(
                tuple(float(70 + shift + 1.5 * seed + net) for net in generator.standard_normal(5))
                for seed in common + own * generator.standard_normal(seeds)
            )
        )
        for key in KEYS
    }


@pytest.mark.parametrize("shared", [0.0, 0.95])
def test_unchanged_code_fails_as_rarely_as_is_said(shared):
    generator = np.random.default_rng(0)
    rounds, seeds = 600, 5  # with so few, too many degrees of freedom would show
    alarms = sum(
        any(
            verdict.verdict in ("below", "above")
            for verdict in judge(made(generator, seeds, shared=shared), made(generator, 1, shared=shared))
        )
        for _ in range(rounds)
    )
    assert alarms <= rounds * FALSE_ALARMS


def test_a_fall_by_six_deviations_is_seen():
    generator = np.random.default_rng(0)
    verdicts = [judgement.verdict for judgement in judge(made(generator, len(BASELINE_SEEDS)), made(generator, 1, shift=-12))]
    assert verdicts.count("below") > 0.9 * len(verdicts)
    verdicts = [judgement.verdict for judgement in judge(made(generator, len(BASELINE_SEEDS)), made(generator, 1, shift=12))]
    assert verdicts.count("above") > 0.9 * len(verdicts)


def test_what_is_slower_is_named_and_does_not_fail():
    generator = np.random.default_rng(0)
    baselines = {key: Result(result.accuracies, (2.0,)) for key, result in made(generator, len(BASELINE_SEEDS)).items()}
    now = {key: Result(result.accuracies[:1], (3.2,)) for key, result in baselines.items()}
    judgements = judge(baselines, now)
    assert {judgement.verdict for judgement in judgements} == {"slower"}
    assert judgements[0].slowdown == pytest.approx(1.6)


# ---- the committed baselines ----


def test_every_listed_method_has_baselines_of_all_seeds_in_all_of_its_grids():
    baselines = Baselines.read()
    assert baselines.methods
    assert baselines.lost() == []
    assert {key.split()[2] for key in baselines.cells} == set(baselines.methods)
    for key, result in baselines.cells.items():
        assert len(result.accuracies) == len(BASELINE_SEEDS), key
        assert all(0 <= value <= 100 for networks in result.accuracies for value in networks)


def test_resampled_baselines_raise_no_more_alarms_than_is_said():
    """Each seed of the committed baselines is judged by the others, all cells of it at once."""
    baselines = Baselines.read().cells
    for left_out in range(len(BASELINE_SEEDS)):
        others = {
            key: Result(tuple(networks for seed, networks in enumerate(result.accuracies) if seed != left_out))
            for key, result in baselines.items()
        }
        now = {key: Result((result.accuracies[left_out],)) for key, result in baselines.items()}
        assert [judgement for judgement in judge(others, now) if judgement.verdict in ("below", "above")] == []


def test_baselines_are_written_as_they_are_read(tmp_path):
    Baselines.read().write(tmp_path / "baselines.json")
    assert (tmp_path / "baselines.json").read_text() == BASELINES.read_text()


# ---- the command ----


def results_of(shift=0.0, calls=None):
    """Return what runs a grid: the accuracies of its baselines' first networks, moved by `shift`; 50 if there is none."""
    baselines = Baselines.read().cells

    def run(grid, seeds, *, methods, jobs):
        if calls is not None:
            calls.append((grid.dataset, grid.ipc, tuple(methods)))
        return {grid.key(method): cell(grid.key(method), len(seeds)) for method in methods}

    def cell(key, seeds):
        networks = [values[0] + shift for values in baselines[key].accuracies] if key in baselines else [50.0, 51.0]
        return Result((tuple(networks),) * seeds, (1.0,))

    return run


@pytest.mark.parametrize(("shift", "status"), [(-12, 1), (0, 0), (12, 1)])
def test_a_run_with_a_cell_that_is_below_or_above_fails(shift, status, capsys):
    assert Gate(run=results_of(shift)).judge([10]) == status
    shown = capsys.readouterr().out
    cells = len(Baselines.read().cells)
    assert f"{cells} of {cells} cells judged" in shown
    assert ("--update" in shown) == (shift > 0)


@pytest.fixture
def some(tmp_path):
    """Return a function that writes the baselines of some methods, and returns the file."""

    def write(*methods, without=()):
        baselines = Baselines.read()
        kept = {key: result for key, result in baselines.cells.items() if key.split()[2] in methods and key not in without}
        path = tmp_path / "baselines.json"
        Baselines(dict.fromkeys(methods, baselines.methods["dm"]), kept).write(path)
        return path

    return write


def test_a_method_without_a_baseline_is_named_and_passes(some, capsys):
    calls = []
    assert Gate(["random", "emd"], path=some("random", "kr"), run=results_of(calls=calls)).judge([10]) == 0
    assert calls == [("digits", 1, ("random",))]  # what cannot be judged is not run
    shown = capsys.readouterr().out
    assert "emd has no baseline yet; `--update --methods emd` makes it" in shown
    assert "LOST" not in shown


def test_a_baseline_that_vanishes_is_seen(some, capsys):
    lost = DIGITS.key("dm")
    assert Gate(["random"], path=some("random", "dm", without=[lost]), run=results_of()).judge([10]) == 1
    assert f"LOST: {lost} is listed in baselines.json, and has no baseline" in capsys.readouterr().out
    assert Gate(["random"], path=some("random", "gone"), run=results_of()).judge([10]) == 1
    assert "LOST: gone is listed" in capsys.readouterr().out


def test_the_baselines_of_one_method_are_renewed_alone(some):
    path, calls = some("random", "dm"), []
    before = Baselines.read(path)
    gate = Gate(["emd"], path=path, run=results_of(shift=1.0, calls=calls), changed_files=lambda: "")
    assert gate.update() == 0
    assert calls == [(grid.dataset, grid.ipc, ("emd",)) for grid in GRIDS]
    after = Baselines.read(path)
    assert list(after.methods) == ["dm", "emd", "random"]
    assert after.methods["emd"]["code"]["sources"]
    assert {key: after.cells[key] for key in before.cells} == before.cells
    assert {key for key in after.cells if key not in before.cells} == {grid.key("emd") for grid in GRIDS}
    assert len(after.cells[DIGITS.key("emd")].accuracies) == len(BASELINE_SEEDS)
    assert after.lost() == []
    assert gate.judge([10]) == 0


def test_baselines_are_renewed_neither_in_a_dirty_tree_nor_without_all_images(some, capsys):
    path = some("random")
    before = path.read_bytes()
    assert Gate(path=path, changed_files=lambda: " M bench/x.py", run=None).update() == 2
    assert "the tree is dirty" in capsys.readouterr().err
    assert Gate(path=path, changed_files=lambda: "", run=None, grids=[DIGITS]).update() == 2
    assert path.read_bytes() == before


def test_a_misspelt_method_is_a_mistake(capsys):
    with pytest.raises(SystemExit) as error:
        main(["--methods", "dn"])
    assert error.value.code == 2
    assert "did you mean 'dm'" in capsys.readouterr().err


@pytest.mark.parametrize("root", ["", "nowhere", "."])
def test_cells_without_images_are_left_out_loudly_and_nothing_is_downloaded(root, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DATA_ROOT", root)
    assert available() == [DIGITS]
    assert "WITHOUT fashionmnist" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []
