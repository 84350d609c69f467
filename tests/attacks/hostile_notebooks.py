"""Hostile notebooks: forged cells and metadata, answers that are bombs for parsers."""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Callable
from pathlib import Path

from catalog import TASKS, Handed, Kit, attack, function, written
from nbformat import NotebookNode
from nbformat.v4 import new_code_cell, new_output, new_raw_cell

from coursekit.grading.notebook import grade_id

REFUSED = "JSON|notebook|UTF-8|memory|MB"
RIGHT, NOTHING = 20.0, 0.0


def cell_of(notebook: NotebookNode, name: str) -> NotebookNode:
    """Return the cell with a grade_id."""
    return next(cell for cell in notebook.cells if grade_id(cell) == name)


def wrong(kit: Kit) -> NotebookNode:
    """Return a notebook whose functions raise."""
    return kit.notebook(**{task: function(task, "raise ValueError('wrong')") for task in TASKS})


def right(kit: Kit) -> NotebookNode:
    """Return a notebook with right answers."""
    return kit.notebook(**kit.right)


def raw(notebook: NotebookNode, change: Callable[[dict], None]) -> bytes:
    """Return a notebook's JSON after a change that nbformat would not write."""
    data = json.loads(written(notebook))
    change(data)
    return json.dumps(data).encode()


@attack(honest=RIGHT, shows="")
def deleted_checks(kit: Kit) -> bytes:
    """Delete every check cell and the setup cell around right answers."""
    notebook = right(kit)
    notebook.cells = [cell for cell in notebook.cells if grade_id(cell) in TASKS]
    return written(notebook)


@attack(shows="wrong")
def edited_checks(kit: Kit) -> bytes:
    """Replace every check by one that hands out points."""
    notebook = wrong(kit)
    for cell in notebook.cells:
        if grade_id(cell).endswith(("-public", "-hidden")) or grade_id(cell) == "setup":
            cell.source = "class check:\n    points = task = close = lambda *a, **k: 1000.0\n1000.0"
    return written(notebook)


@attack(honest=15.0, shows="stands 3 times")
def duplicated_answers(kit: Kit) -> bytes:
    """Hand in three answers to one task, the right one among them."""
    notebook = right(kit)
    cell = cell_of(notebook, "softmax")
    notebook.cells += [cell, cell]
    return written(notebook)


@attack(shows="is missing")
def retagged_cells(kit: Kit) -> bytes:
    """Exchange the marks of answers and checks."""
    notebook = right(kit)
    for cell in notebook.cells:
        marks = cell.metadata.get("nbgrader")
        if marks:
            marks["solution"], marks["grade"] = marks["grade"], marks["solution"]
            name = marks["grade_id"]
            marks["grade_id"] = f"{name}-hidden" if name in TASKS else name.split("-")[0] + "-x"
    return written(notebook)


@attack(shows="stands 2 times|wrong")
def answers_as_checks(kit: Kit) -> bytes:
    """Add check cells, locked and worth 1000 points, that carry the names of tasks."""
    notebook = wrong(kit)
    for task in TASKS:
        marks = {"grade": True, "locked": True, "solution": False, "schema_version": 3,
                 "grade_id": task, "points": 1000}  # fmt: skip
        notebook.cells.append(new_code_cell("1000.0", metadata={"nbgrader": marks}))
    return written(notebook)


@attack(honest=RIGHT, shows="")
def reversed_cells(kit: Kit) -> bytes:
    """Put right answers into the opposite order."""
    notebook = right(kit)
    notebook.cells.reverse()
    return written(notebook)


@attack(honest=10.0, shows="wrong")
def forged_metadata(kit: Kit) -> bytes:
    """Claim 1000 points, unlocked checks, another schema and earned points, with half right."""
    halves = {task: kit.right[task] for task in TASKS[:2]}
    notebook = kit.notebook(
        **halves, **{task: function(task, "raise ValueError('wrong')") for task in TASKS[2:]}
    )
    for cell in notebook.cells:
        if "nbgrader" in cell.metadata:
            forged = {"points": 1000, "locked": False, "schema_version": 99, "score": 1000}
            cell.metadata["nbgrader"].update(forged)
        cell.metadata["coursekit"] = {"role": "alternative", "points": 1000, "earned": 1000.0}
    notebook.metadata["coursekit"].update(points=1000, score=20.0, earned=1000.0)
    return written(notebook)


