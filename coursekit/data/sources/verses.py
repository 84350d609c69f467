"""Rebuild ``files/verses/verses.tsv.gz`` from three Debian packages of Bible translations.

Usage: ``python -m coursekit.data.sources.verses ROOT [--output FOLDER]``, where ROOT is the folder
into which ``sword-text-sparv`` 2.60-1 (Reina-Valera 1909), ``sword-text-kjv`` 14.3-1 (King James
Version) and ``sword-text-web`` 426.0-1 were unpacked (``dpkg -x``), or ``/`` where they are
installed. It needs ``pysword``, which the course does not: ``pip install pysword``.

The Spanish and the King James text carry the number of the Hebrew or Greek word beside each word
(Strong's numbers). They tell whether two verses translate the same words: Spanish chapters that are
divided into verses in another way are found by them, and left out.
"""

from __future__ import annotations

import collections
import functools
import html
import re
import sys
from collections.abc import Mapping
from pathlib import Path

from coursekit.data.sources import main
from coursekit.data.sources.texts import (
    Families,
    choose_splits,
    runs,
    similar_pairs,
    words,
    write_table,
)

Verse = tuple[str, int, int]  # book, chapter, verse
MODULES = {"spanish": "spaRV1909eb", "english": "engKJV2006eb", "reference": "engWEB2015eb"}
LEAST_AGREEMENT = 0.5  # share of the original's words that two translations must have in common
MOST_SHIFTED = 3  # from so many verses below it on, a whole chapter is left out
# Characters of a verse over those of the King James text; beyond, one of the two lacks a sentence.
SPANISH_LENGTH, REFERENCE_LENGTH = (0.5, 1.6), (0.5, 1.75)
NO_TEXT = re.compile(
    r"<note\b.*?</note>|<title>.*?</title>|<title (?!canonical).*?</title>|<speaker>.*?</speaker>"
    r'|<div [^>]*type="glossary".*',
    re.DOTALL,
)
ACROSTIC = re.compile(
    r"^(?:Aleph|[A-Z]{2,}(?: AND [A-Z]+)?)\b\.?\s*"
)  # Psalm 119, each eighth verse
SUBSCRIPTION = re.compile(r"(?<=Amén\.) .*\b(?:escrita|enviada)\b.*", re.IGNORECASE)
SHOUTED = re.compile(r"\b[^\W\d_a-zñáéíóúü]{2,}\b")
INSIDE_A_LINE = re.compile(r"</?(w|divineName|transChange|seg|q|foreign)\b[^>]*>")


def read_module(root: Path, name: str) -> dict[Verse, str]:
    """Read a translation with its markup.

    Args:
        root: Where the packages were unpacked.
        name: The module.

    Returns:
        The verses in their order, in OSIS markup.
    """
    from pysword.modules import SwordModules

    modules = SwordModules(str(root / "usr/share/sword"))
    modules.parse_modules()
    bible = modules.get_bible_from_module(name)
    # pysword decompresses a whole book for each of its verses: two minutes without this.
    bible._decompressed_text = functools.lru_cache(4)(bible._decompressed_text)
    verses = {}
    for books in bible.get_structure().get_books().values():
        for book in books:
            for chapter, length in enumerate(book.chapter_lengths, 1):
                for verse in range(1, length + 1):
                    verses[book.name, chapter, verse] = bible.get(
                        books=[book.name], chapters=[chapter], verses=[verse], clean=False
                    )
    return verses


def clean(markup: str) -> str:
    """Leave only the words of a verse; the old titles of psalms belong to them.

    Args:
        markup: A verse in OSIS.

    Returns:
        Its text in one line.

    >>> clean('<title>ALEPH.</title> ¶ <w lemma="strong:G2316">God</w><note>n</note> is <l/>love .')
    'God is love.'
    """
    text = INSIDE_A_LINE.sub("", NO_TEXT.sub(" ", markup))
    text = html.unescape(re.sub(r"<[^>]+>", " ", text))
    return re.sub(r"\s+([,;:.?!])", r"\1", " ".join(re.sub(r"[¶\\]", " ", text).split()))


def lower_initials(text: str, counts: Mapping[str, int]) -> str:
    """Undo the capitals in which a Spanish chapter opens.

    Args:
        text: The first verse of a chapter.
        counts: How often each word stands in the other verses, with its capitals.

    Returns:
        The same with words of several capitals as the other verses write them; at the beginning
        of a sentence with one capital.

    >>> lower_initials("EN el principio. ¡OH JEHOVÁ, El MISMO!", {"Jehová": 2, "mismo": 3, "oh": 1})
    'En el principio. ¡Oh Jehová, El mismo!'
    """

    def written(match: re.Match[str]) -> str:
        word = match[0]
        opens = re.search(r"(?:^|[.!?]\s+)[¡¿(]*$", text[: match.start()])
        name = counts.get(word.capitalize(), 0) > counts.get(word.lower(), 0)
        return word.capitalize() if opens or name else word.lower()

    return SHOUTED.sub(written, text)


