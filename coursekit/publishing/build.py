"""Building of the book: execute, put MathJax in place, and let Sphinx write the pages.

Everything that is generated goes to ``build/``. Warnings of Sphinx are errors on every run: a build
that does not end well leaves no mark of success, without which the next one reads all pages again.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
import sys
import time
from importlib import metadata, resources
from importlib.util import find_spec
from pathlib import Path

from coursekit.claims.course import listed_pages
from coursekit.errors import UserError

MATHJAX = "tex-svg-full.js"
NEEDS = ("jupyter_book", "jupyter_cache", "mathjax", "myst_nb", "nbclient")


def build_book(root: Path, jobs: int | None = None) -> Path:
    """Execute what is not current and build the pages.

    Args:
        root: Folder of the course.
        jobs: Chapters executed at once; one a core by default.

    Returns:
        The file to open.

    Raises:
        UserError: A tool is missing, a cell failed, Sphinx warned, or another build of this folder
            is under way.
    """
    require_tools()
    from filelock import FileLock, Timeout

    from coursekit.publishing.execute import build_folder

    root = root.resolve()
    folder = build_folder(root)
    folder.mkdir(parents=True, exist_ok=True)
    lock = FileLock(folder / "lock", timeout=0)
    try:
        with lock:
            return _build(root, folder, jobs)
    except Timeout as error:
        raise UserError(f"another build writes to {folder}: wait until it has ended") from error


def _build(root: Path, folder: Path, jobs: int | None) -> Path:
    from coursekit.publishing.execute import BookFailed, execute_book

    page = folder / "html" / "index.html"
    start = time.perf_counter()
    keys = [execution.key for execution in execute_book(root, jobs=jobs)]
    executed = time.perf_counter()
    inputs, written = inputs_hash(root, keys), folder / "written"
    if page.is_file() and written.is_file() and written.read_text() == inputs:
        print(f"nothing to write: the pages are current ({executed - start:.1f} s)")
        return page
    written.unlink(missing_ok=True)
    prepare(root, folder)
    result = run_sphinx(root, folder)
    if result:
        raise BookFailed(result)
    (folder / "frame").write_text(frame_hash(root))
    written.write_text(inputs)
    done = time.perf_counter()
    print(f"executed in {executed - start:.1f} s, written in {done - executed:.1f} s")
    return page


def require_tools() -> None:
    """Make sure that what builds the book is installed.

    Raises:
        UserError: Something is missing; the message says how to install it.
    """
    missing = [name for name in NEEDS if find_spec(name) is None]
    if missing:
        raise UserError(
            f"Building the book needs {', '.join(missing)}: run "
            'pip install -c constraints.txt -e ".[book]"'
        )


def prepare(root: Path, folder: Path) -> None:
    """Bring the build folder into a state from which Sphinx may go on.

    Pages are kept only if the last build ended well and had the same frame.

    Args:
        root: Folder of the course.
        folder: Where the pages go.
    """
    frame, known = frame_hash(root), folder / "frame"
    if not known.is_file() or known.read_text() != frame:
        shutil.rmtree(folder / "html", ignore_errors=True)
        shutil.rmtree(folder / "doctrees", ignore_errors=True)
    known.unlink(missing_ok=True)
    copy_mathjax(folder / "html" / "_static" / "mathjax")


def inputs_hash(root: Path, keys: list[str]) -> str:
    """Hash all that the pages are written from.

    Args:
        root: Folder of the course.
        keys: Keys of the executed chapters.

    Returns:
        64 hexadecimal digits.
    """
    digest = hashlib.sha256("\n".join([frame_hash(root), *keys]).encode())
    for path in sorted(path for path in (root / "book").rglob("*") if path.is_file()):
        digest.update(f"{path.relative_to(root)}\n".encode() + path.read_bytes())
    return digest.hexdigest()


def frame_hash(root: Path) -> str:
    """Hash what every page shows or depends on: contents, titles, style, references, tools.

    Args:
        root: Folder of the course.

    Returns:
        64 hexadecimal digits.
    """
    book = root / "book"
    paths = [*sorted(book.glob("*.yml")), *sorted(book.rglob("*.bib"))]
    for name in ("_static", "_templates"):
        paths += sorted(p for p in (book / name).rglob("*") if p.is_file())
    digest = hashlib.sha256()
    for path in paths:
        digest.update(f"{path.relative_to(book)}\n".encode() + path.read_bytes())
    tools = [(name, metadata.version(name)) for name in ("jupyter-book", "sphinx", "myst-nb")]
    digest.update(
        json.dumps([tools, [title(book / f"{p}.md") for p in listed_pages(root)]]).encode()
    )
    return digest.hexdigest()


def title(path: Path) -> str:
    """Read the first heading of a page; a page that is not there has none."""
    if not path.is_file():
        return ""
    lines = path.read_text(encoding="utf-8").splitlines()
    return next((line for line in lines if line.startswith("# ")), "")


def copy_mathjax(folder: Path) -> None:
    """Put MathJax where the pages load it from.

    Args:
        folder: Its folder among the static files of the pages.
    """
    package = resources.files("mathjax") / "static" / "mathjax"
    folder.mkdir(parents=True, exist_ok=True)
    for source, name in ((package / "es5" / MATHJAX, MATHJAX), (package / "LICENSE", "LICENSE")):
        (folder / name).write_bytes(source.read_bytes())


def run_sphinx(root: Path, folder: Path) -> str:
    """Write the pages in a process of its own.

    Args:
        root: Folder of the course.
        folder: Where they go.

    Returns:
        What went wrong, or "".
    """
    from coursekit.publishing.execute import plain

    log = folder / "sphinx.log"
    command = [sys.executable, "-m", "coursekit.publishing.render", str(root), str(folder)]
    with log.open("w", encoding="utf-8") as out:
        done = subprocess.run(command, stdout=out, stderr=subprocess.PIPE, text=True, check=False)
    if done.returncode:
        return f"Sphinx failed or warned (its log is {log}):\n{plain(done.stderr).strip()}"
    executed = [ln for ln in log.read_text(encoding="utf-8").splitlines() if "Executing note" in ln]
    if executed:
        return "Sphinx executed pages that should have come from the cache:\n" + "\n".join(executed)
    return ""
