"""Rebuild ``sharealike/captions/captions.tsv.gz`` from Debian's ``tuxpaint-stamps-default``.

Usage: ``python -m coursekit.data.sources.captions ROOT [--output FOLDER]``, where ROOT is the
folder into which version 2022.06.04-1 of the package was unpacked (``dpkg -x``), or ``/`` where it
is installed.

Each stamp has a text file: the English caption in the first line, then one line a language. The
languages in which at least nine of ten stamps have a caption are taken, but for the two other
Englishes, whose captions are nine times in ten the first line again.
"""

from __future__ import annotations

import collections
import sys
from pathlib import Path

from coursekit.data.sources import content_share, main
from coursekit.data.sources.texts import Families, words, write_table

COVERAGE = 0.9
TEST_SHARE, VALIDATION_SHARE = 0.1, 0.1


def read_stamp(text: str) -> dict[str, str]:
    r"""Read the captions of a stamp.

    Args:
        text: What its text file holds.

    Returns:
        Language to caption.

    >>> read_stamp("A frog.\nfr.utf8=Une grenouille.\nen_GB.utf8=A frog.\nga.utf8=\n")
    {'en': 'A frog.', 'fr': 'Une grenouille.'}
    """
    english, *lines = text.splitlines()
    captions = {"en": " ".join(english.split())}
    for line in lines:
        language, _, caption = line.partition("=")
        language = language.strip().removesuffix(".utf8")
        if not language.startswith("en_") and caption.strip():
            captions[language] = " ".join(caption.split())
    return captions


def choose(stamps: dict[str, dict[str, str]], languages: list[str]) -> dict[str, str]:
    """Choose the split of each stamp by the hash of its family.

    Stamps whose captions are equal in any language, but for punctuation and case, are a family.

    Args:
        stamps: Name of the stamp to its captions.
        languages: The languages.

    Returns:
        Name to "train", "validation" or "test".
    """
    families = Families(stamps)
    first: dict[tuple[str, ...], str] = {}
    for name, captions in stamps.items():
        for language in languages:
            if spelled := words(captions.get(language, "")):
                families.join(first.setdefault((language, *spelled), name), name)
    splits = {}
    for family in families.members():
        share = content_share(min(stamps[name]["en"] for name in family).encode())
        split = "test" if share < TEST_SHARE else "train"
        if TEST_SHARE <= share < TEST_SHARE + VALIDATION_SHARE:
            split = "validation"
        splits.update(dict.fromkeys(family, split))
    return splits


def build(package: Path, output: Path) -> Path:
    """Build the table.

    Args:
        package: Where the package was unpacked.
        output: The folder to write to.

    Returns:
        The path of the file.
    """
    root = package / "usr/share/tuxpaint/stamps"
    paths = {
        path.relative_to(root).with_suffix("").as_posix(): path for path in root.rglob("*.txt")
    }
    stamps = {name: read_stamp(paths[name].read_text(encoding="utf-8")) for name in sorted(paths)}
    counts = collections.Counter(language for captions in stamps.values() for language in captions)
    least = COVERAGE * len(stamps)
    languages = ["en", *sorted(k for k, count in counts.items() if count >= least and k != "en")]
    splits = choose(stamps, languages)
    rows = (
        (name, splits[name], *(captions.get(language, "") for language in languages))
        for name, captions in stamps.items()
    )
    return write_table(output / "captions.tsv.gz", ("stamp", "split", *languages), rows)


if __name__ == "__main__":
    package = "the folder that holds the package's usr/share"
    sys.exit(main("captions", build, package))
