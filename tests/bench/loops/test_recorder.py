"""The state that a loop declares: an interrupted loop goes on with it, and ends with the same bits."""

from __future__ import annotations

import signal
from dataclasses import replace

import pytest
import torch
from tiny import task

from bench.cells.task import ResumeKey
from bench.loops.recorder import Recorder
from bench.machine import signals
from bench.machine.signals import Interrupted

ITERATIONS = 7
STATES = ("labels", "lr", "seen", "optimizer", "optimizer of the rest", "numbers", "average")


class Average:
    """A `Stateful` that assigns its tensor anew at each step."""

    def __init__(self):
        self.mean = torch.zeros(())

    def update(self, value):
        self.mean = 0.5 * self.mean + 0.5 * value
        return self.mean

    def state_dict(self):
        return {"mean": self.mean}

    def load_state_dict(self, state):
        self.mean = state["mean"]


class Loop:
    """A loop of no meaning that learns images, soft labels and a learning rate, with two optimizers, and counts."""

    def __init__(self, resume=None, *, states=STATES, stop_after=None, checkpoints=()):
        """Declare the `states` alone; a signal comes in the step `stop_after`."""
        self.stop_after, self.steps = stop_after, []
        self.images = torch.linspace(-1, 1, 48).reshape(3, 1, 1, 4, 4).clone().requires_grad_()
        self.labels = torch.zeros(3, 3).requires_grad_()  # [N, classes]
        self.lr = torch.tensor(0.3).requires_grad_()  # a single number
        self.seen = torch.zeros(3, dtype=torch.int64)
        self.numbers, self.average = {"updates": 0}, Average()
        self.optimizer = torch.optim.SGD([self.images], lr=0.1, momentum=0.9)
        self.others = torch.optim.Adam([self.labels, self.lr], lr=0.05)
        given = replace(task(), resume=ResumeKey(resume, owner="cell", code="code") if resume else None)
        given = replace(given, checkpoints=checkpoints)
        self.recorder = Recorder(given, ITERATIONS, self.images, learned=lambda: (self.labels, float(self.lr.detach())))
        values = (self.labels, self.lr, self.seen, self.optimizer, self.others, self.numbers, self.average)
        for name, value in zip(STATES, values, strict=True):
            if name in states:
                self.recorder.add_state(name, value)

    def run(self):
        for step in self.recorder.steps():
            self.steps.append(step)
            self.step(step)
        return self.recorder.finish(self.labels.detach().softmax(1), {}, lr=float(self.lr.detach()))

    def step(self, step):
        weight = self.average.update(float(step)) + self.numbers["updates"] + self.seen.sum()
        target = torch.randn(self.images.shape, generator=torch.Generator().manual_seed(step)) + weight
        probabilities = self.labels.softmax(1)
        each = self.lr * (self.images - target).square().mean((1, 2, 3, 4)) + (probabilities - torch.eye(3)).square().sum(1)
        for optimizer in (self.optimizer, self.others):
            optimizer.zero_grad()
        each.sum().backward()
        for optimizer in (self.optimizer, self.others):
            optimizer.step()
        self.seen[step % 3] += 1
        self.numbers["updates"] += 2
        if step == self.stop_after:
            signals.note(signal.SIGTERM)
        self.recorder.add(each)


@pytest.fixture(autouse=True)
def _no_signal_is_left():
    yield
    signals.reset()


def interrupted(path, step, **options):
    """Run a loop until a signal ends it after `step`."""
    with pytest.raises(Interrupted):
        Loop(path, stop_after=step, **options).run()
    signals.reset()
    assert path.is_file()


def same(first, second):
    """Return whether two sets and their traces are equal to the last bit."""
    tensors = zip((first.images, first.labels), (second.images, second.labels), strict=True)
    traces = [(syn.trace.loss, syn.trace.angle, syn.trace.norms, syn.lr) for syn in (first, second)]
    return all(torch.equal(*pair) for pair in tensors) and traces[0] == traces[1]


@pytest.mark.parametrize("step", [0, 3, ITERATIONS - 1])
def test_a_loop_goes_on_with_all_that_it_declared(tmp_path, step):
    interrupted(tmp_path / "cell.resume", step)
    resumed = Loop(tmp_path / "cell.resume")
    assert same(resumed.run(), Loop().run())
    assert resumed.steps == [*range(step + 1, ITERATIONS)]
    assert resumed.numbers == {"updates": 2 * ITERATIONS}
    assert resumed.seen.tolist() == [3, 2, 2]


def test_a_loop_may_be_interrupted_again(tmp_path):
    path = tmp_path / "cell.resume"
    interrupted(path, 1)
    interrupted(path, 4)
    assert same(Loop(path).run(), Loop().run())


