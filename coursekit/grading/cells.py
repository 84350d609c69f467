"""What the text of a cell binds and uses, and which uses of a learner's names a check may make."""

from __future__ import annotations

import ast
import builtins
import symtable
from collections.abc import Iterator

from coursekit.grading.notebook import Exercise, grade_id

# What may stand around a learner's name, and after check.make(…): `coursekit.grading.recipes`.
RECIPES = {"make", "take", "through"}
RECIPE_METHODS = {"attribute", "double", "gradients", "method", "state_dict"}


def called_check(statement: ast.stmt) -> str:
    """Return the name of the helper when a statement is ``check.helper(…)``, else nothing."""
    call = statement.value if isinstance(statement, ast.Expr) else None
    function = call.func if isinstance(call, ast.Call) else None
    if isinstance(function, ast.Attribute) and isinstance(function.value, ast.Name):
        return function.attr if function.value.id == "check" else ""
    return ""


def touches(exercise: Exercise, place: str, tree: ast.Module) -> Iterator[str]:
    """Find uses of a learner's names other than as the first argument of a check.

    In official grading those names are proxies of another process; only ``check.*`` handles them,
    by themselves or in the forms of ``coursekit.grading.recipes``.
    """
    theirs = {name for task in exercise.tasks for name in defined(exercise.source(task.answer))}
    local = {
        node.name if isinstance(node, ast.FunctionDef) else node.arg
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef | ast.arg)
    }
    allowed = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Expr) and called_check(node) and node.value.args:  # type: ignore[attr-defined]
            allowed.add(id(_subject(node.value.args[0])))  # type: ignore[attr-defined]
    used = {
        node.id
        for node in ast.walk(tree)
        if isinstance(node, ast.Name) and node.id in theirs - local and id(node) not in allowed
    }
    for name in sorted(used):
        yield (
            f"{place}: {name} is the learner's: give it to check.* as first argument, by itself or "
            "in check.make, check.take or check.through, and use a reference of your own elsewhere"
        )
    yield from _drivers(exercise, place, tree)


def _subject(node: ast.expr) -> ast.expr | None:
    """Return what stands at the bottom of a recipe: the first argument of its first call."""
    while isinstance(node, ast.Call):
        recipe = node.func
        if not isinstance(recipe, ast.Attribute):
            return None
        if _is_check(recipe) and recipe.attr in RECIPES and node.args:
            node = node.args[0]
        elif isinstance(recipe.value, ast.Call) and recipe.attr in RECIPE_METHODS:
            node = recipe.value
        else:
            return None
    return node


def _is_check(attribute: ast.Attribute) -> bool:
    return isinstance(attribute.value, ast.Name) and attribute.value.id == "check"


def _drivers(exercise: Exercise, place: str, tree: ast.Module) -> Iterator[str]:
    """Find drivers of ``check.through`` that cannot run among the names of the setup cell alone."""
    setup = parsed(_setup(exercise)) or ast.Module([], [])
    given = defined(_setup(exercise)) | set(dir(builtins))
    written = {
        node.name: node for node in [*setup.body, *tree.body] if isinstance(node, ast.FunctionDef)
    }
    for node in ast.walk(tree):
        function = node.func if isinstance(node, ast.Call) else None
        if not isinstance(function, ast.Attribute) or not _is_check(function):
            continue
        if function.attr != "through":
            continue
        named = [*node.args[1:2], *(k.value for k in node.keywords if k.arg == "driver")]  # type: ignore[attr-defined]
        driver = named[0] if named else None
        if not isinstance(driver, ast.Name) or driver.id not in written:
            yield f"{place}: write the driver of check.through with def, in this cell or in setup"
            continue
        unknown = _globals(written[driver.id]) - given - {driver.id}
        for name in sorted(unknown):
            yield (
                f"{place}: {driver.id} runs in the learner's process, where {name} is not known: "
                "import or define it inside of the driver, or in the setup cell"
            )


def _setup(exercise: Exercise) -> str:
    return "\n".join(c.source for c in exercise.notebook.cells if grade_id(c) == "setup")


def _globals(function: ast.FunctionDef) -> set[str]:
    """Return the names that a function takes from outside of it, annotations included."""
    whole = symtable.symtable(ast.unparse(function), "driver", "exec")

    def below(table: symtable.SymbolTable) -> set[str]:
        own = {symbol.get_name() for symbol in table.get_symbols() if symbol.is_global()}
        return own.union(*map(below, table.get_children()))

    around = {symbol.get_name() for symbol in whole.get_symbols() if symbol.is_referenced()}
    return around.union(*map(below, whole.get_children()))


def defined(source: str) -> set[str]:
    """Return the names that a cell's text binds at its top level; empty when it does not parse."""
    tree = parsed(source)
    names: set[str] = set()
    for statement in tree.body if tree else []:
        if isinstance(statement, ast.FunctionDef | ast.ClassDef | ast.AsyncFunctionDef):
            names.add(statement.name)
            continue
        for node in ast.walk(statement):
            if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
                names.add(node.id)
            elif isinstance(node, ast.alias):
                names.add((node.asname or node.name).split(".")[0])
    return names


def inputs_of(source: str) -> dict[str, tuple[str, ...]]:
    """Return the positional parameters of each function that a cell defines."""
    return {
        found.name: tuple(each.arg for each in (*found.args.posonlyargs, *found.args.args))
        for found in ast.parse(source).body
        if isinstance(found, ast.FunctionDef)
    }


def used(source: str) -> set[str]:
    """Return the names that a cell's text reads and does not bind anywhere in it."""
    tree = parsed(source)
    nodes = list(ast.walk(tree)) if tree else []
    names = [node for node in nodes if isinstance(node, ast.Name)]
    bound = {node.id for node in names if not isinstance(node.ctx, ast.Load)}
    bound |= {node.arg for node in nodes if isinstance(node, ast.arg)}
    return {node.id for node in names} - bound - defined(source)


def parsed(source: str) -> ast.Module | None:
    """Return a cell's text taken apart; None when it is no plain Python."""
    try:
        return ast.parse(source)
    except (SyntaxError, ValueError, RecursionError):
        return None
