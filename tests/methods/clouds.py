"""Point clouds and small helpers that the tests of the objectives share."""

import torch

from methods import METHODS

OBJECTIVES = [name for name, method in METHODS.items() if method.objective is not None]


def _variants():
    """Return each objective as `(name, hyper)`: with its defaults, and with each other choice of each option that is one.

    A lower precision is left out: what holds in exact arithmetic does not show in it.
    """
    found = {}
    for name in OBJECTIVES:
        found[name] = (name, {})
        for key, option in METHODS[name].options().items():
            choices = (False, True) if option.kind is bool else option.choices
            others = [choice for choice in choices if choice not in (option.default, "bf16")]
            found |= {f"{name} {key}={choice}": (name, {key: choice}) for choice in others}
    return found


VARIANTS = _variants()


def clouds(classes=2, real=7, syn=3, dim=5, *, seed=0, dtype=torch.float64):
    """Return Gaussian real and synthetic points, `[C, n, d]` and `[C, m, d]`, in general position, with different means."""
    draw = torch.Generator().manual_seed(seed)
    first = torch.randn(classes, real, dim, generator=draw, dtype=torch.float64)
    second = 0.8 * torch.randn(classes, syn, dim, generator=draw, dtype=torch.float64) + 0.5
    return first.to(dtype), second.to(dtype)


def coincidences():
    """Return pairs of clouds with points on one another, by name, as they occur where the images start as real ones."""
    real, syn = clouds(classes=2, real=6, syn=3)
    first = real[:, :1]
    one_degenerate = real.clone()
    one_degenerate[1] = one_degenerate[1, :1]
    return {
        "every synthetic point is a real one": (real, real[:, :3]),
        "the same cloud": (real, real),
        "one synthetic point, a real one": (real, first),
        "all points in one place": (first.expand(-1, 6, -1), first.expand(-1, 3, -1)),
        "all points at the origin": (torch.zeros_like(real), torch.zeros_like(syn)),
        "one point each, in one place": (first, first),
        "one class in one place, the other not": (one_degenerate, one_degenerate[:, :3]),
        "all real points in one place": (first.expand(-1, 6, -1), syn),
        "all synthetic points in one place": (real, syn[:, :1].expand(-1, 3, -1)),
        "most real points in one place, synthetic ones on them": (torch.cat([first.expand(-1, 5, -1), real[:, 1:2]], 1), first),
    }


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def loss(name, real, syn, *, seed=0, **hyper):
    """Return the objective's loss a class, `[C]`, as anyone outside the suite would ask for it."""
    return METHODS[name].objective(**hyper)(real, syn, generator=generator(seed))


def loss_and_gradient(name, real, syn, *, seed=0, **hyper):
    """Return the loss a class, `[C]`, and the gradient of their sum, `[C, m, d]`."""
    syn = syn.detach().clone().requires_grad_()
    value = loss(name, real, syn, seed=seed, **hyper)
    (slope,) = torch.autograd.grad(value.sum(), syn)
    return value.detach(), slope


def distances(x, y):
    """Return |x_i - y_j| of `x` `[n, d]` and `y` `[m, d]` by a plain double loop."""
    return torch.stack([torch.stack([(a - b).square().sum().sqrt() for b in y]) for a in x])


def central_differences(function, point, *, step=1e-6):
    """Return the slope of the scalar `function` at `point` in every coordinate; in float64 good to about 1e-9.

    Truncation is of order step², rounding of order 1e-16 / step: 1e-6 balances them.
    """
    slope = torch.zeros_like(point)
    for place in range(point.numel()):
        shift = torch.zeros_like(point).flatten()
        shift[place] = step
        shift = shift.view_as(point)
        slope.view(-1)[place] = (function(point + shift) - function(point - shift)) / (2 * step)
    return slope
