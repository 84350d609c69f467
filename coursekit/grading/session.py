"""What the checks of one exercise know: the running cell, its results, the known mistakes."""

from __future__ import annotations

import io
import json
import re
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass, field
from importlib.resources import files
from typing import Any

from coursekit.grading import recipes
from coursekit.grading.backend import Backend, Local, Outcome
from coursekit.grading.compare import Difference, same
from coursekit.grading.messages import Message
from coursekit.grading.values import described, plain

Cases = Sequence[tuple[Any, ...]]


@dataclass
class TaskResult:
    """The result of one check cell.

    Args:
        task: the name of the task.
        hidden: whether the cell holds hidden tests.
        points: what the cell is worth.
        earned: the part that was reached.
        messages: the plain texts of its checks, in order.
        explanations: those of the known mistakes that its checks recognized.
    """

    task: str
    hidden: bool
    points: float
    earned: float
    messages: list[str] = field(default_factory=list)
    explanations: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Verdict:
    """What one case showed: the difference, if any, and the encodings that name a mistake."""

    difference: Difference | None
    observed: dict[str, Any]
    expected: dict[str, Any] | None = None


@dataclass
class Cell:
    """What has happened in a check cell since `task`."""

    task: str
    points: float
    hidden: bool
    passed: int = 0
    calls: list[list[Verdict]] = field(default_factory=list)
    messages: list[str] = field(default_factory=list)


class _Nowhere(io.TextIOBase):
    """A stream that forgets what is written to it."""

    def write(self, text: str) -> int:
        return len(text)


class Session:
    """The state of the checks of one exercise.

    Attributes:
        backend: reaches the learner's code.
        observer: if set, called as observer(task, hidden, call_index, case_index, encoded) for
            every case, where encoded is the answer of `encode` or {"error": "TypeName"}.
        known: the known mistakes of the exercise, as release writes them.
        show: publishes a message; by default under the cell.
        results: one TaskResult for each (task, hidden) whose cell ran to `points`.
    """

    def __init__(self) -> None:
        self.backend: Backend = Local()
        self.observer: Callable[[str, bool, int, int, dict[str, Any]], None] | None = None
        self.known: dict[str, Any] = {}
        self.show: Callable[[Message], None] = lambda message: message.show()
        self.results: list[TaskResult] = []
        self._exercise: str | None = None
        self._cell: Cell | None = None

    @property
    def cell(self) -> Cell:
        """The check cell that is running."""
        if self._cell is None:
            raise RuntimeError("check.task(name, points=…) must come before the checks")
        return self._cell

    def exercise(self, name: str) -> None:
        """Begin an exercise; mistakes set in `known` before the first call are kept."""
        if not re.fullmatch(r"[\w-]+/[\w-]+", name):
            raise ValueError(f"name must be of the form 'part/exercise', got {name!r}")
        if self._exercise is not None or not self.known:
            path = files("coursekit.grading").joinpath("known", f"{name}.json")
            self.known = json.loads(path.read_text("utf-8")) if path.is_file() else {}
        self._exercise, self._cell, self.results = name, None, []

    def task(self, name: str, points: float, hidden: bool) -> None:
        """Begin a check cell and forget an earlier result of it."""
        if not points > 0:
            raise ValueError(f"points must be positive, got {points}")
        self._cell = Cell(name, points, hidden)
        self.results = [r for r in self.results if (r.task, r.hidden) != (name, hidden)]

    def points(self) -> float | None:
        """End a check cell: show and return what was earned, None if the tests are not here."""
        cell = self.cell
        if not cell.calls:
            if not cell.hidden:
                raise RuntimeError(f"no check ran for task {cell.task!r}")
            noun = "this point is" if cell.points == 1 else f"these {cell.points:g} points are"
            text = f"{noun.capitalize()} decided by hidden tests when the exercise is graded."
            self.show(Message("note", text, "points", data=_identity(cell)))
            return None
        total = len(cell.calls)
        explanation = None if cell.passed == total else self._explanation(cell)
        if explanation is not None:
            title = f"A known mistake returns the same: {explanation}"
            self.show(Message("note", title, "mistake", data=_identity(cell)))
        earned = float(cell.points) * cell.passed / total
        result = TaskResult(
            task=cell.task,
            hidden=cell.hidden,
            points=float(cell.points),
            earned=earned,
            messages=list(cell.messages),
            explanations=[] if explanation is None else [explanation],
        )
        self.results = [r for r in self.results if (r.task, r.hidden) != (cell.task, cell.hidden)]
        self.results.append(result)
        self.show(_points_message(cell, earned))
        return earned

    def run(
        self,
        kind: str,
        subject: str,
        cases: Cases,
        judge: Callable[[tuple[Any, ...]], Verdict],
        *,
        passes: str,
        about: str,
        names: Sequence[str] = (),
    ) -> None:
        """Judge every case, report the first that fails and count the check.

        Args:
            kind: the name of the check.
            subject: what the message is about, as a rule the name of the function.
            cases: the inputs.
            judge: returns what one case showed.
            passes: what holds if every case passes.
            about: what the author says that this check is about.
            names: of the inputs.
        """
        cell = self.cell
        verdicts: list[Verdict] = []
        for index, case in enumerate(_valid(cases)):
            verdict = judge(case)
            verdicts.append(verdict)
            if self.observer is not None:
                where = (cell.task, cell.hidden, len(cell.calls), index)
                self.observer(*where, verdict.observed)
        cell.calls.append(verdicts)
        failed = next((i for i, v in enumerate(verdicts) if v.difference is not None), None)
        data = {**_identity(cell), "about": about}
        if failed is None:
            cell.passed += 1
            title = f"{subject}: hidden check{_aside(about)}" if cell.hidden else passes
            message = Message("passed", title, kind, data=data)
        else:
            found = verdicts[failed].difference
            assert found is not None
            message = _failed(kind, subject, found, cell, failed, cases, about, names, data)
        cell.messages.append(repr(message))
        self.show(message)

    def name(self, fn: Any) -> str:
        """Name a learner's function, or what a recipe makes of it; arguments only in the open."""
        return recipes.name_with(fn, self.backend.name, open=not self.cell.hidden)

    def inputs(self, fn: Any, names: Sequence[str]) -> list[str]:
        """Name the inputs of a check as its author did, the others as the function does."""
        own = fn.inputs() if type(fn) is recipes.Through else self.backend.inputs(fn)
        return [*names, *own[len(names) :]]

    def call(self, fn: Any, case: tuple[Any, ...], after: bool = False) -> Outcome:
        """Call a learner's function without letting it write where it must not."""
        with self._quiet():
            return self.backend.call(fn, case, after)

    def gradient(self, fn: Any, case: tuple[Any, ...], wrt: Any, weights: Any) -> Outcome:
        """Differentiate a learner's function without letting it write where it must not."""
        with self._quiet():
            return self.backend.gradient(fn, case, wrt, weights)

    @contextmanager
    def _quiet(self) -> Iterator[None]:
        # Anything on stderr would cost all points under nbgrader; what a hidden check's call
        # prints could show its inputs.
        nowhere = _Nowhere()
        with warnings.catch_warnings(), redirect_stderr(nowhere):
            warnings.simplefilter("ignore")
            if not self.cell.hidden:
                yield
                return
            with redirect_stdout(nowhere):
                yield

    def _explanation(self, cell: Cell) -> str | None:
        """Name the one known mistake that would have returned the same; None if not one."""
        side = "hidden" if cell.hidden else "public"
        mistakes = self.known.get("tasks", {}).get(cell.task, {}).get("mistakes", [])
        outputs = [[verdict.observed for verdict in call] for call in cell.calls]
        everywhere = [m for m in mistakes if _all_same(m.get(side), outputs)]
        if len(everywhere) == 1:
            return str(everywhere[0]["explanation"])
        call, case, verdict = next(
            (i, j, verdict)
            for i, verdicts in enumerate(cell.calls)
            for j, verdict in enumerate(verdicts)
            if verdict.difference is not None
        )

        def matches(mistake: dict[str, Any]) -> bool:
            try:
                output = mistake[side][call][case]
            except (KeyError, IndexError, TypeError):
                return False
            differs = verdict.expected is None or not same(output, verdict.expected)
            return differs and same(output, verdict.observed)

        there = [mistake for mistake in mistakes if matches(mistake)]
        return str(there[0]["explanation"]) if len(there) == 1 else None


