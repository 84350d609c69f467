"""Rebuild ``files/paintings`` from GCompris and OpenCV.

Usage: ``python -m coursekit.data.sources.paintings ROOT [--output FOLDER]``, where ROOT holds
``gcompris-qt-data`` and ``opencv-doc``, as ``dpkg -x`` unpacks Debian's packages into folders of
these names. The pictures are copied byte by byte.
"""

from __future__ import annotations

import sys
from pathlib import Path

from coursekit.data.sources import main
from coursekit.data.sources.photos import INSIDE, write_pictures

OPENCV = "opencv-doc/usr/share/doc/opencv-doc/examples/data/starry_night.jpg"
# Name, file of the package, title.
WORKS = (
    ("starry-night", OPENCV, "The Starry Night, 1889"),
    ("cafe-terrace", "Gogh4", "Café Terrace at Night, 1888"),
    ("night-cafe", "Van_Gogh_The_Night_Cafe", "The Night Café, 1888"),
    ("church", "Eglise_dAuvers-sur-Oise", "The Church at Auvers-sur-Oise, 1890"),
    ("bridge", "VincentVanGoghBridge", "The Bridge of Langlois at Arles, 1888"),
    ("harvest", "VincentVanGogh0019", "The Harvest, 1888"),
    ("painter", "VincentVanGogh0013", "Painter on His Way to Work, 1888"),
    ("pere-tanguy", "PortraitOfPereTanguy", "Portrait of Père Tanguy, 1887-8"),
    ("hallway", "VincentVanGogh0012", "Entrance Hall of Saint-Paul Hospital, 1889"),
)
PAINTINGS = tuple(
    (
        name,
        file if "/" in file else f"{INSIDE}/{file}_background.webp",
        title,
        "Vincent van Gogh",
        "public domain",
        "the painter died in 1890" + ("" if "/" in file else "; README beside it"),
    )
    for name, file, title in WORKS
)


def build(root: Path, output: Path) -> None:
    """Build the extract.

    Args:
        root: Where the packages were unpacked.
        output: The folder to write to.
    """
    write_pictures(root, output, PAINTINGS)


if __name__ == "__main__":
    sys.exit(main("paintings", build, "a folder that holds gcompris-qt-data and opencv-doc"))
