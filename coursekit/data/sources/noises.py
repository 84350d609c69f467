"""Rebuild ``sharealike/noises`` from Debian's ``gcompris-qt-data`` 3.1.

Usage: ``python -m coursekit.data.sources.noises ROOT [--output FOLDER]``, where ROOT is the folder
into which the package was unpacked (``dpkg -x``), or ``/`` where it is installed.

Those sounds of the game of memory are taken whose license the package states by their names.
"""

from __future__ import annotations

import io
import re
import sys
from pathlib import Path

from coursekit.data.sources import main
from coursekit.data.sources.backgrounds import COLUMNS, choose_splits, read_left, write_clip
from coursekit.data.sources.ogg import write_listing
from coursekit.data.sources.photos import read_resources

RESOURCES = "usr/share/gcompris-qt/rcc/memory-sound.rcc"
LICENSED = re.compile(r"/LR(\w+)_LA(?:_cut)?\.ogg$")
AUTHOR = "Lionel Allorge, Yves Combe"
ORIGIN = "gcompris-qt src/activities/memory-sound/resource"


def build(root: Path, output: Path) -> Path:
    """Build the extract.

    Args:
        root: Where the package was unpacked.
        output: The folder to write to.

    Returns:
        The path of the list of clips.
    """
    streams = {}
    for path, content in read_resources(root / RESOURCES):
        match = LICENSED.search(f"/{path}")
        if match:
            streams[match[1]] = content
    recordings = {name: re.sub(r"_\d+$", "", name).lower() for name in streams}
    written = {
        name: write_clip(output, name, *read_left(name, io.BytesIO(content)))
        for name, content in streams.items()
    }
    splits = choose_splits(
        dict.fromkeys(streams, "noise"),
        recordings,
        {name: float(seconds) for name, (_, seconds, _) in written.items()},
    )
    rows = []
    for name, (relative, seconds, sha256) in written.items():
        caption = recordings[name].replace("_", " ")
        row = (name, relative, seconds, splits[name], "noise", caption, AUTHOR, ORIGIN, sha256)
        rows.append(row)
    return write_listing(output / "clips.tsv", COLUMNS, rows)


if __name__ == "__main__":
    sys.exit(main("noises", build, "the folder that holds the package's usr/share"))
