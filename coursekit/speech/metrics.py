"""Error rates of recognizers, from the edit distance between sequences.

Source: Levenshtein, "Binary codes capable of correcting deletions, insertions, and reversals",
1966; computed with the algorithm of Wagner and Fischer, 1974.
"""

from collections.abc import Callable, Hashable, Sequence
from typing import Any


def edit_distance(reference: Sequence[Hashable], hypothesis: Sequence[Hashable]) -> int:
    """Return the least number of insertions, deletions and substitutions between sequences.

    Args:
        reference: What should be there: a string, or a list of labels or words.
        hypothesis: What is there.

    Returns:
        The distance, from 0 to the longer length.

    >>> edit_distance("kitten", "sitting")
    3
    """
    row = list(range(len(hypothesis) + 1))  # row[j]: distance of the prefixes so far
    for i, expected in enumerate(reference, start=1):
        diagonal, row[0] = row[0], i
        for j, found in enumerate(hypothesis, start=1):
            substituted = diagonal + (expected != found)
            diagonal = row[j]
            row[j] = min(substituted, row[j] + 1, row[j - 1] + 1)
    return row[-1]


def error_rate(
    references: Sequence[Sequence[Hashable]], hypotheses: Sequence[Sequence[Hashable]]
) -> float:
    """Return the label error rate: all edits over the length of all references.

    With strings the labels are characters; with lists of words this is the word error rate. It
    can exceed 1, since a hypothesis may hold more labels than its reference.

    Args:
        references: One sequence an utterance.
        hypotheses: One sequence an utterance, in the same order.

    Returns:
        The rate as a fraction, 0 when all are equal.

    Raises:
        ValueError: If the numbers of sequences differ or all references are empty.

    >>> error_rate(["hello"], ["hallo"])
    0.2
    """
    if len(references) != len(hypotheses):
        raise ValueError(
            "references and hypotheses must have the same length, "
            f"got {len(references)} and {len(hypotheses)}"
        )
    total = sum(len(reference) for reference in references)
    if total == 0:
        raise ValueError("references must hold at least one label in all, got none")
    pairs = zip(references, hypotheses, strict=True)
    return sum(edit_distance(reference, hypothesis) for reference, hypothesis in pairs) / total


def word_error_rate(references: Sequence[str], hypotheses: Sequence[str]) -> float:
    """Return the error rate over the words of texts, split at white space.

    Args:
        references: One text an utterance.
        hypotheses: One text an utterance, in the same order.

    Returns:
        The rate as a fraction.

    >>> word_error_rate(["press one now"], ["press won"])
    0.6666666666666666
    """
    return error_rate([text.split() for text in references], [text.split() for text in hypotheses])


class ErrorRate:
    """Error rate over all utterances, read batch by batch; a streaming metric for ``Trainer``.

    Edits and the lengths of references add up, so that long utterances weigh more, as in
    `error_rate`; the mean of the rates of batches would be another figure.

    Args:
        words: whether to split texts at white space and count words, as in `word_error_rate`, not
            labels (of a string, characters).
        decode: turns what `update` is given into hypotheses and references, for models whose
            outputs are tensors; not called when None.

    >>> metric = ErrorRate(words=True)
    >>> metric.update(["press won"], ["press one now"])
    >>> metric.update(["hello"], ["hello"])
    >>> metric.compute()
    0.5
    """

    def __init__(
        self,
        words: bool = False,
        decode: Callable[[Any, Any], tuple[Any, Any]] | None = None,
    ) -> None:
        self.words, self.decode = words, decode
        self.reset()

    def reset(self) -> None:
        """Forget all batches."""
        self.edits, self.labels = 0.0, 0.0

    def update(self, outputs: Any, targets: Any) -> None:
        """Read a batch; the hypotheses come first, as from a model.

        Args:
            outputs: hypotheses, one text or sequence of labels an utterance.
            targets: references, in the same order.

        Raises:
            ValueError: the numbers of utterances differ.
        """
        if self.decode:
            outputs, targets = self.decode(outputs, targets)
        if len(outputs) != len(targets):
            raise ValueError(
                "hypotheses and references must be of the same utterances, got "
                f"{len(outputs)} and {len(targets)}"
            )
        for hypothesis, reference in zip(outputs, targets, strict=True):
            if self.words:
                hypothesis, reference = hypothesis.split(), reference.split()
            self.edits += edit_distance(reference, hypothesis)
            self.labels += len(reference)

    def compute(self) -> float:
        """Return the rate as a fraction, 0 when all are equal.

        Raises:
            ValueError: no references were read, or all are empty.
        """
        if not self.labels:
            raise ValueError("references must hold at least one label in all, got none")
        return self.edits / self.labels

    def reduce(self, world: Any) -> None:
        """Add what the other processes of a run have read.

        Args:
            world: the processes, as ``coursekit.training.distributed.World``.
        """
        self.edits, self.labels = world.sum(self.edits, self.labels)

    def __call__(self, outputs: Any, targets: Any) -> float:
        """Return the rate of one batch, whatever was read before."""
        self.reset()
        self.update(outputs, targets)
        return self.compute()
