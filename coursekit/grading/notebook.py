"""Exercise notebooks: read, write, take apart into tasks, and hold against the layout.

A notebook in ``solutions/`` is the only source of an exercise. Its code cells carry nbgrader's
metadata, version 3; ``grade_id`` names a task and never changes::

    markdown   ## Task 2 · Title · 10 min · medium · 5 points, and two collapsed hints
    code       TASK          answer, with ### BEGIN SOLUTION … ### END SOLUTION
    code       TASK-public   check.task(…), checks that the learner sees, check.points()
    code       TASK-hidden   the same with ### BEGIN HIDDEN TESTS … ### END HIDDEN TESTS
    raw        mistakes and alternatives: another text for the answer cell

Nothing here executes a cell.
"""

from __future__ import annotations

import json
import os
import re
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from coursekit.errors import UserError
from coursekit.grading.lean import NotebookNode, nbformat

SIZE_LIMIT = 20 * 2**20
OLD_SIZE_LIMIT = 2 * 2**20  # converting an old notebook takes long
MOST_CELLS = 100_000
MOST_MARKS = 50
CELL_TYPES = ("code", "markdown", "raw")
NAME = re.compile(r"[a-z0-9][a-z0-9-]*/[a-z0-9][a-z0-9-]*")
HEADING = re.compile(
    r"^#{1,3} Task (\d+) · (.+?) · (\d+) min · (easy|medium|hard) · (\d+) points?[ ]*$", re.M
)
BEGIN_SOLUTION, END_SOLUTION = "### BEGIN SOLUTION", "### END SOLUTION"
BEGIN_HIDDEN, END_HIDDEN = "### BEGIN HIDDEN TESTS", "### END HIDDEN TESTS"


class LayoutError(UserError):
    """A notebook whose cells do not form tasks; ``findings`` holds one line for each reason."""

    def __init__(self, findings: list[str]):
        self.findings = findings
        super().__init__("; ".join(findings))


@dataclass(frozen=True)
class Variant:
    """Another text for an answer cell: a known mistake, or an alternative right answer."""

    id: str
    source: str
    explanation: str


@dataclass
class Task:
    """One task: what its heading says, the places of its cells, and its variants."""

    id: str
    title: str
    minutes: int
    difficulty: str
    points: float
    text: int
    answer: int
    public: int
    hidden: int
    mistakes: list[Variant] = field(default_factory=list)
    alternatives: list[Variant] = field(default_factory=list)


@dataclass
class Exercise:
    """A solution notebook, taken apart. Task cells are positions in ``notebook.cells``."""

    name: str
    path: Path
    notebook: NotebookNode
    tasks: list[Task]

    def source(self, position: int) -> str:
        """Return the text of the cell at a position."""
        return str(self.notebook.cells[position].source)

    def points(self, position: int) -> float:
        """Return the points that a check cell's metadata give."""
        return float(nbgrader_of(self.notebook.cells[position])["points"])


def nbgrader_of(cell: NotebookNode) -> dict[str, Any]:
    """Return nbgrader's metadata of a cell; empty where there are none or they are no mapping."""
    found = cell.metadata.get("nbgrader", {})
    return found if isinstance(found, dict) else {}


def grade_id(cell: NotebookNode) -> str:
    """Return the grade_id of a cell, or an empty string."""
    return str(nbgrader_of(cell).get("grade_id", ""))


def role(cell: NotebookNode) -> str:
    """Return what a cell is.

    Returns:
        "text", "answer", "public", "hidden", "locked", "mistake", "alternative", "raw", or "shown"
        for a code cell without a role of its own, such as one that draws a figure.
    """
    if cell.cell_type == "markdown":
        return "text"
    if cell.cell_type == "raw":
        ours = cell.metadata.get("coursekit", {})
        kind = ours.get("role") if isinstance(ours, dict) else None
        return kind if kind in ("mistake", "alternative") else "raw"
    marks = nbgrader_of(cell)
    if marks.get("grade"):
        return "hidden" if grade_id(cell).endswith("-hidden") else "public"
    if marks.get("solution"):
        return "answer"
    return "locked" if marks.get("locked") else "shown"


def read_notebook(path: Path | str, *, bare: bool = False) -> NotebookNode:
    """Read a notebook of any nbformat version since 3.

    Args:
        path: The file.
        bare: Leave out what grading does not read; see `parse_notebook`.

    Raises:
        UserError: When the file is missing, unreadable, too large or no notebook; one line.
    """
    path = Path(path)
    return parse_notebook(_read_bytes(path), path, bare=bare)


