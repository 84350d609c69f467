"""Scripts that rebuild the embedded extracts from the packages that they were taken from.

``python -m coursekit.data.sources.NAME PACKAGE_FOLDER`` builds the files of an entry and compares
their checksums with those of its card.
"""

from __future__ import annotations

import argparse
import gzip
import hashlib
import io
import sys
import zipfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np

from coursekit.data.catalog import find, sha256_file


def main(
    name: str,
    build: Callable[[Path, Path], object],
    package: str,
    arguments: Sequence[str] | None = None,
) -> int:
    """Rebuild an extract as the command line asks and compare it with the catalog.

    Args:
        name: The entry.
        build: ``build(package_folder, output_folder)`` writes the files of the entry.
        package: What the package folder must hold, for the help text.
        arguments: Arguments of the command, by default those of the process.

    Returns:
        The exit code: 0 when every file has the checksum of the card, else 1.
    """
    parser = argparse.ArgumentParser(description=f"Rebuild the files of {name}.")
    parser.add_argument("package", type=Path, help=package)
    parser.add_argument("--output", type=Path, default=find(name).card.parent)
    chosen = parser.parse_args(arguments)
    if not chosen.package.is_dir():
        parser.error(f"{chosen.package} is not a folder; it must be {package}")
    chosen.output.mkdir(parents=True, exist_ok=True)
    build(chosen.package, chosen.output)
    return compare(name, chosen.output)


def compare(name: str, folder: Path) -> int:
    """Print the checksums of rebuilt files and say whether they are the catalog's.

    Args:
        name: The entry.
        folder: Folder of the rebuilt files.

    Returns:
        0 when they agree, else 1.
    """
    code = 0
    for file, expected in find(name).files.items():
        path = folder / file
        found = sha256_file(path)
        print(f"{path}: {path.stat().st_size} bytes, sha256 {found}")
        if found == expected:
            print("same bytes as the catalog records")
        else:
            print(f"differs from the catalog, which has sha256 {expected}", file=sys.stderr)
            code = 1
    return code


def write_npz(path: Path, arrays: Mapping[str, np.ndarray]) -> Path:
    """Write a compressed npz whose bytes depend on the arrays alone (and on zlib).

    Args:
        path: The file to write.
        arrays: Name to array; stored in the order of the names.

    Returns:
        The path.
    """
    with zipfile.ZipFile(path, "w") as archive:
        for name in sorted(arrays):
            member = zipfile.ZipInfo(f"{name}.npy", date_time=(1980, 1, 1, 0, 0, 0))
            member.compress_type = zipfile.ZIP_DEFLATED
            member.create_system = 3
            member.external_attr = 0o644 << 16
            buffer = io.BytesIO()
            np.lib.format.write_array(buffer, np.ascontiguousarray(arrays[name]), version=(1, 0))
            archive.writestr(member, buffer.getvalue(), compresslevel=9)
    return path


def write_gz(path: Path, content: bytes) -> Path:
    """Write a gzip file without name and time, so that its bytes depend on the content alone.

    Args:
        path: The file to write.
        content: What it holds.

    Returns:
        The path.
    """
    # gzip.compress writes another byte for the operating system in other versions of Python.
    with path.open("wb") as raw, gzip.GzipFile("", "wb", 9, raw, mtime=0) as file:
        file.write(content)
    return path


def content_share(content: bytes) -> float:
    """Map content to a number in [0, 1) by its SHA-256, to choose splits without a generator.

    Args:
        content: For example the pixels of an image, or a text in UTF-8.

    Returns:
        The first eight bytes of the hash, as a share of 2 ** 64.
    """
    return int.from_bytes(hashlib.sha256(content).digest()[:8], "big") / 2**64
