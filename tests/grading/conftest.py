"""A small exercise, complete in every point, from which the tests take copies and spoil them."""

from __future__ import annotations

import json
import textwrap
from pathlib import Path

import pytest
from building import solution_notebook

from coursekit.grading.notebook import notebook_text, read_notebook

NAME = "9-sample/01-numbers"

SETUP = f"""
import numpy as np

from coursekit.grading import check

ROWS = np.array([[2.0, 0.0, -2.0], [1.0, 5.0, 6.0]])

check.exercise("{NAME}")
"""

AVERAGE = {
    "id": "average",
    "answer": '''
        def average(x: np.ndarray) -> float:
            """Return the mean of x, shape (n,).

            >>> average(np.array([1.0, 3.0]))
            2.0
            """
            ### BEGIN SOLUTION
            total_of_all = x.sum() / len(x)
            return float(total_of_all)
            ### END SOLUTION
        ''',
    "public": "check.close(average, cases=[(np.array([1.0, 2.0, 6.0, 7.0]),)], reference=np.mean)",
    "hidden": """
        skewed = np.array([1.0, 1.0, 10.0])
        check.close(average, cases=[(skewed,), (np.ones(1),)], reference=np.mean, about="skewed")
        """,
    "mistakes": [
        (
            "def average(x):\n    return float(x.sum() / (len(x) - 1 or 1))",
            "Divide by n, not n - 1.",
        ),
        ("def average(x):\n    return float(np.median(x))", "This is the median, not the mean."),
    ],
    "alternative": """
        def average(x):
            total = 0.0
            for value in x:
                total += value
            return total / len(x)
        """,
}

SPREAD = {
    "id": "spread",
    "answer": '''
        def spread(x: np.ndarray) -> float:
            """Return the standard deviation of x, shape (n,).

            >>> spread(np.array([1.0, 3.0]))
            1.0
            """
            ### BEGIN SOLUTION
            centered = x - average(x)
            return float(np.sqrt((centered**2).mean()))
            ### END SOLUTION
        ''',
    "public": "check.close(spread, cases=[(ROWS[0],)], reference=np.std)",
    "hidden": "check.close(spread, cases=[(ROWS[1],), (ROWS[1] + 9,)], reference=np.std)",
    "mistakes": [
        ("def spread(x):\n    return float(np.var(x))", "Take the root of the variance."),
        (
            "def spread(x):\n    return float(np.sqrt((x**2).mean()))",
            "Subtract the mean before you square.",
        ),
    ],
    "alternative": "def spread(x):\n    return float(np.std(x))",
}

SCALED = {
    "id": "scaled",
    "answer": '''
        def scaled(x: np.ndarray) -> np.ndarray:
            """Return x, shape (n,), with mean 0 and standard deviation 1.

            >>> scaled(np.array([1.0, 3.0]))
            array([-1.,  1.])
            """
            ### BEGIN SOLUTION
            return (x - average(x)) / spread(x)
            ### END SOLUTION
        ''',
    "public": """
        check.close(
            scaled, cases=[(ROWS[0],)], reference=lambda x: (x - np.mean(x)) / np.std(x)
        )
        check.holds(scaled, cases=[(ROWS[1],)], condition=lambda y, x: abs(y.mean()) < 1e-9,
                    says="the mean is 0")
        """,
    "hidden": "check.unchanged(scaled, cases=[(ROWS[1],)])",
    "mistakes": [
        (
            "def scaled(x):\n    return (x - x.mean()) / x.var()",
            "Divide by the root of the variance.",
        ),
        (
            "def scaled(x):\n    x -= x.mean()\n    x /= x.std()\n    return x",
            "It changes its input: write x = x - x.mean().",
        ),
    ],
    "alternative": """
        def scaled(x):
            middle, width = np.mean(x), np.std(x)
            return np.array([(value - middle) / width for value in x])
        """,
}

