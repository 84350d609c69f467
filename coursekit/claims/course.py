"""Where the pages of a course are, and which of them the book lists."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import coursekit

ROOT_VARIABLE = "COURSEKIT_ROOT"


def find_root() -> Path | None:
    """Find the folder of the course: the one that holds ``book/_toc.yml``.

    Returns:
        The folder named by COURSEKIT_ROOT, else the clone that coursekit is imported from, else a
        folder above the working directory; None if there is none.
    """
    here = Path.cwd()
    candidates = [Path(coursekit.__file__).parents[1], here, *here.parents]
    named = os.environ.get(ROOT_VARIABLE)
    if named:
        candidates.insert(0, Path(named))
    return next((path for path in candidates if (path / "book" / "_toc.yml").is_file()), None)


def package_folder(root: Path) -> Path:
    """Find the folder of coursekit that the pages of a course import.

    Args:
        root: Folder of the course.

    Returns:
        The one in `root` if there is one, else the installed one.
    """
    inside = root / "coursekit"
    return inside if (inside / "__init__.py").is_file() else Path(coursekit.__file__).parent


def listed_pages(root: Path) -> list[str]:
    """List the pages in the book's table of contents.

    Args:
        root: Folder of the course.

    Returns:
        Names such as ``"7-speech/03-ctc"``, in order.
    """
    import yaml

    def walk(node: Any) -> list[str]:
        if isinstance(node, list):
            return [name for child in node for name in walk(child)]
        if not isinstance(node, dict):
            return []
        own = [node[key] for key in ("root", "file") if key in node]
        return own + [name for child in node.values() for name in walk(child)]

    contents = yaml.safe_load((root / "book" / "_toc.yml").read_text(encoding="utf-8"))
    return [str(name).removesuffix(".md").removesuffix(".ipynb") for name in walk(contents)]
