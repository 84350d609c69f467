"""Rebuild ``files/fashion/fashion.npz`` from Debian's ``dataset-fashion-mnist``.

Usage: ``python -m coursekit.data.sources.fashion ROOT [--output FOLDER]``, where ROOT is the folder
into which the package was unpacked (``dpkg -x``), or ``/`` where it is installed.

Train and validation come from the official training file, test from the official test file. Of
every class those images are taken whose SHA-256 is smallest: a choice that depends on no random
generator and on no version of a library. An image that occurs twice is left out altogether.
"""

from __future__ import annotations

import hashlib
import sys
from collections import Counter
from pathlib import Path

import numpy as np

from coursekit.data.catalog import SPLITS
from coursekit.data.readers.idx import read_idx
from coursekit.data.sources import main, write_npz

PER_CLASS = {"train": 1100, "validation": 100, "test": 400}
FOLDER = "usr/share/datasets/fashion-mnist"


def arrange(
    official: dict[str, tuple[np.ndarray, np.ndarray]], per_class: dict[str, int]
) -> dict[str, np.ndarray]:
    """Choose the images of every split.

    Args:
        official: "train" and "test" to images, uint8 (n, 28, 28), and labels (n,).
        per_class: Images a class in each split.

    Returns:
        Arrays ``images``, ``labels`` and ``split`` (an index into `SPLITS`), shuffled.

    Raises:
        ValueError: A class has too few images.
    """
    keys = {
        name: [hashlib.sha256(image.tobytes()).digest() for image in images]
        for name, (images, _) in official.items()
    }
    occurs = Counter(key for part in keys.values() for key in part)
    chosen: list[tuple[bytes, np.ndarray, int, int]] = []
    for name, (images, labels) in official.items():
        wanted = {
            split: count
            for split, count in per_class.items()
            if (split == "test") == (name == "test")
        }
        for label in range(10):
            order = sorted(
                (keys[name][i], i)
                for i in np.flatnonzero(labels == label)
                if occurs[keys[name][i]] == 1
            )
            if len(order) < sum(wanted.values()):
                raise ValueError(f"class {label} of {name} has only {len(order)} different images")
            start = 0
            for split, count in wanted.items():
                chosen += [
                    (key, images[i], label, SPLITS.index(split))
                    for key, i in order[start : start + count]
                ]
                start += count
    chosen.sort(key=lambda row: hashlib.sha256(row[0]).digest())
    return {
        "images": np.stack([image for _, image, _, _ in chosen]),
        "labels": np.array([label for _, _, label, _ in chosen], np.uint8),
        "split": np.array([split for _, _, _, split in chosen], np.uint8),
    }


def build(root: Path, output: Path) -> Path:
    """Build the extract.

    Args:
        root: Where the package was unpacked.
        output: The folder to write to.

    Returns:
        The path of the npz.
    """
    folder = root / FOLDER
    official = {
        name: (
            read_idx(folder / f"{prefix}-images-idx3-ubyte.gz"),
            read_idx(folder / f"{prefix}-labels-idx1-ubyte.gz"),
        )
        for name, prefix in (("train", "train"), ("test", "t10k"))
    }
    return write_npz(output / "fashion.npz", arrange(official, PER_CLASS))


if __name__ == "__main__":
    sys.exit(main("fashion", build, "the folder that holds the package's usr/share"))
