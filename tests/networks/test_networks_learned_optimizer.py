"""The learned optimizer: equivariant to the order of coordinates, with an exact meta-gradient."""

import math

import pytest
import torch
from torch import nn

from coursekit.networks import LearnedOptimizer, Quadratics, log_and_sign, unroll

VARIANTS = {
    "plain": {"preprocess": False},
    "preprocessed": {},
    "averaged": {"averaged": 2},
    "memory": {"memory": True},
}


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def optimizer(**settings):
    torch.manual_seed(0)
    made = LearnedOptimizer(hidden_size=5, scale=0.5, **settings).double()
    nn.init.normal_(made.head.weight, std=0.5)  # large updates, so that differences show
    return made


def problems(count=3, size=4):
    return Quadratics(count, size, seeded(), torch.float64)


def test_log_and_sign_follows_the_formula_on_both_sides_of_the_threshold():
    for p in (2.0, 10.0):
        for gradient in (-300.0, -1.0, math.exp(-p) * 1.01, math.exp(-p) * 0.5, 1e-9, 0.0):
            if abs(gradient) >= math.exp(-p):
                expected = [math.log(abs(gradient)) / p, math.copysign(1, gradient)]
            else:
                expected = [-1, math.exp(p) * gradient]
            got = log_and_sign(torch.tensor(gradient, dtype=torch.float64), p)
            torch.testing.assert_close(got, torch.tensor(expected, dtype=torch.float64))


def test_log_and_sign_is_continuous_where_the_formula_changes():
    edge = torch.tensor(math.exp(-10), dtype=torch.float64)
    below, above = log_and_sign(edge * (1 - 1e-9)), log_and_sign(edge * (1 + 1e-9))
    torch.testing.assert_close(below, above, atol=1e-8, rtol=0)


@pytest.mark.parametrize("settings", VARIANTS.values(), ids=VARIANTS)
def test_permuted_coordinates_get_permuted_updates(settings):
    made, objective = optimizer(**settings), problems()
    order = torch.tensor([2, 0, 3, 1])
    gradients = torch.randn(6, 3, 4, generator=seeded(), dtype=torch.float64)
    state, moved = made.start(objective.start()), made.start(objective.start())
    for gradient in gradients:
        update, state = made(gradient, state)
        permuted, moved = made(gradient[:, order], moved)
        torch.testing.assert_close(permuted, update[:, order])
    assert update.abs().max() > 1e-3


@pytest.mark.parametrize(
    ("settings", "shared"),
    [({}, False), ({"averaged": 2}, True), ({"memory": True}, True)],
)
def test_only_averaging_and_memory_let_coordinates_know_of_each_other(settings, shared):
    made = optimizer(**settings)
    gradients = torch.randn(4, 1, 3, generator=seeded(), dtype=torch.float64)
    changed = gradients.clone()
    changed[:, 0, 2] *= 5  # another coordinate's gradient
    first = []
    for given in (gradients, changed):
        state = made.start(given[0])
        for gradient in given:
            update, state = made(gradient, state)
        first.append(update[0, 0].item())
    assert (abs(first[0] - first[1]) > 1e-9) == shared


@pytest.mark.parametrize("settings", VARIANTS.values(), ids=VARIANTS)
def test_problems_of_one_batch_do_not_know_of_each_other(settings):
    made = optimizer(**settings)
    gradients = torch.randn(4, 3, 4, generator=seeded(), dtype=torch.float64)
    together, alone = made.start(gradients[0]), made.start(gradients[0, :1])
    for gradient in gradients:
        update, together = made(gradient, together)
        single, alone = made(gradient[:1], alone)
    torch.testing.assert_close(update[:1], single)


def test_averaged_cells_are_equal_across_coordinates_and_the_others_are_not():
    made, objective = optimizer(averaged=2), problems()
    plain = optimizer()  # the same weights, nothing averaged
    gradient = objective(objective.start())[1]
    _, state = made(gradient, made.start(gradient))
    _, without = plain(gradient, plain.start(gradient))
    for hidden, _ in state.cells:
        each = hidden.view(3, 4, 5)
        assert torch.equal(each[..., :2], each[:, :1, :2].expand(3, 4, 2))
        assert (each[..., 2:] - each[:, :1, 2:]).abs().max() > 1e-4
    mean = without.cells[0][0].view(3, 4, 5).mean(1)
    torch.testing.assert_close(state.cells[0][0].view(3, 4, 5)[:, 0, :2], mean[:, :2])


def test_without_averaging_the_layers_equal_torch_lstm():
    made = optimizer(preprocess=False)
    library = nn.LSTM(1, 5, 2).double()
    library.load_state_dict(
        {
            f"{name}_l{index}": value
            for index, layer in enumerate(made.layers)
            for name, value in layer.state_dict().items()
        }
    )
    gradients = torch.randn(7, 3, 4, generator=seeded(), dtype=torch.float64)
    hidden, _ = library(gradients.reshape(7, 12, 1))
    expected = 0.5 * (hidden @ made.head.weight.T).view(7, 3, 4)
    state = made.start(gradients[0])
    for gradient, wanted in zip(gradients, expected, strict=True):
        update, state = made(gradient, state)
        torch.testing.assert_close(update, wanted)