def parse_notebook(content: bytes, path: Path | str, *, bare: bool = False) -> NotebookNode:
    """Read a notebook from what its file holds.

    Args:
        content: The bytes.
        path: What the file is called in messages.
        bare: Keep of each cell only its kind, text and marks, as official grading does: outputs
            and other metadata may be many millions of pieces.

    Raises:
        UserError: When it is no notebook; one line.
    """
    text = _decoded(content, path)
    try:
        data = json.loads(text)
    except (ValueError, RecursionError) as error:
        what = "is empty" if not text.strip() else f"is no valid JSON ({_first_line(error)})"
        raise UserError(
            f"{path} {what}, so it is no notebook or was cut short: restore it from a backup or "
            "from version control, or copy the exercise afresh"
        ) from error
    if not isinstance(data, dict) or not isinstance(data.get("nbformat"), int):
        raise UserError(
            f"{path} is JSON but no Jupyter notebook (it has no format number): give the .ipynb "
            "file of an exercise"
        )
    try:
        return _to_version_4(_bared(data, len(content)) if bare else data)
    except (_Malformed, RecursionError) as error:
        reason = _first_line(error)
        raise UserError(
            f"{path} is no notebook that Jupyter could open ({reason}): save it again from "
            "JupyterLab, or copy the exercise afresh"
        ) from error


def _decoded(content: bytes, path: Path | str) -> str:
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise UserError(
            f"{path} is not UTF-8 text (byte {error.start}), so it is no notebook: open it in "
            "JupyterLab and save it again, or copy the exercise afresh"
        ) from error


def _read_bytes(path: Path) -> bytes:
    try:
        if path.is_dir():
            raise UserError(f"{path} is a folder: give the .ipynb file of an exercise in it")
        size = path.stat().st_size
        if size > SIZE_LIMIT:
            raise UserError(
                f"{path} has {size / 2**20:.0f} MB, more than the 20 MB that are read: clear its "
                "outputs (Edit, Clear Outputs of All Cells), save, and try again"
            )
        return path.read_bytes()
    except FileNotFoundError as error:
        raise UserError(
            f"{path} does not exist: check the path; exercises lie in exercises/PART/NAME.ipynb"
        ) from error
    except PermissionError as error:
        raise UserError(
            f"{path} may not be read: give yourself permission (chmod u+r), or copy it to a folder "
            "of yours"
        ) from error
    except OSError as error:
        raise UserError(f"{path} cannot be read ({error.strerror}): copy it elsewhere") from error


class _Malformed(Exception):
    """What makes a JSON document no notebook."""


def _bared(data: dict[str, Any], size: int) -> dict[str, Any]:
    """Leave out of a stranger's notebook all that grading does not read.

    Raises:
        _Malformed: When it has too many cells, or is old and large.
    """
    if data["nbformat"] < 4 and size > OLD_SIZE_LIMIT:
        raise _Malformed(f"nbformat {data['nbformat']} with more than {OLD_SIZE_LIMIT >> 20} MB")
    cells = data.get("cells")
    if data["nbformat"] < 4 or not isinstance(cells, list):
        return data
    if len(cells) > MOST_CELLS:
        raise _Malformed(f"it has {len(cells):,} cells, more than {MOST_CELLS:,}")
    about = {"metadata": _marks(data.get("metadata")), "nbformat": data["nbformat"]}
    return about | {"cells": [_bare_cell(cell) if isinstance(cell, dict) else 0 for cell in cells]}


def _bare_cell(cell: dict[str, Any]) -> dict[str, Any]:
    kept = {key: cell[key] for key in ("cell_type", "source", "id") if key in cell}
    return kept | {"metadata": _marks(cell.get("metadata", {}))}


def _marks(metadata: Any) -> Any:
    """Keep the marks of nbgrader and of the course, their plain values alone."""
    if not isinstance(metadata, dict):
        return metadata if metadata is None or isinstance(metadata, str | int | float) else 0
    found = {key: metadata[key] for key in ("nbgrader", "coursekit") if key in metadata}
    return {
        key: {k: v for k, v in marks.items() if isinstance(v, str | int | float)}
        for key, marks in found.items()
        if isinstance(marks, dict) and len(marks) <= MOST_MARKS
    }


