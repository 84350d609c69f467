"""A claim as its chapter states it, read without running the chapter."""

from __future__ import annotations

import ast
import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from coursekit.claims.course import listed_pages, package_folder
from coursekit.dependencies import (
    Statement,
    canonical,
    closure,
    code_cells,
    code_hash,
    data_names,
    module_files,
    source_files,
    statements,
)

Figures = dict[str, float]


class ClaimError(ValueError):
    """A claim is not stated as it must be."""


class ClaimFailed(AssertionError):
    """What was measured is not what the chapter says."""


@dataclass(frozen=True)
class Stated:
    """A claim as a chapter states it.

    Attributes:
        chapter: Name of the page.
        paper: Published figures.
        sources: Citation keys.
        contenders: The two figures that the condition must tell apart.
        unit: Unit of the figures.
        reproduced: Whether honest runs bear the claim out.
        reason: Why they do not.
        setting: What was measured.
        title: Title of the page.
        condition: Python source that defines ``holds``.
        program: Sources to run, in order, to measure the claim.
        code: Hash of the code that the experiment depends on.
    """

    chapter: str
    paper: dict[str, float | str]
    sources: tuple[str, ...]
    contenders: tuple[str, str]
    unit: str = ""
    reproduced: bool = True
    reason: str = ""
    setting: str = ""
    title: str = ""
    condition: str = field(default="", repr=False)
    program: tuple[str, ...] = field(default=(), repr=False)
    code: str = ""

    def check(self) -> None:
        """Refuse a claim that is not stated well."""
        if len(self.contenders) != 2 or self.contenders[0] == self.contenders[1]:
            raise ClaimError(f"contenders must be two different names, got {self.contenders!r}")
        if not self.paper:
            raise ClaimError("paper must name at least one published figure, got none")
        if not self.sources or not all(self.sources):
            raise ClaimError("source must be a citation key or several, got none")
        if not self.reproduced and not self.reason:
            raise ClaimError("reason must say why the claim is not reproduced, got ''")

    def holds(self, figures: Figures) -> bool:
        """Evaluate the condition.

        Args:
            figures: What was measured.

        Returns:
            Whether it is true.
        """
        return bool(self._condition(dict(figures)))

    @cached_property
    def _condition(self) -> Callable[[Figures], Any]:
        names: dict[str, Any] = {}
        exec(compile(self.condition, f"<holds of {self.chapter}>", "exec"), names)
        return names["holds"]


def read_claim(root: Path, chapter: str) -> Stated | None:
    """Read the claim that a chapter states, without running the chapter.

    Args:
        root: Folder of the course.
        chapter: Name of the page.

    Returns:
        The claim, or None if the page states none.

    Raises:
        ClaimError: The call cannot be read.
    """
    text = (root / "book" / f"{chapter}.md").read_text(encoding="utf-8")
    if "claim(" not in text:
        return None
    page = statements(code_cells(text))
    found = [(s, call) for s in page for call in _calls_of_claim(s.node)]
    if not found:
        return None
    if len(found) > 1:
        raise ClaimError(f"{chapter}: a chapter states one claim, found {len(found)} calls")
    statement, call = found[0]
    before = page[: page.index(statement)]
    arguments = _arguments(call)
    values = {
        name: _literal(chapter, name, arguments[name])
        for name in ("chapter", "paper", "source", "contenders", *_OPTIONAL)
        if name in arguments
    }
    if values["chapter"] != chapter:
        raise ClaimError(f"{chapter}: chapter must be {chapter!r}, got {values['chapter']!r}")
    source = values.pop("source")
    needed = closure(before, statement.uses)
    stated = Stated(
        **values,
        sources=(source,) if isinstance(source, str) else tuple(source),
        title=next((ln[2:].strip() for ln in text.splitlines() if ln.startswith("# ")), chapter),
        condition=_condition(before, arguments["holds"]),
        program=(*_sources(needed), ast.unparse(statement.node)),
        code=_experiment_hash(before, arguments["experiment"], root),
    )
    stated.check()
    return stated


