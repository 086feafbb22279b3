"""Steps by angle: whatever the scale of the loss and of the image, on the networks and augmentations where that holds."""

from __future__ import annotations

import math
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from tiny import task

from bench.cells.method import FeatureMatching
from bench.cells.protocol import Match
from bench.loops.augment import Augmentation
from bench.loops.matching import match
from bench.loops.optimizers import SGD, Angular, angles, image_optimizer, set_step_size
from bench.networks.network import fit
from methods import METHODS

ROOT = Path(__file__).resolve().parents[3]
LOSSES = [name for name, method in METHODS.items() if isinstance(method, FeatureMatching)]


def images(*, classes: int = 2, each: int = 3, channels: int = 1, size: int = 28, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(classes, each, channels, size, size, generator=generator)


def features(network: str, of: torch.Tensor) -> torch.Tensor:
    """Return the features of images `[N, channels, H, W]` under one random network."""
    extractor = fit(network, tuple(of.shape[1:]), classes=10, width=32, depth=None)
    return extractor.features(of, extractor.init(torch.Generator().manual_seed(3)).all)


def turn(start: torch.Tensor, gradients: list[torch.Tensor], *, lr: float, momentum: float = 0.0) -> torch.Tensor:
    """Return where given gradients lead."""
    moved = start.clone().requires_grad_()
    optimizer = Angular([moved], lr=lr, momentum=momentum)
    for gradient in gradients:
        moved.grad = gradient
        optimizer.step()
    return moved.detach()


# ---- the step ----


def test_a_step_turns_each_image_by_the_arc_tangent_of_the_rate_and_keeps_its_norm():
    start = images(channels=3, size=8)
    across = torch.randn_like(start)
    across -= start * (across * start).sum((2, 3, 4), keepdim=True) / start.square().sum((2, 3, 4), keepdim=True)
    moved = turn(start, [across], lr=0.2)
    torch.testing.assert_close(angles(start, moved), torch.full((2, 3), math.atan(0.2)))
    torch.testing.assert_close(moved.flatten(2).norm(dim=2), start.flatten(2).norm(dim=2))
    assert ((moved - start) * across).flatten(2).sum(2).max() < 0  # against the gradient


@pytest.mark.parametrize("momentum", [0.0, 0.5, 0.9])
def test_it_is_the_formula_in_float64(momentum):
    start, gradients = images(size=6).double(), [images(size=6, seed=seed).double() for seed in (1, 2, 3)]
    expected, velocity = start.clone(), torch.zeros_like(start)
    for gradient in gradients:
        for place in torch.cartesian_prod(torch.arange(2), torch.arange(3)).tolist():
            x, g, v = expected[tuple(place)], gradient[tuple(place)], velocity[tuple(place)]
            v.mul_(momentum).add_(g / g.norm())
            y = x - 0.1 * x.norm() * v
            x.copy_(start[tuple(place)].norm() * y / y.norm())
    torch.testing.assert_close(turn(start, gradients, lr=0.1, momentum=momentum), expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("factor", [1e-6, 85.0, 1e6])
def test_the_scale_of_the_loss_does_not_matter(factor):
    start, gradients = images(), [images(seed=seed) for seed in (1, 2)]
    usual = turn(start, gradients, lr=0.1, momentum=0.5)
    torch.testing.assert_close(turn(start, [factor * gradient for gradient in gradients], lr=0.1, momentum=0.5), usual)


def test_neither_does_the_scale_of_one_image():
    start, gradients = images(), [images(seed=1)]
    scaled = start.clone()
    scaled[0, 1] *= 7
    moved, other = (turn(x, gradients, lr=0.1) for x in (start, scaled))
    torch.testing.assert_close(other[0, 1], 7 * moved[0, 1])
    torch.testing.assert_close(other[1], moved[1])


def test_an_image_without_gradient_and_an_image_of_zeros_stay_and_nothing_becomes_infinite():
    start, gradient = images(), images(seed=1)
    start[0, 0] = 0
    gradient[1, 2] = 0
    moved = turn(start, [gradient], lr=0.1)
    assert moved.isfinite().all()
    assert torch.equal(moved[0, 0], start[0, 0])
    torch.testing.assert_close(moved[1, 2], start[1, 2])
    assert (moved[0, 1] != start[0, 1]).any()


@pytest.mark.parametrize("tiny", [0.0, 1e-5, 1e-3])
def test_angles_are_exact_where_they_are_small(tiny):
    start = images(size=5).double()
    across = torch.zeros_like(start)
    across[..., 0, 0], across[..., 0, 1] = -start[..., 0, 1], start[..., 0, 0]
    turned = start + across * (start.flatten(2).norm(dim=2) / across.flatten(2).norm(dim=2))[..., None, None, None] * tiny
    torch.testing.assert_close(
        angles(start.float(), turned.float()).double(), torch.full((2, 3), math.atan(tiny)).double(), rtol=2e-2, atol=1e-6
    )


def test_the_cosine_schedule_goes_from_the_full_rate_to_nearly_none():
    match = Match(optimizer="angular", schedule="cosine").with_step(rate=0.2)
    optimizer, rates = image_optimizer(images().requires_grad_(), match), []
    for step in range(4):
        set_step_size(optimizer, match, step / 4)
        rates.append(optimizer.lr)
    assert rates == pytest.approx([0.2 * (0.5 + 0.5 * math.cos(math.pi * step / 4)) for step in range(4)])
    constant = match.changed(schedule="constant")
    set_step_size(optimizer, constant, 0.75)
    assert optimizer.lr == 0.2


@pytest.mark.parametrize(("settings", "kind"), [({}, SGD), ({"optimizer": "angular"}, Angular)])
def test_the_optimizer_is_the_one_that_is_set(settings, kind):
    match = Match(momentum=0.3, **settings).with_step(**({"rate": 0.2} if settings else {"lr_images": 7.0}))
    optimizer = image_optimizer(images().requires_grad_(), match)
    assert type(optimizer) is kind
    assert (optimizer.lr, optimizer.momentum) == (0.2 if settings else 7.0, 0.3)


@pytest.mark.parametrize(
    "settings",
    [
        {"momentum": 0.5},
        {"momentum": 0.9, "weight_decay": 5e-4, "fused": True},
        {"momentum": 0.9, "weight_decay": 5e-4, "nesterov": True, "fused": True},
        {"weight_decay": 0.1},
    ],
    ids=str,
)
def test_sgd_is_torchs_and_goes_on_from_its_state(settings):
    ours, theirs = (images(size=5, seed=seed).requires_grad_() for seed in (0, 0))
    optimizer, reference = SGD([ours], lr=0.1, **settings), torch.optim.SGD([theirs], lr=0.1, **settings)
    for seed in range(4):
        ours.grad, theirs.grad = (images(size=5, seed=10 + seed) for _ in range(2))
        if seed == 2:
            state, optimizer = optimizer.state_dict(), SGD([ours], lr=0.1, **settings)
            optimizer.load_state_dict(state)
        optimizer.lr = reference.param_groups[0]["lr"] = 0.1 / (1 + seed)
        optimizer.step()
        reference.step()
        assert torch.equal(ours, theirs)
    optimizer.zero_grad()
    optimizer.step()  # nothing has a gradient
    assert torch.equal(ours, theirs)


def test_a_cell_that_is_not_compiled_imports_no_compiler():
    """In a process of its own, for other tests compile."""
    lines = (
        "import sys",
        "sys.path[:0] = ['.', 'tests/bench']",
        "from tiny import task",
        "from bench.loops.evaluation import evaluate",
        "from bench.loops.matching import match",
        "cell = task()",
        "evaluate(cell, match(cell), cell.spec.protocol.eval, 'convnet')",
        "sys.exit('torch._dynamo' in sys.modules)",
    )
    assert subprocess.run([sys.executable, "-c", "\n".join(lines)], cwd=ROOT, check=False).returncode == 0


# ---- the invariance that it rests on ----


@pytest.mark.parametrize("network", ["convnet", "convnet-d2", "convnet-w64"])
def test_a_convnet_with_instance_norm_does_not_see_the_norm_of_an_image(network):
    x = images(channels=3, size=32).flatten(0, 1)
    usual = features(network, x)
    for factor in (0.5, 3.0):
        assert float((features(network, factor * x) - usual).norm() / usual.norm()) < 1e-3


def test_so_the_gradient_of_every_loss_is_orthogonal_to_the_image():
    x = images(channels=3, size=32).flatten(0, 1).requires_grad_()
    real = features("convnet", images(channels=3, size=32, seed=5).flatten(0, 1))
    for name in LOSSES:
        loss = METHODS[name].objective()(real[None], features("convnet", x)[None], generator=torch.Generator().manual_seed(0))
        (gradient,) = torch.autograd.grad(loss.sum(), x)
        cosine = (gradient * x).sum() / (gradient.norm() * x.norm())
        assert abs(cosine.item()) < 1e-2, name


@pytest.mark.parametrize("network", ["mlp", "lenet", "convnet-nn"])
def test_networks_without_a_norm_do_see_it(network):
    x = images(channels=3, size=32).flatten(0, 1)
    usual = features(network, x)
    assert float((features(network, 3 * x) - usual).norm() / usual.norm()) > 0.3


def test_the_epsilon_of_the_norm_shows_in_images_of_very_low_contrast():
    x = images(channels=3, size=32).flatten(0, 1)
    usual = features("convnet", x)
    assert float((features("convnet", 1e-3 * x) - usual).norm() / usual.norm()) > 0.03


def test_padding_is_the_mean_grey_so_a_shift_of_all_pixels_shows_at_the_border():
    x = images(channels=1).flatten(0, 1)
    usual = features("convnet", x)
    assert float((features("convnet", x + 1) - usual).norm() / usual.norm()) > 0.1


def test_the_brightness_of_the_augmentation_is_an_absolute_number_so_the_norm_matters_to_it():
    x = images(channels=1).flatten(0, 1)

    def change(strategy: str, factor: float) -> float:
        augmentation = Augmentation.parse(strategy, flip=False)
        draws = augmentation.draw(torch.Generator().manual_seed(0), len(x), shared=True)
        scaled = features("convnet", augmentation.apply((factor * x)[:, None], draws)[:, 0])
        usual = features("convnet", augmentation.apply(x[:, None], draws)[:, 0])
        return float((scaled - usual).norm() / usual.norm())

    assert change("crop", 3.0) < 1e-3 < 1e-2 < change("color", 3.0)


# ---- in the loop ----


def times(factor: float, name: str):
    objective = METHODS[name].objective()

    def scaled(real, syn, *, generator):
        return factor * objective(real, syn, generator=generator)

    return scaled


@pytest.mark.parametrize("name", LOSSES)
def test_a_loss_and_its_multiple_lead_to_the_same_images(name):
    usual, scaled = (match(task(loss=times(factor, name))).images for factor in (1.0, 64.0))
    torch.testing.assert_close(scaled, usual, rtol=1e-3, atol=1e-3)
    by_sgd = {"optimizer": "sgd", "lr_images": 1.0}
    first, other = (match(task(loss=times(factor, name), match=by_sgd)).images for factor in (1.0, 64.0))
    assert (first - other).abs().max() > 1e-2 or name == "emd"


def test_norms_and_angles_are_traced():
    trace = match(task(match={"rate": 0.1, "iterations": 3, "schedule": "constant", "momentum": 0.0})).trace
    assert trace.norms[0] == pytest.approx(trace.norms[1], rel=1e-5)
    assert trace.angle == pytest.approx(math.atan(0.1), rel=0.02)
    longer = match(task(match={"optimizer": "sgd", "lr_images": 30.0})).trace
    assert longer.norms[1] > longer.norms[0]
