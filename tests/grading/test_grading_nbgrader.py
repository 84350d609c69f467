"""Unmodified nbgrader takes the course's exercises and gives the scores that coursekit gives."""

import csv
import hashlib
import subprocess
import sys
from types import SimpleNamespace

import pytest
import torch_exercise
from layered import ROOT, NoIndex, environment, layered
from torch_exercise import NAME, TASKS, answers, write_course, write_submission

from coursekit.errors import UserError
from coursekit.grading.layout import validate
from coursekit.grading.nbgrader import export
from coursekit.grading.notebook import (
    grade_id,
    notebook_text,
    read_exercise,
    read_notebook,
    role,
)

ASSIGNMENT = "9-trial-01-layers"
KINDS = {
    "all-right": ["right", "right", "alternative", "alternative"],
    "mistaken": ["mistake 1", "mistake 1", "mistake 1", "mistake 1"],
    "nearly": ["mistake 2", "mistake 3", "mistake 2", "mistake 2"],
    "raising": ["raising", "broken", "right", "text"],
    "untouched": ["empty", "empty", "empty", "empty"],
}


@pytest.fixture
def course(tmp_path):
    root = tmp_path / "course"
    write_course(root)
    return SimpleNamespace(
        root=root,
        folder=tmp_path / "nbgrader",
        solution=root / "solutions" / f"{NAME}.ipynb",
        source=tmp_path / "nbgrader" / "source" / ASSIGNMENT / "01-layers.ipynb",
    )


def test_the_torch_exercise_keeps_the_layout(course):
    assert validate(read_exercise(course.solution)) == []


@pytest.mark.usefixtures("here")
@pytest.mark.parametrize("task", TASKS, ids=[task["id"] for task in TASKS])
def test_answers_of_the_torch_exercise_earn_what_they_are_said_to(course, task):
    from coursekit.grading.trials import Bench, Step

    exercise = read_exercise(course.solution)
    (position,) = [x for x in exercise.tasks if x.id == task["id"]]
    setup = next(c for c in exercise.notebook.cells if grade_id(c) == "setup")
    bench = Bench()
    bench.run([Step("setup", setup.source)])
    cells = [Step(side, exercise.source(getattr(position, side))) for side in ("public", "hidden")]
    said = answers(task)
    earned = {
        kind: tuple(x.value or 0.0 for x in bench.try_out([Step("", text), *cells], 60)[1:])
        for kind, (text, _) in said.items()
    }
    assert earned == {kind: points for kind, (_, points) in said.items()}


def test_a_seed_decides_the_submissions(course, tmp_path):
    def digest(folder, seed):
        scores = torch_exercise.submissions(folder, 12, seed, course.root)
        texts = [path.read_bytes() for path in sorted(folder.rglob("*.ipynb"))]
        return scores, [hashlib.sha256(text).hexdigest() for text in texts]

    scores, texts = digest(tmp_path / "a", 1)
    assert digest(tmp_path / "b", 1) == (scores, texts)
    assert digest(tmp_path / "c", 2) != (scores, texts)
    assert len(set(texts)) == 12
    assert max(scores.values()) == 20
    assert min(scores.values()) == 0
    assert 0 < scores["learner-0002"] < 20


def test_a_source_notebook_is_the_solution_without_variants_and_outputs(course):
    export(course.root, course.folder)
    solution, source = read_notebook(course.solution), read_notebook(course.source)
    kept = [cell for cell in solution.cells if cell.cell_type != "raw"]
    assert len(kept) < len(solution.cells)
    assert [cell.source for cell in source.cells] == [cell.source for cell in kept]
    assert [cell.metadata for cell in source.cells] == [cell.metadata for cell in kept]
    assert all(not cell.outputs for cell in source.cells if cell.cell_type == "code")
    assert sum(role(cell) == "hidden" for cell in source.cells) == 4


def test_the_readme_says_what_nbgrader_needs_and_cannot_do(course):
    export(course.root, course.folder)
    text = (course.folder / "README.md").read_text("utf-8")
    assert "the package coursekit. It must be installed" in text
    assert "nbgrader autograde 9-trial-01-layers" in text
    assert "| 9-trial-01-layers | 9-trial/01-layers | 20 |" in text
    assert "written to deceive" in text


def test_a_second_release_changes_nothing_and_keeps_the_configuration(course):
    written = export(course.root, course.folder)
    assert sorted(path.name for path in written) == [
        "01-layers.ipynb", "README.md", "header.ipynb", "nbgrader_config.py",
    ]  # fmt: skip
    assert export(course.root, course.folder) == []
    config = course.folder / "nbgrader_config.py"
    config.write_text("c = get_config()\n", encoding="utf-8")
    assert export(course.root, course.folder, [NAME]) == []
    assert config.read_text("utf-8") == "c = get_config()\n"


def test_a_changed_source_notebook_is_replaced_on_demand_only(course):
    export(course.root, course.folder)
    text = course.source.read_text("utf-8")
    course.source.write_text(text.replace("Layers", "My layers"), encoding="utf-8")
    with pytest.raises(UserError, match=r"01-layers\.ipynb: .* give --force"):
        export(course.root, course.folder)
    assert export(course.root, course.folder, force=True) == [course.source]
    assert course.source.read_text("utf-8") == text


def test_a_solution_that_breaks_the_layout_is_refused(course):
    notebook = read_notebook(course.solution)
    (cell,) = [c for c in notebook.cells if grade_id(c) == "softmax-public"]
    cell.metadata["nbgrader"]["points"] = 4
    course.solution.write_text(notebook_text(notebook), encoding="utf-8")
    with pytest.raises(UserError, match="coursekit verify 9-trial/01-layers"):
        export(course.root, course.folder)
    assert not course.folder.exists()


