"""What the scripts of the text sets share: tables, families of similar texts, and their splits."""

from __future__ import annotations

import collections
import re
import unicodedata
from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Generic, TypeVar

from coursekit.data.sources import content_share, write_gz

Item = TypeVar("Item", bound=Hashable)


def write_table(path: Path, header: Sequence[str], rows: Iterable[Sequence[str]]) -> Path:
    """Write a gzipped table of cells divided by tabs, read by `coursekit.data.text.read_table`.

    Args:
        path: The file to write.
        header: Names of the columns.
        rows: The cells of each row, free of tabs and line ends.

    Returns:
        The path.

    Raises:
        ValueError: A row has another number of cells, or a cell holds a tab or a line end.
    """
    lines = ["\t".join(header)]
    for row in rows:
        line = "\t".join(row)
        if line.count("\t") != len(header) - 1 or len(line.splitlines()) > 1:
            raise ValueError(f"row must have {len(header)} cells without tabs, got {row!r}")
        lines.append(line)
    return write_gz(path, ("\n".join(lines) + "\n").encode())


def words(text: str) -> list[str]:
    """Spell a text in lower-case words, without punctuation, to compare it with others.

    Args:
        text: In any language.

    Returns:
        Its words, with digits and inner apostrophes.

    >>> words("Don't stop, it's 5 o'clock -- OK?")
    ["don't", 'stop', "it's", '5', "o'clock", 'ok']
    """
    return re.findall(r"\w+(?:['’]\w+)*", unicodedata.normalize("NFKC", text).casefold())


class Families(Generic[Item]):
    """Items joined into families by links; a family stays in one split.

    Args:
        items: All of them, joined to none at first.
    """

    def __init__(self, items: Iterable[Item]):
        self._parent = {item: item for item in items}

    def find(self, item: Item) -> Item:
        """Say which family an item belongs to.

        Args:
            item: One of the items; another one is added.

        Returns:
            The item that stands for the family.
        """
        self._parent.setdefault(item, item)
        while self._parent[item] != item:
            self._parent[item] = self._parent[self._parent[item]]
            item = self._parent[item]
        return item

    def join(self, first: Item, second: Item) -> None:
        """Join the families of two items.

        Args:
            first: An item.
            second: Another.
        """
        self._parent[self.find(second)] = self.find(first)

    def members(self) -> list[list[Item]]:
        """List the families.

        Returns:
            The items of each, in the order in which they were added.
        """
        families = collections.defaultdict(list)
        for item in self._parent:
            families[self.find(item)].append(item)
        return list(families.values())


def similar_pairs(
    pieces: Sequence[frozenset[Hashable]], share: float, of_union: bool = False, common: int = 150
) -> Iterator[tuple[int, int]]:
    """Find the pairs of texts that have many pieces in common.

    Args:
        pieces: The pieces of each text, such as its words or its runs of three words.
        share: Pairs are similar if more than this share of the pieces of the one that has fewer
            stand in the other.
        of_union: Take the share of the pieces of both together instead (Jaccard's index).
        common: Pieces that stand in more texts than this do not bring a pair into question;
            they count once another piece has brought it.

    Yields:
        Positions of the two texts, the smaller first.
    """
    texts_with = collections.defaultdict(list)
    for position, own in enumerate(pieces):
        for piece in own:
            texts_with[piece].append(position)
    for position, own in enumerate(pieces):
        rare = (texts_with[piece] for piece in own if len(texts_with[piece]) <= common)
        for other in sorted({other for texts in rare for other in texts if other < position}):
            together = len(own & pieces[other])
            fewer = min(len(own), len(pieces[other]))
            whole = len(own) + len(pieces[other]) - together if of_union else fewer
            if together > share * whole:
                yield other, position


def runs(tokens: Sequence[str], length: int, least: int = 0) -> frozenset[tuple[str, ...]]:
    """List the runs of words of a text.

    Args:
        tokens: Its words.
        length: Words in a run.
        least: A text of fewer words has none.

    Returns:
        The runs.
    """
    if len(tokens) < least:
        return frozenset()
    return frozenset(tuple(tokens[i : i + length]) for i in range(len(tokens) - length + 1))


def choose_splits(
    families: Iterable[Sequence[str]],
    weights: Mapping[str, int],
    test: float = 0.1,
    validation: float = 0.1,
) -> dict[str, str]:
    """Fill the test split, then the validation split, with whole families in the order of a hash.

    A family that no longer fits into what is left of a split is left to the next.

    Args:
        families: The items of each family.
        weights: Size of each item, such as its number of words.
        test: Share of the test split in the sum of the weights.
        validation: Share of the validation split.

    Returns:
        Item to "train", "validation" or "test".
    """
    total = sum(weights.values())
    room = {"test": test * total, "validation": validation * total}
    splits = {}
    for family in sorted(families, key=lambda family: content_share(min(family).encode())):
        size = sum(weights[item] for item in family)
        split = next((name for name, left in room.items() if size <= left), "train")
        if split in room:
            room[split] -= size
        splits.update(dict.fromkeys(family, split))
    return splits
