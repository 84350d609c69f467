"""Tests of the tables and files that come out of a batch."""

from __future__ import annotations

import csv
import io
import json
import os
from pathlib import Path

import jsonschema
import pytest
from conftest import NAME
from lxml import etree
from sample_grades import (
    FORMULAS,
    HOSTILE,
    INVISIBLE,
    failed,
    full,
    hostile,
    perfect,
    refused,
    task,
)

from coursekit.errors import UserError
from coursekit.grading.notebook import read_exercise
from coursekit.grading.official.exports import CANVAS, NBGRADER, write_all
from coursekit.grading.official.formats import classroom50, gradescope, junit, results, whole
from coursekit.grading.official.harmless import block, cell, figure, folder_name, line, visible
from coursekit.grading.official.results import GRADED, Grade
from coursekit.grading.release import known_of

NUMBER = {"type": "number", "minimum": 0}
TEXT = {"type": "string"}
COUNT = {"type": "integer", "minimum": 0}
VISIBILITY = {"enum": ["hidden", "after_due_date", "after_published", "visible"]}


def record(required: dict, optional: dict | None = None) -> dict:
    properties = {**required, **(optional or {})}
    return {
        "type": "object",
        "properties": properties,
        "required": list(required),
        "additionalProperties": False,
    }


def many(item: dict) -> dict:
    return {"type": "array", "items": item}


GRADESCOPE = record(
    {"score": NUMBER, "tests": many(record(
        {"score": NUMBER, "max_score": NUMBER, "status": {"enum": ["passed", "failed"]},
         "name": {"type": "string", "maxLength": 400},
         "number": {"type": "string", "pattern": r"^\d+(\.\d+)*$"},
         "output": {"type": "string", "maxLength": 21_000}, "tags": many(TEXT),
         "visibility": VISIBILITY}))},
    {"execution_time": COUNT, "output": TEXT, "output_format": {"const": "text"},
     "visibility": VISIBILITY, "stdout_visibility": VISIBILITY},
)  # fmt: skip
CLASSROOM50 = record(
    {"schema": {"const": "classroom50/result/v1"}, "score": COUNT, "max-score": COUNT,
     "tests": many(record({"test-name": {"type": "string", "minLength": 1},
                           "passed": {"type": "boolean"}, "score": COUNT, "max-score": COUNT}))},
)  # fmt: skip
SIDE = record(
    {"points": NUMBER, "earned": NUMBER, "explanations": many(TEXT), "said": many(record(
        {"status": {"enum": ["passed", "failed", "note"]}, "title": TEXT, "kind": TEXT,
         "facts": many({"type": "array", "prefixItems": [TEXT, TEXT], "minItems": 2,
                        "maxItems": 2})}))},
)  # fmt: skip
RESULTS = record(
    {"schema": {"const": "coursekit/results/1"}, "learner": TEXT, "score": NUMBER,
     "max_score": NUMBER, "submissions": many(record(
         {"exercise": TEXT, "status": {"enum": ["graded", "refused", "failed"]}, "score": NUMBER,
          "max_score": NUMBER, "reason": TEXT, "notes": many(TEXT), "file": TEXT, "sha256": TEXT,
          "tasks": many(record(
              {"task": TEXT, "title": TEXT, "status": TEXT, "reason": TEXT, "earned": NUMBER,
               "points": NUMBER, "public": SIDE, "hidden": SIDE}))}))},
)  # fmt: skip

# What Jenkins' xUnit plugin and others read, narrowed to what is written here.
JUNIT = etree.XMLSchema(etree.XML("""
<xs:schema xmlns:xs="http://www.w3.org/2001/XMLSchema">
  <xs:complexType name="told" mixed="true">
    <xs:attribute name="message" type="xs:string" use="required"/>
  </xs:complexType>
  <xs:attributeGroup name="counts">
    <xs:attribute name="name" type="xs:string" use="required"/>
    <xs:attribute name="tests" type="xs:nonNegativeInteger" use="required"/>
    <xs:attribute name="failures" type="xs:nonNegativeInteger" use="required"/>
    <xs:attribute name="errors" type="xs:nonNegativeInteger" use="required"/>
  </xs:attributeGroup>
  <xs:element name="testsuites"><xs:complexType>
    <xs:sequence><xs:element name="testsuite" minOccurs="0" maxOccurs="unbounded"><xs:complexType>
      <xs:sequence><xs:element name="testcase" minOccurs="0" maxOccurs="unbounded"><xs:complexType>
        <xs:choice minOccurs="0">
          <xs:element name="failure" type="told"/><xs:element name="error" type="told"/>
        </xs:choice>
        <xs:attribute name="classname" type="xs:string" use="required"/>
        <xs:attribute name="name" type="xs:string" use="required"/>
      </xs:complexType></xs:element></xs:sequence>
      <xs:attributeGroup ref="counts"/>
    </xs:complexType></xs:element></xs:sequence>
    <xs:attributeGroup ref="counts"/>
  </xs:complexType></xs:element>
</xs:schema>"""))  # fmt: skip


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


