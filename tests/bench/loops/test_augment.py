"""Siamese augmentation: every operation against a loop over pixels, and what siamese means."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F

from bench.cells.protocol import ALL_OPERATIONS
from bench.errors import UsageError
from bench.loops.augment import OPERATIONS, UNIFORMS, Augmentation


def expected_image(name: str, image: torch.Tensor, u: list[float]) -> torch.Tensor:
    """Return one image `[channels, H, W]` changed as the recipe says, written pixel by pixel where that is feasible."""
    channels, height, width = image.shape
    if name == "color":
        x = image + (u[0] - 0.5)
        grey = x.mean(0, keepdim=True)
        x = (x - grey) * (u[1] * 2) + grey
        return (x - x.mean()) * (u[2] + 0.5) + x.mean()
    if name == "flip":
        return image.flip(-1) if u[0] < 0.5 else image
    out = torch.zeros_like(image)
    if name == "crop":
        reach_y, reach_x = int(height / 8 + 0.5), int(width / 8 + 0.5)
        dy, dx = int(u[0] * (2 * reach_y + 1)) - reach_y, int(u[1] * (2 * reach_x + 1)) - reach_x
        for row in range(height):
            for column in range(width):
                if 0 <= row + dy < height and 0 <= column + dx < width:
                    out[:, row, column] = image[:, row + dy, column + dx]
        return out
    if name == "cutout":
        size_y, size_x = int(height / 2 + 0.5), int(width / 2 + 0.5)
        y, x = int(u[0] * (height + 1 - size_y % 2)), int(u[1] * (width + 1 - size_x % 2))
        out = image.clone()
        for row in range(y - size_y // 2, y - size_y // 2 + size_y):
            for column in range(x - size_x // 2, x - size_x // 2 + size_x):
                if 0 <= row < height and 0 <= column < width:
                    out[:, row, column] = 0
        return out
    if name == "scale":
        sx, sy = (value * (1.2 - 1 / 1.2) + 1 / 1.2 for value in u[:2])
        theta = torch.tensor([[sx, 0, 0], [0, sy, 0]], dtype=torch.float64)
    else:
        angle = (u[0] - 0.5) * 2 * 15 * math.pi / 180
        cos, sin = math.cos(angle), math.sin(angle)
        theta = torch.tensor([[cos, -sin, 0], [sin, cos, 0]], dtype=torch.float64)
    grid = F.affine_grid(theta[None].to(image), [1, channels, height, width], align_corners=False)
    return F.grid_sample(image[None], grid, align_corners=False)[0]


@pytest.mark.parametrize("name", OPERATIONS)
@pytest.mark.parametrize("shape", [(1, 8, 8), (3, 12, 12), (1, 28, 28)])
def test_an_operation_is_that_of_a_loop_over_pixels(name, shape):
    generator = torch.Generator().manual_seed(0)
    images = torch.randn(5, 2, *shape, generator=generator, dtype=torch.float64)
    u = torch.rand(5, UNIFORMS, generator=generator, dtype=torch.float64)
    changed = OPERATIONS[name](images, u)
    for group in range(5):
        for image in range(2):
            expected = expected_image(name, images[group, image], u[group].tolist())
            torch.testing.assert_close(changed[group, image], expected, atol=1e-6, rtol=1e-6)


def test_a_group_keeps_its_own_operation_and_order():
    augmentation = Augmentation.parse(ALL_OPERATIONS, flip=True)
    generator = torch.Generator().manual_seed(3)
    draws = augmentation.draw(generator, 12, shared=False)
    assert len(set(draws.operations)) > 2
    images = torch.randn(12, 3, 1, 8, 8, generator=generator)
    changed = augmentation.apply(images, draws)
    for group, name in enumerate(draws.operations):
        for image in range(3):
            expected = expected_image(name, images[group, image], draws.uniforms[group].tolist())
            torch.testing.assert_close(changed[group, image], expected, atol=1e-5, rtol=1e-5)


def test_real_and_synthetic_images_of_a_class_are_changed_alike():
    augmentation = Augmentation.parse(ALL_OPERATIONS, flip=True)
    draws = augmentation.draw(torch.Generator().manual_seed(1), 10, shared=False)
    same = torch.randn(10, 1, 3, 32, 32)
    real = augmentation.apply(same.expand(10, 7, 3, 32, 32), draws)
    synthetic = augmentation.apply(same.expand(10, 2, 3, 32, 32), draws)
    # To rounding: grid_sample may order its sums otherwise for another number of images.
    torch.testing.assert_close(real[:, :2], synthetic, atol=1e-6, rtol=1e-6)


def test_shared_draws_one_operation_with_parameters_of_each_image():
    augmentation = Augmentation.parse("crop_cutout", flip=True)
    draws = augmentation.draw(torch.Generator().manual_seed(0), 50, shared=True)
    assert len(set(draws.operations)) == 1
    assert len({tuple(row) for row in draws.uniforms.tolist()}) == 50


def test_operations_are_drawn_uniformly():
    augmentation = Augmentation.parse(ALL_OPERATIONS, flip=True)
    draws = augmentation.draw(torch.Generator().manual_seed(0), 6000, shared=False)
    for name in OPERATIONS:
        assert abs(draws.operations.count(name) - 1000) < 5 * math.sqrt(1000)


def test_flip_is_left_out_where_it_changes_the_class():
    assert "flip" not in Augmentation.parse(ALL_OPERATIONS, flip=False).operations
    assert Augmentation.parse("none", flip=True).operations == ()


def test_an_unknown_operation_names_the_nearest():
    with pytest.raises(UsageError, match="did you mean 'rotate'"):
        Augmentation.parse("color_rotat", flip=True)


def test_none_changes_nothing():
    images = torch.randn(2, 3, 1, 8, 8)
    augmentation = Augmentation.parse("none", flip=True)
    assert torch.equal(augmentation.apply(images, augmentation.draw(torch.Generator(), 2, shared=True)), images)


def test_gradients_flow_to_every_image():
    augmentation = Augmentation.parse(ALL_OPERATIONS, flip=True)
    images = torch.randn(12, 2, 1, 8, 8, dtype=torch.float64, requires_grad=True)
    draws = augmentation.draw(torch.Generator().manual_seed(0), 12, shared=False)
    (slope,) = torch.autograd.grad(augmentation.apply(images, draws).square().sum(), images)
    assert (slope.flatten(1).abs().sum(1) > 0).all()
