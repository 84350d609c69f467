"""A small course in a folder of its own: two chapters, a page of prose and a copy of coursekit."""

import shutil
from pathlib import Path

import pytest

import coursekit

CONFIG = """title: Sample
author: Tests
only_build_toc_files: true
execute:
  execute_notebooks: cache
sphinx:
  config:
    extensions: [myst_nb, jupyter_book, sphinx_comments, sphinx_external_toc, sphinx_book_theme]
    mathjax_path: mathjax/tex-svg-full.js
    html_context: {default_mode: auto}
    language: en
"""
HEADER = """---
jupytext:
  text_representation: {format_name: myst}
kernelspec: {name: python3, display_name: Python 3}
---
"""


@pytest.fixture
def header() -> str:
    return HEADER


class Course:
    """The sample course; `page` writes a page, `ran` counts executions of chapters."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.book = root / "book"
        self.pages: list[str] = []
        source = Path(coursekit.__file__).parent
        shutil.copytree(
            source, root / "coursekit", ignore=shutil.ignore_patterns("files", "__pycache__")
        )
        (root / "coursekit" / "toy.py").write_text("def value():\n    return 41\n")
        (root / "constraints.txt").write_text("torch==2\n")
        self.book.mkdir()
        (self.book / "_config.yml").write_text(CONFIG)
        (self.book / "index.md").write_text("# Welcome\n\nFormula $x^2$.\n")
        self.contents()

    def contents(self) -> None:
        listed = "".join(f"- file: {page}\n" for page in self.pages)
        chapters = f"chapters:\n{listed}" if listed else ""
        (self.book / "_toc.yml").write_text(f"format: jb-book\nroot: index\n{chapters}")

    def page(self, name: str, *cells: str, header: str = HEADER, prose: str = "Text.") -> Path:
        path = self.book / f"{name}.md"
        path.parent.mkdir(parents=True, exist_ok=True)
        log = self.root / "ran.log"
        log.touch()
        noted = [
            f"open({str(log)!r}, 'a').write({name!r} + chr(10));\n{cell}"
            if number == 0 and cell
            else cell
            for number, cell in enumerate(cells)
        ]
        blocks = "".join(f"\n```{{code-cell}}\n{cell}\n```\n" for cell in noted)
        path.write_text(f"{header}# Page {name}\n\n{prose}\n{blocks}")
        if name not in self.pages:
            self.pages.append(name)
            self.contents()
        return path

    def ran(self) -> list[str]:
        return (self.root / "ran.log").read_text().split()

    def html(self, name: str) -> str:
        return (self.root / "build" / "book" / "html" / f"{name}.html").read_text()


@pytest.fixture
def course(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Course:
    monkeypatch.setenv("PYDEVD_DISABLE_FILE_VALIDATION", "1")
    return Course(tmp_path / "course")
