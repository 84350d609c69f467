"""The spatial transformer equals torch's operators and gradients, and numbers worked by hand."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from coursekit.networks import (
    ParallelTransformers,
    SpatialTransformer,
    affine_grid,
    attention_matrix,
    bilinear_gradient,
    bilinear_sample,
    distort,
    to_pixels,
)

CONVENTIONS = pytest.mark.parametrize("align_corners", [False, True])
IDENTITY = torch.tensor([[[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]]], dtype=torch.float64)


@pytest.fixture
def images():
    return torch.rand(3, 2, 5, 7, dtype=torch.float64, generator=torch.Generator().manual_seed(0))


@pytest.fixture
def grid():
    """Positions inside, across the edge and far outside of the map."""
    random = torch.rand(3, 6, 4, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    return random * 4 - 2


@pytest.mark.filterwarnings("ignore:Since version 1.3.0")  # torch, on maps one pixel wide
@CONVENTIONS
@pytest.mark.parametrize("size", [(4, 6), (1, 1), (5, 1)])
def test_affine_grid_equals_torch(size, align_corners):
    theta = torch.randn(3, 2, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    expected = F.affine_grid(theta, [3, 1, *size], align_corners=align_corners)
    torch.testing.assert_close(affine_grid(theta, size, align_corners), expected)


@CONVENTIONS
def test_bilinear_sample_equals_torch_also_outside_of_the_map(images, grid, align_corners):
    expected = F.grid_sample(images, grid, align_corners=align_corners)
    torch.testing.assert_close(bilinear_sample(images, grid, align_corners), expected)


@CONVENTIONS
def test_derived_gradients_equal_autograd_through_torch(images, grid, align_corners):
    images.requires_grad_()
    grid.requires_grad_()
    output = F.grid_sample(images, grid, align_corners=align_corners)
    upstream = torch.randn(output.shape, dtype=torch.float64)
    expected = torch.autograd.grad(output, (images, grid), upstream)
    derived = bilinear_gradient(images.detach(), grid.detach(), upstream, align_corners)
    torch.testing.assert_close(derived, expected)


@CONVENTIONS
def test_derived_gradients_equal_torch_where_positions_fall_on_pixels(images, align_corners):
    grid = affine_grid(IDENTITY.expand(3, -1, -1) / 2, (5, 7), align_corners).requires_grad_()
    images.requires_grad_()
    output = bilinear_sample(images, grid, align_corners)
    upstream = torch.ones_like(output)
    expected = torch.autograd.grad(output, (images, grid), upstream)
    derived = bilinear_gradient(images.detach(), grid.detach(), upstream, align_corners)
    torch.testing.assert_close(derived, expected)


@CONVENTIONS
def test_sampler_passes_a_finite_difference_check(images, grid, align_corners):
    inputs = (images[:1].requires_grad_(), grid[:1, :3].requires_grad_())
    assert torch.autograd.gradcheck(lambda *a: bilinear_sample(*a, align_corners), inputs)


def test_lecture_example_reads_four_neighbors_with_shares_36_24_16_24():
    move = torch.tensor([[0.0, 0.5], [1.0, 0.0]])
    position = move @ torch.tensor([2.0, 2.0]) + torch.tensor([0.6, 0.4])
    torch.testing.assert_close(position, torch.tensor([1.6, 2.4]))
    # One-hot maps read the share of each pixel; rows and columns of the lecture count from 1.
    maps = torch.eye(9).view(1, 9, 3, 3)
    row, column = position - 1
    grid = torch.stack([column - 1, row - 1]).view(1, 1, 1, 2)  # corners aligned: -1, 0, 1
    shares = bilinear_sample(maps, grid, align_corners=True).view(3, 3)
    expected = torch.tensor([[0.0, 0.24, 0.16], [0.0, 0.36, 0.24], [0.0, 0.0, 0.0]])
    torch.testing.assert_close(shares, expected)


@CONVENTIONS
def test_identity_matrix_returns_the_input(images, align_corners):
    grid = affine_grid(IDENTITY.expand(3, -1, -1), (5, 7), align_corners)
    torch.testing.assert_close(bilinear_sample(images, grid, align_corners), images)


def test_positions_more_than_a_pixel_outside_read_zero_and_have_no_gradient(images):
    grid = torch.full((3, 1, 1, 2), 1.5, dtype=torch.float64)
    assert bilinear_sample(images, grid).count_nonzero() == 0
    for gradient in bilinear_gradient(images, grid, torch.ones(3, 2, 1, 1, dtype=torch.float64)):
        assert gradient.count_nonzero() == 0


def test_pixels_count_from_zero_at_the_first_center():
    corner = torch.tensor([[-1.0, -1.0]])
    assert [float(v) for v in to_pixels(corner, (4, 8))] == [-0.5, -0.5]
    assert [float(v) for v in to_pixels(-corner, (4, 8), align_corners=True)] == [7.0, 3.0]


def test_doubling_matrix_shrinks_the_object(images):
    small = bilinear_sample(images, affine_grid(IDENTITY.expand(3, -1, -1) * 2, (5, 7)))
    assert small[:, :, 0].count_nonzero() == 0
    assert small[:, :, :, 0].count_nonzero() == 0


def transformer(kind="affine", **options):
    return SpatialTransformer(nn.Flatten(), 2 * 5 * 7, kind, **options).double()


@pytest.mark.parametrize("kind", ["affine", "attention"])
def test_fresh_transformer_is_the_identity(images, kind):
    torch.testing.assert_close(transformer(kind)(images), images)


@pytest.mark.parametrize("kind", ["affine", "attention"])
def test_transformer_learns_through_position_and_image(images, kind):
    module = transformer(kind, size=(3, 4), zoom=0.83)
    module.regression.weight.data.normal_(std=0.02, generator=torch.Generator().manual_seed(3))
    assert module(images).shape == (3, 2, 3, 4)
    assert torch.autograd.gradcheck(module, (images.requires_grad_(),))
    module(images).sum().backward()
    assert module.regression.bias.grad.count_nonzero() == len(module.regression.bias)


def test_attention_never_turns(images):
    module = transformer("attention")
    nn.init.normal_(module.regression.weight)
    matrix = module.matrix(images)
    assert matrix[:, 0, 1].count_nonzero() == matrix[:, 1, 0].count_nonzero() == 0
    torch.testing.assert_close(
        matrix.flatten(1)[:, [0, 4, 2, 5]], module.regression(images.flatten(1))
    )


def test_parallel_transformers_stack_their_views(images):
    near, far = transformer(zoom=0.5), transformer(zoom=2.0)
    both = ParallelTransformers(near, far)(images)
    torch.testing.assert_close(both, torch.cat([near(images), far(images)], dim=1))


def test_transformers_in_sequence_multiply_their_matrices():
    ramp = torch.linspace(-1, 1, 9, dtype=torch.float64).expand(1, 1, 9, 9)
    first, second = (SpatialTransformer(nn.Flatten(), 81, zoom=z).double() for z in (0.5, 0.6))
    twice = nn.Sequential(first, second)(ramp)
    grid = affine_grid(IDENTITY * 0.3, (9, 9))
    torch.testing.assert_close(twice, bilinear_sample(ramp, grid))


def test_distort_without_random_range_centers_the_image_on_the_canvas():
    image = torch.rand(2, 1, 4, 6)
    canvas = distort(image, (8, 10), rotation=0, scale=(1, 1), shift=0)
    torch.testing.assert_close(canvas, F.pad(image, (2, 2, 2, 2)))


def test_distort_turns_by_the_angle_without_changing_proportions():
    # A quarter turn of a 4 x 6 image fits a 6 x 4 canvas exactly; the sign of the angle is random.
    image = torch.rand(1, 1, 4, 6)
    generator = torch.Generator().manual_seed(0)
    angle = torch.rand(1, generator=torch.Generator().manual_seed(0)) * 2 - 1
    turned = distort(
        image, (6, 4), rotation=float(90 / angle), scale=(1, 1), shift=0, generator=generator
    )
    # y points down, so a positive angle turns clockwise on the screen.
    torch.testing.assert_close(turned, torch.rot90(image, -1, (2, 3)), atol=1e-5, rtol=0)


def test_distort_is_repeatable_by_seed():
    image = torch.rand(4, 1, 6, 6)
    first, second = (
        distort(image, (9, 9), generator=torch.Generator().manual_seed(5)) for _ in range(2)
    )
    assert torch.equal(first, second)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: affine_grid(torch.zeros(3, 6), (2, 2)),
            r"theta must have shape \(batch, 2, 3\), got \(3, 6\)",
        ),
        (
            lambda: bilinear_sample(torch.zeros(5, 5), torch.zeros(1, 2, 2, 2)),
            r"images must have shape \(batch, channels, height, width\), got \(5, 5\)",
        ),
        (
            lambda: bilinear_sample(torch.zeros(2, 1, 5, 5), torch.zeros(1, 2, 2, 2)),
            r"grid must have shape \(2, out_height, out_width, 2\), got \(1, 2, 2, 2\)",
        ),
        (
            lambda: bilinear_gradient(
                torch.zeros(2, 1, 5, 5), torch.zeros(2, 2, 2, 3), torch.zeros(2, 1, 2, 2)
            ),
            r"got \(2, 2, 2, 3\)",
        ),
        (
            lambda: attention_matrix(torch.zeros(2, 6)),
            r"parameters must have shape \(batch, 4\), got \(2, 6\)",
        ),
        (
            lambda: SpatialTransformer(nn.Flatten(), 4, "zoom"),
            r"kind must be \"affine\" or \"attention\", got 'zoom'",
        ),
    ],
)
def test_bad_input_names_the_argument(call, message):
    with pytest.raises(ValueError, match=message):
        call()
