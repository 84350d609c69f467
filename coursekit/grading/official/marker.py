"""Mark one submission: a process of its own, forked from the examiner and gone with the grade.

Checks run here, on the trusted side; the learner's cells run in a confined process that the zygote
forks. There are two passes, each with a fresh process: the first runs all answers and the public
checks, whose messages show values; the second runs them again with the hidden checks, whose
messages show none. So nothing that a hidden check hands to the code can come back in a message.

An answer that raises, loops or ends its process is replaced by the released, empty one, and the
other tasks are marked.
"""

from __future__ import annotations

import json
import linecache
import os
import resource
import socket
import time
import traceback
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from types import CodeType
from typing import Any

from coursekit.errors import UserError
from coursekit.grading import check
from coursekit.grading.backend import Failure
from coursekit.grading.layout import defined
from coursekit.grading.messages import Message
from coursekit.grading.notebook import exercise_name, parse_notebook, read_notebook
from coursekit.grading.official.grader import refused
from coursekit.grading.official.remote import RemoteBackend
from coursekit.grading.official.results import GRADED, CellGrade, Grade, Job, Said, TaskGrade
from coursekit.grading.official.sheet import Part, Sheet, answers_of, notes_on
from coursekit.grading.official.wire import Channel
from coursekit.grading.session import Session

MEMORY = 6 << 30
ANSWER_BYTES = 200_000
REPLY_BYTES = 32 << 20  # that a function may return; conditions of checks work on it
FACT_CHARACTERS = 4000
CELLS_AT_LIMIT = 6  # so many times the limit of one cell is what a submission may take in all


def total_seconds(seconds: float) -> float:
    """Return how long one submission may take in all, given the limit of one cell."""
    return CELLS_AT_LIMIT * seconds + 30


@dataclass
class Desk:
    """What a marker works with.

    Attributes:
        sheet: The exercise.
        namespace: That of the trusted side, after the setup cells.
        session: That of the checks.
        control: The socket to the zygote.
    """

    sheet: Sheet
    namespace: dict[str, Any]
    session: Session
    control: socket.socket


@dataclass(frozen=True)
class Needs:
    """The answer of a marker whose exercise is not ready."""

    exercise: str


def become(
    writing: int, job: Job, desks: dict[str, Desk], known: Callable[[str], bool], seconds: float
) -> None:
    """Mark a submission, write the grade as JSON to a pipe and end this process."""
    code = 1
    try:
        resource.setrlimit(resource.RLIMIT_DATA, (MEMORY, MEMORY))
        said = _said(job, desks, known, seconds)
        with os.fdopen(writing, "wb") as pipe:
            pipe.write(json.dumps(said).encode())
        code = 0
    finally:
        os._exit(code)


def _said(
    job: Job, desks: dict[str, Desk], known: Callable[[str], bool], seconds: float
) -> dict[str, Any]:
    try:
        result = mark(job, desks, known, seconds)
    except Exception as error:
        place = traceback.extract_tb(error.__traceback__)[-1]
        text = f"{type(error).__name__}: {error} ({Path(place.filename).name}, line {place.lineno})"
        result = Grade(job.learner, job.exercise, "failed", reason=f"the grader failed: {text}",
                       file=job.file, sha256=job.sha256)  # fmt: skip
    said = {"needs": result.exercise} if isinstance(result, Needs) else asdict(result)
    return dict(_encodable(said))


def _encodable(data: Any) -> Any:
    """Replace halves of surrogate pairs, which JSON can carry and no file can hold."""
    if isinstance(data, str):
        return data.encode("utf-8", "replace").decode()
    if isinstance(data, dict):
        return {_encodable(key): _encodable(value) for key, value in data.items()}
    return [_encodable(item) for item in data] if isinstance(data, (list, tuple)) else data


