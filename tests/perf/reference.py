"""The reference: what the papers' codes do, written as they are, in per-class float32 loops of modules.

It is what the fast paths are measured against, and what they must agree with: default layout (contiguous NCHW), eager, no
batching over classes, no mixed precision, no chunks. Only its draws are handed in, so that both sides see the same ones. (It
runs in the same process, so the suite's setting of glibc's allocator holds for it too. Its maps of 100 MB are fresh
memory at each call, and what that costs depends on the state of the machine: on one virtual machine the same 2,560 images took
it from 1.1 s, after an hour of use, to 2.7 s, soon after its start. The fast paths, which reuse small maps, did not vary so.)
"""

from __future__ import annotations

import math

import ot
import torch
import torch.nn.functional as F
from geomloss import SamplesLoss
from torch import nn


class ConvNet(nn.Module):
    """ConvNet as DC, DSA and DM build it: Conv 3x3, GroupNorm with a group a channel, ReLU, AvgPool; then a linear layer."""

    def __init__(self, channels, size, classes, *, width, depth):
        super().__init__()
        layers, inputs, side = [], channels, size
        for block in range(depth):
            padding = 3 if channels == 1 and block == 0 else 1
            side += 2 * padding - 2
            layers += [nn.Conv2d(inputs, width, kernel_size=3, padding=padding), nn.GroupNorm(width, width, affine=True)]
            layers += [nn.ReLU(inplace=True), nn.AvgPool2d(kernel_size=2, stride=2)]
            inputs, side = width, side // 2
        self.features = nn.Sequential(*layers)
        self.classifier = nn.Linear(width * side * side, classes)

    def embed(self, images):
        return self.features(images).flatten(1)

    def forward(self, images):
        return self.classifier(self.embed(images))


def reference_network(network, parameters):
    """Return the module of the shape of our `network` that holds `parameters`, in their dtype."""
    made = ConvNet(network.channels, network.size, network.classes, width=network.width, depth=network.depth)
    made.to(parameters[0].dtype)
    with torch.no_grad():
        for own, given in zip(made.parameters(), parameters, strict=True):
            own.copy_(given)
    return made


