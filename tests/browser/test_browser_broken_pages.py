"""The browser test can fail: each page here is broken in one way, and the checks say which."""

from __future__ import annotations

from pathlib import Path

import pytest
from book_pages import (
    audio_problems,
    image_problems,
    keyboard_problems,
    legibility_problems,
    link_problems,
    math_problems,
    served,
    visit,
    width_problems,
)
from playwright.sync_api import Browser

pytestmark = pytest.mark.browser

PIXEL = (
    "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR4nGNgYGD4DwAB"
    "BAEAX+XDSwAAAABJRU5ErkJggg=="
)
CHECKS = {
    "math": math_problems,
    "images": image_problems,
    "audio": audio_problems,
    "width": width_problems,
    "legibility": legibility_problems,
    "keyboard": keyboard_problems,
}


def look(browser: Browser, folder: Path, body: str, over: str = "http") -> dict[str, list[str]]:
    """Open a page with this body and return what loading it and each check found."""
    (folder / "page.html").write_text(
        '<!doctype html><html lang="en"><head><meta charset="utf-8"><title>A page</title>'
        f'<link rel="icon" href="data:,"></head><body><main>{body}</main></body></html>',
        encoding="utf-8",
    )
    with served(folder) as address:
        home = address if over == "http" else folder.as_uri() + "/"
        context = browser.new_context(viewport={"width": 390, "height": 844})
        with visit(context, home + "page.html", home) as opened:
            found = {name: check(opened.page) for name, check in CHECKS.items()}
            found["loading"] = opened.problems
        context.close()
    return {name: problems for name, problems in found.items() if problems}


@pytest.mark.parametrize("over", ["http", "disk"])
def test_a_good_page_has_no_problem(browser: Browser, tmp_path: Path, over: str) -> None:
    body = (
        f'<p>Good.</p><img alt="A dot" src="{PIXEL}"><pre>$x$ \\frac</pre>'
        '<div class="math"><mjx-container><svg></svg></mjx-container></div>'
    )
    assert look(browser, tmp_path, body, over) == {}


@pytest.mark.parametrize("over", ["http", "disk"])
@pytest.mark.parametrize(
    ("kind", "body", "says"),
    [
        ("loading", '<script src="https://cdn.test/x.js"></script>', "asks another host"),
        ("loading", "<style>@import 'https://cdn.test/x.css'</style>", "asks another host"),
        ("loading", "<script>console.error('boom')</script>", "console error: boom"),
        ("loading", "<script>nothing.here()</script>", "script error"),
        ("loading", '<script src="missing.js"></script>', "missing.js"),
        ("images", f'<img src="{PIXEL}">', "image without alt text"),
        ("images", f'<img src="{PIXEL}" alt="_images/3f2a.png">', "only a name"),
        ("images", '<img src="data:image/png;base64,AAAA" alt="A dot">', "does not show"),
        ("math", "<p>where \\(x\\) is</p>", "raw TeX"),
        ("math", "<p>where $x_1$ is</p>", "raw TeX"),
        ("math", "<p>$$x$$</p>", "raw TeX"),
        ("math", "<p>a \\frac12 b</p>", "raw TeX"),
        ("math", '<span class="math">x</span>', "formula not drawn"),
        ("audio", '<audio controls src="data:audio/wav;base64,AAAA" title="A"></audio>', "play"),
        ("audio", "<audio controls></audio>", "without a name"),
        ("audio", '<audio controls title="A"></audio>', "without a recording"),
        ("width", '<div style="width: 900px">wide</div>', "page is"),
        ("legibility", '<p style="color: #aaa">pale</p>', "color-contrast"),
        ("legibility", '<details><p style="color: #aaa">pale</p></details>', "color-contrast"),
        ("legibility", '<a href="#"></a>', "link-name"),
        ("keyboard", f'<pre style="overflow: auto">{"wide " * 99}</pre>', "keyboard's reach"),
    ],
)
def test_a_broken_page_is_found(
    browser: Browser, tmp_path: Path, over: str, kind: str, body: str, says: str
) -> None:
    found = look(browser, tmp_path, body, over)
    assert any(says in problem for problem in found.get(kind, [])), found


def test_a_wide_table_may_scroll_inside_itself(browser: Browser, tmp_path: Path) -> None:
    body = '<div style="overflow-x: auto"><div style="width: 900px">wide</div></div>'
    assert look(browser, tmp_path, body) == {}


def test_clipping_the_page_does_not_hide_what_sticks_out(browser: Browser, tmp_path: Path) -> None:
    body = '<style>html { overflow-x: clip }</style><div style="width: 900px">wide</div>'
    assert any("sticks out" in problem for problem in look(browser, tmp_path, body)["width"])


def test_low_contrast_is_reported_with_its_colors(browser: Browser, tmp_path: Path) -> None:
    found = look(browser, tmp_path, '<p style="color: #999999">pale</p>')
    assert "#999999 on #ffffff" in found["legibility"][0]


def test_links_to_missing_files_and_places_are_found(tmp_path: Path) -> None:
    (tmp_path / "there.html").write_text('<h1 id="top">Here</h1>', encoding="utf-8")
    page = tmp_path / "page.html"
    page.write_text(
        '<a href="there.html#top">good</a><a href="https://example.org/">elsewhere</a>'
        '<a href="gone.html">bad</a><a href="there.html#gone">bad</a>',
        encoding="utf-8",
    )
    assert link_problems(page) == [
        "leads to no file: gone.html",
        "leads to no place: there.html#gone",
    ]
