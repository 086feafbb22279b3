"""The critics' gradient without the products whose results are known is the gradient with all of them."""

import pytest
import torch
from clouds import clouds, generator

from methods.losses.critic import critic, critic_gradient
from methods.losses.critic.ascent import ASCENTS
from methods.losses.critic.critic import CriticTraining, init_critics

LR = {"adam": 1e-3, "sgd": 1e-1, "rmsprop": 1e-3}


def rectified_clouds(*, dtype=torch.float64):
    """Return features as a ConvNet's are, none negative: soon many hidden units are active at all points or at none."""
    real, syn = clouds(classes=2, real=32, syn=4, dim=64, dtype=dtype)
    return (0.5 + 0.4 * real).relu(), (0.6 + 0.4 * syn).relu()


@pytest.mark.parametrize("optimizer", ASCENTS)
def test_what_is_left_out_of_the_products_changes_nothing(optimizer, monkeypatch):
    real, syn = rectified_clouds()
    start = init_critics(real, hidden=128, generator=generator())
    steps, kept, recomputed = 100, [], []

    class Watched(critic_gradient.ReusingGradient):
        def compute(self):
            before = self.active
            super().compute()
            kept.append(self.active.shape[1])
            recomputed.append(int((self.active != before).any(0).sum()) if before.shape == self.active.shape else 0)

    monkeypatch.setattr(critic, "ReusingGradient", Watched)
    made = CriticTraining(clip=0.01, steps=steps, lr=LR[optimizer], optimizer=optimizer, dtype=real.dtype)
    every = made.train_together(start, real, syn)  # all classes at once: every product is taken
    for ours, theirs in zip(made.train(start, real, syn).parameters(), every.parameters(), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-9)
    assert len(kept) == 2 * steps
    assert kept[0] == 128 > 0.9 * 128 > kept[steps - 1]  # dead units were pruned
    assert sum(recomputed) < 0.5 * sum(kept)  # and most slopes used again


@pytest.mark.parametrize("optimizer", ASCENTS)
@pytest.mark.parametrize("begun", [1, 5, 40])
def test_without_a_gradient_values_go_no_further_than_the_drift(optimizer, begun):
    values, gradient = torch.zeros(6, 5, dtype=torch.float64), torch.zeros(6, 5, dtype=torch.float64)
    ascent = ASCENTS[optimizer](values, gradient, lr=LR[optimizer], scale=1.0)
    for step in range(begun):
        gradient.copy_(torch.randn(6, 5, generator=generator(step), dtype=torch.float64))
        gradient[0] = 0
        ascent.step()
    gradient.zero_()
    for steps in (1, 10, 60):
        drift, start = ascent.drift(steps), values.clone()
        for _ in range(steps):
            ascent.step()
        way = (values - start).abs()
        assert (way <= drift * (1 + 1e-9)).all()
        torch.testing.assert_close(way, drift, rtol=1e-4, atol=0)  # the bound is that of the worst case, epsilon apart
        assert (drift[0] == 0).all()
        assert (drift[1:] > 0).all() == (optimizer == "adam")


@pytest.mark.parametrize(("dtype", "most"), [(torch.float32, 1e-5), (torch.bfloat16, 2e-2)])
def test_critics_of_wide_features_give_the_loss_of_all_products_in_float64(dtype, most):
    real, syn = clouds(classes=2, real=64, syn=1, dim=800, dtype=torch.float32)
    real, syn = (0.5 + 0.4 * real).relu(), (0.6 + 0.4 * syn).relu()
    start = init_critics(real, hidden=128, generator=generator())

    def value(critics, real, syn):
        return critics(real).mean(1) - critics(syn).mean(1)

    made = CriticTraining(clip=0.01, steps=100, lr=1e-3, optimizer="adam", dtype=dtype)
    exact = CriticTraining(clip=0.01, steps=100, lr=1e-3, optimizer="adam", dtype=torch.float64)
    doubled = critic.Critics(*(parameter.double() for parameter in start.parameters())), real.double(), syn.double()
    expected = value(exact.train_together(*doubled), *doubled[1:])
    torch.testing.assert_close(value(made.train(start, real, syn), real, syn).double(), expected, rtol=most, atol=0)
