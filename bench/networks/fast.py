"""Faster ways to compute a network's blocks on a processor: the same values within rounding, without a compiler.

torch's own group norm, activation and pooling take more time than the convolutions around them: each passes over maps that do
not fit in the processor's cache, and the gradient of the norm several times. `GroupNorm` and `LayerNorm` replace torch's
modules, and `grey_block` the first block of one-channel images if no gradient is taken. Maps are channels last in memory.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

_NORM_EPS = 1e-5
"""What the norm adds to a variance."""

_CACHED_BYTES = 2 * 2**20
"""Maps of about so many bytes are normalised, activated and pooled before the next: all passes but the first read the cache."""


@dataclass(frozen=True)
class Activation:
    """An activation, element by element.

    Attributes:
        function: returns the values.
        in_place: writes them over its argument.
        gradient: returns the gradient of the argument, from that of the values `[...]` and the argument `[...]`; it writes it
            into `grad_input`, and can be differentiated if that is not given.

    """

    function: Callable[[Tensor], Tensor]
    in_place: Callable[[Tensor], Tensor]
    gradient: Callable[[Tensor, Tensor, Tensor], Tensor]


_aten: Any = torch.ops.aten
_SLOPE = 0.01

IDENTITY = Activation(lambda x: x, lambda x: x, lambda g, x, out: out.copy_(g))
RELU = Activation(F.relu, torch.relu_, lambda g, x, out: _aten.threshold_backward.grad_input(g, x, 0, grad_input=out))
LEAKY_RELU = Activation(
    lambda x: F.leaky_relu(x, _SLOPE),
    lambda x: F.leaky_relu_(x, _SLOPE),
    lambda g, x, out: _aten.leaky_relu_backward.grad_input(g, x, _SLOPE, False, grad_input=out),
)
SIGMOID = Activation(
    torch.sigmoid, torch.sigmoid_, lambda g, x, out: _aten.sigmoid_backward.grad_input(g, x.sigmoid(), grad_input=out)
)


def channels_last(images: Tensor) -> Tensor:
    """Return `images` `[N, channels, H, W]` channels last in memory; all maps of a network follow.

    With one channel both orders are the same in memory, and torch takes the strides for the other one: these say which it is.
    """
    if images.shape[1] == 1:
        return images.squeeze(1).contiguous().unsqueeze(3).permute(0, 3, 1, 2)
    return images.contiguous(memory_format=torch.channels_last)


class GroupNorm(nn.GroupNorm):
    """`torch.nn.GroupNorm` of maps, together with the activation and the average pooling that follow it.

    A group of one channel is instance norm. With x the maps, m and v the mean and variance of x in a group of a map,

        y = activation(x · f + o),   f = scale / sqrt(v + eps),   o = shift - m · f,

    and `y` is averaged over squares of 2x2 if asked for. On a processor the gradient is computed in closed form: with d the
    gradient of x · f + o, x' = (x - m) / sqrt(v + eps), and means over the group,

        dx = (scale · d - mean(scale · d) - x' · mean(scale · d · x')) / sqrt(v + eps).

    Elsewhere, under `torch.func.vmap` and in compiled graphs torch's own functions compute it.
    """

    def forward(self, maps: Tensor, activation: Activation = IDENTITY, *, averaged: bool = False) -> Tensor:
        """Return the maps `[N, C, s, s]`, normalised and activated; `[N, C, s//2, s//2]` if they are averaged."""
        arguments = (maps, self.weight, self.bias, self.num_groups, activation, averaged)
        if maps.device.type != "cpu" or torch.compiler.is_compiling():
            return _by_torch(*arguments)
        pooled: Tensor = _GroupNorm.apply(*arguments)[0]
        return pooled


class LayerNorm(nn.LayerNorm):
    """`torch.nn.LayerNorm` of whole maps `[N, C, s, s]`, computed channels last: torch's would copy them to another order."""

    def forward(self, maps: Tensor) -> Tensor:
        """Return the normalised maps, channels last in memory."""
        channels, height, width = self.normalized_shape
        weight, bias = (tensor.permute(1, 2, 0) for tensor in (self.weight, self.bias))
        last = F.layer_norm(maps.permute(0, 2, 3, 1), (height, width, channels), weight, bias, self.eps)
        return last.permute(0, 3, 1, 2)


def average_pooled(maps: Tensor) -> Tensor:
    """Return the means of 2x2 squares of `maps` `[N, C, s, s]`, as `avg_pool2d` does: `[N, C, s//2, s//2]`.

    In compiled graphs the gradient of `mean` is a copy, which the compiler fuses with the gradient of the norm; that of
    `avg_pool2d` is not fused, and costs a tenth of a training step.
    """
    if not torch.compiler.is_compiling():
        return F.avg_pool2d(maps, 2)
    side = maps.shape[3] // 2
    squares: Tensor = maps[..., : 2 * side, : 2 * side].unflatten(3, (side, 2)).unflatten(2, (side, 2))
    return squares.mean((3, 5))


