"""Rebuild ``files/photos`` from scikit-image, scikit-learn and GCompris.

Usage: ``python -m coursekit.data.sources.photos ROOT [--output FOLDER]``, where ROOT holds three
unpacked packages: ``skimage`` and ``sklearn``, as wheels hold them, and ``gcompris-qt-data``, as
``dpkg -x`` unpacks Debian's package into a folder of that name.

The pictures are copied byte by byte, so that no version of an image library has a say. GCompris
keeps its pictures in a resource file of Qt: `read_resources` reads its format.
"""

from __future__ import annotations

import csv
import struct
import sys
import zlib
from collections.abc import Iterator
from pathlib import Path

from coursekit.data.sources import main

COLUMNS = ("name", "file", "title", "author", "license", "origin")
DETAILS = "gcompris-qt-data/usr/share/gcompris-qt/rcc/details.rcc"
INSIDE = "gcompris/src/activities/details/resource/image"
FOLDER, COMPRESSED, COMPRESSED_ZSTD = 2, 1, 4  # flags of a node in a resource file

# Name, file of the package, title, author, license, and where that is said.
PHOTOS = (
    (
        "astronaut",
        "skimage/data/astronaut.png",
        "Astronaut Eileen Collins",
        "NASA",
        "public domain",
        "docstring of skimage.data.astronaut",
    ),
    (
        "cat",
        "skimage/data/chelsea.png",
        "Chelsea the cat",
        "Stefan van der Walt",
        "CC0-1.0",
        "docstring of skimage.data.chelsea",
    ),
    (
        "coffee",
        "skimage/data/coffee.png",
        "Coffee cup",
        "Rachel Michetti",
        "CC0-1.0",
        "docstring of skimage.data.coffee",
    ),
    (
        "temple",
        "sklearn/datasets/images/china.jpg",
        "Temple in China",
        "danielbuechele",
        "CC-BY-2.0",
        "README.txt beside it; https://www.flickr.com/photos/danielbuechele/6061409035/",
    ),
    (
        "flower",
        "sklearn/datasets/images/flower.jpg",
        "Flower",
        "vultilion",
        "CC-BY-2.0",
        "README.txt beside it; https://www.flickr.com/photos/vultilion/6056698931/",
    ),
    (
        "castle",
        f"{INSIDE}/EilanDonanCastle_background.webp",
        "Eilean Donan Castle",
        "Guillaume Piolle; Bruno Coudoin and others",
        "CC-BY-4.0",
        "README beside it; https://commons.wikimedia.org/wiki/File:Eilean_Donan_castle_-_95mm.jpg",
    ),
)


def read_resources(path: Path) -> Iterator[tuple[str, bytes]]:
    """Read a resource file of Qt (``.rcc``), written by Qt's ``rcc --binary``.

    All numbers are big-endian. The header holds ``qres``, the version and the offsets of the tree,
    the data and the names. A node of the tree has 14 bytes, from version 2 on 22: the offset of its
    name (u4), its flags (u2), then for a folder the count of its children (u4) and the index of the
    first (u4), for a file country and language (u2 each) and the offset of its data (u4). A name is
    its length (u2), a hash (u4) and UTF-16. Data are a length (u4) and bytes; these may be a length
    (u4) and what zlib has compressed.

    Args:
        path: The file.

    Yields:
        Path inside the file, and content.

    Raises:
        ValueError: It is not such a file, or is compressed by a method other than zlib.

    Source: ``RCCFileInfo::writeDataInfo`` and its neighbors in Qt's ``rcc.cpp``.
    """
    content = path.read_bytes()
    if content[:4] != b"qres":
        raise ValueError(f"{path} must begin with qres, got {content[:4]!r}")
    version, tree, data, names = struct.unpack_from(">4I", content, 4)
    if not 1 <= version <= 3:
        raise ValueError(f"{path} must be of version 1 to 3, got {version}")
    size = 14 if version == 1 else 22

    def walk(index: int, folder: str) -> Iterator[tuple[str, bytes]]:
        name_offset, flags, first, second = struct.unpack_from(
            ">IHII", content, tree + index * size
        )
        name = ""
        if index:
            (length,) = struct.unpack_from(">H", content, names + name_offset)
            start = names + name_offset + 6
            name = folder + content[start : start + 2 * length].decode("utf-16-be")
        if flags & FOLDER:
            for child in range(second, second + first):
                yield from walk(child, f"{name}/" if name else "")
            return
        if flags & COMPRESSED_ZSTD:
            raise ValueError(f"{name} in {path} is compressed by zstd, which is not read here")
        (length,) = struct.unpack_from(">I", content, data + second)
        start = data + second + 4
        stored = content[start : start + length]
        yield name, zlib.decompress(stored[4:]) if flags & COMPRESSED else stored

    yield from walk(0, "")


def write_pictures(
    root: Path, output: Path, rows: tuple[tuple[str, str, str, str, str, str], ...]
) -> None:
    """Copy pictures and write their list, ``pictures.tsv``.

    Args:
        root: Where the packages were unpacked.
        output: The folder to write to.
        rows: Name, file of the package, title, author, license and origin of each.
    """
    inside = {file for _, file, *_ in rows if file.startswith(INSIDE)}
    resources = {
        name: content for name, content in read_resources(root / DETAILS) if name in inside
    }
    with (output / "pictures.tsv").open("w", encoding="utf-8", newline="") as listing:
        writer = csv.writer(listing, delimiter="\t", quoting=csv.QUOTE_NONE, lineterminator="\n")
        writer.writerow(COLUMNS)
        for name, file, *facts in rows:
            target = output / f"{name}{Path(file).suffix}"
            content = resources[file] if file in inside else (root / file).read_bytes()
            target.write_bytes(content)
            writer.writerow([name, target.name, *facts])


def build(root: Path, output: Path) -> None:
    """Build the extract.

    Args:
        root: Where the packages were unpacked.
        output: The folder to write to.
    """
    write_pictures(root, output, PHOTOS)


if __name__ == "__main__":
    sys.exit(main("photos", build, "a folder that holds skimage, sklearn and gcompris-qt-data"))
