"""The proof of an exercise holds for a good one and fails for each way of spoiling it."""

import os
import signal
import threading
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import NAME

from coursekit.errors import UserError
from coursekit.grading import trials, variants, workers
from coursekit.grading.trials import Bench, Step, WorkerFailed, in_worker
from coursekit.grading.verify import Proof, verify

here = pytest.mark.usefixtures("here")


def prove(course) -> Proof:
    (proof,) = verify(course.root)
    return proof


def refuted(course, *says: str) -> Proof:
    proof = prove(course)
    assert not proof.holds
    for text in says:
        assert any(text in line for line in proof.findings), proof.findings
    assert all(NAME in line for line in proof.findings)
    return proof


@pytest.mark.slow
def test_the_sample_is_proven_in_a_process_of_its_own(course):
    seen = []
    (proof,) = verify(course.root, [NAME], on_progress=seen.append)
    assert seen == [proof]
    assert proof.findings == []
    assert proof.holds
    assert str(proof).startswith(
        f"{NAME}: solution 100 %, untouched 0 %, 8 of 8 mistakes named, 4 caught by hidden tests "
        "alone, 4 of 4 alternatives at 100 %, no leak"
    )


@here
def test_a_wrong_solution_is_refuted(course):
    course.change(course.solution, "average", "return float(total_of_all)", "return 3.0")
    proof = refuted(course, "cell average-public: the solution earns 0 of 2 points")
    assert proof.solution < 100


@here
def test_a_hidden_block_without_tests_is_refuted(course):
    course.change(
        course.solution,
        "spread-hidden",
        "check.close(spread, cases=[(ROWS[1],), (ROWS[1] + 9,)], reference=np.std)\n",
        "",
    )
    proof = refuted(
        course,
        "(spread-hidden): nothing stands between",
        "cell spread-hidden: it ends in no points",
        "spread-mistake-2: it loses no points",
        "task spread: no mistake passes the public check and fails a hidden one",
    )
    assert proof.solution == 85
    assert proof.hidden_only == 3


@here
@pytest.mark.parametrize("task", ["average", "spread", "scaled", "largest"])
def test_emptying_any_hidden_block_refutes_the_exercise(course, task):
    def empty(cells):
        (found,) = [c for c in cells if c.id == f"{task}-hidden"]
        lines = found.source.splitlines()
        first, last = (lines.index(f"### {x} HIDDEN TESTS") for x in ("BEGIN", "END"))
        found.source = "\n".join([*lines[: first + 1], *lines[last:]])

    course.edit(course.solution, empty)
    refuted(course, f"task {task}: no mistake passes the public check")


@here
def test_a_hidden_cell_that_checks_outside_of_its_block_is_refuted(course):
    course.change(
        course.solution,
        "average-hidden",
        "### END HIDDEN TESTS",
        "### END HIDDEN TESTS\ncheck.close(average, cases=[(np.ones(3),)], reference=np.mean)",
    )
    refuted(course, "with its hidden block emptied the cell still decides something")


@here
def test_a_mistake_that_is_right_is_refuted(course):
    course.change(course.solution, "largest-raw-1", "argmin", "argmax")
    proof = refuted(course, "largest-mistake-1: it loses no points")
    assert (proof.named, proof.mistakes) == (7, 8)


@here
def test_a_mistake_that_raises_is_refuted(course):
    course.change(course.solution, "largest-raw-1", "np.argmin(x)", "x.nothing")
    refuted(course, "largest-mistake-1: it raises AttributeError in public check 1, case 1")


@here
def test_a_mistake_that_is_no_python_is_refuted(course):
    course.change(course.solution, "largest-raw-1", "(x)", "(x")
    refuted(course, "largest-mistake-1: cell largest raises SyntaxError")


@here
def test_two_mistakes_with_the_same_output_are_refuted(course):
    course.change(course.solution, "average-raw-1", "x.sum() / (len(x) - 1 or 1)", "np.max(x)")
    course.change(course.solution, "average-raw-2", "np.median(x)", "x.max()")
    refuted(
        course,
        "average-mistake-1: its explanation is not shown: on the public cases it returns what",
        "average-mistake-2: its explanation is not shown",
    )


@here
def test_a_task_without_a_mistake_for_its_hidden_tests_is_refuted(course):
    course.change(course.solution, "spread-raw-2", "(x**2).mean()", "(x**2).sum()")
    refuted(course, "task spread: no mistake passes the public check and fails a hidden one")


@here
def test_a_wrong_alternative_is_refuted(course):
    course.change(course.solution, "spread-raw-3", "np.std(x)", "np.std(x, ddof=1)")
    proof = refuted(course, "spread-alternative-1: it earns 0 of 2 points in spread-public")
    assert proof.accepted == 3


