"""What every loss owes, whatever it measures: a value a class, of two unordered samples, pure, differentiable in `syn`.

In float64, so that what holds in exact arithmetic shows: a class's loss is a function of the two empirical measures alone. That
includes `kr`, whose critics start from draws that depend on the shapes [C, hidden, d] only. Its rounding is the largest: Adam
divides by moments that may be rounding themselves.
"""

import random
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from clouds import LOSSES, VARIANTS, clouds, coincidences, generator, loss, loss_and_gradient

from bench.errors import UsageError
from bench.machine.threads import Workers
from methods import METHODS

ROOT = Path(__file__).resolve().parents[2]

CLOSE = {"rtol": 1e-9, "atol": 1e-12}
"""Sums taken in another order, in float64, at values of order 1e-2 to 10."""

every_loss = pytest.mark.parametrize(("name", "settings"), VARIANTS.values(), ids=VARIANTS)


@every_loss
def test_order_of_real_points_means_nothing(name, settings):
    real, syn = clouds(classes=3, real=9, syn=4)
    order = torch.randperm(9, generator=generator(1))
    before, after = loss_and_gradient(name, real, syn, **settings), loss_and_gradient(name, real[:, order], syn, **settings)
    for earlier, later in zip(before, after, strict=True):
        torch.testing.assert_close(earlier, later, **CLOSE)


@every_loss
def test_order_of_synthetic_points_means_nothing(name, settings):
    real, syn = clouds(classes=3, real=9, syn=6)
    order = torch.randperm(6, generator=generator(1))
    before, after = loss_and_gradient(name, real, syn, **settings), loss_and_gradient(name, real, syn[:, order], **settings)
    torch.testing.assert_close(after[0], before[0], **CLOSE)
    torch.testing.assert_close(after[1], before[1][:, order], **CLOSE)


@every_loss
@pytest.mark.parametrize("copies", [2, 3])
def test_copies_of_every_synthetic_point_change_no_loss(name, settings, copies):
    real, syn = clouds(classes=3, real=8, syn=3)
    before, after = (
        loss_and_gradient(name, real, syn, **settings),
        loss_and_gradient(name, real, syn.repeat_interleave(copies, 1), **settings),
    )
    torch.testing.assert_close(after[0], before[0], **CLOSE)
    # The copies together are pulled as the one was; how they share the pull is open where plans are not unique.
    torch.testing.assert_close(after[1].unflatten(1, (3, copies)).sum(2), before[1], **CLOSE)


@every_loss
@pytest.mark.parametrize("copies", [2, 3])
def test_copies_of_every_real_point_change_no_loss(name, settings, copies):
    real, syn = clouds(classes=3, real=8, syn=3)
    before, after = (
        loss_and_gradient(name, real, syn, **settings),
        loss_and_gradient(name, real.repeat(1, copies, 1), syn, **settings),
    )
    for earlier, later in zip(before, after, strict=True):
        torch.testing.assert_close(earlier, later, **CLOSE)


@every_loss
@pytest.mark.parametrize(
    ("classes", "n", "m"), [(3, 9, 4), (3, 4, 9), (3, 5, 5), (3, 6, 1), (3, 1, 6), (3, 1, 1), (1, 6, 2), (1, 1, 1)]
)
def test_any_sizes_give_one_finite_loss_a_class(name, settings, classes, n, m):
    for dtype in (torch.float32, torch.float64):
        real, syn = clouds(classes=classes, real=n, syn=m, dtype=dtype)
        value, gradient = loss_and_gradient(name, real, syn, **settings)
        assert (value.shape, value.dtype, gradient.shape) == ((classes,), dtype, (classes, m, 5))
        assert value.isfinite().all()
        assert gradient.isfinite().all()
        assert (gradient != 0).any()


@every_loss
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("kind", coincidences())
def test_coincident_points_give_a_finite_loss_and_gradient(name, settings, kind, dtype):
    real, syn = (points.to(dtype) for points in coincidences()[kind])
    value, gradient = loss_and_gradient(name, real, syn, **settings)
    assert value.isfinite().all()
    assert gradient.isfinite().all()


@every_loss
@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
@pytest.mark.parametrize("side", ["real", "syn"])
def test_a_feature_that_is_no_finite_number_makes_the_loss_of_its_class_none(name, settings, side, value):
    real, syn = clouds(classes=3)
    (real if side == "real" else syn)[1, 2, 0] = value
    assert loss(name, real, syn, **settings).isfinite().tolist() == [True, False, True]


@every_loss
def test_no_class_s_loss_depends_on_another_s_points(name, settings):
    # To less than float32 resolves; the sizes are those of a small run.
    real, syn = clouds(classes=3, real=64, syn=10, dim=32)
    other_real, other_syn = real.clone(), syn.clone()
    other_real[1:, 0] *= 10  # an outlier
    other_syn[2] += 3
    before, after = loss_and_gradient(name, real, syn, **settings), loss_and_gradient(name, other_real, other_syn, **settings)
    torch.testing.assert_close(after[0][0], before[0][0], rtol=1e-7, atol=0)
    torch.testing.assert_close(after[1][0], before[1][0], rtol=0, atol=1e-7 * float(before[1][0].abs().max()))
    assert (after[0][1:] != before[0][1:]).all()