@pytest.fixture
def exercise(course):
    return read_exercise(course.solution)


@pytest.fixture
def written(tmp_path, exercise):
    """Write a batch and return its folder."""

    def write(*grades: Grade) -> Path:
        folder = tmp_path / "out"
        write_all(grades, folder, {NAME: exercise})
        return folder

    return write


# ------------------------------------------------------------------------------ harmless texts


@pytest.mark.parametrize("text", FORMULAS)
def test_no_cell_is_a_formula(text):
    shown = cell(text)
    assert not shown.startswith(("=", "+", "-", "@", "\t", "\r", "＝"))
    assert ";=" not in shown


@pytest.mark.parametrize("text", ["-3", "+4.5", "1e-3", "0", "1-basics/01", "x = 1", "a-b", ".5"])
def test_numbers_and_ordinary_texts_stay(text):
    assert cell(text) == text


def test_two_texts_never_become_one_cell():
    texts = [*FORMULAS, "''=1", "'x", "x", "1"]
    assert len({cell(text) for text in texts}) == len(texts)


def test_invisible_characters_are_shown():
    shown = visible(INVISIBLE)
    assert shown == "a␀b␛[31mc⟨U+202E⟩d⟨U+2066⟩e⟨U+D800⟩f⟨U+FFFE⟩g⟨U+0085⟩h"
    assert shown.encode("utf-8")


@pytest.mark.parametrize("text", ["Zoë Ünal", "علی‌رضا", "李小龍", "σ(−z)", "👩‍🔬", "a\u00a0b"])
def test_names_and_formulas_of_people_stay(text):
    assert visible(text) == text


def test_a_joiner_between_latin_letters_is_shown():
    assert visible("an\u200dna") == "an⟨U+200D⟩na"


def test_piled_up_marks_are_cut():
    assert visible("a" + "\u0301" * 100 + "b") == "a" + "\u0301" * 4 + "b"


def test_long_texts_are_cut_and_say_so():
    assert line("x" * 1000, 10) == "xxxxxxxxxx… (1,000 characters)"
    assert block("\n".join(["row"] * 500), rows=2) == "row\nrow\n… (1,999 characters in all)"
    assert len(block("\t" * 10**7)) < 30_000


def test_a_line_holds_no_line_end():
    assert line("a\nb\r\nc\u2028d") == "a␊b␍␊c⟨U+2028⟩d"


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.0, "0"), (-0.0, "0"), (2.0, "2"), (10.0, "10"), (4 / 3, "1.333333"), (1e-9, "0")],
)
def test_points_are_plain_figures(value, text):
    assert figure(value) == text


def test_points_that_are_no_number_are_refused():
    with pytest.raises(ValueError, match="value must be a finite number of points, got nan"):
        figure(float("nan"))


# ------------------------------------------------------------------------------ folders

NAMES = [
    "anna", "Anna", "ANNA", "anna ", " anna", "anna.", "..", ".", "", "/", "../../etc", "a/b",
    "a\\b", "con", "nul.txt", "com1", "a~b", "anna~", "é", "e\u0301", "\ud800", "\x00", "x" * 300,
    "x" * 301, "a:b", "a*b", "-rf", "~", "%2e", "a..b", "anna@example.org", "müller", "ＡＮＮＡ",
]  # fmt: skip


