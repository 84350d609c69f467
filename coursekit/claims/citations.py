"""Names of papers as the book's prose cites them, read from ``book/references.bib``."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from pathlib import Path

ACCENTS = {"'": "\u0301", "`": "\u0300", '"': "\u0308", "^": "\u0302", "~": "\u0303"}


def cited(root: Path | None, keys: Iterable[str]) -> str:
    """Write citation keys as authors and years.

    Args:
        root: Folder of the course.
        keys: Citation keys.

    Returns:
        ``"Graves et al., 2006; Hannun, 2017"``. A key that is not in the bibliography stays as it
        is, and Sphinx warns about it where the prose cites it.
    """
    path = root / "book" / "references.bib" if root else None
    text = path.read_text(encoding="utf-8") if path and path.is_file() else ""
    entries = dict(re.findall(r"^@\w+\{([^,\s]+),(.*?)^\}", text, re.M | re.S))
    return "; ".join(authors_and_year(entries[key]) if key in entries else key for key in keys)


def authors_and_year(entry: str) -> str:
    """Shorten the authors of a BibTeX entry to the form that the book uses.

    Args:
        entry: The fields of the entry.

    Returns:
        ``"Cox, 1958"``, ``"Alain and Bengio, 2016"`` or ``"Graves et al., 2006"``.
    """
    authors = re.search(r"\bauthor\s*=\s*\{(.*?)\},?\s*$", entry, re.M | re.S)
    year = re.search(r"\byear\s*=\s*\{?(\d{4})", entry)
    people = re.split(r"\s+and\s+", authors[1]) if authors else []
    surnames = [letters(person.split(",")[0]) for person in people]
    names = " and ".join(surnames) if len(surnames) < 3 else f"{surnames[0]} et al."
    return f"{names}, {year[1]}" if year else names


def letters(text: str) -> str:
    r"""Turn TeX's accents into letters: ``{\'a}`` is read as á."""
    text = re.sub(
        r"\{?\\(['`\"^~])\{?(\w)\}?\}?", lambda m: m[2] + ACCENTS[m[1]], " ".join(text.split())
    )
    return unicodedata.normalize("NFC", re.sub(r"[{}]", "", text))
