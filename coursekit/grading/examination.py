"""The proof of one exercise while it is being made, in a process of its own.

Library modules that a first run has imported stay imported, so that a cell which forgets to import
a submodule may pass here; the notebooks' stored outputs, which come from fresh kernels, show it.
"""

from __future__ import annotations

import warnings
from dataclasses import asdict
from typing import Any

from coursekit.grading.layout import validate
from coursekit.grading.notebook import Exercise, Task, role
from coursekit.grading.release import (
    cell_id,
    grouped,
    known_of,
    leaks,
    released_notebook,
    released_source,
)
from coursekit.grading.trials import CAN_FORK, Bench, Outcome, References, Step, begin_afresh
from coursekit.grading.variants import TaskProof, Variants, raised, short
from coursekit.grading.verify import Proof
from coursekit.grading.workers import Beside, WorkerFailed, cores


class Examination:
    """The proof of one exercise while it is being made."""

    def __init__(self, exercise: Exercise):
        self.exercise = exercise
        self.proof = Proof(exercise.name, findings=validate(exercise))
        self.references = References()
        self.total = sum(task.points for task in exercise.tasks)
        self.code = [
            (position, cell)
            for position, cell in enumerate(exercise.notebook.cells)
            if cell.cell_type == "code"
        ]
        self.heard: dict[str, str] = {}  # what each cell has written to stderr when untouched

    def find(self, where: str, text: str) -> None:
        """Record something to mend."""
        self.proof.findings.append(f"{self.exercise.name}, {where}: {text}")

    def run(self) -> None:
        """Run the untouched exercise, then the solution, trying variants out on the way."""
        begin_afresh()
        with warnings.catch_warnings():  # so that the second run hears each warning again
            self._untouched()
        begin_afresh()
        trials = _Trials(self)
        observed = self._solution(trials)
        proofs = trials.gather()
        for place in dict.fromkeys(self.references.unstable):
            self._unstable(*place)
        outputs: dict[str, list] = {}
        for task in self.exercise.tasks:
            self._take_over(task, proofs[task.id])
            outputs |= proofs[task.id].public
            self._idle_checks(task, observed[task.id], proofs[task.id].hidden)
        if all(m.id in outputs for task in self.exercise.tasks for m in task.mistakes):
            released = released_notebook(self.exercise)
            self.proof.leaks = leaks(self.exercise, released, known_of(self.exercise, outputs))
            self.proof.findings += self.proof.leaks

    def _solution(self, trials: _Trials) -> dict[str, list[Outcome]]:
        """Run the solution; return what its check cells observed, by task."""
        answers = {task.answer: task for task in self.exercise.tasks}
        checks = {x: t for t in self.exercise.tasks for x in (t.public, t.hidden)}
        observed: dict[str, list[Outcome]] = {}
        bench, earned = Bench(self.references), 0.0
        for position, cell in self.code:
            if position in answers:
                trials.start(answers[position], bench)
            (outcome,) = bench.run([Step(cell_id(cell), cell.source)])
            if outcome.error:
                self.find(f"cell {cell_id(cell)}", f"the solution raises {raised(outcome)}")
            if heard := outcome.stderr or self.heard.get(cell_id(cell)):
                self.find(f"cell {cell_id(cell)}", f"writes to stderr: {short(heard)}")
            if position in checks:
                earned += self._solved(position, outcome)
                observed.setdefault(checks[position].id, []).append(outcome)
        self.proof.solution = 100 * earned / self.total
        return observed

    def _solved(self, position: int, outcome: Outcome) -> float:
        """Return the points that the solution earns in a check cell; all are expected."""
        points = self.exercise.points(position)
        if outcome.value is None and not outcome.error:
            self.find(f"cell {outcome.id}", "it ends in no points: no check runs in it")
        elif outcome.value != points:
            messages = [m for result in outcome.results for m in result["messages"]]
            failed = next((m for m in messages if not m.startswith("passed")), raised(outcome))
            self.find(
                f"cell {outcome.id}",
                f"the solution earns {outcome.value or 0:g} of {points:g} points: {short(failed)}",
            )
        return outcome.value or 0.0

    def _untouched(self) -> None:
        """The exercise as released earns nothing and raises nothing but NotImplementedError.

        What references return here, where no answer can have helped them, is kept for the trials.
        """
        steps = []
        for position, cell in self.code:
            steps.append(Step(cell_id(cell), released_source(cell)))
            if role(cell) == "hidden":
                steps.append(Step(cell_id(cell), self.exercise.source(position)))
        earned = 0.0
        for outcome in Bench(self.references).run(steps):
            value = outcome.value if outcome.results else 0.0
            earned += value or 0.0
            if value:
                self.find(f"cell {outcome.id}", f"the untouched exercise earns {value:g} points")
            expected = outcome.error == "NotImplementedError" and not outcome.results
            if outcome.error and not (expected and role(self._cell(outcome.id)) == "shown"):
                self.find(f"cell {outcome.id}", f"untouched, it raises {raised(outcome)}")
            self.heard.setdefault(outcome.id, outcome.stderr)
        self.proof.untouched = 100 * earned / self.total

    def _cell(self, name: str) -> Any:
        return next(cell for _, cell in self.code if cell_id(cell) == name)

    def _unstable(self, task: str, hidden: bool, call: int) -> None:
        side = "hidden" if hidden else "public"
        self.find(
            f"task {task}",
            f"the reference of {side} check {call + 1} returns something else once there are "
            "answers: it must be independent of them",
        )

    def _take_over(self, task: Task, shown: TaskProof) -> None:
        self.proof.mistakes += len(task.mistakes)
        self.proof.named += shown.named
        self.proof.hidden_only += shown.hidden_only
        self.proof.alternatives += len(task.alternatives)
        self.proof.accepted += shown.accepted
        for where, text in shown.findings:
            self.find(where, text)

    def _idle_checks(
        self, task: Task, solution: list[Outcome], hidden_outputs: dict[str, list]
    ) -> None:
        """Note each hidden check on which every known mistake returns what the solution returns."""
        from coursekit.grading import check

        right = grouped(solution, hidden=True)
        wrong = [hidden_outputs.get(m.id, []) for m in task.mistakes]
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


class _Trials:
    """The trials of all tasks, each in a copy of the process, one copy a processor at a time."""

    def __init__(self, examination: Examination):
        self.examination = examination
        self._running: list[tuple[Task, Beside]] = []
        self._done: dict[str, TaskProof] = {}

    def start(self, task: Task, bench: Bench) -> None:
        """Try out a task's variants, before its answer has run."""
        variants = Variants(self.examination.exercise, task, bench)
        if not CAN_FORK:
            self._done[task.id] = variants.prove()
            return
        while len(self._running) >= cores():
            self._finish(*self._running.pop(0))
        self._running.append((task, Beside(lambda: asdict(variants.prove()))))

    def gather(self) -> dict[str, TaskProof]:
        """Wait for all of them; return what they have shown, by task."""
        while self._running:
            self._finish(*self._running.pop(0))
        return self._done

    def _finish(self, task: Task, beside: Beside) -> None:
        try:
            self._done[task.id] = TaskProof(**beside.result())
        except WorkerFailed as error:
            failed = (f"task {task.id}", f"its variants could not be tried out: {error}")
            self._done[task.id] = TaskProof(findings=[failed])
