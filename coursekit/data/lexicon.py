"""Lists of words: first names, and the pronunciations of the Carnegie Mellon dictionary."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass

import torch
from jaxtyping import Int
from matplotlib.figure import Figure
from torch import Tensor

from coursekit.data.catalog import Entry, find
from coursekit.data.drawing import text_sheet
from coursekit.data.text import read_table

CLASSES = ("female", "male", "both")
# The phonemes in ARPABET; vowels carry a stress: 0 none, 1 primary, 2 secondary.
_VOWELS = "AA AE AH AO AW AY EH ER EY IH IY OW OY UH UW"
_CONSONANTS = "B CH D DH F G HH JH K L M N NG P R S SH T TH V W Y Z ZH"
VOWELS = tuple(_VOWELS.split())
CONSONANTS = tuple(_CONSONANTS.split())


@dataclass(frozen=True)
class Names:
    """First names.

    Attributes:
        names: The names, different from each other.
        labels: int64 of shape (n,), an index into `classes`.
        classes: "female", "male", and "both" for a name of both lists.
    """

    names: list[str]
    labels: Int[Tensor, " n"]
    classes: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.names)

    def __repr__(self) -> str:
        return f"Names({len(self):,} names, {len(self.classes)} classes)"


@dataclass(frozen=True)
class Pronunciations:
    """Words with their pronunciations; a word with several stands several times.

    Attributes:
        words: In capital letters, with apostrophes, hyphens, periods and underscores.
        phonemes: The phonemes of each pronunciation, such as ("HH", "AH0", "L", "OW1").
    """

    words: list[str]
    phonemes: list[tuple[str, ...]]

    def __len__(self) -> int:
        return len(self.words)

    def __repr__(self) -> str:
        words = len(set(self.words))
        return f"Pronunciations({len(self):,} pronunciations of {words:,} words)"

    def by_word(self) -> dict[str, list[tuple[str, ...]]]:
        """Collect the pronunciations of each word.

        Returns:
            Word to its pronunciations, the first of them the dictionary's first.
        """
        found = defaultdict(list)
        for word, phonemes in zip(self.words, self.phonemes, strict=True):
            found[word].append(phonemes)
        return dict(found)


def load(entry: Entry, split: str | None = None, full: bool = False) -> Names | Pronunciations:
    """Load names or pronunciations.

    Args:
        entry: "names" or "pronunciations".
        split: "train", "validation", "test", or None for all.
        full: No entry of this module has a fuller set; `coursekit.data.load` refuses it.

    Returns:
        `Names` for "names", `Pronunciations` for "pronunciations", in alphabetical order.

    Raises:
        DataFileError: An embedded file cannot be read.
    """
    if entry.name == "names":
        rows = read_table(entry.folder / "names.tsv.gz", split)
        labels = torch.tensor([CLASSES.index(row["class"]) for row in rows])
        return Names([row["name"] for row in rows], labels, CLASSES)
    rows = read_table(entry.folder / "pronunciations.tsv.gz", split)
    phonemes = [tuple(row["phonemes"].split()) for row in rows]
    return Pronunciations([row["word"] for row in rows], phonemes)


def draw(name: str) -> Figure:
    """Draw a table of samples.

    Args:
        name: "names" or "pronunciations".

    Returns:
        The figure.
    """
    data = load(find(name), "train")
    if isinstance(data, Names):
        rows = []
        for label, kind in enumerate(data.classes):
            members = [
                n for n, k in zip(data.names, data.labels.tolist(), strict=True) if k == label
            ]
            chosen = members[:: max(1, len(members) // 30)][:30]
            rows.append([kind, f"{len(members):,}", ", ".join(chosen)])
        return text_sheet(["class", "names", "thirty of them"], rows, f"{name}: training split")
    step = len(data) // 24
    rows = [[data.words[i], " ".join(data.phonemes[i])] for i in range(step // 2, len(data), step)]
    title = f"{name}: words spread over the training split"
    return text_sheet(["word", "phonemes; the digit of a vowel is its stress"], rows, title)
