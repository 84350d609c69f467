"""The rendered book as its readers meet it: over http, from a disk, on a telephone, in the dark."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path

import pytest
from book_pages import (
    audio_problems,
    image_problems,
    keyboard_problems,
    legibility_problems,
    link_problems,
    math_problems,
    read,
    search,
    visit,
    width_problems,
)
from playwright.sync_api import Browser

pytestmark = pytest.mark.browser

CONTENT = {"math": math_problems, "images": image_problems, "audio": audio_problems}
DESKTOP = {"width": 1280, "height": 900}
PHONE = {"width": 390, "height": 844}

# Written by Sphinx, not by an author: no article of ours, no description.
MADE_BY_SPHINX = {"search.html", "genindex.html"}


def pages(book: Path) -> list[str]:
    """List the pages of the book by their path."""
    names = (path.relative_to(book).as_posix() for path in book.rglob("*.html"))
    return sorted(name for name in names if not name.startswith("_"))


def written(book: Path) -> list[str]:
    """List the pages that an author wrote."""
    return [name for name in pages(book) if name not in MADE_BY_SPHINX]


@pytest.fixture(scope="module")
def seen(browser: Browser, book: Path, site: str) -> dict[str, list[str]]:
    """Everything that is wrong with any page over http, by kind; each page is opened once."""
    found: dict[str, list[str]] = defaultdict(list)
    context = browser.new_context(viewport=DESKTOP, color_scheme="light")
    for name in pages(book):
        with visit(context, site + name, site) as opened:
            page = opened.page

            def note(kind: str, problems: list[str], name: str = name) -> None:
                found[kind] += [f"{name}: {problem}" for problem in problems]

            for kind, check in CONTENT.items():
                note(kind, check(page))
            note("legible light", legibility_problems(page))
            page.emulate_media(color_scheme="dark")
            note("legible dark", legibility_problems(page))
            page.set_viewport_size(PHONE)
            page.wait_for_timeout(100)
            note("width", width_problems(page))
            note("keyboard", keyboard_problems(page))
            note("loading", opened.problems)
    context.close()
    return found


def test_no_page_asks_another_host_or_logs_an_error(seen: dict[str, list[str]]) -> None:
    assert seen["loading"] == []


def test_every_formula_is_drawn(seen: dict[str, list[str]]) -> None:
    assert seen["math"] == []


def test_every_image_shows_and_is_described(seen: dict[str, list[str]]) -> None:
    assert seen["images"] == []


def test_every_recording_plays_and_has_a_name(seen: dict[str, list[str]]) -> None:
    assert seen["audio"] == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_page_is_legible(seen: dict[str, list[str]], scheme: str) -> None:
    assert seen[f"legible {scheme}"] == []


def test_no_page_is_wider_than_a_telephone(seen: dict[str, list[str]]) -> None:
    assert seen["width"] == []


def test_what_scrolls_can_be_reached_by_keyboard(seen: dict[str, list[str]]) -> None:
    assert seen["keyboard"] == []


def test_every_page_works_from_a_disk(browser: Browser, book: Path) -> None:
    home = book.as_uri() + "/"
    context = browser.new_context(viewport=DESKTOP)
    found = []
    for name in pages(book):
        with visit(context, home + name, home) as opened:
            said = [problem for check in CONTENT.values() for problem in check(opened.page)]
            found += [f"{name}: {problem}" for problem in opened.problems + said]
    context.close()
    assert found == []


def test_the_pages_follow_the_mode_of_the_system(browser: Browser, book: Path, site: str) -> None:
    shades = {}
    for scheme in ("light", "dark"):
        context = browser.new_context(viewport=DESKTOP, color_scheme=scheme)
        with visit(context, site + "index.html", site) as opened:
            shades[scheme] = opened.page.evaluate("getComputedStyle(document.body).backgroundColor")
        context.close()
    assert shades["light"] == "rgb(255, 255, 255)"
    assert max(map(int, shades["dark"].strip("rgb()").split(","))) < 64


@pytest.mark.parametrize("over", ["http", "disk"])
def test_search_finds_a_word_of_a_chapter(
    browser: Browser, book: Path, site: str, over: str
) -> None:
    home = site if over == "http" else book.as_uri() + "/"
    context = browser.new_context(viewport=DESKTOP)
    with visit(context, home + "index.html", home) as opened:
        titles = search(opened.page, "bilinear")
        assert any("transformer" in title.lower() for title in titles), titles
        assert opened.problems == []
    context.close()


def test_every_link_leads_somewhere(book: Path) -> None:
    found = [f"{name}: {link}" for name in pages(book) for link in link_problems(book / name)]
    assert found == []


def test_every_page_has_a_title_and_a_description_of_its_own(book: Path) -> None:
    names = written(book)
    titles = {read(book / name).title.strip() for name in names}
    descriptions = {read(book / name).description.strip() for name in names}
    assert len(titles) == len(names)
    assert len(descriptions - {""}) == len(names)
