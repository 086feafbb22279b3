"""What a rank takes of a cell, and which options go with ranks; tests/cluster/test_torchrun.py runs several."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from tiny import bundle, cell

import run_all
from bench.command.command import parse
from bench.command.run import run
from bench.errors import UsageError
from bench.machine.ranks import ALONE, Ranks
from bench.running.executors import Choice, RaySettings
from bench.types import LossContext
from methods import METHODS

OPTIONS = ("--methods=random", "--datasets=digits", "--ipc=1")


@pytest.mark.parametrize("count", [1, 2, 3, 7, 10])
def test_each_class_is_of_one_rank_and_shares_are_even(count):
    shares = [range(10)[Ranks(rank, count).share(10)] for rank in range(count)]
    assert [label for share in shares for label in share] == list(range(10))
    assert max(map(len, shares)) - min(map(len, shares)) <= 1


@pytest.mark.parametrize("together", [False, True])
@pytest.mark.parametrize(("first", "nets"), [(0, 5), (0, 2), (3, 5), (5, 5)])
def test_each_network_is_of_one_rank_and_they_stay_in_order(together, first, nets):
    turns = zip(*(list(Ranks(rank, 3).rounds(range(first, nets), together=together)) for rank in range(3)), strict=True)
    assert [number for of_ranks in turns for numbers in of_ranks for number in numbers] == list(range(first, nets))
    if not together:
        assert list(ALONE.rounds(range(first, nets), together=False)) == [range(n, n + 1) for n in range(first, nets)]


def test_one_process_exchanges_nothing():
    tensor = torch.ones(2)
    assert ALONE.all_reduce(tensor) == [tensor]
    assert (ALONE.all_gather(3), ALONE.broadcast(4), ALONE.lead(None, lambda: 5)) == ([3], 4, 5)


def reason(name, method=None, **sections):
    """Return why the tiny cell of a method is not shared by ranks."""
    method = method or METHODS[name]
    return method.reason_not_divisible(cell(method, **sections), bundle())


@pytest.mark.parametrize("name", [name for name, method in METHODS.items() if "match" in method.sections])
def test_the_losses_of_the_suite_work_class_by_class(name):
    assert reason(name) is None
    assert "batch norm" in reason(name, match={"network": "convnet-bn"})


def test_a_loss_that_does_not_say_so_is_not_divided(tmp_path):
    file = tmp_path / "own.py"
    file.write_text(OWN)
    reasons = {name: reason(name, run_all.SUITE.find_method(f"{file}:{name}")) for name in OWN_LOSSES}
    assert "does not declare that it works class by class" in reasons["silent"]
    assert "keeps state, which belongs to one process" in reasons["Stateful"]
    assert (reasons["declared"], reasons["Declared"]) == (None, None)


OWN_LOSSES = ("silent", "Stateful", "declared", "Declared")


OWN = """
import torch
from bench.cells.loss import StatefulLoss, by_class

def silent(real, syn, *, generator):
    return (real.mean(1) - syn.mean(1)).square().sum(1)

@by_class
def declared(real, syn, *, generator):
    return silent(real, syn, generator=generator)

@by_class
class Declared:
    def __call__(self, real, syn, *, generator):
        return silent(real, syn, generator=generator)

class Stateful(StatefulLoss):
    def __init__(self):
        self.add_state("steps", torch.zeros(()))

    def __call__(self, real, syn, *, generator):
        return silent(real, syn, generator=generator)
"""


def test_a_critic_is_the_same_whichever_rank_draws_it():
    source = torch.Generator().manual_seed(0)
    real, syn = torch.rand(4, 6, 5, generator=source), torch.rand(4, 2, 5, generator=source)
    loss, names = METHODS["kr"].objective(steps=3), ("a", "b", "c", "d")

    def generator():
        return torch.Generator().manual_seed(1)

    labels = torch.tensor([2, 3])
    share = loss(real[2:], syn[2:], generator=generator(), context=LossContext(0, 1, labels, names))
    assert torch.equal(share, loss(real, syn, generator=generator())[2:])
    assert not torch.equal(share, loss(real[2:], syn[2:], generator=generator()))


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
    options = parse(run_all.SUITE, [*OPTIONS, *arguments, "--out", str(out)], Ranks(0, count, 0, count))
    with pytest.raises(UsageError) as error:
        run(run_all.SUITE, options, out=None, progress=None)
    assert str(error.value).startswith(answer)
    assert not out.exists()


def test_another_executor_is_a_mistake(tmp_path):
    options = parse(run_all.SUITE, [*OPTIONS, "--out", str(tmp_path / "out")], Ranks(0, 2, 0, 2))
    with pytest.raises(UsageError, match="--executor ray under torchrun"):
        run(run_all.SUITE, replace(options, executor=Choice("ray", RaySettings())), out=None, progress=None)


def test_one_rank_of_torchrun_is_one_process(monkeypatch):
    for name, value in {"TORCHELASTIC_RUN_ID": "x", "RANK": "0", "WORLD_SIZE": "1"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("LOCAL_RANK", "0")
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "1")
    assert Ranks.of_environment() == ALONE
