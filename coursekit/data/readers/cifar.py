"""The binary version of CIFAR-10 and CIFAR-100.

A file is a run of records without a header: the label (for CIFAR-100 two, the coarse and the fine
one) in a byte each, then 3,072 bytes of pixels: 1,024 red, 1,024 green, 1,024 blue, row by row.

Source: A. Krizhevsky, "The CIFAR-10 dataset", section "Binary version",
https://www.cs.toronto.edu/~kriz/cifar.html.
"""

from __future__ import annotations

import os
from dataclasses import dataclass

import numpy as np
from jaxtyping import Int, UInt8

from coursekit.data.readers.files import ReadError, read_whole

PIXELS = 3 * 32 * 32
MAX_BYTES = 1 << 30


@dataclass(frozen=True, eq=False)
class Cifar:
    """Labelled color images of 32 x 32 pixels.

    Attributes:
        images: uint8 of shape (n, 3, 32, 32): red, green, blue.
        labels: int64 of shape (n,), 0 to 9, or 0 to 99 for CIFAR-100.
        coarse: int64 of shape (n,), 0 to 19, the superclass in CIFAR-100; None in CIFAR-10.
    """

    images: UInt8[np.ndarray, "n 3 32 32"]
    labels: Int[np.ndarray, " n"]
    coarse: Int[np.ndarray, " n"] | None = None

    def __len__(self) -> int:
        return len(self.labels)

    def __repr__(self) -> str:
        classes = 10 if self.coarse is None else 100
        return f"Cifar({len(self):,} images of 3 x 32 x 32, {classes} classes)"


def read_cifar10(path: str | os.PathLike[str], max_bytes: int = MAX_BYTES) -> Cifar:
    """Read one file of CIFAR-10.

    Args:
        path: A file such as ``data_batch_1.bin``.
        max_bytes: The largest file to accept.

    Returns:
        Its images in their order.

    Raises:
        ReadError: The size is not a multiple of 3,073 bytes, or a label is above 9; the message
            names the byte.
    """
    records = _records(path, 1, max_bytes)
    return Cifar(_images(records, 1), _labels(path, records, 0, 10, "label"))


def read_cifar100(path: str | os.PathLike[str], max_bytes: int = MAX_BYTES) -> Cifar:
    """Read one file of CIFAR-100.

    Args:
        path: ``train.bin`` or ``test.bin``.
        max_bytes: The largest file to accept.

    Returns:
        Its images in their order, with fine and coarse labels.

    Raises:
        ReadError: The size is not a multiple of 3,074 bytes, a label is out of range, or a fine
            label stands under two coarse ones; the message names the byte.
    """
    records = _records(path, 2, max_bytes)
    coarse = _labels(path, records, 0, 20, "coarse label")
    fine = _labels(path, records, 1, 100, "fine label")
    parents = np.full(100, -1)
    parents[fine[::-1]] = coarse[::-1]  # the first record of a class decides
    strays = np.flatnonzero(parents[fine] != coarse)
    if len(strays):
        first = int(strays[0])
        problem = f"coarse label {coarse[first]}, expected {parents[fine[first]]} as before "
        raise ReadError(path, f"byte {first * 3074}", problem + f"for fine label {fine[first]}")
    return Cifar(_images(records, 2), fine, coarse)


def _records(
    path: str | os.PathLike[str], labels: int, max_bytes: int
) -> UInt8[np.ndarray, "n record"]:
    data = read_whole(path, max_bytes)
    record = labels + PIXELS
    if len(data) % record:
        place = f"byte {len(data) // record * record}"
        problem = f"{len(data) % record} bytes at the end, expected records of {record} bytes"
        raise ReadError(path, place, problem)
    return np.frombuffer(data, np.uint8).reshape(-1, record)


def _images(records: UInt8[np.ndarray, "n record"], labels: int) -> UInt8[np.ndarray, "n 3 32 32"]:
    """Copy the pixels, so that they lie together and may be written to."""
    return np.array(records[:, labels:]).reshape(-1, 3, 32, 32)


def _labels(
    path: str | os.PathLike[str],
    records: UInt8[np.ndarray, "n record"],
    column: int,
    classes: int,
    name: str,
) -> Int[np.ndarray, " n"]:
    labels = records[:, column].astype(np.int64)
    wrong = np.flatnonzero(labels >= classes)
    if len(wrong):
        first = int(wrong[0])
        place = f"byte {first * records.shape[1] + column}"
        raise ReadError(path, place, f"{name} {labels[first]}, expected 0 to {classes - 1}")
    return labels
