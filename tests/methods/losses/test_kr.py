"""KR against a loop over modules and torch's optimizers, the Lipschitz bound of the paper, and its reproducibility."""

import pytest
import torch
from clouds import central_differences, clouds, generator, loss, loss_and_gradient
from torch import nn

from bench.errors import UsageError
from bench.machine.threads import Workers
from methods import METHODS
from methods.losses.critic.critic import CriticTraining, init_critics

OPTIMIZERS = {"adam": torch.optim.Adam, "sgd": torch.optim.SGD, "rmsprop": torch.optim.RMSprop}
CLIP, LR, HIDDEN = 0.01, 1e-3, 24


def reference_critic(critics, c, real, syn, *, steps, optimizer, clip=CLIP, lr=LR):
    """Return the critic of class `c` after training as the paper's pseudocode reads: a module, autograd, torch's optimizer.

    The output has a bias here. It cancels in the objective, so that training without one must give the same.
    """
    width, dim = critics.w1.shape[1:]
    model = nn.Sequential(nn.Linear(dim, width), nn.ReLU(), nn.Linear(width, 1)).to(real)
    with torch.no_grad():
        for parameter, start in zip(model.parameters(), (critics.w1[c], critics.b1[c], critics.w2[c][None]), strict=False):
            parameter.copy_(start)
    ascent = OPTIMIZERS[optimizer](model.parameters(), lr=lr, maximize=True)
    for _ in range(steps):
        ascent.zero_grad()
        (model(real).mean() - model(syn).mean()).backward()
        ascent.step()
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.clamp_(-clip, clip)
    return model


def training(*, steps=100, optimizer="adam", clip=CLIP, lr=LR, dtype=torch.float64):
    return CriticTraining(clip=clip, steps=steps, lr=lr, optimizer=optimizer, dtype=dtype)


def trained(real, syn, *, steps=100, optimizer="adam", hidden=HIDDEN, clip=CLIP, lr=LR, seed=0):
    """Return critics at their start and after training."""
    start = init_critics(real, hidden=hidden, generator=generator(seed))
    return start, training(steps=steps, optimizer=optimizer, clip=clip, lr=lr, dtype=real.dtype).train(start, real, syn)


@pytest.mark.parametrize(("dtype", "most"), [(torch.float32, 1e-4), (torch.float64, 1e-10)])
@pytest.mark.parametrize(("clip", "steps"), [(CLIP, 100), (0.5, 1), (0.5, 100)])
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_critics_follow_those_of_a_loop_with_torch_s_optimizer(optimizer, clip, steps, dtype, most):
    # At a clip of .01 every parameter starts on a wall and some leave it; at .5 they start inside, so that each step shows.
    # The points lie on all sides of the origin: a hidden unit that is active at every point has a bias gradient of zero but for
    # rounding, of which Adam makes full steps (to no effect on the loss), different ones in any two orders of summation.
    real, syn = clouds(classes=3, real=32, syn=10, dim=16, dtype=dtype)
    lr = 1e-1 if optimizer == "sgd" else LR  # at 1e-3 its steps would be too short to see against the tolerance
    start, critics = trained(real, syn, steps=steps, optimizer=optimizer, clip=clip, lr=lr)
    moved = torch.zeros(3)  # the furthest way of a weight in W1, in b1, in w2
    for c in range(3):
        model = reference_critic(start, c, real[c], syn[c], steps=steps, optimizer=optimizer, clip=clip, lr=lr)
        begun, ended = ([p[c] for p in some.parameters()] for some in (start, critics))
        for kind, parameter in enumerate(list(model.parameters())[:3]):
            assert (ended[kind] - parameter.view_as(ended[kind])).abs().max() <= most
            way = (ended[kind] - begun[kind].clamp(-clip, clip)).abs().max()
            moved[kind] = max(moved[kind], way)
    assert (moved > 9 * most).all()  # what is compared has gone much further than the tolerance


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_loss_is_the_mean_difference_of_the_reference_critics(optimizer):
    real, syn = clouds(classes=3, real=32, syn=10, dim=16)
    start = init_critics(real, hidden=HIDDEN, generator=generator(5))
    expected = []
    for c in range(3):
        model = reference_critic(start, c, real[c], syn[c], steps=100, optimizer=optimizer)
        expected.append((model(real[c]).mean() - model(syn[c]).mean()).detach())
    value = loss("kr", real, syn, seed=5, hidden=HIDDEN, critic_optimizer=optimizer)
    torch.testing.assert_close(value, torch.stack(expected), rtol=1e-8, atol=0)


def test_the_defaults_are_those_of_the_issue():
    defaults = {"hidden": 128, "clip": 0.01, "steps": 100, "critic_lr": 1e-3, "critic_optimizer": "adam"}
    assert METHODS["kr"].settings().model_dump() == {**defaults, "precision": "auto"}


