"""What the course can learn from: one folder a data set, described by the front matter of its card.

``files/`` holds what may be passed on freely; ``sharealike/`` holds data whose license asks that
what is derived from them carry it too, and is left out of an installed package. This module
imports neither torch nor a plotting library, so that a listing is immediate.
"""

from __future__ import annotations

import functools
import hashlib
import importlib
import importlib.util
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

import yaml

from coursekit.errors import UserError

FILES = Path(__file__).parent / "files"
SHAREALIKE = Path(__file__).parent / "sharealike"
SPLITS = ("train", "validation", "test")


class DataFileError(UserError, RuntimeError):
    """An embedded file is missing or is not the one that the catalog describes."""


class FullDataUnavailable(UserError, RuntimeError):
    """The full data set cannot be had; the message names the offline default."""


def cache_folder() -> Path:
    """Say where fetched data sets are kept.

    Returns:
        ``COURSEKIT_CACHE`` if it is set, else the user's cache folder.
    """
    if os.environ.get("COURSEKIT_CACHE"):
        return Path(os.environ["COURSEKIT_CACHE"])
    base = os.environ.get("LOCALAPPDATA") if os.name == "nt" else os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "coursekit"


@dataclass(frozen=True)
class Entry:
    """One data set of the catalog, as the front matter of its ``CARD.md`` states it.

    Attributes:
        name: What `coursekit.data.load` takes; the name of its folder.
        kind: For example "images", "speech", "text", "weights".
        title: One line on the content.
        module: Module of `coursekit.data` that holds its ``load`` and ``draw``.
        examples: Number of examples that ``load(name)`` returns.
        license: Identifier of the license.
        attribution: Whom to name.
        source: Package and version that the data were taken from.
        rebuild: The command that rebuilds the files; none where a package holds them.
        files: Path inside the folder to SHA-256; these cover every file of the data.
        card: Path of the card.
        splits: Examples in each split; empty where all stand together.
        full: What ``full=True`` fetches, or None if the extract is the full set.
        package: The installed package that holds the files, for data that are not embedded.
    """

    name: str
    kind: str
    title: str
    module: str
    examples: int
    license: str
    attribution: str
    source: str
    files: Mapping[str, str]
    card: Path
    rebuild: str | None = None
    splits: Mapping[str, int] = field(default_factory=dict)
    full: str | None = None
    package: str | None = None

    @property
    def sharealike(self) -> bool:
        """Whether an installed package leaves the files out because of their license."""
        return self.card.parent.parent.name == SHAREALIKE.name

    @property
    def folder(self) -> Path:
        """Folder of the files; for share-alike data not in this package, one in the cache."""
        if self.package is not None:
            return _package_folder(self.package)
        beside = self.card.parent
        if self.sharealike and not (beside / next(iter(self.files))).is_file():
            return cache_folder() / SHAREALIKE.name / self.name
        return beside

    @property
    def here(self) -> bool:
        """Whether every file is on this disk."""
        return all((self.folder / path).is_file() for path in self.files)

    @property
    def size(self) -> int:
        """Bytes of the data on this disk, with the card and the license where they are embedded."""
        if self.package is not None:
            return sum((self.folder / path).stat().st_size for path in self.files if self.here)
        return sum(path.stat().st_size for path in self.folder.rglob("*") if path.is_file())


def _package_folder(package: str) -> Path:
    spec = importlib.util.find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        return Path(f"{package} (not installed)")
    return Path(next(iter(spec.submodule_search_locations)))


def read_card(path: Path) -> Entry:
    """Read the front matter of a card.

    Args:
        path: A ``CARD.md``.

    Returns:
        The entry.

    Raises:
        DataFileError: The front matter is missing or lacks a field; the message names it.
    """
    front, _ = _divide(path)
    try:
        # CSafeLoader reads forty cards in a tenth of the time.
        entry = Entry(**yaml.load(front, getattr(yaml, "CSafeLoader", yaml.SafeLoader)), card=path)
    except (yaml.YAMLError, TypeError) as error:
        raise DataFileError(f"{path}: the front matter cannot be read ({error})") from error
    if entry.name != path.parent.name:
        raise DataFileError(f"{path}: name must be {path.parent.name}, got {entry.name}")
    return entry


def _divide(path: Path) -> tuple[str, str]:
    """Divide a card into its front matter and its text."""
    if not path.is_file():
        raise DataFileError(f"{path} is missing; reinstall coursekit or restore the file from git")
    parts = path.read_text(encoding="utf-8").split("---\n", 2)
    opening, front, text = parts if len(parts) == 3 else ("", "", "")
    if opening or not front:
        raise DataFileError(f"{path} must begin with a front matter between two lines of ---")
    return front, text.lstrip("\n")


