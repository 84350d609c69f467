"""The layout that every solution notebook keeps, so that grading can rely on it.

:func:`validate` looks at text and metadata only; what a check is worth is proved by running it, in
:mod:`coursekit.grading.verify`. Each finding is one line that names the notebook, the cell and the
cure.
"""

from __future__ import annotations

import ast
import re
from collections import Counter
from collections.abc import Iterator
from itertools import pairwise

from coursekit.grading.cells import called_check, defined, parsed, touches, used
from coursekit.grading.lean import nbformat
from coursekit.grading.notebook import (
    BEGIN_HIDDEN,
    BEGIN_SOLUTION,
    END_HIDDEN,
    END_SOLUTION,
    HEADING,
    Exercise,
    Task,
    exercise_name,
    grade_id,
    nbgrader_of,
    region_lines,
    role,
    split_regions,
    where,
)

__all__ = ["defined", "used", "validate"]

REQUIRED_KEYS = {"schema_version", "grade", "locked", "solution"}
ALLOWED_KEYS = REQUIRED_KEYS | {"task", "grade_id", "points", "checksum", "cell_type"}
GRADE_ID = re.compile(r"[a-zA-Z0-9_\-]+")
ADDRESS = re.compile(r"\bat 0x[0-9a-f]{6,}")


def validate(exercise: Exercise) -> list[str]:
    """Hold a solution notebook against the layout.

    Args:
        exercise: The notebook, taken apart.

    Returns:
        One line for each thing to mend; empty when all is well.
    """
    findings = [*_whole(exercise), *_metadata(exercise), *_outputs(exercise)]
    for number, task in enumerate(exercise.tasks, 1):
        findings += _text(exercise, task, number)
        findings += _answer(exercise, task)
        findings += _public(exercise, task)
        findings += _hidden(exercise, task)
        findings += _variants(exercise, task)
    findings += _order(exercise)
    return findings


def _whole(exercise: Exercise) -> Iterator[str]:
    name, notebook = exercise.name, exercise.notebook
    try:
        nbformat.validate(notebook, relax_add_props=False)
    except nbformat.ValidationError as error:
        yield f"{name}: not valid nbformat: {str(error).splitlines()[0]}: save it from JupyterLab"
    if exercise_name(notebook) != name:
        yield f'{name}: set the notebook\'s metadata.coursekit to {{"exercise": "{name}"}}'
    points = sum(task.points for task in exercise.tasks)
    minutes = sum(task.minutes for task in exercise.tasks)
    for what, value, low, high in (
        ("tasks", len(exercise.tasks), 4, 8),
        ("points", points, 20, 40),
        ("minutes", minutes, 60, 90),
    ):
        if not low <= value <= high:
            yield f"{name}: {value:g} {what}, expected {low} to {high}: change the tasks"
    setup = [cell for cell in notebook.cells if grade_id(cell) == "setup"]
    if len(setup) != 1 or role(setup[0]) != "locked":
        yield f'{name}: write one locked code cell with grade_id "setup" that holds the imports'
    elif setup[0].source.rstrip().splitlines()[-1:] != [f'check.exercise("{name}")']:
        yield f'{name}: end the setup cell by check.exercise("{name}")'


def _metadata(exercise: Exercise) -> Iterator[str]:
    cells = exercise.notebook.cells
    seen = Counter(grade_id(cell) for cell in cells if grade_id(cell))
    for position, cell in enumerate(cells):
        place, marks = where(exercise.name, position, cell), nbgrader_of(cell)
        if not marks:
            continue
        if marks.get("schema_version") != 3:
            yield f"{place}: set nbgrader's schema_version to 3"
        if missing := sorted(REQUIRED_KEYS - set(marks)):
            yield f"{place}: add {', '.join(missing)} to nbgrader's metadata"
        if foreign := sorted(set(marks) - ALLOWED_KEYS):
            yield f"{place}: move {', '.join(foreign)} out of nbgrader's metadata"
        if not GRADE_ID.fullmatch(grade_id(cell)):
            yield f"{place}: grade_id {grade_id(cell)!r} may hold letters, digits, _ and - only"
        if seen[grade_id(cell)] > 1:
            yield f"{place}: grade_id {grade_id(cell)!r} stands {seen[grade_id(cell)]} times"
        if cell.cell_type != "code":
            yield f"{place}: only code cells are graded: remove nbgrader's metadata"
        if marks.get("grade") and (not marks.get("locked") or marks.get("solution")):
            yield f"{place}: a check cell is locked: true and solution: false"
        if not marks.get("grade") and "points" in marks:
            yield f"{place}: only check cells have points: remove them"
    checks = {x for task in exercise.tasks for x in (f"{task.id}-public", f"{task.id}-hidden")}
    for position, cell in enumerate(cells):
        if role(cell) in ("public", "hidden") and grade_id(cell) not in checks:
            yield (
                f"{where(exercise.name, position, cell)}: it belongs to no task: name it "
                "TASK-public or TASK-hidden"
            )
        if role(cell) == "raw":
            yield (
                f"{where(exercise.name, position, cell)}: a raw cell needs metadata.coursekit with "
                "role mistake or alternative"
            )