def _valid(cases: Cases) -> Cases:
    wrong = not isinstance(cases, (list, tuple)) or not cases
    if wrong or not all(isinstance(case, tuple) for case in cases):
        raise TypeError("cases must be a list of one or more tuples of positional arguments")
    return cases


def _aside(about: str) -> str:
    return f" ({about})" if about else ""


def _identity(cell: Cell) -> dict[str, Any]:
    return {"task": cell.task, "hidden": cell.hidden}


def _all_same(recorded: Any, outputs: list[list[dict[str, Any]]]) -> bool:
    return (
        isinstance(recorded, list)
        and [len(call) for call in recorded] == [len(call) for call in outputs]
        and all(all(map(same, a, b)) for a, b in zip(recorded, outputs, strict=True))
    )


def _failed(
    kind: str,
    subject: str,
    found: Difference,
    cell: Cell,
    index: int,
    cases: Cases,
    about: str,
    names: Sequence[str],
    data: dict[str, Any],
) -> Message:
    if cell.hidden:
        reason = found.reason + (f" ({found.hidden})" if found.hidden else "")
        title = f"{subject}: hidden check{_aside(about)}: {reason}"
        return Message("failed", title, kind, data=data)
    if found.kind == "not answered":
        return Message("failed", f"{subject}: {found.reason}", kind, data=data)
    case = f", case {index + 1} of {len(cases)}" if len(cases) > 1 else ""
    title = f"{subject}{_aside(about)}{case}: {found.reason}"
    labels = [names[i] if i < len(names) else f"input {i + 1}" for i in range(len(cases[index]))]
    inputs = [
        (label, described(plain(argument)))
        for label, argument in zip(labels, cases[index], strict=True)
    ]
    return Message("failed", title, kind, (*inputs, *found.facts), data)


def _points_message(cell: Cell, earned: float) -> Message:
    total, side = len(cell.calls), "hidden" if cell.hidden else "public"
    if cell.passed == total:
        counted = f"{side} checks passed"
    else:
        counted = f"{cell.passed} of {total} {side} checks passed"
    noun = "point" if cell.points == 1 else "points"
    title = f"{cell.task}: {round(earned, 2):g} of {cell.points:g} {noun}, {counted}"
    data = {**_identity(cell), "earned": earned, "points": float(cell.points)}
    return Message("note", title, "points", data=data)
