"""Algorithmic sequence tasks: what must be kept in memory, and for how long, is known exactly.

Copy, repeat copy, associative recall and priority sort follow Graves, Wayne and Danihelka, "Neural
Turing Machines" (2014); the adding problem Hochreiter and Schmidhuber, "Long Short-Term Memory"
(1997), experiment 4; parity, addition and memorization Kalchbrenner, Danihelka and Graves, "Grid
Long Short-Term Memory" (2016).

All of them return `Sequences`. Examples of one batch differ in length: what lies behind an
example's length is zero in the inputs and False in the mask. Batches come first, then time.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from numpy.typing import NDArray
from torch import Tensor

IGNORE = -100  # what torch.nn.functional.cross_entropy leaves out
BLANK = 0  # symbol of addition and memorization at steps where nothing is read or written
Lengths = tuple[int, int]


@dataclass(frozen=True)
class Sequences:
    """A batch of padded sequences with exact targets.

    Attributes:
        task: Name of the task.
        inputs: float32 of shape (n, time, channels), or int64 symbols of shape (n, time).
        targets: What to answer. float32 of shape (n, time, channels), zero where the mask is
            False; or int64 of shape (n, time), -100 where the mask is False.
        mask: Steps that count, bool of shape (n, time).
        lengths: Steps of each example, int64 of shape (n,).
    """

    task: str
    inputs: Float[Tensor, "n time channels"] | Int[Tensor, "n time"]
    targets: Float[Tensor, "n time outputs"] | Int[Tensor, "n time"]
    mask: Bool[Tensor, "n time"]
    lengths: Int[Tensor, " n"]

    def __len__(self) -> int:
        return len(self.lengths)

    def __repr__(self) -> str:
        low, high = int(self.lengths.min()), int(self.lengths.max())
        return f"Sequences({len(self):,} examples of {self.task}, {low} to {high} steps)"


def check_least(name: str, value: int, low: int) -> None:
    """Refuse a number that is too small.

    Args:
        name: Name of the argument.
        value: The number.
        low: Smallest value allowed.

    Raises:
        ValueError: It is below `low`.
    """
    if value < low:
        raise ValueError(f"{name} must be at least {low}, got {value}")


def check_range(name: str, values: Lengths, low: int, high: int | None = None) -> None:
    """Refuse a range that is reversed or out of bounds.

    Args:
        name: Name of the argument.
        values: Smallest and largest value, both included.
        low: Smallest value allowed.
        high: Largest value allowed, or None.

    Raises:
        ValueError: It is not a pair (smallest, largest) within the bounds.
    """
    bounds = f"at least {low}" if high is None else f"within {low} and {high}"
    if len(values) != 2 or not low <= values[0] <= values[1] or (high and values[1] > high):
        raise ValueError(f"{name} must be a pair (smallest, largest) {bounds}, got {values}")


def _draw_lengths(rng: np.random.Generator, examples: int, lengths: Lengths) -> NDArray[np.int64]:
    return rng.integers(lengths[0], lengths[1], size=examples, endpoint=True)


def _sequences(
    task: str,
    inputs: NDArray[np.float32] | NDArray[np.int64],
    targets: NDArray[np.float32] | NDArray[np.int64],
    mask: NDArray[np.bool_],
    lengths: NDArray[np.int64],
) -> Sequences:
    arrays = (inputs, targets, mask, lengths)
    return Sequences(task, *(torch.from_numpy(np.ascontiguousarray(array)) for array in arrays))


def copy(examples: int, lengths: Lengths = (1, 20), bits: int = 8, *, seed: int) -> Sequences:
    """Draw the copy task: repeat random vectors after a delimiter.

    An example of length L takes 2 L + 1 steps: L vectors, the delimiter, L steps of silence in
    which the vectors are to be written.

    Args:
        examples: Number of examples.
        lengths: Smallest and largest L; the paper trains on 1 to 20.
        bits: Width of a vector.
        seed: The same seed gives the same bytes.

    Returns:
        inputs (n, time, bits + 1), the last channel is the delimiter's; targets (n, time, bits).

    Raises:
        ValueError: An argument is out of its range.

    Source: Graves et al. (2014), section 4.1.

    >>> copy(2, (3, 3), bits=4, seed=0).inputs.shape
    torch.Size([2, 7, 5])
    """
    check_least("examples", examples, 1)
    check_range("lengths", lengths, 1)
    check_least("bits", bits, 1)
    rng = np.random.default_rng(seed)
    steps = _draw_lengths(rng, examples, lengths)
    return _sequences("copy", *_repeat(rng, steps, np.ones_like(steps), bits))


def repeat_copy(
    examples: int,
    lengths: Lengths = (1, 10),
    repeats: Lengths = (1, 10),
    bits: int = 8,
    *,
    seed: int,
) -> Sequences:
    """Draw the repeat-copy task: write the vectors R times, then an end marker.

    An example of length L takes L + 1 + R L + 1 steps. The number of repeats stands on the
    delimiter's channel, shifted and scaled to mean 0 and variance 1 over 1 to 10 whatever
    `repeats` is, so that a number means the same in training and in a test with more repeats;
    the channel before it marks the delimiter.

    Args:
        examples: Number of examples.
        lengths: Smallest and largest L; the paper trains on 1 to 10.
        repeats: Smallest and largest R; the paper trains on 1 to 10.
        bits: Width of a vector.
        seed: The same seed gives the same bytes.

    Returns:
        inputs (n, time, bits + 2): vector, delimiter, repeats; targets (n, time, bits + 1), the
        last channel is the end marker.

    Raises:
        ValueError: An argument is out of its range.

    Source: Graves et al. (2014), section 4.2. The separate channel of the delimiter is ours: a
    scaled number of repeats may be near zero.
    """
    check_least("examples", examples, 1)
    check_range("lengths", lengths, 1)
    check_range("repeats", repeats, 1)
    check_least("bits", bits, 1)
    rng = np.random.default_rng(seed)
    steps = _draw_lengths(rng, examples, lengths)
    times = _draw_lengths(rng, examples, repeats)
    inputs, targets, mask, total = _repeat(rng, steps, times, bits, extra=1)
    rows = np.arange(examples)
    inputs[rows, steps, bits + 1] = (times - 5.5) / np.sqrt(8.25)  # mean, variance of 1 to 10
    targets[rows, total - 1, bits] = 1
    return _sequences("repeat-copy", inputs, targets, mask, total)


def _repeat(
    rng: np.random.Generator,
    steps: NDArray[np.int64],
    times: NDArray[np.int64],
    bits: int,
    extra: int = 0,
) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.bool_], NDArray[np.int64]]:
    """Lay out vectors, a delimiter, the vectors `times` times; with `extra` steps and channels."""
    examples, longest, end = len(steps), steps.max(), steps + 1 + steps * times
    time = np.arange(end.max() + extra)
    vectors = rng.integers(0, 2, size=(examples, longest, bits)).astype(np.float32)
    inputs = np.zeros((examples, len(time), bits + 1 + extra), np.float32)
    inputs[:, :longest, :bits] = vectors * (time[:longest] < steps[:, None])[..., None]
    inputs[np.arange(examples), steps, bits] = 1
    targets = np.zeros((examples, len(time), bits + extra), np.float32)
    rows, columns = np.nonzero((time > steps[:, None]) & (time < end[:, None]))
    targets[rows, columns, :bits] = vectors[rows, (columns - steps[rows] - 1) % steps[rows]]
    mask = (time > steps[:, None]) & (time < end[:, None] + extra)
    return inputs, targets, mask, end + extra


def associative_recall(
    examples: int, items: Lengths = (2, 6), item_length: int = 3, bits: int = 6, *, seed: int
) -> Sequences:
    """Draw the associative-recall task: shown one of the items again, write the one after it.

    Each item is a delimiter and `item_length` vectors; then the query stands between two
    delimiters of a second kind, and `item_length` steps of silence follow. Items of an example
    differ from each other, so the answer is unique.

    Args:
        examples: Number of examples.
        items: Smallest and largest number of items; the paper trains on 2 to 6.
        item_length: Vectors an item; 3 in the paper.
        bits: Width of a vector; 6 in the paper.
        seed: The same seed gives the same bytes.

    Returns:
        inputs (n, time, bits + 2): vector, delimiter of items, delimiter of the query; targets
        (n, time, bits).

    Raises:
        ValueError: An argument is out of its range, or `bits` is too small for distinct items.

    Source: Graves et al. (2014), section 4.3.
    """
    check_least("examples", examples, 1)
    check_range("items", items, 2)
    check_least("item_length", item_length, 1)
    check_least("bits", bits, 1)
    if 2 ** (bits * item_length) < 4 * items[1]:
        raise ValueError(
            f"bits * item_length must be large enough for {items[1]} distinct items, "
            f"got {bits} * {item_length}"
        )
    rng = np.random.default_rng(seed)
    counts = _draw_lengths(rng, examples, items)
    vectors = _distinct_items(rng, (examples, items[1], item_length, bits))
    query = rng.integers(0, counts - 1)  # the last item has no successor
    rows, width = np.arange(examples), item_length + 1

    lengths = counts * width + width + 1 + item_length
    inputs = np.zeros((examples, lengths.max(), bits + 2), np.float32)
    blocks = np.zeros((examples, items[1], width, bits + 2), np.float32)
    blocks[:, :, 0, bits] = 1
    blocks[:, :, 1:, :bits] = vectors
    blocks *= (np.arange(items[1]) < counts[:, None])[..., None, None]
    shown = min(items[1] * width, inputs.shape[1])
    inputs[:, :shown] = blocks.reshape(examples, -1, bits + 2)[:, :shown]

    start = (counts * width)[:, None] + np.arange(item_length)  # (n, item_length)
    inputs[rows, counts * width, bits + 1] = 1
    inputs[rows[:, None], start + 1, :bits] = vectors[rows, query]
    inputs[rows, counts * width + width, bits + 1] = 1
    targets = np.zeros((examples, lengths.max(), bits), np.float32)
    targets[rows[:, None], start + width + 1] = vectors[rows, query + 1]
    mask = np.zeros(targets.shape[:2], bool)
    mask[rows[:, None], start + width + 1] = True
    return _sequences("associative-recall", inputs, targets, mask, lengths)


def _distinct_items(
    rng: np.random.Generator, shape: tuple[int, int, int, int]
) -> NDArray[np.float32]:
    """Draw binary items (n, items, item_length, bits), drawing examples with equal items again."""
    vectors = rng.integers(0, 2, size=shape)
    again = np.arange(shape[0])
    while len(again):
        flat = vectors[again].reshape(len(again), shape[1], -1)
        equal = (flat[:, :, None] == flat[:, None]).all(axis=-1)  # (again, items, items)
        again = again[equal.sum(axis=(1, 2)) > shape[1]]
        vectors[again] = rng.integers(0, 2, size=(len(again), *shape[1:]))
    return vectors.astype(np.float32)


def priority_sort(
    examples: int, length: int = 20, kept: int = 16, bits: int = 8, *, seed: int
) -> Sequences:
    """Draw the priority-sort task: write the vectors of highest priority, highest first.

    Args:
        examples: Number of examples.
        length: Vectors shown; 20 in the paper.
        kept: Vectors to write; 16 in the paper.
        bits: Width of a vector.
        seed: The same seed gives the same bytes.

    Returns:
        inputs (n, length + 1 + kept, bits + 2): vector, its priority in [-1, 1), delimiter;
        targets (n, length + 1 + kept, bits).

    Raises:
        ValueError: An argument is out of its range.

    Source: Graves et al. (2014), section 4.5.
    """
    check_least("examples", examples, 1)
    check_least("bits", bits, 1)
    if not 1 <= kept <= length:
        raise ValueError(f"kept must be within 1 and length={length}, got {kept}")
    rng = np.random.default_rng(seed)
    vectors = rng.integers(0, 2, size=(examples, length, bits)).astype(np.float32)
    priorities = rng.random((examples, length), dtype=np.float32) * 2 - 1
    order = np.argsort(-priorities, axis=1, kind="stable")[:, :kept]
    time = length + 1 + kept
    inputs = np.zeros((examples, time, bits + 2), np.float32)
    inputs[:, :length, :bits] = vectors
    inputs[:, :length, bits] = priorities
    inputs[:, length, bits + 1] = 1
    targets = np.zeros((examples, time, bits), np.float32)
    targets[:, length + 1 :] = np.take_along_axis(vectors, order[..., None], axis=1)
    mask = np.broadcast_to(np.arange(time) > length, (examples, time))
    return _sequences("priority-sort", inputs, targets, mask, np.full(examples, time))


def adding(examples: int, lag: int = 100, *, seed: int) -> Sequences:
    """Draw the adding problem: add the two marked numbers, seen long ago.

    A step is a number, uniform in [-1, 1), and a marker: -1 at the first and the last step, 1 at
    two others, else 0. One of these is among the first ten steps, the other among the first
    T / 2 - 1 of those left; should the very first step be marked 1, its number counts as 0.
    Sequences have T to T + T / 10 steps. The target, at the last step, is 0.5 + (X1 + X2) / 4.
    Always answering 0.5 has the mean squared error 1/24 = 0.0417 (a little less for that rule).

    Args:
        examples: Number of examples.
        lag: T, the smallest number of steps.
        seed: The same seed gives the same bytes.

    Returns:
        inputs (n, time, 2): number, marker; targets (n, time, 1), masked to the last step.

    Raises:
        ValueError: `lag` is below 24, where the first ten steps are nearly half of all.

    Source: Hochreiter and Schmidhuber (1997), experiment 4.
    """
    check_least("examples", examples, 1)
    check_least("lag", lag, 24)
    rng = np.random.default_rng(seed)
    rows = np.arange(examples)
    lengths = _draw_lengths(rng, examples, (lag, lag + lag // 10))
    first = rng.integers(0, 10, size=examples)
    second = rng.integers(0, lag // 2 - 1, size=examples)
    second += second >= first  # skip the marked step
    numbers = rng.random((examples, lengths.max()), dtype=np.float32) * 2 - 1
    numbers *= np.arange(lengths.max()) < lengths[:, None]
    markers = np.zeros_like(numbers)
    markers[:, 0] = markers[rows, lengths - 1] = -1
    markers[rows, first] = markers[rows, second] = 1
    numbers[(first == 0) | (second == 0), 0] = 0
    targets = np.zeros((*numbers.shape, 1), np.float32)
    targets[rows, lengths - 1, 0] = 0.5 + (numbers[rows, first] + numbers[rows, second]) / 4
    mask = np.arange(lengths.max()) == lengths[:, None] - 1
    return _sequences("adding", np.stack([numbers, markers], axis=-1), targets, mask, lengths)


def parity(examples: int, lengths: Lengths = (1, 20), *, seed: int) -> Sequences:
    """Draw the parity task: say at each step whether the number of ones so far is odd.

    The parity of the whole string is the target at its last step,
    ``targets[range(n), lengths - 1]``; the others help to train.

    Args:
        examples: Number of examples.
        lengths: Smallest and largest number of bits.
        seed: The same seed gives the same bytes.

    Returns:
        inputs (n, time) of 0 and 1; targets (n, time) of 0 and 1.

    Raises:
        ValueError: An argument is out of its range.

    Source: Kalchbrenner et al. (2016), where the bits come all at once.
    """
    check_least("examples", examples, 1)
    check_range("lengths", lengths, 1)
    rng = np.random.default_rng(seed)
    steps = _draw_lengths(rng, examples, lengths)
    mask = np.arange(steps.max()) < steps[:, None]
    inputs = rng.integers(0, 2, size=mask.shape) * mask
    targets = np.where(mask, inputs.cumsum(axis=1) % 2, IGNORE)
    return _sequences("parity", inputs, targets, mask, steps)


def addition(examples: int, digits: Lengths = (1, 15), *, seed: int) -> Sequences:
    """Draw the addition task: read two numbers digit by digit, then write their sum.

    Symbol 0 is the blank "-" and symbol d + 1 the digit d. An example reads a blank, the first
    number, a blank, the second number, a blank, and then blanks while the sum is written, most
    significant digit first, with a blank at its end. So 12 + 9 = 21 is read as ``-12-9---`` and
    answered as ``_____21-``, where ``_`` is a step that does not count. Numbers have no leading
    zeros (0 itself is one digit), and lengths are drawn for each of the two.

    Args:
        examples: Number of examples.
        digits: Smallest and largest number of digits; the paper takes 15, here at most 17.
        seed: The same seed gives the same bytes.

    Returns:
        inputs (n, time) and targets (n, time) of symbols 0 to 10.

    Raises:
        ValueError: An argument is out of its range.

    Source: Kalchbrenner et al. (2016). The blank of the paper's target before the
    sum is not scored here.

    >>> data = addition(1, (2, 2), seed=0)
    >>> "".join("-0123456789"[symbol] for symbol in data.inputs[0])
    '-86-67-----'
    """
    check_least("examples", examples, 1)
    check_range("digits", digits, 1, 17)  # sums of 17 digits fit into int64
    rng = np.random.default_rng(seed)
    sizes = rng.integers(digits[0], digits[1], size=(examples, 2), endpoint=True)
    low = np.where(sizes == 1, 0, 10 ** (sizes - 1))
    numbers = rng.integers(low, 10**sizes)  # (n, 2)
    total = numbers.sum(axis=1)
    places = 10 ** np.arange(1, 19)
    written = 1 + (total[:, None] >= places).sum(axis=1)  # digits of the sum
    start = sizes.sum(axis=1) + 3
    lengths = start + written + 1
    inputs = np.full((examples, lengths.max()), BLANK)
    targets = np.full_like(inputs, IGNORE)
    _write_number(inputs, numbers[:, 0], sizes[:, 0], np.ones(examples, np.int64))
    _write_number(inputs, numbers[:, 1], sizes[:, 1], sizes[:, 0] + 2)
    _write_number(targets, total, written, start)
    targets[np.arange(examples), lengths - 1] = BLANK
    return _sequences("addition", inputs, targets, targets != IGNORE, lengths)


def _write_number(
    symbols: NDArray[np.int64],
    numbers: NDArray[np.int64],
    sizes: NDArray[np.int64],
    start: NDArray[np.int64],
) -> None:
    """Write decimal digits into rows of symbols (n, time), the last at start + size - 1."""
    for place in range(sizes.max()):
        rows = np.flatnonzero(place < sizes)
        digit = numbers[rows] // 10**place % 10
        symbols[rows, start[rows] + sizes[rows] - 1 - place] = digit + 1


def memorization(
    examples: int, lengths: Lengths = (20, 20), symbols: int = 64, *, seed: int
) -> Sequences:
    """Draw the memorization task: repeat a string of symbols in the same order.

    Symbol 0 is the blank. An example of length L reads a blank, L symbols of 1 to `symbols`, a
    blank, and L blanks more, during which the symbols are to be written; a blank ends them.

    Args:
        examples: Number of examples.
        lengths: Smallest and largest L; 20 in the paper.
        symbols: Size of the alphabet without the blank; 64 in the paper.
        seed: The same seed gives the same bytes.

    Returns:
        inputs (n, time) and targets (n, time) of symbols 0 to `symbols`.

    Raises:
        ValueError: An argument is out of its range.

    Source: Kalchbrenner et al. (2016).
    """
    check_least("examples", examples, 1)
    check_range("lengths", lengths, 1)
    check_least("symbols", symbols, 2)
    rng = np.random.default_rng(seed)
    steps = _draw_lengths(rng, examples, lengths)
    strings = rng.integers(1, symbols, size=(examples, steps.max()), endpoint=True)
    total = 2 * steps + 3
    inputs = np.full((examples, total.max()), BLANK)
    targets = np.full_like(inputs, IGNORE)
    rows, columns = np.nonzero(np.arange(steps.max()) < steps[:, None])
    inputs[rows, columns + 1] = strings[rows, columns]
    targets[rows, columns + 2 + steps[rows]] = strings[rows, columns]
    targets[np.arange(examples), total - 1] = BLANK
    return _sequences("memorization", inputs, targets, targets != IGNORE, total)
