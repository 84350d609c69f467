"""Run a plan in a Jupyter kernel, check cell by check cell, so that a fault costs one task.

Before each check cell the kernel's life is made sure of and `coursekit.grading.guard` puts back
what the notebook's cells may have bent. The result is read from messages that carry a token drawn
for this one cell, so that nothing displayed beforehand, or without knowing it, counts. The
learner's code and the checks share one process: code that a check calls can find the token, or
bend Python where the guard does not look. A result is feedback; official grading takes two
processes.
"""

from __future__ import annotations

import json
import math
import re
import secrets
from dataclasses import dataclass, field
from typing import Any

from coursekit.errors import UserError
from coursekit.grading.kernel import START_SECONDS, Kernel, Ran
from coursekit.grading.layout import defined
from coursekit.grading.messages import MIME
from coursekit.grading.plan import CHECKS, Plan, Step

MOST_MESSAGES, MOST_CHARACTERS = 50, 4000


@dataclass
class Result:
    """What one check cell showed.

    Attributes:
        task: The task.
        side: "public" or "hidden".
        points: What the cell is worth.
        earned: The part that was reached.
        status: "passed", "partly", "failed", "not answered" or "error".
        messages: What its checks said, or the reason for 0 points.
        explanation: What is said about the known mistake that the answer equals, or nothing.
    """

    task: str
    side: str
    points: float
    earned: float = 0.0
    status: str = "failed"
    messages: list[str] = field(default_factory=list)
    explanation: str = ""


class Runner:
    """One run of a notebook; on leaving a ``with`` block its kernel is ended.

    Args:
        plan: The cells.
        known: The exercise that the plan was made of.
        kernel: Runs the cells; not started yet, which happens when the first cell needs it.
        timeout: Seconds that one cell may take.
    """

    def __init__(self, plan: Plan, known: dict[str, Any], kernel: Kernel, timeout: float):
        self.plan, self.known, self.kernel, self.timeout = plan, known, kernel, timeout
        self.steps = plan.steps
        self.stubs = {c["id"]: c["source"] for c in known["cells"] if c["role"] == "answer"}
        self.notes: list[str] = []
        self.broken: dict[str, str] = dict(plan.faults)
        self._position = 0
        self._kept = False

    def __enter__(self) -> Runner:
        return self

    def __exit__(self, *_: object) -> None:
        self.kernel.stop()

    def checks(self) -> list[Step]:
        """Return the check cells, in order."""
        return [step for step in self.steps if step.role in CHECKS]

    def check(self, step: Step) -> Result:
        """Run everything above a check cell that has not run yet, and then that cell.

        Raises:
            UserError: When the exercise itself does not run here.
        """
        index = self.steps.index(step)
        if index < self._position:  # asked for out of order: later answers must not be there
            self.kernel.stop()
            self._position = index
        result = self._blank(step)
        if step.task not in self.broken:
            self._advance(index)
        if step.task not in self.broken:
            self._score(step, result)
            self._position = index + 1
        if step.task in self.broken and result.status != "passed":
            result.status, result.earned = "error", 0.0
            result.messages = [self.broken[step.task]]
        return result

    def finish(self) -> None:
        """Run the cells below the last check cell."""
        self._advance(len(self.steps))

    def _blank(self, step: Step) -> Result:
        points = float(self.known["tasks"][step.task][step.role]["points"])
        status = "not answered" if step.task in self.plan.unanswered else "failed"
        return Result(step.task, step.role, points, status=status)

    def _advance(self, target: int) -> None:
        """Run the cells up to a position, check cells left out."""
        while True:
            self._revive()
            if self._position >= target:
                return
            self._position += 1
            self._run(self.steps[self._position - 1])

    def _revive(self) -> None:
        """Start a kernel where none lives, and run again what ran in the last one.

        Each restart follows a cell that has since been emptied or skipped, so that it ends.
        """
        for _ in range(len(self.steps) + 2):
            if self.kernel.alive:
                return
            self.kernel.start()
            self._kept = False
            self._prepare()
            for step in self.steps[: self._position]:
                self._run(step, again=True)
                if not self.kernel.alive:
                    break
        if not self.kernel.alive:
            raise UserError("the kernel dies whatever is left out: run coursekit doctor")

    def _prepare(self) -> None:
        """Tell the checks in a new kernel which mistakes are known."""
        mistakes = json.dumps(json.dumps({"tasks": self.known["tasks"]}))
        program = (
            "import json\nfrom coursekit.grading import check, guard\n"
            f"check.session.known = json.loads({mistakes})\ndel check, guard, json"
        )
        ran = self.kernel.run(program, START_SECONDS)
        if ran.status != "ok":
            raise UserError(
                f"the checks cannot be loaded ({said(ran)}): run coursekit doctor to see what the "
                "installation lacks"
            )

    def _run(self, step: Step, again: bool = False) -> None:
        if step.skip or step.role in CHECKS:
            return
        if step.role == "answer" and not self._kept:
            self._keep()
        first = step.role == "locked" and not self._kept
        ran = self.kernel.run(step.source, max(self.timeout, START_SECONDS if first else 0))
        if not again or ran.status in ("time limit", "died"):
            self._judge(step, ran, first)

    def _keep(self) -> None:
        """Remember, before the first answer runs, what the checks rest on."""
        names = {name for s in self.steps if s.role == "locked" for name in defined(s.source)}
        names -= {name for stub in self.stubs.values() for name in defined(stub)}
        program = f"from coursekit.grading import guard\nguard.keep({sorted(names)})\ndel guard"
        ran = self.kernel.run(program, START_SECONDS)
        if ran.status != "ok" and self.kernel.alive:
            raise UserError(f"the checks cannot be guarded ({said(ran)}): run coursekit doctor")
        self._kept = True

    def _judge(self, step: Step, ran: Ran, first: bool) -> None:
        if ran.status == "ok":
            return
        if first and step.role == "locked":
            raise UserError(
                f"cell {step.id} of the exercise does not run ({said(ran)}): run coursekit doctor "
                "to see what the installation lacks"
            )
        if step.role == "answer":
            self._break(step.task, f"the answer cell: {said(ran)}")
        elif step.role == "own" or ran.error != "NotImplementedError":
            self.notes.append(f"{step.id} is not graded, but {said(ran)}")
            step.skip = ran.status != "error"

    def _break(self, task: str, reason: str) -> None:
        """Fail what is left of a task, and put the exercise's empty answer into its place."""
        self.broken.setdefault(task, reason)
        for step in self.steps:
            if step.role == "answer" and step.task == task:
                step.source = self.stubs[task]
        if self.kernel.alive:
            self.kernel.run(self.stubs[task], self.timeout)

    def _score(self, step: Step, result: Result) -> None:
        """Run a check cell and read the result from what it displayed under its token."""
        token = secrets.token_hex(16)
        program = f"from coursekit.grading import guard\nguard.arm({token!r})\ndel guard"
        ran = self.kernel.run(program, START_SECONDS)
        if ran.status != "ok":
            self._break(step.task, f"before its checks ran: {said(ran)}")
            return
        ran = self.kernel.run(step.source, self.timeout)
        if ran.status in ("time limit", "died"):
            self._break(step.task, f"while its checks ran: {said(ran)}")
        elif ran.status == "error":
            self.broken[step.task] = _hint(ran, step)
        elif not _read(result, ran, token):
            self.kernel.stop()  # whatever silences the checks, the next task begins without it
            self._break(
                step.task,
                "its checks did not end in points: the notebook's code has replaced or silenced "
                "them; write the answer without touching the checks or IPython",
            )


