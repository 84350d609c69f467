"""Try out the known mistakes and the alternatives of one task, and judge what comes of them.

Each variant runs once, in a copy of the process as it stands before the task's answer. What the
checks saw then is enough to say how they would name a mistake once all mistakes are known.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from coursekit.grading.compare import Difference
from coursekit.grading.layout import defined, used
from coursekit.grading.notebook import (
    BEGIN_HIDDEN,
    END_HIDDEN,
    Exercise,
    Task,
    Variant,
    role,
    without_regions,
)
from coursekit.grading.release import cell_id, grouped
from coursekit.grading.session import Session, TaskResult, Verdict
from coursekit.grading.trials import DIED, TIME_LIMIT, Bench, Outcome, Step

VARIANT_SECONDS = 120
ANSWER, PUBLIC, EMPTIED, HIDDEN = range(4)  # the cells that are run for a mistake, in this order


@dataclass
class TaskProof:
    """What was shown about the variants of one task, ready for JSON.

    Attributes:
        named: Mistakes that lose points and are named by their own explanation and no other.
        hidden_only: Mistakes that pass the public checks and are caught by hidden tests alone.
        accepted: Alternatives that earn all points, in the task and in every later one.
        findings: (where, what) for everything that must be mended.
        public: What each mistake returns in the public checks, by its id.
        hidden: What it returns in the hidden checks.
    """

    named: int = 0
    hidden_only: int = 0
    accepted: int = 0
    findings: list[tuple[str, str]] = field(default_factory=list)
    public: dict[str, list] = field(default_factory=dict)
    hidden: dict[str, list] = field(default_factory=dict)


class Variants:
    """The variants of one task, to be tried out in copies of a bench.

    Args:
        exercise: The exercise.
        task: The task.
        bench: Has run all cells above the task's answer.
    """

    def __init__(self, exercise: Exercise, task: Task, bench: Bench):
        self.exercise, self.task, self.bench = exercise, task, bench
        self.proof = TaskProof()
        cells = exercise.notebook.cells
        self.code = [(i, cell) for i, cell in enumerate(cells) if cell.cell_type == "code"]
        self.public, self.hidden = (
            Step(cell_id(cells[position]), exercise.source(position))
            for position in (task.public, task.hidden)
        )
        self.points = (exercise.points(task.public), exercise.points(task.hidden))

    def find(self, where: str, text: str) -> None:
        """Record something to mend."""
        self.proof.findings.append((where, text))

    def prove(self) -> TaskProof:
        """Try out all of them."""
        self._mistakes()
        self._alternatives()
        return self.proof

    def _mistakes(self) -> None:
        task, outcomes = self.task, {m.id: self._try(m) for m in self.task.mistakes}
        for mistake in task.mistakes:
            ran = outcomes[mistake.id]
            self.proof.public[mistake.id] = grouped(ran[PUBLIC:EMPTIED], hidden=False)
            self.proof.hidden[mistake.id] = grouped(ran[HIDDEN:], hidden=True)
        alone = []
        for mistake in task.mistakes:
            ran = outcomes[mistake.id]
            if not self._plausible(mistake, ran):
                continue
            seen, unseen = self._lost(ran)
            if not seen and unseen:
                alone.append(mistake)
            if not seen and not unseen:
                self.find(mistake.id, "it loses no points: it is right, or no check catches it")
            elif self._named(mistake, ran):
                self.proof.named += 1
        self.proof.hidden_only = len(alone)
        if alone:
            self._emptied(outcomes[alone[0].id][EMPTIED])
        else:
            self.find(
                f"task {task.id}", "no mistake passes the public check and fails a hidden one"
            )

    def _try(self, mistake: Variant) -> list[Outcome]:
        """Run a mistake, the public check, the hidden one without its block, and the whole one."""
        empty = without_regions(self.hidden.source, BEGIN_HIDDEN, END_HIDDEN, "")
        answer, emptied = Step(self.task.id, mistake.source), Step(self.hidden.id, empty)
        steps = [answer, self.public, emptied, self.hidden]
        return self.bench.try_out(steps, VARIANT_SECONDS)

    def _lost(self, ran: list[Outcome]) -> list[float]:
        """Return the points lost in the public and in the hidden cell; no test, nothing lost."""
        values = (ran[PUBLIC].value, ran[HIDDEN].value)
        return [p - v if v is not None else 0.0 for p, v in zip(self.points, values, strict=True)]

    def _plausible(self, mistake: Variant, ran: list[Outcome]) -> bool:
        """Whether a mistake runs through both check cells and returns values in the public one."""
        whole = len(ran) > HIDDEN
        failed = next(
            (x for i, x in enumerate(ran) if x.error and (i != EMPTIED or not whole)), None
        )
        if failed:
            self.find(mistake.id, f"cell {failed.id} raises {raised(failed)}")
            return False
        for hidden, call, case, encoded in ran[PUBLIC].observed:
            if not hidden and "error" in encoded:
                self.find(
                    mistake.id,
                    f"it raises {encoded['error']} in public check {call + 1}, case {case + 1}: a "
                    "known mistake returns a plausible value",
                )
                return False
        return True

    def _named(self, mistake: Variant, ran: list[Outcome]) -> bool:
        """Whether the first check cell that fails names this mistake, and none names another."""
        results = [self._said(ran[PUBLIC], False), self._said(ran[HIDDEN], True)]
        said = [text for result in results for text in result.explanations]
        failing = [result for result in results if result.earned < result.points]
        wrong = [text for text in said if text != mistake.explanation]
        if wrong:
            self.find(mistake.id, f"it is named by the explanation of another: {wrong[0]}")
        elif not failing or mistake.explanation not in failing[0].explanations:
            side = "hidden" if failing and failing[0].hidden else "public"
            self.find(
                mistake.id,
                f"its explanation is not shown: on the {side} cases it returns what another "
                "mistake or the solution returns: add a case that tells them apart",
            )
        else:
            return True
        return False

    def _said(self, ran: Outcome, hidden: bool) -> TaskResult:
        """Return what a check cell would have said, had it known this task's mistakes."""
        session = Session()
        session.show = lambda message: None
        session.known = {"tasks": {self.task.id: {"mistakes": self._known()}}}
        session.task(self.task.id, self.points[hidden], hidden)
        for verdicts in ran.verdicts:
            session.cell.calls.append(
                [Verdict(Difference("value") if d else None, o, e) for o, e, d in verdicts]
            )
            session.cell.passed += not any(differs for _, _, differs in verdicts)
        session.points()
        return session.results[0] if session.results else TaskResult(self.task.id, hidden, 0.0, 0.0)

    def _known(self) -> list[dict[str, Any]]:
        """Return what checks need to name the mistakes, hidden outputs included."""
        return [
            {
                "id": mistake.id,
                "explanation": mistake.explanation,
                "public": self.proof.public[mistake.id],
                "hidden": self.proof.hidden[mistake.id],
            }
            for mistake in self.task.mistakes
        ]

    def _emptied(self, ran: Outcome) -> None:
        """With its hidden block emptied, a task must stop catching what hidden tests alone catch.

        The mistake has kept all points of the public cell; with the block emptied the hidden cell
        must end in none, so that the proof fails: the block is needed.
        """
        if ran.error or ran.value is not None:
            self.find(
                f"task {self.task.id}",
                "with its hidden block emptied the cell still decides something: move every check "
                "between the markers",
            )

    def _alternatives(self) -> None:
        spared = self._independent()
        later = [
            Step(cell_id(cell), cell.source)
            for position, cell in self.code
            if position > self.task.hidden and position not in spared
        ]
        points = {cell_id(c): self.exercise.points(i) for i, c in self.code if is_check(c)}
        for alternative in self.task.alternatives:
            steps = [Step(self.task.id, alternative.source), self.public, self.hidden, *later]
            problem = next(_shortfalls(self.bench.try_out(steps, VARIANT_SECONDS * 2), points), "")
            if problem:
                self.find(alternative.id, problem)
            else:
                self.proof.accepted += 1

    def _independent(self) -> set[int]:
        """Return the later check cells that cannot depend on the task's answer.

        A cell depends on it when it reads a name that the answer binds, or one that a cell in
        between has bound and that depends on it.
        """
        reached, spared = defined(self.exercise.source(self.task.answer)), set()
        for position, cell in self.code:
            if position <= self.task.hidden:
                continue
            depends = bool(reached & used(cell.source))
            if is_check(cell) and not depends:
                spared.add(position)
            elif depends:
                reached |= defined(cell.source)
        return spared


def is_check(cell: Any) -> bool:
    """Whether a cell holds checks."""
    return role(cell) in ("public", "hidden")


def _shortfalls(outcomes: list[Outcome], points: dict[str, float]) -> Iterator[str]:
    """Say where an alternative answer breaks or loses points."""
    for outcome in outcomes:
        if outcome.error:
            yield f"cell {outcome.id} raises {raised(outcome)}"
        elif outcome.id in points and outcome.value != points[outcome.id]:
            messages = [m for result in outcome.results for m in result["messages"]]
            failed = next((m for m in messages if not m.startswith("passed")), "no check ran")
            yield (
                f"it earns {outcome.value or 0:g} of {points[outcome.id]:g} points in "
                f"{outcome.id}: {short(failed)}"
            )


def raised(outcome: Outcome) -> str:
    """Say what a cell raised, or how it was cut short."""
    if outcome.error in (TIME_LIMIT, DIED):
        return f"nothing, but {outcome.text}"
    return short(f"{outcome.error}: {outcome.text}")


def short(text: str) -> str:
    """Return a text on one line of at most 240 characters."""
    text = " ".join(text.split())
    return text if len(text) <= 240 else f"{text[:239]}…"
