"""Weight-clipped critics of the Kantorovich-Rubinstein dual: one hidden layer each, trained one by one or all at once.

The objective is linear in the critic's output, so its gradient has a closed form. Let the rows of Z be the real and synthetic
features, s their weights (1/n and -1/m), H = relu(Z W1ᵀ + b1) the hidden units, and A = 1[H > 0] w2. Then

    dJ/dw2 = Hᵀ s        dJ/db1 = Aᵀ s        dJ/dW1 = (s ⊙ A)ᵀ Z

In the shapes below `...` stands for optional leading class dimensions: nothing for one critic, `C` for the critics of C
classes.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import gcd
from pkgutil import resolve_name
from typing import TYPE_CHECKING, Any, Literal

from bench.lazy import threads, torch

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

Optimizer = Literal["adam", "sgd", "rmsprop"]
_EPSILON = 1e-8
"""The epsilon of Adam and RMSprop, torch's default."""


@dataclass(frozen=True)
class Critics:
    """Critics f = w2 · relu(W1 x + b1): `w1` `[..., h, d]`, `b1` `[..., h]`, `w2` `[..., h]`."""

    w1: Tensor
    b1: Tensor
    w2: Tensor

    def __call__(self, points: Tensor) -> Tensor:
        """Return the values, `[C, n]`, of C critics at `points` `[C, n, d]`."""
        hidden = torch.baddbmm(self.b1[:, None], points, self.w1.transpose(1, 2)).relu()  # [C, n, h]
        return (hidden @ self.w2[:, :, None]).squeeze(2)

    def parameters(self) -> list[Tensor]:
        """Return the three tensors."""
        return [self.w1, self.b1, self.w2]

    def split(self) -> list[Critics]:
        """Return the critic of each class."""
        return [Critics(*tensors) for tensors in zip(*self.parameters(), strict=True)]

    @classmethod
    def stack(cls, critics: Sequence[Critics]) -> Critics:
        """Return the critics of all classes as one; the inverse of `split`."""
        return cls(*(torch.stack(tensors) for tensors in zip(*(critic.parameters() for critic in critics), strict=True)))


def init_critics(like: Tensor, *, hidden: int, generator: torch.Generator) -> Critics:
    """Draw a critic for each class from torch's default for linear layers, U(±1/sqrt(fan in)).

    Args:
        like: features, `[C, n, d]`, whose shape, dtype and device the critics fit.
        hidden: the width of the hidden layer.
        generator: a CPU generator.

    Returns:
        `C` critics.

    """
    classes, _, dim = like.shape
    shapes = ((classes, hidden, dim), dim), ((classes, hidden), dim), ((classes, hidden), hidden)
    tensors = []
    for shape, fan_in in shapes:
        bound = fan_in**-0.5
        tensors.append(torch.empty(shape).uniform_(-bound, bound, generator=generator).to(like, non_blocking=True))
    return Critics(*tensors)


@dataclass(frozen=True, kw_only=True)
class CriticTraining:
    """Full-batch gradient ascent on mean f(real) - mean f(syn), with all parameters clamped after each step.

    Attributes:
        clip: parameters are clamped to [-clip, clip].
        steps: the number of steps.
        lr: the learning rate.
        optimizer: Adam and RMSprop have torch's default moments, (0.9, 0.999) and 0.99, and epsilon 1e-8.
        dtype: that of the matrix products; parameters and moments keep the dtype of the critics.

    """

    clip: float
    steps: int
    lr: float
    optimizer: Optimizer
    dtype: torch.dtype

    def train(self, critics: Critics, real: Tensor, syn: Tensor) -> Critics:
        """Return the trained critics; the arguments stay as they are.

        Args:
            critics: the critics of C classes at their start.
            real: features of the real images, `[C, n, d]`.
            syn: features of the synthetic images, `[C, m, d]`.

        """
        if real.device.type != "cpu":
            return self.train_together(critics, real, syn)
        # A class at a time: its parameters and moments stay in the cache of one core.
        return Critics.stack(threads.map_classes(self.train_together, critics.split(), real, syn))

    def train_together(self, critics: Critics, real: Tensor, syn: Tensor) -> Critics:
        """Return the trained critics of one class, or of several at once.

        Args:
            critics: the critics at their start, `...`.
            real: features of the real images, `[..., n, d]`.
            syn: features of the synthetic images, `[..., m, d]`.

        """
        with torch.no_grad():
            sample = _Sample(real, syn, dtype=self.dtype)
            parameters = _Parameters(critics, dtype=self.dtype)
            gradient = _Gradient(sample, parameters)
            ascent = _ASCENTS[self.optimizer](parameters.values, parameters.gradient, lr=self.lr, unit=sample.unit)
            for _ in range(self.steps):
                gradient.compute()
                parameters.take_gradient()
                ascent.step()
                parameters.clamp(self.clip)
        return parameters.critics()