@here
def test_an_alternative_that_breaks_a_later_task_is_refuted(course):
    source = "def average(x):\n    return float(np.mean(x)) if x.ndim and len(x) != 3 or x[0] == 1"
    course.change(course.solution, "average-raw-3", "", f"{source} else 0.5")
    course.change(course.solution, "average-hidden", "(np.ones(1),)", "(np.ones(4),)")
    refuted(course, "average-alternative-1: it earns 0 of 2 points in spread-public")


@here
def test_a_check_that_needs_a_later_task_is_refuted(course):
    course.change(course.solution, "spread-public", "reference=np.std", "reference=later")
    course.change(course.solution, "scaled", "def scaled", "later = np.std\n\n\ndef scaled")
    refuted(course, "cell spread-public: the solution raises NameError")


@here
def test_a_cell_that_breaks_without_the_answers_is_refuted(course):
    course.change(course.solution, "try-it", "print(average(ROWS[0]))", "print(undefined)")
    refuted(course, "cell try-it: untouched, it raises NameError")


@here
def test_an_exercise_that_gives_points_for_nothing_is_refuted(course):
    course.change(
        course.solution, "largest-public", "check.points()", "check.equal(max, [((1, 2),)], max)"
    )
    course.change(
        course.solution, "largest-public", "(1, 2),)], max)", "(1, 2),)], max)\ncheck.points()"
    )
    proof = refuted(course, "cell largest-public: the untouched exercise earns 1 points")
    assert proof.untouched == 5


@here
def test_a_leak_is_refuted(course):
    course.change(course.solution, "look", "ROWS.shape)", "ROWS.shape)\n# return int(np.argmax(x))")
    proof = refuted(course, "(look): holds a line of the answer of largest")
    assert len(proof.leaks) == 1
    assert "1 leaks" in str(proof)


@here
def test_a_cell_that_writes_to_stderr_is_refuted(course):
    course.change(
        course.solution, "look", "print(", "import sys\nprint('x', file=sys.stderr)\nprint("
    )
    refuted(course, "cell look: writes to stderr")


@pytest.mark.slow
@here
def test_an_endless_variant_costs_its_time_limit_only(course, monkeypatch):
    monkeypatch.setattr(variants, "VARIANT_SECONDS", 1)
    course.change(
        course.solution, "largest-raw-3", "return", "while True:\n        pass\n    return"
    )
    refuted(course, "largest-alternative-1: cell largest-public raises nothing, but it took longer")


@here
def test_a_hidden_check_that_no_mistake_needs_is_only_noted(course):
    course.change(
        course.solution,
        "largest-hidden",
        "### END",
        "check.equal(largest, cases=[(np.ones(1),)], reference=lambda x: 0)\n### END",
    )
    proof = prove(course)
    assert proof.holds
    assert proof.notes == [f"{NAME}, task largest: hidden check 2 catches no known mistake"]


@here
def test_cells_that_form_no_task_are_findings(course):
    course.change(course.solution, "average-text", "## Task", "## Job")
    refuted(course, 'no heading stands above it: write "## Task 1')


def test_an_unknown_exercise_is_an_error(course):
    with pytest.raises(UserError, match="no exercise is called"):
        verify(course.root, ["1-none/01-such"])


@pytest.mark.slow
@pytest.mark.usefixtures("interruptible")
def test_an_interrupted_proof_ends_its_worker_at_once(course):
    course.change(course.solution, "look", "print(", "import time\ntime.sleep(500)\nprint(")
    interrupted = threading.Timer(
        2, signal.pthread_kill, (threading.main_thread().ident, signal.SIGINT)
    )
    interrupted.start()
    start = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        verify(course.root)
    assert time.monotonic() - start < 60


@here
def test_each_mistake_and_each_reference_runs_no_more_often_than_it_must(course, tmp_path):
    runs, asked = tmp_path / "runs", tmp_path / "asked"
    course.change(
        course.solution,
        "largest-raw-1",
        "def largest",
        f"with open({str(runs)!r}, 'a') as file:\n    file.write('x')\n\n\ndef largest",
    )
    course.change(
        course.solution,
        "setup",
        "check.exercise",
        "def counted(x):\n"
        f"    with open({str(asked)!r}, 'a') as file:\n"
        "        file.write('x')\n"
        "    return np.std(x)\n\n\ncheck.exercise",
    )
    course.change(course.solution, "spread-public", "reference=np.std", "reference=counted")
    assert prove(course).holds
    assert runs.read_text() == "x"
    assert asked.read_text() == "xx"  # without answers and with the solution's


@here
def test_a_reference_that_calls_the_answer_is_refuted(course):
    course.change(course.solution, "spread-public", "reference=np.std", "reference=spread")
    refuted(course, "cell spread-public: untouched, it raises NotImplementedError")


