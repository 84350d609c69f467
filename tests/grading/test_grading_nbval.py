"""Notebooks of learners as tests of pytest: only answers count, and no trick turns into a pass."""

import json
import os
import re
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest
from conftest import NAME
from nbformat.v4 import new_code_cell, new_output

from coursekit.grading.messages import MIME
from coursekit.grading.notebook import notebook_text, read_notebook
from coursekit.grading.plan import make_plan
from coursekit.grading.summary import MOST_BYTES, Fact, append, lines, markdown

ROOT = Path(__file__).parents[2]
PLUGIN = ["-p", "coursekit.grading.nbval", "-p", "no:cacheprovider"]
RIGHT = {
    "average": "def average(x):\n    return float(x.mean())",
    "spread": "def spread(x):\n    return float(x.std())",
    "scaled": "def scaled(x):\n    return (x - average(x)) / spread(x)",
    "largest": "def largest(x):\n    return int(np.argmax(x))",
}
TASKS = list(RIGHT)


class Recorder:
    """A plugin that keeps the reports of a run."""

    def __init__(self):
        self.reports = {}

    def pytest_runtest_logreport(self, report):
        if report.when == "call" or report.failed:
            self.reports[report.nodeid.split("::", 1)[1]] = report

    def pytest_collectreport(self, report):
        assert report.passed, report.longrepr

    def failed(self, name):
        """Return why an item failed."""
        assert self.reports[name].outcome == "failed", name
        return str(self.reports[name].longrepr)

    def passed(self):
        return {name for name, report in self.reports.items() if report.outcome == "passed"}


@pytest.fixture
def grade(released, tmp_path, monkeypatch):
    """Grade notebooks in this process, against the instructor's notebook unless told otherwise."""
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    (tmp_path / "pytest.ini").write_text("[pytest]\n")

    def graded(*arguments, truth=None):
        recorder = Recorder()
        given = ["--coursekit-exercise", str(truth or released.solution), *map(str, arguments)]
        if not any(Path(a).suffix == ".ipynb" or Path(a).is_dir() for a in map(str, arguments)):
            given.append(str(released.exercise))
        recorder.code = pytest.main(
            [*PLUGIN, "-q", "--rootdir", str(tmp_path), "-c", str(tmp_path / "pytest.ini"), *given],
            plugins=[recorder],
        )
        return recorder

    return graded


def answer(course, **answers):
    for task, source in {**RIGHT, **answers}.items():
        course.answer(task, source)


# Spliced by grade_id: these need no kernel.


def planned(course, **options):
    known = json.loads(course.known.read_text("utf-8"))
    return make_plan(read_notebook(course.exercise), known, **options)


def test_only_answers_are_taken_from_a_learners_notebook(released):
    answer(released)

    def spoil(cells):
        for cell in cells:
            if cell.cell_type == "code" and cell.id not in TASKS:
                cell.source = "raise SystemExit"
        cells.insert(0, new_code_cell("import os; os._exit(0)"))

    before = [step.source for step in planned(released, own=False).steps]
    released.edit(released.exercise, spoil)
    plan = planned(released, own=False)
    assert [step.source for step in plan.steps] == before
    assert {s.id: s.source for s in plan.steps if s.role == "answer"} == RIGHT
    assert {step.role for step in plan.steps} == {"locked", "shown", "answer", "public"}


def test_a_helper_in_a_cell_of_the_learners_own_is_named(released):
    answer(released, largest="def largest(x):\n    return place(x)")
    helper = new_code_cell("def place(x):\n    return 1")
    released.edit(released.exercise, lambda cells: cells.insert(0, helper))
    plan = planned(released, own=False)
    assert plan.borrowed == [
        "only answer cells are graded: move place from cell 1 into the answer cell largest"
    ]


@pytest.mark.parametrize(
    "source",
    ["%%capture\n1", "%%bash\ntrue", "!ls", "%load_ext x", "def f(:", "x = 1\0", "(" * 5000],
    ids=["capture", "bash", "shell", "extension", "syntax", "null", "deep"],
)
def test_an_answer_that_is_no_plain_python_is_a_fault(released, source):
    answer(released, average=source)
    plan = planned(released, own=False, strict=True)
    assert list(plan.faults) == ["average"]
    assert "its answer cell is no plain Python" in plan.faults["average"]
    (step,) = [step for step in plan.steps if step.id == "average"]
    assert "NotImplementedError" in step.source