@every_loss
def test_gradient_flows_through_syn_into_the_caller_s_graph_and_nowhere_else(name, settings):
    real, syn = clouds(real=8, syn=4)
    images = syn.clone().requires_grad_()
    features = 2 * images
    real_before, features_before, versions = real.clone(), features.detach().clone(), (real._version, features._version)
    value = loss(name, real, features, **settings)
    assert value.requires_grad
    assert images.grad is None  # no backward pass of the caller's graph
    assert torch.equal(real, real_before)
    assert torch.equal(features.detach(), features_before)
    assert (real._version, features._version) == versions  # nothing was written in place
    value.sum().backward()
    _, gradient = loss_and_gradient(name, real, syn * 2, **settings)
    torch.testing.assert_close(images.grad, 2 * gradient, **CLOSE)
    assert real.grad is None
    assert not real.requires_grad


@every_loss
def test_without_a_gradient_to_take_the_loss_is_the_same(name, settings):
    real, syn = clouds()
    expected, _ = loss_and_gradient(name, real, syn, **settings)
    value = loss(name, real, syn, **settings)
    assert not value.requires_grad
    assert torch.equal(value, expected)


@every_loss
def test_a_loss_inside_no_grad_leaves_autograd_off(name, settings):
    real, syn = clouds()
    syn.requires_grad_()
    with torch.no_grad():
        loss(name, real, syn, **settings)
        assert not torch.is_grad_enabled()
    assert torch.is_grad_enabled()


@every_loss
def test_no_global_state_is_touched(name, settings):
    def state():
        kind, keys, *position = np.random.get_state()  # noqa: NPY002  (the global one is what must not move)
        others = (torch.get_num_threads(), torch.get_default_dtype(), torch.is_grad_enabled(), random.getstate())
        others += (kind, position)
        return others, torch.get_rng_state(), torch.from_numpy(keys.astype(np.int64))

    before = state()
    loss_and_gradient(name, *clouds(), **settings)
    others, *streams = state()
    assert others == before[0]
    assert all(torch.equal(after, earlier) for after, earlier in zip(streams, before[1:], strict=True))


@every_loss
@pytest.mark.parametrize("inside", [False, True], ids=["outside an engine", "inside an engine"])
def test_the_process_keeps_its_number_of_threads(name, settings, inside, monkeypatch):
    # Outside an engine it is not even changed for a while; inside it is the engine's, which restores it.
    requests = []
    set_num_threads = torch.set_num_threads
    monkeypatch.setattr(torch, "set_num_threads", lambda number: (requests.append(number), set_num_threads(number)))
    before = torch.get_num_threads()
    try:
        set_num_threads(3)
        if inside:
            with Workers(2) as workers, workers.serving():
                loss_and_gradient(name, *clouds(), **settings)
        else:
            loss_and_gradient(name, *clouds(), **settings)
            assert requests == []
        assert torch.get_num_threads() == 3
    finally:
        set_num_threads(before)


@every_loss
def test_the_generator_is_the_only_source_of_chance(name, settings):
    real, syn = clouds(classes=3, real=12, syn=5, dtype=torch.float32)
    torch.manual_seed(1)
    first = loss_and_gradient(name, real, syn, seed=4, **settings)
    torch.manual_seed(2)
    again = loss_and_gradient(name, real, syn, seed=4, **settings)
    assert all(torch.equal(*pair) for pair in zip(first, again, strict=True))


@every_loss
def test_a_layout_in_memory_means_nothing(name, settings):
    real, syn = clouds(classes=3, real=6, syn=4)
    strided = [points.transpose(0, 1).contiguous().transpose(0, 1) for points in (real, syn)]
    assert not strided[0].is_contiguous()
    for earlier, later in zip(
        loss_and_gradient(name, real, syn, **settings), loss_and_gradient(name, *strided, **settings), strict=True
    ):
        torch.testing.assert_close(earlier, later, **CLOSE)


def draws(name, settings):
    """Return whether a loss draws random numbers: it is another loss at the next call, as of new critics."""
    stream = generator()
    METHODS[name].objective(**settings)(*clouds(), generator=stream)
    return not torch.equal(stream.get_state(), generator().get_state())


@pytest.mark.parametrize(("name", "settings"), [case for case in VARIANTS.values() if not draws(*case)])
def test_a_small_step_against_the_gradient_lowers_the_loss(name, settings):
    # Whatever is held fixed: this is what the matching loop does with it.
    real, syn = clouds(classes=3, real=32, syn=4)
    value, gradient = loss_and_gradient(name, real, syn, **settings)
    step = 1e-3 / float(gradient.norm())
    assert loss(name, real, syn - step * gradient, **settings).sum() < value.sum()


def test_settings_are_given_by_keyword_only_and_no_others_are_taken():
    for name in LOSSES:
        with pytest.raises(TypeError):
            METHODS[name].objective(1)
        with pytest.raises(UsageError, match="no_such_setting"):
            METHODS[name].objective(no_such_setting=1)


def test_importing_the_losses_and_making_them_imports_no_torch():
    code = (
        "import sys; from methods import METHODS\n"
        f"print([name for name in {list(LOSSES)} if METHODS[name].objective() and 'torch' in sys.modules])"
    )
    process = subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True, capture_output=True, text=True)
    assert process.stdout.strip() == "[]"