def _outputs(exercise: Exercise) -> Iterator[str]:
    code = [(i, c) for i, c in enumerate(exercise.notebook.cells) if c.cell_type == "code"]
    ignored = 0
    for position, cell in code:
        place = where(exercise.name, position, cell)
        for output in cell.outputs:
            if output.output_type == "error":
                yield f"{place}: its stored output is an error: mend the cell, store outputs again"
            if output.output_type == "stream" and output.name == "stderr":
                yield f"{place}: it writes to stderr: silence the cause, store outputs again"
            if ADDRESS.search(str(output)):
                yield f"{place}: its stored output holds a memory address, which changes each run"
        if role(cell) in ("public", "hidden") and not cell.outputs:
            yield f"{place}: no stored output: run coursekit release --store-outputs"
        tags = [tag for tag in cell.metadata.get("tags", []) if tag.startswith("nbval")]
        marked = re.findall(r"#\s*(?:NBVAL|PYTEST_VALIDATE)_\w+", cell.source)
        if marked or set(tags) - {"nbval-ignore-output"}:
            yield f"{place}: only the tag nbval-ignore-output is allowed, not {(marked or tags)[0]}"
        if tags and "check." in cell.source:
            yield f"{place}: a cell with checks must be compared: remove {tags[0]}"
        ignored += bool(tags)
    if ignored * 10 > len(code):
        yield (
            f"{exercise.name}: {ignored} of {len(code)} code cells are tagged nbval-ignore-output, "
            "at most one in ten may be: print what is stable"
        )


def _text(exercise: Exercise, task: Task, number: int) -> Iterator[str]:
    place = f"{where(exercise.name, task.text, exercise.notebook.cells[task.text])}"
    text = exercise.source(task.text)
    heading = HEADING.search(text)
    if heading and int(heading[1]) != number:
        yield f"{place}: the heading says Task {heading[1]}, but it is Task {number}"
    points = exercise.points(task.public) + exercise.points(task.hidden)
    if points != task.points:
        yield f"{place}: the heading says {task.points:g} points, its checks give {points:g}"
    for hint in (1, 2):
        if not re.search(rf"<details>\s*<summary>Hint {hint}\b", text):
            yield f"{place}: add <details><summary>Hint {hint}</summary>…</details>"
    if text.count("<details") != text.count("</details>"):
        yield f"{place}: a <details> is not closed"


def _answer(exercise: Exercise, task: Task) -> Iterator[str]:
    place = where(exercise.name, task.answer, exercise.notebook.cells[task.answer])
    source = exercise.source(task.answer)
    if problem := _unbalanced(source, BEGIN_SOLUTION, END_SOLUTION):
        yield f"{place}: {problem}"
        return
    tree = parsed(source)
    if tree is None:
        yield f"{place}: it is no plain Python (magics do not count as such)"
        return
    functions = [node for node in tree.body if isinstance(node, ast.FunctionDef)]
    regions = _region_rows(source)
    for first, last in regions:
        if not any(f.lineno < first and last <= (f.end_lineno or 0) + 1 for f in functions):
            yield f"{place}: put ### BEGIN SOLUTION … ### END SOLUTION inside of a function"
    for function in functions:
        if not any(function.lineno < first <= (function.end_lineno or 0) for first, _ in regions):
            continue
        arguments = [*function.args.posonlyargs, *function.args.args, *function.args.kwonlyargs]
        if not ast.get_docstring(function):
            yield f"{place}: give {function.name} a docstring with shapes and an example"
        if function.returns is None or any(a.annotation is None for a in arguments):
            yield f"{place}: annotate every argument and the result of {function.name}"


def _region_rows(source: str) -> list[tuple[int, int]]:
    """Return first and last line number, counted from 1, of each solution region."""
    rows, first = [], 0
    for number, line in enumerate(source.splitlines(), 1):
        if line.strip() == BEGIN_SOLUTION:
            first = number
        elif line.strip() == END_SOLUTION:
            rows.append((first, number))
    return rows