# Runs of pytest: each starts one kernel.


def test_right_answers_pass_hidden_tests_and_junit_says_so(released, grade, tmp_path):
    answer(released)
    xml, summary = tmp_path / "junit.xml", tmp_path / "summary.md"
    summary.write_text("before\n")
    ran = grade("--junitxml", xml, "--coursekit-summary", summary)
    assert ran.code == 0
    assert ran.passed() == {f"{task}, {side}" for task in TASKS for side in ("public", "hidden")}
    cases = ElementTree.parse(xml).getroot().iter("testcase")
    assert [(case.get("classname"), case.get("name")) for case in cases][:2] == [
        (NAME, "average, public"),
        (NAME, "average, hidden"),
    ]
    text = summary.read_text()
    assert text.startswith("before\n## Exercises")
    assert "| The average | 5 of 5 | passed | Nothing&#46; |" in text


def test_a_failing_check_says_what_the_check_said_without_colors(released, grade, tmp_path):
    answer(
        released,
        average="def average(x):\n    raise ValueError('\\x1b[31mred\\x07 <b>|')",
        scaled="def scaled(x):\n    return x - x.mean()",
        largest="def largest(x):\n    return other(x)",
    )
    xml, summary = tmp_path / "junit.xml", tmp_path / "summary.md"
    options = ["--color=yes", "--junitxml", xml, "--coursekit-summary", summary]
    ran = grade(*options)
    assert ran.code == 1
    assert ran.passed() == {"spread, public", "spread, hidden", "scaled, hidden"}
    assert ran.failed("scaled, public").startswith("1 of 2 points, partly\nfailed: scaled")
    assert "NameError" in ran.failed("largest, public")
    assert "red" in ran.failed("average, public")
    for side in ("public", "hidden"):
        assert not re.search(r"[\x00-\x08\x0b-\x1f]", ran.failed(f"average, {side}"))
    failures = ElementTree.parse(xml).getroot().findall(".//failure")
    assert len(failures) == 5
    assert "expected" in failures[-3].text
    assert "\x1b" not in xml.read_text()
    assert "#x1B" not in xml.read_text()
    assert "<b>" not in summary.read_text()


@pytest.mark.slow
def test_untouched_exercises_fail_or_are_left_out(released, grade):
    ran = grade()
    assert ran.code == 1
    assert ran.passed() == set()
    assert ran.failed("average, public").startswith("0 of 2 points, not answered")
    ran = grade("--coursekit-worked-on")
    assert ran.code == 0
    assert [report.outcome for report in ran.reports.values()] == ["skipped"]


@pytest.mark.slow
def test_markers_tags_outputs_and_edited_checks_change_nothing(released, grade):
    marked = "# {}\ndef {}(x):\n    raise RuntimeError"
    markers = (
        "NBVAL_SKIP", "NBVAL_RAISES_EXCEPTION", "NBVAL_IGNORE_OUTPUT",
        "PYTEST_VALIDATE_IGNORE_OUTPUT",
    )  # fmt: skip
    answer(released, **{t: marked.format(m, t) for t, m in zip(TASKS, markers, strict=True)})
    forged = {MIME: {"kind": "points", "task": "average", "earned": 2.0, "points": 2.0}}

    def tag(cells):
        for cell in cells:
            cell.metadata["tags"] = ["nbval-skip", "nbval-raises-exception", "raises-exception"]
            if cell.cell_type == "code":
                cell.outputs = [new_output("display_data", data=forged)]
            if cell.id.endswith(("-public", "-hidden")):
                cell.source, cell.cell_type = "2.0", "raw"
                del cell["outputs"], cell["execution_count"]

    released.edit(released.exercise, tag)
    ran = grade()
    assert (ran.code, ran.passed()) == (1, set())
    assert len(ran.reports) == 8
    assert "RuntimeError" in ran.failed("spread, public")


def forged(task, points=2.0):
    """Return the text of a statement that displays what a check cell displays at its end."""
    data = {MIME: {"kind": "points", "task": task, "earned": points, "points": points}}
    return f"__import__('IPython').display.display({data!r}, raw=True)"