_OPTIONAL = ("unit", "reproduced", "reason", "setting")


def _calls_of_claim(node: ast.AST) -> list[ast.Call]:
    return [
        call
        for call in ast.walk(node)
        if isinstance(call, ast.Call)
        and isinstance(call.func, ast.Name)
        and call.func.id == "claim"
    ]


def _arguments(call: ast.Call) -> dict[str, ast.expr]:
    named = dict(zip(("chapter", "experiment"), call.args, strict=False))
    named |= {keyword.arg: keyword.value for keyword in call.keywords if keyword.arg}
    missing = {"chapter", "experiment", "paper", "source", "holds", "contenders"} - set(named)
    if missing:
        raise ClaimError(f"claim needs {', '.join(sorted(missing))}, written in the call itself")
    return named


def _literal(chapter: str, name: str, node: ast.expr) -> Any:
    try:
        return ast.literal_eval(node)
    except ValueError as error:
        raise ClaimError(
            f"{chapter}: {name} must be written out in the call of claim, got {ast.unparse(node)}"
        ) from error


def _sources(needed: Sequence[Statement]) -> list[str]:
    return [ast.unparse(ast.fix_missing_locations(s.node)) for s in needed]


def _used(node: ast.expr) -> frozenset[str]:
    return statements([ast.unparse(node)])[0].uses


def _condition(before: Sequence[Statement], holds: ast.expr) -> str:
    lines = _sources(closure(before, _used(holds)))
    return "\n".join([*lines, f"holds = {ast.unparse(holds)}"])


def _experiment_hash(before: Sequence[Statement], experiment: ast.expr, root: Path) -> str:
    """Hash the statements, the files of coursekit and the data that an experiment needs."""
    needed = closure(before, _used(experiment))
    sources = _sources(needed)
    files, data = with_data(sources, package_folder(root))
    digest = hashlib.sha256()
    for node in [*(s.node for s in needed), experiment]:
        digest.update(canonical(node).encode() + b"\n")
    digest.update(code_hash(*files).encode())
    digest.update(json.dumps(data, sort_keys=True).encode())
    return digest.hexdigest()[:16]


def with_data(sources: Sequence[str], folder: Path) -> tuple[list[Path], dict[str, dict[str, str]]]:
    """Find the files of coursekit and the data sets that code needs.

    `coursekit.data.load` imports the loader of an entry by name, which reading the code cannot
    follow; the catalog tells which module it is. So a new data set changes no other hash.

    Args:
        sources: Cells, or statements of them.
        folder: The folder of the package.

    Returns:
        The files, those of the loaders included, and for each data set the SHA-256 of each file.
    """
    from coursekit.data.catalog import CATALOG

    files = source_files(sources, folder)
    names = data_names([*sources, *files], CATALOG)
    loaders = module_files((f"coursekit.data.{CATALOG[name].module}" for name in names), folder)
    return sorted({*files, *loaders}), {name: dict(CATALOG[name].files) for name in names}


def listed_claims(root: Path) -> list[Stated]:
    """Read the claims of all chapters in the table of contents.

    Args:
        root: Folder of the course.

    Returns:
        The claims, in the order of the book.
    """
    pages = [name for name in listed_pages(root) if (root / "book" / f"{name}.md").is_file()]
    return [stated for name in pages if (stated := read_claim(root, name))]


def current_code(root: Path, chapter: str) -> str:
    """Hash the code that a chapter's experiment depends on today.

    Args:
        root: Folder of the course.
        chapter: Name of the page.

    Returns:
        The hash, or "" if the chapter cannot be found.
    """
    if not (root / "book" / f"{chapter}.md").is_file():
        return ""
    stated = read_claim(root, chapter)
    return stated.code if stated else ""
