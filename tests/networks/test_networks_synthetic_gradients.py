"""Synthetic gradients: exact where a linear prediction can be, and blind to what lies above."""

from itertools import pairwise

import pytest
import torch
from torch import nn

from coursekit.networks import DecoupledNetwork, SyntheticGradient


def squared_error(outputs, targets):
    return ((outputs - targets) ** 2).sum(1) / 2


def linear_network(conditioned=True, units="example", sizes=(5, 4, 4), classes=3):
    torch.manual_seed(0)
    layers = [nn.Linear(a, b) for a, b in pairwise(sizes)]
    width = classes if conditioned else 0
    network = DecoupledNetwork(
        layers,
        [SyntheticGradient(size, width) for size in sizes[1:]],
        nn.Linear(sizes[-1], classes),
        squared_error,
        units,
    )
    return network.double()


def data(batch=40, size=5, classes=3):
    generator = torch.Generator().manual_seed(1)
    inputs = torch.randn(batch, size, generator=generator, dtype=torch.float64)
    return inputs, torch.randn(batch, classes, generator=generator, dtype=torch.float64)


def train_interfaces(network, inputs, targets, condition):
    """Fit the interfaces to their targets until nothing moves; the layers stay as they are."""
    optimizer = torch.optim.LBFGS(
        network.interfaces.parameters(), max_iter=200, line_search_fn="strong_wolfe"
    )
    # The targets come from the predictions one layer above, so the truth needs a round a layer.
    for _ in range(4):
        outputs, wanted = network.update(inputs, targets, condition)

        def closure(outputs=outputs, wanted=wanted):
            optimizer.zero_grad()
            loss = network.interface_loss(outputs, wanted, condition)
            loss.backward()
            return loss

        for _ in range(5):
            optimizer.step(closure)


def test_interfaces_of_a_fixed_linear_network_converge_to_the_true_gradient():
    network, (inputs, targets) = linear_network(), data()
    train_interfaces(network, inputs, targets, targets)
    outputs, _ = network.update(inputs, targets, targets)
    true = network.true_gradients(inputs, targets)
    for interface, output, gradient in zip(network.interfaces, outputs, true, strict=True):
        torch.testing.assert_close(interface(output, targets), gradient, atol=1e-5, rtol=1e-4)


def test_without_the_label_the_same_interfaces_cannot_converge_to_it():
    network, (inputs, targets) = linear_network(conditioned=False), data()
    train_interfaces(network, inputs, targets, None)
    outputs, _ = network.update(inputs, targets)
    true = network.true_gradients(inputs, targets)
    error = (network.interfaces[1](outputs[1]) - true[1]).norm() / true[1].norm()
    assert error > 0.5


@pytest.mark.parametrize("units", ["example", "batch"])
def test_perfect_predictions_give_the_gradients_of_backpropagation(units):
    network, (inputs, targets) = linear_network(units=units), data()
    true = network.true_gradients(inputs, targets)
    scale = 1 if units == "example" else 1 / len(inputs)
    for interface, gradient in zip(network.interfaces, true, strict=True):
        interface.forward = lambda outputs, condition, gradient=gradient: scale * gradient
    network.zero_grad()
    _, wanted = network.update(inputs, targets, targets)
    parameters = [*network.layers.parameters(), *network.head.parameters()]
    expected = torch.autograd.grad(squared_error(network(inputs), targets).mean(), parameters)
    for parameter, gradient in zip(parameters, expected, strict=True):
        torch.testing.assert_close(parameter.grad, gradient)
    for target, gradient in zip(wanted, true, strict=True):
        torch.testing.assert_close(target, scale * gradient)


def test_an_update_uses_no_information_from_above():
    network, (inputs, targets) = linear_network(), data()
    nn.init.normal_(network.interfaces[0].linear.weight)
    updates = []
    for change in (False, True):
        if change:
            for module in (network.layers[1], network.interfaces[1], network.head):
                for parameter in module.parameters():
                    nn.init.normal_(parameter)
        network.zero_grad()
        network.update(inputs, targets, targets)
        updates.append(network.layers[0].weight.grad.clone())
        assert network.interfaces[0].linear.weight.grad is None
    assert updates[0].abs().max() > 0
    assert torch.equal(updates[0], updates[1])


def test_a_layer_updates_before_the_next_one_has_run():
    network, (inputs, targets) = linear_network(), data()
    nn.init.normal_(network.interfaces[0].linear.weight)
    network.update_layer(0, inputs, targets)
    assert network.layers[0].weight.grad.abs().max() > 0
    assert network.layers[1].weight.grad is None
    assert network.head.weight.grad is None


def test_the_last_target_is_the_true_gradient_and_the_others_are_predictions():
    network, (inputs, targets) = linear_network(), data()
    outputs, wanted = network.update(inputs, targets, targets)
    torch.testing.assert_close(wanted[1], network.true_gradients(inputs, targets)[1])
    # Untrained interfaces predict zero, and zero is what they send down.
    assert torch.equal(wanted[0], torch.zeros_like(outputs[0]))


def test_a_target_per_example_does_not_shrink_with_the_batch():
    for units, factor in (("example", 1.0), ("batch", 0.5)):
        network, (inputs, targets) = linear_network(units=units), data()
        _, small = network.update(inputs[:20], targets[:20], targets[:20])
        _, large = network.update(inputs, targets, targets)
        torch.testing.assert_close(large[1][:20], factor * small[1])


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: SyntheticGradient(4, 3)(torch.zeros(2, 4)),
            r"condition must have 3 features, got 0 \(none was given\)",
        ),
        (
            lambda: SyntheticGradient(4)(torch.zeros(2, 4), torch.zeros(2, 3)),
            "condition must have 0 features, got 3",
        ),
        (
            lambda: DecoupledNetwork([nn.Linear(2, 2)], [], nn.Linear(2, 1), squared_error),
            "interfaces must be as many as layers, 1, got 0",
        ),
        (lambda: linear_network(units="mean"), 'units must be "example" or "batch", got \'mean\''),
    ],
)
def test_bad_input_names_the_argument(call, message):
    with pytest.raises(ValueError, match=message):
        call()