def mark(
    job: Job, desks: dict[str, Desk], known: Callable[[str], bool], seconds: float
) -> Grade | Needs:
    """Mark a submission.

    Args:
        job: The submission.
        desks: The exercises that are ready.
        known: Whether there is an exercise of a name.
        seconds: How long one cell or call of the learner's may take.

    Returns:
        Its grade, or the exercise that must be made ready first.
    """
    points = desks[job.exercise].sheet.points if job.exercise in desks else 0.0
    try:
        if job.content is None:
            notebook = read_notebook(job.path, bare=True)
        else:
            notebook = parse_notebook(job.content, job.file, bare=True)
    except UserError as error:
        return refused(job, str(error).replace(job.path or job.file, job.file), points=points)
    except MemoryError:
        return refused(job, f"{job.file} needs too much memory to be read", points=points)
    name = job.exercise or exercise_name(notebook)
    if not known(name):
        what = f"says that it is {name!r}, which is" if name else "is"
        return refused(job, f"{job.file} {what} no exercise of the course")
    if name not in desks:
        return Needs(name)
    return _Marking(job, name, notebook, desks[name], seconds).grade()


class _Marking:
    """The marking of one submission."""

    def __init__(self, job: Job, name: str, notebook: Any, desk: Desk, seconds: float):
        self.job, self.name, self.desk, self.sheet = job, name, desk, desk.sheet
        self.seconds = seconds
        self.deadline = time.monotonic() + total_seconds(seconds)
        self.answers = answers_of(notebook, self.sheet)
        self.notes = notes_on(notebook, self.sheet, self.answers)
        self.reasons = {task: a.reason for task, a in self.answers.items() if a.reason}
        self.cells = {
            (task.id, hidden): CellGrade(self.sheet.exercise.points(position))
            for task in self.sheet.tasks
            for hidden, position in ((False, task.public), (True, task.hidden))
        }
        self.namespace = desk.namespace
        self.hidden = False
        check.session = desk.session

    def grade(self) -> Grade:
        """Run both passes and return the grade."""
        if any(answer.touched for answer in self.answers.values()):
            for self.hidden in (False, True):
                self.start()
                self.run()
        tasks = [self.task_grade(task.id, task.title) for task in self.sheet.tasks]
        score = sum(task.earned for task in tasks)
        return Grade(
            learner=self.job.learner,
            exercise=self.name,
            status=GRADED,
            score=round(score, 6),
            max_score=self.sheet.points,
            reason=self.reason(score),
            tasks=tasks,
            notes=self.notes,
            answers={t: a.source[:ANSWER_BYTES] for t, a in self.answers.items() if a.touched},
            file=self.job.file,
            sha256=self.job.sha256,
        )

    def reason(self, score: float) -> str:
        """Say why the score is 0, or what was cut short."""
        if self.reasons:
            return "; ".join(f"{task}: {reason}" for task, reason in self.reasons.items())
        if not any(answer.touched for answer in self.answers.values()):
            return "nothing was answered"
        return "" if score else "no check passed"

    def task_grade(self, task: str, title: str) -> TaskGrade:
        """Put the result of a task together."""
        public, hidden = self.cells[task, False], self.cells[task, True]
        earned, points = public.earned + hidden.earned, public.points + hidden.points
        if task in self.reasons:
            status = "error"
        elif not self.answers[task].touched:
            status = "not answered"
        else:
            status = "passed" if earned >= points else "partly" if earned else "failed"
        return TaskGrade(task, title, status, public, hidden, self.reasons.get(task, ""))

    def run(self) -> None:
        """Run all answers, and the public or the hidden checks."""
        for position, part in enumerate(self.sheet.parts):
            if part.role == "answer":
                self.answer(part, position)
            elif part.role in ("locked", "shown"):
                self.unmarked(part, position)
            elif (part.role == "hidden") is self.hidden and self.markable(part.task):
                self.check(part, position)

    def markable(self, task: str) -> bool:
        """Whether a task's checks are worth running."""
        return self.answers[task].touched and task not in self.reasons

    def text_of(self, task: str) -> str:
        """Return the text that stands for a task's answer."""
        return self.sheet.stub(task) if task in self.reasons else self.answers[task].source

    def start(self) -> None:
        """Have the zygote fork a process for the learner's code."""
        ours, theirs = socket.socketpair()
        with theirs:
            request = [json.dumps({"do": "start"}).encode()]
            socket.send_fds(self.desk.control, request, [theirs.fileno()])
        self.backend = RemoteBackend(Channel(ours), self.seconds, REPLY_BYTES)
        self.backend.deadline = self.deadline
        check.session.backend = self.backend

    def answer(self, part: Part, position: int) -> None:
        """Run a task's answer; one that fails is replaced by the empty one."""
        if self.late(part.task):
            return
        failure = self.run_cell(part.id, self.text_of(part.task))
        if failure is not None and part.task not in self.reasons:
            # In the second pass its text may carry what a hidden check has handed over before.
            what = "it fails when it runs again" if self.hidden else explained(failure)
            self.reasons[part.task] = f"the answer cell: {what}"
            if self.alive():
                self.run_cell(part.id, self.sheet.stub(part.task))
        if not self.alive():
            self.replay(position)

    def run_cell(self, name: str, source: str) -> Failure | None:
        """Run a cell in the learner's process, within what time is left."""
        return self.backend.run_cell(name, source)

    def alive(self) -> bool:
        """Whether the learner's process still serves."""
        return not self.backend.dead

    def unmarked(self, part: Part, position: int) -> None:
        """Run a cell that is not graded where its names are used."""
        later = (self.answers[p.task] for p in self.sheet.parts[position:] if p.role == "answer")
        if part.role == "locked" or any(defined(part.source) & answer.uses for answer in later):
            self.run_cell(part.id, part.source)
            if not self.alive():
                self.replay(position)
        if not self.hidden and self.sheet.on_trusted_side(part):
            run_cell(part, self.namespace)

    def late(self, task: str) -> bool:
        """Whether the time of the submission is used up, which is then a task's reason."""
        if time.monotonic() < self.deadline:
            return False
        limit = f"{total_seconds(self.seconds):g} s"
        self.reasons.setdefault(task, f"it was not marked: the submission's {limit} were used up")
        return True

    def replay(self, position: int) -> None:
        """Start anew and run the cells up to a position again, without checks."""
        for _ in range(len(self.sheet.tasks) + 1):
            self.start()
            culprit = self.run_again(position)
            if culprit is None:
                return
            why = "its answer cell ended the process when it ran again"
            self.reasons.setdefault(culprit, why)

    def run_again(self, position: int) -> str | None:
        """Run cells again; returns the task whose answer has ended the process, if one has."""
        for part in self.sheet.parts[: position + 1]:
            if part.role in ("answer", "locked"):
                source = self.text_of(part.task) if part.role == "answer" else part.source
                self.run_cell(part.id, source)
                if not self.alive():
                    return part.task or None
        return None

    def check(self, part: Part, position: int) -> None:
        """Run a check cell and take its points."""
        if self.late(part.task):
            return
        cell = self.cells[part.task, part.role == "hidden"]

        def show(message: Message) -> None:
            facts = [(label, shortened(text)) for label, text in message.facts]
            cell.said.append(Said(message.status, shortened(message.title), message.kind, facts))

        check.session.show = show
        results = len(check.session.results)
        try:
            run_cell(part, self.namespace)
        except Exception as error:  # the solution's values passed these checks
            kind = type(error).__name__
            self.reasons[part.task] = f"a check cannot judge what it returns ({kind})"
        for result in check.session.results[results:]:
            cell.earned, cell.explanations = result.earned, result.explanations
        if not self.alive():
            self.reasons[part.task] = f"while its checks ran: {DEATHS[self.backend.dead]}"
            self.replay(position)


DEATHS = {
    "TimeLimit": "it took too long and was stopped (an endless loop?)",
    "Died": "it ended its process (os._exit, a crash, or out of memory?)",
}


def shortened(text: str) -> str:
    """Bound what a message may add to the store."""
    return text if len(text) <= FACT_CHARACTERS else f"{text[: FACT_CHARACTERS - 1]}…"


def explained(failure: Failure) -> str:
    """Say in one line what happened to a cell."""
    if failure.type in DEATHS:
        return DEATHS[failure.type]
    text = f": {failure.message}" if failure.message else ""
    line = f" (line {failure.line})" if failure.line else ""
    return f"it raises {failure.type}{text}{line}"


def run_cell(part: Part, namespace: dict[str, Any]) -> None:
    """Execute a cell of the instructor's in a namespace, its text open to `inspect`."""
    exec(_compiled(part.id, part.source), namespace)


@cache
def _compiled(name: str, source: str) -> CodeType:
    file = f"<cell {name}>"
    linecache.cache[file] = (len(source), None, source.splitlines(True), file)
    return compile(source, file, "exec", dont_inherit=True)