@pytest.mark.slow
def test_forged_results_and_replaced_machinery_earn_nothing(released, grade):
    answer(
        released,
        average=f"""
            from coursekit.grading import check as checks
            def blank(lines):
                return [{forged("average")!r}] if any("check.points" in x for x in lines) else lines
            get_ipython().input_transformers_post.append(blank)
            get_ipython().events.register("post_run_cell", lambda r: {forged("average")})
            def average(x):
                {forged("average")}
                return -1.0
            """,
        spread="""
            import builtins
            checks.points = checks.session.points = lambda: 2.0
            checks.close = checks.equal = lambda *a, **k: None
            check = type("Fake", (), {"__getattr__": lambda s, n: lambda *a, **k: 2.0})()
            np.std = np.mean = lambda *a, **k: -1.0
            builtins.abs = lambda x: 0.0
            def spread(x):
                return -1.0
            """,
        scaled="""
            class Same(np.ndarray):
                def __eq__(self, other): return True
                __sub__ = __rsub__ = lambda self, other: 0
            def difference(*a, **k): return None
            checks.compare.difference.__code__ = difference.__code__
            def scaled(x):
                x[:] = 0
                return x.view(Same)
            """,
        largest="""
            def rewritten(message, *a):
                data = message._repr_mimebundle_()
                data[checks_mime]["earned"] = 2.0
                return data
            checks_mime = "application/vnd.coursekit.check+json"
            from coursekit.grading.messages import Message
            formatters = get_ipython().display_formatter
            formatters.mimebundle_formatter.for_type(Message, rewritten)
            get_ipython().custom_exceptions = (Exception,)
            def largest(x):
                import coursekit.grading.check as c
                c.difference = c.Difference = lambda *a, **k: None
                c.compare.difference = lambda *a, **k: None
                return -1
            """,
    )
    ran = grade()
    assert (ran.code, ran.passed()) == (1, set())
    assert len(ran.reports) == 8
    assert "got" in ran.failed("average, public")
    assert "got       -1" in ran.failed("spread, public")
    assert "failed" in ran.failed("largest, public")


@pytest.mark.slow
def test_silenced_checks_and_impossible_points_earn_nothing_and_cost_no_other_task(released, grade):
    answer(
        released,
        average="""
            def average(x):
                check.session._cell.passed = 99
                return -1.0
            """,
        spread="""
            get_ipython().run_cell = lambda *a, **k: None
            def spread(x):
                return float(x.std())
            """,
        scaled="def scaled(x):\n    raise SystemExit(0)",
    )
    ran = grade()
    assert ran.passed() == {"largest, public", "largest, hidden"}
    for name in ("average, public", "average, hidden", "spread, public", "spread, hidden"):
        assert "did not end in points" in ran.failed(name)
    assert "SystemExit" in ran.failed("scaled, public")


@pytest.mark.slow
def test_missing_doubled_and_unparsable_answers_cost_their_tasks_alone(released, grade):
    answer(released, scaled="%%python\nimport os")

    def spoil(cells):
        largest = next(i for i, c in enumerate(cells) if c.id == "largest")
        twin = new_code_cell(cells[largest].source, metadata=dict(cells[largest].metadata))
        cells.insert(largest, twin)
        del cells[next(i for i, c in enumerate(cells) if c.id == "spread")]

    released.edit(released.exercise, spoil)
    ran = grade()
    assert ran.passed() == {"average, public", "average, hidden"}
    assert "its answer cell is missing" in ran.failed("spread, hidden")
    assert "no plain Python" in ran.failed("scaled, public")
    assert "stands 2 times: keep one" in ran.failed("largest, public")


@pytest.mark.slow
def test_one_check_can_be_chosen(released, grade):
    answer(released)
    ran = grade("-k", "scaled and public")
    assert (ran.code, ran.passed()) == (0, {"scaled, public"})


@pytest.mark.slow
def test_loops_and_ended_kernels_fail_with_a_reason_and_nothing_is_expected_to_fail(
    released, grade
):
    loop = "while True:\n            try:\n                while True: pass\n"
    answer(
        released,
        average="import os\nos._exit(0)",
        spread=f"def spread(x):\n        {loop}            except KeyboardInterrupt: continue",
        scaled="def scaled(x):\n    __import__('os').kill(__import__('os').getpid(), 9)",
    )
    ran = grade("--coursekit-timeout", "3")
    assert ran.passed() == {"largest, public", "largest, hidden"}
    for side in ("public", "hidden"):
        assert "it ended the kernel" in ran.failed(f"average, {side}")
        assert "it took longer than 3 s and was stopped" in ran.failed(f"spread, {side}")
        assert "it ended the kernel" in ran.failed(f"scaled, {side}")
    assert {report.outcome for report in ran.reports.values()} == {"passed", "failed"}