class _Sample:
    """Real and synthetic points, and weights whose product with a critic's values, times `unit`, is the objective."""

    def __init__(self, real: Tensor, syn: Tensor, *, dtype: torch.dtype) -> None:
        """Join the points; both they and the weights are rounded to `dtype`."""
        n, m = real.shape[-2], syn.shape[-2]
        # Rounded to bfloat16, the weights 1/n and -1/m would not sum to zero. In this unit they are whole numbers, which
        # bfloat16 holds exactly up to 256.
        self.unit = gcd(n, m) / (n * m) if dtype != real.dtype else 1.0
        self.points = torch.cat([real, syn], -2).to(dtype)  # [..., n + m, d]
        weights = torch.cat([real.new_full((n,), 1 / n / self.unit), real.new_full((m,), -1 / m / self.unit)])
        self.weights = weights.to(dtype)[:, None]  # [n + m, 1]


class _Parameters:
    """All parameters in one buffer, `values`, and the gradient in another, so that optimiser and clamp are one pass each.

    W1 is stored transposed, the layout in which both products with it are fastest. `rounded` and `rounded_gradient` are the
    two buffers in the dtype of the products: copies, or the buffers themselves where that is the critics' own dtype. `w1`
    `[..., d, h]`, `b1` and `w2` `[..., h]` are views of the first, `gradient_w1` `[..., d, h]` and `gradient_b1_w2` `[2, ...,
    h]` of the second.
    """

    def __init__(self, critics: Critics, *, dtype: torch.dtype) -> None:
        """Copy the critics' parameters."""
        tensors = [critics.w1.transpose(-2, -1), critics.b1, critics.w2]
        self._shapes = [tensor.shape for tensor in tensors]
        self.values = torch.cat([tensor.flatten() for tensor in tensors])
        self.gradient = torch.empty_like(self.values)
        self.rounded, self.rounded_gradient = self.values.to(dtype), self.gradient.to(dtype)
        self.w1, self.b1, self.w2 = self._views(self.rounded)
        self.gradient_w1 = self._views(self.rounded_gradient)[0]
        self.gradient_b1_w2 = self.rounded_gradient[self.w1.numel() :].view(2, *self.b1.shape)

    def take_gradient(self) -> None:
        """Bring the gradient that was written to the views to the parameters' own dtype."""
        if self.rounded_gradient is not self.gradient:
            self.gradient.copy_(self.rounded_gradient)

    def clamp(self, limit: float) -> None:
        """Clamp all values to [-limit, limit], and round them."""
        self.values.clamp_(-limit, limit)
        if self.rounded is not self.values:
            self.rounded.copy_(self.values)

    def critics(self) -> Critics:
        """Return critics of these parameters."""
        w1, b1, w2 = self._views(self.values)
        return Critics(w1.transpose(-2, -1), b1, w2)

    def _views(self, flat: Tensor) -> list[Tensor]:
        parts = flat.split([shape.numel() for shape in self._shapes])
        return [part.view(shape) for part, shape in zip(parts, self._shapes, strict=True)]


