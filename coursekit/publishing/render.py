"""Sphinx on the executed book: ``python -m coursekit.publishing.render ROOT FOLDER``."""

from __future__ import annotations

import sys
from pathlib import Path


def render(root: Path, folder: Path) -> int:
    """Write the pages with warnings as errors.

    Args:
        root: Folder of the course.
        folder: Where pages, doctrees and the cache of outputs are.

    Returns:
        0 if Sphinx had nothing to complain about.
    """
    from jupyter_book.sphinx import build_sphinx

    result = build_sphinx(
        root / "book",
        folder / "html",
        noconfig=True,
        path_config=root / "book" / "_config.yml",
        confoverrides={
            "external_toc_path": (root / "book" / "_toc.yml").as_posix(),
            "latex_individualpages": False,
            "nb_execution_mode": "cache",
            "nb_execution_cache_path": str(folder / "cache"),
            "nb_execution_raise_on_error": True,
        },
        doctreedir=folder / "doctrees",
        builder="html",
        warningiserror=True,
        keep_going=True,
    )
    return 0 if result == 0 else 1


if __name__ == "__main__":
    sys.exit(render(Path(sys.argv[1]), Path(sys.argv[2])))