LARGEST = {
    "id": "largest",
    "answer": '''
        def largest(x: np.ndarray) -> int:
            """Return the first position of the largest of x, shape (n,).

            >>> largest(np.array([1.0, 3.0]))
            1
            """
            ### BEGIN SOLUTION
            return int(np.argmax(x))
            ### END SOLUTION
        ''',
    "public": "check.equal(largest, [(np.array([3.0, 9.0, 4.0, 1.0]),)], reference=lambda x: 1)",
    "hidden": "check.equal(largest, cases=[(np.array([7.0, 2.0, 7.0]),)], reference=lambda x: 0)",
    "mistakes": [
        ("def largest(x):\n    return int(np.argmin(x))", "This is the smallest."),
        (
            "def largest(x):\n    return len(x) - 1 - int(np.argmax(x[::-1]))",
            "Of equal numbers the first counts, not the last.",
        ),
    ],
    "alternative": "def largest(x):\n    return list(x).index(max(x))",
}

TASKS = (AVERAGE, SPREAD, SCALED, LARGEST)


def build_solution():
    """Return the sample solution as a notebook, without outputs of its own."""
    return solution_notebook(
        NAME, "Numbers", SETUP, TASKS, before="print(ROWS.shape)", after="print(average(ROWS[0]))"
    )


class Course:
    """A course of one exercise in a folder of its own."""

    def __init__(self, root: Path):
        self.root = root
        self.solution = root / "solutions" / f"{NAME}.ipynb"
        self.exercise = root / "exercises" / f"{NAME}.ipynb"
        self.known = root / "coursekit" / "grading" / "known" / f"{NAME}.json"
        self.solution.parent.mkdir(parents=True)
        self.solution.write_text(notebook_text(build_solution()), encoding="utf-8")

    def change(self, path: Path, cell: str, old: str, new: str) -> None:
        """Replace text in one cell of a notebook; an empty `old` stands for all of it."""
        notebook = read_notebook(path)
        (found,) = [c for c in notebook.cells if c.id == cell]
        assert old in found.source
        found.source = found.source.replace(old, new) if old else new
        path.write_text(notebook_text(notebook), encoding="utf-8")

    def answer(self, task: str, source: str, path: Path | None = None) -> None:
        """Write an answer into the exercise."""
        self.change(path or self.exercise, task, "", textwrap.dedent(source).strip())

    def edit(self, path: Path, function) -> None:
        """Change a notebook's list of cells in place by a function."""
        notebook = read_notebook(path)
        function(notebook.cells)
        path.write_text(notebook_text(notebook), encoding="utf-8")


@pytest.fixture
def here(monkeypatch):
    """Do the work of workers in this process, which has imported torch already."""
    import torch

    from coursekit.grading import check, release, verify
    from coursekit.grading.trials import WorkerFailed

    def in_this_process(function, argument, folder, seconds, fresh=False):
        check.reset()
        torch.set_num_threads(1)
        try:
            return json.loads(json.dumps(function(argument)))
        except Exception as error:
            raise WorkerFailed("Died", str(error)) from error

    monkeypatch.setattr(release, "in_worker", in_this_process)
    monkeypatch.setattr(verify, "in_worker", in_this_process)
    yield
    check.reset()


@pytest.fixture
def course(tmp_path) -> Course:
    """A course whose one exercise is not released yet."""
    return Course(tmp_path / "course")


@pytest.fixture(scope="session")
def released_text(tmp_path_factory) -> tuple[str, str]:
    """The text of the sample's exercise and known mistakes, derived once."""
    from coursekit.grading.release import release

    course = Course(tmp_path_factory.mktemp("released") / "course")
    release(course.root)
    return course.exercise.read_text("utf-8"), course.known.read_text("utf-8")


@pytest.fixture
def released(course, released_text) -> Course:
    """A course whose exercise is released."""
    for path, text in zip((course.exercise, course.known), released_text, strict=True):
        path.parent.mkdir(parents=True)
        path.write_text(text, encoding="utf-8")
    return course
