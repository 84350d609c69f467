"""Which cells of an exercise run, in which order, and which of them are the learner's.

The exercise as released, or the instructor's notebook, is the source of truth: its cells, in its
order. Of the learner's notebook only the answer cells are taken, found by ``grade_id``; metadata,
tags and outputs count for nothing. ``coursekit check`` also runs the cells that learners added,
which are never graded.
"""

from __future__ import annotations

import ast
import warnings
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from coursekit.grading.layout import defined, used
from coursekit.grading.lean import NotebookNode
from coursekit.grading.notebook import BEGIN_HIDDEN, Exercise, grade_id, role
from coursekit.grading.release import cell_id, released_source

CHECKS = ("public", "hidden")


@dataclass
class Step:
    """A cell to run.

    Attributes:
        role: "own" of the learner, or "shown", "locked", "answer", "public" or "hidden".
        id: Its name.
        source: Its text.
        task: The task that an answer or a check belongs to.
        skip: Whether it is left out from now on.
    """

    role: str
    id: str
    source: str
    task: str = ""
    skip: bool = False


@dataclass
class Plan:
    """The cells to run for one notebook.

    Attributes:
        steps: The cells, in order.
        faults: Why the answer to a task cannot be run, by task.
        unanswered: Tasks whose answer cell is as released.
        notes: Which cells of the exercise were edited or deleted.
        borrowed: Which names an answer takes from a cell that is never graded.
    """

    steps: list[Step] = field(default_factory=list)
    faults: dict[str, str] = field(default_factory=dict)
    unanswered: set[str] = field(default_factory=set)
    notes: list[str] = field(default_factory=list)
    borrowed: list[str] = field(default_factory=list)


def record_of(exercise: Exercise, known: dict[str, Any]) -> dict[str, Any]:
    """Describe an exercise in the form of its release, hidden tests included where they are.

    Args:
        exercise: The instructor's notebook, or the exercise as released.
        known: What the release recorded, for the known mistakes; may be empty.
    """
    recorded = known.get("tasks", {})
    tasks = {
        task.id: {
            "title": task.title,
            "public": {"points": exercise.points(task.public)},
            "hidden": {"points": exercise.points(task.hidden)},
            "mistakes": recorded.get(task.id, {}).get("mistakes", []),
        }
        for task in exercise.tasks
    }
    cells = [
        {
            "id": cell_id(cell),
            "role": role(cell),
            "source": cell.source if role(cell) == "hidden" else released_source(cell),
        }
        for cell in exercise.notebook.cells
        if cell.cell_type == "code"
    ]
    order = [task.id for task in exercise.tasks]
    return {"exercise": exercise.name, "order": order, "tasks": tasks, "cells": cells}


def make_plan(
    notebook: NotebookNode, known: dict[str, Any], *, own: bool = True, strict: bool = False
) -> Plan:
    """Put a learner's answers into an exercise.

    Args:
        notebook: The learner's.
        known: The exercise, as recorded by its release or by :func:`record_of`.
        own: Whether cells that the learner added run, each after the cell above it.
        strict: Whether an answer that is no plain Python, such as one with a magic, is a fault.
    """
    plan = Plan()
    released = {cell["id"]: cell for cell in known["cells"]}
    theirs: dict[str, list[str]] = {}
    added: dict[str, list[Step]] = {}
    above = ""
    for number, cell in enumerate(notebook.cells, 1):
        if cell.cell_type != "code":
            continue
        key = key_of(cell)
        recorded = released.get(key)
        changed = recorded is None or not alike(cell.source, recorded["source"])
        if recorded is None or (own and recorded["role"] == "shown" and changed):
            added.setdefault(above, []).append(Step("own", f"cell {number}", cell.source))
        else:
            theirs.setdefault(key, []).append(cell.source)
            above = key
    plan.steps += added.get("", []) if own else []
    for cell in known["cells"]:
        if cell["role"] == "shown" and own and cell["id"] not in theirs:
            continue
        if step := _step(cell, theirs.get(cell["id"], []), plan, strict):
            plan.steps.append(step)
        plan.steps += added.get(cell["id"], []) if own else []
    ungraded = [step for steps in added.values() for step in steps]
    plan.borrowed = _borrowed([*(s for s in plan.steps if s.role != "own"), *ungraded])
    return plan


def _step(cell: dict[str, str], found: list[str], plan: Plan, strict: bool) -> Step | None:
    """Return the step for a cell of the exercise, and note what is wrong with the learner's."""
    kind, name, source = cell["role"], cell["id"], cell["source"]
    if kind == "hidden" and BEGIN_HIDDEN not in source:
        return None
    if kind == "answer":
        reason = _fault(found, strict)
        if reason:
            plan.faults[name] = reason
        elif alike(found[0], source):
            plan.unanswered.add(name)
        return Step(kind, name, source if reason else found[0], task=name)
    if kind in ("public", "locked") and not any(alike(text, source) for text in found):
        how = "edited" if found else "deleted"
        plan.notes.append(f"cell {name} was {how}: it ran as released")
    return Step(kind, name, source, task=name.removesuffix(f"-{kind}") if kind in CHECKS else "")


def _fault(found: list[str], strict: bool) -> str:
    """Say why an answer cannot be run; empty when it can."""
    if not found:
        return "its answer cell is missing: copy it from the exercise as released"
    if len(found) > 1:
        return f"its answer cell stands {len(found)} times: keep one"
    if not strict:
        return ""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            ast.parse(found[0])
    except SyntaxError as error:
        what = f"{error.msg}, line {error.lineno}"
    except (ValueError, RecursionError, MemoryError) as error:
        what = str(error) or type(error).__name__
    else:
        return ""
    return (
        f"its answer cell is no plain Python ({what}): mend that line; magics and shell commands "
        "(% and !) belong into a cell of your own"
    )


def key_of(cell: NotebookNode) -> str:
    """Return the name by which a learner's cell is recognized: grade_id, or its own id."""
    return grade_id(cell) or str(cell.get("id", ""))


def alike(one: str, other: str) -> bool:
    """Whether two cells hold the same text, trailing white space aside."""
    texts = [
        "\n".join(line.rstrip() for line in text.strip().splitlines()) for text in (one, other)
    ]
    return texts[0] == texts[1]


def _borrowed(steps: list[Step]) -> list[str]:
    """Note names that an answer takes from a cell of the learner's own, which is never graded."""
    own: dict[str, str] = {}
    for step in steps:
        if step.role == "own":
            own |= dict.fromkeys(defined(step.source), step.id)
    shared = {name for step in steps if step.role != "own" for name in defined(step.source)}
    return [
        f"only answer cells are graded: move {name} from {own[name]} into the answer cell {step.id}"
        for step in steps
        if step.role == "answer"
        for name in sorted(used(step.source) & set(own) - shared)
    ]


def answered(notebook: NotebookNode, known: dict[str, Any]) -> int:
    """Return for how many tasks the answer cell no longer is as released."""
    found = Counter(
        key_of(cell)
        for cell in notebook.cells
        for released in known["cells"]
        if released["role"] == "answer"
        and released["id"] == key_of(cell)
        and not alike(cell.source, released["source"])
    )
    return len(found)
