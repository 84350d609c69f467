"""One learner's grades for other systems: JSON for Gradescope and Classroom 50, and JUnit.

**Classroom 50.** `classroom50` returns the part of `result.json` that grading decides. The
autograder adds `classroom`, `assignment`, `submission`, `commit`, `release`, `review` and
`datetime` from the environment variables of the runner. Points are integers there: the total is
rounded to the nearest (half up), each task is rounded down, and what is missing to the total goes
to the tasks with the largest rest, so that tasks add up to the total; `passed` means all points.

**Gradescope.** Checks that learners see are visible; the result of hidden checks becomes visible
after the due date, since Gradescope shows results at once and takes submissions again.

**JUnit.** One suite a submission, one case a check cell; a cell with less than all points is a
failure, one that could not be judged an error.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict
from typing import Any
from xml.sax.saxutils import escape, quoteattr

from coursekit.grading.official.feedback import counting, passed_of, why
from coursekit.grading.official.harmless import block, figure, line
from coursekit.grading.official.results import GRADED, CellGrade, Grade, TaskGrade

Case = tuple[str, str, str, CellGrade]  # its name, "" or "failure" or "error", why, its messages


def results(grades: Sequence[Grade]) -> dict[str, Any]:
    """Return everything that is known of one learner's submissions, without answers and times."""
    counted = counting(grades)
    return {
        "schema": "coursekit/results/1",
        "learner": line(grades[0].learner),
        "score": _sum(grade.score for grade in counted),
        "max_score": _sum(grade.max_score for grade in counted),
        "submissions": [_submission(grade) for grade in grades],
    }


def _submission(grade: Grade) -> dict[str, Any]:
    data = asdict(grade)
    for key in ("learner", "answers", "seconds"):
        del data[key]
    data["notes"] = data["notes"][:100]
    for task, record in zip(data["tasks"], grade.tasks, strict=True):
        task |= {"earned": record.earned, "points": record.points, "reason": why(record)}
        for side in ("public", "hidden"):
            task[side]["said"] = task[side]["said"][:100]
    return _clean(data)


def _clean(data: Any) -> Any:
    """Make every text in a JSON document visible and bounded, and every number rounded."""
    if isinstance(data, str):
        return block(data)
    if isinstance(data, dict):
        return {key: _clean(value) for key, value in data.items()}
    if isinstance(data, (list, tuple)):
        return [_clean(value) for value in data]
    return float(figure(data)) if isinstance(data, float) else data


def _sum(values: Iterable[float]) -> float:
    return float(figure(math.fsum(values)))


def told(side: CellGrade) -> str:
    """Return the messages of a check cell as text, as a terminal shows them."""
    parts = []
    for said in side.said[:100]:
        parts.append(f"{said.status}: {line(said.title)}" if said.status != "note" else said.title)
        parts += [f"    {line(k)}: {block(v, 2000, 30)}" for k, v in said.facts[:40]]
    return block("\n".join([*parts, *(f"why: {why_}" for why_ in side.explanations)]), 20_000, 400)


def gradescope(grades: Sequence[Grade]) -> dict[str, Any]:
    """Return Gradescope's results.json of one learner: two tests a task, seconds as an integer.

    The score is the sum of the tests'; each is rounded to 6 digits.
    """
    tests = [test for number, grade in enumerate(grades, 1) for test in _tests(number, grade)]
    reasons = [f"{grade.exercise or grade.file}: {grade.reason}" for grade in grades]
    return {
        "score": _sum(test["score"] for test in tests),
        "execution_time": round(sum(grade.seconds for grade in grades)),
        "output": block("\n".join(r for r, g in zip(reasons, grades, strict=True) if g.reason)),
        "output_format": "text",
        "visibility": "visible",
        "stdout_visibility": "hidden",
        "tests": tests,
    }


def _tests(number: int, grade: Grade) -> Iterator[dict[str, Any]]:
    if not grade.tasks:
        name = grade.exercise or grade.file or "submission"
        said = CellGrade(grade.max_score)
        yield _test(f"{number}", f"{name}: {grade.status}", said, grade.reason, "visible", name)
    for place, task in enumerate(grade.tasks, 1):
        for mark, side, what, shown in (
            ("1", task.public, "checks that you see", "visible"),
            ("2", task.hidden, "hidden checks", "after_due_date"),
        ):
            title = f"{task.title}: {what}"
            output = told(side) or task.reason
            yield _test(f"{number}.{place}.{mark}", title, side, output, shown, grade.exercise)


