"""What a piece of code depends on, found by reading it, without running it.

Two users share these functions: the executor of the book asks which files of coursekit a chapter
imports, and the ledger of claims asks which statements of a chapter an experiment needs. Both hash
syntax trees without docstrings, so that a change of comment, layout or docstring changes no hash.

What reading cannot see: a statement that changes an object through another name, such as
``fit(model)`` at the top of a cell. An experiment builds what it trains.
"""

from __future__ import annotations

import ast
import copy
import hashlib
import re
import symtable
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TypeVar

PACKAGE = "coursekit"
FOLDER = Path(__file__).parent

Import = tuple[str, str | None]
Found = TypeVar("Found")


# Cells of a chapter


def code_cells(text: str) -> list[str]:
    """Read the code cells of a MyST notebook with no other library.

    Args:
        text: The text of the chapter.

    Returns:
        The source of each ``{code-cell}`` that stands at the outermost level.
    """
    cells: list[str] = []
    fence, is_code = "", False
    body: list[str] = []
    for line in text.splitlines():
        opening = re.match(r" {0,3}(`{3,}|~{3,}|:{3,})(.*)", line)
        if not fence:
            if opening:
                fence, is_code, body = opening[1], opening[2].startswith("{code-cell}"), []
        elif opening and opening[1].startswith(fence) and not opening[2].strip():
            if is_code:
                cells.append(_without_options(body))
            fence = ""
        else:
            body.append(line)
    return cells


def _without_options(lines: list[str]) -> str:
    """Drop the options that open a cell (``:tags: […]`` or a block between ``---``)."""
    if lines and lines[0].startswith("---"):
        end = next((i for i, line in enumerate(lines[1:], 1) if line.startswith("---")), 0)
        lines = lines[end + 1 :]
    else:
        while lines and lines[0].lstrip().startswith(":"):
            lines = lines[1:]
    if lines and not lines[0].strip():
        lines = lines[1:]
    return "\n".join(lines)


def parse_cell(source: str) -> ast.Module:
    """Parse a cell; IPython's magics and shell lines count as absent."""
    lines = ["" if re.match(r"\s*[%!]", line) else line for line in source.splitlines()]
    return ast.parse("\n".join(lines))


# Modules of the package


def source_files(sources: Iterable[str], folder: Path = FOLDER) -> list[Path]:
    """Find the files of coursekit that some sources import, directly or through others.

    Args:
        sources: Python sources, for example the cells of a chapter.
        folder: The folder of the package.

    Returns:
        Files, sorted. A package whose ``__init__`` only passes names on is followed to the modules
        that define the names in question and is itself left out.
    """
    wanted = [found for source in sources for found in _imports(parse_cell(source), PACKAGE)]
    return _follow(wanted, folder)


def module_files(modules: Iterable[str], folder: Path = FOLDER) -> list[Path]:
    """Find the files of some modules and of all that they import.

    Args:
        modules: Dotted names, for example ``coursekit.networks.spatial_transformer``.
        folder: The folder of the package.

    Returns:
        Files, sorted.
    """
    return _follow([(module, None) for module in modules], folder)


def _follow(wanted: list[Import], folder: Path) -> list[Path]:
    files: set[Path] = set()
    seen: set[Import] = set()
    while wanted:
        module, name = wanted.pop()
        if (module, name) in seen:
            continue
        seen.add((module, name))
        path = _file(module, folder)
        if path is None:
            continue
        if "." in module:
            wanted.append((module.rpartition(".")[0], ""))
        if path.name == "__init__.py" and name is not None:
            found = _through_package(module, name, path, folder)
            if found is not None:
                wanted += found
                continue
        if path not in files:
            files.add(path)
            wanted += _imports_of(path, _home(module, path))
    return sorted(files)


def _through_package(module: str, name: str, path: Path, folder: Path) -> list[Import] | None:
    """Say where a package takes a name from; None means that its own code matters.

    The empty name stands for the mere import of the package.
    """
    tree = _tree(path)
    follow: list[Import] = [] if _passes_names_on(tree) else [(module, None)]
    if name == "":
        return follow
    if _file(f"{module}.{name}", folder):
        return [*follow, (f"{module}.{name}", None)]
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom):
            for alias in node.names:
                if (alias.asname or alias.name) == name:
                    origin = _absolute(node, _home(module, path))
                    return [*follow, (origin, alias.name)]
    return None


def _passes_names_on(tree: ast.Module) -> bool:
    """Whether a module holds only imports, ``__names__`` and a lazy ``__getattr__``."""
    return all(
        isinstance(node, ast.Import | ast.ImportFrom)
        or _is_docstring(node)
        or (isinstance(node, ast.If) and _for_type_checkers(node))
        or (isinstance(node, ast.FunctionDef) and node.name == "__getattr__")
        or (
            isinstance(node, ast.Assign)
            and all(isinstance(t, ast.Name) and t.id.startswith("__") for t in node.targets)
        )
        for node in tree.body
    )


