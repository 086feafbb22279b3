"""Point clouds and small helpers that the tests of the losses share."""

from typing import Literal, get_args, get_origin

import torch

from bench.cells.method import FeatureMatching
from methods import METHODS

LOSSES = {name: method for name, method in METHODS.items() if isinstance(method, FeatureMatching)}


def _choices(field):
    """Return the values of a setting that is a choice."""
    if field.annotation is bool:
        return False, True
    return get_args(field.annotation) if get_origin(field.annotation) is Literal else ()


def _variants():
    """Return each loss as `(name, settings)`: with its defaults, and with each other value of each setting that is a choice.

    A precision is left out: outside a run the default is that of the points, and what holds in exact arithmetic does not show
    in a lower one.
    """
    variants = {}
    for name, method in LOSSES.items():
        variants[name] = (name, {})
        for key, field in method.settings.model_fields.items():
            others = [choice for choice in _choices(field) if choice != field.default and key != "precision"]
            variants |= {f"{name} {key}={choice}": (name, {key: choice}) for choice in others}
    return variants


VARIANTS = _variants()


def clouds(classes=2, real=7, syn=3, dim=5, *, seed=0, dtype=torch.float64):
    """Return Gaussian real and synthetic points, `[C, n, d]` and `[C, m, d]`, in general position, with different means."""
    source = generator(seed)
    first = torch.randn(classes, real, dim, generator=source, dtype=torch.float64)
    second = 0.8 * torch.randn(classes, syn, dim, generator=source, dtype=torch.float64) + 0.5
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


def loss(name, real, syn, *, seed=0, **settings):
    """Return the loss of each class, `[C]`, as anyone outside the suite would ask for it."""
    return METHODS[name].objective(**settings)(real, syn, generator=generator(seed))


def loss_and_gradient(name, real, syn, *, seed=0, **settings):
    """Return the loss of each class, `[C]`, and the gradient of their sum, `[C, m, d]`."""
    syn = syn.detach().clone().requires_grad_()
    value = loss(name, real, syn, seed=seed, **settings)
    (gradient,) = torch.autograd.grad(value.sum(), syn)
    return value.detach(), gradient


def distances(x, y):
    """Return |x_i - y_j| of `x` `[n, d]` and `y` `[m, d]` by a double loop."""
    return torch.stack([torch.stack([(a - b).square().sum().sqrt() for b in y]) for a in x])


def central_differences(function, point, *, step=1e-6):
    """Return the gradient of the scalar `function` at `point`, coordinate by coordinate; in float64 good to about 1e-9.

    Truncation is of order step², rounding of order 1e-16 / step: 1e-6 balances them.
    """
    gradient = torch.zeros_like(point)
    for index in range(point.numel()):
        shift = torch.zeros_like(point).flatten()
        shift[index] = step
        shift = shift.view_as(point)
        gradient.view(-1)[index] = (function(point + shift) - function(point - shift)) / (2 * step)
    return gradient