@pytest.mark.slow
def test_folders_are_graded_by_two_workers_without_nbval_switched_on(released, tmp_path):
    answer(released)
    folder = tmp_path / "handed-in"
    for learner in ("ada", "bo"):
        (folder / learner).mkdir(parents=True)
        (folder / learner / "numbers.ipynb").write_bytes(released.exercise.read_bytes())
    (folder / "bo" / "cut.ipynb").write_text('{"nbformat": 4,')
    (folder / "bo" / "empty.ipynb").touch()
    (folder / "bo" / "folder.ipynb").mkdir()
    with (folder / "bo" / "huge.ipynb").open("wb") as file:
        file.truncate(200 * 2**20)
    command = [
        *(sys.executable, "-m", "pytest", *PLUGIN, "-p", "no:nbval", "-p", "xdist", "-q"),
        *("-n", "2", "--dist", "loadfile", "--rootdir", tmp_path, "-c", os.devnull),
        *("--coursekit-exercise", released.root / "solutions", folder),
        *("--junitxml", tmp_path / "junit.xml", "--coursekit-summary", tmp_path / "summary.md"),
    ]
    environment = {**os.environ, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    ran = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert ran.returncode == 1, ran.stdout + ran.stderr
    assert "4 failed, 16 passed" in ran.stdout
    cases = list(ElementTree.parse(tmp_path / "junit.xml").getroot().iter("testcase"))
    reasons = {
        c.get("classname"): c.find("failure").text for c in cases if c.find("failure") is not None
    }
    assert len(cases) == 20
    assert "no valid JSON" in reasons["handed-in/bo/cut.ipynb"]
    assert "is empty" in reasons["handed-in/bo/empty.ipynb"]
    assert "is a folder" in reasons["handed-in/bo/folder.ipynb"]
    assert "200 MB" in reasons["handed-in/bo/huge.ipynb"]
    assert {c.get("classname") for c in cases if c.find("failure") is None} == {
        f"{NAME} (handed-in/{learner}/numbers.ipynb)" for learner in ("ada", "bo")
    }
    text = (tmp_path / "summary.md").read_text()
    assert text.count("| The spread | 5 of 5 | passed |") == 2
    assert "could not be graded" in text


# Where the truth comes from.


@pytest.mark.slow
def test_exercises_that_are_their_own_folder_are_held_against_the_recorded_release(grade):
    exercises = ROOT / "exercises"
    ran = grade("--collect-only", exercises, truth=exercises)
    assert ran.code == 0
    one = "1-basics/01-logistic-neuron"
    ran = grade("--coursekit-worked-on", exercises / f"{one}.ipynb", truth=one)
    assert [report.outcome for report in ran.reports.values()] == ["skipped"]


@pytest.mark.parametrize("truth", ["nothing", "../../etc/passwd", "9-no/such", ROOT / "README.md"])
def test_a_truth_that_is_none_is_a_fault_of_the_command(grade, capsys, truth):
    assert grade(truth=truth).code == pytest.ExitCode.USAGE_ERROR
    assert "ERROR: " in capsys.readouterr().err


@pytest.mark.parametrize("name", ["8-other/01-thing", "../../solutions/9-sample/01-numbers"])
def test_a_notebook_of_no_exercise_is_one_failed_item(released, grade, name):
    text = released.exercise.read_text("utf-8").replace(NAME, name)
    path = released.exercise.with_name("other.ipynb")
    path.write_text(text)
    ran = grade(path, truth=released.root / "solutions")
    assert ran.code == 1
    assert "is no copy of an exercise" in ran.failed("notebook")


def test_a_notebook_without_the_exercises_answers_is_one_failed_item(released, grade):
    notebook = read_notebook(released.exercise)
    notebook.cells = notebook.cells[:1]
    released.exercise.write_text(notebook_text(notebook))
    assert "none of its answer cells is there" in grade().failed("notebook")


def test_options_without_an_exercise_are_refused(tmp_path):
    ran = subprocess.run(
        [sys.executable, "-m", "pytest", *PLUGIN, "--coursekit-worked-on", str(tmp_path)],
        cwd=ROOT, capture_output=True, text=True,
        env={**os.environ, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"},
    )  # fmt: skip
    assert ran.returncode == pytest.ExitCode.USAGE_ERROR
    assert "give --coursekit-exercise SOLUTION as well" in ran.stderr


def test_the_plugin_imports_nothing_heavy_while_its_option_is_absent(tmp_path):
    arguments = [*PLUGIN, "--collect-only", "-q", "-c", os.devnull, str(tmp_path)]
    program = (
        f"import sys, pytest; pytest.main({arguments}); "
        "print('\\n'.join(['imported', *sys.modules]))"
    )
    ran = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True,
        env={**os.environ, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"},
    )  # fmt: skip
    imported = set(ran.stdout.split("imported\n")[1].splitlines())
    heavy = {"torch", "numpy", "IPython", "nbformat", "jupyter_client", "nbval", "zmq"}
    assert not {name.split(".")[0] for name in imported} & heavy
    ours = {name for name in imported if name.startswith("coursekit")}
    assert ours == {"coursekit", "coursekit.grading", "coursekit.grading.nbval"}


# The summary.


def fact(**given):
    usual = {
        "exercise": NAME, "file": f"exercises/{NAME}.ipynb", "status": "failed", "task": "average",
        "title": "The average", "side": "public", "points": 2.0, "cells": 1,
    }  # fmt: skip
    return Fact(**{**usual, **given})


def test_public_checks_that_pass_are_not_called_more_than_that():
    facts = [fact(status="passed", earned=2.0, undecided=3.0)]
    said = "Hidden tests decide 3 more points when the exercise is graded."
    assert lines(facts) == [f"{NAME}: Public checks passed: 2 of 2 points. {said}"]
    assert "| public checks passed |" in markdown(facts)
    assert "correct" not in markdown(facts)


def test_checks_that_did_not_run_are_counted():
    assert lines([fact(status="passed", earned=2.0, cells=8)]) == [
        f"{NAME}: Public checks: 2 of 2 points. Only 1 of 8 check cells ran."
    ]


def test_each_result_says_what_to_do_next():
    rows = {
        "expected and got": fact(),
        "Replace raise NotImplementedError in the answer cell": fact(status="not answered"),
        "Divide by n": fact(explanation="Divide by n"),
        "its answer cell is missing": fact(status="error", messages=["its answer cell is missing"]),
        "edge cases": fact(side="hidden"),
    }
    for words, one in rows.items():
        assert words in markdown([one]).split("<details>")[0]


def test_what_a_notebook_says_cannot_become_markdown_or_html():
    nasty = "</pre></details>\n\n# head | a | `b` <script>x</script> @you https://x.y ![i](j)\u202e"
    one = fact(status="error", messages=[nasty], notes=[nasty], title=nasty, explanation=nasty)
    text = markdown(
        [one, fact(file=f"{nasty}.ipynb", exercise="", status="refused", messages=[nasty])]
    )
    assert text.count("</pre>") == text.count("<pre>") == 3
    assert "<script" not in text
    assert "\u202e" not in text
    outside = re.sub(r"<pre>.*?</pre>", "", text, flags=re.S)
    assert not re.search(
        r"^#+ head|\]\(j|`b`|@you \||https://", re.sub(r"<summary>.*", "", outside), re.M
    )
    rows = [line for line in outside.splitlines() if line.startswith("| ") and "---" not in line]
    assert all(row.count("|") == 5 for row in rows)


def test_a_summary_stays_below_what_is_accepted(tmp_path):
    facts = [
        fact(file=f"{n}.ipynb", messages=["x" * 10_000], title="é" * 9_000) for n in range(3_000)
    ]
    path = tmp_path / "summary.md"
    path.write_text("y" * 1000)
    append(path, facts)
    assert 500_000 < path.stat().st_size <= MOST_BYTES
    assert "more notebooks do not fit here" in path.read_text()
    append(path, facts)
    assert path.stat().st_size <= MOST_BYTES + 1000