def _to_version_4(data: dict[str, Any]) -> NotebookNode:
    """Make a notebook of JSON, tolerating what editors leave out, such as ids and metadata."""
    if data["nbformat"] > 4:
        raise _Malformed(f"nbformat {data['nbformat']} is newer than 4")
    if data["nbformat"] < 4:
        try:
            data = nbformat.convert(nbformat.reader.reads(json.dumps(data)), 4)
        except Exception as error:
            raise _Malformed(_first_line(error)) from error
    notebook = nbformat.from_dict(data)
    if not isinstance(notebook.get("cells"), list):
        raise _Malformed("it has no list of cells")
    if not isinstance(notebook.setdefault("metadata", NotebookNode()), NotebookNode):
        raise _Malformed("its metadata are no mapping")
    for number, cell in enumerate(notebook.cells, 1):
        if not isinstance(cell, NotebookNode) or cell.get("cell_type") not in CELL_TYPES:
            raise _Malformed(f"cell {number} is neither code nor text")
        lines = cell.setdefault("source", "")
        lines = lines if isinstance(lines, list) else [lines]
        if not all(isinstance(line, str) for line in lines):
            raise _Malformed(f"the text of cell {number} is no text")
        cell.source = "".join(lines)
        if not isinstance(cell.setdefault("metadata", NotebookNode()), NotebookNode):
            raise _Malformed(f"the metadata of cell {number} are no mapping")
        if cell.cell_type == "code":
            cell.setdefault("execution_count", None)
            if not isinstance(cell.setdefault("outputs", []), list):
                raise _Malformed(f"the outputs of cell {number} are no list")
    try:
        return nbformat.v4.rwbase.rejoin_lines(notebook)
    except Exception as error:
        raise _Malformed(f"an output has no form that is known ({_first_line(error)})") from error


def _first_line(error: BaseException) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0][:200]


def notebook_text(notebook: NotebookNode) -> str:
    """Return the one text that stands for a notebook: sorted keys, indent 1, final newline."""
    return nbformat.v4.writes(notebook, sort_keys=True, indent=1).rstrip("\n") + "\n"


def json_text(data: Any) -> str:
    """Return JSON as the course stores it: sorted keys, indent 1, final newline."""
    return json.dumps(data, sort_keys=True, indent=1, ensure_ascii=False) + "\n"


def write_text(path: Path, text: str) -> bool:
    """Write a file whole or not at all; a file that already says so is left alone.

    Returns:
        Whether the file changed.

    Raises:
        UserError: When the folder cannot be written.
    """
    if path.is_file() and path.read_bytes() == text.encode("utf-8"):
        return False
    write_pieces(path, [text])
    return True


