"""Weights as small integers: symmetric uniform quantization after training.

A weight w is stored as the integer nearest to w / scale, and read back as that integer times
scale. The scale is one number for a whole array, or one for each of its rows, such that the
largest weight takes the largest integer. The integers are symmetric about zero, so that zero stays
exactly zero and b bits give 2^b - 1 levels. Jacob et al., "Quantization and training of neural
networks for efficient integer-arithmetic-only inference" (2018), describe the scheme with an
offset for activations as well; here only weights are rounded and the arithmetic stays in floating
point, which measures what the rounding costs and not what integers save.
"""

import copy
from typing import TypeVar

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

Network = TypeVar("Network", bound=nn.Module)


def quantize(
    weights: Float[Tensor, "*shape"], bits: int, axis: int | None = None
) -> tuple[Int[Tensor, "*shape"], Float[Tensor, "*scales"]]:
    """Round weights to integers of `bits` bits.

    Args:
        weights: Any floating-point tensor with at least one element.
        bits: From 2 to 16.
        axis: None for one scale in all; otherwise the axis along which each index has its own, 0
            for one scale a unit of a `torch.nn.Linear` or a filter of a convolution.

    Returns:
        Codes between -(2^(bits-1) - 1) and its negative, as int8 or int16, and the scale, which
        broadcasts against them. An array (or row) of zeros has scale 1.

    Raises:
        ValueError: If `bits` is outside 2 to 16 or a weight is not finite.
    """
    if not 2 <= bits <= 16:
        raise ValueError(f"bits must be between 2 and 16, got {bits}")
    if not torch.isfinite(weights).all():
        raise ValueError("weights must be finite, got infinity or NaN")
    most = 2 ** (bits - 1) - 1
    if axis is None:
        largest = weights.abs().amax()
    else:
        others = [k for k in range(weights.ndim) if k != axis % weights.ndim]
        largest = weights.abs().amax(dim=others, keepdim=True) if others else weights.abs()
    # A subnormal scale would lose its precision or turn the quotient infinite: such rows are zero.
    usable = largest / most >= torch.finfo(weights.dtype).tiny
    scale = torch.where(usable, largest / most, torch.ones_like(largest))
    codes = torch.round(weights / scale).clamp(-most, most)
    return codes.to(torch.int8 if bits <= 8 else torch.int16), scale


def dequantize(
    codes: Int[Tensor, "*shape"], scale: Float[Tensor, "*scales"]
) -> Float[Tensor, "*shape"]:
    """Return the weights that integer codes stand for, in the format of the scale."""
    return codes.to(scale.dtype) * scale


def quantized(network: Network, bits: int, *, by_row: bool = False) -> Network:
    """Return a copy of a network whose weights have been rounded to `bits` bits and read back.

    Matrices and filters are rounded, each with its own scale; vectors (biases, gains of a
    normalization) are few and stay as they are.

    Args:
        network: Any module.
        bits: From 2 to 16.
        by_row: Whether each unit or filter has a scale of its own.

    Returns:
        The copy, on the same device and in the same format.
    """
    rounded = copy.deepcopy(network)
    with torch.no_grad():
        for parameter in rounded.parameters():
            if parameter.ndim > 1:
                parameter.copy_(dequantize(*quantize(parameter, bits, 0 if by_row else None)))
    return rounded