@pytest.mark.parametrize("name", STATES)
def test_each_state_is_needed(tmp_path, name):
    # Otherwise the tests above would not see whether it is restored.
    states = [other for other in STATES if other != name]
    interrupted(tmp_path / "cell.resume", 3, states=states)
    assert not same(Loop(tmp_path / "cell.resume", states=states).run(), Loop().run())


@pytest.mark.parametrize("states", [STATES[1:], STATES[:-1], ()])
def test_the_state_of_a_loop_that_declares_others_is_not_taken(tmp_path, states):
    interrupted(tmp_path / "cell.resume", 3)
    other = Loop(tmp_path / "cell.resume", states=states)
    assert same(other.run(), Loop().run())
    assert other.steps == [*range(ITERATIONS)]


def test_checkpoints_have_the_labels_and_the_rate_of_their_iteration(tmp_path):
    checkpoints = (0, 1, 3)
    whole = Loop(checkpoints=checkpoints).run().trace.snapshots
    assert [snapshot.iteration for snapshot in whole] == [0, 1, 3]
    assert len({snapshot.lr for snapshot in whole}) == 3
    assert not torch.equal(whole[0].labels, whole[2].labels)
    with pytest.raises(Interrupted):
        Loop(tmp_path / "cell.resume", stop_after=2, checkpoints=checkpoints).run()
    signals.reset()
    resumed = Loop(tmp_path / "cell.resume", checkpoints=checkpoints).run().trace.snapshots
    for snapshot, expected in zip(resumed, whole, strict=True):
        assert (snapshot.iteration, snapshot.lr) == (expected.iteration, expected.lr)
        assert torch.equal(snapshot.labels, expected.labels)
        assert torch.equal(snapshot.images, expected.images)


def test_a_state_has_a_name_of_its_own():
    recorder = Recorder(task(), 1, torch.zeros(3, 1, 1, 4, 4))
    recorder.add_state("lr", torch.tensor(0.1))
    for name in ("lr", "images"):
        with pytest.raises(ValueError, match=f"the state '{name}' is declared twice"):
            recorder.add_state(name, torch.tensor(0.2))


def test_tensors_that_share_memory_are_states_too(tmp_path):
    values = torch.zeros(4)

    def recorder(shared, signal_at):
        made = Recorder(
            replace(task(), resume=ResumeKey(tmp_path / "cell.resume", "cell", "code")), 3, torch.ones(3, 1, 1, 4, 4)
        )
        made.add_state("all", shared)
        made.add_state("half", shared[:2])
        for step in made.steps():
            shared += 1
            if step == signal_at:
                signals.note(signal.SIGTERM)
            made.add(torch.zeros(3))

    with pytest.raises(Interrupted):
        recorder(values, 1)
    signals.reset()
    restored = torch.zeros(4)
    recorder(restored, None)
    assert restored.tolist() == [3.0] * 4


# ---- optimizers that keep more than tensors ----


class ByLineSearch:
    """A loop whose optimizer keeps lists of tensors, LBFGS or a class of its own."""

    def __init__(self, resume, kind=torch.optim.LBFGS, *, stop_after=None):
        self.stop_after = stop_after
        self.images = torch.linspace(-1, 1, 48).reshape(3, 1, 1, 4, 4).clone().requires_grad_()
        self.optimizer = kind([self.images], lr=0.1, max_iter=3, history_size=4)
        given = replace(task(), resume=ResumeKey(resume, owner="cell", code="code"))
        self.recorder = Recorder(given, ITERATIONS, self.images)
        self.recorder.add_state("optimizer", self.optimizer)

    def loss(self):
        self.optimizer.zero_grad()
        loss = (self.images - 2).pow(4).mean()
        loss.backward()
        return loss

    def run(self):
        for step in self.recorder.steps():
            loss = self.optimizer.step(self.loss)
            if step == self.stop_after:
                signals.note(signal.SIGTERM)
            self.recorder.add(loss.detach())
        return self.recorder.finish(torch.zeros(3, dtype=torch.int64), {})


def test_an_optimizer_that_keeps_lists_of_tensors_goes_on_to_the_same_bits(tmp_path):
    whole = ByLineSearch(tmp_path / "whole.resume").run()
    with pytest.raises(Interrupted):
        ByLineSearch(tmp_path / "cell.resume", stop_after=2).run()
    signals.reset()
    assert same(ByLineSearch(tmp_path / "cell.resume").run(), whole)


def test_an_optimizer_whose_state_cannot_be_kept_is_refused_at_the_first_iteration(tmp_path):
    class WithHistory(torch.optim.LBFGS):
        def step(self, closure):
            self.state[self.param_groups[0]["params"][0]]["history"] = {1, 2}
            return super().step(closure)

    with pytest.raises(TypeError, match=r"an optimizer keeps '0 history' as set, .*; valid: tensors, numbers, lists"):
        ByLineSearch(tmp_path / "cell.resume", WithHistory).run()
