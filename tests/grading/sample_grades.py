"""Grades of the sample exercise, written by hand, and what a hostile learner puts into them."""

from __future__ import annotations

from conftest import NAME

from coursekit.grading.official.results import (
    FAILED,
    GRADED,
    REFUSED,
    CellGrade,
    Grade,
    Said,
    TaskGrade,
)

MARKUP = "<script>alert(1)</script>\"'><img src=https://example.org/x onerror=alert(2)>"
INVISIBLE = "a\x00b\x1b[31mc\u202ed\u2066e\ud800f\ufffeg\x85h"
FORMULAS = ("=1+1", "+1+1", "-1+1", "@SUM(A1)", "\t=1", "\r=1", "'=1", "＝1+1", "x;=1+1")
HOSTILE = MARKUP + INVISIBLE


def task(name: str, public: float, hidden: float, status: str = "partly", **more) -> TaskGrade:
    """One task with two public points and three hidden ones."""
    return TaskGrade(
        name,
        more.pop("title", f"The {name}"),
        status,
        CellGrade(2.0, public, more.pop("said", []), more.pop("explanations", [])),
        CellGrade(3.0, hidden, more.pop("hidden_said", [])),
        **more,
    )


FAILED_CHECK = Said(
    "failed",
    "spread: the values differ",
    "close",
    [("x", "array float64 (3,) [2, 0, -2]"), ("expected", "1.63299"), ("got", "2.66667")],
)
HIDDEN = [
    Said("passed", "average: hidden check", "close"),
    Said("failed", "average: hidden check (skewed): the values differ", "close"),
    Said("failed", "average: hidden check: the shape differs", "close"),
    Said("note", "average: 1 of 3 points, 1 of 3 hidden checks passed", "points"),
]


def full(learner: str = "anna", **more) -> Grade:
    """A grade in which each kind of task occurs."""
    passed = Said("passed", "average agrees with the reference on 1 case", "close")
    tasks = [
        task("average", 2.0, 1.0, said=[passed], hidden_said=HIDDEN),
        task("spread", 0.0, 0.0, "failed", said=[FAILED_CHECK], explanations=["Take the root."]),
        task("scaled", 0.0, 0.0, "not answered"),
        task("largest", 0.0, 0.0, "error", reason="the answer cell: it raises SyntaxError"),
    ]
    values = {"file": f"{learner}/01-numbers.ipynb", "sha256": "0" * 64, "seconds": 1.4}
    answers = {"average": "def average(x):\n    return x.mean()\n"}
    return Grade(
        learner, NAME, GRADED, 3.0, 20.0, tasks=tasks, **{"answers": answers, **values, **more}
    )


def perfect(learner: str) -> Grade:
    """A grade with all points."""
    tasks = [task(name, 2.0, 3.0, "passed") for name in ("average", "spread", "scaled", "largest")]
    return Grade(learner, NAME, GRADED, 20.0, 20.0, tasks=tasks, file=f"{learner}/x.ipynb")


def refused(learner: str, exercise: str = NAME, **more) -> Grade:
    """A submission that could not be run."""
    values = {"reason": "no notebook was handed in", "file": f"{learner}/x.ipynb", **more}
    return Grade(learner, exercise, REFUSED, 0.0, 20.0 if exercise else 0.0, **values)


def failed(learner: str) -> Grade:
    """A submission at which the grader itself failed."""
    return Grade(learner, NAME, FAILED, 0.0, 20.0, "the examiner ended", file=f"{learner}/x.ipynb")


def hostile(learner: str = HOSTILE) -> Grade:
    """A grade in which everything that a learner can choose is hostile."""
    said = [Said("failed", HOSTILE, "close", [(HOSTILE, HOSTILE + "x" * 100_000)] * 3)] * 3
    tasks = [
        task("average", 2 / 3, 1.0, said=said, hidden_said=said, explanations=[HOSTILE]),
        task("spread", 0.0, 0.0, "error", reason=HOSTILE, title=HOSTILE),
    ]
    return Grade(
        learner, NAME, GRADED, 5 / 3, 10.0, HOSTILE, tasks, [HOSTILE] * 3,
        {"average": HOSTILE * 1000}, HOSTILE, HOSTILE, 1e9,
    )  # fmt: skip
