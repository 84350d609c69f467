"""Derive from each solution what learners get: the exercise, and what its checks may know.

``exercises/PART/NAME.ipynb`` is the solution without answers, hidden tests, mistakes and outputs.
``coursekit/grading/known/PART/NAME.json`` holds the outputs of the known mistakes on public inputs,
with their explanations and never their code, and the text of the cells that a learner may not
change. Both follow from the solution alone, byte for byte.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from coursekit.errors import UserError
from coursekit.grading.lean import NotebookNode
from coursekit.grading.notebook import (
    BEGIN_HIDDEN,
    BEGIN_SOLUTION,
    END_HIDDEN,
    END_SOLUTION,
    Exercise,
    grade_id,
    json_text,
    notebook_text,
    read_exercise,
    read_notebook,
    region_lines,
    role,
    solution_paths,
    without_regions,
    write_text,
)
from coursekit.grading.trials import ENVIRONMENT, Bench, Outcome, Step, WorkerFailed, in_worker

STUB = 'raise NotImplementedError("Replace this line by your answer.")'
NO_TESTS = "# Hidden tests stand here when the exercise is graded."
LONG_ENOUGH = 20
MISTAKE_SECONDS = 120
EXERCISE_SECONDS = 1200
HEADERS = ("for ", "while ", "if ", "elif ", "with ", "import ", "from ", "def ", "#")


@dataclass(frozen=True)
class Derived:
    """What one solution yields: the text of both files and where they belong."""

    name: str
    exercise: str
    known: dict[str, Any]
    exercise_path: Path
    known_path: Path


def released_source(cell: NotebookNode) -> str:
    """Return the text of a solution's cell as learners get it."""
    if role(cell) == "answer":
        return without_regions(cell.source, BEGIN_SOLUTION, END_SOLUTION, STUB)
    if role(cell) == "hidden":
        return without_regions(cell.source, BEGIN_HIDDEN, END_HIDDEN, NO_TESTS)
    return str(cell.source)


def released_notebook(exercise: Exercise) -> NotebookNode:
    """Return the exercise of a solution: no answer, hidden test, raw cell or output is left."""
    notebook = deepcopy(exercise.notebook)
    notebook.cells = [cell for cell in notebook.cells if cell.cell_type != "raw"]
    for cell in notebook.cells:
        cell.source = released_source(cell)
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
    return notebook


def known_of(exercise: Exercise, outputs: dict[str, list]) -> dict[str, Any]:
    """Return what checks may know of an exercise.

    Args:
        exercise: The solution.
        outputs: For the id of each mistake, its encoded output for each public check and case.
    """
    tasks = {
        task.id: {
            "title": task.title,
            "minutes": task.minutes,
            "difficulty": task.difficulty,
            "public": {"points": exercise.points(task.public)},
            "hidden": {"points": exercise.points(task.hidden)},
            "mistakes": [
                {"id": m.id, "explanation": m.explanation, "public": outputs[m.id]}
                for m in task.mistakes
            ],
        }
        for task in exercise.tasks
    }
    cells = [
        {"id": cell_id(cell), "role": role(cell), "source": released_source(cell)}
        for cell in exercise.notebook.cells
        if cell.cell_type == "code"
    ]
    return {
        "exercise": exercise.name,
        "order": [task.id for task in exercise.tasks],
        "tasks": tasks,
        "cells": cells,
    }


def cell_id(cell: NotebookNode) -> str:
    """Return the name under which a code cell is found again: grade_id, or the id of its own."""
    return grade_id(cell) or str(cell.get("id", ""))


def grouped(outcomes: list[Outcome], hidden: bool) -> list[list[Any]]:
    """Arrange observed outputs as one list for each check, holding one entry for each case."""
    calls: dict[int, list[Any]] = {}
    for was_hidden, call, _, encoded in (x for o in outcomes for x in o.observed):
        if bool(was_hidden) is hidden:
            calls.setdefault(call, []).append(encoded)
    return [calls.get(call, []) for call in range(max(calls, default=-1) + 1)]


def record_mistakes(path: str) -> dict[str, list]:
    """Run every known mistake of a solution on the public inputs; called in a worker."""
    exercise, bench = read_exercise(path), Bench()
    answers = {task.answer: task for task in exercise.tasks}
    outputs = {}
    for position, cell in enumerate(exercise.notebook.cells):
        if position in answers:
            task = answers[position]
            public = Step(f"{task.id}-public", exercise.source(task.public))
            for mistake in task.mistakes:
                steps = [Step(task.id, mistake.source), public]
                tried = bench.try_out(steps, MISTAKE_SECONDS)
                _demand_success(mistake.id, tried)
                outputs[mistake.id] = grouped(tried, hidden=False)
        if role(cell) in ("answer", "locked", "shown"):
            _demand_success(cell_id(cell), bench.run([Step(cell_id(cell), cell.source)]))
    return outputs


