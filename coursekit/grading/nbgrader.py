"""Write a course folder for nbgrader 0.9: what ``coursekit release --format nbgrader`` does.

Solutions carry nbgrader's metadata and markers already, and their check cells end in a number,
which nbgrader takes as partial credit. So a source notebook is the solution without its raw cells
(known mistakes and alternatives, which nbgrader would hand to learners) and without outputs.

Under nbgrader checks run in the learner's own kernel: coursekit must be installed there, and an
answer can reach the checks. The README of the folder says both. Honest submissions score as under
``coursekit grade``. Three differences remain: nbgrader puts back deleted check cells only, so that
a deleted setup cell costs all points; it runs cells of the learner's own; and the explanation of a
known mistake is shown only for exercises that the installed coursekit knows.
"""

from __future__ import annotations

from copy import deepcopy
from pathlib import Path

from nbformat.v4 import new_markdown_cell, new_notebook

from coursekit.errors import UserError
from coursekit.grading.layout import validate
from coursekit.grading.lean import NotebookNode
from coursekit.grading.notebook import (
    Exercise,
    assignment_name,
    notebook_text,
    read_exercise,
    solution_paths,
    write_text,
)
from coursekit.grading.release import STUB

CELL_SECONDS = 60

HEADER = """\
*Fill in the cells that raise `NotImplementedError` and leave every other cell as it is. Run the
notebook from the top: the cell below an answer says what is right and what is not. Hidden tests
decide further points when the assignment is graded.*"""

CONFIG = """\
# Written by `coursekit release --format nbgrader`; a later release leaves your changes alone.
c = get_config()

c.CourseDirectory.course_id = {course!r}

# What learners find in place of an answer: the checks know this exception as "not answered".
c.ClearSolutions.code_stub = {{"python": {stub!r}}}
c.IncludeHeaderFooter.header = "source/header.ipynb"

# Seconds that one cell may take.
c.Execute.timeout = {seconds}

# A check cell that a learner deleted is put back and run.
c.OverwriteCells.add_missing_cells = True
"""

README = """\
# Assignments for nbgrader

Written by `coursekit release --format nbgrader` from the course's solutions, for nbgrader 0.9.
`source/` holds answers and hidden tests: keep this folder from learners.

Checks are calls of the package coursekit. It must be installed, in the version of this release,
wherever a notebook runs: where you validate and autograde, and in your learners' kernels.

In this folder:

    nbgrader generate_assignment {example}
    nbgrader validate source/{example}/*.ipynb
    nbgrader autograde {example}
    nbgrader export

Collected work goes into `submitted/LEARNER/ASSIGNMENT/`. A check cell ends in the points earned,
which nbgrader records as partial credit; `coursekit grade` gives an honest submission the same.

nbgrader runs the answer and the checks in one process, so an answer written to deceive can give
itself every point, read the hidden tests, or write into the gradebook. Where that matters, run

    coursekit grade submitted --out grades --solutions SOLUTIONS

which keeps the two apart and writes `grades/nbgrader.csv` with the columns of `nbgrader export`.

| assignment | exercise | points |
|---|---|---|
{rows}
"""


def source_notebook(exercise: Exercise) -> NotebookNode:
    """Return a solution as nbgrader's source: no raw cell and no output is left."""
    notebook = deepcopy(exercise.notebook)
    notebook.cells = [cell for cell in notebook.cells if cell.cell_type != "raw"]
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
    return notebook


def export(
    root: Path, folder: Path, names: list[str] | None = None, force: bool = False
) -> list[Path]:
    """Write a course folder for nbgrader.

    Args:
        root: The folder of the course.
        folder: Where to write; made when it does not exist. Other files in it are left alone, and
            so is an ``nbgrader_config.py`` that stands there already.
        names: Exercises such as "1-basics/01-logistic-neuron"; all by default.
        force: Replace source notebooks that differ from what is to be written.

    Returns:
        The files that changed.

    Raises:
        UserError: When a solution does not keep the layout, `folder` cannot be written, or a source
            notebook differs and `force` is not set; then nothing at all is written.
    """
    exercises = [_ready(path) for path in solution_paths(Path(root), names)]
    if not exercises:
        raise UserError(f"{root}/solutions holds no notebook: change to the folder of the course")
    source = Path(folder) / "source"
    notebooks = {
        source / assignment_name(x.name) / f"{x.path.stem}.ipynb": notebook_text(source_notebook(x))
        for x in exercises
    }
    edited = [str(path) for path, text in notebooks.items() if _differs(path, text)]
    if edited and not force:
        raise UserError(
            f"{', '.join(edited)}: the solution or this copy was changed since the last release: "
            "save what you wrote there, and give --force to replace it"
        )
    files = {**notebooks, source / "header.ipynb": notebook_text(_header())}
    files[Path(folder) / "README.md"] = _readme(exercises)
    if not (config := Path(folder) / "nbgrader_config.py").exists():
        files[config] = CONFIG.format(
            course=Path(folder).resolve().name, stub=STUB, seconds=CELL_SECONDS
        )
    return [path for path, text in files.items() if write_text(path, text)]


def _ready(path: Path) -> Exercise:
    exercise = read_exercise(path)
    if findings := validate(exercise):
        raise UserError(f"{findings[0]} (run coursekit verify {exercise.name} for all of it)")
    return exercise


def _differs(path: Path, text: str) -> bool:
    return path.exists() and path.read_text(encoding="utf-8") != text


def _header() -> NotebookNode:
    notebook = new_notebook(cells=[new_markdown_cell(HEADER, id="header")])
    notebook.nbformat_minor = 5
    return notebook


def _readme(exercises: list[Exercise]) -> str:
    rows = [
        f"| {assignment_name(x.name)} | {x.name} | {sum(task.points for task in x.tasks):g} |"
        for x in exercises
    ]
    return README.format(example=assignment_name(exercises[0].name), rows="\n".join(rows))
