"""Data that the course learns from: ``load(name)`` works with no network.

Every folder under ``files`` and ``sharealike`` is one data set with its card; the modules beside
this one hold their loaders, and generators of data with exact labels.
"""

from __future__ import annotations

from typing import Any

from coursekit.data.catalog import (
    CATALOG,
    DataFileError,
    FullDataUnavailable,
    check_files,
    check_split,
    find,
    loader,
)

__all__ = ["CATALOG", "DataFileError", "FullDataUnavailable", "load", "normalize_text"]


def load(name: str, split: str | None = None, full: bool = False) -> Any:
    """Load a data set or pretrained weights.

    Args:
        name: A name of `CATALOG`; ``coursekit data`` lists them.
        split: One of the entry's splits, "train", "validation" or "test" for most; None for all of
            them together.
        full: Fetch the full set by its usual loader instead of the embedded extract.

    Returns:
        The data class of the entry's loader, for example ``images.Images`` or ``speech.Speech``.

    Raises:
        ValueError: There is no such name or split.
        DataFileError: An embedded file is missing or damaged.
        FullDataUnavailable: `full` cannot be served; the message names the offline default.

    >>> load("digits", "test")
    Images(2,000 images of 28 x 28, 10 classes)
    """
    entry = find(name)
    check_split(split, entry)
    if not full:
        check_files(name)
    elif entry.full is None:
        raise FullDataUnavailable(
            f"{name} has no fuller set: the files here are all of {entry.source}; "
            f'use load("{name}")'
        )
    return loader(entry).load(entry, split, full)


def __getattr__(name: str) -> Any:
    # The command line lists the data without torch, which the modules of the data import.
    if name == "normalize_text":
        from coursekit.data import speech

        return speech.normalize_text
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
