"""Execution of the chapters, in parallel and only where something that they depend on changed.

Every chapter has a key: its cells, the files of coursekit that they import, the checksums of the
data that they load, its recorded claim and the pinned versions. A chapter whose key is the one of
its last good run is left alone. The others run in kernels of their own, forked from a warm server
where that works; their outputs go into a jupyter-cache, where Sphinx finds them by the cells alone,
so that Sphinx never executes anything.

Nothing of a failed run is kept: a book with a failing cell fails on every run until it is mended.
"""

from __future__ import annotations

import copy
import hashlib
import json
import math
import os
import re
import sys
import time
from collections.abc import Iterable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import nbformat
import yaml
from jupyter_client.kernelspec import NoSuchKernel
from nbclient import NotebookClient
from nbclient.exceptions import CellControlSignal, CellExecutionError, DeadKernelError

from coursekit.claims import ledger
from coursekit.claims.course import listed_pages, package_folder
from coursekit.claims.records import record_path
from coursekit.claims.stated import with_data
from coursekit.dependencies import code_hash
from coursekit.errors import UserError
from coursekit.kernels.managers import AsyncForkedKernelManager

CELL_SECONDS = 300
MYST_EXTENSIONS = ("colon_fence", "dollarmath", "linkify", "substitution", "tasklist")

Notebook = nbformat.NotebookNode


class BookFailed(UserError):
    """The book cannot be built as it is; the message says where."""


@dataclass(frozen=True)
class Execution:
    """The last good run of a chapter.

    Attributes:
        page: Name of the page.
        key: Hash of all that the outputs depend on.
        seconds: Wall time of the run.
        cells: Number of code cells that ran.
        ran: Whether it ran just now.
    """

    page: str
    key: str
    seconds: float
    cells: int
    ran: bool = False


@dataclass(frozen=True)
class Failure:
    """A cell that ends the build.

    Attributes:
        page: Name of the page.
        cell: Number of the code cell, from 1; 0 for the page as a whole.
        says: What went wrong.
    """

    page: str
    cell: int
    says: str

    def __str__(self) -> str:
        where = f", code cell {self.cell}" if self.cell else ""
        return f"book/{self.page}.md{where}: {self.says}"


def execute_book(
    root: Path, *, jobs: int | None = None, only: Iterable[str] | None = None
) -> list[Execution]:
    """Execute every chapter whose outputs are not current.

    Args:
        root: Folder of the course.
        jobs: Chapters executed at once; one a core by default.
        only: Names of pages; all in the table of contents by default.

    Returns:
        The chapters in the order of the book.

    Raises:
        BookFailed: A cell failed, or a page holds cells that would not run.
    """
    root = root.resolve()
    chapters = read_chapters(root, only)
    store = Store(root)
    keys = {page: chapter_key(root, page, notebook) for page, notebook in chapters.items()}
    done = {
        page: execution
        for page, notebook in chapters.items()
        if (execution := store.current(page, notebook, keys[page]))
    }
    earlier = store.read()
    stale = [page for page in chapters if page not in done]
    stale.sort(key=lambda page: -earlier.get(page, {}).get("seconds", math.inf))  # longest first
    print(f"{len(done)} chapters current, {len(stale)} to execute", flush=True)
    failures: list[Failure] = []
    with ThreadPoolExecutor(max_workers=jobs or cores()) as pool:
        runs: dict[Future[tuple[Notebook, float, list[Failure]]], str] = {
            pool.submit(run_chapter, root, page, chapters[page]): page for page in stale
        }
        for run in as_completed(runs):
            page = runs[run]
            notebook, seconds, found = run.result()
            failures += found
            print(f"  {page}: {seconds:.1f} s{' FAILED' if found else ''}", flush=True)
            if not found:
                done[page] = store.keep(page, notebook, keys[page], seconds)
    if failures:
        raise BookFailed("\n".join(map(str, failures)))
    return [done[page] for page in chapters]


def cores() -> int:
    """Count the cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


# Pages


def read_chapters(root: Path, only: Iterable[str] | None = None) -> dict[str, Notebook]:
    """Read the pages of the book that hold code.

    Args:
        root: Folder of the course.
        only: Names of pages; all in the table of contents by default.

    Returns:
        Notebooks by name of page, in order. Pages without code are left out.

    Raises:
        BookFailed: Cells stand in a page whose header does not make them run.
    """
    pages = listed_pages(root) if only is None else list(only)
    extensions = myst_extensions(root)
    chapters, failures = {}, []
    for page in pages:
        path = root / "book" / f"{page}.md"
        if not path.is_file():
            raise BookFailed(f"book/{page}.md: the page does not exist")
        notebook = read_page(path, extensions)
        missing = missing_headers(notebook)
        has_code = any(cell.cell_type == "code" for cell in notebook.cells)
        if has_code and missing:
            says = f"lacks {' and '.join(missing)} in its header: its cells silently do not run"
            failures.append(Failure(page, 0, says))
        elif not missing and not has_code:
            failures.append(Failure(page, 0, "is a notebook by its header but ran no code cell"))
        elif has_code:
            chapters[page] = notebook
    if failures:
        raise BookFailed("\n".join(map(str, failures)))
    return chapters


def read_page(path: Path, extensions: Iterable[str] = MYST_EXTENSIONS) -> Notebook:
    """Read a page with the reader that the book's builder uses.

    Args:
        path: The page.
        extensions: Extensions of MyST that are on.

    Returns:
        The notebook.
    """
    from myst_nb.core.read import read_myst_markdown_notebook
    from myst_parser.config.main import MdParserConfig

    config = MdParserConfig(enable_extensions=set(extensions))
    text = path.read_text(encoding="utf-8")
    return read_myst_markdown_notebook(text, config, add_source_map=True, path=path)


def myst_extensions(root: Path) -> list[str]:
    """Read which extensions of MyST the book's configuration turns on."""
    config = yaml.safe_load((root / "book" / "_config.yml").read_text(encoding="utf-8")) or {}
    return list(config.get("parse", {}).get("myst_enable_extensions", MYST_EXTENSIONS))