def _imports(tree: ast.AST, home: str) -> Iterator[Import]:
    """Yield the imports of coursekit in a tree, those inside functions included."""
    if isinstance(tree, ast.If) and _for_type_checkers(tree):
        return
    if isinstance(tree, ast.Import):
        for alias in tree.names:
            if alias.name.split(".")[0] == PACKAGE:
                yield alias.name, None
    elif isinstance(tree, ast.ImportFrom):
        module = _absolute(tree, home)
        if module.split(".")[0] == PACKAGE:
            for alias in tree.names:
                yield module, None if alias.name == "*" else alias.name
    for child in ast.iter_child_nodes(tree):
        yield from _imports(child, home)


def _for_type_checkers(node: ast.If) -> bool:
    return "TYPE_CHECKING" in ast.unparse(node.test)


def _home(module: str, path: Path) -> str:
    """Name of the package that relative imports of a module start from."""
    return module if path.name == "__init__.py" else module.rpartition(".")[0]


def _absolute(node: ast.ImportFrom, home: str) -> str:
    if node.level == 0:
        return node.module or ""
    base = home.split(".")[: len(home.split(".")) - node.level + 1]
    return ".".join([*base, *filter(None, [node.module])])


def _file(module: str, folder: Path) -> Path | None:
    path = folder.joinpath(*module.split(".")[1:])
    candidates = (path / "__init__.py", path.with_suffix(".py"))
    return next((candidate for candidate in candidates if candidate.is_file()), None)


# Hashes


def code_hash(*sources: str | Path) -> str:
    """Hash code by its syntax tree, without comments, layout and docstrings.

    Args:
        sources: Python sources, or files that hold them.

    Returns:
        64 hexadecimal digits, the same on every supported version of Python.
    """
    digest = hashlib.sha256()
    for source in sources:
        text = canonical(parse_cell(source)) if isinstance(source, str) else _canonical_of(source)
        digest.update(text.encode() + b"\n")
    return digest.hexdigest()


def canonical(node: object) -> str:
    """Write a syntax tree as text; empty fields and docstrings are left out."""
    if isinstance(node, list):
        return "[" + ",".join(map(canonical, node)) + "]"
    if not isinstance(node, ast.AST):
        return repr(node)
    parts = []
    for field, value in ast.iter_fields(node):
        if field == "body" and isinstance(value, list):
            value = [child for child in value if not _is_docstring(child)]
        if value is None or value == [] or field in {"ctx", "kind", "type_comment"}:
            continue
        parts.append(f"{field}={canonical(value)}")
    return f"{type(node).__name__}({','.join(parts)})"


def _is_docstring(node: ast.AST) -> bool:
    """Whether a statement is a bare string, which does nothing wherever it stands."""
    return (
        isinstance(node, ast.Expr)
        and isinstance(node.value, ast.Constant)
        and isinstance(node.value.value, str)
    )


# What a file holds is found once, for the hundreds of hashes of a book, until the file changes.


def _until_changed(find: Callable[..., Found]) -> Callable[..., Found]:
    """Keep what a function of a file, and of more if it likes, returns."""
    kept = cache(lambda path, changed, size, *more: find(path, *more))

    def found(path: Path, *more: str) -> Found:
        stat = path.stat()
        return kept(path, stat.st_mtime_ns, stat.st_size, *more)

    return found


@_until_changed
def _tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), filename=str(path))


@_until_changed
def _canonical_of(path: Path) -> str:
    return canonical(_tree(path))


@_until_changed
def _imports_of(path: Path, home: str) -> tuple[Import, ...]:
    return tuple(_imports(_tree(path), home))


@_until_changed
def _loaded(path: Path) -> frozenset[object]:
    calls = (node for node in ast.walk(_tree(path)) if isinstance(node, ast.Call))
    return _constants(a for n in calls if ast.unparse(n.func).endswith("load") for a in n.args)


def _constants(nodes: Iterable[ast.expr]) -> frozenset[object]:
    return frozenset(node.value for node in nodes if isinstance(node, ast.Constant))


# Statements that a name needs


@dataclass(frozen=True)
class Statement:
    """A statement at the top of a cell.

    Attributes:
        cell: Index of the cell.
        node: Its syntax tree; an import of several names is split into several statements.
        binds: Names that it gives a value.
        uses: Names of the page that it reads, also inside functions.
        changes: Names whose object it changes by storing into it or calling one of its methods.
    """

    cell: int
    node: ast.stmt
    binds: frozenset[str]
    uses: frozenset[str]
    changes: frozenset[str]


