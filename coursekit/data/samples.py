"""The card and a picture of anything that has a name: an entry of the catalog or a generator."""

from __future__ import annotations

from typing import TYPE_CHECKING

from coursekit.data import catalog, generated

if TYPE_CHECKING:
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


def _known(name: str) -> str:
    names = [*catalog.CATALOG, *generated.GENERATORS]
    if name not in names:
        raise ValueError(f"name must be one of {', '.join(sorted(names))}, got {name!r}")
    return name
