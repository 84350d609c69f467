"""Rounding of weights equals torch's own fake quantization and keeps its promises."""

import copy

import pytest
import torch
from torch import nn

from coursekit.networks import dequantize, quantize, quantized


def drawn(*shape, seed=0, dtype=torch.float32):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


@pytest.mark.parametrize("bits", [2, 3, 4, 8, 12, 16])
def test_one_scale_equals_torchs_fake_quantization(bits):
    weights = drawn(30, 20)
    codes, scale = quantize(weights, bits)
    most = 2 ** (bits - 1) - 1
    expected = torch.fake_quantize_per_tensor_affine(weights, scale.item(), 0, -most, most)
    # torch multiplies by 1 / scale, so that a tie may fall on the other side
    off = (dequantize(codes, scale) - expected).abs()
    assert (off <= scale * 1.001).all()
    assert (off > scale * 0.01).float().mean() < 0.002


@pytest.mark.parametrize("axis", [0, 1, -1])
def test_a_scale_a_row_equals_torchs_fake_quantization(axis):
    weights = drawn(6, 50) * torch.logspace(-3, 3, 6)[:, None]
    codes, scale = quantize(weights, 8, axis)
    assert scale.numel() == weights.shape[axis]
    zeros = torch.zeros(scale.numel(), dtype=torch.int32)
    expected = torch.fake_quantize_per_channel_affine(
        weights, scale.flatten(), zeros, axis % 2, -127, 127
    )
    assert torch.allclose(dequantize(codes, scale), expected, rtol=1e-5)


@pytest.mark.parametrize("bits", [2, 5, 8, 16])
def test_no_weight_moves_by_more_than_half_a_step(bits):
    weights = drawn(1000, dtype=torch.float64)
    codes, scale = quantize(weights, bits)
    assert ((dequantize(codes, scale) - weights).abs() <= scale / 2 * (1 + 1e-9)).all()
    assert codes.abs().max() == 2 ** (bits - 1) - 1


def test_zero_and_the_largest_weight_are_exact_and_signs_mirror():
    weights = torch.tensor([0.0, 0.3, -1.27, 0.011])
    codes, scale = quantize(weights, 8)
    assert codes.tolist() == [0, 30, -127, 1]
    assert dequantize(codes, scale)[2] == pytest.approx(-1.27)
    assert torch.equal(quantize(-weights, 8)[0], -codes)


def test_zeros_and_subnormal_weights_stay_finite():
    for weights in (torch.zeros(3, 2), torch.full((2, 2), 1e-42)):
        for axis in (None, 0):
            codes, scale = quantize(weights, 8, axis)
            assert not codes.any()
            assert (scale == 1).all()


def test_codes_take_the_smallest_integer_format():
    weights = drawn(4, 4)
    assert quantize(weights, 8)[0].dtype == torch.int8
    assert quantize(weights, 9)[0].dtype == torch.int16


def test_a_vector_with_a_scale_an_element_is_exact():
    weights = drawn(5)
    assert torch.allclose(dequantize(*quantize(weights, 4, 0)), weights)


def test_a_quantized_network_is_a_copy_with_rounded_matrices():
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(8, 6), nn.ReLU(), nn.Linear(6, 3))
    before = copy.deepcopy(network.state_dict())
    rounded = quantized(network, 4)
    assert all(torch.equal(before[name], value) for name, value in network.state_dict().items())
    assert len(rounded[0].weight.unique()) <= 15
    assert torch.equal(rounded[0].bias, network[0].bias)
    assert not torch.equal(rounded[2].weight, network[2].weight)


def test_a_scale_a_row_is_never_coarser():
    network = nn.Linear(50, 20)
    with torch.no_grad():
        network.weight[3] *= 100
    errors = [
        (quantized(network, 8, by_row=by_row).weight - network.weight).abs().mean()
        for by_row in (False, True)
    ]
    assert errors[1] < errors[0] / 5


def test_bad_arguments_are_refused_by_name():
    with pytest.raises(ValueError, match="bits must be between 2 and 16, got 1"):
        quantize(torch.ones(3), 1)
    with pytest.raises(ValueError, match="weights must be finite"):
        quantize(torch.tensor([1.0, float("nan")]), 8)