def _read_cards() -> dict[str, Entry]:
    cards = [card for root in (FILES, SHAREALIKE) for card in root.glob("*/CARD.md")]
    return {
        card.parent.name: read_card(card) for card in sorted(cards, key=lambda c: c.parent.name)
    }


CATALOG: Mapping[str, Entry] = _read_cards()


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


def check_split(split: str | None, entry: Entry) -> None:
    """Refuse a split that an entry does not have.

    Args:
        split: One of the entry's splits, or None for all.
        entry: The entry.

    Raises:
        ValueError: It is something else.
    """
    if split is None or split in entry.splits:
        return
    if not entry.splits:
        raise ValueError(f"{entry.name} has no splits: split must be None, got {split!r}")
    raise ValueError(f"split must be one of {', '.join(entry.splits)} or None, got {split!r}")


def sha256_file(path: Path) -> str:
    """Compute the SHA-256 of a file.

    Args:
        path: The file.

    Returns:
        64 hexadecimal digits.
    """
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def check_file(path: Path, sha256: str, entry: Entry) -> None:
    """Make sure that a file is the one that was published.

    Args:
        path: The file.
        sha256: Its checksum.
        entry: The entry it belongs to, for the message.

    Raises:
        DataFileError: The file is missing or differs; the message says what to do.
    """
    if not path.is_file():
        problem = "is missing"
    elif sha256_file(path) != sha256:
        problem = "is damaged (its SHA-256 is not the one in the catalog)"
    else:
        return
    if entry.package is not None:
        remedy = f"{entry.name} is read from the package {entry.package}; install it in the version"
        remedy += (
            f" of the catalog: pip install --force-reinstall {entry.source.split(maxsplit=1)[1]}"
        )
    elif entry.sharealike and entry.folder != entry.card.parent:
        remedy = f"the license of {entry.name} ({entry.license}) keeps it out of the installed "
        remedy += f"package: use a clone of the course, or rebuild it: {entry.rebuild} "
        remedy += f"--output {entry.folder}"
    else:
        inside = entry.card.parent.relative_to(entry.card.parents[4]).as_posix()
        remedy = f"reinstall coursekit, or in a clone run: git checkout -- {inside}"
    raise DataFileError(f"{path} {problem}; {remedy}")


@functools.cache
def check_files(name: str) -> None:
    """Check the files that the catalog lists for an entry, once a process.

    Args:
        name: The data set.

    Raises:
        DataFileError: A file is missing or differs.
    """
    entry = find(name)
    for path, sha256 in entry.files.items():
        check_file(entry.folder / path, sha256, entry)


def loader(entry: Entry) -> ModuleType:
    """Import the module that loads and draws an entry.

    Args:
        entry: The entry.

    Returns:
        A module with ``load(entry, split, full)`` and ``draw(name)``.
    """
    return importlib.import_module(f"coursekit.data.{entry.module}")


def table() -> list[dict[str, Any]]:
    """List the catalog for display.

    Returns:
        One row an entry: name, kind, examples, size, license, source, here ("yes" or "no").
    """
    return [
        {
            "name": entry.name,
            "kind": entry.kind,
            "examples": f"{entry.examples:,}",
            "size": f"{entry.size / 1e6:.1f} MB",
            "license": entry.license,
            "source": entry.source,
            "here": "yes" if entry.here else "no",
        }
        for entry in CATALOG.values()
    ]


def card(name: str) -> str:
    """Read the data card of an entry, with its metadata as a table.

    Args:
        name: A name of the catalog.

    Returns:
        Markdown.

    Raises:
        ValueError: There is no such name.
        DataFileError: The card is missing.
    """
    entry = find(name)
    _, text = _divide(entry.card)
    head, separator, sections = text.partition("\n## ")
    return f"{head.rstrip()}\n\n{_facts(entry)}\n{separator}{sections}"


def _facts(entry: Entry) -> str:
    """Write the metadata of an entry as a Markdown table."""
    rows = {"kind": entry.kind, "examples": f"{entry.examples:,}"}
    if entry.splits:
        rows["splits"] = ", ".join(f"{split} {count:,}" for split, count in entry.splits.items())
    rows |= {"source": entry.source, "license": entry.license, "attribution": entry.attribution}
    if entry.package is not None:
        rows["stands in"] = f"the installed package `{entry.package}`"
    elif entry.sharealike:
        rows["stands in"] = "a folder of its own, for its license; an installed package lacks it"
    for path, sha256 in entry.files.items():
        here = entry.folder / path
        size = f"{here.stat().st_size:,} bytes" if here.is_file() else "not here"
        rows[f"`{path}`"] = f"{size}, sha256 `{sha256}`"
    rows["full set"] = entry.full or "none: this is all there is"
    if entry.rebuild is not None:
        rows["rebuild"] = f"`{entry.rebuild}`"
    lines = ["| | |", "|---|---|", *(f"| {key} | {value} |" for key, value in rows.items())]
    return "\n".join(lines)