def missing_headers(notebook: Notebook) -> list[str]:
    """List what a page's header lacks for its cells to run.

    Args:
        notebook: The page.

    Returns:
        Names of the missing headers.
    """
    head = notebook.metadata
    by_format = head.get("jupytext", {}).get("text_representation", {}).get("format_name")
    missing = []
    if by_format != "myst" and head.get("file_format") != "mystnb":
        missing.append("jupytext.text_representation.format_name: myst")
    if not head.get("kernelspec", {}).get("name"):
        missing.append("kernelspec.name")
    return missing


# Keys


def chapter_key(root: Path, page: str, notebook: Notebook) -> str:
    """Hash all that the outputs of a chapter depend on.

    Args:
        root: Folder of the course.
        page: Name of the page.
        notebook: Its notebook.

    Returns:
        64 hexadecimal digits.
    """
    cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    sources = [cell.source for cell in cells]
    parts = {
        "cells": [[cell.source, cell.metadata.get("tags", [])] for cell in cells],
        "kernel": [notebook.metadata.kernelspec.name, *sys.version_info[:2]],
        "lock": file_hash(root / "constraints.txt"),
        "claim": file_hash(record_path(root, page)),
    } | code_parts(root, page, sources)
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def code_parts(root: Path, page: str, sources: list[str]) -> dict[str, Any]:
    """Describe what the cells of a chapter import and load.

    Args:
        root: Folder of the course.
        page: Name of the page, for the message.
        sources: Its code cells.

    Returns:
        Hashes of modules and data, and the ledger's text if the page shows it.

    Raises:
        BookFailed: A cell is not Python.
    """
    folder = package_folder(root)
    try:
        files, data = with_data(sources, folder)
    except SyntaxError as error:
        raise BookFailed(f"book/{page}.md: {error.msg} in: {error.text}") from error
    texts = [path.read_text(encoding="utf-8") for path in files]
    # A page that prints source code shows comments and docstrings as well.
    as_text = any("getsource" in text for text in [*sources, *texts])
    modules = {
        path.relative_to(folder).as_posix(): hash_text(text) if as_text else code_hash(path)
        for path, text in zip(files, texts, strict=True)
    }
    shows_ledger = any(re.search(r"\bledger\(", source) for source in sources)
    return {
        "modules": modules,
        "data": data,
        "ledger": repr(ledger(root)) if shows_ledger else "",
    }


def hash_text(text: str) -> str:
    """Hash a text."""
    return hashlib.sha256(text.encode()).hexdigest()


def file_hash(path: Path) -> str:
    """Hash a file; a file that is not there has the empty hash."""
    return hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else ""


# Kernels


def run_chapter(root: Path, page: str, notebook: Notebook) -> tuple[Notebook, float, list[Failure]]:
    """Execute a chapter in a kernel of its own.

    Args:
        root: Folder of the course.
        page: Name of the page.
        notebook: Its notebook, which is left as it is.

    Returns:
        The executed notebook, the seconds that it took, and what went wrong.
    """
    executed = copy.deepcopy(notebook)
    start = time.perf_counter()
    problem = run_notebook(executed, root, root / "book" / Path(page).parent)
    seconds = time.perf_counter() - start
    executed.metadata.kernelspec = notebook.metadata.kernelspec
    failures = find_failures(page, executed, problem)
    return executed, seconds, failures


def run_notebook(
    notebook: Notebook,
    root: Path,
    folder: Path,
    *,
    extra: Mapping[str, str] | None = None,
    seconds: float | None = None,
    client: type[NotebookClient] = NotebookClient,
) -> str:
    """Execute a notebook in place.

    Args:
        notebook: The notebook.
        root: Folder of the course.
        folder: Working directory.
        extra: More environment variables.
        seconds: Time limit of a cell, CELL_SECONDS by default.
        client: Class that talks to the kernel.

    Returns:
        What went wrong, or "".
    """
    runner = client(
        notebook,
        timeout=seconds or CELL_SECONDS,
        kernel_name=notebook.metadata.kernelspec.name,
        kernel_manager_class=AsyncForkedKernelManager,
        record_timing=False,
        extra_arguments=["--Application.log_level=40"],  # else each kernel warns about TCP
        resources={"metadata": {"path": str(folder)}},
    )
    try:
        runner.execute(env=kernel_environment(root) | dict(extra or {}))
    except (CellExecutionError, CellControlSignal, DeadKernelError) as error:
        return plain(str(error)).strip()
    except NoSuchKernel as error:
        return f"names the kernel {error.name!r}, which is not installed"
    return ""


