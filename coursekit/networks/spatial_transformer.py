"""Spatial transformer: a layer that moves, turns and zooms its input before the next one reads it.

Follows Jaderberg, Simonyan, Zisserman and Kavukcuoglu, "Spatial transformer networks" (2015).
Three pieces, each a function here: `affine_grid` says where every output pixel reads,
`bilinear_sample` reads there, and a localization network (given by the caller) chooses the move.
`bilinear_gradient` is the derivative written out by hand. What differs from the paper: pixels are
addressed as torch does by default, with -1 and 1 at the outer edges of the map and not at the
centers of its first and last pixel (`align_corners=True` gives the other convention).

A transformation maps output positions to input positions. It is the inverse of what happens to
the object: a matrix that doubles every coordinate reads a region twice as wide, so the object
shrinks.
"""

import math

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F


def affine_grid(
    theta: Float[Tensor, "batch 2 3"], size: tuple[int, int], align_corners: bool = False
) -> Float[Tensor, "batch height width 2"]:
    """Return the input position that each pixel of the output reads.

    Args:
        theta: Rows (a, b, e) and (c, d, f): x' = a x + b y + e and y' = c x + d y + f.
        size: Height and width of the output.
        align_corners: Where -1 and 1 lie: at the edges of the map (False) or at the centers of
            its outermost pixels (True).

    Returns:
        Positions (x', y') in normalized coordinates, x to the right, y down.

    Raises:
        ValueError: If theta does not have shape (batch, 2, 3).

    Source: Jaderberg et al. (2015), equation 1.
    """
    if theta.ndim != 3 or theta.shape[1:] != (2, 3):
        raise ValueError(f"theta must have shape (batch, 2, 3), got {tuple(theta.shape)}")
    rows, columns = (_centers(count, align_corners, theta) for count in size)
    y, x = torch.meshgrid(rows, columns, indexing="ij")
    positions = torch.stack([x, y, torch.ones_like(x)], dim=-1)  # (height, width, 3)
    return torch.einsum("bij,hwj->bhwi", theta, positions)


def _centers(count: int, align_corners: bool, like: Tensor) -> Tensor:
    """Return the normalized coordinates of the centers of `count` pixels in a row."""
    index = torch.arange(count, dtype=like.dtype, device=like.device)
    if align_corners:
        return 2 * index / (count - 1) - 1 if count > 1 else torch.zeros_like(index)
    return (2 * index + 1) / count - 1


def to_pixels(
    grid: Float[Tensor, "*shape 2"], size: tuple[int, int], align_corners: bool = False
) -> tuple[Float[Tensor, "*shape"], Float[Tensor, "*shape"]]:
    """Turn normalized positions into column and row of a map, as real numbers counted from 0."""
    height, width = size
    if align_corners:
        return (grid[..., 0] + 1) * (width - 1) / 2, (grid[..., 1] + 1) * (height - 1) / 2
    return ((grid[..., 0] + 1) * width - 1) / 2, ((grid[..., 1] + 1) * height - 1) / 2


def bilinear_sample(
    images: Float[Tensor, "batch channels height width"],
    grid: Float[Tensor, "batch out_height out_width 2"],
    align_corners: bool = False,
) -> Float[Tensor, "batch channels out_height out_width"]:
    """Read the images at real-valued positions, each as a mean of its four neighbors.

    Neighbors outside the map count as 0. The result equals
    `torch.nn.functional.grid_sample` with `padding_mode="zeros"`.

    Args:
        images: The maps to read.
        grid: Positions (x, y) in normalized coordinates, as `affine_grid` returns them.
        align_corners: The convention of the positions, see `affine_grid`.

    Raises:
        ValueError: If the shapes do not fit.

    Source: Jaderberg et al. (2015), equation 5.
    """
    _check(images, grid)
    x, y = to_pixels(grid, (images.shape[2], images.shape[3]), align_corners)
    left, top = x.detach().floor(), y.detach().floor()
    right_share, bottom_share = x - left, y - top  # 0 at the left (top) neighbor, toward 1
    output = images.new_zeros(())
    for row, row_share in ((top, 1 - bottom_share), (top + 1, bottom_share)):
        for column, column_share in ((left, 1 - right_share), (left + 1, right_share)):
            output = output + _read(images, row, column) * (row_share * column_share).unsqueeze(1)
    return output