def test_critics_start_as_torch_s_linear_layers():
    like = torch.zeros(4, 1, 50, dtype=torch.float64)
    start = init_critics(like, hidden=200, generator=generator())
    assert [tuple(p.shape) for p in start.parameters()] == [(4, 200, 50), (4, 200), (4, 200)]
    for parameter, fan_in in zip(start.parameters(), (50, 50, 200), strict=True):
        assert parameter.dtype == like.dtype
        bound, count = fan_in**-0.5, parameter.numel()
        assert parameter.abs().max() <= bound
        # U(-b, b) has mean 0 and mean square b²/3, estimated from `count` draws to b/sqrt(3 count) and 2b²/sqrt(45 count).
        assert parameter.mean().abs() < 5 * bound / (3 * count) ** 0.5
        assert (parameter.square().mean() - bound**2 / 3).abs() < 5 * 2 * bound**2 / (45 * count) ** 0.5
    assert not torch.equal(start.w1[0], start.w1[1])  # each class draws its own


def test_critics_are_functions_of_points_as_modules_are():
    real, _ = clouds(classes=2, dim=6)
    critics = init_critics(real, hidden=5, generator=generator())
    for c in range(2):
        expected = [float(critics.w2[c] @ (critics.w1[c] @ x + critics.b1[c]).clamp(min=0)) for x in real[c]]
        torch.testing.assert_close(critics(real)[c], torch.tensor(expected, dtype=torch.float64), rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("steps", [1, 100])
@pytest.mark.parametrize("clip", [0.01, 0.1])
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_every_parameter_stays_in_the_box(optimizer, clip, steps):
    real, syn = clouds(classes=3, real=16, syn=4, dim=16, dtype=torch.float32)
    start, critics = trained(10 * real, 10 * syn, steps=steps, optimizer=optimizer, clip=clip)
    assert all((p.abs() > clip).any() for p in start.parameters())  # it starts outside, weights and biases
    assert all((p.abs() <= clip).all() for p in critics.parameters())
    assert all((p.abs() == torch.tensor(clip)).any() for p in critics.parameters())  # and is stopped by the walls


def test_training_leaves_its_arguments_alone():
    real, syn = clouds(classes=2, real=8, syn=4)
    start = init_critics(real, hidden=8, generator=generator())
    before = [p.clone() for p in (*start.parameters(), real, syn)]
    training(steps=3).train(start, real, syn)
    assert all(torch.equal(p, copy) for p, copy in zip((*start.parameters(), real, syn), before, strict=True))


@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize(("clip", "hidden", "dim"), [(0.01, 128, 64), (0.1, 16, 5), (1.0, 4, 1)])
def test_loss_is_at_most_the_lipschitz_bound_times_w1(clip, hidden, dim, seed):
    # Lemma 1 of the paper: |f(x) - f(y)| <= clip² · hidden · sqrt(d) · |x - y|.
    real, syn = clouds(classes=3, real=20, syn=6, dim=dim, seed=seed)
    value = loss("kr", real, syn, clip=clip, hidden=hidden, seed=seed)
    assert (value <= clip**2 * hidden * dim**0.5 * loss("emd", real, syn)).all()


def test_the_best_critic_in_the_box_is_found_where_it_is_known():
    # Real points far out along (1, .., 1), synthetic ones opposite: a hidden unit is active on one side alone. The best it can
    # do there is to have all its parameters on the walls, w2 w1·x = clip² |x|_1, and a bias in the same sense, clip² more.
    # Either side is worth the same, so that the value is known whichever it took: half of Lemma 1's bound, but for the biases.
    # 100 steps of Adam, .1 in all, go five times from wall to wall.
    hidden, dim = 128, 16
    side = 50 * (1 + 0.01 * clouds(classes=3, real=8, dim=dim)[0])
    value = loss("kr", side, -side, hidden=hidden)
    best = CLIP**2 * hidden * (side.abs().sum(2).mean(1) + 1)
    torch.testing.assert_close(value, best, rtol=1e-10, atol=0)
    bound = CLIP**2 * hidden * dim**0.5 * loss("emd", side, -side)
    torch.testing.assert_close(value / bound, torch.full((3,), 0.5, dtype=torch.float64), rtol=0.01, atol=0)


def test_more_steps_find_a_better_critic():
    real, syn = clouds(classes=3, real=32, syn=10, dim=16)
    values = torch.stack([loss("kr", real, syn, steps=steps) for steps in (1, 10, 100)])
    assert (values.diff(dim=0) > 0).all()


def test_gradient_is_that_of_finite_differences_with_the_critics_held_fixed():
    # Critics are trained on detached features: the value depends on `syn` through them too, the gradient does not.
    real, syn = clouds(classes=2, real=12, syn=3, dim=4)
    _, critics = trained(real, syn, hidden=128)
    _, gradient = loss_and_gradient("kr", real, syn)

    def held(points):
        return (critics(real).mean(1) - critics(points).mean(1)).sum()

    torch.testing.assert_close(gradient, central_differences(held, syn), rtol=1e-6, atol=1e-10)
    assert gradient.abs().max() > 1e-5


def test_gradient_is_that_of_its_formula():
    # dJ/dy_j = -1/m sum_k w2_k [W1 y_j + b1 > 0]_k W1_k
    real, syn = clouds(classes=1, real=12, syn=3, dim=4)
    _, critics = trained(real, syn, hidden=128)
    _, gradient = loss_and_gradient("kr", real, syn)
    for j, y in enumerate(syn[0]):
        active = (critics.w1[0] @ y + critics.b1[0] > 0).double()
        torch.testing.assert_close(gradient[0, j], -((critics.w2[0] * active) @ critics.w1[0]) / 3, rtol=1e-9, atol=1e-14)


def test_products_in_bfloat16_give_almost_the_same_loss():
    real, syn = clouds(classes=3, real=32, syn=10, dim=16, dtype=torch.float32)
    exact, rounded = (loss("kr", real, syn, precision=precision) for precision in ("fp32", "bf16"))
    torch.testing.assert_close(rounded, exact, rtol=0.02, atol=0)
    assert (rounded != exact).all()
    assert torch.equal(loss("kr", real, syn), exact)  # outside a run `auto` is float32


def test_the_same_clouds_cost_nothing():
    real, _ = clouds(real=8, dtype=torch.float32)
    assert torch.equal(loss("kr", real, real), torch.zeros(2))


def test_the_same_seed_gives_the_same_bits_and_another_seed_another_critic():
    real, syn = clouds(classes=3, real=16, syn=4, dtype=torch.float32)
    first, again, other = (loss_and_gradient("kr", real, syn, seed=seed) for seed in (3, 3, 4))
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))
    assert all((a != b).any() for a, b in zip(first, other, strict=True))
    assert (first[0] != other[0]).all()  # every class has a new critic