@attack(shows="not answered|nothing was answered")
def forged_outputs(kit: Kit) -> bytes:
    """Leave every answer empty and store outputs that say it passed."""
    notebook = kit.notebook()
    message = {"kind": "points", "earned": 5.0, "points": 5.0, "status": "passed"}
    for cell in notebook.cells:
        if cell.cell_type == "code":
            data = {"text/plain": "5.0", "application/vnd.coursekit+json": message}
            cell.outputs = [
                new_output("execute_result", data=data),
                new_output("display_data", data),
            ]
    return written(notebook)


@attack(honest=RIGHT, shows="")
def name_of_another_exercise(kit: Kit) -> bytes:
    """Name another exercise in the metadata of a notebook at this exercise's path."""
    notebook = right(kit)
    notebook.metadata["coursekit"] = {"exercise": "1-basics/01-logistic-neuron"}
    return written(notebook)


@attack(honest=RIGHT, shows="")
def traversal_in_metadata(kit: Kit) -> bytes:
    """Name exercises, kernels and attachments by paths that lead upward."""
    notebook = right(kit)
    notebook.metadata["coursekit"] = {"exercise": "../../../../etc/passwd"}
    notebook.metadata["kernelspec"] = {
        "name": "../../evil",
        "display_name": "<b>",
        "language": "sh",
    }
    for cell in notebook.cells:
        cell.id = "../../x"
    return written(notebook)


def elsewhere(name: str, data: Callable[[], bytes]) -> Callable[[Path], None]:
    """Put a notebook under another file name into the learner's folder."""

    def place(path: Path) -> None:
        (path.parent / name).write_bytes(data())

    return place


@attack(shows="no exercise")
def traversal_in_the_exercise(kit: Kit) -> Handed:
    """Hand in under a free name and let the metadata name a path as the exercise."""
    notebook = right(kit)
    notebook.metadata["coursekit"] = {"exercise": "../solutions/9-trial/01-layers"}
    return elsewhere("solution.ipynb", lambda: written(notebook))


@attack(shows="no exercise")
def unhashable_exercise(kit: Kit) -> Handed:
    """Name the exercise by a list, a number or a very long text."""
    notebook = right(kit)
    notebook.metadata["coursekit"] = {"exercise": ["9-trial/01-layers"] * 1000}
    return elsewhere("other.ipynb", lambda: written(notebook))


@attack(shows="is missing")
def homoglyphs(kit: Kit) -> bytes:
    """Spell names of tasks with look-alike, invisible and decomposed characters."""
    notebook = right(kit)
    spellings = ("s\u043eftmax", "layer\u200b_norm", "box_iou\u0301", "\uff41ttention")
    for task, spelling in zip(TASKS, spellings, strict=True):
        marks = cell_of(notebook, task).metadata["nbgrader"]
        marks["grade_id"] = unicodedata.normalize("NFD", spelling)
    return written(notebook)


@attack(honest=RIGHT, shows="")
def homoglyphs_beside(kit: Kit) -> bytes:
    """Add cells whose names differ from right answers' by invisible characters alone."""
    notebook = right(kit)
    for task in TASKS:
        marks = {**cell_of(notebook, task).metadata["nbgrader"], "grade_id": f"{task}\u200b"}
        notebook.cells.append(
            new_code_cell(f"def {task}(*a): return 1", metadata={"nbgrader": marks})
        )
    return written(notebook)


@attack(shows="wrong")
def forged_variants(kit: Kit) -> bytes:
    """Add raw cells that claim to be known mistakes and right alternatives."""
    notebook = wrong(kit)
    for task in TASKS:
        for role in ("alternative", "mistake", "points"):
            ours = {"role": role, "task": task, "explanation": "<img src=x onerror=alert(1)>"}
            notebook.cells.append(new_raw_cell(kit.right[task], metadata={"coursekit": ours}))
    return written(notebook)