def bilinear_gradient(
    images: Float[Tensor, "batch channels height width"],
    grid: Float[Tensor, "batch out_height out_width 2"],
    upstream: Float[Tensor, "batch channels out_height out_width"],
    align_corners: bool = False,
) -> tuple[
    Float[Tensor, "batch channels height width"], Float[Tensor, "batch out_height out_width 2"]
]:
    """Return the derivatives of a loss with respect to the images and the grid, by hand.

    Args:
        images: The maps that were read.
        grid: The positions where they were read.
        upstream: Derivative of the loss with respect to `bilinear_sample(images, grid)`.
        align_corners: The convention of the positions, see `affine_grid`.

    Raises:
        ValueError: If the shapes do not fit.

    Source: Jaderberg et al. (2015), equations 6 and 7, with the difference to the right neighbor
    where a position falls exactly on a pixel.
    """
    _check(images, grid)
    height, width = images.shape[2:]
    x, y = to_pixels(grid, (height, width), align_corners)
    left, top = x.floor(), y.floor()
    right_share, bottom_share = x - left, y - top
    d_images, d_x, d_y = torch.zeros_like(images), torch.zeros_like(x), torch.zeros_like(y)
    for row, row_share, row_sign in ((top, 1 - bottom_share, -1), (top + 1, bottom_share, 1)):
        for column, share, sign in ((left, 1 - right_share, -1), (left + 1, right_share, 1)):
            index, inside = _index(row, column, height, width)
            arriving = upstream * (inside * row_share * share).unsqueeze(1)
            target = index.flatten(1).unsqueeze(1).expand(-1, images.shape[1], -1)
            d_images.flatten(2).scatter_add_(2, target, arriving.flatten(2))
            value = (_read(images, row, column) * upstream).sum(1)  # over channels
            d_x += sign * row_share * value
            d_y += row_sign * share * value
    # x runs over `scale` pixels while the normalized coordinate runs from -1 to 1.
    scale = (width - 1, height - 1) if align_corners else (width, height)
    return d_images, torch.stack([d_x * scale[0] / 2, d_y * scale[1] / 2], dim=-1)


def _index(row: Tensor, column: Tensor, height: int, width: int) -> tuple[Tensor, Tensor]:
    """Return the flat index of each pixel, and whether it lies inside the map."""
    inside = (row >= 0) & (row < height) & (column >= 0) & (column < width)
    flat = row.clamp(0, height - 1) * width + column.clamp(0, width - 1)
    return flat.long(), inside


def _read(images: Tensor, row: Tensor, column: Tensor) -> Tensor:
    """Read pixels by whole row and column numbers; 0 outside the map."""
    batch, channels, height, width = images.shape
    index, inside = _index(row, column, height, width)
    where = index.flatten(1).unsqueeze(1).expand(-1, channels, -1)
    values = images.flatten(2).gather(2, where).view(batch, channels, *row.shape[1:])
    return torch.where(inside.unsqueeze(1), values, 0)


def _check(images: Tensor, grid: Tensor) -> None:
    """Raise when the shapes of images and grid do not fit each other."""
    if images.ndim != 4:
        raise ValueError(
            f"images must have shape (batch, channels, height, width), got {tuple(images.shape)}"
        )
    if grid.ndim != 4 or grid.shape[0] != images.shape[0] or grid.shape[3] != 2:
        raise ValueError(
            f"grid must have shape ({images.shape[0]}, out_height, out_width, 2), "
            f"got {tuple(grid.shape)}"
        )


def attention_matrix(parameters: Float[Tensor, "batch 4"]) -> Float[Tensor, "batch 2 3"]:
    """Place (a, d, e, f) in the matrix [[a, 0, e], [0, d, f]]: zoom and shift, no turning.

    Args:
        parameters: Zoom a and d along x and y, then shift e and f, one row an image.

    Raises:
        ValueError: If parameters does not have shape (batch, 4).

    Example:
        >>> attention_matrix(torch.tensor([[0.5, 0.5, 0.0, 0.25]])).tolist()
        [[[0.5, 0.0, 0.0], [0.0, 0.5, 0.25]]]
    """
    if parameters.ndim != 2 or parameters.shape[1] != 4:
        raise ValueError(f"parameters must have shape (batch, 4), got {tuple(parameters.shape)}")
    a, d, e, f = parameters.unbind(1)
    zero = torch.zeros_like(a)
    return torch.stack([a, zero, e, zero, d, f], dim=1).view(-1, 2, 3)


