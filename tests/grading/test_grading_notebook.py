"""Reading, writing and validating exercise notebooks."""

import json
import os

import nbformat
import pytest
from conftest import NAME
from nbformat import NotebookNode

from coursekit.errors import UserError
from coursekit.grading import notebook as notebooks
from coursekit.grading.layout import validate
from coursekit.grading.notebook import (
    BEGIN_SOLUTION,
    END_SOLUTION,
    LayoutError,
    notebook_text,
    parse_notebook,
    read_exercise,
    read_notebook,
    solution_paths,
    without_regions,
    write_text,
)


def findings(course):
    return validate(read_exercise(course.solution))


def test_the_sample_keeps_the_layout(course):
    assert findings(course) == []


def test_an_exercise_is_taken_apart_into_its_tasks(course):
    exercise = read_exercise(course.solution)
    assert exercise.name == NAME
    assert [task.id for task in exercise.tasks] == ["average", "spread", "scaled", "largest"]
    task = exercise.tasks[1]
    assert (task.title, task.minutes, task.difficulty, task.points) == ("The spread", 15, "easy", 5)
    assert len(task.mistakes) == 2
    assert len(task.alternatives) == 1
    assert exercise.source(task.hidden).startswith('check.task("spread", points=3, hidden=True)')


def test_writing_what_was_read_changes_no_byte(course):
    text = course.solution.read_text("utf-8")
    assert notebook_text(read_notebook(course.solution)) == text
    assert text.endswith("}\n")
    assert not write_text(course.solution, text)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "is empty"),
        (b'{"cells": [', "no valid JSON"),
        (b"[1, 2]", "no Jupyter notebook"),
        (b'{"cells": []}', "no Jupyter notebook"),
        (b'{"nbformat": 4, "nbformat_minor": 5, "metadata": {}}', "no list of cells"),
        (b'{"nbformat": 4, "nbformat_minor": 5, "metadata": {}, "cells": [3]}', "cell 1"),
        (
            b'{"nbformat": 9, "nbformat_minor": 0, "metadata": {}, "cells": []}',
            "Jupyter could open",
        ),
        (b"\xff\xfe\x00{", "not UTF-8"),
    ],
)
def test_what_is_no_notebook_is_refused_in_one_line(tmp_path, content, says):
    path = tmp_path / "a.ipynb"
    path.write_bytes(content)
    with pytest.raises(UserError, match=says) as caught:
        read_notebook(path)
    assert "\n" not in str(caught.value)
    assert str(path) in str(caught.value)


def test_missing_files_folders_and_huge_files_are_refused(tmp_path, monkeypatch):
    with pytest.raises(UserError, match="does not exist"):
        read_notebook(tmp_path / "none.ipynb")
    with pytest.raises(UserError, match="is a folder"):
        read_notebook(tmp_path)
    (tmp_path / "big.ipynb").write_bytes(b" " * 2000)
    monkeypatch.setattr(notebooks, "SIZE_LIMIT", 1000)
    with pytest.raises(UserError, match="clear its outputs"):
        read_notebook(tmp_path / "big.ipynb")


def test_a_file_without_permission_is_refused(course):
    course.solution.chmod(0)
    if os.access(course.solution, os.R_OK):
        pytest.skip("this user may read every file")
    with pytest.raises(UserError, match="may not be read"):
        read_notebook(course.solution)


def test_an_error_of_permission_says_what_to_do(course, monkeypatch):
    def refuse(_):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("pathlib.Path.read_bytes", refuse)
    with pytest.raises(UserError, match=r"chmod u\+r"):
        read_notebook(course.solution)


def test_a_notebook_without_ids_and_metadata_is_read(tmp_path):
    data = {"nbformat": 4, "nbformat_minor": 2, "metadata": {}, "cells": [
        {"cell_type": "code", "source": ["a = 1\n", "b = 2"]},
    ]}  # fmt: skip
    (tmp_path / "a.ipynb").write_text(json.dumps(data))
    (cell,) = read_notebook(tmp_path / "a.ipynb").cells
    assert cell.source == "a = 1\nb = 2"
    assert cell.outputs == []


def test_an_unknown_name_lists_those_that_exist(course):
    with pytest.raises(UserError, match=f"choose from {NAME}"):
        solution_paths(course.root, ["1-none/01-such"])


def test_a_region_gives_way_to_one_line_with_its_indentation():
    source = (
        f"def f():\n    a = 1\n    {BEGIN_SOLUTION}\n    b = 2\n    {END_SOLUTION}\n    return a"
    )
    assert without_regions(source, BEGIN_SOLUTION, END_SOLUTION, "stop()") == (
        "def f():\n    a = 1\n    stop()\n    return a"
    )


