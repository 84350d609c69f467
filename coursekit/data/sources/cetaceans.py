"""Rebuild ``sharealike/cetaceans`` from Debian's ``tuxpaint-stamps-default`` 2022.06.04.

Usage: ``python -m coursekit.data.sources.cetaceans ROOT [--output FOLDER]``, where ROOT is the
folder into which the package was unpacked (``dpkg -x``), or ``/`` where it is installed. The sound
files are copied byte by byte.
"""

from __future__ import annotations

import hashlib
import sys
from pathlib import Path

import soundfile

from coursekit.data.sources import main
from coursekit.data.sources.backgrounds import COLUMNS
from coursekit.data.sources.ogg import write_listing

STAMPS = "usr/share/tuxpaint/stamps/animals/mammals/aquatic"
NAMES = ("dolphin", "orca", "sea_lion", "whale")
AUTHOR = "Childsplay, Stas Zytkiewicz"
ORIGIN = "tuxpaint-stamps animals/mammals/aquatic"


def build(root: Path, output: Path) -> Path:
    """Build the extract.

    Args:
        root: Where the package was unpacked.
        output: The folder to write to.

    Returns:
        The path of the list of clips.
    """
    rows = []
    for name in NAMES:
        source = root / STAMPS / f"{name}.ogg"
        caption = source.with_suffix(".txt").read_text(encoding="utf-8").splitlines()[0]
        stream = source.read_bytes()
        path = output / "clips" / source.name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(stream)
        seconds = f"{soundfile.info(source).duration:.3f}"
        sha256 = hashlib.sha256(stream).hexdigest()
        kind = name.replace("_", " ")
        row = (name, f"clips/{name}.ogg", seconds, "none", kind, caption, AUTHOR, ORIGIN, sha256)
        rows.append(row)
    return write_listing(output / "clips.tsv", COLUMNS, rows)


if __name__ == "__main__":
    sys.exit(main("cetaceans", build, "the folder that holds the package's usr/share"))
