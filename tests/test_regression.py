"""Accuracy on digits must not fall below the committed baselines.

Baselines: `reports/reference/digits`, made by

    python run_all.py --methods dm,kr,sinkhorn,emd --seeds 0,1,2,3,4 --out reports/reference/digits
        --datasets digits --ipc 1 --iterations 30 --set eval.epochs=60 --precision fp32

One new seed must lie within the prediction interval of the five: mean ± t · s · sqrt(1 + 1/5), where s is the deviation between
seeds, pooled over the losses, and t the two-sided 99.9 % quantile of Student's t. Nothing in it is tuned by hand.
"""

from __future__ import annotations

import math
from pathlib import Path
from statistics import mean, variance

import pytest
from scipy.stats import t

import run_all
from bench.method import FeatureMatching
from bench.records import RunRecord
from bench.storage import read_folder
from methods import METHODS

ROOT = Path(__file__).resolve().parents[1]
BASELINES = ROOT / "reports" / "reference" / "digits" / "records"
LOSSES = [name for name, method in METHODS.items() if isinstance(method, FeatureMatching)]
ARGUMENTS = ["--datasets", "digits", "--ipc", "1", "--iterations", "30", "--set", "eval.epochs=60", "--precision", "fp32"]
CONFIDENCE = 0.999
NEW_SEED = "5"


def records_in(folder: Path) -> list[RunRecord]:
    """Return the records in a folder, all of which can be read."""
    records, unreadable = read_folder(folder)
    assert not unreadable
    return records


GUARDED = [name for name in LOSSES if any(record.spec.method == name for record in records_in(BASELINES))]
"""The losses that have baselines. A new loss is guarded once its baselines are committed."""


def accuracy_of(record: RunRecord) -> float:
    """Return the mean accuracy over the networks of a cell."""
    return mean(record.main_evaluation.accuracies)


def baseline(method: str) -> list[float]:
    """Return the mean accuracy of each committed seed."""
    return [accuracy_of(record) for record in records_in(BASELINES) if record.spec.method == method]


def interval(method: str) -> tuple[float, float]:
    """Return where a new seed's accuracy lies; the spread between seeds is taken to be the same for all losses."""
    means = baseline(method)
    groups = [baseline(name) for name in GUARDED]
    freedom = sum(len(group) - 1 for group in groups)
    pooled = math.sqrt(sum(variance(group) * (len(group) - 1) for group in groups) / freedom)
    reach = float(t.ppf((1 + CONFIDENCE) / 2, freedom)) * pooled * math.sqrt(1 + 1 / len(means))
    return mean(means) - reach, mean(means) + reach


def accuracy(methods: str, out: Path) -> float:
    assert run_all.main(["--methods", methods, "--seeds", NEW_SEED, "--out", str(out), *ARGUMENTS]) == 0
    (record,) = records_in(out / "records")
    return accuracy_of(record)


def test_the_losses_of_the_paper_and_of_transport_are_guarded():
    assert {"dm", "kr", "sinkhorn", "emd"} <= set(GUARDED)


@pytest.mark.parametrize("method", GUARDED)
def test_accuracy_is_within_the_spread_of_the_baselines(method, tmp_path):
    low, high = interval(method)
    assert low <= accuracy(method, tmp_path) <= high


def test_every_guarded_loss_has_five_baselines_of_the_same_settings(tmp_path, capsys):
    for method in GUARDED:
        assert len(baseline(method)) == 5, f"make the baselines of {method}: see the head of this file"
    run_all.main(["--methods", ",".join(GUARDED), "--seeds", "0,1,2,3,4", "--out", str(tmp_path), "--dry-run", *ARGUMENTS])
    planned = {line.split()[0] for line in capsys.readouterr().out.splitlines()}
    assert planned == {path.stem for path in BASELINES.glob("*.json")}


def test_a_loss_with_its_sign_flipped_fails(tmp_path):
    """The test above can fail: maximising the distance of means lands far below every interval."""
    flipped = tmp_path / "flipped.py"
    flipped.write_text(
        "from methods.dm import MeanMatching\n\n"
        "def flipped(real, syn, *, generator):\n"
        "    return -MeanMatching()(real, syn, generator=generator)\n"
    )
    lowest = min(interval(method)[0] for method in LOSSES)
    assert accuracy(f"{flipped}:flipped", tmp_path / "out") < lowest