class SpatialTransformer(nn.Module):
    """Look at the input, choose one affine transformation for each example, apply it.

    Args:
        localization: Network from (batch, channels, height, width) to (batch, features).
        features: Width of what the localization network returns.
        kind: "affine" learns all six parameters, "attention" only a, d, e and f.
        size: Height and width of the output; None keeps those of the input.
        zoom: Diagonal of the matrix at the start; 1 is the identity, less looks at the middle.

    Shape: (batch, channels, height, width) to (batch, channels, *size).

    Source: Jaderberg et al. (2015), section 3.
    """

    def __init__(
        self,
        localization: nn.Module,
        features: int,
        kind: str = "affine",
        size: tuple[int, int] | None = None,
        zoom: float = 1.0,
    ) -> None:
        super().__init__()
        if kind not in ("affine", "attention"):
            raise ValueError(f'kind must be "affine" or "attention", got {kind!r}')
        self.localization = localization
        self.kind = kind
        self.size = size
        self.zoom = zoom
        self.regression = nn.Linear(features, 6 if kind == "affine" else 4)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Start from the same move for every input: the identity, or a look at the middle."""
        start = [self.zoom, 0, 0, 0, self.zoom, 0]
        if self.kind == "attention":
            start = [self.zoom, self.zoom, 0, 0]
        nn.init.zeros_(self.regression.weight)
        with torch.no_grad():
            self.regression.bias.copy_(torch.tensor(start))

    def matrix(
        self, images: Float[Tensor, "batch channels height width"]
    ) -> Float[Tensor, "batch 2 3"]:
        """Return the transformation chosen for each image."""
        parameters = self.regression(self.localization(images))
        if self.kind == "attention":
            return attention_matrix(parameters)
        return parameters.view(-1, 2, 3)

    def forward(
        self, images: Float[Tensor, "batch channels height width"]
    ) -> Float[Tensor, "batch channels out_height out_width"]:
        """Transform each image by its own matrix."""
        grid = affine_grid(self.matrix(images), self.size or (images.shape[2], images.shape[3]))
        # The library's kernel computes bilinear_sample, and the tests hold the two equal.
        return F.grid_sample(images, grid, align_corners=False)


class ParallelTransformers(nn.Module):
    """Several transformers that look at the same input; their outputs are stacked as channels.

    In sequence, transformers need no class of their own: put them in `nn.Sequential`.

    Args:
        transformers: Transformers with the same output size.

    Shape: (batch, channels, height, width) to (batch, count * channels, *size).

    Source: Jaderberg et al. (2015), section 3.4.
    """

    def __init__(self, *transformers: SpatialTransformer) -> None:
        super().__init__()
        self.transformers = nn.ModuleList(transformers)

    def forward(
        self, images: Float[Tensor, "batch channels height width"]
    ) -> Float[Tensor, "batch all_channels out_height out_width"]:
        """Stack what each transformer sees."""
        return torch.cat([transformer(images) for transformer in self.transformers], dim=1)


def distort(
    images: Float[Tensor, "batch channels height width"],
    size: tuple[int, int],
    *,
    rotation: float = 45.0,
    scale: tuple[float, float] = (0.7, 1.2),
    shift: float = 6.0,
    generator: torch.Generator | None = None,
) -> Float[Tensor, "batch channels out_height out_width"]:
    """Place each image on a larger canvas, turned, scaled and shifted at random.

    Args:
        images: Small images, such as digits.
        size: Height and width of the canvas in pixels.
        rotation: Largest angle in degrees; angles are uniform in [-rotation, rotation].
        scale: Least and greatest magnification.
        shift: Largest shift in pixels of the canvas, along x and along y.
        generator: Source of the random numbers.

    Source: Jaderberg et al. (2015), section 4.1, distortion "RTS".
    """

    def uniform(low: float, high: float) -> Tensor:
        return torch.rand(len(images), generator=generator) * (high - low) + low

    angle, zoom = math.pi / 180 * uniform(-rotation, rotation), uniform(*scale)
    move = torch.stack([uniform(-shift, shift), uniform(-shift, shift)], dim=1)
    canvas = torch.tensor([size[1], size[0]], dtype=torch.float32)
    source = torch.tensor([images.shape[3], images.shape[2]], dtype=torch.float32)
    # Canvas pixel p shows the image's pixel R(-angle) (p - move) / zoom, measured from the center.
    cosine, sine = angle.cos() / zoom, angle.sin() / zoom
    turn = torch.stack([cosine, sine, -sine, cosine], dim=1).view(-1, 2, 2)
    back = -(turn @ move.unsqueeze(2))
    # Normalized units: half a canvas in, half an image out.
    theta = torch.cat([turn * canvas / 2, back], dim=2) / (source / 2).unsqueeze(1)
    return F.grid_sample(images, affine_grid(theta, size), align_corners=False)
