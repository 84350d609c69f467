"""Local normalizations equal torch and brute force; their derived gradients equal autograd."""

import numpy as np
import pytest
import torch
from torch.nn.functional import avg_pool2d
from torch.nn.functional import local_response_norm as torch_lrn

from coursekit.networks import (
    local_contrast_norm,
    local_contrast_norm_backward,
    local_response_norm,
    local_response_norm_backward,
)

CONSTANTS = {"alpha": 0.3, "beta": 0.75, "k": 1.5}


def drawn(*shape, seed=0, dtype=torch.float64):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def contrast_by_loops(inputs, size, alpha, beta, k):
    """Contrast normalization of (maps, height, width), one element after the other."""
    values, before, behind = inputs.numpy(), size // 2, (size - 1) // 2
    outputs = np.empty_like(values)
    for c, i, j in np.ndindex(values.shape):
        rows = slice(max(i - before, 0), i + behind + 1)
        window = values[c, rows, max(j - before, 0) : j + behind + 1]
        base = k + alpha * np.sum((window - window.mean()) ** 2)
        outputs[c, i, j] = values[c, i, j] / base**beta
    return torch.from_numpy(outputs)


@pytest.mark.parametrize("size", [1, 2, 3, 4, 5, 8, 20])
def test_response_across_maps_is_torchs_with_alpha_times_the_size(size):
    inputs = drawn(2, 7, 3, 4)
    expected = torch_lrn(inputs, size, alpha=0.3 * size, beta=0.75, k=1.5)
    assert torch.allclose(local_response_norm(inputs, size, **CONSTANTS), expected, rtol=1e-12)


def test_the_default_constants_are_those_of_alexnet():
    inputs = 30 * drawn(1, 96, 2, 2, dtype=torch.float32)
    expected = torch_lrn(inputs, 5, alpha=5e-4, beta=0.75, k=2.0)
    assert torch.allclose(local_response_norm(inputs), expected)


@pytest.mark.parametrize("size", [1, 3, 5, 9])
def test_response_within_a_map_is_a_pooled_energy(size):
    inputs = drawn(2, 3, 6, 5)
    energy = size**2 * avg_pool2d(inputs**2, size, 1, size // 2, count_include_pad=True)
    expected = inputs / (1.5 + 0.3 * energy) ** 0.75
    assert torch.allclose(local_response_norm(inputs, size, within=True, **CONSTANTS), expected)


@pytest.mark.parametrize("size", [1, 2, 3, 4, 7])
def test_contrast_equals_four_nested_loops(size):
    inputs = drawn(3, 6, 5)
    expected = contrast_by_loops(inputs, size, **CONSTANTS)
    assert torch.allclose(local_contrast_norm(inputs, size, **CONSTANTS), expected, rtol=1e-12)


@pytest.mark.parametrize("size", [1, 2, 3, 4, 5, 9])
@pytest.mark.parametrize("within", [False, True])
def test_derived_response_gradient_equals_autograd(size, within):
    inputs, slopes = drawn(2, 6, 4, 5).requires_grad_(), drawn(2, 6, 4, 5, seed=1)
    local_response_norm(inputs, size, within=within, **CONSTANTS).backward(slopes)
    derived = local_response_norm_backward(
        slopes, inputs.detach(), size, within=within, **CONSTANTS
    )
    assert torch.allclose(derived, inputs.grad, rtol=1e-10, atol=1e-13)


@pytest.mark.parametrize("size", [1, 2, 3, 4, 5, 9])
def test_derived_contrast_gradient_equals_autograd(size):
    inputs, slopes = drawn(2, 3, 5, 6).requires_grad_(), drawn(2, 3, 5, 6, seed=1)
    local_contrast_norm(inputs, size, **CONSTANTS).backward(slopes)
    derived = local_contrast_norm_backward(slopes, inputs.detach(), size, **CONSTANTS)
    assert torch.allclose(derived, inputs.grad, rtol=1e-10, atol=1e-13)


@pytest.mark.parametrize(
    ("forward", "backward", "more"),
    [
        (local_response_norm, local_response_norm_backward, {}),
        (local_response_norm, local_response_norm_backward, {"within": True}),
        (local_contrast_norm, local_contrast_norm_backward, {}),
    ],
)
@pytest.mark.parametrize("size", [3, 4])
def test_derived_gradients_pass_central_differences(forward, backward, more, size):
    class Derived(torch.autograd.Function):
        @staticmethod
        def forward(ctx, inputs):
            ctx.save_for_backward(inputs)
            return forward(inputs, size, **CONSTANTS, **more)

        @staticmethod
        def backward(ctx, slopes):
            return backward(slopes, ctx.saved_tensors[0], size, **CONSTANTS, **more)

    assert torch.autograd.gradcheck(Derived.apply, (drawn(4, 3, 3).requires_grad_(),))


def test_brightness_changes_the_response_base_and_not_the_contrast_base():
    inputs = drawn(1, 6, 6)
    contrast = local_contrast_norm(inputs, 3, **CONSTANTS) / inputs
    lighter = local_contrast_norm(inputs + 10, 3, **CONSTANTS) / (inputs + 10)
    assert torch.allclose(contrast, lighter)
    response = local_response_norm(inputs, 3, within=True, **CONSTANTS) / inputs
    darker = local_response_norm(inputs + 10, 3, within=True, **CONSTANTS) / (inputs + 10)
    assert (darker < response / 2).all()


def test_contrast_of_a_bright_map_survives_float32():
    inputs = 1e4 + drawn(1, 6, 6)
    exact = local_contrast_norm(inputs, 3, **CONSTANTS)
    rounded = local_contrast_norm(inputs.float(), 3, **CONSTANTS)
    assert torch.allclose(rounded.double(), exact, rtol=1e-3)


def test_without_weight_both_divide_by_a_constant():
    inputs = drawn(3, 4, 4)
    for normalize in (local_response_norm, local_contrast_norm):
        outputs = normalize(inputs, 3, alpha=0.0, beta=0.75, k=2.0)
        assert torch.allclose(outputs, inputs / 2**0.75)


@pytest.mark.parametrize("normalize", [local_response_norm, local_contrast_norm])
def test_bad_arguments_are_refused_by_name(normalize):
    with pytest.raises(ValueError, match=r"inputs must have shape .* got \(3, 4\)"):
        normalize(torch.ones(3, 4))
    with pytest.raises(ValueError, match="size must be at least 1, got 0"):
        normalize(torch.ones(1, 3, 4), 0)
    with pytest.raises(ValueError, match=r"alpha must not be negative, got -0\.1"):
        normalize(torch.ones(1, 3, 4), alpha=-0.1)
    with pytest.raises(ValueError, match=r"k must be above 0, got 0\.0"):
        normalize(torch.ones(1, 3, 4), k=0.0)
