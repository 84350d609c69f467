"""Error rates of recognizers, from the edit distance between sequences.

Source: Levenshtein, "Binary codes capable of correcting deletions, insertions, and reversals",
1966; computed with the algorithm of Wagner and Fischer, 1974.
"""

from collections.abc import Hashable, Sequence


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