def test_the_memory_is_a_sum_of_outer_products_and_is_read_by_a_product():
    made = optimizer(memory=True)
    heads = []
    made.head.register_forward_hook(lambda _module, _given, out: heads.append(out.view(3, 4, 4)))
    gradients = torch.randn(5, 3, 4, generator=seeded(), dtype=torch.float64)
    state = made.start(gradients[0])
    for gradient in gradients:
        update, state = made(gradient, state)
    memory = sum(torch.einsum("pi,pj->pij", head[..., 2], head[..., 3]) for head in heads)
    reading = torch.einsum("pij,pj->pi", memory, heads[-1][..., 1])
    torch.testing.assert_close(state.memory, memory)
    torch.testing.assert_close(update, 0.5 * (heads[-1][..., 0] + reading))


def test_quadratics_match_their_definition_and_autograd():
    objective = problems(5, 3)
    theta = torch.randn(5, 3, generator=seeded(2), dtype=torch.float64).requires_grad_()
    loss, gradient = objective(theta)
    rows = zip(objective.matrix, theta, objective.target, strict=True)
    expected = [(W @ t - y).square().sum() for W, t, y in rows]
    torch.testing.assert_close(loss, torch.stack(expected))
    torch.testing.assert_close(gradient, torch.autograd.grad(loss.sum(), theta)[0])


def meta_loss(made, objective, steps=6, second_order=True):
    theta = objective.start()
    return unroll(made, objective, theta, made.start(theta), steps, second_order)[0].mean()


def frozen(objective, gradients):
    """Return the objective with gradients replayed from an earlier run, whatever theta is."""
    replay = iter(gradients)
    return lambda theta: (objective(theta)[0], next(replay))


def differences(function, parameter, indices, epsilon=1e-5):
    """Return two-sided differences of a function by some components of a parameter."""
    slopes, flat = [], parameter.data.view(-1)
    for index in indices:
        values = []
        for sign in (1, -1):
            flat[index] += sign * epsilon
            values.append(function().item())
            flat[index] -= sign * epsilon
        slopes.append((values[0] - values[1]) / (2 * epsilon))
    return torch.tensor(slopes, dtype=torch.float64)


@pytest.mark.parametrize("settings", VARIANTS.values(), ids=VARIANTS)
@pytest.mark.parametrize("second_order", [True, False])
def test_the_unrolled_meta_gradient_equals_finite_differences(settings, second_order):
    made, objective = optimizer(**settings), problems()
    meta_loss(made, objective, second_order=second_order).backward()
    seen = []
    theta = objective.start()
    state = made.start(theta)
    with torch.no_grad():
        for _ in range(7):
            seen.append(objective(theta)[1])
            update, state = made(seen[-1], state)
            theta = theta + update

    def evaluate():
        # Without second derivatives the gradients count as constants: replay those of the run.
        run = objective if second_order else frozen(objective, seen)
        with torch.no_grad():
            first = problems().start()
            return unroll(made, run, first, made.start(first), 6)[0].mean()

    for parameter in (made.head.weight, made.layers[0].weight_ih, made.layers[1].weight_hh):
        indices = range(0, parameter.numel(), max(parameter.numel() // 4, 1))
        wanted = differences(evaluate, parameter, indices)
        got = parameter.grad.view(-1)[list(indices)]
        torch.testing.assert_close(got, wanted, rtol=1e-5, atol=1e-7)


def test_the_path_that_the_paper_ignores_changes_the_meta_gradient():
    gradients = []
    for second_order in (True, False):
        made = optimizer()
        meta_loss(made, problems(), second_order=second_order).backward()
        gradients.append(made.head.weight.grad)
    assert (gradients[0] - gradients[1]).norm() > 1e-3 * gradients[0].norm()


def test_two_short_unrolls_equal_one_long():
    made, objective = optimizer(memory=True), problems()
    theta = objective.start()
    long, end, _ = unroll(made, objective, theta, made.start(theta), 6)
    first, middle, state = unroll(made, objective, theta, made.start(theta), 2)
    second, last, _ = unroll(made, objective, middle.detach(), state.detach(), 4)
    torch.testing.assert_close(torch.cat([first, second]), long)
    torch.testing.assert_close(last, end)


def test_one_optimizer_serves_problems_of_any_size():
    made = optimizer(averaged=1, memory=True)
    for count, size in ((1, 1), (2, 7), (5, 3)):
        objective = problems(count, size)
        losses, theta, _ = unroll(
            made, objective, objective.start(), made.start(objective.start()), 3
        )
        assert losses.shape == (3, count)
        assert theta.shape == (count, size)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: log_and_sign(torch.zeros(2), 0), "p must be positive, got 0"),
        (
            lambda: LearnedOptimizer(8, averaged=9),
            "averaged must lie between 0 and hidden_size = 8, got 9",
        ),
        (
            lambda: optimizer()(torch.zeros(4), optimizer().start(torch.zeros(1, 4))),
            r"gradient must have shape \(problems, size\), got \(4,\)",
        ),
        (
            lambda: unroll(optimizer(), problems(), problems().start(), None, 0),
            "steps must be at least 1, got 0",
        ),
    ],
)
def test_bad_input_names_the_argument(call, message):
    with pytest.raises(ValueError, match=message):
        call()
