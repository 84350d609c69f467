"""Build solution notebooks of the course's layout from tasks that are written as dictionaries.

A task has the keys "id", "answer", "public" and "hidden" (the text between `check.task` and
`check.points`), "mistakes" (tuples that begin with the text and its explanation) and "alternative".
"""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from typing import Any

import nbformat
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_raw_cell

PUBLIC_POINTS, HIDDEN_POINTS, MINUTES = 2, 3, 15


def marks(grade_id: str, **given: Any) -> dict[str, Any]:
    """Return a cell's metadata for nbgrader."""
    usual = {"grade": False, "locked": False, "solution": False, "schema_version": 3}
    return {"nbgrader": {**usual, "grade_id": grade_id, **given}}


def text_of(source: str) -> str:
    """Return the text of a cell that stands indented in a module."""
    return textwrap.dedent(source).strip()


def code_cell(grade_id: str, source: str, **given: Any) -> nbformat.NotebookNode:
    """Return a code cell that nbgrader knows."""
    return new_code_cell(text_of(source), id=grade_id, metadata=marks(grade_id, **given))


def task_cells(number: int, task: dict) -> list[nbformat.NotebookNode]:
    """Return the cells of a task: text, answer, public checks, hidden checks, variants."""
    name, points = task["id"], PUBLIC_POINTS + HIDDEN_POINTS
    text = (
        f"## Task {number} · The {name} · {MINUTES} min · easy · {points} points\n\n"
        f"Write `{name}`.\n\n"
        "<details><summary>Hint 1</summary>Look at the docstring.</details>\n"
        "<details><summary>Hint 2</summary>NumPy has it.</details>"
    )
    public, hidden = text_of(task["public"]), text_of(task["hidden"])
    opening = f'check.task("{name}", points={HIDDEN_POINTS}, hidden=True)\n### BEGIN HIDDEN TESTS'
    cells = [
        new_markdown_cell(text, id=f"{name}-text"),
        code_cell(name, task["answer"], solution=True),
        code_cell(
            f"{name}-public",
            f'check.task("{name}", points={PUBLIC_POINTS})\n{public}\ncheck.points()',
            grade=True, locked=True, points=PUBLIC_POINTS,
        ),
        code_cell(
            f"{name}-hidden",
            f"{opening}\n{hidden}\n### END HIDDEN TESTS\ncheck.points()",
            grade=True, locked=True, points=HIDDEN_POINTS,
        ),
    ]  # fmt: skip
    variants = [("mistake", *mistake[:2]) for mistake in task["mistakes"]]
    variants.append(("alternative", task["alternative"], "written another way"))
    for index, (role, source, explanation) in enumerate(variants, 1):
        ours = {"role": role, "task": name, "explanation": explanation}
        cells.append(
            new_raw_cell(text_of(source), id=f"{name}-raw-{index}", metadata={"coursekit": ours})
        )
    return cells


def solution_notebook(
    name: str, title: str, setup: str, tasks: Sequence[dict], before: str = "", after: str = ""
) -> nbformat.NotebookNode:
    """Return a solution whose code cells hold an output, though not the one of their text.

    Args:
        name: The exercise, "part/name".
        title: The heading of the notebook.
        setup: The text of the setup cell.
        tasks: As in the module's docstring.
        before: A shown cell after the setup, if any.
        after: A shown cell at the end, if any.
    """
    cells = [new_markdown_cell(f"# {title}", id="title"), code_cell("setup", setup, locked=True)]
    cells += [new_code_cell(before, id="look")] if before else []
    for number, task in enumerate(tasks, 1):
        cells += task_cells(number, task)
    cells += [new_code_cell(after, id="try-it")] if after else []
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    notebook = new_notebook(
        cells=cells,
        metadata={
            "coursekit": {"exercise": name},
            "kernelspec": kernel,
            "language_info": {"name": "python"},
        },
    )
    notebook.nbformat_minor = 5
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.outputs = [nbformat.v4.new_output("stream", name="stdout", text="stored\n")]
    return notebook