@pytest.mark.parametrize(
    ("form", "code", "says"),
    [("nbgrader", 0, "README.md"), ("otter", 2, "--format knows nbgrader only, got otter")],
)
def test_the_command_writes_the_folder(course, form, code, says):
    ran = subprocess.run(
        [sys.executable, "-m", "coursekit.cli", "release", "--format", form, str(course.folder)],
        cwd=course.root, capture_output=True, text=True, check=False,
        env=environment(ROOT, course.root),
    )  # fmt: skip
    assert ran.returncode == code, ran.stderr
    assert says in ran.stdout + ran.stderr
    assert course.source.exists() == (code == 0)


def test_what_nbgrader_collects_can_be_graded_officially(course):
    from coursekit.grading.official.submissions import collect

    path = course.folder / "submitted" / "ada" / ASSIGNMENT / "01-layers.ipynb"
    write_submission(path, course.root, KINDS["all-right"])
    (job,) = collect(course.folder / "submitted", [NAME])
    assert (job.learner, job.exercise, job.reason) == ("ada", NAME, "")


class Nbgrader:
    """A course folder in which unmodified nbgrader is run."""

    def __init__(self, programs, folder, home):
        self.programs, self.folder = programs, folder
        self.environment = environment(programs, home)

    def __call__(self, *arguments):
        ran = subprocess.run(
            [str(self.programs / "nbgrader"), *map(str, arguments)],
            cwd=self.folder, env=self.environment, capture_output=True, text=True, check=False,
            timeout=300,
        )  # fmt: skip
        assert ran.returncode == 0, ran.stderr[-4000:]
        return ran.stdout + ran.stderr

    def hand_in(self, learner, text):
        """Collect the text of a notebook as a learner's submission."""
        path = self.folder / "submitted" / learner / ASSIGNMENT / "01-layers.ipynb"
        path.parent.mkdir(parents=True)
        path.write_text(text, encoding="utf-8")

    def scores(self):
        """Autograde everything and return what nbgrader exports: (score, of) by learner."""
        self("autograde", ASSIGNMENT)
        self("export")
        with open(self.folder / "grades.csv", encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
        return {row["student_id"]: (float(row["score"]), float(row["max_score"])) for row in rows}


@pytest.fixture(scope="module")
def programs():
    try:
        return layered("nbgrader-0.9.6", "nbgrader==0.9.6", own=("alembic",))
    except NoIndex as reason:
        pytest.skip(f"nbgrader cannot be installed: {reason}")


@pytest.fixture
def nbgrader(programs, course, tmp_path):
    export(course.root, course.folder)
    (tmp_path / "home").mkdir()
    run = Nbgrader(programs, course.folder, tmp_path / "home")
    run("generate_assignment", ASSIGNMENT)
    return run


@pytest.mark.slow
def test_what_nbgrader_generates_holds_no_secret_and_is_what_coursekit_releases(nbgrader, course):
    text = (nbgrader.folder / "release" / ASSIGNMENT / "01-layers.ipynb").read_text("utf-8")
    for secret in (
        "SOLUTION",
        "HIDDEN TESTS",
        "exponentials",
        "double = ",
        "It sums over the rows",
    ):
        assert secret not in text
    released = read_notebook(course.root / "exercises" / f"{NAME}.ipynb")
    theirs = read_notebook(nbgrader.folder / "release" / ASSIGNMENT / "01-layers.ipynb")
    assert "NotImplementedError" in theirs.cells[0].source  # the header
    for cell, other in zip(released.cells, theirs.cells[1:], strict=True):
        if role(cell) != "hidden":  # where coursekit leaves a comment behind
            assert other.source == cell.source


@pytest.mark.slow
def test_nbgrader_validates_the_solution_and_not_the_untouched_exercise(nbgrader):
    said = nbgrader("validate", f"source/{ASSIGNMENT}/01-layers.ipynb")
    assert "Success! Your notebook passes all the tests." in said
    said = nbgrader("validate", f"release/{ASSIGNMENT}/01-layers.ipynb")
    assert "VALIDATION FAILED ON 4 CELL(S)" in said  # hidden tests are not there to fail


@pytest.mark.slow
def test_nbgrader_gives_every_submission_the_score_that_coursekit_gives(nbgrader, course, tmp_path):
    honest = {}
    for learner, chosen in KINDS.items():
        path = tmp_path / "submissions" / learner / f"{NAME}.ipynb"
        honest[learner] = write_submission(path, course.root, chosen)
        nbgrader.hand_in(learner, path.read_text("utf-8"))
    notebook = read_notebook(tmp_path / "submissions" / "all-right" / f"{NAME}.ipynb")
    notebook.cells = [cell for cell in notebook.cells if grade_id(cell) != "box_iou-hidden"]
    path = tmp_path / "submissions" / "check-deleted" / f"{NAME}.ipynb"
    path.parent.mkdir(parents=True)
    path.write_text(notebook_text(notebook), encoding="utf-8")
    nbgrader.hand_in("check-deleted", notebook_text(notebook))
    honest["check-deleted"] = 20.0
    assert honest["nearly"] == 14.0
    assert official(course, tmp_path / "submissions") == honest
    assert nbgrader.scores() == {learner: (score, 20.0) for learner, score in honest.items()}


def official(course, folder):
    """Return the scores that the official grader gives, by learner."""
    from coursekit.grading.official.grader import Grader
    from coursekit.grading.official.results import Job

    with Grader(course.root / "solutions", unsafe=True) as grader:
        grades = [
            grader.grade(Job(path.parts[-3], NAME, path.name, path=str(path)))
            for path in sorted(folder.rglob("*.ipynb"))
        ]
    assert all(grade.status == "graded" for grade in grades), grades
    return {grade.learner: grade.score for grade in grades}
