"""Color pictures of different sizes: photos as content, paintings as style."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from matplotlib.figure import Figure
from PIL import Image
from torch import Tensor

from coursekit.data.catalog import DataFileError, Entry, find
from coursekit.data.drawing import image_sheet

COLUMNS = 3  # pictures a row of the contact sheet


@dataclass(frozen=True)
class Photos:
    """Color pictures.

    Attributes:
        images: float32 tensors of shape (3, height, width) in [0, 1], red, green, blue, as coded
            (sRGB); the sizes differ.
        names: Short names.
        titles: What is to be seen.
        credits: Author and license of each, to be named wherever it is shown.
    """

    images: tuple[Float[Tensor, "3 height width"], ...]
    names: tuple[str, ...]
    titles: tuple[str, ...]
    credits: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.images)

    def __repr__(self) -> str:
        return f"Photos({len(self):,} pictures: {', '.join(self.names)})"

    def __getitem__(self, name: str) -> Float[Tensor, "3 height width"]:
        """Give the picture of a name.

        Args:
            name: One of `names`.

        Returns:
            float32 of shape (3, height, width).

        Raises:
            ValueError: There is no such name; the message lists them.
        """
        if name not in self.names:
            raise ValueError(f"name must be one of {', '.join(self.names)}, got {name!r}")
        return self.images[self.names.index(name)]


def load(entry: Entry, split: str | None = None, full: bool = False) -> Photos:
    """Load pictures.

    Args:
        entry: "photos" or "paintings" of the catalog.
        split: None; there are no splits.
        full: False; there is no fuller set.

    Returns:
        The pictures in the order of their list.

    Raises:
        DataFileError: A file cannot be read.
    """
    path = entry.folder / "pictures.tsv"
    with path.open(encoding="utf-8", newline="") as listing:
        rows = list(csv.DictReader(listing, delimiter="\t", quoting=csv.QUOTE_NONE))
    return Photos(
        tuple(_read(entry.folder / row["file"]) for row in rows),
        tuple(row["name"] for row in rows),
        tuple(row["title"] for row in rows),
        tuple(f"{row['author']}, {row['license']}" for row in rows),
    )


def _read(path: Path) -> Tensor:
    """Decode a picture to float32 of shape (3, height, width)."""
    try:
        with Image.open(path) as picture:
            pixels = np.array(picture.convert("RGB"))
    except (OSError, SyntaxError) as error:  # Pillow raises the latter for a broken PNG
        raise DataFileError(f"{path} cannot be read ({error}); reinstall coursekit") from error
    return torch.from_numpy(pixels).permute(2, 0, 1).float().div_(255).contiguous()


def draw(name: str) -> Figure:
    """Draw all pictures of an entry, with the names of each row.

    Args:
        name: "photos" or "paintings".

    Returns:
        The figure.
    """
    data = load(find(name))
    rows, labels = [], []
    for start in range(0, len(data), COLUMNS):
        part = slice(start, start + COLUMNS)
        rows.append(list(data.images[part]))
        labels.append("\n\n".join(data.names[part]))
    return image_sheet(rows, labels, f"{name}: the names stand from left to right", cell=2.4)
