"""Measuring of claims on fresh seeds: ``coursekit claims``.

Of each chapter only the statements that its claim depends on are run. The claim itself writes every
seed to the record as soon as it is finished, so that an interruption loses none.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import nbformat
from nbclient import NotebookClient

from coursekit.claims.page import SEEDS_VARIABLE
from coursekit.claims.records import SEEDS, missing_seeds
from coursekit.claims.stated import Stated, listed_claims, read_claim
from coursekit.errors import UserError
from coursekit.publishing.execute import BookFailed, run_notebook

SEED_SECONDS = 600


def measure(
    root: Path, chapter: str | None = None, seeds: int = SEEDS, force: bool = False
) -> list[str]:
    """Measure claims on seeds that were never used before and append the figures.

    Args:
        root: Folder of the course.
        chapter: Name of one page, which is then measured even if its record is current.
        seeds: Runs of today's code that a record should have; new runs for `chapter` or `force`.
        force: Measure claims that are current as well.

    Returns:
        Names of the pages that were measured.

    Raises:
        UserError: The chapter states no claim.
        BookFailed: An experiment failed; what was finished before is recorded.
    """
    root = root.resolve()
    measured, failures = [], []
    for stated in chosen(root, chapter):
        anew = force or chapter is not None
        count = seeds if anew else missing_seeds(root, stated, seeds)
        if count == 0:
            continue
        problem = measure_claim(root, stated, draw_seeds(count))
        if problem:
            failures.append(f"book/{stated.chapter}.md: {problem}")
        measured.append(stated.chapter)
    if failures:
        raise BookFailed("\n".join(failures))
    return measured


def chosen(root: Path, chapter: str | None) -> list[Stated]:
    """Choose the claims to look at.

    Args:
        root: Folder of the course.
        chapter: Name of one page, or None for all in the table of contents.

    Returns:
        The claims.
    """
    if chapter is None:
        return listed_claims(root)
    exists = (root / "book" / f"{chapter}.md").is_file()
    stated = read_claim(root, chapter) if exists else None
    if stated is None:
        raise UserError(f"book/{chapter}.md states no claim; name a chapter as part/name")
    return [stated]


def draw_seeds(count: int) -> list[int]:
    """Draw seeds that nobody chose.

    Args:
        count: How many.

    Returns:
        Numbers from 1 to 2**31 - 1, from the operating system's generator.
    """
    return [int.from_bytes(os.urandom(4), "big") % (2**31 - 1) + 1 for _ in range(count)]


def measure_claim(root: Path, stated: Stated, seeds: list[int]) -> str:
    """Run one claim's experiment with some seeds.

    Args:
        root: Folder of the course.
        stated: The claim.
        seeds: The seeds.

    Returns:
        What went wrong, or "".
    """
    notebook = nbformat.v4.new_notebook(
        cells=[nbformat.v4.new_code_cell("\n".join(stated.program))],
        metadata={"kernelspec": {"name": "python3", "display_name": "Python 3"}},
    )
    return run_notebook(
        notebook,
        root,
        (root / "book" / stated.chapter).parent,
        extra={SEEDS_VARIABLE: ",".join(map(str, seeds))},
        seconds=SEED_SECONDS * len(seeds),
        client=Reporting,
    )


class Reporting(NotebookClient):
    """A client that passes on what a cell prints while it runs."""

    def process_message(self, msg: dict[str, Any], cell: Any, cell_index: int) -> Any:
        """Print a line of the kernel and go on as usual."""
        if msg["msg_type"] == "stream" and msg["content"]["name"] == "stdout":
            print(msg["content"]["text"], end="", flush=True)
        return super().process_message(msg, cell, cell_index)