def _demand_success(what: str, outcomes: list[Outcome]) -> None:
    for outcome in outcomes:
        if outcome.error:
            raise RuntimeError(f"{what}, cell {outcome.id}: {outcome.error}: {outcome.text}")


def derive(root: Path, path: Path) -> Derived:
    """Derive both files of one solution, without writing them.

    Raises:
        UserError: When the solution cannot be read, taken apart or run.
    """
    exercise = read_exercise(path)
    if not exercise.notebook.metadata.get("coursekit"):
        raise UserError(f'{path}: set metadata.coursekit to {{"exercise": "{exercise.name}"}}')
    try:
        full = path.resolve()
        outputs = in_worker(record_mistakes, str(full), full.parent, EXERCISE_SECONDS)
    except WorkerFailed as error:
        raise UserError(f"{path} does not run ({error}): mend the solution first") from error
    known_path = root / "coursekit" / "grading" / "known" / f"{exercise.name}.json"
    known = known_of(exercise, outputs)
    _keep_recorded(known, _load(known_path))
    return Derived(
        exercise.name,
        notebook_text(released_notebook(exercise)),
        known,
        root / "exercises" / f"{exercise.name}.ipynb",
        known_path,
    )


def _load(path: Path) -> dict[str, Any]:
    """Return what an earlier release wrote; empty when it wrote nothing that can be read."""
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return data if isinstance(data, dict) else {}


def _keep_recorded(known: dict[str, Any], earlier: dict[str, Any]) -> None:
    """Keep outputs recorded earlier where today's are the same within the checks' tolerance.

    The last digits differ between processors; a release on another machine shall change no byte.
    """
    from coursekit.grading import check

    for task, now in known["tasks"].items():
        before = earlier.get("tasks", {}).get(task, {}).get("mistakes", [])
        recorded = {mistake["id"]: mistake["public"] for mistake in before}
        for mistake in now["mistakes"]:
            old, new = recorded.get(mistake["id"]), mistake["public"]
            if (
                old is not None
                and [len(call) for call in old] == [len(call) for call in new]
                and all(check.same(a, b) for x, y in zip(old, new, strict=True)
                        for a, b in zip(x, y, strict=True))
            ):  # fmt: skip
                mistake["public"] = old


def release(root: Path, names: list[str] | None = None, force: bool = False) -> list[Path]:
    """Derive the exercises and known mistakes of a course.

    Args:
        root: The folder of the course.
        names: Exercises such as "1-basics/01-logistic-neuron"; all by default.
        force: Overwrite exercises whose answers were edited.

    Returns:
        The files that changed.

    Raises:
        UserError: When a solution does not run, or an exercise was edited and `force` is not set;
            then nothing at all is written.
    """
    derived = [derive(Path(root), path) for path in solution_paths(Path(root), names)]
    edited = [] if force else [line for item in derived for line in _edited(item)]
    if edited:
        raise UserError(
            f"{'; '.join(edited)}: a release would overwrite them: save them under another name, "
            "or give --force"
        )
    changed = []
    for item in derived:
        for path, text in (
            (item.exercise_path, item.exercise),
            (item.known_path, json_text(item.known)),
        ):
            if write_text(path, text):
                changed.append(path)
    return changed


def _edited(item: Derived) -> list[str]:
    """Return one phrase when a learner has worked in the exercise that a release would replace."""
    if not item.exercise_path.exists():
        return []
    stored = read_notebook(item.exercise_path)
    cells = [*item.known["cells"], *_load(item.known_path).get("cells", [])]
    untouched = {_squeezed(cell["source"]) for cell in cells} | {""}
    changed = []
    for number, cell in enumerate(stored.cells, 1):
        answered = role(cell) in ("answer", "shown") and _squeezed(cell.source) not in untouched
        if cell.cell_type == "code" and answered:
            changed.append(grade_id(cell) or f"cell {number}")
    return [f"{item.exercise_path} has edited answers ({', '.join(changed)})"] if changed else []


def _squeezed(text: str) -> str:
    return "\n".join(line.rstrip() for line in text.strip().splitlines())


def stale(root: Path, names: list[str] | None = None) -> list[str]:
    """Return one line for each derived file that a release would change or remove."""
    root = Path(root)
    lines = []
    for path in solution_paths(root, names):
        item = derive(root, path)
        for place, text in (
            (item.exercise_path, item.exercise),
            (item.known_path, json_text(item.known)),
        ):
            if not place.is_file() or place.read_text(encoding="utf-8") != text:
                lines.append(f"{place.relative_to(root)} is not current: run coursekit release")
    if not names:
        wanted = {f"{path.parent.name}/{path.stem}" for path in solution_paths(root)}
        known = root / "coursekit" / "grading" / "known"
        for place in [*(root / "exercises").glob("*/*.ipynb"), *known.glob("*/*.json")]:
            if f"{place.parent.name}/{place.stem}" not in wanted:
                lines.append(f"{place.relative_to(root)} has no solution: remove it")
    return lines


