"""Rebuild ``files/sentiment/sentences.tsv.gz`` from the PyPI package ``vaderSentiment`` 0.5.

Usage: ``python -m coursekit.data.sources.sentiment PACKAGE_FOLDER [--output FOLDER]``, where the
package folder is the unpacked source archive (the one that holds
``additional_resources/hutto_ICWSM_2014.tar.gz``).

The sentences and their mean scores come from the files ``*_GroundTruth.txt``, the number of raters
and the standard deviation from ``*_anonDataRatings.txt``.
"""

from __future__ import annotations

import html
import json
import statistics
import sys
import tarfile
from pathlib import Path

from coursekit.data.sources import content_share, main
from coursekit.data.sources.texts import Families, similar_pairs, words, write_table

DOMAINS = {
    "movies": "movieReviewSnippets",
    "products": "amazonReviewSnippets",
    "news": "nytEditorialSnippets",
    "tweets": "tweets",
}
COLUMNS = ("domain", "document", "sentence", "split", "score", "deviation", "raters", "text")
LEAST_WORDS = 3  # texts of fewer different words are variants only if they are equal
TEST_SHARE, VALIDATION_SHARE = 0.1, 0.1


def read_lines(archive: tarfile.TarFile, name: str) -> list[list[str]]:
    """Read the cells of a file of the archive.

    Args:
        archive: The publisher's archive.
        name: Name of the file in its folder.

    Returns:
        The cells of each line.
    """
    member = archive.extractfile(f"hutto_ICWSM_2014/{name}")
    if member is None:
        raise ValueError(f"the archive holds no file {name}")
    text = member.read().decode("utf-8-sig").replace("\r\n", "\n")
    return [line.split("\t") for line in text.split("\n") if line]


def read_package(folder: Path) -> list[dict[str, str]]:
    """Read the sentences, without a split.

    Args:
        folder: The unpacked source archive.

    Returns:
        One row a sentence, in the publisher's order.
    """
    rows = []
    path = folder / "additional_resources" / "hutto_ICWSM_2014.tar.gz"
    with tarfile.open(path) as archive:
        for domain, stem in DOMAINS.items():
            published = read_lines(archive, f"{stem}_anonDataRatings.txt")
            ratings = {cells[0]: json.loads(cells[3]) for cells in published}
            for number, score, text in read_lines(archive, f"{stem}_GroundTruth.txt"):
                document, _, sentence = number.partition("_")
                rows.append(
                    {
                        "domain": domain,
                        "document": document,
                        "sentence": sentence or "1",
                        "score": f"{float(score):.4f}",
                        "deviation": f"{statistics.pstdev(ratings[number]):.4f}",
                        "raters": str(len(ratings[number])),
                        # Some entities were escaped twice: "&amp;amp;".
                        "text": " ".join(html.unescape(html.unescape(text)).split()),
                    }
                )
    return rows


def choose(rows: list[dict[str, str]]) -> list[str]:
    """Choose the split of each sentence by the hash of its family.

    The sentences of one document are a family, and so are all that are equal without punctuation
    and case, or whose different words (three at least) agree in more than three fifths.

    Args:
        rows: The sentences.

    Returns:
        "train", "validation" or "test" for each.
    """
    families = Families(range(len(rows)))
    first: dict[tuple[str, ...], int] = {}
    for i, row in enumerate(rows):
        for key in (("document", row["domain"], row["document"]), ("text", *words(row["text"]))):
            families.join(first.setdefault(key, i), i)
    pieces = [frozenset(words(row["text"])) for row in rows]
    pieces = [piece if len(piece) >= LEAST_WORDS else frozenset() for piece in pieces]
    for one, other in similar_pairs(pieces, share=0.6, of_union=True, common=400):
        families.join(one, other)
    splits = [""] * len(rows)
    for family in families.members():
        named = min(f"{rows[i]['domain']} {rows[i]['document']}" for i in family)
        share = content_share(named.encode())
        split = "test" if share < TEST_SHARE else "train"
        if TEST_SHARE <= share < TEST_SHARE + VALIDATION_SHARE:
            split = "validation"
        for i in family:
            splits[i] = split
    return splits


def build(package: Path, output: Path) -> Path:
    """Build the extract.

    Args:
        package: The unpacked source archive.
        output: The folder to write to.

    Returns:
        The path of the file.
    """
    rows = read_package(package)
    for row, split in zip(rows, choose(rows), strict=True):
        row["split"] = split
    cells = ([row[column] for column in COLUMNS] for row in rows)
    return write_table(output / "sentences.tsv.gz", COLUMNS, cells)


if __name__ == "__main__":
    sys.exit(main("sentiment", build, "the unpacked source archive of vaderSentiment 0.5"))
