"""Figures and tables as a page shows them, in HTML and as plain text."""

from __future__ import annotations

import html
import math
import statistics
from collections.abc import Mapping, Sequence
from typing import Any


def figure(value: float | str) -> str:
    """Write a figure with three significant digits.

    Args:
        value: A number, or words, which stay as they are.

    Returns:
        ``0.500``, ``12.3``, ``1,350,000``, ``2.10e-06``.
    """
    if isinstance(value, str):
        return value
    if not math.isfinite(value) or value == 0:
        return str(value).removesuffix(".0")
    rounded = float(f"{value:.2e}")
    magnitude = math.floor(math.log10(abs(rounded)))
    if magnitude < -3:
        return f"{value:.2e}"
    return f"{rounded:,.{max(0, 2 - magnitude)}f}"


def published(value: float | str) -> str:
    """Write a figure as it was published, with all its digits.

    Args:
        value: A number, or words, which stay as they are.

    Returns:
        ``0.8``, ``1,352,969``, ``FAIL``.
    """
    return value if isinstance(value, str) else f"{value:,}"


def spread(runs: Sequence[Mapping[str, Any]], name: str) -> str:
    """Write the smallest, middle and largest of a recorded figure."""
    values = sorted(run["figures"][name] for run in runs if name in run["figures"])
    if not values:
        return "–"
    return " – ".join(figure(v) for v in (values[0], statistics.median(values), values[-1]))


def html_table(
    head: Sequence[str],
    rows: Sequence[Sequence[str]],
    notes: Sequence[str],
) -> str:
    """Write a table in HTML that scrolls by itself where it is too wide.

    Args:
        head: Names of the columns.
        rows: Cells.
        notes: Sentences under the table; empty ones are left out.

    Returns:
        The HTML.
    """
    titles = "".join(f'<th scope="col">{html.escape(name)}</th>' for name in head)
    body = "".join(
        "<tr>" + "".join(f"<td>{html.escape(text)}</td>" for text in row) + "</tr>" for row in rows
    )
    below = "".join(f"<p>{html.escape(note)}</p>" for note in notes if note)
    return (
        '<div class="claim" style="overflow-x: auto" tabindex="0" role="region" '
        'aria-label="Claims, measured">'
        f'<table class="claim-table"><thead><tr>{titles}</tr></thead>'
        f"<tbody>{body}</tbody></table>{below}</div>"
    )


def text_table(head: Sequence[str], rows: Sequence[Sequence[str]], notes: Sequence[str]) -> str:
    """Write a table as plain text.

    Args:
        head: Names of the columns.
        rows: Cells.
        notes: Sentences under the table; empty ones are left out.

    Returns:
        The text.
    """
    widths = [max(map(len, column)) for column in zip(head, *rows, strict=True)]
    lines = [
        "  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip()
        for row in [head, *rows]
    ]
    return "\n".join([*lines, *(note for note in notes if note)])
