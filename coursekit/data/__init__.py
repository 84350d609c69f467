"""Data that the course learns from: ``load(name)`` works with no network.

The names, sizes and licenses stand in `coursekit.data.catalog`; each folder under ``files`` has a
data card.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, overload

from coursekit.data.catalog import CATALOG, DataFileError, FullDataUnavailable, check_split, find

if TYPE_CHECKING:
    from coursekit.data.images import Images
    from coursekit.data.speech import Speech, normalize_text

__all__ = ["CATALOG", "DataFileError", "FullDataUnavailable", "load", "normalize_text"]


@overload
def load(name: Literal["digits"], split: str | None = None, full: bool = False) -> Images: ...
@overload
def load(name: Literal["speech-en"], split: str | None = None, full: bool = False) -> Speech: ...
@overload
def load(name: str, split: str | None = None, full: bool = False) -> Images | Speech: ...
def load(name: str, split: str | None = None, full: bool = False) -> Images | Speech:
    """Load a data set.

    Args:
        name: A name of `CATALOG`.
        split: "train", "validation", "test", or None for all of them together.
        full: Fetch the full set by its usual loader instead of the embedded extract.

    Returns:
        ``Images`` or ``Speech``, by the kind of the entry.

    Raises:
        ValueError: There is no such name or split.
        DataFileError: An embedded file is missing or damaged.
        FullDataUnavailable: `full` cannot be served; the message names the offline default.

    >>> load("digits", "test")
    Images(2,000 images of 28 x 28, 10 classes)
    """
    entry = find(name)
    check_split(split)
    if entry.kind == "images":
        from coursekit.data.images import load_digits

        return load_digits(split, full)
    from coursekit.data.speech import load_speech

    if full:
        raise FullDataUnavailable(
            f"{name} has no fuller set: the embedded files are all of {entry.source}; "
            f'use load("{name}")'
        )
    return load_speech(name, split)


def __getattr__(name: str) -> Any:
    # The command line lists the data without torch, which the modules of the data import.
    if name == "normalize_text":
        from coursekit.data import speech

        return speech.normalize_text
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