def statements(cells: Sequence[str]) -> list[Statement]:
    """Split cells into statements with the names that each binds, uses and changes.

    Args:
        cells: Sources of the cells, in order.

    Returns:
        The statements, in order.
    """
    found = []
    for index, source in enumerate(cells):
        for node in parse_cell(source).body:
            for part in _one_name_each(node):
                binds, uses = _names(part)
                changes = frozenset(_changes(part)) - binds
                found.append(Statement(index, part, binds, uses, changes))
    return found


def closure(page: Sequence[Statement], names: Iterable[str]) -> list[Statement]:
    """Choose the statements that some names depend on.

    Args:
        page: The statements of the page, in order.
        names: Names to start from.

    Returns:
        Statements that bind those names, or what these in turn use, or that change them.
    """
    needed = set(names)
    objects = {
        name for s in page if not isinstance(s.node, _DEFINITIONS) for name in s.binds
    }  # what a statement may change: not modules, functions and classes
    kept: set[int] = set()
    before = -1
    while before != len(kept):
        before = len(kept)
        for index, statement in enumerate(page):
            if statement.binds & needed or statement.changes & needed & objects:
                kept.add(index)
                needed |= statement.uses
    return [page[index] for index in sorted(kept)]


_DEFINITIONS = (ast.Import, ast.ImportFrom, ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)


def _one_name_each(node: ast.stmt) -> list[ast.stmt]:
    """Split ``from room import a, b``, so that only the names in use count."""
    if isinstance(node, ast.ImportFrom):
        return [ast.ImportFrom(node.module, [alias], node.level) for alias in node.names]
    if isinstance(node, ast.Import):
        return [ast.Import([alias]) for alias in node.names]
    return [node]


class _OwnScopes(ast.NodeTransformer):
    """Turn comprehensions into generators, whose variables are their own in every version.

    Python 3.12 began to count the variables of the others among those of the code around them.
    """

    def visit_ListComp(self, node: ast.ListComp) -> ast.AST:
        return self.generic_visit(ast.GeneratorExp(node.elt, node.generators))

    def visit_SetComp(self, node: ast.SetComp) -> ast.AST:
        return self.generic_visit(ast.GeneratorExp(node.elt, node.generators))

    def visit_DictComp(self, node: ast.DictComp) -> ast.AST:
        pair = ast.Tuple([node.key, node.value], ast.Load())
        return self.generic_visit(ast.GeneratorExp(pair, node.generators))


def _names(node: ast.stmt) -> tuple[frozenset[str], frozenset[str]]:
    scoped = _OwnScopes().visit(copy.deepcopy(node))
    table = symtable.symtable(ast.unparse(scoped), "<cell>", "exec")
    symbols = table.get_symbols()
    binds = {s.get_name() for s in symbols if s.is_assigned() or s.is_imported()}
    uses = {s.get_name() for s in symbols if s.is_referenced()}
    inner = list(table.get_children())
    while inner:
        table = inner.pop()
        inner += table.get_children()
        uses |= {s.get_name() for s in table.get_symbols() if s.is_global() and s.is_referenced()}
    return frozenset(binds), frozenset(uses)


def _changes(node: ast.AST) -> Iterator[str]:
    """Yield names of objects that a statement stores into or calls a method of, for its effect."""
    if isinstance(node, _DEFINITIONS):
        return
    targets: list[ast.expr] = []
    if isinstance(node, ast.Assign | ast.Delete):
        targets = list(node.targets)
    elif isinstance(node, ast.AugAssign | ast.AnnAssign):
        targets = [node.target]
    elif isinstance(node, ast.Expr) and isinstance(node.value, ast.Call):
        targets = [node.value.func]
    for target in targets:
        root: ast.expr = target
        while isinstance(root, ast.Attribute | ast.Subscript | ast.Call):
            root = root.func if isinstance(root, ast.Call) else root.value
        if root is not target and isinstance(root, ast.Name):
            yield root.id
    for child in ast.iter_child_nodes(node):
        yield from _changes(child)


# Data


def data_names(sources: Iterable[str | Path], known: Iterable[str]) -> list[str]:
    """Find the data sets that code loads.

    Args:
        sources: Cells, where every string equal to a name counts, and files of the package, where
            only ``load("name")`` counts.
        known: Names of the catalog.

    Returns:
        The names, sorted.
    """
    found: set[object] = set()
    for source in sources:
        if isinstance(source, Path):
            found |= _loaded(source)
        else:
            found |= _constants(n for n in ast.walk(parse_cell(source)) if isinstance(n, ast.expr))
    return sorted(name for name in known if name in found)
