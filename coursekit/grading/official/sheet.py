"""What one exercise asks, cell by cell, and what a submission answers.

A :class:`Sheet` is made from the instructor's notebook. It says which cells run on which side: the
released text of cells that are not graded goes to the learner's process, check cells stay on the
trusted side. Of a submission nothing counts but the text of its answer cells, found by grade_id.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property

from coursekit.grading.cells import defined, inputs_of, used
from coursekit.grading.lean import NotebookNode
from coursekit.grading.notebook import Exercise, Task, grade_id, role
from coursekit.grading.plan import alike
from coursekit.grading.release import cell_id, released_source

MOST_CHARACTERS = 500_000  # an answer cell may hold so many


@dataclass(frozen=True)
class Part:
    """A code cell of the exercise.

    Attributes:
        role: "answer", "public", "hidden", "locked" or "shown".
        id: Its name.
        source: Its text; that of an answer is the released one.
        task: The task that it belongs to, or nothing.
    """

    role: str
    id: str
    source: str
    task: str = ""


@dataclass(frozen=True)
class Sheet:
    """An exercise, ready to be graded.

    Attributes:
        exercise: The instructor's notebook.
        setup: Cells before the first answer; both sides run them once.
        parts: The other code cells, in order.
        names: Names that answer cells define; proxies on the trusted side.
        inputs: The positional parameters of those that are functions.
    """

    exercise: Exercise
    setup: tuple[Part, ...]
    parts: tuple[Part, ...]
    names: frozenset[str]
    inputs: Mapping[str, tuple[str, ...]]

    @property
    def tasks(self) -> list[Task]:
        """The tasks, in order."""
        return self.exercise.tasks

    @property
    def points(self) -> float:
        """Points of all tasks."""
        return sum(task.points for task in self.tasks)

    def stub(self, task: str) -> str:
        """Return the released text of a task's answer cell."""
        return next(p.source for p in self.parts if p.role == "answer" and p.task == task)

    def solution(self, part: Part) -> str:
        """Return the text of a cell as it stands in the instructor's notebook."""
        if part.role != "answer":
            return part.source
        return next(self.exercise.source(t.answer) for t in self.tasks if t.id == part.task)

    def on_trusted_side(self, part: Part) -> bool:
        """Whether a cell that is not graded runs beside the checks: a check uses what it defines.

        One that uses a learner's name cannot.
        """
        if used(part.source) & self.names:
            return False
        checks = (p for p in self.parts if p.role in ("public", "hidden"))
        return part.role == "locked" or any(defined(part.source) & used(p.source) for p in checks)


def make_sheet(exercise: Exercise) -> Sheet:
    """Prepare an exercise for grading.

    Args:
        exercise: The instructor's notebook, taken apart.
    """
    checks = {grade_id(exercise.notebook.cells[i]): t.id for t in exercise.tasks
              for i in (t.public, t.hidden)}  # fmt: skip
    parts = []
    for cell in exercise.notebook.cells:
        kind = role(cell)
        if cell.cell_type != "code":
            continue
        name = cell_id(cell)
        source = cell.source if kind in ("public", "hidden") else released_source(cell)
        parts.append(Part(kind, name, source, name if kind == "answer" else checks.get(name, "")))
    first = next(i for i, part in enumerate(parts) if part.role == "answer")
    names = frozenset(x for t in exercise.tasks for x in defined(exercise.source(t.answer)))
    inputs: dict[str, tuple[str, ...]] = {}
    for task in exercise.tasks:
        inputs |= inputs_of(exercise.source(task.answer))
    return Sheet(exercise, tuple(parts[:first]), tuple(parts[first:]), names, inputs)


@dataclass(frozen=True)
class Answer:
    """What a submission holds for one task.

    Attributes:
        source: The text to run: the learner's, or the released one where theirs cannot be used.
        touched: Whether the learner has changed the cell.
        reason: Why the learner's text cannot be used; mostly empty.
    """

    source: str
    touched: bool
    reason: str = ""

    @cached_property
    def uses(self) -> set[str]:
        """Names that the text reads and does not bind; empty when it cannot be parsed."""
        return _names(used, self.source)


def _names(of: Callable[[str], set[str]], source: str) -> set[str]:
    """Look into a stranger's text, which may exhaust the parser."""
    try:
        return of(source) if len(source) <= MOST_CHARACTERS else set()
    except (MemoryError, RecursionError):
        return set()


def answers_of(notebook: NotebookNode, sheet: Sheet) -> dict[str, Answer]:
    """Find the answer to each task of a submission.

    Args:
        notebook: The submission.
        sheet: The exercise.
    """
    found: dict[str, list[str]] = {task.id: [] for task in sheet.tasks}
    for cell in notebook.cells:
        if cell.cell_type == "code" and (name := cell_id(cell)) in found:
            found[name].append(str(cell.source))
    return {name: _answer(sheet.stub(name), sources) for name, sources in found.items()}


def _answer(stub: str, sources: list[str]) -> Answer:
    if not sources:
        why = "its answer cell is missing: copy it from the exercise as released"
        return Answer(stub, False, why)
    if len(sources) > 1:
        return Answer(stub, False, f"its answer cell stands {len(sources)} times: keep one")
    if len(sources[0]) > MOST_CHARACTERS:
        size = f"{len(sources[0]):,} characters, more than {MOST_CHARACTERS:,}"
        return Answer(stub, False, f"its answer cell holds {size}")
    return Answer(sources[0], not alike(sources[0], stub))


def notes_on(notebook: NotebookNode, sheet: Sheet, answers: dict[str, Answer]) -> list[str]:
    """Say what a learner should know of cells that are not graded.

    Args:
        notebook: The submission.
        sheet: The exercise.
        answers: Its answers.
    """
    known = {part.id for part in (*sheet.setup, *sheet.parts)}
    own: dict[str, str] = {}
    for number, cell in enumerate(notebook.cells, 1):
        if cell.cell_type == "code" and cell_id(cell) not in known:
            names = _names(defined, str(cell.source))
            own |= dict.fromkeys(names, f"cell {number}")
    texts = [part.source for part in sheet.setup] + [a.source for a in answers.values()]
    shared = {name for text in texts for name in _names(defined, text)}
    notes = [
        f"only answer cells are graded: move {name} from {own[name]} into the answer cell {task}"
        for task, answer in answers.items()
        for name in sorted(answer.uses & set(own) - shared)
    ]
    counts = Counter(cell_id(cell) for cell in notebook.cells if cell.cell_type == "code")
    missing = [p.id for p in sheet.parts if p.role in ("public", "hidden") and not counts[p.id]]
    if missing:
        notes.append(f"deleted check cells ran as released: {', '.join(missing)}")
    return notes