@here
def test_a_reference_that_depends_on_an_answer_is_refuted(course):
    course.change(
        course.solution,
        "spread-public",
        "reference=np.std",
        "reference=lambda x: np.std(x) + (average.__code__.co_nlocals < 2)",
    )
    refuted(
        course,
        "task spread: the reference of public check 1 returns something else once there are "
        "answers: it must be independent of them",
    )


@here
def test_what_the_untouched_exercise_leaves_behind_helps_no_cell(course):
    course.change(course.solution, "look", "print(", "print(len(from_the_end), ")
    course.change(course.solution, "largest-public", "check.task", "from_the_end = 'x'\ncheck.task")
    refuted(course, "cell look: the solution raises NameError")


@pytest.mark.slow
def test_a_warning_is_heard_also_when_the_untouched_exercise_gave_it_before(course):
    course.change(
        course.solution, "look", "print(", "import warnings\nwarnings.warn('old')\nprint("
    )
    refuted(course, "cell look: writes to stderr")


def test_a_fingerprint_tells_apart_formats_shapes_and_values():
    cases = [
        (np.zeros(3),), (np.zeros(3, np.float32),), (np.zeros((3, 1)),), (np.zeros(4),),
        (torch.zeros(3),), ([0.0, 0.0, 0.0],), ((0, 1),), ((0, 1.0),), ((0, True),), ({"a": 0},),
        ({"b": 0},), ("0",), (None,), (np.array([0.0, 0.0, -0.0]),), (2**80,), (2**81,),
    ]  # fmt: skip
    prints = [trials.fingerprint(case) for case in cases]
    assert len(set(prints)) == len(cases)
    assert prints == [trials.fingerprint(case) for case in cases]


@here
def test_a_trial_leaves_no_trace_and_reports_its_death():
    bench = Bench()
    bench.run([Step("a", "x = 1")])
    died = bench.try_out([Step("b", "x = 2\nx"), Step("c", "import os; os._exit(3)")], seconds=20)
    assert [outcome.value for outcome in died] == [2.0, None]
    assert died[1].error == "Died"
    assert bench.run([Step("d", "x")])[0].value == 1.0


@pytest.mark.slow
def test_where_forking_is_unsafe_a_trial_repeats_what_came_before(monkeypatch):
    monkeypatch.setattr(trials, "CAN_FORK", False)
    bench = Bench()
    bench.run([Step("a", "x = 1")])
    (outcome,) = bench.try_out([Step("b", "x += 1\nx")], seconds=60)
    assert outcome.value == 2.0
    assert bench.run([Step("c", "x")])[0].value == 1.0


def test_a_worker_that_fails_says_why(tmp_path):
    with pytest.raises(WorkerFailed, match="ended with code 1: KeyError: 'history'"):
        in_worker(trials.replay, {}, tmp_path, seconds=60)


def asking(code):
    return {"history": [], "steps": [{"id": "a", "source": code}]}


@pytest.mark.slow
@pytest.mark.skipif(not workers.CAN_FORK, reason="forking is not safe here")
def test_workers_that_share_an_interpreter_are_forks_of_it(tmp_path):
    def ask(code):
        (outcome,) = in_worker(trials.replay, asking(code), tmp_path, seconds=60)
        return outcome["value"]

    with workers.sharing():
        parents = {ask("import os\nos.getppid()") for _ in range(2)}
        assert ask("import os\nlen(os.environ['PYTHONHASHSEED'])") == 1
        assert ask(f"import os\nos.getcwd() == {str(tmp_path)!r} and 7.0") == 7
        with pytest.raises(WorkerFailed, match="ended with code 3"):
            ask("import os\nos._exit(3)")
        with pytest.raises(WorkerFailed, match="ended with code 1: KeyError"):
            in_worker(trials.replay, {}, tmp_path, seconds=60)
        with pytest.raises(WorkerFailed, match=r"longer than 0\.5 s"):
            in_worker(trials.replay, asking("while True: pass"), tmp_path, seconds=0.5)
        ((server,),) = [parents]
        assert Path(f"/proc/{server:.0f}").exists()
    assert not Path(f"/proc/{server:.0f}").exists()


@pytest.mark.slow
@pytest.mark.skipif(not workers.CAN_FORK, reason="forking is not safe here")
def test_after_an_interrupt_no_worker_starts(tmp_path):
    with workers.sharing():
        workers.end_workers()
        with pytest.raises(WorkerFailed, match="it was interrupted"):
            in_worker(trials.replay, asking("1"), tmp_path, seconds=60)
    assert in_worker(trials.replay, asking("1.0"), tmp_path, seconds=60)[0]["value"] == 1


def test_a_computation_beside_this_process_says_what_it_found_or_that_it_died():
    assert workers.Beside(lambda: {"a": [1, None]}).result() == {"a": [1, None]}
    with pytest.raises(WorkerFailed, match="the process ended"):
        workers.Beside(lambda: os._exit(1)).result()
