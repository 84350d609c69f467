"""An optimizer that is itself a network: it reads gradients and writes updates.

Follows Andrychowicz et al., "Learning to learn by gradient descent by gradient descent" (2016).
One small LSTM serves every coordinate of the problem, each with a state of its own. Its gradients
come as logarithm and sign (`log_and_sign`). Two ways let coordinates know of each other: some
units of each layer are averaged over all coordinates (`averaged`), and a matrix shared by all
coordinates is written by outer products and read by products with a vector (`memory`). The paper
has a Neural Turing Machine with several heads for the second; here one head reads and one writes.

`unroll` runs an optimizer on problems. What it returns can be differentiated by the optimizer's
own parameters, which is how the optimizer is trained.
"""

import math
from collections.abc import Callable
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn

Objective = Callable[[Tensor], tuple[Tensor, Tensor]]
"""From parameters (problems, size) to losses (problems,) and gradients (problems, size)."""


def log_and_sign(gradient: Float[Tensor, "*shape"], p: float = 10.0) -> Float[Tensor, "*shape 2"]:
    """Return two numbers of moderate size for each component of a gradient of any size.

    A component g with |g| >= exp(-p) becomes (log|g| / p, sign g), a smaller one
    (-1, exp(p) g).

    Args:
        gradient: Gradients of any shape.
        p: How small a gradient still counts: exp(-10) is 0.000045.

    Raises:
        ValueError: If p is not positive.

    Source: Andrychowicz et al. (2016), appendix A.

    Example:
        >>> log_and_sign(torch.tensor([-1.0, 0.0])).tolist()
        [[0.0, -1.0], [-1.0, 0.0]]
    """
    if p <= 0:
        raise ValueError(f"p must be positive, got {p}")
    size, least = gradient.abs(), math.exp(-p)
    logarithm = size.clamp_min(least).log() / p  # -1 for whatever is smaller than exp(-p)
    direction = (gradient * math.exp(p)).clamp(-1, 1)  # the sign from |g| = exp(-p) on
    return torch.stack([logarithm, direction], dim=-1)


class OptimizerState(NamedTuple):
    """What a learned optimizer remembers between two steps.

    Attributes:
        cells: Hidden and cell state of each layer, (problems * size, hidden_size) each.
        memory: Matrix that the coordinates share, (problems, size, size), or None.
        reading: What each coordinate read last, (problems, size), or None.
    """

    cells: tuple[tuple[Tensor, Tensor], ...]
    memory: Tensor | None = None
    reading: Tensor | None = None

    def detach(self) -> "OptimizerState":
        """Cut the history, as truncated backpropagation through time does."""
        return OptimizerState(
            tuple((hidden.detach(), cell.detach()) for hidden, cell in self.cells),
            None if self.memory is None else self.memory.detach(),
            None if self.reading is None else self.reading.detach(),
        )


