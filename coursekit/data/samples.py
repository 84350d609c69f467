"""The card and a picture of anything that has a name: an entry of the catalog or a generator.

The command line prints and saves them; the book's page of the data shows them.
"""

from __future__ import annotations

import io
import re
from typing import TYPE_CHECKING, Any

from coursekit.data import catalog, generated

if TYPE_CHECKING:
    from IPython.display import Image, Markdown
    from matplotlib.figure import Figure


def card(name: str) -> str:
    """Describe a data set or a generator.

    Args:
        name: A name of the catalog or of the generators.

    Returns:
        Markdown.

    Raises:
        ValueError: There is no such name.
    """
    return generated.card(name) if name in generated.GENERATORS else catalog.card(_known(name))


def draw(name: str) -> Figure:
    """Draw a few examples.

    Args:
        name: A name of the catalog or of the generators.

    Returns:
        A matplotlib figure.

    Raises:
        ValueError: There is no such name.
        DataFileError: An embedded file is missing or damaged.
    """
    if name in generated.GENERATORS:
        return generated.module(name).draw(name)
    catalog.check_files(_known(name))
    return catalog.loader(catalog.find(name)).draw(name)


def show_samples(name: str) -> Image:
    """Show the picture of `draw` in a notebook, in 256 colors, which a page loads faster.

    Args:
        name: A name of the catalog or of the generators.

    Returns:
        The picture, for the last line of a cell.

    Raises:
        ValueError: There is no such name.
    """
    import PIL.Image
    from IPython.display import Image

    drawn, reduced = io.BytesIO(), io.BytesIO()
    draw(name).savefig(drawn, format="png", dpi=100)
    PIL.Image.open(drawn).convert("RGB").quantize(256).save(reduced, format="png", optimize=True)
    return Image(reduced.getvalue(), format="png")


def show_card(name: str) -> Markdown:
    """Show the text of `card` in a notebook.

    Headings become bold lines, so that they do not mix with those of the page.

    Args:
        name: A name of the catalog or of the generators.

    Returns:
        The card, for the last line of a cell.

    Raises:
        ValueError: There is no such name.
    """
    from IPython.display import Markdown

    return Markdown(re.sub(r"^#+ (.*)$", r"**\1**", card(name), flags=re.MULTILINE))


def show_catalog() -> Markdown:
    """Show the catalog in a notebook.

    Returns:
        A table, for the last line of a cell.
    """
    return _markdown(catalog.table())


def show_generators() -> Markdown:
    """Show the generators in a notebook.

    Returns:
        A table, for the last line of a cell.
    """
    return _markdown(generated.table())


def _markdown(rows: list[dict[str, Any]]) -> Markdown:
    from IPython.display import Markdown

    lines = [list(rows[0]), ["---"] * len(rows[0]), *([*row.values()] for row in rows)]
    return Markdown("\n".join(f"| {' | '.join(map(str, line))} |" for line in lines))


def _known(name: str) -> str:
    names = [*catalog.CATALOG, *generated.GENERATORS]
    if name not in names:
        raise ValueError(f"name must be one of {', '.join(sorted(names))}, got {name!r}")
    return name
