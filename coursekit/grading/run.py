"""Run a learner's notebook and report, task by task, what its public checks say.

The notebook runs in a Jupyter kernel, the learner's own cells included. Cells that a learner may
not change come from the released exercise, so that a deleted or edited check is run as it was. A
task whose answer is missing, double, fails, loops or ends the kernel earns nothing and says why;
from then on the exercise's empty answer stands in its place, and the other tasks are scored.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from nbformat import NotebookNode

from coursekit.errors import UserError
from coursekit.grading.kernel import START_SECONDS, Kernel, Ran
from coursekit.grading.layout import defined, used
from coursekit.grading.messages import MIME
from coursekit.grading.notebook import NAME, exercise_name, grade_id, read_notebook

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
    if not ids & {_key(cell) for cell in notebook.cells}:
        raise UserError(
            f"{path} is no exercise of the course: give a notebook from exercises/ (an exercise "
            "that is newer than this installation needs an update of the course)"
        )
    return known


def _key(cell: NotebookNode) -> str:
    """Return the name by which a learner's cell is recognized: grade_id, or its own id."""
    return grade_id(cell) or str(cell.get("id", ""))


@dataclass
class Step:
    """A cell to run: "own" of the learner, or "shown", "locked", "answer" or "public"."""

    role: str
    id: str
    source: str
    task: str = ""
    skip: bool = False


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
    with Kernel(path.resolve().parent) as kernel:
        return _Run(notebook, exercise, kernel, timeout).report()


class _Run:
    """One run of a notebook."""

    def __init__(self, notebook: NotebookNode, known: dict, kernel: Kernel, timeout: float):
        self.known, self.kernel, self.timeout = known, kernel, timeout
        self.stubs = {c["id"]: c["source"] for c in known["cells"] if c["role"] == "answer"}
        self.notes: list[str] = []
        self.rows = {
            task: Row(task, known["tasks"][task]["title"], 0.0, _points(known, task), "failed")
            for task in known["order"]
        }
        self.broken: set[str] = set()
        self.steps = self._plan(notebook)

    def report(self) -> Report:
        """Run every cell once and return the report."""
        self._prepare()
        for position, step in enumerate(self.steps):
            if step.skip or (step.role == "public" and step.task in self.broken):
                continue
            ran = self.kernel.run(step.source, self._limit(step))
            self._judge(step, ran)
            if not self.kernel.alive:
                self._replay(position)
        self.notes += _borrowed(self.steps)
        hidden = sum(task["hidden"]["points"] for task in self.known["tasks"].values())
        return Report(self.known["exercise"], list(self.rows.values()), hidden, self.notes)

    def _limit(self, step: Step) -> float:
        return max(self.timeout, START_SECONDS) if step.role == "locked" else self.timeout

    def _plan(self, notebook: NotebookNode) -> list[Step]:
        """Order the cells as released; own cells keep their place after the cell above them."""
        released = {cell["id"]: cell for cell in self.known["cells"]}
        theirs: dict[str, list[str]] = {}
        own: dict[str, list[Step]] = {}
        above = ""
        for number, cell in enumerate(notebook.cells, 1):
            if cell.cell_type != "code":
                continue
            key = _key(cell)
            recorded = released.get(key)
            changed = recorded is None or not _alike(cell.source, recorded["source"])
            if recorded is None or (recorded["role"] == "shown" and changed):
                own.setdefault(above, []).append(Step("own", f"cell {number}", cell.source))
            else:
                theirs.setdefault(key, []).append(cell.source)
                above = key
        steps = own.get("", [])
        for cell in self.known["cells"]:
            steps += self._released_step(cell, theirs.get(cell["id"], []))
            steps += own.get(cell["id"], [])
        return steps

    def _released_step(self, cell: dict[str, str], found: list[str]) -> list[Step]:
        role, name = cell["role"], cell["id"]
        if role == "hidden" or (role == "shown" and not found):
            return []
        if role == "answer":
            if len(found) == 1:
                if _alike(found[0], cell["source"]):
                    self.rows[name].status = "not answered"
                return [Step(role, name, found[0], task=name)]
            reason = (
                f"its answer cell stands {len(found)} times: keep one"
                if found
                else "its answer cell is missing: copy it from the exercise as released"
            )
            self._fail(name, reason)
            return [Step(role, name, cell["source"], task=name)]
        if role != "shown" and not any(_alike(source, cell["source"]) for source in found):
            how = "edited" if found else "deleted"
            self.notes.append(f"cell {name} was {how}: it ran as released")
        return [Step(role, name, cell["source"], task=name.removesuffix("-public"))]

    def _prepare(self) -> None:
        """Tell the checks in a new kernel which mistakes are known."""
        mistakes = json.dumps(json.dumps({"tasks": self.known["tasks"]}))
        program = (
            "import json\nfrom coursekit.grading import check\n"
            f"check.session.known = json.loads({mistakes})\ndel check, json"
        )
        ran = self.kernel.run(program, START_SECONDS)
        if ran.status != "ok":
            raise UserError(
                f"the checks cannot be loaded ({_said(ran)}): run coursekit doctor to see what the "
                "installation lacks"
            )

    def _judge(self, step: Step, ran: Ran) -> None:
        if step.role == "locked" and ran.status != "ok":
            raise UserError(
                f"cell {step.id} of the exercise does not run ({_said(ran)}): run coursekit doctor "
                "to see what the installation lacks"
            )
        if step.role == "public" and ran.status == "ok":
            _score(self.rows[step.task], ran)
        elif ran.status == "ok" or (step.role == "shown" and ran.error == "NotImplementedError"):
            return
        elif step.role in ("own", "shown"):
            self.notes.append(f"{step.id} is not graded, but {_said(ran)}")
            step.skip = ran.status != "error"
        elif step.role == "answer":
            self._fail(step.task, f"the answer cell: {_said(ran)}")
            self._empty(step.task)
        else:
            self._fail(step.task, _hint(ran, step.task))
            if ran.status != "error":
                self._empty(step.task)

    def _fail(self, task: str, reason: str) -> None:
        row = self.rows[task]
        row.earned, row.status, row.messages = 0.0, "error", [reason]
        self.broken.add(task)

    def _empty(self, task: str) -> None:
        """Put the exercise's empty answer in the place of one that does not run."""
        for step in self.steps:
            if step.role == "answer" and step.task == task:
                step.source = self.stubs[task]
        if self.kernel.alive:
            self.kernel.run(self.stubs[task], self.timeout)

    def _replay(self, position: int) -> None:
        """Restart the kernel and run the cells up to a position again, checks left out.

        Each restart follows a cell that has since been emptied or skipped, so that it ends.
        """
        for _ in range(len(self.steps) + 1):
            self.kernel.start()
            self._prepare()
            for step in self.steps[: position + 1]:
                if step.skip or step.role == "public":
                    continue
                ran = self.kernel.run(step.source, self._limit(step))
                if ran.status in ("time limit", "died"):
                    self._judge(step, ran)
                if not self.kernel.alive:
                    break
            else:
                return
        raise UserError("the kernel dies whatever is left out: run coursekit doctor")


