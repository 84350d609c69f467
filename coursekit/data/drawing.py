"""Contact sheets: a grid of images, waveforms with spectrograms, a table of texts.

They serve ``coursekit data show`` and the book's page of the data; figures of chapters come from
`coursekit.plotting`.
"""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure

SILENCE = 1e-6  # added before the logarithm of a spectrogram
CHARACTER = 0.069  # inches that a character of 8 points takes on average, with some to spare


def image_sheet(
    rows: Sequence[Sequence[Any]], labels: Sequence[str], title: str, cell: float = 0.5
) -> Figure:
    """Draw rows of images, each row with its label.

    Args:
        rows: Images a row: arrays or tensors of shape (height, width), (3, height, width) or, with
            transparency, (4, height, width), in [0, 1] or uint8. Sizes may differ; each is scaled
            to its cell.
        labels: One label a row.
        title: Title of the sheet.
        cell: Width and height of a cell in inches.

    Returns:
        The figure.
    """
    columns = max(len(row) for row in rows)
    figure = Figure(figsize=(columns * cell + 1.3, len(rows) * cell + 0.4), layout="constrained")
    axis = figure.subplots()
    for row, images in enumerate(rows):
        for column, image in enumerate(images):
            _draw_image(axis, _pixels(image), column, row)
    axis.set_xlim(0, columns)
    axis.set_ylim(len(rows), 0)
    axis.set_xticks([])
    axis.set_yticks([row + 0.5 for row in range(len(rows))], labels)
    axis.tick_params(length=0, labelsize=9)
    for side in axis.spines.values():
        side.set_visible(False)
    axis.set_title(title, fontsize=10)
    return figure


def _pixels(image: Any) -> np.ndarray:
    """Bring an image to the shape (height, width, 3 or 4) in [0, 1]."""
    pixels = np.asarray(image)
    if pixels.dtype == np.uint8:
        pixels = pixels / 255
    if pixels.ndim == 2:
        pixels = np.repeat(pixels[None], 3, axis=0)
    return pixels.transpose(1, 2, 0).clip(0, 1)


def _draw_image(axis: Any, pixels: np.ndarray, left: float, top: float) -> None:
    """Draw an image into the middle of a cell of size 1, with a margin."""
    height, width = pixels.shape[:2]
    scale = 0.94 / max(height, width)
    x, y = left + (1 - width * scale) / 2, top + (1 - height * scale) / 2
    extent = (x, x + width * scale, y + height * scale, y)
    axis.imshow(pixels, extent=extent, interpolation="antialiased")


def sound_sheet(
    waveforms: Sequence[Any], sample_rate: int, titles: Sequence[str], title: str = ""
) -> Figure:
    """Draw each clip as a waveform above its spectrogram.

    Args:
        waveforms: Arrays or tensors of shape (samples,).
        sample_rate: Samples a second.
        titles: One a clip; long ones are wrapped.
        title: Title of the sheet.

    Returns:
        The figure.
    """
    count = len(waveforms)
    columns = min(count, 4)
    bands = -(-count // columns)
    figure = Figure(figsize=(2.9 * columns, 3.6 * bands + 0.3), layout="constrained")
    axes = figure.subplots(2 * bands, columns, squeeze=False)
    window = max(32, int(sample_rate * 0.032))
    for index in range(bands * columns):
        top = axes[2 * (index // columns), index % columns]
        bottom = axes[2 * (index // columns) + 1, index % columns]
        if index >= count:
            top.set_axis_off()
            bottom.set_axis_off()
            continue
        samples = np.asarray(waveforms[index])
        seconds = len(samples) / sample_rate
        top.plot(np.arange(len(samples)) / sample_rate, samples, lw=0.4)
        top.set_ylim(-1, 1)
        top.set_title(textwrap.fill(titles[index], 34), fontsize=8)
        spectrum = {"NFFT": window, "noverlap": window * 3 // 4, "Fs": sample_rate}
        bottom.specgram(
            samples + SILENCE * np.cos(np.arange(len(samples))), cmap="magma", **spectrum
        )
        bottom.set_xlabel("time in s")
        for axis in (top, bottom):
            axis.set_xlim(0, seconds)
            axis.tick_params(labelsize=7)
        if index % columns == 0:
            top.set_ylabel("amplitude")
            bottom.set_ylabel("frequency in Hz")
    figure.suptitle(title, fontsize=10)
    return figure


def text_sheet(
    header: Sequence[str], rows: Sequence[Sequence[str]], title: str, width: int = 110
) -> Figure:
    """Draw a table of texts; long cells are wrapped.

    Args:
        header: Names of the columns.
        rows: The cells of each row.
        title: Title of the sheet.
        width: Characters that a row may take in all.

    Returns:
        The figure.
    """
    columns = list(zip(*[header, *rows], strict=True))
    widest = [max(len(str(text)) for text in column) for column in columns]
    words = [
        max(len(word) for text in column for word in [*str(text).split(), ""]) for column in columns
    ]
    scale = min(1, width / sum(widest))
    shares = [
        max(min(longest, 24), round(whole * scale))
        for longest, whole in zip(words, widest, strict=True)
    ]
    cells = [
        [textwrap.fill(str(text), share) for text, share in zip(row, shares, strict=True)]
        for row in rows
    ]
    heights = [max(text.count("\n") + 1 for text in row) for row in cells]
    lines = sum(heights) + 2.4
    broad = max(CHARACTER * (sum(shares) + 2 * len(shares)), 0.09 * len(title))
    figure = Figure(figsize=(broad, 0.19 * lines + 0.5))
    figure.set_layout_engine("none")  # the axes have their place, whatever a page's style says
    axis = figure.add_axes((0.02, 0.02, 0.96, 0.9))
    axis.set_axis_off()
    axis.set_title(title, fontsize=10)
    left = np.cumsum([0, *(share + 2 for share in shares)])
    axis.set_xlim(0, max(left[-1], broad / CHARACTER))
    axis.set_ylim(lines, 0)
    for k, name in enumerate(header):
        axis.text(left[k], 0.4, name, va="top", fontsize=8, fontweight="bold")
    axis.axhline(1.6, color="0.6", lw=0.6)
    top = 2.0
    for row, height in zip(cells, heights, strict=True):
        for k, text in enumerate(row):
            axis.text(left[k], top, text, va="top", fontsize=8, linespacing=1.2, parse_math=False)
        top += height
    return figure