def test_folders_of_different_learners_differ_on_every_system():
    folders = [folder_name(name) for name in NAMES]
    assert len({folder.casefold() for folder in folders}) == len(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_a_folder_is_a_safe_name(name):
    folder = folder_name(name)
    assert set(folder) <= set("abcdefghijklmnopqrstuvwxyz0123456789._@-~")
    assert folder[0] not in ".-~"
    assert folder[-1] not in ".- "
    assert len(folder) <= 64
    assert folder.split(".")[0] not in ("con", "nul", "com1")


def test_a_simple_name_is_its_folder():
    assert folder_name("anna@example.org") == "anna@example.org"


def test_learners_that_would_share_a_folder_are_refused(monkeypatch, tmp_path):
    monkeypatch.setattr("coursekit.grading.official.exports.folder_name", lambda name: "same")
    with pytest.raises(UserError, match="anna and bert would share the folder same: rename"):
        write_all([full("anna"), full("bert")], tmp_path, {})


# ------------------------------------------------------------------------------ tables


def test_grades_have_a_row_a_submission_in_order(written):
    folder = written(refused("bert"), full("anna"), full("anna", file="anna/older.ipynb"))
    table = rows(folder / "grades.csv")
    assert [(row["learner"], row["file"]) for row in table] == [
        ("anna", "anna/01-numbers.ipynb"),
        ("anna", "anna/older.ipynb"),
        ("bert", "bert/x.ipynb"),
    ]
    assert table[0] == {
        "learner": "anna", "exercise": NAME, "score": "3", "max_score": "20", "percent": "15",
        "status": "graded", "reason": "", "file": "anna/01-numbers.ipynb", "sha256": "0" * 64,
    }  # fmt: skip
    assert (table[2]["score"], table[2]["reason"]) == ("0", "no notebook was handed in")


def test_an_unknown_exercise_has_no_percentage(written):
    (row,) = rows(written(refused("anna", "")) / "grades.csv")
    assert (row["exercise"], row["max_score"], row["percent"]) == ("", "0", "")


def test_tasks_have_a_row_each_with_a_reason_for_every_zero(written):
    table = rows(written(full("anna")) / "tasks.csv")
    assert [(row["task"], row["public_earned"], row["hidden_earned"]) for row in table] == [
        ("average", "2", "1"), ("spread", "0", "0"), ("scaled", "0", "0"), ("largest", "0", "0"),
    ]  # fmt: skip
    assert [row["reason"] for row in table] == [
        "average: hidden check (skewed): the values differ",
        "spread: the values differ",
        "not answered, the answer cell is as it was released",
        "the answer cell: it raises SyntaxError",
    ]


def test_the_same_grades_give_the_same_bytes(tmp_path, exercise):
    grades = [full("anna"), hostile(), refused("bert"), perfect("carl")]
    for folder, order in (("one", grades), ("two", grades[::-1])):
        write_all(order, tmp_path / folder, {NAME: exercise})

    def contents(folder: str) -> dict[str, bytes]:
        root = tmp_path / folder
        return {str(p.relative_to(root)): p.read_bytes() for p in root.rglob("*") if p.is_file()}

    assert contents("one") == contents("two")


def test_nbgrader_reads_a_row_for_each_learner_and_exercise(written):
    path = written(full("anna"), refused("bert", "9-sample/02-more")) / "nbgrader.csv"
    assert path.read_text("utf-8").splitlines()[0] == ",".join(NBGRADER)
    table = rows(path)
    assert [(r["assignment"], r["student_id"], r["raw_score"], r["max_score"]) for r in table] == [
        (NAME.replace("/", "-"), "anna", "3.0", "20.0"),
        (NAME.replace("/", "-"), "bert", "0.0", "20.0"),
        ("9-sample-02-more", "anna", "0.0", "20.0"),
        ("9-sample-02-more", "bert", "0.0", "20.0"),
    ]
    assert {(r["late_submission_penalty"], r["duedate"], r["email"]) for r in table} == {
        ("0.0", "", "")
    }


def test_canvas_finds_its_header_points_and_learners(written):
    path = written(full("anna"), refused("bert", "9-sample/02-more")) / "canvas.csv"
    header, points, anna, bert = csv.reader(io.StringIO(path.read_text("utf-8")))
    assert header == [*CANVAS, NAME, "9-sample/02-more"]
    assert points == ["    Points Possible", "", "", "", "", "20", "20"]
    assert anna == ["anna", "", "", "anna", "", "3", ""]
    assert bert == ["bert", "", "", "bert", "", "", "0"]


def test_a_learner_cannot_change_the_points_of_canvas(written):
    table = written(full("x Points Possible")) / "canvas.csv"
    first = [row[0] for row in csv.reader(io.StringIO(table.read_text("utf-8")))]
    assert [name for name in first if "Points Possible" in name] == ["    Points Possible"]


def test_a_failure_of_the_grader_is_no_zero_in_a_gradebook(written):
    folder = written(full("anna"), failed("bert"))
    assert [row["student_id"] for row in rows(folder / "nbgrader.csv")] == ["anna"]
    assert {row["Student"]: row[NAME] for row in rows(folder / "canvas.csv")}["bert"] == ""


def test_of_several_submissions_the_best_counts(written):
    better = perfect("anna")
    folder = written(full("anna"), better, refused("anna", file="z.ipynb"))
    assert [row["score"] for row in rows(folder / "nbgrader.csv")] == ["20.0"]
    assert json.loads((folder / "learners/anna/gradescope.json").read_text())["score"] == 20.0
    kept = json.loads((folder / "learners/anna/results.json").read_text())
    assert (kept["score"], len(kept["submissions"])) == (20.0, 3)


# ------------------------------------------------------------------------------ formats


@pytest.mark.parametrize("grades", [[full()], [hostile()], [refused("a")], [refused("a", "")],
                                    [failed("a")], [full("a"), hostile("a")]])  # fmt: skip
@pytest.mark.parametrize(
    ("make", "schema"), [(gradescope, GRADESCOPE), (classroom50, CLASSROOM50), (results, RESULTS)]
)
def test_json_has_the_fields_of_its_format(grades, make, schema):
    data = json.loads(json.dumps(make(grades)).encode("utf-8"))
    jsonschema.validate(data, schema, cls=jsonschema.Draft202012Validator)


def test_gradescope_sees_two_tests_a_task_that_add_up():
    data = gradescope([full()])
    assert data["score"] == sum(test["score"] for test in data["tests"]) == 3.0
    assert sum(test["max_score"] for test in data["tests"]) == 20.0
    assert [(t["number"], t["status"], t["visibility"]) for t in data["tests"][:2]] == [
        ("1.1.1", "passed", "visible"),
        ("1.1.2", "failed", "after_due_date"),
    ]
    assert "expected: 1.63299" in data["tests"][2]["output"]
    assert "why: Take the root." in data["tests"][2]["output"]
    assert data["execution_time"] == 1


def test_gradescope_says_why_nothing_was_run():
    data = gradescope([refused("anna")])
    assert data["output"] == f"{NAME}: no notebook was handed in"
    assert [(t["score"], t["max_score"], t["status"]) for t in data["tests"]] == [
        (0.0, 20.0, "failed")
    ]


def test_classroom_has_integers_that_add_up():
    thirds = [task(name, 2 / 3, 1.0) for name in ("a", "b", "c")]
    data = classroom50([Grade("anna", NAME, GRADED, 5.0, 15.0, tasks=thirds)])
    assert [test["score"] for test in data["tests"]] == [2, 2, 1]
    assert (data["score"], data["max-score"]) == (5, 15)


def test_a_rounded_score_does_not_make_a_test_pass():
    almost = [task("a", 2.0, 2.9)]
    (test,) = classroom50([Grade("anna", NAME, GRADED, 4.9, 5.0, tasks=almost)])["tests"]
    assert test == {"test-name": f"{NAME} a", "passed": False, "score": 5, "max-score": 5}


@pytest.mark.parametrize(
    ("values", "most", "expected"),
    [
        ([], None, []),
        ([0.5], None, [1]),
        ([0.4, 0.4, 0.4], None, [1, 0, 0]),
        ([1.9, 1.2, 0.9], None, [2, 1, 1]),
        ([0.1 + 0.2, 0.7], None, [0, 1]),
        ([2.5, 2.5], [2, 3], [2, 3]),
        ([1.9999999], None, [2]),
    ],
)
def test_rounding_keeps_the_sum(values, most, expected):
    assert whole(values, most) == expected


@pytest.mark.parametrize("grades", [[], [full()], [hostile()], [refused("a"), failed("b")]])
def test_junit_fits_its_schema_and_counts_rightly(grades):
    document = etree.XML("".join(junit(lambda: iter(grades))).encode("utf-8"))
    JUNIT.assertValid(document)
    for group in [document, *document.iter("testsuite")]:
        assert int(group.get("tests")) == len(list(group.iter("testcase")))
        assert int(group.get("failures")) == len(list(group.iter("failure")))
        assert int(group.get("errors")) == len(list(group.iter("error")))


def test_junit_tells_failures_from_what_could_not_be_judged():
    document = etree.XML("".join(junit(lambda: iter([full()]))).encode("utf-8"))
    cases = {case.get("name"): [child.tag for child in case] for case in document.iter("testcase")}
    assert cases["average (public)"] == []
    assert cases["average (hidden)"] == ["failure"]
    assert cases["largest (public)"] == ["error"]
    (spread,) = document.xpath("//testcase[@name='spread (public)']/failure")
    assert "got: 2.66667" in spread.text


# ------------------------------------------------------------------------------ the folder


def test_a_hostile_learner_breaks_no_file(written):
    folder = written(hostile(), full("anna"), refused("-1+1", file="=1"))
    assert len(rows(folder / "grades.csv")) == 3
    for path in folder.rglob("*.csv"):
        for row in csv.reader(io.StringIO(path.read_text("utf-8"))):
            assert not [text for text in row if text.startswith(("=", "+", "-", "@", "\t", "\r"))]
    for path in folder.rglob("*.xml"):
        JUNIT.assertValid(etree.parse(path))
    for path in folder.rglob("*"):
        if path.is_file():
            text = path.read_bytes().decode("utf-8")
            assert not set(text) & set("\x00\x1b\u202e\u2066\x85")
            assert len(text) < 500_000


def test_every_learner_has_five_files(written):
    folder = written(full("anna"), hostile())
    names = {"feedback.html", "results.json", "gradescope.json", "classroom50.json", "junit.xml"}
    for learner in ("anna", HOSTILE):
        place = folder / "learners" / folder_name(learner)
        assert {path.name for path in place.iterdir()} == names


def test_what_was_written_is_returned(tmp_path, exercise):
    paths = write_all([full("anna")], tmp_path / "out", {NAME: exercise})
    found = {path for path in (tmp_path / "out").rglob("*") if path.is_file()}
    assert set(paths) == found
    assert len(paths) == len(found) == 12


def test_no_hidden_test_and_no_solution_is_in_any_file(written, exercise):
    folder = written(full("anna"), refused("bert"))
    for path in folder.rglob("*.*"):
        text = path.read_text("utf-8")
        for secret in ("skewed = np", "total_of_all", "np.ones(1)", "BEGIN HIDDEN", "centered**2"):
            assert secret not in text, path


def test_a_batch_without_submissions_is_written(written):
    folder = written()
    assert rows(folder / "grades.csv") == []
    assert "No pair was found" in (folder / "similarity.html").read_text("utf-8")
    JUNIT.assertValid(etree.parse(folder / "junit.xml"))


def test_what_a_release_recorded_is_enough(tmp_path, exercise):
    outputs = {mistake.id: [] for at in exercise.tasks for mistake in at.mistakes}
    known = known_of(exercise, outputs)
    write_all([refused("anna"), full("bert")], tmp_path / "out", {NAME: known})
    assert {row["max_score"] for row in rows(tmp_path / "out" / "nbgrader.csv")} == {"20.0"}


def test_a_folder_that_cannot_be_made_is_told(tmp_path):
    (tmp_path / "out").write_text("a file")
    with pytest.raises(UserError, match=r"cannot be written .*: make its folder writable"):
        write_all([full("anna")], tmp_path / "out", {})


def test_no_half_written_file_is_left(written, monkeypatch):
    folder = written(full("anna"))
    before = (folder / "grades.csv").read_bytes()

    def no_replace(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", no_replace)
    with pytest.raises(UserError, match="No space left on device"):
        written(full("anna"), full("bert"))
    assert (folder / "grades.csv").read_bytes() == before
    assert not list(folder.rglob("*.part"))


def test_grades_need_not_be_in_memory(tmp_path, exercise):
    class Stored:
        """A sequence that makes each grade when it is asked for."""

        def __len__(self):
            return 50

        def __getitem__(self, number):
            if number >= 50:
                raise IndexError
            return full(f"learner{number:02}")

    write_all(Stored(), tmp_path / "out", {NAME: exercise})
    assert len(rows(tmp_path / "out" / "grades.csv")) == 50
