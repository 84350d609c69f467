"""What goes into official grading and what comes out of it: plain records, ready for JSON.

One :class:`Job` is one notebook that was handed in, one :class:`Grade` its result. Whatever happens
to a submission, there is one grade for it, and one of 0 points says why.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any

BOOK = re.compile(r"(https?|file)://|[^:]*$")  # where a book may lie: an address, or a path
GRADED, REFUSED, FAILED = "graded", "refused", "failed"


@dataclass(frozen=True)
class Job:
    """A notebook to grade.

    Attributes:
        learner: Who handed it in.
        exercise: The exercise that it is taken for, "part/name"; empty to ask the notebook.
        file: Where it lies inside the folder of submissions; for people to read.
        path: Where to read it; empty when `content` is given.
        content: The notebook itself, for a machine that does not share the disk.
        sha256: Of the notebook; empty when it could not be read.
        reason: Why nothing is to be run, for example "no notebook was handed in"; mostly empty.
    """

    learner: str
    exercise: str
    file: str
    path: str = ""
    content: bytes | None = None
    sha256: str = ""
    reason: str = ""


@dataclass
class Said:
    """One message of a check.

    Attributes:
        status: "passed", "failed" or "note".
        title: One line.
        kind: The check ("close", "points", "mistake", …).
        facts: (label, text) pairs, a text of one or more lines.
    """

    status: str
    title: str
    kind: str
    facts: list[tuple[str, str]] = field(default_factory=list)


@dataclass
class CellGrade:
    """The result of one check cell.

    Attributes:
        points: What the cell is worth.
        earned: The part that was reached.
        said: Its messages, in order; those of hidden checks show no inputs and no values.
        explanations: What is said about the known mistake that the answer equals, if it is one.
    """

    points: float
    earned: float = 0.0
    said: list[Said] = field(default_factory=list)
    explanations: list[str] = field(default_factory=list)


@dataclass
class TaskGrade:
    """The result of one task.

    Attributes:
        task: Its id.
        title: What its heading says.
        status: "passed", "partly", "failed", "not answered" or "error".
        public: The check cell that learners see.
        hidden: The check cell with hidden tests.
        reason: For "error", what kept the answer from being judged, in one line.
    """

    task: str
    title: str
    status: str
    public: CellGrade
    hidden: CellGrade
    reason: str = ""

    @property
    def earned(self) -> float:
        """Points earned in both cells."""
        return self.public.earned + self.hidden.earned

    @property
    def points(self) -> float:
        """Points of both cells."""
        return self.public.points + self.hidden.points


@dataclass
class Grade:
    """The result of one submission.

    Attributes:
        learner: Who handed it in.
        exercise: The exercise, "part/name"; empty when none could be recognized.
        status: "graded"; "refused" when nothing could be run, with 0 points and a reason; "failed"
            when the grader itself failed, which a later run tries again.
        score: Points earned.
        max_score: Points of the exercise.
        reason: Never empty when the score is 0 or something was cut short; one line.
        tasks: One for each task of the exercise, in order; empty when nothing was run.
        notes: What else the learner should know.
        answers: The text of each answer cell that was run, by task; what reports compare and show.
        file: Where the notebook lay.
        sha256: Of the notebook.
        seconds: Wall time of the grading.
    """

    learner: str
    exercise: str
    status: str
    score: float = 0.0
    max_score: float = 0.0
    reason: str = ""
    tasks: list[TaskGrade] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    answers: dict[str, str] = field(default_factory=dict)
    file: str = ""
    sha256: str = ""
    seconds: float = 0.0


def grade_from(data: dict[str, Any]) -> Grade:
    """Rebuild a grade from what `dataclasses.asdict` made of it, through JSON or not."""
    tasks = [
        TaskGrade(**{**task, "public": _cell(task["public"]), "hidden": _cell(task["hidden"])})
        for task in data["tasks"]
    ]
    return Grade(**{**data, "tasks": tasks})


def _cell(data: dict[str, Any]) -> CellGrade:
    said = [Said(**{**one, "facts": [(k, v) for k, v in one["facts"]]}) for one in data["said"]]
    return CellGrade(**{**data, "said": said})
