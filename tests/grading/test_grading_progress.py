"""Progress counts answers and remembers results as long as the notebook is unchanged."""

import json

from conftest import NAME

from coursekit.grading.progress import Row, progress, remember
from coursekit.grading.run import Report
from coursekit.grading.run import Row as Result


def rows(course):
    return progress(course.root, known=course.known.parents[1])


def report(earned):
    return Report(NAME, [Result("average", "The average", earned, 8, "partly")], 12)


def test_an_untouched_exercise_has_no_answer(released):
    (row,) = rows(released)
    assert row == Row(NAME, tasks=4, answered=0, earned=None, points=8)
    assert row.as_dict() == {"exercise": NAME, "answered": "0 of 4", "public_points": "-"}


def test_answers_are_counted_without_running_them(released):
    released.answer("spread", "def spread(x):\n    raise SystemExit")
    (row,) = rows(released)
    assert row.as_dict()["answered"] == "1 of 4"
    assert row.as_dict()["public_points"] == "run coursekit check"


def test_a_result_is_remembered_until_the_notebook_changes(released):
    released.answer("spread", "def spread(x):\n    return 1.0")
    remember(released.exercise, report(3.5))
    assert rows(released)[0].as_dict()["public_points"] == "3.5 of 8"
    stored = json.loads((released.root / "build" / "progress.json").read_text())
    assert list(stored) == [NAME]
    released.answer("spread", "def spread(x):\n    return 2.0")
    assert rows(released)[0].earned is None


def test_notebooks_elsewhere_and_spoiled_stores_do_no_harm(released, tmp_path):
    copy = tmp_path / "copy.ipynb"
    copy.write_bytes(released.exercise.read_bytes())
    remember(copy, report(1))
    store = released.root / "build" / "progress.json"
    assert not store.exists()
    store.parent.mkdir()
    store.write_text("[")
    assert rows(released)[0].earned is None
    remember(released.exercise, report(1))
    assert rows(released)[0].earned == 1


def test_a_spoiled_notebook_is_a_row_with_its_reason(released):
    released.exercise.write_text("{")
    (row,) = rows(released)
    assert "restore it" in row.problem
    assert row.as_dict()["answered"] == "?"