def kernel_environment(root: Path) -> dict[str, str]:
    """Say in which environment a kernel of the book runs.

    Args:
        root: Folder of the course; a package in it goes before an installed one.

    Returns:
        Environment variables.
    """
    path = [str(root), os.environ.get("PYTHONPATH", "")]
    inside = {} if package_folder(root).parent != root else {"PYTHONPATH": os.pathsep.join(path)}
    inherited = {k: v for k, v in os.environ.items() if k != "COURSEKIT_CLAIM_SEEDS"}
    return (
        inherited
        | inside
        | {
            "COURSEKIT_PROGRESS": "0",
            "COURSEKIT_ROOT": str(root),
            "MPLBACKEND": "module://matplotlib_inline.backend_inline",
            "OMP_NUM_THREADS": "1",
            "PYTHONHASHSEED": "0",
        }
    )


def find_failures(page: str, notebook: Notebook, problem: str) -> list[Failure]:
    """Look for failed cells in an executed notebook.

    Args:
        page: Name of the page.
        notebook: The executed notebook.
        problem: What the kernel's client said.

    Returns:
        What ends the build; empty if all is well.
    """
    cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    failures = []
    for number, cell in enumerate(cells, 1):
        text = "".join(out.text for out in cell.outputs if out.get("name") == "stderr")
        if text:
            says = f"wrote to the error stream:\n{plain(text).strip()}"
            failures.append(Failure(page, number, says))
    if problem:
        ran = [number for number, cell in enumerate(cells, 1) if cell.execution_count]
        failures.append(Failure(page, max(ran, default=0), problem))
    elif not any(cell.execution_count for cell in cells):
        failures.append(Failure(page, 0, "ran no code cell"))
    return failures


def plain(text: str) -> str:
    """Take the colors out of a terminal's text."""
    return re.sub(r"\x1b\[[0-9;]*m", "", text)


# What is kept


def build_folder(root: Path) -> Path:
    """Say where everything that is generated goes."""
    return root / "build" / "book"


class Store:
    """Outputs of the last good runs, where Sphinx finds them, and the keys that they belong to.

    Args:
        root: Folder of the course.
    """

    def __init__(self, root: Path) -> None:
        from jupyter_cache import get_cache

        self.root = root
        self.keys = root / "build" / "execution.json"
        folder = build_folder(root) / "cache"
        folder.mkdir(parents=True, exist_ok=True)
        self.cache = get_cache(folder)
        self.cache.list_cache_records()  # makes the data base before anybody shares it

    def read(self) -> dict[str, dict[str, Any]]:
        """Read what is known of earlier runs, by page."""
        if not self.keys.is_file():
            return {}
        known: dict[str, dict[str, Any]] = json.loads(self.keys.read_text(encoding="utf-8"))
        return known

    def current(self, page: str, notebook: Notebook, key: str) -> Execution | None:
        """Look up a run that needs no repetition.

        Args:
            page: Name of the page.
            notebook: Its notebook.
            key: Its key today.

        Returns:
            The run, or None.
        """
        known = self.read().get(page)
        if known is None or known["key"] != key:
            return None
        try:
            self.cache.match_cache_notebook(notebook)
        except KeyError:
            return None
        return Execution(page, key, known["seconds"], known["cells"])

    def keep(self, page: str, notebook: Notebook, key: str, seconds: float) -> Execution:
        """Put a good run in the place of the page's earlier one.

        Args:
            page: Name of the page.
            notebook: The executed notebook.
            key: Its key.
            seconds: Wall time.

        Returns:
            The run.
        """
        from jupyter_cache.base import CacheBundleIn

        uri = str(self.root / "book" / f"{page}.md")
        bundle = CacheBundleIn(notebook, uri, data={"execution_seconds": seconds})
        kept = self.cache.cache_notebook_bundle(bundle, check_validity=False, overwrite=True)
        for record in self.cache.list_cache_records():
            if record.uri == uri and record.hashkey != kept.hashkey:
                self.cache.remove_cache(record.pk)
        # Sphinx compares sources only: without this the page would keep its old outputs.
        (build_folder(self.root) / "doctrees" / f"{page}.doctree").unlink(missing_ok=True)
        count = sum(bool(c.get("execution_count")) for c in notebook.cells)
        execution = Execution(page, key, round(seconds, 2), count, ran=True)
        known = self.read() | {page: {k: v for k, v in asdict(execution).items() if k != "ran"}}
        write_atomically(self.keys, json.dumps(known, indent=1, sort_keys=True) + "\n")
        return execution


def write_atomically(path: Path, text: str) -> None:
    """Write a file so that it is complete or not there."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(path.name + ".tmp")
    partial.write_text(text, encoding="utf-8")
    os.replace(partial, path)
