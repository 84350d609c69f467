"""Run a learner's notebook and report, task by task, what its public checks say.

The notebook runs in a Jupyter kernel, the learner's own cells included. Cells that a learner may
not change come from the released exercise, so that a deleted or edited check is run as it was. A
task whose answer is missing, double, fails, loops or ends the kernel earns nothing and says why;
from then on the exercise's empty answer stands in its place, and the other tasks are scored.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from coursekit.errors import UserError
from coursekit.grading.kernel import Kernel
from coursekit.grading.lean import NotebookNode
from coursekit.grading.notebook import NAME, exercise_name, read_notebook
from coursekit.grading.plan import key_of, make_plan
from coursekit.grading.runner import Result, Runner

KNOWN = Path(__file__).parent / "known"


@dataclass
class Row:
    """The result of one task.

    Attributes:
        task: Its id.
        title: What its heading says.
        earned: Points of its public checks.
        points: What they are worth.
        status: "passed", "partly", "failed", "not answered" or "error".
        messages: What its checks said, or the reason for 0 points.
        explanation: What is said about the known mistake that the answer equals, or nothing.
    """

    task: str
    title: str
    earned: float
    points: float
    status: str
    messages: list[str] = field(default_factory=list)
    explanation: str = ""

    def as_dict(self) -> dict[str, str]:
        """Return the columns of the table."""
        return {
            "task": self.title,
            "public_points": f"{round(self.earned, 2):g} of {self.points:g}",
            "result": self.status,
        }


@dataclass
class Report:
    """What a run of a notebook showed.

    Attributes:
        name: The exercise.
        rows: One for each task, in order.
        hidden: Points that are decided when the exercise is graded.
        notes: What else the learner should know.
    """

    name: str
    rows: list[Row]
    hidden: float
    notes: list[str] = field(default_factory=list)

    @property
    def earned(self) -> float:
        """Public points earned."""
        return sum(row.earned for row in self.rows)

    @property
    def points(self) -> float:
        """Public points that can be earned."""
        return sum(row.points for row in self.rows)

    @property
    def exit_code(self) -> int:
        """0 when all public checks passed, else 1."""
        return 0 if all(row.status == "passed" for row in self.rows) else 1

    def lines(self) -> list[str]:
        """Return what to print below the table: what failed, notes, and the sum."""
        lines = []
        for row in self.rows:
            failed = [message for message in row.messages if not message.startswith("passed")]
            if row.status in ("passed", "not answered") or not failed:
                continue
            lines += [f"{row.title} ({row.task})", *_indented(failed)]
            if row.explanation:
                lines += _indented([row.explanation])
            lines.append("")
        lines += [f"Note: {note}" for note in self.notes]
        verdict = "Public checks passed" if self.exit_code == 0 else "Public checks"
        lines.append(f"{verdict}: {round(self.earned, 2):g} of {self.points:g} points.")
        if self.hidden:
            lines.append(
                f"Hidden tests decide {self.hidden:g} more points when the exercise is graded."
            )
        return lines


def _indented(texts: list[str]) -> list[str]:
    return [f"  {line}" for text in texts for line in text.splitlines()]


def load_known(name: str, folder: Path = KNOWN) -> dict[str, Any]:
    """Return what the release of an exercise recorded; empty when there is none."""
    path = folder / f"{name}.json"
    if not NAME.fullmatch(name) or not path.is_file():
        return {}
    return dict(json.loads(path.read_text(encoding="utf-8")))


def known_exercise(path: Path, notebook: NotebookNode, folder: Path = KNOWN) -> dict[str, Any]:
    """Return what was recorded about the exercise that a notebook is a copy of.

    Raises:
        UserError: When the notebook is no exercise of the course.
    """
    name = exercise_name(notebook) or f"{path.resolve().parent.name}/{path.stem}"
    known = load_known(name, folder)
    ids = {cell["id"] for cell in known.get("cells", []) if cell["role"] == "answer"}
    if not ids & {key_of(cell) for cell in notebook.cells}:
        raise UserError(
            f"{path} is no exercise of the course: give a notebook from exercises/ (an exercise "
            "that is newer than this installation needs an update of the course)"
        )
    return known


def check_notebook(path: Path | str, timeout: float = 60, known: Path = KNOWN) -> Report:
    """Run a learner's notebook, or a solution, and score its public checks.

    Args:
        path: The notebook; it is only read.
        timeout: Seconds that one cell may take.
        known: The folder with what releases recorded.

    Returns:
        The report.

    Raises:
        UserError: When the file cannot be read or is no exercise of the course.
    """
    path = Path(path)
    notebook = read_notebook(path)
    exercise = known_exercise(path, notebook, known)
    plan = make_plan(notebook, exercise)
    with Runner(plan, exercise, Kernel(path.resolve().parent), timeout) as runner:
        results = [runner.check(step) for step in runner.checks()]
        runner.finish()
    notes = [*plan.notes, *runner.notes, *plan.borrowed]
    hidden = sum(task["hidden"]["points"] for task in exercise["tasks"].values())
    return Report(exercise["exercise"], [_row(exercise, r) for r in results], hidden, notes)


def _row(known: dict[str, Any], result: Result) -> Row:
    title = known["tasks"][result.task]["title"]
    return Row(
        result.task,
        title,
        result.earned,
        result.points,
        result.status,
        result.messages,
        result.explanation,
    )