def _points(known: dict[str, Any], task: str) -> float:
    return float(known["tasks"][task]["public"]["points"])


def _alike(one: str, other: str) -> bool:
    """Whether two cells hold the same text, trailing white space aside."""
    texts = [
        "\n".join(line.rstrip() for line in text.strip().splitlines()) for text in (one, other)
    ]
    return texts[0] == texts[1]


def _score(row: Row, ran: Ran) -> None:
    """Read a task's result from what its check cell displayed."""
    messages = [data for data in ran.displays if isinstance(data.get(MIME), dict)]
    for data in messages:
        message = data[MIME]
        if message.get("kind") == "points" and message.get("task") == row.task:
            row.earned = float(message.get("earned", 0))
        elif message.get("kind") == "mistake":
            row.explanation = str(data.get("text/plain", ""))
        else:
            row.messages.append(str(data.get("text/plain", "")))
    if row.earned >= row.points:
        row.status = "passed"
    elif row.status != "not answered":
        row.status = "partly" if row.earned else "failed"


def _said(ran: Ran) -> str:
    """Say what happened to a cell that did not run through."""
    if ran.status == "time limit":
        return f"{ran.text} and was stopped (an endless loop?)"
    if ran.status == "died":
        return "it ended the kernel (os._exit, exit of the interpreter, or out of memory?)"
    text = re.sub(
        r" ?\([^()]*, line \d+\)$", "", ran.text.strip().splitlines()[0] if ran.text else ""
    )
    line = f" (line {ran.line})" if ran.line else ""
    return f"it raises {ran.error}: {text}{line}" if text else f"it raises {ran.error}{line}"


def _hint(ran: Ran, task: str) -> str:
    found = (
        re.search(r"name '(\w+)' is not defined", ran.text) if ran.error == "NameError" else None
    )
    if found:
        return f"{found[1]} is not defined: the answer cell {task} must define it"
    return f"while its checks ran: {_said(ran)}"


def _borrowed(steps: list[Step]) -> list[str]:
    """Note names that an answer takes from a cell of the learner's own, which is never graded."""
    own: dict[str, str] = {}
    for step in steps:
        if step.role == "own":
            own |= dict.fromkeys(defined(step.source), step.id)
    shared = {name for step in steps if step.role != "own" for name in defined(step.source)}
    notes = []
    for step in steps:
        if step.role == "answer":
            for name in sorted(used(step.source) & set(own) - shared):
                notes.append(
                    f"only answer cells are graded: move {name} from {own[name]} into the answer "
                    f"cell {step.id}"
                )
    return notes


def answered(notebook: NotebookNode, known: dict[str, Any]) -> int:
    """Return for how many tasks the answer cell no longer is as released."""
    found = Counter(
        _key(cell)
        for cell in notebook.cells
        for released in known["cells"]
        if released["role"] == "answer"
        and released["id"] == _key(cell)
        and not _alike(cell.source, released["source"])
    )
    return len(found)
