"""What a reader's browser finds wrong with a page; every function returns sentences, none is best.

The rendered book and small pages broken on purpose go through the same functions.
"""

from __future__ import annotations

import functools
import http.server
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import BrowserContext, Page, Route

# Nothing in these is prose: scripts, code, and the MathML that MathJax adds for screen readers.
NOT_PROSE = "script, style, noscript, pre, code, textarea, mjx-container, .tex2jax_ignore"

RAW_TEX = r"\\\(|\\\[|\$\$|\\[a-zA-Z]{2,}|\$[^$\s][^$\n]{0,80}\$"

AXE_RULES = [
    "color-contrast",
    "document-title",
    "html-has-lang",
    "link-name",
    "button-name",
    "image-alt",
]


@dataclass
class Visit:
    """A page that was opened, and what went wrong while it loaded."""

    page: Page
    problems: list[str] = field(default_factory=list)


def is_local(url: str, home: str) -> bool:
    """Tell whether an address belongs to the book at ``home`` or is part of the page itself."""
    return url.startswith(("data:", "blob:", "about:", home))


@contextmanager
def visit(context: BrowserContext, url: str, home: str) -> Iterator[Visit]:
    """Open ``url``; requests that leave ``home`` are aborted and written down as problems."""
    page = context.new_page()
    opened = Visit(page)

    def answer(route: Route) -> None:
        if is_local(route.request.url, home):
            route.continue_()
            return
        opened.problems.append(f"asks another host: {route.request.url}")
        route.abort()

    page.route("**/*", answer)
    page.on(
        "console",
        lambda message: (
            opened.problems.append(f"console error: {message.text}")
            if message.type == "error"
            else None
        ),
    )
    page.on("pageerror", lambda error: opened.problems.append(f"script error: {error}"))
    page.on(
        "requestfailed",
        lambda request: (
            opened.problems.append(f"request failed: {request.url}")
            if is_local(request.url, home)
            else None
        ),
    )
    page.on(
        "response",
        lambda response: (
            opened.problems.append(f"answer {response.status}: {response.url}")
            if response.status >= 400
            else None
        ),
    )
    try:
        page.goto(url, wait_until="load")
        settle(page)
        yield opened
    finally:
        page.close()


def settle(page: Page) -> None:
    """Wait until MathJax, where the page has it, has drawn its formulas."""
    page.evaluate("async () => { await window.MathJax?.startup?.promise; }")


def math_problems(page: Page) -> list[str]:
    """Find formulas that were not drawn: no SVG, a TeX error, or raw TeX in the visible text."""
    return page.evaluate(
        r"""([notProse, rawTex]) => {
          const found = [];
          for (const box of document.querySelectorAll(".math")) {
            if (!box.querySelector("mjx-container svg")) {
              found.push(`formula not drawn: ${box.textContent.trim().slice(0, 60)}`);
            }
          }
          for (const error of document.querySelectorAll('[data-mml-node="merror"], mjx-merror')) {
            found.push(`TeX error: ${error.textContent.trim().slice(0, 60)}`);
          }
          const pattern = new RegExp(rawTex);
          const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
          while (texts.nextNode()) {
            const text = texts.currentNode;
            if (!text.parentElement.closest(notProse) && pattern.test(text.textContent)) {
              found.push(`raw TeX: ${text.textContent.trim().slice(0, 60)}`);
            }
          }
          return found;
        }""",
        [NOT_PROSE, RAW_TEX],
    )


def image_problems(page: Page) -> list[str]:
    """Find images without a description of their own, and images that do not show."""
    return page.evaluate(
        r"""async () => {
          const found = [];
          for (const image of document.images) {
            const name = (image.currentSrc || image.src).slice(-60);
            const alt = (image.getAttribute("alt") ?? "").trim();
            image.loading = "eager";
            await image.decode().catch(() => null);
            if (!alt) found.push(`image without alt text: ${name}`);
            else if (/\.(png|svg|jpe?g|gif|webp)$|^<Figure/i.test(alt)) {
              found.push(`alt text is only a name: ${alt.slice(-60)}`);
            }
            if (!image.complete || image.naturalWidth === 0) {
              found.push(`image does not show: ${name}`);
            }
          }
          return found;
        }"""
    )


def audio_problems(page: Page) -> list[str]:
    """Find audio players without a name, and recordings that the browser cannot play."""
    return page.evaluate(
        r"""async () => {
          const found = [];
          for (const audio of document.querySelectorAll("audio")) {
            const label = (audio.getAttribute("aria-labelledby") ?? "").split(" ")
              .map((id) => document.getElementById(id)?.textContent ?? "").join(" ");
            const name = (audio.getAttribute("aria-label") ?? audio.title ?? "") + label;
            if (!name.trim()) found.push("audio player without a name");
            if (!audio.controls) found.push(`audio player without controls: ${name}`);
            if (audio.networkState === HTMLMediaElement.NETWORK_EMPTY) {
              found.push(`audio player without a recording: ${name}`);
              continue;
            }
            audio.muted = true;
            const late = new Promise((_, no) => setTimeout(() => no(Error("no answer")), 5000));
            try {
              await Promise.race([audio.play(), late]);
              if (!(audio.duration > 0)) found.push(`empty recording: ${name}`);
              audio.pause();
            } catch (error) {
              found.push(`recording does not play: ${name} (${error.message})`);
            }
          }
          return found;
        }"""
    )