def _read(result: Result, ran: Ran, token: str) -> bool:
    """Read messages that carry the token; False unless they end in one valid sum of points."""
    found: list[float] = []
    for data in ran.displays:
        message = data[MIME]
        if not isinstance(message, dict) or message.get("token") != token:
            continue
        text = str(data.get("text/plain", ""))[:MOST_CHARACTERS]
        if message.get("kind") == "points":
            found.append(_number(message.get("earned")))
        elif message.get("kind") == "mistake":
            result.explanation = text
        elif len(result.messages) < MOST_MESSAGES:
            result.messages.append(text)
    if len(found) != 1 or not 0 <= found[0] <= result.points:
        return False
    result.earned = found[0]
    if result.earned == result.points:
        result.status = "passed"
    elif result.status != "not answered":
        result.status = "partly" if result.earned else "failed"
    return True


def _number(value: Any) -> float:
    """Return a number of points; NaN for anything that is none."""
    return float(value) if type(value) in (int, float) else math.nan


def said(ran: Ran) -> str:
    """Say what happened to a cell that did not run through."""
    if ran.status == "time limit":
        return f"{ran.text} and was stopped (an endless loop?)"
    if ran.status == "died":
        return "it ended the kernel (os._exit, exit of the interpreter, or out of memory?)"
    text = re.sub(
        r" ?\([^()]*, line \d+\)$", "", ran.text.strip().splitlines()[0] if ran.text.strip() else ""
    )[:300]
    line = f" (line {ran.line})" if ran.line else ""
    return f"it raises {ran.error}: {text}{line}" if text else f"it raises {ran.error}{line}"


def _hint(ran: Ran, step: Step) -> str:
    found = (
        re.search(r"name '(\w+)' is not defined", ran.text) if ran.error == "NameError" else None
    )
    if found:
        return f"{found[1]} is not defined: the answer cell {step.task} must define it"
    if step.role == "hidden":  # the text of an error could show an input
        return f"while its hidden checks ran: it raises {ran.error}"
    return f"while its checks ran: {said(ran)}"
