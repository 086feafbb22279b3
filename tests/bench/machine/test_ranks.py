"""What a rank takes of a cell, and which options go with ranks; tests/cluster/test_torchrun.py runs several."""

from __future__ import annotations

import pytest
import torch

import run_all
from bench.errors import UsageError
from bench.loops.evaluation import rounds
from bench.loops.matching import undivided
from bench.machine.ranks import ALONE, Ranks
from bench.networks.network import fit
from bench.types import LossContext
from methods import METHODS

NETWORK = fit("convnet", (1, 8, 8), classes=2, width=4, depth=None)
OPTIONS = ("--methods=random", "--datasets=digits", "--ipc=1")


@pytest.mark.parametrize("count", [1, 2, 3, 7, 10])
def test_each_class_is_of_one_rank_and_shares_are_even(count):
    shares = [range(10)[Ranks(rank, count).share(10)] for rank in range(count)]
    assert [label for share in shares for label in share] == list(range(10))
    assert max(map(len, shares)) - min(map(len, shares)) <= 1


@pytest.mark.parametrize("together", [False, True])
@pytest.mark.parametrize(("first", "nets"), [(0, 5), (0, 2), (3, 5), (5, 5)])
def test_each_network_is_of_one_rank_and_they_stay_in_order(together, first, nets):
    turns = zip(*(list(rounds(range(first, nets), Ranks(rank, 3), together=together)) for rank in range(3)), strict=True)
    assert [number for of_ranks in turns for numbers in of_ranks for number in numbers] == list(range(first, nets))
    if not together:
        assert list(rounds(range(first, nets), ALONE, together=False)) == [range(n, n + 1) for n in range(first, nets)]


def test_one_process_exchanges_nothing():
    tensor = torch.ones(2)
    assert ALONE.sum(tensor) == [tensor]
    assert (ALONE.collect(3), ALONE.same(4), ALONE.lead(None, lambda: 5)) == ([3], 4, 5)


@pytest.mark.parametrize("name", ["dm", "kr", "sinkhorn", "emd"])
def test_the_losses_of_the_suite_fall_into_classes(name):
    assert undivided(METHODS[name].objective(), NETWORK) == ""


def test_what_couples_classes_is_not_divided():
    def coupled(real, syn, *, generator):
        return (real.mean(1) - syn.mean((0, 1))).square().sum(1)

    def counting(real, syn, *, generator):
        return (real[1] - real[0]).sum() + syn.sum((1, 2))

    def drawing(real, syn, *, generator):
        return (real.mean(1) - syn.mean(1)).square() @ torch.rand(real.shape[2], len(real), generator=generator).sum(1)

    def drawing_for_all(real, syn, *, generator, context):
        weights = torch.rand(len(context.classes), generator=generator)[context.labels]
        return (real.mean(1) - syn.mean(1)).square().sum(1) * weights

    class Keeping:
        def __call__(self, real, syn, *, generator):
            return (real.mean(1) - syn.mean(1)).square().sum(1)

    other = "its loss of a class depends on other classes, or on how many there are"
    assert undivided(coupled, NETWORK) == undivided(drawing, NETWORK) == other
    assert undivided(counting, NETWORK) == "its loss of a class alone raises IndexError"
    assert undivided(drawing_for_all, NETWORK) == ""
    assert undivided(Keeping(), NETWORK) == "its loss may keep something from step to step"
    norm = fit("convnet-bn", (1, 8, 8), classes=2, width=4, depth=None)
    assert "batch norm" in undivided(METHODS["dm"].objective(), norm)


def test_a_critic_is_the_same_whichever_rank_draws_it():
    source = torch.Generator().manual_seed(0)
    real, syn = torch.rand(4, 6, 5, generator=source), torch.rand(4, 2, 5, generator=source)
    loss, names = METHODS["kr"].objective(steps=3), ("a", "b", "c", "d")

    def generator():
        return torch.Generator().manual_seed(1)

    labels = torch.tensor([2, 3])
    part = loss(real[2:], syn[2:], generator=generator(), context=LossContext(0, 1, labels, names))
    assert torch.equal(part, loss(real, syn, generator=generator())[2:])
    assert not torch.equal(part, loss(real[2:], syn[2:], generator=generator()))


@pytest.mark.parametrize(
    ("arguments", "count", "answer"),
    [
        (["--jobs=2"], 2, "--jobs 2 under torchrun: all 2 ranks work on one cell; valid: 1"),
        (["--device=cuda:0"], 2, "--device 'cuda:0' under torchrun: ranks take a GPU each; valid: auto, cpu, cuda"),
        (["--threads=4096"], 2, "--threads 4096: 2 ranks on this machine may use "),
        ([], 11, "11 ranks under torchrun: dataset 'digits' has 10 classes; valid: at most as many ranks"),
    ],
)
def test_options_that_do_not_go_with_ranks_are_mistakes(arguments, count, answer, tmp_path):
    out = tmp_path / "out"
    options = run_all.parse([*OPTIONS, *arguments, "--out", str(out)], Ranks(0, count, 0, count))
    with pytest.raises(UsageError) as error:
        run_all.run(options, out=None, progress=None)
    assert str(error.value).startswith(answer)
    assert not out.exists()


def test_another_executor_is_a_mistake():
    with pytest.raises(UsageError, match="--executor ray under torchrun"):
        Ranks(0, 2).check("ray", None, "auto", ())


def test_one_rank_of_torchrun_is_one_process(monkeypatch):
    for name, value in {"TORCHELASTIC_RUN_ID": "x", "RANK": "0", "WORLD_SIZE": "1"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("LOCAL_RANK", "0")
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "1")
    assert Ranks.of_environment() == ALONE
