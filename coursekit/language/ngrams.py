"""Character n-gram models with interpolated smoothing.

Source: Witten and Bell, "The zero-frequency problem: Estimating the probabilities of novel
events in adaptive text compression", 1991 (method C, interpolated).
"""

import math
from collections import Counter
from collections.abc import Iterable, Sequence

END = "\n"


class CharacterNgram:
    """Predict the next character from the few before it.

    P(c | h) = (count(h c) + kinds(h) · P(c | h')) / (count(h) + kinds(h)), where kinds(h) is the
    number of different characters seen after the history h, and h' is h without its oldest
    character; below the empty history stands the uniform distribution. A text begins after a
    history of newlines and ends with one.

    Args:
        texts: Training texts.
        order: Characters in a pattern, history and next one together: 1 or more.
        alphabet: All characters that may occur; the end of a text is added.

    Raises:
        ValueError: If order is below 1, or a text holds a character outside the alphabet.
    """

    def __init__(self, texts: Iterable[str], order: int, alphabet: Sequence[str]) -> None:
        if order < 1:
            raise ValueError(f"order must be at least 1, got {order}")
        self.order = order
        self.symbols = [*alphabet, END]
        self._position = {symbol: i for i, symbol in enumerate(self.symbols)}
        self._following: dict[str, Counter[str]] = {}
        self._cache: dict[str, list[float]] = {}
        for text in texts:
            unknown = sorted(set(text) - set(alphabet))
            if unknown:
                raise ValueError(f"texts must hold characters of the alphabet only, got {unknown}")
            padded = END * (order - 1) + text + END
            for end in range(order - 1, len(padded)):
                for start in range(end - order + 1, end + 1):
                    history = padded[start:end]
                    self._following.setdefault(history, Counter())[padded[end]] += 1

    def probabilities(self, text: str) -> list[float]:
        """Return the distribution of what follows a text.

        Args:
            text: Everything so far, from the beginning; only its end is used.

        Returns:
            One probability for each of `symbols` (the alphabet, then the end); they sum to 1.
        """
        history = (END * (self.order - 1) + text)[len(text) :] if self.order > 1 else ""
        return self._interpolate(history)

    def _interpolate(self, history: str) -> list[float]:
        if history in self._cache:
            return self._cache[history]
        if history:
            lower = self._interpolate(history[1:])
        else:
            lower = [1.0 / len(self.symbols)] * len(self.symbols)
        seen = self._following.get(history)
        if seen is None:
            mixed = lower
        else:
            kinds = len(seen)
            total = seen.total() + kinds
            mixed = [
                (seen[symbol] + kinds * below) / total
                for symbol, below in zip(self.symbols, lower, strict=True)
            ]
        self._cache[history] = mixed
        return mixed

    def log_probability(self, text: str) -> float:
        """Return the natural logarithm of the probability of a whole text, its end included."""
        total = 0.0
        for i, symbol in enumerate(text + END):
            total += math.log(self.probabilities(text[:i])[self._position[symbol]])
        return total

    def perplexity(self, texts: Iterable[str]) -> float:
        """Return the perplexity a character over whole texts, their ends included."""
        texts = list(texts)
        total = sum(self.log_probability(text) for text in texts)
        return math.exp(-total / sum(len(text) + 1 for text in texts))