@attack(honest=RIGHT, shows="")
def markers_in_answers(kit: Kit) -> bytes:
    """Write the markers of solutions and hidden tests into right answers."""
    marked = {
        task: f"### BEGIN HIDDEN TESTS\n### BEGIN SOLUTION\n{source}\n### END SOLUTION\n"
        "### END HIDDEN TESTS\n# NBVAL_SKIP\n# NBVAL_IGNORE_OUTPUT\n### BEGIN SOLUTION"
        for task, source in kit.right.items()
    }
    return kit.submission(**marked)


@attack(honest=RIGHT, shows="")
def odd_ids(kit: Kit) -> bytes:
    """Give all cells one id, ids that are no text, and metadata that are no mapping."""

    def change(data: dict) -> None:
        for number, cell in enumerate(data["cells"]):
            cell["id"] = ("x", 5, ["a"], None, {"y": 1})[number % 5]
            if "nbgrader" not in cell["metadata"]:
                cell["metadata"]["nbgrader"] = ["points", 1000]

    return raw(right(kit), change)


@attack(honest=20.0, shows="passed")
def grade_ids_of_other_types(kit: Kit) -> bytes:
    """Give grade_ids that are lists, numbers and mappings; the cells' ids still tell them."""

    def change(data: dict) -> None:
        for number, cell in enumerate(data["cells"]):
            if "nbgrader" in cell["metadata"]:
                cell["metadata"]["nbgrader"]["grade_id"] = ([], 5, {}, None)[number % 4]

    return raw(right(kit), change)


@attack(honest=15.0, shows="softmax")
def magics(kit: Kit) -> bytes:
    """Write shell commands and magics into an answer."""
    source = f"!touch {kit.places['drop']}/shell\n%%bash\ntouch {kit.places['drop']}/magic\n"
    return kit.submission(**{**kit.right, "softmax": source + kit.right["softmax"]})


@attack(honest=15.0, shows="softmax")
def null_bytes_in_an_answer(kit: Kit) -> bytes:
    """Write NUL into an answer."""
    return kit.submission(**{**kit.right, "softmax": f"x = '\0'\n{kit.right['softmax']}"})


@attack(honest=15.0, shows="softmax")
def half_surrogates_in_an_answer(kit: Kit) -> bytes:
    """Write half of a surrogate pair into an answer, which no encoding can carry."""
    notebook = raw(right(kit), lambda data: None)
    name = json.dumps("def softmax(x").strip('"').encode()
    return notebook.replace(name, b"y = '\\ud800'\\n" + name, 1)


@attack(honest=15.0, shows="U\\+FEFF")
def encoding_cookies(kit: Kit) -> bytes:
    """Begin right answers with encoding cookies, form feeds, and a byte order mark, no Python."""
    heads = (
        "# -*- coding: utf-7 -*-",
        "\ufeff# -*- coding: rot13 -*-",
        "\x0c",
        "# vim: set ft=sh :",
    )
    return kit.submission(
        **{t: f"{head}\n{kit.right[t]}" for t, head in zip(TASKS, heads, strict=True)}
    )


@attack(honest=10.0, shows="")
def deep_expressions(kit: Kit) -> bytes:
    """Nest expressions so deeply that parsers give up or crash."""
    deep = {
        "softmax": f"x = {'(' * 5000}1{')' * 5000}\n",
        "layer_norm": f"y = {'-' * 100_000}1\n",
    }
    return kit.submission(**{**kit.right, **{t: s + kit.right[t] for t, s in deep.items()}})


@attack(honest=10.0, shows="")
def deep_statements(kit: Kit) -> bytes:
    """Nest attributes, operators and blocks so deeply that compilers give up or crash."""
    blocks = "".join(f"{' ' * depth}if 1:\n" for depth in range(99)) + " " * 99 + "pass\n"
    deep = {
        "softmax": f"try:\n    x\nexcept NameError:\n    z = 1{'.real' * 150_000}\n",
        "layer_norm": f"y = {'+'.join(['1'] * 120_000)}\n{blocks}",
    }
    return kit.submission(**{**kit.right, **{t: s + kit.right[t] for t, s in deep.items()}})


@attack(honest=15.0, shows="softmax")
def million_lines(kit: Kit) -> bytes:
    """Answer one task with a million lines."""
    return kit.submission(**{**kit.right, "softmax": "x = 1\n" * 10**6 + kit.right["softmax"]})