def _unbalanced(source: str, begin: str, end: str) -> str:
    marks = [line.strip() for line in source.splitlines() if line.strip() in (begin, end)]
    if not marks:
        return f"mark what is removed by {begin} and {end}"
    if marks != [begin, end] * (len(marks) // 2):
        return f"{begin} and {end} must alternate, each on a line of its own"
    if not any(line.strip() for line in region_lines(source, begin, end)):
        return f"nothing stands between {begin} and {end}"
    return ""


def _public(exercise: Exercise, task: Task) -> Iterator[str]:
    place = where(exercise.name, task.public, exercise.notebook.cells[task.public])
    source = exercise.source(task.public)
    tree = parsed(source)
    if tree is None:
        yield f"{place}: it is no plain Python"
        return
    if any(called_check(statement) == "" for statement in tree.body):
        yield f"{place}: only statements check.…(…) may stand in a public check"
    if "HIDDEN TESTS" in source:
        yield f"{place}: hidden tests belong into {task.id}-hidden"
    yield from _frame(exercise, task, task.public, tree.body, hidden=False)
    yield from touches(exercise, place, tree)


def _hidden(exercise: Exercise, task: Task) -> Iterator[str]:
    place = where(exercise.name, task.hidden, exercise.notebook.cells[task.hidden])
    source = exercise.source(task.hidden)
    if problem := _unbalanced(source, BEGIN_HIDDEN, END_HIDDEN):
        yield f"{place}: {problem}"
        return
    tree = parsed(source)
    if tree is None:
        yield f"{place}: it is no plain Python"
        return
    parts = list(split_regions(source, BEGIN_HIDDEN, END_HIDDEN))
    outside = parsed("\n".join(line for inside, lines in parts if not inside for line in lines))
    statements = outside.body if outside else []
    if len(statements) != 2:
        yield f"{place}: only check.task and check.points may stand outside of the hidden block"
    yield from _frame(exercise, task, task.hidden, statements, hidden=True)
    yield from touches(exercise, place, tree)
    if any(isinstance(node, ast.Assert) for node in ast.walk(tree)):
        yield f"{place}: a bare assert explains nothing: use check.…"


def _frame(
    exercise: Exercise, task: Task, position: int, body: list[ast.stmt], *, hidden: bool
) -> Iterator[str]:
    """Check that a cell opens by check.task, with its own name and points, and ends in points."""
    place = where(exercise.name, position, exercise.notebook.cells[position])
    if not body or called_check(body[0]) != "task":
        yield f'{place}: begin by check.task("{task.id}", points=…)'
        return
    if called_check(body[-1]) != "points":
        yield f"{place}: end by check.points()"
    call = body[0].value  # type: ignore[attr-defined]
    given = {keyword.arg: keyword.value for keyword in call.keywords}
    given |= dict(zip(("name", "points", "hidden"), call.args, strict=False))
    values = {key: node.value for key, node in given.items() if isinstance(node, ast.Constant)}
    if values.get("name") != task.id:
        yield f'{place}: check.task names {values.get("name", "nothing")!r}, expected "{task.id}"'
    if values.get("points") != exercise.points(position):
        yield (
            f"{place}: check.task gives {values.get('points')!r} points, the metadata "
            f"{exercise.points(position):g}: make them equal"
        )
    if values.get("hidden", False) is not hidden:
        yield f"{place}: check.task needs hidden={hidden}"


def _variants(exercise: Exercise, task: Task) -> Iterator[str]:
    place = f"{exercise.name}, task {task.id}"
    if len(task.mistakes) < 2:
        yield f"{place}: {len(task.mistakes)} known mistakes, at least 2 are needed"
    if not task.alternatives:
        yield f"{place}: add an alternative right answer"
    explained = Counter(mistake.explanation for mistake in task.mistakes)
    wanted = defined(exercise.source(task.answer))
    for variant in [*task.mistakes, *task.alternatives]:
        if not variant.explanation.strip():
            yield f"{place}, {variant.id}: add an explanation to metadata.coursekit"
        elif explained[variant.explanation] > 1:
            yield f"{place}, {variant.id}: its explanation stands at another mistake too"
        if missing := sorted(wanted - defined(variant.source)):
            yield f"{place}, {variant.id}: it does not define {', '.join(missing)}"


def _order(exercise: Exercise) -> Iterator[str]:
    for task, following in pairwise(exercise.tasks):
        if following.text < task.hidden:
            yield (
                f"{exercise.name}, task {task.id}: its checks must stand before the heading of "
                f"{following.id}"
            )