class LearnedOptimizer(nn.Module):
    """A coordinatewise LSTM that turns gradients into updates.

    Args:
        hidden_size: Units of each LSTM layer.
        num_layers: LSTM layers.
        preprocess: Whether gradients come as logarithm and sign, or as they are.
        averaged: Units of each layer whose output is averaged over the coordinates of a problem.
        memory: Whether the coordinates share a matrix, (size, size) for each problem.
        scale: Factor of the updates.

    Shape: gradients (problems, size) to updates (problems, size), any number of coordinates.

    Raises:
        ValueError: If `averaged` is negative or exceeds hidden_size.

    Source: Andrychowicz et al. (2016), section 2.1; averaging and memory, appendix B.
    """

    def __init__(
        self,
        hidden_size: int = 20,
        num_layers: int = 2,
        preprocess: bool = True,
        averaged: int = 0,
        memory: bool = False,
        scale: float = 0.1,
    ) -> None:
        super().__init__()
        if not 0 <= averaged <= hidden_size:
            raise ValueError(
                f"averaged must lie between 0 and hidden_size = {hidden_size}, got {averaged}"
            )
        self.preprocess, self.averaged, self.memory, self.scale = (
            preprocess,
            averaged,
            memory,
            scale,
        )
        inputs = (2 if preprocess else 1) + memory
        sizes = [inputs] + [hidden_size] * (num_layers - 1)
        self.layers = nn.ModuleList(nn.LSTMCell(size, hidden_size) for size in sizes)
        # The update; with a memory also the question and the two factors of what is written.
        self.head = nn.Linear(hidden_size, 4 if memory else 1, bias=False)
        self.hidden_size = hidden_size
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Start with small updates, so that the first problems are not blown up."""
        for layer in self.layers:
            assert isinstance(layer, nn.LSTMCell)
            layer.reset_parameters()
        nn.init.uniform_(self.head.weight, -0.1, 0.1)
        nn.init.uniform_(self.head.weight[:1], -0.02, 0.02)

    def start(self, theta: Float[Tensor, "problems size"]) -> OptimizerState:
        """Return the state before the first step, of the shape and type that theta asks for."""
        problems, size = theta.shape
        zeros = theta.new_zeros(problems * size, self.hidden_size)
        cells = tuple((zeros, zeros) for _ in self.layers)
        if not self.memory:
            return OptimizerState(cells)
        blank = theta.new_zeros(problems, size, size)
        return OptimizerState(cells, blank, theta.new_zeros(problems, size))

    def forward(
        self, gradient: Float[Tensor, "problems size"], state: OptimizerState
    ) -> tuple[Float[Tensor, "problems size"], OptimizerState]:
        """Return the update and the state after one step."""
        if gradient.ndim != 2:
            raise ValueError(
                f"gradient must have shape (problems, size), got {tuple(gradient.shape)}"
            )
        problems, size = gradient.shape
        inputs = log_and_sign(gradient) if self.preprocess else gradient.unsqueeze(-1)
        if state.reading is not None:
            inputs = torch.cat([inputs, state.reading.unsqueeze(-1)], dim=-1)
        signal = inputs.flatten(0, 1)  # (problems * size, inputs): coordinates are a batch
        cells = []
        for layer, before in zip(self.layers, state.cells, strict=True):
            hidden, cell = layer(signal, before)
            signal = self._average(hidden, problems)
            cells.append((signal, cell))
        outputs = self.head(signal).view(problems, size, -1)
        if state.memory is None:
            return self.scale * outputs[..., 0], OptimizerState(tuple(cells))
        update, question, left, right = outputs.unbind(-1)  # (problems, size) each
        memory = state.memory + left.unsqueeze(2) * right.unsqueeze(1)
        reading = (memory @ question.unsqueeze(2)).squeeze(2)
        return self.scale * (update + reading), OptimizerState(tuple(cells), memory, reading)

    def _average(self, hidden: Tensor, problems: int) -> Tensor:
        """Replace the first `averaged` units by their mean over a problem's coordinates."""
        if not self.averaged:
            return hidden
        each = hidden.view(problems, -1, self.hidden_size)
        shared, own = each[..., : self.averaged], each[..., self.averaged :]
        mean = shared.mean(dim=1, keepdim=True).expand_as(shared)
        return torch.cat([mean, own], dim=-1).flatten(0, 1)


class Quadratics:
    """A batch of random problems: the squared length of W theta - y, with Gaussian W and y.

    Args:
        count: Number of problems.
        size: Components of theta; W has shape (size, size).
        generator: Source of the random numbers.
        dtype: Number format.

    Source: Andrychowicz et al. (2016), section 3.1.
    """

    def __init__(
        self,
        count: int,
        size: int = 10,
        generator: torch.Generator | None = None,
        dtype: torch.dtype = torch.float32,
    ) -> None:
        self.matrix = torch.randn(count, size, size, generator=generator, dtype=dtype)
        self.target = torch.randn(count, size, generator=generator, dtype=dtype)

    def start(self) -> Float[Tensor, "problems size"]:
        """Return the parameters from which every optimizer begins: zeros."""
        return torch.zeros_like(self.target)

    def __call__(
        self, theta: Float[Tensor, "*more problems size"]
    ) -> tuple[Float[Tensor, "*more problems"], Float[Tensor, "*more problems size"]]:
        """Return each problem's loss and its gradient by theta."""
        residual = (self.matrix @ theta.unsqueeze(-1)).squeeze(-1) - self.target
        gradient = 2 * (self.matrix.mT @ residual.unsqueeze(-1)).squeeze(-1)
        return (residual**2).sum(-1), gradient


def unroll(
    optimizer: LearnedOptimizer,
    objective: Objective,
    theta: Float[Tensor, "problems size"],
    state: OptimizerState,
    steps: int,
    second_order: bool = False,
) -> tuple[Float[Tensor, "steps problems"], Float[Tensor, "problems size"], OptimizerState]:
    """Let an optimizer take some steps; the losses can be differentiated by its parameters.

    Args:
        optimizer: What proposes the updates.
        objective: The problems: from theta to losses and gradients.
        theta: Where the parameters stand.
        state: What the optimizer remembers, at first `optimizer.start(theta)`.
        steps: How many steps to take.
        second_order: Whether the meta-gradient also flows through the gradients that the
            optimizer reads. The paper ignores that path, which needs second derivatives.

    Returns:
        The losses after each step, the parameters and the state after the last.

    Raises:
        ValueError: If steps is not positive.

    Source: Andrychowicz et al. (2016), section 2 and figure 2.
    """
    if steps < 1:
        raise ValueError(f"steps must be at least 1, got {steps}")
    losses = []
    gradient = objective(theta)[1]
    for _ in range(steps):
        update, state = optimizer(gradient if second_order else gradient.detach(), state)
        theta = theta + update
        loss, gradient = objective(theta)
        losses.append(loss)
    return torch.stack(losses), theta, state
