"""Local response and local contrast normalization, with gradients derived by hand.

Both divide an activation by a power of a base d that its neighbors determine:

    b_j = a_j / d_j^beta
    d_j = k + alpha * sum of a_l^2            over the window of j: response normalization
    d_j = k + alpha * sum of (a_l - m_j)^2    with m_j the window's mean: contrast normalization

The window runs across neighboring maps at one place (Krizhevsky et al., "ImageNet classification
with deep convolutional neural networks", 2012) or over neighboring places of one map (the layers of
Krizhevsky's cuda-convnet). Only neighbors that exist count, in the sum and in the mean. PyTorch has
the form across maps alone, and divides alpha by the size of the window.
"""

from collections.abc import Iterator

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import pad


def local_response_norm(
    inputs: Float[Tensor, "*batch maps height width"],
    size: int = 5,
    *,
    alpha: float = 1e-4,
    beta: float = 0.75,
    k: float = 2.0,
    within: bool = False,
) -> Float[Tensor, "*batch maps height width"]:
    """Divide each activation by a power of the energy around it.

    Args:
        inputs: Activations of one or more images.
        size: Maps in the window; with `within`, its height and width. An even window has one more
            neighbor before than behind, as in PyTorch.
        alpha: Weight of the *sum* of squares; PyTorch's argument is `size` times as large.
        beta: Power of the base.
        k: Constant in the base, above 0.
        within: Whether neighbors are places of the same map and not maps at the same place.

    Returns:
        Activations of the same shape.

    Raises:
        ValueError: If the inputs have fewer than three axes, or size, alpha or k make no sense.
    """
    _check(inputs, size, alpha, k)
    return inputs * _energy(inputs, size, alpha, k, within) ** -beta


def local_response_norm_backward(
    slopes: Float[Tensor, "*batch maps height width"],
    inputs: Float[Tensor, "*batch maps height width"],
    size: int = 5,
    *,
    alpha: float = 1e-4,
    beta: float = 0.75,
    k: float = 2.0,
    within: bool = False,
) -> Float[Tensor, "*batch maps height width"]:
    """Return the slopes for the inputs of `local_response_norm`, given those for its outputs."""
    _check(inputs, size, alpha, k)
    d = _energy(inputs, size, alpha, k, within)
    shares = slopes * inputs * d ** (-beta - 1)
    gathered = _window_sum(shares, size, within, reverse=True)
    return slopes * d**-beta - 2 * alpha * beta * inputs * gathered


def local_contrast_norm(
    inputs: Float[Tensor, "*batch maps height width"],
    size: int = 5,
    *,
    alpha: float = 1e-2,
    beta: float = 0.5,
    k: float = 1.0,
) -> Float[Tensor, "*batch maps height width"]:
    """Divide each activation by a power of the contrast around it in the same map.

    Args:
        inputs: Activations of one or more images.
        size: Height and width of the window.
        alpha: Weight of the sum of squared deviations from the window's mean; the sum is not
            divided by the number of neighbors.
        beta: Power of the base.
        k: Constant in the base, above 0.

    Returns:
        Activations of the same shape. The numerator is the activation itself; the mean is
        subtracted in the base alone.

    Raises:
        ValueError: If the inputs have fewer than three axes, or size, alpha or k make no sense.
    """
    _check(inputs, size, alpha, k)
    return inputs * _contrast(inputs, size, alpha, k)[0] ** -beta


def local_contrast_norm_backward(
    slopes: Float[Tensor, "*batch maps height width"],
    inputs: Float[Tensor, "*batch maps height width"],
    size: int = 5,
    *,
    alpha: float = 1e-2,
    beta: float = 0.5,
    k: float = 1.0,
) -> Float[Tensor, "*batch maps height width"]:
    """Return the slopes for the inputs of `local_contrast_norm`, given those for its outputs."""
    _check(inputs, size, alpha, k)
    d, mean = _contrast(inputs, size, alpha, k)
    shares = slopes * inputs * d ** (-beta - 1)
    # the sum of shares_j * (a_i - m_j) over all j whose window holds i
    gathered = inputs * _window_sum(shares, size, True, reverse=True)
    gathered -= _window_sum(shares * mean, size, True, reverse=True)
    return slopes * d**-beta - 2 * alpha * beta * gathered


def _check(inputs: Tensor, size: int, alpha: float, k: float) -> None:
    if inputs.ndim < 3:
        raise ValueError(
            f"inputs must have shape (…, maps, height, width), got {tuple(inputs.shape)}"
        )
    if size < 1:
        raise ValueError(f"size must be at least 1, got {size}")
    if alpha < 0:
        raise ValueError(f"alpha must not be negative, got {alpha}")
    if k <= 0:
        raise ValueError(f"k must be above 0, got {k}")


def _neighbors(values: Tensor, size: int, axis: int, reverse: bool = False) -> Iterator[Tensor]:
    """Yield, for each place of the window along an axis, the neighbor there; 0 where none is."""
    margins = (size // 2, (size - 1) // 2)
    padded = pad(values.movedim(axis, -1), margins[::-1] if reverse else margins)
    for first in range(size):
        yield padded.narrow(-1, first, values.shape[axis]).movedim(-1, axis)


def _window_sum(values: Tensor, size: int, within: bool, reverse: bool = False) -> Tensor:
    """Sum over each element's window; reversed, over all whose window holds the element."""
    for axis in (-2, -1) if within else (-3,):
        values = torch.stack(tuple(_neighbors(values, size, axis, reverse))).sum(0)
    return values


def _energy(inputs: Tensor, size: int, alpha: float, k: float, within: bool) -> Tensor:
    """Return the base d of response normalization."""
    return k + alpha * _window_sum(inputs**2, size, within)


def _contrast(inputs: Tensor, size: int, alpha: float, k: float) -> tuple[Tensor, Tensor]:
    """Return the base d of contrast normalization and the means of the windows."""
    ones = torch.ones(inputs.shape[-2:], dtype=inputs.dtype, device=inputs.device)
    mean = _window_sum(inputs, size, True) / _window_sum(ones, size, True)
    # Differences are squared one by one: mean square minus squared mean would cancel in float32.
    total = torch.zeros_like(inputs)
    for row, row_inside in zip(
        _neighbors(inputs, size, -2), _neighbors(ones, size, -2), strict=True
    ):
        for neighbor, inside in zip(
            _neighbors(row, size, -1), _neighbors(row_inside, size, -1), strict=True
        ):
            total = total + ((neighbor - mean) * inside) ** 2
    return k + alpha * total, mean
