"""Official grading of single submissions: right scores, nothing leaks back, one grade whatever."""

from __future__ import annotations

import json
import os
import signal
from dataclasses import asdict
from pathlib import Path

import pytest
import torch_exercise
from nbformat import NotebookNode
from torch_exercise import NAME, submissions, write_course

from coursekit.grading.notebook import (
    grade_id,
    notebook_text,
    read_exercise,
    read_notebook,
    solution_paths,
    write_text,
)
from coursekit.grading.official.grader import Grader, GraderBroke, start_server
from coursekit.grading.official.results import Grade, Job

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def server():
    server = start_server()
    yield server
    server.close()


@pytest.fixture(scope="module")
def course(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("course")
    write_course(root)
    return root


@pytest.fixture(scope="module")
def grader(server, course):
    with Grader(course / "solutions", server=server, seconds=3) as grader:
        yield grader


@pytest.fixture
def graded(grader, course, tmp_path):
    """Grade the untouched exercise with some answers replaced, or a text in its place."""

    def grade(answers: dict[str, str] | None = None, text: str | None = None) -> Grade:
        path = tmp_path / "submitted.ipynb"
        notebook = read_notebook(course / "exercises" / f"{NAME}.ipynb")
        write_text(path, notebook_text(with_answers(notebook, answers or {})))
        if text is not None:
            path.write_text(text)
        return grader.grade(Job("ada", NAME, "ada/submitted.ipynb", str(path), sha256="0" * 64))

    return grade


def with_answers(notebook: NotebookNode, answers: dict[str, str]) -> NotebookNode:
    for cell in notebook.cells:
        if cell.cell_type == "code" and grade_id(cell) in answers:
            cell.source = answers[grade_id(cell)]
    return notebook


def task(grade: Grade, name: str):
    return next(task for task in grade.tasks if task.task == name)


def right(name: str) -> str:
    found = next(one for one in torch_exercise.TASKS if one["id"] == name)
    return torch_exercise.answers(found)["right"][0]


FIRST, SECOND = (one["id"] for one in torch_exercise.TASKS[:2])


def test_every_learner_gets_the_points_that_the_answers_are_worth(grader, course, tmp_path):
    honest = submissions(tmp_path, 20, 3, course)
    for learner, points in honest.items():
        path = tmp_path / learner / f"{NAME}.ipynb"
        grade = grader.grade(Job(learner, NAME, str(path), str(path)))
        assert (grade.status, grade.score, grade.max_score) == ("graded", points, 20), grade


def test_a_submission_that_names_its_exercise_itself_is_recognized(grader, course):
    path = course / "exercises" / f"{NAME}.ipynb"
    grade = grader.grade(Job("ada", "", "ada.ipynb", str(path)))
    assert (grade.exercise, grade.score, grade.reason) == (NAME, 0, "nothing was answered")
    assert {one.status for one in grade.tasks} == {"not answered"}


def test_the_content_is_graded_where_there_is_no_shared_disk(grader, course):
    content = (course / "solutions" / f"{NAME}.ipynb").read_bytes()
    grade = grader.grade(Job("ada", NAME, "ada.ipynb", content=content))
    assert grade.score == 20


@pytest.mark.slow
def test_an_endless_loop_costs_its_task_alone(graded):
    grade = graded({FIRST: "while True:\n    pass", SECOND: right(SECOND)})
    assert task(grade, FIRST).status == "error"
    assert "took too long" in task(grade, FIRST).reason
    assert task(grade, SECOND).status == "passed"


def test_an_end_of_the_process_during_a_check_costs_its_task_alone(graded):
    grade = graded({FIRST: f"import os\ndef {FIRST}(*a):\n    os._exit(0)", SECOND: right(SECOND)})
    assert "ended its process" in task(grade, FIRST).reason
    assert (task(grade, FIRST).earned, task(grade, SECOND).status) == (0, "passed")


def test_a_missing_and_a_double_answer_are_told(grader, course, tmp_path):
    notebook = read_notebook(course / "exercises" / f"{NAME}.ipynb")
    first = next(cell for cell in notebook.cells if grade_id(cell) == FIRST)
    second = next(cell for cell in notebook.cells if grade_id(cell) == SECOND)
    notebook.cells.remove(first)
    notebook.cells.append(second)
    path = tmp_path / "a.ipynb"
    write_text(path, notebook_text(notebook))
    grade = grader.grade(Job("ada", NAME, "a.ipynb", str(path)))
    assert "missing" in task(grade, FIRST).reason
    assert "stands 2 times" in task(grade, SECOND).reason


@pytest.mark.parametrize("text", ["", "{", "[]", '{"nbformat": 4}', "[" * 100_000, "\x00"])
def test_what_is_no_notebook_is_refused_with_a_reason(graded, text):
    grade = graded(text=text)
    assert (grade.status, grade.score, grade.max_score) == ("refused", 0, 20)
    assert grade.reason
    assert "/tmp" not in grade.reason


def test_a_notebook_of_another_course_is_refused(grader, course):
    path = course / "exercises" / f"{NAME}.ipynb"
    grade = grader.grade(Job("ada", "1-other/01-thing", "a.ipynb", str(path)))
    assert (grade.status, grade.score) == ("refused", 0)
    assert "no exercise of the course" in grade.reason


class Recorder:
    """Stands for `check` and keeps the cases, as a learner's function would print them."""

    def __init__(self):
        self.cases: set[str] = set()

    def __getattr__(self, name):
        def note(*given, cases=()):
            self.cases |= {squeezed(str(case)) for case in [*cases, *(given[1:] and given[1])]}

        return lambda *given, **named: note(*given, cases=named.get("cases", ()))


def squeezed(text: str) -> str:
    return " ".join(text.split())


def cases_of(course: Path, role: str) -> set[str]:
    namespace: dict = {"check": Recorder()} | {one["id"]: None for one in torch_exercise.TASKS}
    setup, *cells = (
        cell.source
        for cell in read_notebook(course / "solutions" / f"{NAME}.ipynb").cells
        if grade_id(cell) == "setup" or grade_id(cell).endswith(role)
    )
    exec(setup.replace("from coursekit.grading import check", ""), namespace)
    for source in cells:
        exec(source, namespace)
    return namespace["check"].cases


def test_inputs_of_hidden_checks_do_not_come_back_in_messages(graded, course):
    """Keeps each input that it sees, and puts all of them into every message within reach."""
    spy = (
        "import builtins\nbuiltins.seen = getattr(builtins, 'seen', [])\n"
        "def {name}(*inputs):\n    builtins.seen.append(str(inputs))\n"
        "    raise ValueError(builtins.seen[-1])\n"
        "if len(builtins.seen) > 3:\n    raise ValueError(str(builtins.seen))\n"
    )
    names = [one["id"] for one in torch_exercise.TASKS]
    grade = graded({name: spy.replace("{name}", name) for name in names})
    told = squeezed(str(asdict(grade)).replace("\\n", " "))
    public, hidden = cases_of(course, "-public"), cases_of(course, "-hidden")
    assert any(case in told for case in public)
    assert hidden - public
    assert not [case for case in hidden - public if case in told]


def test_secrets_of_the_environment_stay_outside(course, tmp_path, monkeypatch):
    monkeypatch.setenv("COURSE_TOKEN", "s3cret")
    path = tmp_path / "a.ipynb"
    notebook = read_notebook(course / "exercises" / f"{NAME}.ipynb")
    look = f"import os\ndef {FIRST}(*a):\n    raise ValueError(str([os.getenv('COURSE_TOKEN')]))"
    write_text(path, notebook_text(with_answers(notebook, {FIRST: look})))
    with Grader(course / "solutions", seconds=3) as grader:
        grade = grader.grade(Job("ada", NAME, "a.ipynb", str(path)))
    told = json.dumps([said.facts for said in task(grade, FIRST).public.said])
    assert "[None]" in told
    assert "s3cret" not in told


def test_a_solution_whose_setup_fails_is_the_graders_failure(server, course, tmp_path):
    notebook = read_notebook(course / "solutions" / f"{NAME}.ipynb")
    setup = next(cell for cell in notebook.cells if grade_id(cell) == "setup")
    setup.source = "import no_such_module\n" + setup.source
    path = tmp_path / "solutions" / f"{NAME}.ipynb"
    write_text(path, notebook_text(notebook))
    with Grader(tmp_path / "solutions", server=server) as grader:
        grade = grader.grade(Job("ada", NAME, "a.ipynb", str(path)))
    assert grade.status == "failed"
    assert "no_such_module" in grade.reason


def test_an_examiner_that_ends_breaks_its_grader_alone(server, course):
    grader = Grader(course / "solutions", server=server)
    path = course / "exercises" / f"{NAME}.ipynb"
    job = Job("ada", NAME, "a.ipynb", str(path))
    assert grader.grade(job).status == "graded"
    os.kill(grader._examiner.pid, signal.SIGKILL)
    with pytest.raises(GraderBroke):
        grader.grade(job)
    grader.close()
    with Grader(course / "solutions", server=server) as other:
        assert other.grade(job).status == "graded"


@pytest.mark.slow
@pytest.mark.parametrize(
    "path", solution_paths(ROOT), ids=lambda path: f"{path.parent.name}/{path.stem}"
)
def test_every_exercise_is_graded_as_it_is_proven(server, path, tmp_path):
    """The solution and other right answers earn all, nothing and mistakes what they should."""
    exercise = read_exercise(path)
    released = ROOT / "exercises" / f"{exercise.name}.ipynb"

    def graded(answers: dict[str, str], base: Path = path) -> Grade:
        target = tmp_path / "a.ipynb"
        write_text(target, notebook_text(with_answers(read_notebook(base), answers)))
        return grader.grade(Job("ada", exercise.name, "a.ipynb", str(target)))

    with Grader(ROOT / "solutions", server=server) as grader:
        for answers in ({}, {one.id: one.alternatives[0].source for one in exercise.tasks}):
            grade = graded(answers)
            assert (grade.score, grade.reason) == (grade.max_score, "")
        assert graded({}, released).score == 0
        mistaken = graded({one.id: one.mistakes[0].source for one in exercise.tasks})
        assert not [one.task for one in mistaken.tasks if one.earned == one.points]
