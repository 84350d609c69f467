"""Chromium, and the rendered book that it opens."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
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


def chromium() -> str | None:
    """Find Chromium: the one that COURSEKIT_CHROMIUM names, else one on the path."""
    named = os.environ.get("COURSEKIT_CHROMIUM")
    if named:
        return shutil.which(named)
    candidates = ("chromium", "chromium-browser", "google-chrome")
    return next(filter(None, map(shutil.which, candidates)), None)


def book_folder() -> Path:
    """Name the folder of the rendered book: COURSEKIT_BOOK, else build/book/html."""
    return Path(os.environ.get("COURSEKIT_BOOK", ROOT / "build" / "book" / "html")).resolve()


def missing() -> dict[str, str]:
    """Say for each fixture that cannot be had what to do about it."""
    found = {}
    if chromium() is None:
        found["browser"] = "no Chromium: install it, or name it in COURSEKIT_CHROMIUM"
    if not (book_folder() / "index.html").is_file():
        found["book"] = "the book is not built: run `make book`"
    return found


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Where something is missing, leave one skipped test: one line instead of sixty."""
    if os.environ.get("COURSEKIT_REQUIRE_BROWSER") == "1":
        return
    for name, reason in missing().items():
        needing = [
            item
            for item in items
            if item.path.parent == Path(__file__).parent and name in item.fixturenames
        ]
        if needing:
            needing[0].add_marker(pytest.mark.skip(reason=reason))
            config.hook.pytest_deselected(items=needing[1:])
            items[:] = [item for item in items if item not in needing[1:]]


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """Chromium without a window and without a sandbox where the tests run as root."""
    if "browser" in missing():
        pytest.fail(missing()["browser"], pytrace=False)
    is_root = hasattr(os, "geteuid") and os.geteuid() == 0
    arguments = [*FLAGS, "--no-sandbox"] if is_root else FLAGS
    with sync_playwright() as playwright:
        launched = playwright.chromium.launch(executable_path=chromium(), args=arguments)
        yield launched
        launched.close()


@pytest.fixture(scope="session")
def book() -> Path:
    """The folder of the rendered book."""
    if "book" in missing():
        pytest.fail(missing()["book"], pytrace=False)
    return book_folder()


@pytest.fixture(scope="session")
def site(book: Path) -> Iterator[str]:
    """The address of the rendered book on the loopback interface."""
    with served(book) as address:
        yield address
