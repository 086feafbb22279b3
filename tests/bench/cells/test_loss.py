"""What a loss declares of itself, and what follows from it."""

from __future__ import annotations

from functools import partial

import pytest
import torch
from tiny import bundle, cell, settings_of

from bench.cells.loss import FeatureLoss, StatefulLoss, by_class, declared_state, is_stateless
from bench.cells.method import FeatureMatching
from methods import METHODS


def function(real, syn, *, generator):
    return (real.mean(1) - syn.mean(1)).square().sum(1)


class Undeclared:
    def __call__(self, real, syn, *, generator):
        return function(real, syn, generator=generator)


class Smoothed(StatefulLoss):
    def __init__(self, decay=0.9):
        self.decay = decay
        self.add_state("mean", torch.zeros(()))
        self.add_state("steps", torch.tensor(0))

    def __call__(self, real, syn, *, generator):
        self.steps += 1
        self.mean = self.decay * self.mean + (1 - self.decay) * real.mean(1)
        return (self.mean - syn.mean(1)).square().sum(1)


@by_class
class Declared(Undeclared):
    pass


@by_class
def declared(real, syn, *, generator):
    return function(real, syn, generator=generator)


class WithStateDict(Undeclared):
    def state_dict(self):
        return {}

    def load_state_dict(self, state):
        pass


@pytest.mark.parametrize(
    ("loss", "stateful", "stateless"),
    [
        (function, False, True),
        (partial(function, generator=None), False, True),
        (declared, False, True),
        (Undeclared(), False, False),
        (partial(Undeclared()), False, False),
        (Undeclared().__call__, False, False),
        (Declared(), False, True),
        (partial(Declared()), False, True),
        (Smoothed(), True, False),
        (WithStateDict(), True, False),
        (partial(WithStateDict(), generator=None), True, False),
        (METHODS["dm"].objective(), False, True),
        (FeatureLoss(), False, True),
    ],
)
def test_what_is_kept_from_step_to_step_follows_from_what_a_loss_declares(loss, stateful, stateless):
    assert (declared_state(loss) is not None, is_stateless(loss)) == (stateful, stateless)


def test_a_state_is_an_attribute_and_the_present_tensors_are_returned():
    loss = Smoothed()
    real, syn = torch.rand(2, 5, 3), torch.rand(2, 4, 3)
    loss(real, syn, generator=None)
    state = loss.state_dict()
    assert set(state) == {"mean", "steps"}
    torch.testing.assert_close(state["mean"], 0.1 * real.mean(1))
    assert state["steps"] == 1
    again = Smoothed()
    again.load_state_dict(state)
    assert torch.equal(again(real, syn, generator=None), loss(real, syn, generator=None))
    assert Smoothed().state_dict()["mean"].shape == ()  # an instance has its own


def test_a_state_is_declared_once():
    with pytest.raises(ValueError, match="the state 'mean' is declared twice"):
        Smoothed().add_state("mean", torch.zeros(1))


def method_of(loss, declares):
    settings = type(settings_of(loss))
    settings.works_by_class = declares
    return FeatureMatching(name="mine", label="Mine", citation="none", settings=settings)


def test_ranks_share_the_classes_of_a_loss_that_declares_it_alone():
    shaped = bundle()
    assert METHODS["dm"].reason_not_divisible(cell(METHODS["dm"]), shaped) is None
    silent = method_of(function, declares=False)
    reason = silent.reason_not_divisible(cell(silent), shaped)
    assert reason == "its loss does not declare that it works class by class, with the decorator bench.by_class"
    assert method_of(function, declares=True).reason_not_divisible(cell(silent), shaped) == reason  # the cell's settings count
    loud = method_of(function, declares=True)
    assert loud.reason_not_divisible(cell(loud), shaped) is None
    batch_norm = cell(loud, match={"network": "convnet-bn"})
    assert "couples the classes" in loud.reason_not_divisible(batch_norm, shaped)
