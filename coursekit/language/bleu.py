"""BLEU: how many n-grams of a translation stand in one made by people.

Source: Papineni, Roukos, Ward and Zhu, "BLEU: a method for automatic evaluation of machine
translation", 2002; smoothing as compared in Chen and Cherry, "A systematic comparison of smoothing
techniques for sentence-level BLEU", 2014, under the names that sacrebleu gave it.
"""

import math
from collections import Counter
from collections.abc import Callable, Hashable, Sequence
from typing import Any, Literal

__all__ = ["BLEU", "bleu_counts", "corpus_bleu", "sentence_bleu"]

Smoothing = Literal["none", "floor", "add-k", "exp"]
Tokens = Sequence[Hashable]

ORDER = 4  # the longest n-grams of the paper
VALUES = {"none": 0.0, "floor": 0.1, "add-k": 1.0, "exp": 0.0}  # sacrebleu's, after Chen and Cherry


def bleu_counts(hypothesis: Tokens, references: Sequence[Tokens], order: int = ORDER) -> list[int]:
    """Count what BLEU adds up over a corpus, for one sentence.

    An n-gram counts as often as it stands in the hypothesis, but at most as often as in the one
    reference that holds it most often.

    Args:
        hypothesis: the tokens of the translation.
        references: one or more translations by people, each a sequence of tokens.
        order: the longest n-grams.

    Returns:
        The hypothesis's length, the length of the closest reference (of two the shorter one), then
        for each n from 1 the n-grams found, then for each n those in the hypothesis.

    Raises:
        ValueError: there is no reference, or a sentence is a string.

    >>> bleu_counts("the the the".split(), ["the cat sat".split()], order=2)
    [3, 3, 1, 0, 3, 2]
    """
    _check_sentence(hypothesis, references)
    length = len(hypothesis)
    closest = min((abs(len(reference) - length), len(reference)) for reference in references)[1]
    found, held = [], []
    for n in range(1, order + 1):
        most: Counter[tuple] = Counter()
        for reference in references:
            most |= _ngrams(reference, n)  # the larger count of each
        own = _ngrams(hypothesis, n)
        found.append((own & most).total())
        held.append(own.total())
    return [length, closest, *found, *held]


def corpus_bleu(
    hypotheses: Sequence[Tokens],
    references: Sequence[Sequence[Tokens]],
    order: int = ORDER,
    smoothing: Smoothing = "exp",
    value: float | None = None,
    effective_order: bool = False,
) -> float:
    """Return BLEU of a corpus: counts are added up over the sentences before they are divided.

    Args:
        hypotheses: for each sentence the tokens of its translation.
        references: for each sentence, in the same order, one or more sequences of tokens.
        order: the longest n-grams, 4 in the paper.
        smoothing: what to do about an n of which no n-gram was found: "none" leaves the product 0,
            as in the paper; "floor" takes `value` for the count; "add-k" adds `value` to all counts
            from n = 2 on; "exp" takes 1/2 for the first such n, 1/4 for the second and so on.
        value: of "floor" and "add-k"; 0.1 and 1 when None.
        effective_order: whether to leave out an n for which the hypotheses are too short.

    Returns:
        From 0 to 1; papers print a hundred times as much.

    Raises:
        ValueError: the numbers of sentences differ, there are none, or an argument is not one of
            those above.

    >>> round(corpus_bleu([["a", "b", "c", "d", "e"]], [[["a", "b", "c", "d", "f"]]]), 4)
    0.6687
    """
    metric = BLEU(order, smoothing, value, effective_order)
    metric.update(hypotheses, references)
    return metric.compute()


def sentence_bleu(
    hypothesis: Tokens,
    references: Sequence[Tokens],
    order: int = ORDER,
    smoothing: Smoothing = "exp",
    value: float | None = None,
    effective_order: bool = True,
) -> float:
    """Return BLEU of one sentence; arguments as in `corpus_bleu`.

    One sentence often holds no 4-gram of its reference, so that smoothing decides the figure; the
    mean of it over sentences is not the BLEU of the corpus.
    """
    return corpus_bleu([hypothesis], [references], order, smoothing, value, effective_order)