def augment(images, operation, u):
    """Return `images` `[n, channels, H, W]` changed by one DSA operation, its parameters from numbers `u` `[n, 3]` in [0, 1).

    Siamese, as in DSA's code with `param.Siamese`, where the rows of `u` are alike.
    """
    count, _, height, width = images.shape
    first, second, third = u.to(images.dtype)[:, :, None, None, None].unbind(1)  # each [n, 1, 1, 1]
    where, rows, columns = torch.meshgrid(torch.arange(count), torch.arange(height), torch.arange(width), indexing="ij")
    if operation == "color":
        images = images + (first - 0.5)
        grey = images.mean(dim=1, keepdim=True)
        images = (images - grey) * (second * 2) + grey
        mean = images.mean(dim=[1, 2, 3], keepdim=True)
        return (images - mean) * (third + 0.5) + mean
    if operation == "crop":
        down, right = (
            _whole(u[:, at], 2 * int(side / 8 + 0.5) + 1, int(side / 8 + 0.5)) for at, side in ((0, height), (1, width))
        )
        rows, columns = torch.clamp(rows + down + 1, 0, height + 1), torch.clamp(columns + right + 1, 0, width + 1)
        padded = F.pad(images, [1, 1, 1, 1])
        return padded.permute(0, 2, 3, 1).contiguous()[where, rows, columns].permute(0, 3, 1, 2).contiguous()
    if operation == "cutout":
        tall, wide = int(height / 2 + 0.5), int(width / 2 + 0.5)
        where, rows, columns = torch.meshgrid(torch.arange(count), torch.arange(tall), torch.arange(wide), indexing="ij")
        rows = torch.clamp(rows + _whole(u[:, 0], height + 1 - tall % 2, tall // 2), 0, height - 1)
        columns = torch.clamp(columns + _whole(u[:, 1], width + 1 - wide % 2, wide // 2), 0, width - 1)
        mask = torch.ones(count, height, width, dtype=images.dtype)
        mask[where, rows, columns] = 0
        return images * mask.unsqueeze(1)
    if operation == "flip":
        return torch.where(first < 0.5, images.flip(3), images)
    zero = torch.zeros(count, dtype=images.dtype)
    first, second = first.flatten(), second.flatten()
    if operation == "scale":
        low, high = 1 / 1.2, 1.2
        theta = [[first * (high - low) + low, zero, zero], [zero, second * (high - low) + low, zero]]
    elif operation == "rotate":
        angle = (first - 0.5) * 2 * 15 / 180 * math.pi
        theta = [[torch.cos(angle), -torch.sin(angle), zero], [torch.sin(angle), torch.cos(angle), zero]]
    else:
        raise ValueError(operation)
    stacked = torch.stack([torch.stack(row, 1) for row in theta], 1)  # [n, 2, 3]
    return F.grid_sample(images, F.affine_grid(stacked, list(images.shape), align_corners=False), align_corners=False)


def _whole(u, count, shift):
    """Return the whole numbers 0..count-1 that `u` `[n]` in [0, 1) means, less `shift`, as `[n, 1, 1]`."""
    return ((u * count).long() - shift)[:, None, None]


def mean_loss(real, syn, label):
    """Return DM's loss of one class: |mean real - mean syn|²."""
    return ((real.mean(0) - syn.mean(0)) ** 2).sum()


def matching_iteration(net, images, real, draws, loss, *, velocity=None, lr=1.0, momentum=0.5):
    """Take one iteration of the matching loop on `images` `[C, m, channels, H, W]`, in place; return the loss.

    `real` `[C, n, channels, H, W]` normalised, `draws` an operation and its numbers for each class, `loss` a function of real
    features, synthetic features and the class. The loop is that of DM's code: class by class, features of the real
    images detached, one backward pass of the sum of all classes, one step of SGD.
    """
    for parameter in net.parameters():
        parameter.requires_grad = False
    leaf = images.detach().requires_grad_()
    total = torch.zeros((), dtype=images.dtype)
    for label in range(len(images)):
        own_real, own_syn = real[label], leaf[label]
        if draws.operations:
            operation, u = draws.operations[label], draws.uniforms[label]
            own_real = augment(own_real, operation, u.expand(len(own_real), -1))
            own_syn = augment(own_syn, operation, u.expand(len(own_syn), -1))
        output_real = net.embed(own_real).detach()
        output_syn = net.embed(own_syn)
        total = total + loss(output_real, output_syn, label)
    (slope,) = torch.autograd.grad(total, leaf)
    with torch.no_grad():
        images -= lr * (slope if velocity is None else momentum * velocity + slope)
    return float(total.detach())


def reference_critic(start, label, *, dtype=None):
    """Return class `label` of the critics `start` as a module; its output bias, which cancels, is left out."""
    hidden, dim = start.w1.shape[1:]
    critic = nn.Sequential(nn.Linear(dim, hidden), nn.ReLU(), nn.Linear(hidden, 1, bias=False)).to(dtype or start.w1.dtype)
    with torch.no_grad():
        for own, given in zip(critic.parameters(), (start.w1[label], start.b1[label], start.w2[label][None]), strict=True):
            own.copy_(given)
    return critic


def train_critic(critic, real, syn, *, clip=0.01, steps=100, lr=1e-3):
    """Train one critic as Algorithm 1 reads: ascend mean f(real) - mean f(syn) with Adam, clamp all weights after each step."""
    optimizer = torch.optim.Adam(critic.parameters(), lr=lr, maximize=True)
    for _ in range(steps):
        optimizer.zero_grad()
        (critic(real).mean() - critic(syn).mean()).backward()
        optimizer.step()
        for parameter in critic.parameters():
            parameter.data.clamp_(-clip, clip)
    return critic


def critics_loop(start, real, syn, **settings):
    """Return the trained critic of every class, one class after the other, from the critics `start`."""
    return [train_critic(reference_critic(start, c), real[c], syn[c].detach(), **settings) for c in range(len(real))]


def critic_loss(start, **settings):
    """Return KR's loss of one class, as `matching_iteration` takes it."""

    def loss(real, syn, label):
        critic = train_critic(reference_critic(start, label), real, syn.detach(), **settings)
        return critic(real).mean() - critic(syn).mean()

    return loss


def sinkhorn_loop(real, syn, *, blur=0.01, scaling=0.9):
    """Return geomloss's Sinkhorn loss a class, `[C]`, class after class, the blur relative to the class's median distance."""
    values = []
    for x, y in zip(real, syn, strict=True):
        with torch.no_grad():
            median = float(torch.cdist(x, y).median())
        loss = SamplesLoss("sinkhorn", p=1, blur=blur * median, scaling=scaling, debias=False, backend="tensorized")
        values.append(loss(x, y))
    return torch.stack(values)


def emd_loop(real, syn):
    """Return POT's exact W1 a class, `[C]`, class after class: `ot.emd2` on `ot.dist`'s Euclidean distances."""
    values = []
    for x, y in zip(real, syn, strict=True):
        weights = (torch.full((len(points),), 1 / len(points), dtype=x.dtype) for points in (x, y))
        values.append(ot.emd2(*weights, ot.dist(x, y, metric="euclidean")))
    return torch.stack(values)


def train_network(net, images, labels, generator, augmentation, *, epochs, lr=0.01, momentum=0.9, decay=5e-4, batch=256):
    """Train `net` for `epochs` epochs as DC's `epoch` does: shuffled batches, one DSA operation a batch, autograd, SGD.

    Every image has its own parameters of that operation; the order and the draws come from `generator`, in the
    order in which the suite takes them.
    """
    optimizer = torch.optim.SGD(net.parameters(), lr=lr, momentum=momentum, weight_decay=decay)
    criterion = nn.CrossEntropyLoss()
    for _ in range(epochs):
        order = torch.randperm(len(labels), generator=generator)
        for index in order.split(batch):
            draws = augmentation.draw(generator, len(index), shared=True)
            inputs = images[index]
            if draws.operations:
                inputs = augment(inputs, draws.operations[0], draws.uniforms)
            optimizer.zero_grad()
            criterion(net(inputs), labels[index]).backward()
            optimizer.step()
    return net


def accuracy(net, images, labels, *, batch=256):
    """Return the percentage of images that `net` gets right, in batches of 256."""
    right = 0
    with torch.no_grad():
        for part, part_labels in zip(images.split(batch), labels.split(batch), strict=True):
            right += int((net(part).argmax(1) == part_labels).sum())
    return 100 * right / len(labels)
