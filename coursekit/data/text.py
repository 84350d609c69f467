"""Running text: Shakespeare's works for language models, and sentences scored for sentiment."""

from __future__ import annotations

import csv
import gzip
import itertools
import json
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from matplotlib.figure import Figure
from torch import Tensor

from coursekit.data.catalog import DataFileError, Entry, find
from coursekit.data.drawing import text_sheet


@dataclass(frozen=True)
class Text:
    """Whole works.

    Attributes:
        texts: One string a work, with its line breaks.
        titles: The title of each work.
        genres: "play" or "poem".
    """

    texts: list[str]
    titles: list[str]
    genres: list[str]

    def __len__(self) -> int:
        return len(self.texts)

    def __repr__(self) -> str:
        return f"Text({len(self)} works, {sum(map(len, self.texts)):,} characters)"


@dataclass(frozen=True)
class Sentiment:
    """Sentences with the mean of what readers felt.

    Attributes:
        texts: The sentences.
        scores: float32 of shape (n,), mean rating from -4 (extremely negative) to 4.
        deviations: float32 of shape (n,), standard deviation of the ratings of one sentence.
        raters: How many people rated each sentence.
        domains: "movies", "products", "news" or "tweets".
        documents: The review, article or tweet each sentence was taken from; its number is the
            publisher's. Movie reviews and tweets are single texts.
    """

    texts: list[str]
    scores: Float[Tensor, " n"]
    deviations: Float[Tensor, " n"]
    raters: list[int]
    domains: list[str]
    documents: list[str]

    def __len__(self) -> int:
        return len(self.texts)

    def __repr__(self) -> str:
        domains = ", ".join(dict.fromkeys(self.domains))
        return f"Sentiment({len(self):,} sentences of {domains}, scored from -4 to 4)"


def read_gz(path: Path) -> str:
    """Read a gzipped text.

    Args:
        path: A file of an entry.

    Returns:
        The text.

    Raises:
        DataFileError: It cannot be read.
    """
    try:
        return gzip.decompress(path.read_bytes()).decode()
    except (OSError, EOFError, ValueError) as error:
        raise DataFileError(f"{path} cannot be read ({error}); reinstall coursekit") from error


def read_table(path: Path, split: str | None = None) -> list[dict[str, str]]:
    """Read a gzipped table of cells divided by tabs, without quotation marks of its own.

    Args:
        path: A file of an entry, with the names of the columns in its first line.
        split: Only the rows whose column "split" says this; None for all.

    Returns:
        One dictionary a row.

    Raises:
        DataFileError: It cannot be read, or a row has another number of cells.
    """
    lines = read_gz(path).removesuffix("\n").split("\n")
    header, *rows = csv.reader(lines, delimiter="\t", quoting=csv.QUOTE_NONE)
    for number, row in enumerate(rows, 2):
        if len(row) != len(header):
            raise DataFileError(f"{path}, line {number}: {len(row)} cells, not {len(header)}")
    table = [dict(zip(header, row, strict=True)) for row in rows]
    return table if split is None else [row for row in table if row["split"] == split]


def load(entry: Entry, split: str | None = None, full: bool = False) -> Text | Sentiment:
    """Load works or scored sentences.

    Args:
        entry: "shakespeare" or "sentiment".
        split: "train", "validation", "test", or None for all.
        full: No entry of this module has a fuller set; `coursekit.data.load` refuses it.

    Returns:
        A `Text` for "shakespeare", a `Sentiment` for "sentiment".

    Raises:
        DataFileError: An embedded file cannot be read.
    """
    if entry.name == "sentiment":
        return _load_sentiment(entry, split)
    path = entry.folder / "works.jsonl.gz"
    try:
        works: list[dict[str, Any]] = [json.loads(line) for line in read_gz(path).splitlines()]
    except json.JSONDecodeError as error:
        raise DataFileError(f"{path} cannot be read ({error}); reinstall coursekit") from error
    works = [work for work in works if split in (None, work["split"])]
    return Text(
        texts=[work["text"] for work in works],
        titles=[work["title"] for work in works],
        genres=[work["genre"] for work in works],
    )


def _load_sentiment(entry: Entry, split: str | None) -> Sentiment:
    rows = read_table(entry.folder / "sentences.tsv.gz", split)
    return Sentiment(
        texts=[row["text"] for row in rows],
        scores=torch.tensor([float(row["score"]) for row in rows]),
        deviations=torch.tensor([float(row["deviation"]) for row in rows]),
        raters=[int(row["raters"]) for row in rows],
        domains=[row["domain"] for row in rows],
        documents=[row["document"] for row in rows],
    )


def wrapped(cells: Sequence[str], widths: Sequence[int]) -> list[list[str]]:
    """Divide a row of a table into rows of one line, for `drawing.text_sheet`.

    Args:
        cells: The cells.
        widths: Characters that a line of each may take.

    Returns:
        As many rows as the longest cell has lines, and an empty one.

    >>> wrapped(["a b", "c"], [1, 1])
    [['a', 'c'], ['b', ''], ['', '']]
    """
    lines = [textwrap.wrap(cell, width) for cell, width in zip(cells, widths, strict=True)]
    rows = [list(row) for row in itertools.zip_longest(*lines, fillvalue="")]
    return [*rows, [""] * len(cells)]


def draw(name: str) -> Figure:
    """Draw a table of samples.

    Args:
        name: "shakespeare" or "sentiment".

    Returns:
        The figure.
    """
    data = load(find(name), "train")
    if isinstance(data, Sentiment):
        return _draw_sentiment(data, name)
    rows = []
    for i in range(2, len(data), 5):
        middle = data.texts[i].index("\n\n", len(data.texts[i]) // 2)
        passage = data.texts[i][middle:].strip()[:240].rpartition(" ")[0].replace("\n", " / ")
        rows += wrapped([data.titles[i], f"{len(data.texts[i]):,}", passage + " …"], (24, 12, 90))
    title = f"{name}: from the middle of seven training works; a slash is a line break"
    return text_sheet(["work", "characters  ", "passage"], rows, title, width=130)


def _draw_sentiment(data: Sentiment, name: str) -> Figure:
    """Draw four sentences a domain, spread over its scores."""
    rows = []
    for domain in dict.fromkeys(data.domains):
        members = [i for i, other in enumerate(data.domains) if other == domain]
        members.sort(key=lambda i: float(data.scores[i]))
        for share in (0.02, 0.3, 0.7, 0.98):
            i = members[int(share * len(members))]
            score, deviation = float(data.scores[i]), float(data.deviations[i])
            cells = [domain, f"{score:+.2f}", f"{deviation:.2f}", data.texts[i]]
            rows += wrapped(cells, (9, 6, 11, 84))
    header = ["domain", "score", "deviation  ", "sentence"]
    return text_sheet(header, rows, f"{name}: training sentences from low to high scores")
