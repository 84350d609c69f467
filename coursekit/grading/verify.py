"""Prove that an exercise grades as it should: right answers pass, wrong ones are caught and named.

For every solution the proof runs, in copies of one process, the solution itself, the untouched
exercise, and every known mistake and alternative, against public and hidden checks. What an
exercise must satisfy stands in :class:`Proof`; whatever it does not is a finding, one line each.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from coursekit.grading.layout import defined, used, validate
from coursekit.grading.notebook import (
    BEGIN_HIDDEN,
    END_HIDDEN,
    Exercise,
    LayoutError,
    Task,
    Variant,
    read_exercise,
    role,
    solution_paths,
    without_regions,
)
from coursekit.grading.release import (
    cell_id,
    grouped,
    known_of,
    leaks,
    released_notebook,
    released_source,
)
from coursekit.grading.trials import (
    DIED,
    TIME_LIMIT,
    Bench,
    Outcome,
    Step,
    WorkerFailed,
    end_workers,
    in_worker,
)

VARIANT_SECONDS = 120
EXERCISE_SECONDS = 1800


@dataclass
class Proof:
    """What was shown about one exercise.

    Attributes:
        name: The exercise.
        solution: Percent of all points that the solution earns; 100 is right.
        untouched: Percent that the exercise earns as learners get it; 0 is right.
        mistakes: Known mistakes.
        named: Those that lose points and are named by their own explanation and no other.
        hidden_only: Those that pass the public checks and are caught by hidden tests alone.
        alternatives: Alternative right answers.
        accepted: Those that earn all points, in their task and in every later one.
        leaks: Places where learners could read secret code.
        findings: Everything that must be mended, leaks included.
        notes: What may be right but deserves a look.
        seconds: How long the proof took.
    """

    name: str
    solution: float = 0.0
    untouched: float = 0.0
    mistakes: int = 0
    named: int = 0
    hidden_only: int = 0
    alternatives: int = 0
    accepted: int = 0
    leaks: list[str] = field(default_factory=list)
    findings: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    seconds: float = 0.0

    @property
    def holds(self) -> bool:
        """Whether nothing is left to mend."""
        return not self.findings

    def __str__(self) -> str:
        leak = f"{len(self.leaks)} leaks" if self.leaks else "no leak"
        head = (
            f"{self.name}: solution {self.solution:.4g} %, untouched {self.untouched:.4g} %, "
            f"{self.named} of {self.mistakes} mistakes named, {self.hidden_only} caught by hidden "
            f"tests alone, {self.accepted} of {self.alternatives} alternatives at 100 %, {leak} "
            f"({self.seconds:.0f} s)"
        )
        lines = [head, *(f"  to mend: {x}" for x in self.findings)]
        return "\n".join([*lines, *(f"  note: {x}" for x in self.notes)])


def verify(
    root: Path,
    names: list[str] | None = None,
    on_progress: Callable[[Proof], None] | None = None,
) -> list[Proof]:
    """Prove the exercises of a course.

    Args:
        root: The folder of the course.
        names: Exercises such as "1-basics/01-logistic-neuron"; all by default.
        on_progress: Called with each proof as soon as it is done.

    Returns:
        One proof for each exercise, sorted by name.

    Raises:
        UserError: When a name has no solution.
    """
    paths = solution_paths(Path(root), names)
    proofs = []
    with ThreadPoolExecutor(max(1, min(len(paths), _cores()))) as pool:
        try:
            for done in as_completed([pool.submit(_prove_apart, path) for path in paths]):
                proofs.append(done.result())
                if on_progress:
                    on_progress(proofs[-1])
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            end_workers()
            raise
    return sorted(proofs, key=lambda proof: proof.name)


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _prove_apart(path: Path) -> Proof:
    path = path.resolve()
    try:
        return Proof(**in_worker(prove, str(path), path.parent, EXERCISE_SECONDS))
    except WorkerFailed as error:
        name = f"{path.parent.name}/{path.stem}"
        return Proof(name, findings=[f"{name}: the proof could not be completed: {error}"])


def prove(path: str) -> dict[str, Any]:
    """Prove one solution in this process; called in a worker."""
    start = time.monotonic()
    try:
        exercise = read_exercise(path)
    except LayoutError as error:
        name = f"{Path(path).parent.name}/{Path(path).stem}"
        return asdict(Proof(name, findings=error.findings))
    examination = _Examination(exercise)
    examination.run()
    examination.proof.seconds = time.monotonic() - start
    return asdict(examination.proof)


class _Examination:
    """The proof of one exercise while it is being made."""

    def __init__(self, exercise: Exercise):
        self.exercise = exercise
        self.proof = Proof(exercise.name, findings=validate(exercise))
        self.bench = Bench()
        self.outputs: dict[str, list] = {}
        self.hidden_outputs: dict[str, list] = {}
        self.total = sum(task.points for task in exercise.tasks)
        self.code = [
            (position, cell)
            for position, cell in enumerate(exercise.notebook.cells)
            if cell.cell_type == "code"
        ]

    def find(self, where: str, text: str) -> None:
        """Record something to mend."""
        self.proof.findings.append(f"{self.exercise.name}, {where}: {text}")

    def run(self) -> None:
        """Run the untouched exercise, then the solution, trying variants out on the way."""
        self._untouched()
        answers = {task.answer: task for task in self.exercise.tasks}
        checks = {x: t for t in self.exercise.tasks for x in (t.public, t.hidden)}
        observed: dict[str, list[Outcome]] = {}
        earned = 0.0
        for position, cell in self.code:
            if position in answers:
                self._variants(answers[position])
            (outcome,) = self.bench.run([Step(cell_id(cell), cell.source)])
            if outcome.error:
                self.find(f"cell {cell_id(cell)}", f"the solution raises {_raised(outcome)}")
            if outcome.stderr:
                self.find(f"cell {cell_id(cell)}", f"writes to stderr: {_short(outcome.stderr)}")
            if position in checks:
                earned += self._solved(position, outcome)
                observed.setdefault(checks[position].id, []).append(outcome)
        self.proof.solution = 100 * earned / self.total
        for task in self.exercise.tasks:
            self._idle_checks(task, observed[task.id])
        if all(m.id in self.outputs for task in self.exercise.tasks for m in task.mistakes):
            released = released_notebook(self.exercise)
            self.proof.leaks = leaks(self.exercise, released, known_of(self.exercise, self.outputs))
            self.proof.findings += self.proof.leaks

    def _solved(self, position: int, outcome: Outcome) -> float:
        """Return the points that the solution earns in a check cell; all are expected."""
        points = self.exercise.points(position)
        if outcome.value is None and not outcome.error:
            self.find(f"cell {outcome.id}", "it ends in no points: no check runs in it")
        elif outcome.value != points:
            messages = [m for result in outcome.results for m in result["messages"]]
            failed = next((m for m in messages if not m.startswith("passed")), _raised(outcome))
            self.find(
                f"cell {outcome.id}",
                f"the solution earns {outcome.value or 0:g} of {points:g} points: {_short(failed)}",
            )
        return outcome.value or 0.0

    def _untouched(self) -> None:
        """The exercise as released earns nothing and raises nothing but NotImplementedError."""
        steps = []
        for position, cell in self.code:
            steps.append(Step(cell_id(cell), released_source(cell)))
            if role(cell) == "hidden":
                steps.append(Step(cell_id(cell), self.exercise.source(position)))
        outcomes = self.bench.try_out(steps, VARIANT_SECONDS * 2)
        earned = 0.0
        for outcome in outcomes:
            value = outcome.value if outcome.results else 0.0
            earned += value or 0.0
            if value:
                self.find(f"cell {outcome.id}", f"the untouched exercise earns {value:g} points")
            expected = outcome.error == "NotImplementedError" and not outcome.results
            if outcome.error and not (expected and role(self._cell(outcome.id)) == "shown"):
                self.find(f"cell {outcome.id}", f"untouched, it raises {_raised(outcome)}")
        self.proof.untouched = 100 * earned / self.total

    def _cell(self, name: str) -> Any:
        return next(cell for _, cell in self.code if cell_id(cell) == name)

    def _checks(self, task: Task) -> list[Step]:
        return [
            Step(cell_id(self.exercise.notebook.cells[position]), self.exercise.source(position))
            for position in (task.public, task.hidden)
        ]

    def _variants(self, task: Task) -> None:
        """Try out a task's mistakes and alternatives before its answer has run."""
        self.proof.mistakes += len(task.mistakes)
        self.proof.alternatives += len(task.alternatives)
        first = {m.id: self._try(task, m) for m in task.mistakes}
        known = self._known(task, first)
        alone = []
        for mistake in task.mistakes:
            outcomes = first[mistake.id]
            if not self._plausible(task, mistake, outcomes):
                continue
            seen, unseen = self._lost(task, outcomes)
            if not seen and unseen:
                alone.append(mistake)
            if not seen and not unseen:
                self.find(mistake.id, "it loses no points: it is right, or no check catches it")
            elif self._named(task, mistake, self._try(task, mistake, known)):
                self.proof.named += 1
        self.proof.hidden_only += len(alone)
        if alone:
            self._emptied(task, alone[0])
        else:
            self.find(
                f"task {task.id}", "no mistake passes the public check and fails a hidden one"
            )
        self._alternatives(task)

    def _lost(self, task: Task, outcomes: list[Outcome]) -> list[float]:
        """Return the points lost in the public and in the hidden cell; no test, nothing lost."""
        given = [self.exercise.points(task.public), self.exercise.points(task.hidden)]
        values = [outcome.value for outcome in outcomes[1:]]
        return [p - v if v is not None else 0.0 for p, v in zip(given, values, strict=True)]

    def _try(self, task: Task, variant: Variant, known: dict | None = None) -> list[Outcome]:
        steps = [Step(task.id, variant.source), *self._checks(task)]
        return self.bench.try_out(steps, VARIANT_SECONDS, known)

    def _known(self, task: Task, first: dict[str, list[Outcome]]) -> dict[str, Any]:
        """Return what checks need to name this task's mistakes, hidden outputs included."""
        mistakes = []
        for mistake in task.mistakes:
            public = self.outputs[mistake.id] = grouped(first[mistake.id], hidden=False)
            hidden = self.hidden_outputs[mistake.id] = grouped(first[mistake.id], hidden=True)
            label = {"id": mistake.id, "explanation": mistake.explanation}
            mistakes.append({**label, "public": public, "hidden": hidden})
        return {"tasks": {task.id: {"mistakes": mistakes}}}

    def _plausible(self, task: Task, mistake: Variant, outcomes: list[Outcome]) -> bool:
        """Whether a mistake runs through both check cells and returns values in the public one."""
        failed = next((outcome for outcome in outcomes if outcome.error), None)
        if failed:
            self.find(mistake.id, f"cell {failed.id} raises {_raised(failed)}")
            return False
        for hidden, call, case, encoded in outcomes[1].observed:
            if not hidden and "error" in encoded:
                self.find(
                    mistake.id,
                    f"it raises {encoded['error']} in public check {call + 1}, case {case + 1}: a "
                    "known mistake returns a plausible value",
                )
                return False
        return True

    def _named(self, task: Task, mistake: Variant, outcomes: list[Outcome]) -> bool:
        """Whether the first check cell that fails names this mistake, and none names another."""
        results = [result for outcome in outcomes for result in outcome.results]
        said = [text for result in results for text in result["explanations"]]
        failing = [result for result in results if result["earned"] < result["points"]]
        wrong = [text for text in said if text != mistake.explanation]
        if wrong:
            self.find(mistake.id, f"it is named by the explanation of another: {wrong[0]}")
        elif not failing or mistake.explanation not in failing[0]["explanations"]:
            side = "hidden" if failing and failing[0]["hidden"] else "public"
            self.find(
                mistake.id,
                f"its explanation is not shown: on the {side} cases it returns what another "
                "mistake or the solution returns: add a case that tells them apart",
            )
        else:
            return True
        return False

    def _emptied(self, task: Task, mistake: Variant) -> None:
        """With its hidden block emptied, a task must stop catching what hidden tests alone catch.

        Then the mistake keeps all points that are given and the solution ends in none, so the proof
        fails: the block is needed.
        """
        public, hidden = self._checks(task)
        empty = without_regions(hidden.source, BEGIN_HIDDEN, END_HIDDEN, "")
        steps = [Step(task.id, mistake.source), public, Step(hidden.id, empty)]
        outcomes = self.bench.try_out(steps, VARIANT_SECONDS)
        kept = (
            outcomes[1].value == self.exercise.points(task.public) if len(outcomes) > 1 else False
        )
        if outcomes[-1].error or outcomes[-1].value is not None or not kept:
            self.find(
                f"task {task.id}",
                "with its hidden block emptied the cell still decides something: move every check "
                "between the markers",
            )

    def _alternatives(self, task: Task) -> None:
        spared = self._independent(task)
        later = [
            Step(cell_id(cell), cell.source)
            for position, cell in self.code
            if position > task.hidden and position not in spared
        ]
        points = {cell_id(c): self.exercise.points(i) for i, c in self.code if _is_check(c)}
        for alternative in task.alternatives:
            steps = [Step(task.id, alternative.source), *self._checks(task), *later]
            outcomes = self.bench.try_out(steps, VARIANT_SECONDS * 2)
            problem = next(_shortfalls(outcomes, points), None)
            if problem:
                self.find(alternative.id, problem)
            else:
                self.proof.accepted += 1

    def _independent(self, task: Task) -> set[int]:
        """Return the later check cells that cannot depend on a task's answer.

        A cell depends on it when it reads a name that the answer binds, or one that a cell in
        between has bound and that depends on it.
        """
        reached, spared = defined(self.exercise.source(task.answer)), set()
        for position, cell in self.code:
            if position <= task.hidden:
                continue
            depends = bool(reached & used(cell.source))
            if _is_check(cell) and not depends:
                spared.add(position)
            elif depends:
                reached |= defined(cell.source)
        return spared

    def _idle_checks(self, task: Task, solution: list[Outcome]) -> None:
        """Note each hidden check on which every known mistake returns what the solution returns."""
        from coursekit.grading import check

        right = grouped(solution, hidden=True)
        wrong = [self.hidden_outputs.get(m.id, []) for m in task.mistakes]
        for call, expected in enumerate(right):
            differs = any(
                len(outputs) <= call
                or len(outputs[call]) != len(expected)
                or not all(map(check.same, outputs[call], expected))
                for outputs in wrong
            )
            if not differs:
                self.proof.notes.append(
                    f"{self.exercise.name}, task {task.id}: hidden check {call + 1} catches no "
                    "known mistake"
                )


def _is_check(cell: Any) -> bool:
    return role(cell) in ("public", "hidden")


def _shortfalls(outcomes: list[Outcome], points: dict[str, float]) -> Iterator[str]:
    """Say where an alternative answer breaks or loses points."""
    for outcome in outcomes:
        if outcome.error:
            yield f"cell {outcome.id} raises {_raised(outcome)}"
        elif outcome.id in points and outcome.value != points[outcome.id]:
            messages = [m for result in outcome.results for m in result["messages"]]
            failed = next((m for m in messages if not m.startswith("passed")), "no check ran")
            yield (
                f"it earns {outcome.value or 0:g} of {points[outcome.id]:g} points in "
                f"{outcome.id}: {_short(failed)}"
            )


def _raised(outcome: Outcome) -> str:
    if outcome.error in (TIME_LIMIT, DIED):
        return f"nothing, but {outcome.text}"
    return _short(f"{outcome.error}: {outcome.text}")


def _short(text: str) -> str:
    text = " ".join(text.split())
    return text if len(text) <= 240 else f"{text[:239]}…"