def write_pieces(path: Path, pieces: Iterable[str], *, durable: bool = True) -> None:
    """Write a file piece by piece, whole or not at all, so that it need not fit into memory.

    Args:
        path: The file; its folder is made if it is missing.
        pieces: What it holds.
        durable: Force it to the disk, which takes 5 ms.

    Raises:
        UserError: When the folder cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, scratch = tempfile.mkstemp(dir=path.parent, prefix=".", suffix=".part")
        try:
            with os.fdopen(handle, "w", encoding="utf-8", newline="") as file:
                file.writelines(pieces)
                file.flush()
                if durable:
                    os.fsync(file.fileno())
            os.chmod(scratch, 0o644)
            os.replace(scratch, path)
        except BaseException:
            Path(scratch).unlink(missing_ok=True)
            raise
    except OSError as error:
        raise UserError(
            f"{path} cannot be written ({error.strerror}): make its folder writable for you, or "
            "name another one"
        ) from error


def exercise_name(notebook: NotebookNode) -> str:
    """Return the exercise that a notebook says it is, "part/name", or an empty string."""
    ours = notebook.metadata.get("coursekit", {})
    name = ours.get("exercise") if isinstance(ours, dict) else None
    return name if isinstance(name, str) and NAME.fullmatch(name) else ""


def assignment_name(exercise: str) -> str:
    """Return the assignment that an exercise, "part/name", becomes in nbgrader: "part-name"."""
    return exercise.replace("/", "-")


def solution_paths(root: Path, names: list[str] | None = None) -> list[Path]:
    """Return the solution notebooks of a course, sorted; all of them, or those named.

    Raises:
        UserError: When a name has no solution.
    """
    if not names:
        return sorted((Path(root) / "solutions").glob("*/*.ipynb"))
    paths = [Path(root) / "solutions" / f"{name}.ipynb" for name in names]
    for name, path in zip(names, paths, strict=True):
        if not path.is_file():
            known = ", ".join(_name_from(p) for p in solution_paths(root)) or "none yet"
            raise UserError(f"no exercise is called {name}: choose from {known}")
    return paths


def _name_from(path: Path) -> str:
    return f"{path.parent.name}/{path.stem}"


def read_exercise(path: Path | str) -> Exercise:
    """Read a solution notebook and take it apart into tasks.

    Raises:
        UserError: When the file is no notebook.
        LayoutError: When cells are missing, double or in another order than the layout asks.
    """
    path = Path(path)
    return exercise_from(read_notebook(path), _name_from(path), path)


def exercise_from(notebook: NotebookNode, name: str, path: Path = Path()) -> Exercise:
    """Take a solution notebook that was read already apart into tasks.

    Args:
        notebook: The solution.
        name: The exercise, "part/name".
        path: Where it lies, if anywhere.

    Raises:
        LayoutError: When cells are missing, double or in another order than the layout asks.
    """
    return Exercise(name, path, notebook, _tasks(notebook, name))


def _tasks(notebook: NotebookNode, name: str) -> list[Task]:
    """Group cells into tasks; every group must be heading, answer, public, hidden, variants."""
    findings: list[str] = []
    tasks: list[Task] = []
    by_id = {grade_id(cell): i for i, cell in enumerate(notebook.cells) if grade_id(cell)}
    for position, cell in enumerate(notebook.cells):
        if role(cell) != "answer":
            continue
        task, text = grade_id(cell), _text_above(notebook, position)
        heading = HEADING.search(notebook.cells[text].source) if text is not None else None
        public, hidden = by_id.get(f"{task}-public"), by_id.get(f"{task}-hidden")
        place = where(name, position, cell)
        if heading is None:
            findings.append(
                f'{place}: no heading stands above it: write "## Task 1 · Title · 10 min · medium '
                '· 5 points" in the text cell before the answer'
            )
        if public is None or hidden is None or not position < public < hidden:
            findings.append(
                f"{place}: its checks are missing or misplaced: put {task}-public and then "
                f"{task}-hidden after the answer"
            )
        if heading and text is not None and public is not None and hidden is not None:
            _, title, minutes, difficulty, points = heading.groups()
            label = (task, title, int(minutes), difficulty, int(points))
            tasks.append(Task(*label, text, position, public, hidden))
    findings += _attach_variants(notebook, name, tasks) if not findings else []
    if not tasks and not findings:
        findings.append(f"{name}: it has no answer cell: mark one by nbgrader's solution: true")
    if findings:
        raise LayoutError(findings)
    return tasks


def _text_above(notebook: NotebookNode, position: int) -> int | None:
    """Return the nearest cell above with a task heading, up to the previous answer."""
    for above in range(position - 1, -1, -1):
        if role(notebook.cells[above]) in ("answer", "public", "hidden"):
            return None
        if notebook.cells[above].cell_type == "markdown" and HEADING.search(
            notebook.cells[above].source
        ):
            return above
    return None


def _attach_variants(notebook: NotebookNode, name: str, tasks: list[Task]) -> list[str]:
    findings = []
    by_id = {task.id: task for task in tasks}
    for position, cell in enumerate(notebook.cells):
        kind = role(cell)
        if kind not in ("mistake", "alternative"):
            continue
        ours = cell.metadata["coursekit"]
        task = by_id.get(ours.get("task"))
        if task is None:
            findings.append(
                f"{where(name, position, cell)}: its task {ours.get('task')!r} does not exist: "
                f"name one of {', '.join(by_id)}"
            )
            continue
        siblings = task.mistakes if kind == "mistake" else task.alternatives
        number = f"{task.id}-{kind}-{len(siblings) + 1}"
        siblings.append(Variant(number, cell.source, str(ours.get("explanation", ""))))
    return findings


def where(name: str, position: int, cell: NotebookNode) -> str:
    """Return how findings name a cell."""
    label = grade_id(cell) or cell.get("id", "")
    return f"{name}, cell {position + 1}" + (f" ({label})" if label else "")


def split_regions(source: str, begin: str, end: str) -> Iterator[tuple[bool, list[str]]]:
    """Split a cell's text into lines outside and inside of marked regions, markers left out.

    Yields:
        Pairs (inside, lines), in order; a region that is not closed ends with the text.
    """
    inside = False
    lines: list[str] = []
    for line in source.splitlines():
        if line.strip() == (end if inside else begin):
            yield inside, lines
            inside, lines = not inside, []
        else:
            lines.append(line)
    yield inside, lines


def region_lines(source: str, begin: str, end: str) -> list[str]:
    """Return the lines inside of marked regions."""
    return [x for inside, lines in split_regions(source, begin, end) if inside for x in lines]


def without_regions(source: str, begin: str, end: str, instead: str) -> str:
    """Return a cell's text with every marked region replaced by one line, indented as its marker.

    Args:
        source: The text of a cell.
        begin: The line that opens a region, without indentation.
        end: The line that closes it.
        instead: What stands in its place.
    """
    kept: list[str] = []
    inside = False
    for line in source.splitlines():
        if not inside and line.strip() == begin:
            inside = True
            kept.append(line[: len(line) - len(line.lstrip())] + instead)
        elif inside and line.strip() == end:
            inside = False
        elif not inside:
            kept.append(line)
    return "\n".join(kept)