class _Gradient:
    """The gradient of the objective, divided by the sample's unit; see the formulas at the head of this file."""

    def __init__(self, sample: _Sample, parameters: _Parameters) -> None:
        """Allocate A and H, one behind the other, so that both are weighted and summed in one pass."""
        self._points, self._weights, self._parameters = sample.points, sample.weights, parameters
        self._points_transposed = sample.points.transpose(-2, -1)
        self._b1, self._w2 = parameters.b1[..., None, :], parameters.w2[..., None, :]
        self._both = sample.points.new_empty(2, *sample.points.shape[:-1], parameters.w2.shape[-1])  # [2, ..., n + m, h]
        self._active, self._hidden = self._both

    def compute(self) -> None:
        """Write the gradient at the present parameters into their views of it."""
        active, hidden, parameters = self._active, self._hidden, self._parameters
        torch.matmul(self._points, parameters.w1, out=hidden)
        hidden.add_(self._b1).relu_()
        torch.sign(hidden, out=active).mul_(self._w2)
        self._both.mul_(self._weights)
        torch.sum(self._both, -2, out=parameters.gradient_b1_w2)  # in bfloat16 a product of a matrix with a vector is slow
        torch.matmul(self._points_transposed, active, out=parameters.gradient_w1)


class _Ascent:
    """Gradient ascent of one tensor, in place, along `unit` · `gradient`, which is written anew before each step.

    Moments are kept of `gradient` itself, so epsilon is divided by the unit; the steps are the same.
    """

    def __init__(self, values: Tensor, gradient: Tensor, *, lr: float, unit: float) -> None:
        """Take the two tensors."""
        self.values, self.gradient, self.lr, self.unit = values, gradient, lr, unit
        self.epsilon = _EPSILON / unit

    def step(self) -> None:
        """Take a step."""
        raise NotImplementedError


class _GradientAscent(_Ascent):
    def step(self) -> None:
        """Take a step of the length lr · gradient."""
        self.values.add_(self.gradient, alpha=self.lr * self.unit)


class _RMSprop(_Ascent):
    def __init__(self, values: Tensor, gradient: Tensor, *, lr: float, unit: float) -> None:
        """Start with moments of zero."""
        super().__init__(values, gradient, lr=lr, unit=unit)
        self._second = torch.zeros_like(values)

    def step(self) -> None:
        """Take a step as `torch.optim.RMSprop` does."""
        self._second.mul_(0.99).addcmul_(self.gradient, self.gradient, value=0.01)
        self.values.addcdiv_(self.gradient, self._second.sqrt().add_(self.epsilon), value=self.lr)


class _Adam(_Ascent):
    """`torch.optim.adam.adam`, the function behind `torch.optim.Adam`: the class itself would cost a tenth of the training.

    After importing it torch deletes the name of the submodule, so that the function has to be looked up by its full name.
    """

    def __init__(self, values: Tensor, gradient: Tensor, *, lr: float, unit: float) -> None:
        """Start with moments of zero, at step 0."""
        super().__init__(values, gradient, lr=lr, unit=unit)
        self._adam = resolve_name("torch.optim.adam:adam")
        count = torch.zeros((), device=values.device)
        self._lists: Any = [values], [gradient], [torch.zeros_like(values)], [torch.zeros_like(values)], [], [count]

    def step(self) -> None:
        """Take a step as `torch.optim.Adam` does."""
        self._adam(
            *self._lists,
            fused=True,
            amsgrad=False,
            beta1=0.9,
            beta2=0.999,
            lr=self.lr,
            weight_decay=0.0,
            eps=self.epsilon,
            maximize=True,
        )


_ASCENTS: dict[Optimizer, type[_Ascent]] = {"adam": _Adam, "sgd": _GradientAscent, "rmsprop": _RMSprop}
