"""Formal languages whose strings a network must count or push to predict.

They follow Joulin and Mikolov, "Inferring Algorithmic Patterns with Stack-Augmented Recurrent
Nets" (2015): the next symbol is predicted at every step, and what counts are the steps at which
the language leaves no choice. A string opens and closes with the boundary symbol ``.``, so the
last prediction is that the string is over. What differs from the paper: each string is an
example of its own, where the paper has one endless stream; the bracket languages and the
palindromes are additions.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Int
from numpy.typing import NDArray
from torch import Tensor

from coursekit.data.tasks.sequences import IGNORE, Lengths, check_least, check_range

BOUNDARY = 0
Drawn = tuple[NDArray[np.int64], NDArray[np.bool_]]  # symbols and which of them are predictable


@dataclass(frozen=True)
class Language:
    """A formal language.

    Attributes:
        title: How it is written.
        alphabet: Its symbols; the first is symbol 1.
        size: What a string's size is; string lengths grow strictly with it.
        least: Smallest size.
        draw: From a random generator and sizes (n,), symbols and mask (n, longest + 1): each
            string followed by the boundary, and the steps that the language determines.
        contains: Whether a string of the alphabet belongs to it; tells nothing to `draw`.
    """

    title: str
    alphabet: str
    size: str
    least: int
    draw: Callable[[np.random.Generator, NDArray[np.int64]], Drawn]
    contains: Callable[[str], bool]


@dataclass(frozen=True)
class Strings:
    """Padded strings of a language, laid out for the prediction of the next symbol.

    Attributes:
        language: Name of the language.
        alphabet: ``.`` for the boundary, which is symbol 0, then the language's symbols.
        inputs: The boundary and the string, int64 of shape (n, time), 0 behind its length.
        targets: The string and the boundary, int64 of shape (n, time), -100 behind its length.
        predictable: Steps whose target the prefix determines, bool of shape (n, time). In the
            bracket languages: closing brackets, whose kind is determined once it is known that
            a bracket closes.
        lengths: Steps of each example, its symbols and one, int64 of shape (n,).
    """

    language: str
    alphabet: str
    inputs: Int[Tensor, "n time"]
    targets: Int[Tensor, "n time"]
    predictable: Bool[Tensor, "n time"]
    lengths: Int[Tensor, " n"]

    def __len__(self) -> int:
        return len(self.lengths)

    def __repr__(self) -> str:
        low, high = int(self.lengths.min()) - 1, int(self.lengths.max()) - 1
        return f"Strings({len(self):,} strings of {self.language}, {low} to {high} symbols)"

    def text(self, index: int) -> str:
        """Write a string without its boundaries.

        Args:
            index: Number of the example.

        Returns:
            Its symbols.
        """
        symbols = self.targets[index, : int(self.lengths[index]) - 1]
        return "".join(self.alphabet[symbol] for symbol in symbols)


def strings(language: str, examples: int, sizes: Lengths = (2, 19), *, seed: int) -> Strings:
    """Draw strings of a formal language.

    Ranges of sizes that do not overlap give strings of different lengths: train on ``(2, 19)``
    and test on ``(20, 60)``.

    Args:
        language: A name of `LANGUAGES`, which says what the size of a string is.
        examples: Number of strings.
        sizes: Smallest and largest size, drawn uniformly.
        seed: The same seed gives the same bytes.

    Returns:
        The strings; with few sizes the same string comes often.

    Raises:
        ValueError: There is no such language, or an argument is out of its range.

    >>> data = strings("anbn", 2, (3, 3), seed=0)
    >>> data.text(0), data.inputs[0].tolist(), data.predictable[0].int().tolist()
    ('aaabbb', [0, 1, 1, 1, 2, 2, 2], [1, 0, 0, 0, 1, 1, 1])
    """
    if language not in LANGUAGES:
        raise ValueError(f"language must be one of {', '.join(LANGUAGES)}, got {language!r}")
    chosen = LANGUAGES[language]
    check_least("examples", examples, 1)
    check_range("sizes", sizes, chosen.least)
    rng = np.random.default_rng(seed)
    drawn = rng.integers(sizes[0], sizes[1], size=examples, endpoint=True)
    symbols, predictable = chosen.draw(rng, drawn)
    lengths = (symbols != BOUNDARY).sum(axis=1) + 1
    inputs = np.concatenate([np.full((examples, 1), BOUNDARY), symbols[:, :-1]], axis=1)
    inside = np.arange(symbols.shape[1]) < lengths[:, None]
    targets = np.where(inside, symbols, IGNORE)
    arrays = (inputs, targets, predictable & inside, lengths)
    tensors = (torch.from_numpy(array) for array in arrays)
    return Strings(language, "." + chosen.alphabet, *tensors)


def is_member(language: str, text: str) -> bool:
    """Say whether a string belongs to a language.

    Args:
        language: A name of `LANGUAGES`.
        text: The string without boundaries.

    Returns:
        False also if it holds a symbol of no use in the language, or nothing.

    Raises:
        ValueError: There is no such language.

    >>> is_member("anb2n", "aabbbb"), is_member("dyck-2", "([)]")
    (True, False)
    """
    if language not in LANGUAGES:
        raise ValueError(f"language must be one of {', '.join(LANGUAGES)}, got {language!r}")
    return LANGUAGES[language].contains(text)


def _blocks(counts: NDArray[np.int64], free: int) -> Drawn:
    """Write counts[k] times symbol k + 1; all is determined once block `free` has begun."""
    ends = counts.cumsum(axis=1)  # (n, blocks)
    time = np.arange(ends[:, -1].max() + 1)
    symbols = 1 + (time >= ends[:, :, None]).sum(axis=1)
    symbols[time >= ends[:, -1:]] = BOUNDARY
    begun = time > ends[:, free - 1 : free]
    return symbols, begun | (time == 0)


def _counted(*factors: int) -> Callable[[np.random.Generator, NDArray[np.int64]], Drawn]:
    def draw(rng: np.random.Generator, sizes: NDArray[np.int64]) -> Drawn:
        return _blocks(sizes[:, None] * np.array(factors), free=1)

    return draw


def _draw_sums(rng: np.random.Generator, sizes: NDArray[np.int64]) -> Drawn:
    n = rng.integers(1, sizes)  # 1 to size - 1
    return _blocks(np.stack([n, sizes - n, sizes], axis=1), free=2)


def _draw_brackets(kinds: int) -> Callable[[np.random.Generator, NDArray[np.int64]], Drawn]:
    def draw(rng: np.random.Generator, sizes: NDArray[np.int64]) -> Drawn:
        steps = _balanced(rng, sizes)  # 1 opens, -1 closes, 0 is behind the end
        depth = steps.cumsum(axis=1)
        rows, symbols = np.arange(len(sizes)), np.zeros_like(steps)
        kind_at = np.zeros((len(sizes), sizes.max() + 2), np.int64)  # of the bracket at a depth
        drawn = rng.integers(0, kinds, size=steps.shape)
        for time in range(steps.shape[1]):
            opens, closes = steps[:, time] == 1, steps[:, time] == -1
            level = depth[:, time] + closes  # depth of the bracket itself, from 1
            kind_at[rows[opens], level[opens]] = drawn[opens, time]
            kind = kind_at[rows, level]
            symbols[:, time] = np.where(opens | closes, 2 * kind + 1 + closes, BOUNDARY)
        return symbols, steps == -1

    return draw


def _balanced(rng: np.random.Generator, sizes: NDArray[np.int64]) -> NDArray[np.int64]:
    """Draw balanced walks of 1 and -1, uniform among those of a size, by the cycle lemma.

    Of the 2 n + 1 rotations of n ones and n + 1 minus ones exactly one stays at 0 or above until
    its last step: the one that begins after the first minimum (Dvoretzky and Motzkin, 1947).
    """
    total = 2 * sizes[:, None] + 1
    time = np.arange(total.max())
    keys = np.where(time < total, rng.random((len(sizes), len(time))), 2.0)
    steps = np.where(np.argsort(keys, axis=1) < sizes[:, None], 1, -1)
    heights = np.where(time < total, steps.cumsum(axis=1), len(time))
    begin = heights.argmin(axis=1)[:, None] + 1
    walk = np.take_along_axis(steps, (begin + time) % total, axis=1)
    return np.where(time < total - 1, walk, 0)


def _draw_palindromes(rng: np.random.Generator, sizes: NDArray[np.int64]) -> Drawn:
    half = sizes[:, None]
    time = np.arange(2 * sizes.max() + 2)
    letters = rng.integers(1, 2, size=(len(sizes), sizes.max()), endpoint=True)
    source = np.where(time < half, time, 2 * half - time).clip(0, sizes.max() - 1)
    symbols = np.take_along_axis(letters, source, axis=1)
    symbols[time == half] = 3
    symbols[time > 2 * half] = BOUNDARY
    return symbols, time > half


def _counts(pattern: str, rule: Callable[..., bool]) -> Callable[[str], bool]:
    """Test the form of a string by a regular expression and its block lengths by a rule."""

    def contains(text: str) -> bool:
        match = re.fullmatch(pattern, text)
        return match is not None and rule(*map(len, match.groups()))

    return contains


def _contains_brackets(pairs: tuple[str, ...]) -> Callable[[str], bool]:
    def contains(text: str) -> bool:
        rest, before = text, ""
        while rest != before:
            before = rest
            for pair in pairs:
                rest = rest.replace(pair, "")
        return text != "" and rest == ""

    return contains


def _contains_palindrome(text: str) -> bool:
    left, mark, right = text.partition("#")
    return bool(left and mark) and set(left) <= {"a", "b"} and right == left[::-1]


LANGUAGES = {
    "anbn": Language(
        "aⁿbⁿ", "ab", "n", 1, _counted(1, 1), _counts("(a+)(b+)", lambda a, b: a == b)
    ),
    "anb2n": Language(
        "aⁿb²ⁿ", "ab", "n", 1, _counted(1, 2), _counts("(a+)(b+)", lambda a, b: 2 * a == b)
    ),
    "anbncn": Language(
        "aⁿbⁿcⁿ",
        "abc",
        "n",
        1,
        _counted(1, 1, 1),
        _counts("(a+)(b+)(c+)", lambda a, b, c: a == b == c),
    ),
    "anbmcn+m": Language(
        "aⁿbᵐcⁿ⁺ᵐ",
        "abc",
        "n + m, with n and m at least 1",
        2,
        _draw_sums,
        _counts("(a+)(b+)(c+)", lambda a, b, c: a + b == c),
    ),
    "dyck-1": Language(
        "Dyck-1, balanced ()", "()", "pairs", 1, _draw_brackets(1), _contains_brackets(("()",))
    ),
    "dyck-2": Language(
        "Dyck-2, balanced () and []",
        "()[]",
        "pairs",
        1,
        _draw_brackets(2),
        _contains_brackets(("()", "[]")),
    ),
    "palindromes": Language(
        "palindromes w#wᴿ over a and b",
        "ab#",
        "letters of w",
        1,
        _draw_palindromes,
        _contains_palindrome,
    ),
}
