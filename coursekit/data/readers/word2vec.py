"""Word vectors in the binary format of word2vec.

A line of text, "words dimensions"; then for each word its UTF-8 bytes, one space and its numbers as
little-endian float32. The original program writes a newline after each vector, gensim does not.

Source: T. Mikolov, K. Chen, G. Corrado, J. Dean, "Efficient Estimation of Word Representations in
Vector Space" (2013), program at https://code.google.com/archive/p/word2vec/.
"""

from __future__ import annotations

import mmap
import os
import re

import numpy as np
from jaxtyping import Float

from coursekit.data.readers.files import ReadError, file_size, shown
from coursekit.data.readers.glove import WordVectors

MAX_WORD = 1_000
"""Bytes of the longest word; word2vec itself writes at most 100."""
_HEADER = re.compile(rb"([0-9]{1,12})[ \t]([0-9]{1,9})[ \t]?\r?\n")


def read_word2vec(path: str | os.PathLike[str], limit: int | None = None) -> WordVectors:
    """Read word vectors from a binary file.

    Args:
        path: A file such as ``GoogleNews-vectors-negative300.bin``, not compressed.
        limit: Read no more than so many words; the most frequent come first. When None, all, and
            the file must end after them.

    Returns:
        The vectors; of a word that comes twice, the first one.

    Raises:
        ValueError: `limit` is below 1.
        ReadError: The file is not in this format, its header promises more than it can hold, or a
            number is NaN or infinite; the message names the byte.
    """
    if limit is not None and limit < 1:
        raise ValueError(f"limit must be at least 1 or None, got {limit}")
    size = file_size(path)
    try:
        with (
            open(path, "rb") as file,
            mmap.mmap(file.fileno(), size, access=mmap.ACCESS_READ) as data,
        ):
            return _read(path, data, size, limit)
    except OSError as error:
        raise ReadError(path, "byte 0", f"cannot be read ({error})") from error


def _read(
    path: str | os.PathLike[str], data: mmap.mmap, size: int, limit: int | None
) -> WordVectors:
    total, dimensions, position = _header(path, data, size)
    count = total if limit is None else min(total, limit)
    vectors = np.empty((count, dimensions), np.float32)
    words: dict[str, int] = {}
    for _ in range(count):
        word, position = _word(path, data, position)
        end = position + 4 * dimensions
        if end > size:
            problem = f"the file ends in the vector of {shown(word)}, at byte {size}"
            raise ReadError(path, f"byte {position}", problem)
        if word not in words:
            vectors[len(words)] = _vector(path, data[position:end], position)
            words[word] = len(words)
        position = end
    if limit is None and data[position : position + 2] not in (b"", b"\n"):
        problem = f"{size - position:,} bytes follow the last of {total:,} words, expected the end"
        raise ReadError(path, f"byte {position}", problem)
    return WordVectors(tuple(words), vectors[: len(words)], count - len(words))


def _header(path: str | os.PathLike[str], data: mmap.mmap, size: int) -> tuple[int, int, int]:
    """Read the number of words, that of dimensions, and where the words begin."""
    match = _HEADER.match(data[:64])
    if not match or not int(match[1]) or not int(match[2]):
        problem = f'{shown(data[:64])}, expected a line "words dimensions" of numbers above 0'
        raise ReadError(path, "byte 0", problem)
    words, dimensions = int(match[1]), int(match[2])
    least = words * (2 + 4 * dimensions)  # a word has a letter and a space
    if least > size - match.end():
        problem = (
            f"{words} words of {dimensions} dimensions take at least {least:,} bytes, but "
            f"{size - match.end():,} follow"
        )
        raise ReadError(path, "byte 0", problem)
    return words, dimensions, match.end()


def _word(path: str | os.PathLike[str], data: mmap.mmap, start: int) -> tuple[str, int]:
    """Read a word and say where its vector begins."""
    if data[start : start + 1] == b"\n":
        start += 1
    space = data.find(b" ", start, start + MAX_WORD + 1)
    if space <= start:
        problem = f"{shown(data[start : start + 20])}, expected a word and a space"
        raise ReadError(path, f"byte {start}", problem)
    try:
        word = data[start:space].decode()
    except UnicodeDecodeError as error:
        problem = f"{shown(data[start:space])} is not UTF-8 ({error.reason})"
        raise ReadError(path, f"byte {start + error.start}", problem) from error
    if "\0" in word or "\n" in word:
        raise ReadError(path, f"byte {start}", f"{shown(word)}, expected a word in one line")
    return word, space + 1


def _vector(
    path: str | os.PathLike[str], data: bytes, start: int
) -> Float[np.ndarray, " dimensions"]:
    vector = np.frombuffer(data, "<f4")
    finite = np.isfinite(vector)
    if not finite.all():
        first = int(np.argmin(finite))
        raise ReadError(path, f"byte {start + 4 * first}", f"{vector[first]}, expected a number")
    return vector
