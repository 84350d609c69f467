"""The graders that bench_grading.py compares: how each gets the exercise, runs, and says scores.

Every contender grades the same answers by the same checks; what differs is the form that it asks
for:

- coursekit: the folder of submissions as it is;
- nbgrader: the folder of ``coursekit release --format nbgrader``, one ``nbgrader autograde``;
- otter: an ``autograder.zip`` of ``otter generate``. Each call of ``check.*`` becomes one test case
  in the OK format, with its share of the cell's points, that calls the same helper; submissions
  lose their check cells, which in otter's form are no part of a notebook. ``otter run`` takes one
  submission, so it is started for each;
- nbval: the solution with the learner's answers in their places, ``pytest --nbval-lax``. It tells
  cells that raise from others and knows no points, so it gives no scores.
"""

from __future__ import annotations

import ast
import csv
import json
import resource
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from layered import environment
from torch_exercise import NAME

from coursekit.grading.nbgrader import export
from coursekit.grading.notebook import (
    BEGIN_HIDDEN,
    END_HIDDEN,
    assignment_name,
    grade_id,
    notebook_text,
    read_exercise,
    read_notebook,
    role,
)

Scores = dict[str, float]
STEM = NAME.split("/")[1]


@dataclass
class Cost:
    """Wall seconds, and seconds of all processors for every process that was waited for."""

    wall: float = 0.0
    processor: float = 0.0


@contextmanager
def measured() -> Iterator[Cost]:
    """Measure what the commands inside the block cost."""
    cost = Cost()
    begin, used = time.perf_counter(), resource.getrusage(resource.RUSAGE_CHILDREN)
    yield cost
    cost.wall = time.perf_counter() - begin
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cost.processor = after.ru_utime + after.ru_stime - used.ru_utime - used.ru_stime