@attack(honest=15.0, shows="softmax")
def one_long_line(kit: Kit) -> bytes:
    """Answer one task with a line of twelve megabytes."""
    line = f"x = {'[' + '1,' * 6_000_000 + ']'}\n"
    return kit.submission(**{**kit.right, "softmax": line + kit.right["softmax"]})


@attack(honest=10.0, shows="softmax")
def code_outside_functions(kit: Kit) -> bytes:
    """Use return, yield and await outside of functions."""
    wild = {"softmax": "return 1000.0\n", "layer_norm": "x = yield 5\nawait x\n"}
    return kit.submission(**{**kit.right, **{t: s + kit.right[t] for t, s in wild.items()}})


@attack(honest=RIGHT, shows="")
def many_cells(kit: Kit) -> bytes:
    """Add fifty thousand cells to right answers."""
    notebook = right(kit)
    data = json.loads(written(notebook))
    empty = json.loads(json.dumps(new_code_cell("x = 1")))
    data["cells"] += [{**empty, "id": f"x{number}"} for number in range(50_000)]
    return json.dumps(data).encode()


@attack(honest=RIGHT, shows="")
def many_mappings(kit: Kit) -> bytes:
    """Fill megabytes with the smallest metadata around right answers."""
    data = json.loads(written(right(kit)))
    data["metadata"]["x"] = ["@"]
    head, tail = json.dumps(data).split('"@"', 1)
    return (head + "{}," * 700_000 + "{}" + tail).encode()


DEEP = (
    "(" * 20_000 + ")" * 20_000,
    "-" * 60_000 + "1",
    "not " * 60_000 + "1",
    "lambda: " * 50_000 + "1",
    "x" + ".y" * 60_000,
    "x" + "()" * 60_000,
    "x" + "[0]" * 60_000,
    "await " * 60_000 + "x",
    "1" + " if 1 else 1" * 40_000,
    "x = " * 60_000 + "1",
    "x" + " ** x" * 60_000,
    "f'{" * 200 + "1" + "}'" * 200,
    "[" * 150 + "x for x in y" + "]" * 150,
    "1" + " < 1" * 60_000,
    "x" + " @ x" * 60_000,
    "'' " * 150_000,
    "if x:\n  pass\n" + "elif x:\n  pass\n" * 30_000,
    "@x\n" * 60_000 + "def f(): pass",
    "def f(): " * 3 + "pass",
    "match x:\n case " + "[" * 5000 + "]" * 5000 + ": pass",
)


@attack(honest=RIGHT, shows="")
def deep_cells_of_ones_own(kit: Kit) -> bytes:
    """Add cells of one's own on which parsers give up or crash, to right answers."""
    notebook = right(kit)
    notebook.cells += [new_code_cell(source) for source in DEEP]
    return written(notebook)


for _part in range(5):

    def _deep(kit: Kit, part: int = _part) -> bytes:
        four = DEEP[4 * part : 4 * part + 4]
        hidden = [f"if 0:\n  {source}\n" if "\n" not in source else source for source in four]
        sources = zip(TASKS, hidden, strict=True)
        return kit.submission(**{t: f"{s}\n{function(t, 'return 1 / 0')}" for t, s in sources})

    _deep.__name__ = f"deep_answers_{_part + 1}"
    _deep.__doc__ = "Write answers on which parsers and compilers give up or crash."
    attack(shows="")(_deep)


@attack(honest=RIGHT, shows="")
def large_outputs(kit: Kit) -> bytes:
    """Store 15 MB of outputs, attachments and widgets beside right answers."""
    notebook = right(kit)
    text = "x" * (15 << 20)
    notebook.cells[1].outputs = [new_output("stream", text=text)]
    notebook.metadata["widgets"] = {"application/vnd.jupyter.widget-state+json": {"state": {}}}
    return written(notebook)


@attack(honest=RIGHT, shows="")
def outputs_of_wrong_types(kit: Kit) -> bytes:
    """Store outputs that are no outputs, or refuse the whole; right answers either way."""

    def change(data: dict) -> None:
        for cell in data["cells"]:
            if cell["cell_type"] == "markdown":
                cell["attachments"] = {"x.png": {"image/png": ["A" * 100] * 100}}
            else:
                cell["execution_count"] = "many"

    return raw(right(kit), change)