def originals(markup: str) -> collections.Counter[str]:
    """Count the numbers of the original's words.

    Args:
        markup: A verse in OSIS.

    Returns:
        Strong's numbers, such as "H0430", and how often each stands.
    """
    return collections.Counter(re.findall(r"strong:([HG]\d+)", markup))


def agreement(first: str, second: str) -> float:
    """Say how far two translations render the same words.

    Args:
        first: A verse in OSIS.
        second: Another.

    Returns:
        The share of the original's words of the one with fewer that the other has too.
    """
    one, other = originals(first), originals(second)
    fewer = min(one.total(), other.total())
    return (one & other).total() / fewer if fewer else 0.0


def aligned(spanish: dict[Verse, str], english: dict[Verse, str]) -> list[Verse]:
    """List the verses that are the same in both translations.

    Args:
        spanish: Verses in OSIS.
        english: Verses in OSIS.

    Returns:
        The verses, in the order of `english`.
    """
    apart = [v for v in english if agreement(spanish[v], english[v]) < LEAST_AGREEMENT]
    shifted = collections.Counter(verse[:2] for verse in apart)
    chapters = {chapter for chapter, count in shifted.items() if count >= MOST_SHIFTED}
    left_out = set(apart)
    return [v for v in english if v not in left_out and v[:2] not in chapters]


def mend(texts: dict[str, dict[Verse, str]]) -> None:
    """Take out what stands in one translation alone: acrostic letters, notes on letters, capitals.

    Args:
        texts: Language to the verses; changed in place.
    """
    spanish = texts["spanish"]
    for verse in spanish:
        if verse[:2] == ("Psalms", 119) and verse[2] % 8 == 1:
            for translation in texts.values():
                translation[verse] = ACROSTIC.sub("", translation[verse], count=1)
        spanish[verse] = SUBSCRIPTION.sub("", spanish[verse])
    others = (text for verse, text in spanish.items() if verse[2] != 1)
    counts = collections.Counter(word for text in others for word in re.findall(r"\w+", text))
    for verse in spanish:
        if verse[2] == 1:
            spanish[verse] = lower_initials(spanish[verse], counts)


def fits(text: str, english: str, bounds: tuple[float, float]) -> bool:
    """Say whether two translations of a verse are about as long.

    Args:
        text: A translation.
        english: The King James text.
        bounds: Least and greatest ratio of their characters.

    Returns:
        Whether it lies within.

    >>> fits("Jesús lloró.", "Jesus wept.", (0.5, 1.6)), fits("", "Jesus wept.", (0.5, 1.6))
    (True, False)
    """
    return bounds[0] <= len(text) / len(english) <= bounds[1]


def families(verses: list[Verse], translations: list[dict[Verse, str]]) -> list[list[str]]:
    """Join the chapters that repeat verses of each other.

    Two chapters are joined if a verse of the one is equal to a verse of the other in any
    translation, or if it has more than half of its runs of three words in common with it (of the
    one that has fewer; verses of at least six words).

    Args:
        verses: The verses.
        translations: Their texts in several translations.

    Returns:
        The chapters of each family, as "Ruth 1".
    """
    joined = Families(f"{book} {chapter}" for book, chapter, _ in verses)
    chapters = [f"{book} {chapter}" for book, chapter, _ in verses]
    for translation in translations:
        tokens = [words(translation[verse]) for verse in verses]
        first: dict[tuple[str, ...], str] = {}
        for chapter, own in zip(chapters, tokens, strict=True):
            if own:
                joined.join(first.setdefault(tuple(own), chapter), chapter)
        pieces = [runs(own, 3, least=6) for own in tokens]
        for one, other in similar_pairs(pieces, share=0.5, common=len(pieces)):
            joined.join(chapters[one], chapters[other])
    return joined.members()


def build(package: Path, output: Path) -> Path:
    """Build the table.

    Args:
        package: Where the packages were unpacked.
        output: The folder to write to.

    Returns:
        The path of the file.
    """
    marked = {language: read_module(package, name) for language, name in MODULES.items()}
    verses = aligned(marked["spanish"], marked["english"])
    texts = {
        language: {verse: clean(translation[verse]) for verse in verses}
        for language, translation in marked.items()
    }
    mend(texts)
    spanish, english, reference = texts.values()
    verses = [v for v in verses if fits(spanish[v], english[v], SPANISH_LENGTH)]
    for verse in verses:
        if not fits(reference[verse], english[verse], REFERENCE_LENGTH):
            reference[verse] = ""
    chapters = collections.Counter(f"{book} {chapter}" for book, chapter, _ in verses)
    splits = choose_splits(families(verses, list(texts.values())), chapters, 0.05, 0.05)
    rows = (
        (
            f"{book} {chapter}:{verse}",
            splits[f"{book} {chapter}"],
            *(texts[language][book, chapter, verse] for language in MODULES),
        )
        for book, chapter, verse in verses
    )
    return write_table(output / "verses.tsv.gz", ("verse", "split", *MODULES), rows)


if __name__ == "__main__":
    package = "the folder that holds the packages' usr/share"
    sys.exit(main("verses", build, package))