class BLEU:
    """BLEU of a corpus, read batch by batch; a streaming metric for ``Trainer``.

    Args:
        order: as in `corpus_bleu`, like the next three.
        smoothing: for n-grams of which none was found.
        value: of the smoothing.
        effective_order: whether to leave out an n for which the hypotheses are too short.
        decode: turns what `update` is given into hypotheses and references, for models whose
            outputs are tensors; not called when None.
    """

    def __init__(
        self,
        order: int = ORDER,
        smoothing: Smoothing = "exp",
        value: float | None = None,
        effective_order: bool = False,
        decode: Callable[[Any, Any], tuple[Any, Any]] | None = None,
    ) -> None:
        if order < 1:
            raise ValueError(f"order must be at least 1, got {order}")
        if smoothing not in VALUES:
            raise ValueError(f"smoothing must be one of {', '.join(VALUES)}, got {smoothing!r}")
        if value is not None and value <= 0:
            raise ValueError(f"value must be above 0, got {value}")
        self.order, self.smoothing, self.effective_order = order, smoothing, effective_order
        self.value = VALUES[smoothing] if value is None else value
        self.decode = decode
        self.reset()

    def reset(self) -> None:
        """Forget all batches."""
        self.counts = [0.0] * (2 + 2 * self.order)
        self.sentences = 0.0

    def update(self, outputs: Any, targets: Any) -> None:
        """Read a batch.

        Args:
            outputs: hypotheses, for each sentence a sequence of tokens.
            targets: for each sentence one or more references, sequences of tokens.

        Raises:
            ValueError: the numbers of sentences differ, or a sentence is a string.
        """
        hypotheses, references = (
            self.decode(outputs, targets) if self.decode else (outputs, targets)
        )
        if len(hypotheses) != len(references):
            raise ValueError(
                "hypotheses and references must be of the same sentences, got "
                f"{len(hypotheses)} and {len(references)}"
            )
        for pair in zip(hypotheses, references, strict=True):
            counts = bleu_counts(*pair, self.order)
            self.counts = [a + b for a, b in zip(self.counts, counts, strict=True)]
        self.sentences += len(outputs)

    def compute(self) -> float:
        """Return BLEU, from 0 to 1.

        Raises:
            ValueError: no sentence was read.
        """
        if not self.sentences:
            raise ValueError("hypotheses must hold at least one sentence, got none")
        length, closest, *rest = self.counts
        if not any(rest[: self.order]):
            return 0.0
        precisions = self._precisions(rest[: self.order], rest[self.order :])
        used = len(precisions) if self.effective_order else self.order
        if len(precisions) < used or not all(precisions):
            return 0.0
        brevity = min(0.0, 1 - closest / length)  # a logarithm
        return math.exp(brevity + sum(map(math.log, precisions)) / used)

    def _precisions(self, found: Sequence[float], held: Sequence[float]) -> list[float]:
        """Return the smoothed share of each n, as far as the hypotheses hold n-grams."""
        precisions = []
        misses = 0
        for n, (hits, total) in enumerate(zip(found, held, strict=True), start=1):
            if self.smoothing == "add-k" and n > 1:
                hits, total = hits + self.value, total + self.value
            if not total:
                break
            if not hits and self.smoothing == "exp":
                misses += 1
                hits = 0.5**misses
            elif not hits:
                hits = self.value  # 0 without smoothing
            precisions.append(hits / total)
        return precisions

    def reduce(self, world: Any) -> None:
        """Add what the other processes of a run have read.

        Args:
            world: the processes, as ``coursekit.training.distributed.World``.
        """
        self.sentences, *self.counts = world.sum(self.sentences, *self.counts)

    def __call__(self, outputs: Any, targets: Any) -> float:
        """Return BLEU of one batch, whatever was read before."""
        self.reset()
        self.update(outputs, targets)
        return self.compute()


def _ngrams(tokens: Tokens, n: int) -> Counter[tuple]:
    return Counter(zip(*(tokens[start:] for start in range(n)), strict=False))


def _check_sentence(hypothesis: Tokens, references: Sequence[Tokens]) -> None:
    if not len(references):
        raise ValueError("references must hold at least one sequence of tokens, got none")
    for name, tokens in (("hypothesis", hypothesis), *(("reference", r) for r in references)):
        if isinstance(tokens, str) or not isinstance(tokens, Sequence):
            raise ValueError(
                f"a {name} must be a list of tokens, got {tokens!r} of type "
                f"{type(tokens).__name__}: split texts, and put references in a list"
            )
