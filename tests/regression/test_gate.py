"""What the gate lets pass and what it does not, on accuracies whose noise is given; and the committed baselines."""

from __future__ import annotations

import numpy as np
import pytest
from gate import BASELINE_SEEDS, DIGITS, FALSE_ALARMS, GRIDS, Result, available, judge, main, read_baselines

from methods import METHODS

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


def test_every_method_and_every_loss_has_a_baseline_of_all_seeds():
    baselines = read_baselines()
    assert set(baselines) == set(KEYS)
    assert {DIGITS.key(method) for method in METHODS} <= set(baselines)
    for key, result in baselines.items():
        assert len(result.accuracies) == len(BASELINE_SEEDS), key
        assert all(0 <= value <= 100 for networks in result.accuracies for value in networks)


def test_resampled_baselines_raise_no_more_alarms_than_is_said():
    """Each seed of the committed baselines is judged by the others, all cells of it at once."""
    baselines = read_baselines()
    for left_out in range(len(BASELINE_SEEDS)):
        others = {
            key: Result(tuple(networks for seed, networks in enumerate(result.accuracies) if seed != left_out))
            for key, result in baselines.items()
        }
        now = {key: Result((result.accuracies[left_out],)) for key, result in baselines.items()}
        assert [judgement for judgement in judge(others, now) if judgement.verdict in ("below", "above")] == []


def test_baselines_are_not_renewed_in_a_dirty_tree(monkeypatch, capsys):
    monkeypatch.setattr("gate.subprocess.run", lambda *arguments, **options: type("Done", (), {"stdout": " M bench/x.py"}))
    monkeypatch.setattr("gate.write_baselines", lambda results: pytest.fail("they were renewed"))
    assert main(["--update"]) == 2
    assert "the tree is dirty" in capsys.readouterr().err


@pytest.mark.parametrize(("shift", "status"), [(-12, 1), (0, 0), (12, 1)])
def test_a_run_with_a_cell_that_is_below_or_above_fails(shift, status, monkeypatch, capsys):
    baselines = read_baselines()
    shifted = {
        key: Result((tuple(networks[0] + shift for networks in result.accuracies),)) for key, result in baselines.items()
    }
    monkeypatch.setattr(
        "gate.run", lambda grid, seeds, jobs: {grid.key(method): shifted[grid.key(method)] for method in grid.methods}
    )
    monkeypatch.setattr("gate.available", lambda: GRIDS)
    assert main([]) == status
    shown = capsys.readouterr().out
    assert f"{len(KEYS)} of {len(KEYS)} cells judged" in shown
    assert ("--update" in shown) == (shift > 0)


@pytest.mark.parametrize("root", ["", "nowhere", "."])
def test_cells_without_images_are_left_out_loudly_and_nothing_is_downloaded(root, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DATA_ROOT", root)
    assert available() == [DIGITS]
    assert "WITHOUT fashionmnist" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []
