"""A learner's notebook is run cell by cell; what goes wrong in one task costs that task alone."""

import hashlib

import pytest
from conftest import NAME

from coursekit.errors import UserError
from coursekit.grading.run import check_notebook

RIGHT = {
    "average": "def average(x):\n    return float(x.mean())",
    "spread": "def spread(x):\n    return float(x.std())",
    "scaled": "def scaled(x):\n    return (x - average(x)) / spread(x)",
    "largest": "def largest(x):\n    return int(np.argmax(x))",
}


def answer(course, **answers):
    for task, source in {**RIGHT, **answers}.items():
        course.answer(task, source)


def check(course, path=None, timeout=30.0):
    """Run a notebook, and show on the way that its file stays as it was."""
    path = path or course.exercise
    before = hashlib.sha256(path.read_bytes()).hexdigest()
    report = check_notebook(path, timeout=timeout, known=course.known.parents[1])
    assert hashlib.sha256(path.read_bytes()).hexdigest() == before
    assert sorted(p.name for p in path.parent.iterdir()) == [path.name]
    return report


def points(report):
    return [row.earned for row in report.rows]


def statuses(report):
    return [row.status for row in report.rows]


def test_an_untouched_exercise_earns_nothing_and_is_called_not_answered(released):
    report = check(released)
    assert (report.earned, report.points, report.hidden) == (0, 8, 12)
    assert statuses(report) == ["not answered"] * 4
    assert report.exit_code == 1
    assert report.lines() == [
        "Public checks: 0 of 8 points.",
        "Hidden tests decide 12 more points when the exercise is graded.",
    ]


def test_right_answers_pass_the_public_checks_and_are_not_called_correct(released):
    answer(released)
    report = check(released)
    assert statuses(report) == ["passed"] * 4
    assert report.exit_code == 0
    assert "Public checks passed: 8 of 8 points." in report.lines()
    assert "correct" not in "\n".join(report.lines())
    assert report.rows[0].as_dict() == {
        "task": "The average",
        "public_points": "2 of 2",
        "result": "passed",
    }


def test_a_solution_is_checked_like_an_exercise(released):
    assert check(released, released.solution).exit_code == 0


def test_wrong_answers_are_explained_and_known_mistakes_named(released):
    answer(
        released,
        spread="def spread(x):\n    return float(np.var(x))",
        scaled="def scaled(x):\n    return x - x.mean()",
        largest="def largest(x):\n    return undefined_name",
    )
    report = check(released)
    assert points(report) == [2, 0, 1, 0]
    assert statuses(report) == ["passed", "failed", "partly", "failed"]
    assert "Take the root of the variance." in report.rows[1].explanation
    assert report.rows[2].explanation == ""
    text = "\n".join(report.lines())
    assert "got       2.66667" in text
    assert "NameError" in text
    assert report.exit_code == 1


def test_a_deleted_and_a_doubled_answer_cell_cost_their_tasks(released):
    answer(released)

    def spoil(cells):
        spread = next(i for i, c in enumerate(cells) if c.id == "spread")
        del cells[spread]
        largest = next(i for i, c in enumerate(cells) if c.id == "largest")
        twin = type(cells[largest])(cells[largest])
        twin.id = "copied"
        cells.insert(largest + 1, twin)

    released.edit(released.exercise, spoil)
    report = check(released)
    assert statuses(report) == ["passed", "error", "failed", "error"]
    assert "its answer cell is missing" in report.rows[1].messages[0]
    assert "its answer cell stands 2 times: keep one" in report.rows[3].messages[0]
    assert report.exit_code == 1


def test_errors_in_answer_cells_cost_their_tasks(released):
    answer(released, average="def average(x:\n    return 1", largest=RIGHT["largest"] + "\n\n1 / 0")
    report = check(released)
    assert statuses(report) == ["error", "passed", "failed", "error"]
    assert report.rows[0].messages == [
        "the answer cell: it raises SyntaxError: '(' was never closed (line 1)"
    ]
    assert report.rows[3].messages == [
        "the answer cell: it raises ZeroDivisionError: division by zero (line 4)"
    ]


def test_a_name_that_an_answer_does_not_define_is_named(released):
    answer(released, largest="def biggest(x):\n    return 0")
    report = check(released)
    assert report.rows[3].messages == [
        "largest is not defined: the answer cell largest must define it"
    ]


@pytest.mark.slow
def test_a_kernel_that_dies_costs_one_task(released):
    answer(released, spread="import os\n\n\ndef spread(x):\n    os._exit(1)")
    report = check(released)
    assert statuses(report) == ["passed", "error", "failed", "passed"]
    assert "ended the kernel" in report.rows[1].messages[0]


@pytest.mark.slow
def test_an_answer_cell_that_dies_and_one_that_crashes_cost_two_tasks(released):
    crash = "import ctypes\n\n\ndef largest(x):\n    ctypes.string_at(0)"
    answer(released, average="import os\nos._exit(0)", largest=crash)
    report = check(released)
    assert statuses(report) == ["error", "passed", "failed", "error"]


@pytest.mark.slow
def test_endless_loops_are_stopped_and_cost_their_tasks(released):
    answer(
        released,
        average="def average(x):\n    while True:\n        pass",
        largest="""
            def largest(x):
                while True:
                    try:
                        while True:
                            pass
                    except KeyboardInterrupt:
                        print("no")
            """,
    )
    report = check(released, timeout=3)
    assert statuses(report) == ["error", "passed", "failed", "error"]
    for row in (report.rows[0], report.rows[3]):
        assert "it took longer than 3 s and was stopped" in row.messages[0]


@pytest.mark.slow
def test_endless_output_is_stopped(released):
    answer(released, spread="def spread(x):\n    while True:\n        print('x' * 1000)")
    report = check(released, timeout=3)
    assert statuses(report) == ["passed", "error", "failed", "passed"]


def test_edited_and_deleted_checks_run_as_released(released):
    answer(released, largest="def largest(x):\n    return -1")
    released.change(released.exercise, "largest-public", "", 'check.task("largest", 2)\n2.0')

    def delete(cells):
        del cells[next(i for i, c in enumerate(cells) if c.id == "spread-public")]
        del cells[next(i for i, c in enumerate(cells) if c.id == "setup")]

    released.edit(released.exercise, delete)
    report = check(released)
    assert points(report) == [2, 2, 2, 0]
    assert report.notes == [
        "cell setup was deleted: it ran as released",
        "cell spread-public was deleted: it ran as released",
        "cell largest-public was edited: it ran as released",
    ]


def test_cells_of_the_learners_own_run_but_helpers_must_move(released):
    answer(released, largest="def largest(x):\n    return place(x)")

    def insert(cells):
        largest = next(i for i, c in enumerate(cells) if c.id == "largest")
        own = type(cells[largest])(cells[largest])
        own.update(id="own", metadata=type(own)(), source="def place(x):\n    return x.argmax()")
        cells.insert(largest, own)
        cells.insert(0, type(own)({**own, "id": "other", "source": "1 / 0"}))

    released.edit(released.exercise, insert)
    report = check(released)
    assert report.exit_code == 0
    assert report.notes[0].startswith("cell 1 is not graded, but it raises ZeroDivisionError")
    assert "only answer cells are graded: move place from cell" in report.notes[1]
    assert report.notes[1].endswith("into the answer cell largest")


@pytest.mark.slow
def test_an_own_cell_that_ends_the_kernel_is_left_out(released):
    answer(released)
    released.change(released.exercise, "try-it", "", "import os\nos._exit(1)")
    report = check(released)
    assert report.exit_code == 0
    assert "it ended the kernel" in report.notes[0]


@pytest.mark.parametrize("content", [None, "{", "{}", '{"nbformat": 4, "cells": []}'])
def test_what_is_no_exercise_is_refused_in_one_line(released, tmp_path, content):
    path = tmp_path / "mine.ipynb"
    if content is not None:
        path.write_text(content)
    with pytest.raises(UserError) as caught:
        check_notebook(path, known=released.known.parents[1])
    assert "\n" not in str(caught.value)
    assert "mine.ipynb" in str(caught.value)


def test_a_name_that_leads_out_of_the_course_is_no_exercise(released):
    text = released.exercise.read_text("utf-8").replace(NAME, "../../x")
    released.exercise.write_text(text)
    released.exercise = released.exercise.rename(released.exercise.with_name("other.ipynb"))
    with pytest.raises(UserError, match="is no exercise of the course"):
        check(released)