@dataclass
class Bench:
    """Where things lie.

    Attributes:
        root: The course.
        scratch: A folder for what contenders write.
        peers: The folder of programs of the environment that holds nbgrader and otter.
    """

    root: Path
    scratch: Path
    peers: Path

    def run(
        self, *command: str | Path, cwd: Path | None = None, codes: tuple[int, ...] = (0,)
    ) -> None:
        """Run a command to its end.

        Raises:
            RuntimeError: When it ends with another code; the text holds its last words.
        """
        home = self.scratch / "home"
        home.mkdir(exist_ok=True)
        ran = subprocess.run(
            [str(part) for part in command],
            cwd=cwd or self.scratch, env=environment(self.peers, home), stdin=subprocess.DEVNULL,
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        if ran.returncode not in codes:
            said = (ran.stdout + ran.stderr)[-3000:]
            raise RuntimeError(f"{command[0]} ended with code {ran.returncode}:\n{said}")

    def folder(self, name: str) -> Path:
        """Return an empty folder in the scratch folder."""
        path = self.scratch / name
        shutil.rmtree(path, ignore_errors=True)
        path.mkdir(parents=True)
        return path


def learners(submissions: Path) -> dict[str, Path]:
    """Return each learner's notebook."""
    return {path.name: path / f"{NAME}.ipynb" for path in sorted(submissions.iterdir())}


def coursekit_command(submissions: Path, out: Path) -> list[str]:
    """Return the command that is measured."""
    program = [sys.executable, "-m", "coursekit.cli", "grade", str(submissions)]
    return [*program, "--out", str(out), "--jobs", "2"]


def coursekit(bench: Bench, submissions: Path) -> tuple[Cost, Scores]:
    """Grade by ``coursekit grade --jobs 2``."""
    out = bench.folder("coursekit")
    with measured() as cost:
        bench.run(*coursekit_command(submissions, out), cwd=bench.root)
    return cost, coursekit_scores(out)


def coursekit_scores(out: Path) -> Scores:
    """Read what a batch stored."""
    from coursekit.grading.official.store import Store

    with Store(out) as store:
        return {grade.learner: grade.score for grade in store.grades()}


def nbgrader(bench: Bench, submissions: Path) -> tuple[Cost, Scores]:
    """Grade by one ``nbgrader autograde``, which has no option to work in parallel."""
    folder, assignment = bench.folder("nbgrader"), assignment_name(NAME)
    export(bench.root, folder)
    bench.run(bench.peers / "nbgrader", "generate_assignment", assignment, cwd=folder)
    for learner, path in learners(submissions).items():
        place = folder / "submitted" / learner / assignment
        place.mkdir(parents=True)
        shutil.copy(path, place)
    with measured() as cost:
        bench.run(bench.peers / "nbgrader", "autograde", assignment, cwd=folder)
    bench.run(bench.peers / "nbgrader", "export", cwd=folder)
    with open(folder / "grades.csv", encoding="utf-8") as file:
        return cost, {row["student_id"]: float(row["score"]) for row in csv.DictReader(file)}


def otter(bench: Bench, submissions: Path, at_once: int) -> tuple[Cost, Scores]:
    """Grade by ``otter run``, so many commands at once."""
    folder = bench.folder("otter")
    write_otter_tests(bench.root, folder / "tests")
    bench.run(bench.peers / "otter", "generate", "-t", "tests", "--no-environment",
              "--no-requirements", cwd=folder)  # fmt: skip
    handed_in = learners(submissions)
    for learner, path in handed_in.items():
        notebook = read_notebook(path)
        notebook.cells = [c for c in notebook.cells if role(c) not in ("public", "hidden")]
        place = folder / learner
        place.mkdir()
        (place / f"{STEM}.ipynb").write_text(notebook_text(notebook), encoding="utf-8")

    def grade(learner: str) -> None:
        bench.run(bench.peers / "otter", "run", f"{learner}/{STEM}.ipynb", "--no-logo",
                  "-a", "autograder.zip", "-o", learner, cwd=folder)  # fmt: skip

    with measured() as cost, ThreadPoolExecutor(at_once) as pool:
        list(pool.map(grade, handed_in))
    return cost, {learner: otter_score(folder / learner) for learner in handed_in}


def otter_score(folder: Path) -> float:
    """Add up the points in what ``otter run`` wrote."""
    results = json.loads((folder / "results.json").read_text(encoding="utf-8"))
    return float(sum(test.get("score", 0) for test in results["tests"]))


def write_otter_tests(root: Path, folder: Path) -> None:
    """Write one file of tests in the OK format for each check cell."""
    exercise = read_exercise(root / "solutions" / f"{NAME}.ipynb")
    folder.mkdir()
    for task in exercise.tasks:
        for position in (task.public, task.hidden):
            name = grade_id(exercise.notebook.cells[position])
            cases = otter_cases(exercise.source(position), task.id, exercise.points(position))
            hidden = position == task.hidden
            suite = {"cases": [{**case, "hidden": hidden} for case in cases], "scored": True,
                     "setup": "", "teardown": "", "type": "doctest"}  # fmt: skip
            test = {"name": name, "points": None, "suites": [suite]}
            text = f"OK_FORMAT = True\n\ntest = {test!r}\n"
            (folder / f"{name}.py").write_text(text, encoding="utf-8")


def otter_cases(source: str, task: str, points: float) -> list[dict[str, object]]:
    """Turn each check of a cell into a test case; what else stands there goes before each."""
    text = "\n".join(x for x in source.splitlines() if x not in (BEGIN_HIDDEN, END_HIDDEN))
    statements = [ast.unparse(node) for node in ast.parse(text).body[1:-1]]
    checks = [line for line in statements if line.startswith("check.")]
    before = [line for line in statements if not line.startswith("check.")]
    share = points / len(checks)
    opening, closing = f'check.task("{task}", points={share!r})', f">>> check.points()\n{share!r}"
    return [
        {
            "code": "\n".join([*(f">>> {x}" for x in [opening, *before, check]), closing]),
            "points": share,
        }
        for check in checks
    ]


def nbval(bench: Bench, submissions: Path, *options: str) -> tuple[Cost, Scores]:
    """Run solutions with learners' answers by ``pytest --nbval-lax``; there are no scores."""
    folder = bench.folder("nbval")
    for learner, path in learners(submissions).items():
        solution = read_notebook(bench.root / "solutions" / f"{NAME}.ipynb")
        theirs = {grade_id(c): c.source for c in read_notebook(path).cells if role(c) == "answer"}
        for cell in solution.cells:
            if role(cell) == "answer":
                cell.source = theirs[grade_id(cell)]
        (folder / f"{learner}.ipynb").write_text(notebook_text(solution), encoding="utf-8")
    # Code 1 says that a cell raised, as a broken answer does.
    with measured() as cost:
        bench.run(
            sys.executable, "-m", "pytest", "--nbval-lax", "-q", "-p", "no:cacheprovider",
            *options, folder, cwd=folder, codes=(0, 1),
        )  # fmt: skip
    return cost, {}


@dataclass(frozen=True)
class Contender:
    """A way of grading: what it is, the package whose version counts, and how it is run."""

    label: str
    package: str
    grade: Callable[[Bench, Path], tuple[Cost, Scores]]


PEERS = (
    Contender("nbgrader autograde", "nbgrader", nbgrader),
    Contender("otter run", "otter-grader", lambda bench, folder: otter(bench, folder, 1)),
    Contender("otter run, two at once", "otter-grader", lambda b, folder: otter(b, folder, 2)),
    Contender("nbval, one pytest", "nbval", nbval),
    Contender(
        "nbval, -n 2", "nbval", lambda b, folder: nbval(b, folder, "-n", "2", "--dist", "loadfile")
    ),
)
