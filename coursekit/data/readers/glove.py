"""Word vectors as text, in the format of GloVe.

One word a line, then its numbers, separated by single spaces. There is no header. A word may
itself hold spaces (". . ." in the vectors of 840 billion tokens), so a line is read from its end.

Source: J. Pennington, R. Socher, C. Manning, "GloVe: Global Vectors for Word Representation"
(2014), https://nlp.stanford.edu/projects/glove/.
"""

from __future__ import annotations

import os
import re
from array import array
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from coursekit.data.readers.files import ReadError, shown, text_lines

_NUMBER = r"[-+]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][-+]?[0-9]{1,4})?"
_NUMBERS = re.compile(r"[-+0-9.eE ]+")


@dataclass(frozen=True, eq=False)
class WordVectors:
    """Words and their vectors.

    Attributes:
        words: The words, each once, in the order of the file.
        vectors: float32 of shape (n, dimensions).
        repeated: Entries left out because their word had come before.
    """

    words: tuple[str, ...]
    vectors: Float[np.ndarray, "n dimensions"]
    repeated: int = 0

    def __len__(self) -> int:
        return len(self.words)

    def __repr__(self) -> str:
        return f"WordVectors({len(self):,} words, {self.vectors.shape[1]} dimensions)"


def read_glove(
    path: str | os.PathLike[str], dimensions: int | None = None, limit: int | None = None
) -> WordVectors:
    """Read word vectors from text.

    Args:
        path: A file such as ``glove.6B.100d.txt``.
        dimensions: Numbers of a vector; when None, all after the first word of the first line.
        limit: Read no more than so many lines; the most frequent words come first. When None, all.

    Returns:
        The vectors; of a word that comes twice, the first one.

    Raises:
        ValueError: `dimensions` or `limit` is below 1.
        ReadError: The file is not in this format, or a number is not finite in float32; the
            message names the line.
    """
    for name, value in (("dimensions", dimensions), ("limit", limit)):
        if value is not None and value < 1:
            raise ValueError(f"{name} must be at least 1 or None, got {value}")
    rows: dict[str, int] = {}
    values, lines = array("f"), 0
    for number, line in text_lines(path):
        if dimensions is None:
            dimensions = _dimensions(path, line)
        word, vector = _entry(path, f"line {number}", line, dimensions)
        if word not in rows:
            rows[word] = len(rows)
            values.frombytes(vector.tobytes())
        lines += 1
        if lines == limit:
            break
    vectors = np.frombuffer(values, np.float32).reshape(len(rows), -1)
    return WordVectors(tuple(rows), vectors, lines - len(rows))


def _dimensions(path: str | os.PathLike[str], line: str) -> int:
    """Count the numbers at the end of the first line."""
    fields = line.rstrip(" ").split(" ")
    count = 0
    while count < len(fields) - 1 and re.fullmatch(_NUMBER, fields[-1 - count]):
        count += 1
    if count != len(fields) - 1 or not count:
        problem = f"{shown(line)}, expected a word without spaces and its numbers, or `dimensions`"
        raise ReadError(path, "line 1", problem)
    return count


def _entry(
    path: str | os.PathLike[str], place: str, line: str, dimensions: int
) -> tuple[str, Float[np.ndarray, " dimensions"]]:
    """Split a line into its word and its vector."""
    fields = line.rstrip(" ").rsplit(" ", dimensions)
    word, numbers = fields[0], fields[1:]
    if len(numbers) < dimensions or not word or word != word.strip(" "):
        problem = f"{shown(line)}, expected a word and {dimensions} numbers"
        raise ReadError(path, place, problem)
    if any(re.fullmatch(_NUMBER, part) for part in word.split(" ")[1:]):
        problem = f"more numbers than {dimensions} after {shown(word)}, expected {dimensions}"
        raise ReadError(path, place, problem)
    try:
        # float() alone would also take "1_000", "nan" and the digits of other scripts.
        if not _NUMBERS.fullmatch(line, len(word)):
            raise ValueError
        with np.errstate(over="ignore"):
            vector = np.array([float(number) for number in numbers], np.float32)
    except ValueError:
        wrong = next((n for n in numbers if not re.fullmatch(_NUMBER, n)), line)
        problem = f"{shown(wrong)} in the entry of {shown(word)}, expected {dimensions} numbers"
        raise ReadError(path, place, problem) from None
    if not np.isfinite(vector).all():
        wrong = numbers[int(np.argmin(np.isfinite(vector)))]
        raise ReadError(path, place, f"{shown(wrong)}, expected a number that float32 can hold")
    return word, vector