def width_problems(page: Page) -> list[str]:
    """Find a page that is wider than its window, and name what sticks out."""
    return page.evaluate(
        r"""() => {
          const width = document.documentElement.clientWidth;
          const scrolls = (box) => {
            for (let up = box.parentElement; up && up !== document.body; up = up.parentElement) {
              if (getComputedStyle(up).overflowX !== "visible") return true;
            }
            return false;
          };
          const found = [];
          if (document.documentElement.scrollWidth > width) {
            found.push(`page is ${document.documentElement.scrollWidth} px wide, window ${width}`);
          }
          for (const box of document.querySelectorAll("main *, body > *")) {
            const place = box.getBoundingClientRect();
            const hidden = getComputedStyle(box).position === "fixed" || !box.offsetParent;
            if (place.right > width + 1 && !hidden && !scrolls(box)) {
              found.push(`sticks out: <${box.localName} class="${box.className}">`);
            }
          }
          return found.slice(0, 5);
        }"""
    )


def legibility_problems(page: Page) -> list[str]:
    """Ask axe-core for text of too little contrast and for controls and links without a name."""
    page.evaluate(
        """() => {
          const calm = document.createElement("style");
          calm.textContent =
            "*, ::before, ::after { transition: none !important; animation: none !important; }";
          document.head.append(calm);
          for (const box of document.querySelectorAll("details")) box.open = true;
        }"""
    )
    options = {"runOnly": {"type": "rule", "values": AXE_RULES}, "resultTypes": ["violations"]}
    violations = Axe().run(page, options=options).response["violations"]
    return [
        f"{violation['id']}: {node['html'][:90]} {describe(node)}"
        for violation in violations
        for node in violation["nodes"]
    ]


def keyboard_problems(page: Page) -> list[str]:
    """Find boxes that scroll sideways but that the Tab key does not reach."""
    return page.evaluate(
        r"""() => {
          const boxes = document.querySelectorAll(
            "main pre, main .pst-scrollable-table-container, div.math mjx-container");
          return [...boxes]
            .filter((box) => box.scrollWidth > box.clientWidth + 1 && box.tabIndex < 0)
            .map((box) => `out of the keyboard's reach: ${box.textContent.trim().slice(0, 50)}`);
        }"""
    )


def describe(node: dict) -> str:
    """Give the two colors and the contrast that axe-core measured, where it did."""
    data = (node["any"][0].get("data") if node["any"] else None) or {}
    if not isinstance(data, dict) or "contrastRatio" not in data:
        return ""
    return f"({data['fgColor']} on {data['bgColor']}: {data['contrastRatio']})"


def search(page: Page, words: str) -> list[str]:
    """Search by keyboard as a reader does, and return the titles that were found."""
    page.keyboard.press("Control+k")
    page.keyboard.type(words)
    with page.expect_navigation():
        page.keyboard.press("Enter")
    page.wait_for_function(
        "() => /found|did not match/.test(document.querySelector('.search-summary')?.innerText)",
        timeout=10_000,
    )
    page.wait_for_timeout(300)
    return page.locator("#search-results ul.search > li > a").all_inner_texts()


class Links(HTMLParser):
    """Collects a page's links, its anchors, its titles and its description."""

    def __init__(self) -> None:
        super().__init__()
        self.links: list[str] = []
        self.anchors: set[str] = set()
        self.headings = 0
        self.title = ""
        self.description = ""
        self._in_title = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Take what the tag links to, names or describes."""
        values = {name: value or "" for name, value in attrs}
        self.links += [values[name] for name in ("href", "src") if values.get(name)]
        self.anchors.update(values[name] for name in ("id", "name") if values.get(name))
        # The theme repeats the title for print, outside the article and hidden on screens.
        self.headings += tag == "h1"
        self._in_title = tag == "title" or (self._in_title and tag != "body")
        if tag == "meta" and values.get("name") == "description":
            self.description = values.get("content", "")

    def handle_data(self, data: str) -> None:
        """Take the text of the title."""
        if self._in_title:
            self.title += data

    def handle_endtag(self, tag: str) -> None:
        """Leave the title."""
        if tag == "title":
            self._in_title = False


@functools.cache
def read(path: Path) -> Links:
    """Parse one HTML file."""
    parser = Links()
    parser.feed(path.read_text(encoding="utf-8"))
    return parser


def link_problems(path: Path) -> list[str]:
    """Find links of an HTML file that lead to no file, or to no place in it."""
    found = []
    for link in read(path).links:
        parts = urlsplit(link)
        if parts.scheme or parts.netloc:
            continue
        target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
        anchor = unquote(parts.fragment)
        if not target.exists():
            found.append(f"leads to no file: {link}")
        elif anchor and target.suffix == ".html" and anchor not in read(target).anchors:
            found.append(f"leads to no place: {link}")
    return sorted(set(found))


class Quiet(http.server.SimpleHTTPRequestHandler):
    """Serves files and writes no log."""

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


@contextmanager
def served(folder: Path) -> Iterator[str]:
    """Serve a folder on the loopback interface and give its address."""
    handler = functools.partial(Quiet, directory=str(folder))
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/"
    finally:
        server.shutdown()
        server.server_close()