def _test(
    number: str, name: str, side: CellGrade, output: str, visibility: str, tag: str
) -> dict[str, Any]:
    return {
        "score": float(figure(side.earned)),
        "max_score": float(figure(side.points)),
        "status": "passed" if 0 < side.points <= side.earned else "failed",
        "name": line(name),
        "number": number,
        "output": block(output, 20_000, 400),
        "tags": [line(tag)],
        "visibility": visibility,
    }


def classroom50(grades: Sequence[Grade]) -> dict[str, Any]:
    """Return the part of Classroom 50's result.json that grading decides; points are integers."""
    rows: list[tuple[str, float, float]] = []
    for grade in grades:
        name = grade.exercise or grade.file or "submission"
        rows += [(f"{name} {task.task}", task.earned, task.points) for task in grade.tasks]
        if not grade.tasks:
            rows.append((name, 0.0, grade.max_score))
    most = whole([points for _, _, points in rows])
    earned = whole([score for _, score, _ in rows], most)
    tests = [
        {"test-name": line(name), "passed": 0 < points <= score, "score": got, "max-score": top}
        for (name, score, points), got, top in zip(rows, earned, most, strict=True)
    ]
    schema = "classroom50/result/v1"
    return {"schema": schema, "score": sum(earned), "max-score": sum(most), "tests": tests}


def whole(values: Sequence[float], most: Sequence[int] | None = None) -> list[int]:
    """Round numbers so that they add up to their rounded sum (largest remainder).

    Args:
        values: Numbers of at least 0.
        most: What each may become at most; then the sum may stay below the rounded one.
    """
    down = [math.floor(round(value, 6)) for value in values]
    missing = math.floor(round(math.fsum(values), 6) + 0.5) - sum(down)
    rests = sorted(range(len(down)), key=lambda i: (down[i] - round(values[i], 6), i))
    for place in rests:
        if missing > 0 and (most is None or down[place] < most[place]):
            down[place] += 1
            missing -= 1
    return down


def junit(each: Callable[[], Iterator[Grade]]) -> Iterator[str]:
    """Yield JUnit's XML: one suite a submission, one case a check cell.

    Args:
        each: Called for an iterator over the grades; twice, for the counts come first.
    """
    counts = _attributes(case for grade in each() for case in _cases(grade))
    yield f'<?xml version="1.0" encoding="UTF-8"?>\n<testsuites name="coursekit grade" {counts}>\n'
    for grade in each():
        yield _suite(grade)
    yield "</testsuites>\n"


def _suite(grade: Grade) -> str:
    cases = _cases(grade)
    name = quoteattr(line(f"{grade.learner}: {grade.exercise or grade.file}"))
    lines = [f"<testsuite name={name} {_attributes(cases)}>"]
    owner = quoteattr(line(grade.exercise or "unknown").replace("/", "."))
    for title, kind, reason, side in cases:
        head = f"<testcase classname={owner} name={quoteattr(line(title))}"
        if kind:
            text = escape(told(side) or block(reason))
            head += f"><{kind} message={quoteattr(line(reason))}>{text}</{kind}></testcase>"
        lines.append(head if kind else f"{head}/>")
    return "\n".join([*lines, "</testsuite>\n"])


def _cases(grade: Grade) -> list[Case]:
    if not grade.tasks:
        kind = "" if grade.status == GRADED and 0 < grade.max_score <= grade.score else "error"
        return [("submission", kind, grade.reason or grade.status, CellGrade(0.0))]
    return [case for task in grade.tasks for case in _task_cases(task)]


def _task_cases(task: TaskGrade) -> Iterator[Case]:
    for what, side in (("public", task.public), ("hidden", task.hidden)):
        kind, reason = "", ""
        if side.earned < side.points:
            kind = "error" if task.status == "error" else "failure"
            passed, ran = passed_of(side)
            reason = f"{passed} of {ran} checks passed" if ran else why(task)
        yield f"{task.task} ({what})", kind, reason, side


def _attributes(cases: Iterable[Case]) -> str:
    kinds = Counter(kind for _, kind, _, _ in cases)
    tests, failures, errors = kinds.total(), kinds["failure"], kinds["error"]
    return f'tests="{tests}" failures="{failures}" errors="{errors}"'