def test_every_call_starts_from_fresh_critics():
    real, syn = clouds()
    objective, stream = METHODS["kr"].objective(), generator()
    first, second = objective(real, syn, generator=stream), objective(real, syn, generator=stream)
    assert (first != second).all()
    torch.testing.assert_close(objective(real, syn, generator=generator()), first, rtol=0, atol=0)


def test_a_loss_of_other_settings_is_another_one():
    real, syn = clouds(real=16, syn=4)
    variants = [{}, {"hidden": 64}, {"clip": 0.02}, {"steps": 50}, {"critic_lr": 1e-4}, {"critic_optimizer": "sgd"}]
    values = {float(loss("kr", real, syn, **settings)[0]) for settings in variants}
    assert len(values) == len(variants)


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_classes_train_alike_one_by_one_and_all_at_once(optimizer):
    # On the CPU a class has a thread, elsewhere all go in one batch: the arithmetic is the same.
    real, syn = clouds(classes=3, real=32, syn=10, dim=16)
    _, one_by_one = trained(real, syn, optimizer=optimizer)
    start = init_critics(real, hidden=HIDDEN, generator=generator())
    together = training(optimizer=optimizer).train_together(start, real, syn)
    for separate, joint in zip(one_by_one.parameters(), together.parameters(), strict=True):
        torch.testing.assert_close(separate, joint, rtol=0, atol=1e-10)


def test_training_gives_the_same_bits_every_time():
    # A product that is split between threads, or not, as the cores happen to be free is rounded now one way, now the other.
    # If workers did not ask for one thread, the first of these runs would differ from the others (unless OMP_NUM_THREADS is 1).
    real, syn = clouds(classes=3, real=4, syn=2, dim=32, dtype=torch.float32)
    start = init_critics(real, hidden=128, generator=generator())
    with Workers(3) as workers, workers.serving():
        first, *others = (training(steps=30, dtype=real.dtype).train(start, real, syn).parameters() for _ in range(50))
    assert all(torch.equal(*pair) for again in others for pair in zip(first, again, strict=True))


def test_the_number_of_workers_changes_nothing():
    real, syn = clouds(classes=5, real=32, syn=10, dim=16)
    parameters = []
    for count in (1, 3):
        with Workers(count) as workers, workers.serving():
            parameters.append(trained(real, syn)[1].parameters())
    assert all(torch.equal(*pair) for pair in zip(*parameters, strict=True))


@pytest.mark.parametrize(
    ("name", "value", "valid"),
    [
        ("hidden", 0, "a whole number at least 1"),
        ("hidden", 2.5, "a whole number at least 1"),
        ("hidden", True, "a whole number at least 1"),
        ("clip", 0.0, "a number above 0"),
        ("clip", -0.01, "a number above 0"),
        ("clip", float("inf"), "a number above 0"),
        ("steps", 0, "a whole number at least 1"),
        ("critic_lr", 0, "a number above 0"),
        ("critic_lr", float("nan"), "a number above 0"),
        ("critic_optimizer", "adamw", "one of adam, sgd, rmsprop"),
    ],
)
def test_a_bad_hyper_parameter_raises_and_says_what_is_valid(name, value, valid):
    with pytest.raises(UsageError, match=f"{name} takes {valid}"):
        METHODS["kr"].objective(**{name: value})
