"""How many parameters a layer has, from its sizes alone.

Every layer is counted by one rule: count the distinct weight matrices, multiply their sides, and
add the biases. A weight that is used in many places, as a filter is at every position and a
recurrent matrix at every step, counts once. So neither the size of an image nor the length of a
sequence appears in any of these formulas.

Libraries and textbooks disagree about recurrent layers. Textbooks give each gate one bias; torch
gives it two, one beside the input's matrix and one beside the recurrent one, because the routines
of cuDNN have both. Only their sum matters in an LSTM. Peepholes follow Gers and Schmidhuber,
"Recurrent nets that time and count" (2000); torch has none.
"""

from torch import nn

BLOCKS: dict[str, int] = {"rnn": 1, "gru": 3, "lstm": 4}
"""Pairs of an input's and a recurrent matrix in each kind of recurrent layer."""


def count_parameters(module: nn.Module) -> int:
    """Count the numbers that a module learns or could learn; shared ones count once."""
    return sum(parameter.numel() for parameter in module.parameters())


def linear_parameters(in_features: int, out_features: int, *, bias: bool = True) -> int:
    """Count the parameters of a fully connected layer.

    Args:
        in_features: Inputs of each unit, at least 1.
        out_features: Units, at least 1.
        bias: Whether each unit has a bias.

    Returns:
        ``(in_features + 1) * out_features`` with biases.

    Raises:
        ValueError: If a size is below 1.

    >>> linear_parameters(784, 10)
    7850
    """
    _at_least_one(in_features=in_features, out_features=out_features)
    return (in_features + bool(bias)) * out_features


def conv_parameters(
    in_channels: int,
    out_channels: int,
    kernel_size: int | tuple[int, ...],
    *,
    groups: int = 1,
    bias: bool = True,
) -> int:
    """Count the parameters of a convolution over any number of axes.

    Args:
        in_channels: Channels that come in.
        out_channels: Filters.
        kernel_size: Extent of a filter along each axis; one number stands for a square, as in an
            image, so write ``(5,)`` for a filter of 5 samples.
        groups: Into how many groups the channels are divided; must divide both numbers.
        bias: Whether each filter has a bias.

    Returns:
        A filter's weights plus its bias, times the number of filters.

    Raises:
        ValueError: If a size is below 1 or `groups` does not divide the channels.

    >>> conv_parameters(3, 10, 3)
    280
    """
    extent = (kernel_size, kernel_size) if isinstance(kernel_size, int) else tuple(kernel_size)
    _at_least_one(in_channels=in_channels, out_channels=out_channels, groups=groups)
    _at_least_one(kernel_size=min(extent, default=0))
    if in_channels % groups or out_channels % groups:
        raise ValueError(
            f"groups must divide in_channels and out_channels, "
            f"got {groups} for {in_channels} and {out_channels}"
        )
    weights = in_channels // groups
    for size in extent:
        weights *= size
    return (weights + bool(bias)) * out_channels


def embedding_parameters(num_embeddings: int, embedding_dim: int) -> int:
    """Count the parameters of a table with one vector for each of `num_embeddings` words.

    Raises:
        ValueError: If a size is below 1.

    >>> embedding_parameters(10_000, 300)
    3000000
    """
    _at_least_one(num_embeddings=num_embeddings, embedding_dim=embedding_dim)
    return num_embeddings * embedding_dim


def recurrent_parameters(
    cell: str,
    input_size: int,
    hidden_size: int,
    *,
    biases: int = 1,
    peepholes: bool = False,
    num_layers: int = 1,
    bidirectional: bool = False,
) -> int:
    """Count the parameters of a recurrent layer or stack.

    Args:
        cell: ``"rnn"``, ``"gru"`` or ``"lstm"``.
        input_size: Components of one step of the input.
        hidden_size: Units.
        biases: Biases a gate and unit: 1 in textbooks, 2 in torch, 0 without.
        peepholes: Whether input, forget and output gate also read their own cell's state, with one
            weight each; an LSTM's only.
        num_layers: Layers on top of each other; each reads the outputs of the one below.
        bidirectional: Whether each layer has a second set of weights that runs backward.

    Returns:
        The number of parameters.

    Raises:
        ValueError: If `cell` is unknown, a size below 1, `biases` not 0, 1 or 2, or peepholes are
            asked of a cell that has no state to peep at.

    >>> recurrent_parameters("lstm", 7, 10), recurrent_parameters("lstm", 7, 10, biases=2)
    (720, 760)
    """
    if cell not in BLOCKS:
        raise ValueError(f"cell must be one of {', '.join(BLOCKS)}, got {cell!r}")
    if peepholes and cell != "lstm":
        raise ValueError(f"peepholes belong to an lstm, got cell {cell!r}")
    if biases not in (0, 1, 2):
        raise ValueError(f"biases must be 0, 1 or 2, got {biases!r}")
    _at_least_one(input_size=input_size, hidden_size=hidden_size, num_layers=num_layers)
    directions = 2 if bidirectional else 1
    total = 0
    for layer in range(num_layers):
        inputs = input_size if layer == 0 else directions * hidden_size
        block = hidden_size * (inputs + hidden_size + biases)
        total += directions * (BLOCKS[cell] * block + 3 * hidden_size * bool(peepholes))
    return total


def md_lstm_parameters(
    input_size: int, hidden_size: int, dimensions: int = 2, *, peepholes: bool = True
) -> int:
    """Count the parameters of a multidimensional LSTM that runs in one direction.

    At a point of a grid such a cell reads the outputs and states of one predecessor along each
    axis. It has one forget gate for each axis, and every gate has one recurrent matrix for each
    axis, so the count grows with the square of the number of axes. With one axis it is an LSTM.

    Args:
        input_size: Components of the input at one point.
        hidden_size: Units.
        dimensions: Axes of the grid, 2 for an image.
        peepholes: Whether each gate also reads the states that it controls, one weight for each
            pair of gate and state: the input gate all predecessors', a forget gate its own
            predecessor's, the output gate the new one.

    Returns:
        The number of parameters, with one bias a gate.

    Raises:
        ValueError: If a size is below 1.

    Source: Graves, Fernández and Schmidhuber, "Multi-dimensional recurrent neural networks" (2007).

    >>> md_lstm_parameters(7, 10, 1) == recurrent_parameters("lstm", 7, 10, peepholes=True)
    True
    """
    _at_least_one(input_size=input_size, hidden_size=hidden_size, dimensions=dimensions)
    gates = 3 + dimensions  # input gate, candidate, output gate, and a forget gate for each axis
    total = gates * hidden_size * (input_size + dimensions * hidden_size + 1)
    return total + (2 * dimensions + 1) * hidden_size * bool(peepholes)


def _at_least_one(**sizes: int) -> None:
    for name, size in sizes.items():
        if size < 1:
            raise ValueError(f"{name} must be at least 1, got {size}")
