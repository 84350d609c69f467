"""How far a learner is, exercise by exercise.

Results of ``coursekit check`` are kept in ``build/progress.json`` under the notebook's SHA-256,
so that they are shown again only as long as the notebook is unchanged.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from coursekit.errors import UserError
from coursekit.grading.notebook import json_text, read_notebook, write_text
from coursekit.grading.plan import answered
from coursekit.grading.run import KNOWN, Report, check_notebook, known_exercise


@dataclass(frozen=True)
class Row:
    """How far one exercise is.

    Attributes:
        name: The exercise.
        tasks: How many tasks it has.
        answered: How many of them are answered, rightly or not.
        earned: Public points at the last check; None when the notebook was not checked since.
        points: Public points that can be earned.
        problem: Why the notebook cannot be read, or nothing.
    """

    name: str
    tasks: int = 0
    answered: int = 0
    earned: float | None = None
    points: float = 0.0
    problem: str = ""

    def as_dict(self) -> dict[str, str]:
        """Return the columns of the table."""
        if self.problem:
            return {"exercise": self.name, "answered": "?", "public_points": self.problem}
        if self.earned is not None:
            points = f"{round(self.earned, 2):g} of {self.points:g}"
        else:
            points = "-" if not self.answered else "run coursekit check"
        return {
            "exercise": self.name,
            "answered": f"{self.answered} of {self.tasks}",
            "public_points": points,
        }


def progress(root: Path, run: bool = False, known: Path = KNOWN) -> list[Row]:
    """Look at every exercise of a course.

    Args:
        root: The folder of the course.
        run: Run notebooks that were not checked since they changed; by default they are not run.
        known: The folder with what releases recorded.

    Returns:
        One row for each notebook in exercises/, sorted by name.
    """
    return [
        _row(Path(root), path, run, known)
        for path in sorted((Path(root) / "exercises").glob("*/*.ipynb"))
    ]


def _row(root: Path, path: Path, run: bool, folder: Path) -> Row:
    name = f"{path.parent.name}/{path.stem}"
    try:
        notebook = read_notebook(path)
        known = known_exercise(path, notebook, folder)
        count = answered(notebook, known)
        earned = _remembered(root, path)
        if earned is None and run and count:
            report = check_notebook(path, known=folder)
            remember(path, report)
            earned = report.earned
    except UserError as error:
        return Row(name, problem=str(error))
    points = sum(task["public"]["points"] for task in known["tasks"].values())
    return Row(name, len(known["order"]), count, earned, points)


def remember(notebook: Path | str, report: Report) -> None:
    """Keep the result of a check for ``coursekit progress``.

    Notebooks outside of a course's exercises/ are not remembered, and a course that may not be
    written loses only what it would have remembered.
    """
    path = Path(notebook).resolve()
    if len(path.parents) < 3 or path.parents[1].name != "exercises":
        return
    store = _store(path.parents[2])
    results = _results(store)
    results[f"{path.parent.name}/{path.stem}"] = {
        "sha256": _digest(path),
        "earned": report.earned,
        "points": report.points,
    }
    try:
        write_text(store, json_text(results))
    except UserError:
        return


def _remembered(root: Path, path: Path) -> float | None:
    result = _results(_store(root)).get(f"{path.parent.name}/{path.stem}", {})
    return float(result["earned"]) if result.get("sha256") == _digest(path) else None


def _store(root: Path) -> Path:
    return root / "build" / "progress.json"


def _results(store: Path) -> dict[str, Any]:
    try:
        results = json.loads(store.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return results if isinstance(results, dict) else {}


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
