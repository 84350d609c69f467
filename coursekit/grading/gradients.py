"""What `check.gradient` compares: gradients by autograd, and finite differences."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from coursekit.grading.backend import seeded, weighted_gradient
from coursekit.grading.compare import Difference, difference
from coursekit.grading.values import Array, copied, described, plain

STEP = 1e-6  # of the finite differences, in float64
HINT = "something cuts the graph: .detach(), .item(), .data, NumPy or torch.no_grad"


def in_double(case: tuple[Any, ...], wrt: Sequence[int]) -> tuple[Any, ...]:
    """Turn the floating tensors among the arguments into float64.

    Args:
        case: the arguments.
        wrt: positions of those to differentiate by.

    Returns:
        The arguments, contiguous where they were converted.

    Raises:
        TypeError: if an argument to differentiate by is no floating tensor.
    """
    for position in wrt:
        if not _floating(case[position]):
            raise TypeError(f"argument {position} in wrt must be a floating tensor")
    return tuple(x.detach().double().contiguous() if _floating(x) else x for x in case)


def _floating(value: Any) -> bool:
    return isinstance(value, Tensor) and value.is_floating_point()


def tensors_of(output: Any) -> list[Array]:
    """List the floating tensors in a `plain` output, dicts in the order of their keys."""
    if isinstance(output, Array):
        return [output] if output.source == "tensor" and output.family == "float" else []
    if isinstance(output, dict):
        output = [output[key] for key in sorted(output, key=repr)]
    if isinstance(output, (list, tuple)):
        return [array for item in output for array in tensors_of(item)]
    return []


def weights_for(output: Any) -> list[Tensor]:
    """Draw one fixed normal weight for each element of each floating tensor of a `plain` output."""
    generator = torch.Generator().manual_seed(0)
    return [
        torch.randn(array.shape, generator=generator, dtype=torch.float64).to(
            getattr(torch, array.dtype)
        )
        for array in tensors_of(output)
    ]


def unfit(output: Any) -> Difference | None:
    """Find why the answer to float64 arguments cannot be compared with finite differences."""
    formats = [array.dtype for array in tensors_of(output)]
    if not formats:
        facts = (("expected", "a floating tensor"), ("got", described(output)), ("hint", HINT))
        return Difference("detached", facts)
    narrow = next((dtype for dtype in formats if dtype != "float64"), None)
    if narrow is None:
        return None
    return Difference("precision", (("expected", "float64, as the arguments"), ("got", narrow)))


def by_autograd(
    reference: Callable[..., Any], case: tuple[Any, ...], wrt: Sequence[int], weights: list[Tensor]
) -> list[Any]:
    """Differentiate a reference with respect to the arguments at `wrt`.

    Raises:
        ValueError: if its result depends on none of them.
    """
    with seeded():
        slopes = weighted_gradient(reference, copied(case), wrt, weights)
    if all(slope is None for slope in slopes):
        raise ValueError("the reference's result must depend on an argument in wrt")
    return [plain(slope) for slope in slopes]


def by_differences(
    evaluate: Callable[[tuple[Any, ...]], Any],
    case: tuple[Any, ...],
    wrt: Sequence[int],
    weights: list[Tensor],
) -> list[Any]:
    """Differentiate by central differences of width 2 * STEP.

    Args:
        evaluate: returns the `plain` output for given arguments.
        case: the arguments; those at `wrt` are contiguous float64 tensors.
        wrt: positions to differentiate by.
        weights: of the floating tensors in the output.

    Returns:
        One `plain` gradient for each position.
    """

    def total(arguments: list[Any]) -> float:
        arrays = tensors_of(evaluate(tuple(arguments)))
        if [array.shape for array in arrays] != [tuple(weight.shape) for weight in weights]:
            return float("nan")  # the shape of the output hangs on the values of the input
        pairs = zip(arrays, weights, strict=True)
        return sum(float((array.values * weight.numpy()).sum()) for array, weight in pairs)

    slopes = []
    for position in wrt:
        slope = torch.zeros_like(case[position])
        for i in range(slope.numel()):
            sides = []
            for step in (STEP, -STEP):
                arguments = [copied(argument) for argument in case]
                arguments[position].view(-1)[i] += step
                sides.append(total(arguments))
            slope.view(-1)[i] = (sides[0] - sides[1]) / (2 * STEP)
        slopes.append(plain(slope))
    return slopes


def compared(
    got: list[Any], expected: list[Any], wrt: Sequence[int], **tolerance: Any
) -> Difference | None:
    """Find the first difference between two lists of `plain` gradients; None stands for zero."""
    for position, g, e in zip(wrt, got, expected, strict=True):
        label = ("gradient", f"with respect to argument {position + 1}")
        zero = e is None or not np.any(e.values)
        if g is None and not zero:
            facts = (label, ("expected", described(e)), ("got", "none"), ("hint", HINT))
            return Difference("detached", facts)
        if g is None or (e is None and not np.any(g.values)):
            continue
        if e is None:
            return Difference("gradient", (label, ("expected", "zero"), ("got", described(g))))
        found = difference(g, e, where="gradient", **tolerance)
        if found is not None:
            kind = "gradient" if found.kind == "value" else found.kind
            return Difference(kind, (label, *found.facts))
    return None
