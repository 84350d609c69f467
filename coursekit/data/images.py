"""Image sets: the embedded digits, and full MNIST for readers with internet."""

from __future__ import annotations

import contextlib
import io
import os
import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from coursekit.data.catalog import (
    SPLITS,
    DataFileError,
    FullDataUnavailable,
    check_files,
    check_split,
    find,
)


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


def load_digits(split: str | None = None, full: bool = False) -> Images:
    """Load the digits.

    Args:
        split: "train" (7,000), "validation" (1,000), "test" (2,000), or None for all 10,000.
        full: Fetch MNIST instead: train 50,000, validation 10,000, test 10,000.

    Returns:
        The images in a fixed, shuffled order.

    Raises:
        ValueError: There is no such split.
        DataFileError: The embedded file is missing or damaged.
        FullDataUnavailable: `full` and MNIST can be neither found nor fetched.
    """
    check_split(split)
    if full:
        return _full_mnist(split)
    entry = find("digits")
    check_files(entry.folder, entry.name)
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


def cache_folder() -> Path:
    """Say where full data sets are kept.

    Returns:
        ``COURSEKIT_CACHE`` if it is set, else the user's cache folder.
    """
    if "COURSEKIT_CACHE" in os.environ:
        return Path(os.environ["COURSEKIT_CACHE"])
    base = os.environ.get("LOCALAPPDATA") if os.name == "nt" else os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "coursekit"


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


def draw_samples(name: str, path: Path, columns: int = 20) -> Path:
    """Draw rows of images, one row a class.

    Args:
        name: An image set of the catalog.
        path: The PNG to write.
        columns: Images a row.

    Returns:
        The path written.
    """
    from matplotlib.figure import Figure

    data = {"digits": load_digits}[name]("train")
    rows = [data.images[data.labels == k][:columns] for k in range(len(data.classes))]
    sheet = torch.cat([torch.cat(list(row), dim=1) for row in rows])  # (rows·height, columns·width)
    height, width = data.images.shape[1:]
    figure = Figure(figsize=(columns * 0.45, len(rows) * 0.45 + 0.4), layout="constrained")
    axes = figure.subplots()
    axes.imshow(sheet.numpy(), cmap="gray_r", vmin=0, vmax=1)
    axes.set_xticks([])
    axes.set_yticks([height * (k + 0.5) for k in range(len(rows))], data.classes)
    axes.set_ylabel("class")
    axes.set_title(f"{name}: the first {columns} training images of each class")
    axes.hlines(
        [height * k - 0.5 for k in range(1, len(rows))], -0.5, columns * width - 0.5, lw=0.3
    )
    figure.savefig(path, dpi=120)
    return path