SPOILED = [
    ("average", "x: np.ndarray", "x", "annotate every argument"),
    ("average", '"""Return the mean of x, shape (n,).', 'x = """', "docstring"),
    ("average", "### END SOLUTION", "", "must alternate"),
    ("average-text", "5 points", "6 points", "heading says 6 points, its checks give 5"),
    ("average-text", "Task 1", "Task 7", "says Task 7, but it is Task 1"),
    ("average-text", "Hint 2", "Clue", "Hint 2"),
    ("average-text", "15 min", "1 min", "46 minutes, expected 60 to 90"),
    ("average-public", "points=2", "points=1", "make them equal"),
    ("average-public", '"average"', '"spread"', "check.task names 'spread'"),
    ("average-public", "check.points()", "check.points(); 3", "only statements check."),
    ("average-public", "check.points()", "", "end by check.points"),
    ("average-public", "reference=np.mean", "reference=average", "average is the learner's"),
    ("spread-hidden", "reference=np.std", "reference=lambda x: spread(x)", "spread is the learner"),
    ("spread-hidden", ", hidden=True", "", "needs hidden=True"),
    (
        "spread-hidden",
        "### BEGIN HIDDEN TESTS",
        "### BEGIN HIDDEN TESTS\nassert True",
        "bare assert",
    ),
    ("spread-hidden", "check.points()", "x = 1\ncheck.points()", "outside of the hidden block"),
    ("setup", "check.exercise", "check.other", "end the setup cell by"),
    ("largest-raw-1", "def largest", "def smallest", "does not define largest"),
]


@pytest.mark.parametrize(("cell", "old", "new", "says"), SPOILED)
def test_a_spoiled_cell_is_found(course, cell, old, new, says):
    course.change(course.solution, cell, old, new)
    found = findings(course)
    assert any(says in line and line.startswith(NAME) for line in found), found


def spoil_metadata(course, cell, **changes):
    def change(cells):
        (found,) = [c for c in cells if c.id == cell]
        found.metadata["nbgrader"].update(changes)

    course.edit(course.solution, change)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"schema_version": 2}, "schema_version to 3"),
        ({"role": "x"}, "move role out"),
        ({"grade_id": "spread-public"}, "stands 2 times"),
        ({"points": 5}, "make them equal"),
        ({"locked": False}, "a check cell is locked"),
    ],
)
def test_spoiled_metadata_is_found(course, changes, says):
    spoil_metadata(course, "average-public", **changes)
    try:
        found = findings(course)
    except LayoutError as error:
        found = error.findings
    assert any(says in line for line in found) or any("average-public" in line for line in found)


def test_checks_in_the_wrong_order_are_no_task(course):
    def swap(cells):
        places = [i for i, c in enumerate(cells) if c.id in ("average-public", "average-hidden")]
        cells[places[0]], cells[places[1]] = cells[places[1]], cells[places[0]]

    course.edit(course.solution, swap)
    with pytest.raises(LayoutError, match="missing or misplaced"):
        read_exercise(course.solution)


def test_stored_outputs_must_be_clean_and_compared(course):
    def spoil(cells):
        code = {c.id: c for c in cells if c.cell_type == "code"}
        output = nbformat.v4.new_output
        code["look"].outputs = [output("stream", name="stderr", text="warning")]
        code["setup"].outputs = [output("error", ename="E", evalue="", traceback=[])]
        code["average"].outputs = [output("stream", name="stdout", text="<f at 0x7f00aa11bb22>")]
        code["spread-public"].outputs = []
        code["scaled-public"].metadata["tags"] = ["nbval-ignore-output"]
        code["try-it"].metadata["tags"] = ["nbval-skip"]

    course.edit(course.solution, spoil)
    found = "\n".join(findings(course))
    for says in (
        "(look): it writes to stderr",
        "(setup): its stored output is an error",
        "(average): its stored output holds a memory address",
        "(spread-public): no stored output",
        "(scaled-public): a cell with checks must be compared",
        "(try-it): only the tag nbval-ignore-output is allowed",
        "at most one in ten",
    ):
        assert says in found


def bare(cells: list, **more) -> NotebookNode:
    data = {"nbformat": 4, "nbformat_minor": 5, "metadata": {}, "cells": cells, **more}
    return parse_notebook(json.dumps(data).encode(), "a.ipynb", bare=True)


def test_a_bare_notebook_keeps_texts_and_marks_alone():
    marks = {"nbgrader": {"grade_id": "a", "solution": True, "deep": [[]]}, "tags": ["x"]}
    cell = {"cell_type": "code", "id": "a", "source": ["x = 1\n", "y"], "metadata": marks}
    found = bare([cell | {"outputs": [{"output_type": "stream"}] * 9, "execution_count": 3}])
    assert found.cells == [
        {
            "cell_type": "code",
            "id": "a",
            "source": "x = 1\ny",
            "metadata": {"nbgrader": {"grade_id": "a", "solution": True}},
            "outputs": [],
            "execution_count": None,
        }
    ]


@pytest.mark.parametrize(
    ("cells", "says"),
    [
        ([{}] * 100_001, "100,001 cells, more than 100,000"),
        ([7], "cell 1 is neither code nor text"),
        ([{"cell_type": "code", "metadata": [[]]}], "the metadata of cell 1 are no mapping"),
        ({}, "it has no list of cells"),
    ],
)
def test_a_bare_notebook_that_is_none_is_refused(cells, says):
    with pytest.raises(UserError, match=says):
        bare(cells)


def test_json_that_nests_deeper_than_python_does_is_refused():
    deep = '{"nbformat": 4, "metadata": ' + '{"a":' * 900 + "1" + "}" * 900 + ', "cells": []}'
    with pytest.raises(UserError, match="no notebook that Jupyter could open"):
        parse_notebook(deep.encode(), "a.ipynb")
    assert parse_notebook(deep.encode(), "a.ipynb", bare=True).cells == []
