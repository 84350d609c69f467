"""Image sets: the embedded digits, and full MNIST for readers with internet."""

from __future__ import annotations

import contextlib
import io
import zipfile
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int
from matplotlib.figure import Figure
from torch import Tensor

from coursekit.data.catalog import (
    SPLITS,
    DataFileError,
    Entry,
    FullDataUnavailable,
    cache_folder,
    find,
)
from coursekit.data.drawing import image_sheet


@dataclass(frozen=True)
class Images:
    """Labelled images.

    Attributes:
        images: float32 of shape (n, height, width) in [0, 1].
        labels: int64 of shape (n,).
        classes: Name of each label.
    """

    images: Float[Tensor, "n height width"]
    labels: Int[Tensor, " n"]
    classes: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.labels)

    def __repr__(self) -> str:
        shape = " x ".join(map(str, self.images.shape[1:]))
        return f"Images({len(self):,} images of {shape}, {len(self.classes)} classes)"


def load(entry: Entry, split: str | None = None, full: bool = False) -> Images:
    """Load labelled images.

    Args:
        entry: An image set of the catalog.
        split: "train", "validation", "test", or None for all of them.
        full: Fetch MNIST instead of the digits: train 50,000, validation 10,000, test 10,000.

    Returns:
        The images in a fixed, shuffled order.

    Raises:
        DataFileError: An embedded file cannot be read.
        FullDataUnavailable: `full` and MNIST can be neither found nor fetched.
    """
    if full:
        return _full_mnist(split)
    path = entry.folder / "digits.npz"
    try:
        with np.load(path, allow_pickle=False) as archive:
            images, labels, member = archive["images"], archive["labels"], archive["split"]
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise DataFileError(f"{path} cannot be read ({error}); reinstall coursekit") from error
    if split is not None:
        chosen = member == SPLITS.index(split)
        images, labels = images[chosen], labels[chosen]
    return _to_images(torch.from_numpy(images), torch.from_numpy(labels))


def _to_images(pixels: Tensor, labels: Tensor) -> Images:
    """Scale bytes to [0, 1] and name the ten classes."""
    return Images(pixels.float().div_(255), labels.long(), tuple("0123456789"))


def _full_mnist(split: str | None) -> Images:
    """Read MNIST by torchvision, fetching it once; validation is its last 10,000 train images."""
    from torchvision.datasets import MNIST

    folder = cache_folder()
    try:
        with contextlib.redirect_stdout(io.StringIO()):  # torchvision prints each failed mirror
            parts = [MNIST(str(folder), train=train, download=True) for train in (True, False)]
    except (OSError, RuntimeError) as error:
        reason = str(error).splitlines()[0].rstrip(":") if str(error) else type(error).__name__
        raise FullDataUnavailable(
            f"MNIST could not be fetched into {folder} ({reason}); with no network use the 10,000 "
            'digits that stand in the package: load("digits")'
        ) from error
    pixels = torch.cat([part.data for part in parts])
    labels = torch.cat([part.targets for part in parts])
    ranges = {"train": (0, 50_000), "validation": (50_000, 60_000), "test": (60_000, 70_000)}
    start, stop = ranges[split] if split is not None else (0, 70_000)
    return _to_images(pixels[start:stop], labels[start:stop])


def draw(name: str) -> Figure:
    """Draw rows of training images, one row a class.

    Args:
        name: An image set of the catalog.

    Returns:
        The figure.
    """
    columns = 20
    data = load(find(name), "train")
    rows = [list(data.images[data.labels == k][:columns]) for k in range(len(data.classes))]
    title = f"{name}: the first {columns} training images of each class"
    return image_sheet(rows, data.classes, title)
