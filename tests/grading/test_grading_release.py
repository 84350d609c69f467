"""Exercises are derived from solutions: complete, repeatable, and with no secret left."""

import json

import pytest
from conftest import NAME

from coursekit.errors import UserError
from coursekit.grading import release as releasing
from coursekit.grading.notebook import read_exercise, read_notebook
from coursekit.grading.release import NO_TESTS, STUB, leaks, release, released_notebook, stale

pytestmark = pytest.mark.usefixtures("here")


def cell(path, name):
    return next(c for c in read_notebook(path).cells if c.id == name)


def test_answers_and_hidden_tests_are_replaced_and_raw_cells_dropped(released):
    answer = cell(released.exercise, "average")
    assert answer.source.endswith(f'    """\n    {STUB}')
    assert ">>> average(np.array([1.0, 3.0]))" in answer.source
    assert answer.metadata["nbgrader"]["grade_id"] == "average"
    hidden = cell(released.exercise, "average-hidden").source.splitlines()
    assert hidden[1:] == [NO_TESTS, "check.points()"]
    notebook = read_notebook(released.exercise)
    assert all(c.cell_type != "raw" for c in notebook.cells)
    assert all(
        not c.outputs and c.execution_count is None for c in notebook.cells if "outputs" in c
    )
    assert notebook.metadata["coursekit"] == {"exercise": NAME}


def test_known_mistakes_hold_outputs_and_explanations_but_no_code(released):
    known = json.loads(released.known.read_text("utf-8"))
    spread = known["tasks"]["spread"]
    assert spread["public"] == {"points": 2.0}
    assert [m["explanation"] for m in spread["mistakes"]] == [
        "Take the root of the variance.",
        "Subtract the mean before you square.",
    ]
    ((first,),) = spread["mistakes"][0]["public"]
    assert first["values"] == [pytest.approx(8 / 3, rel=1e-5)]
    assert "np.var" not in released.known.read_text("utf-8")
    assert known["order"] == ["average", "spread", "scaled", "largest"]


def test_a_second_release_changes_no_byte(released):
    assert release(released.root) == []
    assert stale(released.root) == []


def test_figures_that_differ_in_the_last_digits_are_kept(released):
    text = released.known.read_text("utf-8")
    assert "2.66667" in text
    released.known.write_text(text.replace("2.66667", "2.66668"), encoding="utf-8")
    assert release(released.root) == []


def test_stale_names_files_that_are_not_current_or_have_no_solution(released):
    released.change(released.solution, "average-text", "Write `average`.", "Write it well.")
    orphan = released.exercise.with_name("99-none.ipynb")
    orphan.write_text("{}")
    lines = stale(released.root)
    assert f"exercises/{NAME}.ipynb is not current: run coursekit release" in lines
    assert "exercises/9-sample/99-none.ipynb has no solution: remove it" in lines
    assert len(lines) == 2


def test_edited_answers_are_not_overwritten_unless_forced(released):
    released.answer("spread", "def spread(x):\n    return 3.0")
    before = released.exercise.read_bytes()
    with pytest.raises(UserError, match=r"01-numbers.ipynb has edited answers \(spread\)"):
        release(released.root)
    assert released.exercise.read_bytes() == before
    assert release(released.root, force=True) == [released.exercise]
    assert STUB in cell(released.exercise, "spread").source


def test_an_untouched_exercise_of_an_earlier_release_is_replaced(released):
    released.change(released.solution, "spread", "Return the standard", "Compute the standard")
    assert set(release(released.root)) == {released.exercise, released.known}


def test_a_solution_that_does_not_run_is_refused(course):
    course.change(course.solution, "spread", "centered = x", "centered = y[")
    with pytest.raises(UserError, match="mend the solution first"):
        release(course.root)


def test_a_mistake_that_cannot_run_is_refused(course):
    course.change(course.solution, "spread-raw-1", "(x)", "(x")
    with pytest.raises(UserError, match="spread-mistake-1, cell spread: SyntaxError"):
        release(course.root)


def leaked(course):
    exercise = read_exercise(course.solution)
    return leaks(exercise, released_notebook(exercise), {})


def test_the_sample_leaks_nothing(course):
    assert leaked(course) == []


@pytest.mark.parametrize(
    ("cell", "text", "owner"),
    [
        ("average-text", "Use `total_of_all = x.sum()  / len(x)`.", "the answer of average"),
        ("look", "\n    return float(np.sqrt((centered**2).mean()))", "the answer of spread"),
    ],
)
def test_a_line_of_an_answer_in_a_public_cell_is_a_leak(course, cell, text, owner):
    course.edit(
        course.solution,
        lambda cells: [c.update(source=c.source + text) for c in cells if c.id == cell],
    )
    notebook = released_notebook(read_exercise(course.solution))
    exercise = read_exercise(course.solution)
    assert any(f"({cell}): holds a line of {owner}" in x for x in leaks(exercise, notebook, {}))


def test_code_of_a_mistake_or_hidden_test_that_is_left_is_a_leak(course):
    exercise = read_exercise(course.solution)
    known = {"tasks": {"scaled": "    return (x - x.mean()) / x.var()"}}
    assert leaks(exercise, released_notebook(exercise), known) == [
        f"{NAME}, known mistakes: holds a line of scaled-mistake-1: return (x - x.mean()) / x.var()"
    ]
    whole = "\n".join(leaks(exercise, exercise.notebook, {}))
    assert "the hidden tests of spread" in whole
    assert "largest-alternative-1" in whole


@pytest.mark.slow
def test_stored_outputs_come_from_a_kernel_and_repeat(course):
    assert releasing.store_outputs(course.root) == [course.solution]
    assert cell(course.solution, "look").outputs[0].text == "(2, 3)\n"
    assert "execution" not in cell(course.solution, "look").metadata
    assert cell(course.solution, "average-public").outputs[-1].data["text/plain"] == "2.0"
    assert releasing.store_outputs(course.root) == []


@pytest.mark.slow
def test_a_failing_solution_keeps_its_file(course):
    course.change(course.solution, "look", "ROWS.shape", "ROWS.nothing")
    before = course.solution.read_bytes()
    with pytest.raises(UserError, match="AttributeError"):
        releasing.store_outputs(course.root)
    assert course.solution.read_bytes() == before