def _by_torch(maps: Tensor, scale: Tensor, shift: Tensor, groups: int, activation: Activation, averaged: bool) -> Tensor:
    """Return what `GroupNorm.forward` does, by torch's own functions."""
    values = activation.function(F.group_norm(maps, groups, scale, shift, _NORM_EPS))
    return average_pooled(values) if averaged else values


class _GroupNorm(torch.autograd.Function):
    """The closed form, some maps at a time; it returns the means and deviations too, for its gradient."""

    @staticmethod
    def forward(
        maps: Tensor, scale: Tensor, shift: Tensor, groups: int, activation: Activation, averaged: bool
    ) -> tuple[Tensor, Tensor, Tensor]:
        x = maps.permute(0, 2, 3, 1).contiguous()  # [N, s, s, C]
        side = x.shape[2] // 2
        out = x.new_empty(len(x), x.shape[1] // 2, side, x.shape[3]) if averaged else torch.empty_like(x)
        moments = []
        for some in _slices(len(x), x[0].numel() * x.element_size()):
            pixels = x[some].flatten(1, 2)  # [n, s², C]
            values = torch.empty_like(pixels) if averaged else out[some].flatten(1, 2)
            mean, rstd = _moments(pixels, groups, scratch=values)
            factor, offset = _affine(mean, rstd, scale, shift, x.dtype)
            activation.in_place(torch.addcmul(offset, pixels, factor, out=values))
            if averaged:
                out[some] = _averages(values.unflatten(1, x.shape[1:3]))
            moments.append((mean, rstd))
        means, rstds = (torch.cat(tensors) for tensors in zip(*moments, strict=True))
        return out.permute(0, 3, 1, 2), means, rstds

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
        maps, scale, shift, *ctx.settings = inputs
        ctx.save_for_backward(maps, scale, shift, *output[1:])
        ctx.mark_non_differentiable(*output[1:])

    @staticmethod
    def backward(ctx: Any, gradient: Tensor, *_: Tensor) -> tuple[Tensor | None, ...]:
        maps, scale, shift, means, rstds = ctx.saved_tensors
        groups, activation, averaged = ctx.settings
        nothing = (None, None, None)
        if torch.is_grad_enabled():  # this gradient will be differentiated itself
            values = _by_torch(maps, scale, shift, *ctx.settings)
            return (*torch.autograd.grad(values, (maps, scale, shift), gradient, create_graph=True), *nothing)
        x, g = (tensor.permute(0, 2, 3, 1).contiguous() for tensor in (maps, gradient))
        if averaged:
            g = g * 0.25
        dx, d_affine = torch.empty_like(x), means.new_empty(2, *means.shape)
        for some in _slices(len(x), x[0].numel() * x.element_size()):
            pixels, out = x[some].flatten(1, 2), dx[some].flatten(1, 2)
            mean, rstd = means[some], rstds[some]
            factor, offset = _affine(mean, rstd, scale, shift, x.dtype)
            values = torch.addcmul(offset, pixels, factor, out=out).unflatten(1, x.shape[1:3])
            d = _gradient_of_values(g[some], values, activation, averaged=averaged).flatten(1, 2)  # [n, s², C]
            d_shift = _total(d)
            d_scale = (_total(torch.mul(d, pixels, out=out)) - mean * d_shift) * rstd
            shared, along = (_over_groups(scale * total / pixels.shape[1], groups) for total in (d_shift, d_scale))
            slope = -rstd * rstd * along
            constant, slope = (t.to(x.dtype)[:, None] for t in (-rstd * shared - slope * mean, slope))
            torch.addcmul(constant, pixels, slope, out=out).addcmul_(d, factor)
            d_affine[0, some], d_affine[1, some] = d_scale, d_shift
        return dx.permute(0, 3, 1, 2), *d_affine.sum(1).to(scale.dtype), *nothing

    @staticmethod
    def vmap(info: Any, in_dims: tuple[Any, ...], maps: Tensor, *arguments: Any) -> tuple[Any, Any]:
        """Return the values by torch's own functions, which can be mapped over networks, and no moments."""
        del info
        values = torch.vmap(lambda *inputs: _by_torch(*inputs, *arguments[2:]), in_dims[:3])(maps, *arguments[:2])
        return (values, values.new_empty(0), values.new_empty(0)), (0, None, None)


def _slices(images: int, image_bytes: int) -> list[slice]:
    """Return slices of a number of images whose maps, of `image_bytes` each, stay in cache; one slice in compiled graphs."""
    size = images if torch.compiler.is_compiling() else max(1, _CACHED_BYTES // image_bytes)
    return [slice(begin, begin + size) for begin in range(0, images, size)]


def _total(pixels: Tensor) -> Tensor:
    """Return the sum over the pixels `[n, s², C]`: `[n, C]`, in float32 at least."""
    if pixels.dtype == torch.bfloat16:  # torch rounds its sums to bfloat16 again, so they are of one row of pixels each
        pixels = pixels.unflatten(1, (-1, math.isqrt(pixels.shape[1]))).sum(2).float()
    return pixels.sum(1)


def _over_groups(values: Tensor, groups: int) -> Tensor:
    """Return the mean over the channels of a group for each of them, both `[n, C]`."""
    channels = values.shape[1]
    if groups == channels:
        return values
    spread: Tensor = values.unflatten(1, (groups, -1)).mean(2).repeat_interleave(channels // groups, 1)
    return spread


def _moments(pixels: Tensor, groups: int, *, scratch: Tensor) -> tuple[Tensor, Tensor]:
    """Return each channel's mean and reciprocal deviation in its group, `[n, C]`; `scratch` is overwritten."""
    mean = _over_groups(_total(pixels) / pixels.shape[1], groups)
    square = _over_groups(_total(torch.mul(pixels, pixels, out=scratch)) / pixels.shape[1], groups)
    return mean, (square - mean * mean).clamp_(min=0).add_(_NORM_EPS).rsqrt_()


def _affine(mean: Tensor, rstd: Tensor, scale: Tensor, shift: Tensor, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """Return the norm's factor and offset of each channel of each image, `[n, 1, C]`."""
    factor = rstd * scale
    return factor.to(dtype)[:, None], (shift - mean * factor).to(dtype)[:, None]


def _averages(maps: Tensor) -> Tensor:
    """Return the means of 2x2 squares of `maps` `[n, h, w, C]`: `[n, h//2, w//2, C]`."""
    height, width = (side // 2 * 2 for side in maps.shape[1:3])
    even, odd = maps[:, :height:2], maps[:, 1:height:2]
    sums = even[:, :, :width:2] + even[:, :, 1:width:2]
    return sums.add_(odd[:, :, :width:2]).add_(odd[:, :, 1:width:2]).mul_(0.25)


def _gradient_of_values(gradient: Tensor, values: Tensor, activation: Activation, *, averaged: bool) -> Tensor:
    """Return the gradient of the activation's arguments `values` `[n, h, w, C]`.

    Args:
        gradient: of what the activation returned; if that was averaged, a quarter of the gradient `[n, h//2, w//2, C]` of the
            averages.
        values: the arguments.
        activation: the activation.
        averaged: whether squares of 2x2 were averaged. A last odd row or column is in none, and has no gradient.

    """
    if not averaged:
        return activation.gradient(gradient, values, torch.empty_like(values))
    height, width = gradient.shape[1:3]
    odd = (2 * height, 2 * width) != values.shape[1:3]
    out = torch.zeros_like(values) if odd else torch.empty_like(values)
    squares = [t[:, : 2 * height, : 2 * width].unflatten(2, (width, 2)).unflatten(1, (height, 2)) for t in (values, out)]
    activation.gradient(gradient[:, :, None, :, None].expand_as(squares[0]), *squares)
    return out


def grey_block(images: Tensor, weight: Tensor, scale: Tensor, shift: Tensor, activation: Activation) -> Tensor:
    """Return the first block's pooled maps of one-channel images, in half the time; for passes without a gradient.

    A block is a convolution (3x3, padding 3), instance norm, activation and average pooling. The convolution is linear, so the
    mean and the variance of each of its channels follow from those of the 9 pixels under the kernel, the taps (a bias would
    cancel). Convolution and norm then become one matrix product, with weights of each image's own, and the maps, half a
    megabyte an image, are passed over once instead of three times. With a gradient, or with three channels (27 taps), this is
    slower.

    Args:
        images: `[N, 1, H, H]`; the maps before pooling have the side s = H + 4.
        weight: of the convolution, `[width, 1, 3, 3]`.
        scale: of the norm, `[width]`.
        shift: of the norm, `[width]`.
        activation: of the block.

    Returns:
        The maps `[N, width, s/2, s/2]`, channels last in memory.

    """
    map_side = images.shape[3] + 4
    taps = F.unfold(images, 3, padding=3)  # [N, 9, s²]
    precise_taps = taps.float() if taps.dtype == torch.bfloat16 else taps
    mean = precise_taps.mean(2, keepdim=True)  # [N, 9, 1]
    centred = precise_taps - mean
    covariance = centred @ centred.transpose(1, 2) / centred.shape[2]  # [N, 9, 9]
    kernels = weight.flatten(1).to(precise_taps.dtype)  # [width, 9]
    variance = ((kernels @ covariance) * kernels).sum(2)  # [N, width]
    factor = scale * (variance + _NORM_EPS).rsqrt()
    offset = shift - factor * (kernels @ mean).squeeze(2)
    weights = (kernels[None] * factor[:, :, None]).transpose(1, 2)  # [N, 9, width]
    taps, weights, offset = taps.transpose(1, 2), weights.to(taps.dtype), offset[:, None].to(taps.dtype)
    pooled = []
    for some in _slices(len(images), map_side**2 * len(weight) * images.element_size()):
        maps = activation.in_place(torch.baddbmm(offset[some], taps[some], weights[some]))  # [n, s², width]
        pooled.append(_averages(maps.unflatten(1, (map_side, map_side))))
    return torch.cat(pooled).permute(0, 3, 1, 2)
