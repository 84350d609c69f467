"""Figures that several chapters draw, in one style.

The colors are those of Okabe and Ito (2008), which people with color-vision deficiency can tell
apart; a line differs from the others in its dashes as well, so that a figure printed in black and
white loses nothing. Importing this module sets the style; every helper draws and returns, and
leaves showing to the notebook.
"""

from collections.abc import Sequence
from typing import Any

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
from cycler import cycler
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.image import AxesImage

__all__ = ["COLORS", "LINES", "label_axes", "show_images", "spectrogram", "use_style"]

COLORS: dict[str, str] = {
    "first": "#0072B2",  # blue: the chapter's subject
    "second": "#D55E00",  # vermilion: its main rival
    "third": "#009E73",  # green
    "fourth": "#CC79A7",  # purple
    "baseline": "#6E6E6E",  # gray: chance, a mean, an untrained model
    "accent": "#E69F00",  # orange: what the reader should look at
}
"""Named roles, so that the same thing has the same color through the book."""

LINES: tuple[str | tuple[int, tuple[int, ...]], ...] = (
    "-",
    "--",
    "-.",
    ":",
    (0, (5, 1, 1, 1, 1, 1)),
    (0, (8, 2)),
)
"""Dashes that differ in black and white, in the order of the colors."""


def use_style() -> None:
    """Set fonts, sizes, grid and the color cycle for all figures that follow."""
    mpl.rcParams.update(
        {
            "axes.axisbelow": True,
            "axes.grid": True,
            "axes.prop_cycle": cycler(color=list(COLORS.values())) + cycler(linestyle=list(LINES)),
            "axes.spines.right": False,
            "axes.spines.top": False,
            "axes.titlesize": 11,
            "figure.constrained_layout.use": True,
            "figure.constrained_layout.w_pad": 0.07,  # inches: keeps numbers of two panels apart
            "figure.dpi": 100,
            "figure.facecolor": "white",
            "figure.figsize": (6.4, 3.6),
            "font.family": "DejaVu Sans",
            "font.size": 10,
            "grid.alpha": 0.6,
            "grid.color": "#D0D0D0",
            "grid.linewidth": 0.6,
            "image.cmap": "gray",
            "legend.frameon": False,
            "lines.linewidth": 1.8,
            "savefig.facecolor": "white",
        }
    )


def label_axes(ax: Axes, x: str, y: str, title: str | None = None) -> Axes:
    """Name both axes, with units, and optionally the panel.

    Args:
        ax: the axes to label.
        x: what runs along the horizontal axis, for example ``"time (s)"``.
        y: what runs along the vertical axis.
        title: a line above the panel.

    Returns:
        The same axes.
    """
    ax.set_xlabel(x)
    ax.set_ylabel(y)
    if title is not None:
        ax.set_title(title)
    return ax


def show_images(
    images: Any,
    titles: Sequence[str] | None = None,
    columns: int = 8,
    *,
    size: float = 1.0,
    cmap: str = "gray",
    low: float | None = 0.0,
    high: float | None = 1.0,
) -> Figure:
    """Draw images in a grid without axes.

    Args:
        images: tensor, array or list of shape ``(n, height, width)``, ``(n, 1, height, width)``
            or ``(n, 3, height, width)``.
        titles: one line above each image.
        columns: images in a row.
        size: width of one image in inches.
        cmap: colormap of images with one channel.
        low: value drawn in the first color; None takes each image's smallest.
        high: value drawn in the last color; None takes each image's largest.

    Returns:
        The figure.

    Raises:
        ValueError: if the images have another shape or the number of titles differs.
    """
    pictures: np.ndarray = np.asarray([_to_array(image) for image in images])
    if pictures.ndim == 4 and pictures.shape[1] == 1:
        pictures = pictures[:, 0]
    elif pictures.ndim == 4 and pictures.shape[1] == 3:
        pictures = pictures.transpose(0, 2, 3, 1)
    elif pictures.ndim != 3:
        raise ValueError(
            "images must have shape (n, height, width) or (n, 1 or 3, height, width), "
            f"got {pictures.shape}"
        )
    if titles is not None and len(titles) != len(pictures):
        raise ValueError(
            f"titles must name every image: got {len(titles)} for {len(pictures)} images"
        )
    if columns < 1:
        raise ValueError(f"columns must be at least 1, got {columns}")
    columns = min(columns, len(pictures))
    rows = -(-len(pictures) // columns)
    aspect = pictures.shape[1] / pictures.shape[2]
    height = size * aspect + (0.25 if titles is not None else 0.0)
    figure, axes = plt.subplots(rows, columns, figsize=(size * columns, height * rows))
    for index, ax in enumerate(np.atleast_1d(axes).flat):
        ax.set_axis_off()
        if index < len(pictures):
            ax.imshow(pictures[index], cmap=cmap, vmin=low, vmax=high)
            if titles is not None:
                ax.set_title(titles[index], fontsize=9)
    return figure


def spectrogram(
    ax: Axes,
    features: Any,
    *,
    seconds_per_frame: float,
    y: str = "mel band",
    bottom: float = 0.0,
    top: float | None = None,
    cmap: str = "magma",
) -> AxesImage:
    """Draw features of a sound over time, low frequencies at the bottom.

    Args:
        ax: the axes to draw into.
        features: tensor or array of shape ``(frames, bands)``.
        seconds_per_frame: hop between frames in seconds.
        y: label of the vertical axis, with its unit.
        bottom: value of the vertical axis at the lower edge of the first band.
        top: value of the vertical axis at the upper edge of the last band; the number of bands
            when None.
        cmap: a colormap whose lightness grows evenly.

    Returns:
        The drawn image, for a color bar.

    Raises:
        ValueError: if features is not a matrix or seconds_per_frame not positive.
    """
    values = _to_array(features)
    if values.ndim != 2:
        raise ValueError(f"features must have shape (frames, bands), got {values.shape}")
    if seconds_per_frame <= 0:
        raise ValueError(f"seconds_per_frame must be above 0, got {seconds_per_frame}")
    frames, bands = values.shape
    extent = (0.0, frames * seconds_per_frame, bottom, bands if top is None else top)
    image = ax.imshow(values.T, origin="lower", aspect="auto", extent=extent, cmap=cmap)
    ax.grid(False)
    label_axes(ax, "time (s)", y)
    return image


def _to_array(values: Any) -> np.ndarray:
    """Turn a tensor on any device, or anything else that NumPy reads, into an array."""
    if hasattr(values, "detach"):
        values = values.detach().cpu().numpy()
    return np.asarray(values)


use_style()
