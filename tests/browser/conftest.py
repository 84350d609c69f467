"""Chromium, and the rendered book that it opens."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.importorskip("playwright", reason="the package playwright is not installed (extra dev)")

from book_pages import served
from playwright.sync_api import Browser, sync_playwright

ROOT = Path(__file__).parents[2]

# Chromium itself must not ask any host for updates, lists or experiments.
FLAGS = [
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-domain-reliability",
    "--disable-sync",
    "--no-first-run",
    "--no-pings",
]


def absent(reason: str) -> None:
    """Skip with one line, or fail where the browser test is required."""
    if os.environ.get("COURSEKIT_REQUIRE_BROWSER") == "1":
        pytest.fail(reason, pytrace=False)
    pytest.skip(reason)


def chromium() -> str | None:
    """Find Chromium: the one that COURSEKIT_CHROMIUM names, else one on the path."""
    named = os.environ.get("COURSEKIT_CHROMIUM")
    if named:
        return shutil.which(named)
    candidates = ("chromium", "chromium-browser", "google-chrome")
    return next(filter(None, map(shutil.which, candidates)), None)


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """Chromium without a window and without a sandbox where the tests run as root."""
    executable = chromium()
    if executable is None:
        absent("no Chromium: install it, or name it in COURSEKIT_CHROMIUM")
    is_root = hasattr(os, "geteuid") and os.geteuid() == 0
    arguments = [*FLAGS, "--no-sandbox"] if is_root else FLAGS
    with sync_playwright() as playwright:
        launched = playwright.chromium.launch(executable_path=executable, args=arguments)
        yield launched
        launched.close()


@pytest.fixture(scope="session")
def book() -> Path:
    """The folder of the rendered book: COURSEKIT_BOOK, else build/book/html."""
    folder = Path(os.environ.get("COURSEKIT_BOOK", ROOT / "build" / "book" / "html")).resolve()
    if not (folder / "index.html").is_file():
        absent(f"the book is not built: run `make book` (looked in {folder.name}/)")
    return folder


@pytest.fixture(scope="session")
def site(book: Path) -> Iterator[str]:
    """The address of the rendered book on the loopback interface."""
    with served(book) as address:
        yield address