def leaks(exercise: Exercise, released: NotebookNode, known: dict[str, Any]) -> list[str]:
    """Look for lines of secret code in what learners get.

    Secret are the lines of answers, hidden tests, mistakes and alternatives that are longer than
    20 characters with spaces squeezed. A line of a hidden test, mistake or alternative that the
    author has also written into a public cell is public. A line of an answer is never public,
    except one that only opens a block or imports.

    Args:
        exercise: The solution.
        released: The notebook that learners get.
        known: What goes into the JSON file beside it.

    Returns:
        One line for each leak: where it stands and whose secret it is.
    """
    places = [
        (f"{exercise.name}, cell {number} ({cell_id(cell)})", _normal(cell.source))
        for number, cell in enumerate(released.cells, 1)
    ]
    told = {cell.source for cell in released.cells}
    recorded = _normal("\n".join(text for text in _strings(known) if text not in told))
    places.append((f"{exercise.name}, known mistakes", recorded))
    public = _normal("\n".join(
        released_source(cell) for cell in exercise.notebook.cells if cell.cell_type != "raw"
    ))  # fmt: skip
    found = []
    for owner, lines, never_public in _secrets(exercise):
        for line in dict.fromkeys(_normal(re.sub(r"\s#\s.*$", "", line)) for line in lines):
            if len(line) <= LONG_ENOUGH or (not never_public and line in public):
                continue
            if never_public and (line.startswith(HEADERS) or line.startswith(('"""', "'''"))):
                continue
            found += [f"{p}: holds a line of {owner}: {line}" for p, text in places if line in text]
    return list(dict.fromkeys(found))


def _secrets(exercise: Exercise) -> list[tuple[str, list[str], bool]]:
    """Return (whose, lines, whether the line stays secret though a public cell holds it)."""
    secrets = []
    for task in exercise.tasks:
        answer, hidden = exercise.source(task.answer), exercise.source(task.hidden)
        secrets.append(
            (f"the answer of {task.id}", region_lines(answer, BEGIN_SOLUTION, END_SOLUTION), True)
        )
        secrets.append(
            (
                f"the hidden tests of {task.id}",
                region_lines(hidden, BEGIN_HIDDEN, END_HIDDEN),
                False,
            )
        )
        for variant in [*task.mistakes, *task.alternatives]:
            secrets.append((variant.id, variant.source.splitlines(), False))
    return secrets


def _normal(text: str) -> str:
    """Squeeze white space, so that layout hides no copy."""
    return re.sub(r"\s+", " ", text).strip()


def _strings(data: Any) -> list[str]:
    if isinstance(data, dict):
        return [x for value in data.values() for x in _strings(value)]
    if isinstance(data, list):
        return [x for value in data for x in _strings(value)]
    return [data] if isinstance(data, str) else []


def store_outputs(root: Path, names: list[str] | None = None) -> list[Path]:
    """Execute solutions in a Jupyter kernel and store their outputs in them.

    Returns:
        The notebooks that changed.

    Raises:
        UserError: When a cell fails; that notebook is left as it was.
    """
    changed = []
    for path in solution_paths(Path(root), names):
        notebook = read_exercise(path).notebook
        _execute(path, notebook)
        if write_text(path, notebook_text(notebook)):
            changed.append(path)
    return changed


def _execute(path: Path, notebook: NotebookNode) -> None:
    from nbclient import NotebookClient
    from nbclient.exceptions import CellExecutionError, CellTimeoutError, DeadKernelError

    client = NotebookClient(
        notebook,
        timeout=300,
        kernel_name="python3",
        record_timing=False,
        coalesce_streams=True,
        iopub_timeout=60,  # a busy machine sends late; what comes after the limit would be lost
        raise_on_iopub_timeout=True,
        resources={"metadata": {"path": str(path.resolve().parent)}},
    )
    environment = {k: v for k, v in ENVIRONMENT.items() if k != "MPLBACKEND"}
    try:
        client.execute(env={**os.environ, **environment}, stderr=subprocess.DEVNULL)
    except (CellExecutionError, CellTimeoutError, DeadKernelError) as error:
        lines = [line for line in str(error).splitlines() if line.strip()]
        raise UserError(f"{path} does not run ({lines[-1]}): mend the solution first") from error
    notebook.metadata["language_info"] = NotebookNode(name="python")
    for cell in notebook.cells:
        cell.metadata.pop("execution", None)
