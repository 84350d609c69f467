"""Counts from formulas equal what torch allocates."""

import itertools

import pytest
import torch
from torch import nn

from coursekit.networks import (
    conv_parameters,
    count_parameters,
    embedding_parameters,
    linear_parameters,
    md_lstm_parameters,
    recurrent_parameters,
)

LAYERS = {"rnn": nn.RNN, "gru": nn.GRU, "lstm": nn.LSTM}


@pytest.mark.parametrize("sizes", [(784, 10), (1, 1), (3, 7)])
@pytest.mark.parametrize("bias", [True, False])
def test_linear_count_equals_torch(sizes, bias):
    assert linear_parameters(*sizes, bias=bias) == count_parameters(nn.Linear(*sizes, bias=bias))


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize(
    ("layer", "kernel", "groups"),
    [
        (nn.Conv1d, (5,), 1),
        (nn.Conv2d, 3, 1),
        (nn.Conv2d, (3, 5), 2),
        (nn.Conv2d, 1, 6),
        (nn.Conv3d, (2, 3, 4), 3),
    ],
)
def test_convolution_count_equals_torch(layer, kernel, groups, bias):
    built = layer(6, 12, kernel, groups=groups, bias=bias)
    assert conv_parameters(6, 12, kernel, groups=groups, bias=bias) == count_parameters(built)


def test_embedding_count_equals_torch():
    assert embedding_parameters(50, 7) == count_parameters(nn.Embedding(50, 7))


@pytest.mark.parametrize("cell", list(LAYERS))
@pytest.mark.parametrize(
    ("num_layers", "bidirectional", "bias"),
    list(itertools.product((1, 2, 3), (False, True), (False, True))),
)
def test_recurrent_count_equals_torch(cell, num_layers, bidirectional, bias):
    built = LAYERS[cell](7, 10, num_layers, bias=bias, bidirectional=bidirectional)
    counted = recurrent_parameters(
        cell,
        7,
        10,
        biases=2 if bias else 0,
        num_layers=num_layers,
        bidirectional=bidirectional,
    )
    assert counted == count_parameters(built)


def test_textbook_lstm_has_720_parameters_and_torch_760():
    assert recurrent_parameters("lstm", 7, 10) == 720
    assert recurrent_parameters("lstm", 7, 10, peepholes=True) == 750
    assert count_parameters(nn.LSTM(7, 10)) == 760


def test_only_the_sum_of_torchs_two_biases_matters_in_an_lstm():
    layer = nn.LSTM(7, 10).double()
    x = torch.randn(5, 2, 7, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    before = layer(x)[0]
    with torch.no_grad():
        layer.bias_ih_l0 += layer.bias_hh_l0
        layer.bias_hh_l0.zero_()
    assert torch.allclose(layer(x)[0], before, rtol=1e-12, atol=1e-14)


def test_a_gru_of_torch_uses_its_second_bias_of_the_candidate():
    layer = nn.GRU(7, 10).double()
    x = torch.randn(5, 2, 7, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    before = layer(x)[0]
    with torch.no_grad():
        layer.bias_ih_l0 += layer.bias_hh_l0
        layer.bias_hh_l0.zero_()
    assert not torch.allclose(layer(x)[0], before, atol=1e-3)


class PeepholeCell(nn.Module):
    """A cell written out gate by gate, on a grid of any number of axes, to be counted."""

    def __init__(self, inputs, units, dimensions):
        super().__init__()
        self.dimensions = dimensions
        self.gates = ["input", "candidate", "output", *map(str, range(dimensions))]
        self.read = nn.ModuleDict({gate: nn.Linear(inputs, units) for gate in self.gates})
        self.recur = nn.ModuleDict(
            {
                f"{gate}-{axis}": nn.Linear(units, units, bias=False)
                for gate in self.gates
                for axis in range(dimensions)
            }
        )
        seen = ["output", *(f"input-{d}" for d in range(dimensions)), *map(str, range(dimensions))]
        self.peep = nn.ParameterDict({name: torch.full((units,), 0.1) for name in seen})

    def forward(self, x, outputs, states):
        axes = range(self.dimensions)
        z = {
            gate: self.read[gate](x) + sum(self.recur[f"{gate}-{d}"](outputs[d]) for d in axes)
            for gate in self.gates
        }
        peeped = sum(self.peep[f"input-{d}"] * states[d] for d in axes)
        state = torch.sigmoid(z["input"] + peeped) * torch.tanh(z["candidate"])
        for d in axes:
            forget = torch.sigmoid(z[str(d)] + self.peep[str(d)] * states[d])
            state = state + forget * states[d]
        return torch.sigmoid(z["output"] + self.peep["output"] * state) * torch.tanh(state), state


@pytest.mark.parametrize("dimensions", [1, 2, 3])
@pytest.mark.parametrize("sizes", [(7, 10), (1, 1), (3, 5)])
def test_multidimensional_count_equals_a_cell_written_out(sizes, dimensions):
    cell = PeepholeCell(*sizes, dimensions)
    x = torch.randn(2, sizes[0])
    near = [torch.randn(2, sizes[1]) for _ in range(dimensions)]
    output, state = cell(x, near, near)
    (output.sum() + state.sum()).backward()
    used = sum(p.numel() for p in cell.parameters() if p.grad is not None)
    assert md_lstm_parameters(*sizes, dimensions) == used == count_parameters(cell)
    bare = used - sum(p.numel() for p in cell.peep.values())
    assert md_lstm_parameters(*sizes, dimensions, peepholes=False) == bare


def test_one_axis_is_an_lstm():
    for peepholes in (True, False):
        flat = recurrent_parameters("lstm", 7, 10, peepholes=peepholes)
        assert md_lstm_parameters(7, 10, 1, peepholes=peepholes) == flat


def test_shared_weights_count_once():
    layer = nn.Linear(4, 4)
    assert count_parameters(nn.Sequential(layer, nn.ReLU(), layer)) == 20


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: linear_parameters(0, 3), "in_features must be at least 1, got 0"),
        (lambda: conv_parameters(3, 4, 0), "kernel_size must be at least 1, got 0"),
        (lambda: conv_parameters(3, 4, ()), "kernel_size must be at least 1, got 0"),
        (lambda: conv_parameters(3, 4, 3, groups=2), "groups must divide .* got 2 for 3 and 4"),
        (lambda: embedding_parameters(5, 0), "embedding_dim must be at least 1, got 0"),
        (
            lambda: recurrent_parameters("mlp", 3, 4),
            "cell must be one of rnn, gru, lstm, got 'mlp'",
        ),
        (lambda: recurrent_parameters("gru", 3, 4, peepholes=True), "peepholes belong to an lstm"),
        (lambda: recurrent_parameters("lstm", 3, 4, biases=3), "biases must be 0, 1 or 2, got 3"),
        (lambda: recurrent_parameters("lstm", 3, 4, num_layers=0), "num_layers must be at least"),
        (lambda: md_lstm_parameters(3, 4, 0), "dimensions must be at least 1, got 0"),
    ],
)
def test_bad_sizes_are_refused_by_name(call, message):
    with pytest.raises(ValueError, match=message):
        call()
