"""Glyphs: characters drawn by strokes, as many identities as one likes, for one-shot verification.

In the manner of Omniglot (Lake, Salakhutdinov and Tenenbaum, 2015) and of the siamese network of
Koch, Zemel and Salakhutdinov (2015), which learn from some alphabets and are tried on others.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int
from matplotlib.figure import Figure
from numpy.typing import NDArray
from torch import Tensor

from coursekit.data.catalog import SPLITS
from coursekit.data.drawing import image_sheet

IDENTITIES = 100_000  # a split has so many; the first of "validation" is number 100,000
POINTS = 13  # a stroke is a chain of twelve straight pieces
WIDTH = 0.055  # standard deviation of the pen, where the image reaches from -1 to 1
CHUNK = 64  # images rendered at a time

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Glyphs:
    """Images of characters.

    Attributes:
        images: float32 of shape (n, size, size) in [0, 1], white ink on black.
        labels: int64 of shape (n,): the identity, a number that no other split has.
    """

    images: Float[Tensor, "n size size"]
    labels: Int[Tensor, " n"]

    def __len__(self) -> int:
        return len(self.labels)

    def __repr__(self) -> str:
        shape = " x ".join(map(str, self.images.shape[1:]))
        return f"Glyphs({len(self):,} images of {shape}, {len(self.labels.unique()):,} identities)"


def glyphs(
    examples: int,
    classes: int = 100,
    split: str = "train",
    size: int = 28,
    *,
    seed: int,
    nuisance: float = 1.0,
) -> Glyphs:
    """Draw characters, each identity as often as the others (or once more).

    An identity is two to four cubic Bézier strokes, fixed by its number: the same for every seed.
    The seed decides how it is written: each control point moves by 0.05 (standard deviation), the
    character turns by up to 17 degrees, is scaled by 0.8 to 1.2, sheared by up to 0.25 and moved by
    up to 0.12, where the image reaches from -1 to 1. Identities of one split are in no other.

    Args:
        examples: How many images.
        classes: How many identities: the first of the split.
        split: "train", "validation" or "test".
        size: Height and width in pixels.
        seed: Seed of the generator.
        nuisance: Factor on all the variations; 0 draws each character always alike.

    Returns:
        The images, the identities in turn: those of image i and image i + `classes` are the same.

    Raises:
        ValueError: An argument is out of range.

    >>> glyphs(40, classes=10, split="test", seed=0)
    Glyphs(40 images of 28 x 28, 10 identities)
    """
    if split not in SPLITS:
        raise ValueError(f"split must be one of {', '.join(SPLITS)}, got {split!r}")
    if not 1 <= classes <= IDENTITIES:
        raise ValueError(f"classes must lie in [1, {IDENTITIES}], got {classes}")
    if examples < 1:
        raise ValueError(f"examples must be at least 1, got {examples}")
    if size < 8:
        raise ValueError(f"size must be at least 8 pixels, got {size}")
    if not 0 <= nuisance <= 2:
        raise ValueError(f"nuisance must lie in [0, 2], got {nuisance}")
    first = SPLITS.index(split) * IDENTITIES
    shapes = [character(first + k) for k in range(min(classes, examples))]
    rng = np.random.default_rng(seed)
    labels = np.arange(examples) % classes
    images = np.empty((examples, size, size), np.float32)
    for start in range(0, examples, CHUNK):
        part = labels[start : start + CHUNK]
        images[start : start + CHUNK] = _write([shapes[k] for k in part], size, nuisance, rng)
    return Glyphs(torch.from_numpy(images), torch.from_numpy(labels + first))


def character(identity: int) -> Array:
    """Design the character of an identity.

    Args:
        identity: Its number, at least 0.

    Returns:
        Control points of cubic Bézier strokes, of shape (strokes, 4, 2) within [-0.75, 0.75]; those
        of a stroke span at least 0.6 in width or in height.

    Raises:
        ValueError: The number is negative.
    """
    if identity < 0:
        raise ValueError(f"identity must be at least 0, got {identity}")
    rng = np.random.default_rng([2015, identity])
    strokes: list[Array] = []
    for _ in range(rng.choice([2, 3, 4], p=[0.3, 0.5, 0.2])):
        points = rng.uniform(-0.75, 0.75, (4, 2))
        while np.ptp(points, axis=0).max() < 0.6:  # a blot is no stroke
            points = rng.uniform(-0.75, 0.75, (4, 2))
        strokes.append(points)
    return np.stack(strokes)


def _write(
    shapes: list[Array], size: int, nuisance: float, rng: np.random.Generator
) -> NDArray[np.float32]:
    """Write characters by a hand that varies; the images have shape (n, size, size)."""
    count, most = len(shapes), max(map(len, shapes))
    points = np.zeros((count, most, 4, 2))
    used = np.zeros((count, most), bool)
    for i, shape in enumerate(shapes):
        points[i, : len(shape)], used[i, : len(shape)] = shape, True
    # Four strokes are drawn for every image, so that a chunk does not depend on who is in it.
    points = points + 0.05 * nuisance * rng.standard_normal((count, 4, 4, 2))[:, :most]
    turn, scale, shear = nuisance * rng.uniform(-1, 1, (3, count)) * [[0.3], [0.2], [0.25]]
    move = nuisance * rng.uniform(-0.12, 0.12, (count, 1, 1, 2))
    cosine, sine = np.cos(turn), np.sin(turn)
    matrix = np.stack([cosine, -sine + shear * cosine, sine, cosine + shear * sine], axis=-1)
    matrix = (1 + scale)[:, None, None] * matrix.reshape(count, 2, 2)
    points = np.einsum("nij,nspj->nspi", matrix, points) + move

    t = np.linspace(0, 1, POINTS)[:, None]
    bezier = np.hstack([(1 - t) ** 3, 3 * t * (1 - t) ** 2, 3 * t**2 * (1 - t), t**3])
    chain = np.einsum("tp,nspi->nsti", bezier, points)  # (n, strokes, POINTS, 2)
    chain[~used] = 99.0  # far from every pixel
    begin = chain[:, :, :-1].reshape(count, -1, 2).astype(np.float32)
    piece = np.diff(chain, axis=2).reshape(count, -1, 2).astype(np.float32)
    axis = ((np.arange(size) + 0.5) / size * 2 - 1).astype(np.float32)
    return np.stack([_ink(axis, *part) for part in zip(begin, piece, strict=True)])


def _ink(
    axis: NDArray[np.float32], begin: NDArray[np.float32], piece: NDArray[np.float32]
) -> NDArray[np.float32]:
    """Darken each pixel by its distance from the nearest straight piece; shape (size, size)."""
    away = axis[:, None, None] - begin  # (size, pieces, 2): of columns in x, of rows in y
    right, down = away[..., 0], away[..., 1]
    square = (piece**2).sum(-1) + np.float32(1e-9)
    along = right[None] * piece[:, 0] + (down * piece[:, 1])[:, None]  # (rows, columns, pieces)
    part = (along / square).clip(0, 1)
    distance = (right**2)[None] + (down**2)[:, None] - part * (2 * along - part * square)
    ink: NDArray[np.float32] = np.exp(distance.min(-1) / np.float32(-2 * WIDTH**2))
    return ink


def draw(name: str) -> Figure:
    """Draw identities of every split, each written several times.

    Args:
        name: "glyphs".

    Returns:
        The figure.
    """
    classes, times = 4, 16
    rows, labels = [], []
    for split in SPLITS:
        data = glyphs(classes * times, classes, split, seed=0)
        rows += [list(data.images[k::classes]) for k in range(classes)]
        labels += [f"{split}\n{data.labels[k]:,}" for k in range(classes)]
    return image_sheet(rows, labels, f"{name}: one identity a row, written {times} times")
